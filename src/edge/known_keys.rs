//! API keys this isolate has seen their actors recognise: whose they are, so that not every request asks twice.
//!
//! Only identity is remembered. Whether the key is still live is looked up by the actor in the transaction of each
//! command, so a key that was revoked opens nothing from then on.

use std::cell::RefCell;
use std::collections::HashMap;

use actors::shared::{Refusal, TenantId};
use actors::tenant::{Command, Reply};

use super::address_limits::{self, Address};
use super::api_key;
use super::error::ApiError;
use super::identity::Caller;
use crate::platform::tenant_stub::{self, Origin};
use crate::platform::{self, timer};

/// Keys remembered at one time, some three hundred bytes each.
const KEYS_MAX: usize = 4_096;

/// How often, and after how many milliseconds each time, a request looks whether there is a verdict: five seconds.
const VERDICT_LOOKS_MAX: u32 = 250;
const VERDICT_LOOK_MS: u32 = 20;

/// Whose key it is, and which of theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub tenant: TenantId,
    pub key: String,
}

thread_local! {
    static KNOWN: RefCell<HashMap<String, Holder>> = RefCell::default();
    static ASKED: RefCell<Asked> = RefCell::default();
}

/// How long a look may take, in milliseconds. Of one whose client went away in the middle nothing is heard any more.
const LOOK_MS_MAX: i64 = 10_000;

/// Keys whose actors are being asked, by digest.
#[derive(Default)]
struct Asked {
    looks: HashMap<String, UnderWay>,
    last_number: u64,
}

struct UnderWay {
    number: u64,
    address: Address,
    since_ms: i64,
}

impl UnderWay {
    const fn lasts(&self, now_ms: i64) -> bool {
        now_ms.saturating_sub(self.since_ms) < LOOK_MS_MAX
    }
}

/// A look at one key that is under way; dropped, it is over.
struct Asking {
    digest: String,
    number: u64,
}

impl Asking {
    /// `None` when another request asks about the same key.
    fn begin(digest: &str, address: Address, now_ms: i64) -> Option<Self> {
        ASKED.with_borrow_mut(|asked| {
            if asked.looks.get(digest).is_some_and(|look| look.lasts(now_ms)) {
                return None;
            }
            asked.looks.retain(|_, look| look.lasts(now_ms));
            asked.last_number = asked.last_number.wrapping_add(1);
            let number = asked.last_number;
            asked.looks.insert(digest.to_owned(), UnderWay { number, address, since_ms: now_ms });
            Some(Self { digest: digest.to_owned(), number })
        })
    }

    /// Whether a verdict on a key from `address` is to come.
    fn any_of(address: Address, now_ms: i64) -> bool {
        ASKED.with_borrow(|asked| {
            asked.looks.values().any(|look| look.address == address && look.lasts(now_ms))
        })
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        ASKED.with_borrow_mut(|asked| {
            if asked.looks.get(&self.digest).is_some_and(|look| look.number == self.number) {
                asked.looks.remove(&self.digest);
            }
        });
    }
}

/// Whose key `token` is.
///
/// # Errors
/// `TokenInvalid`; `RateLimited` for an address that tries many that are none; `Unavailable`.
pub async fn holder(origin: Origin<'_>, token: &str, address: Address) -> Result<Holder, ApiError> {
    let Some(presented) = api_key::present(token) else {
        return Err(ApiError::TokenInvalid);
    };
    // Each guess wakes an actor, so guesses are counted before they are made. Until there is a verdict nobody knows
    // which were guesses: who comes with the same key waits for it, and so does who finds the address's guesses used
    // up by looks that are under way.
    let mut looks_left = VERDICT_LOOKS_MAX;
    let _asking = loop {
        if let Some(known) = KNOWN.with_borrow(|known| known.get(&presented.digest).cloned()) {
            return Ok(known);
        }
        if let Some(asking) = Asking::begin(&presented.digest, address, platform::now_ms()) {
            let Err(refused) = address_limits::key_guess(address, platform::now_ms()) else {
                break asking;
            };
            drop(asking);
            if looks_left == 0 || !Asking::any_of(address, platform::now_ms()) {
                return Err(refused);
            }
        } else if looks_left == 0 {
            return Err(ApiError::Unavailable);
        }
        looks_left = looks_left.saturating_sub(1);
        timer::sleep(VERDICT_LOOK_MS).await;
    };
    let command = Command::Identify { digest: presented.digest.clone() };
    let (tenant, key) = match tenant_stub::send_to(origin, &presented.actor, command).await {
        Ok(Reply::Identified { tenant, key }) => (tenant, key),
        Ok(_) | Err(Refusal::UnknownApiKey) => return Err(ApiError::TokenInvalid),
        // No verdict, so no guess either.
        Err(refusal) => {
            address_limits::key_was_right(address, platform::now_ms());
            return Err(ApiError::from(refusal));
        }
    };
    // The routing in the key leads to the actor; the actor says who it is, and both must agree.
    if tenant_stub::name_of(&tenant) != presented.actor {
        return Err(ApiError::TokenInvalid);
    }
    address_limits::key_was_right(address, platform::now_ms());
    let holder = Holder { tenant, key: key.id };
    KNOWN.with_borrow_mut(|known| {
        if known.len() >= KEYS_MAX {
            known.clear();
        }
        known.insert(presented.digest, holder.clone());
    });
    Ok(holder)
}

/// What a caller is told whose key its actor no longer accepts; the key is forgotten here. `None` for every other
/// refusal, and for `/api/keys`, where an unknown key is one that was asked about.
pub fn refused(refusal: &Refusal, caller: &Caller) -> Option<ApiError> {
    let key = caller.api_key.as_ref().filter(|_| *refusal == Refusal::UnknownApiKey)?;
    KNOWN.with_borrow_mut(|known| known.retain(|_, holder| holder.key != *key));
    Some(ApiError::TokenInvalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_000_000;

    #[test]
    fn a_key_is_asked_about_once_at_a_time() {
        let (here, there) = (Address::parse("192.0.2.1"), Address::parse("192.0.2.2"));
        let begin = |digest: &str, at_ms| Asking::begin(digest, here, at_ms);
        let first = begin("one", NOW_MS).unwrap();
        assert!(begin("one", NOW_MS + 1).is_none());
        assert!(begin("two", NOW_MS + 1).is_some());
        assert!(Asking::any_of(here, NOW_MS + 1) && !Asking::any_of(there, NOW_MS + 1));
        drop(first);
        assert!(!Asking::any_of(here, NOW_MS + 2), "a verdict ends it");
        // Nothing is heard any more of a request whose client left.
        std::mem::forget(begin("one", NOW_MS).unwrap());
        assert!(begin("one", NOW_MS + LOOK_MS_MAX - 1).is_none());
        let later = begin("one", NOW_MS + LOOK_MS_MAX).unwrap();
        assert!(!Asking::any_of(there, NOW_MS + LOOK_MS_MAX) && later.number > 1);
    }
}
