//! API keys this isolate has seen their actors recognise: whose they are, so that not every request asks twice.
//!
//! Only identity is remembered. Whether the key is still live is looked up by the actor in the transaction of each
//! command, so a key that was revoked opens nothing from then on.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use actors::shared::{Refusal, TenantId};
use actors::tenant::{Command, Reply};

use super::address_limits::{self, Address};
use super::api_key::{self, Presented};
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

/// Requests of this isolate that may wait for verdicts at one time. Each looks fifty times a second.
const WAITING_MAX: u32 = 512;

thread_local! {
    static WAITING: Cell<u32> = const { Cell::new(0) };
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

/// A request that waits for a verdict; dropped, it waits no more.
struct Waiting;

impl Waiting {
    /// `None` when as many wait as may.
    fn begin() -> Option<Self> {
        let count = WAITING.get();
        (count < WAITING_MAX).then(|| {
            WAITING.set(count.saturating_add(1));
            Self
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITING.set(WAITING.get().saturating_sub(1));
    }
}

/// Whose key `token` is. Whether it is still live, the actor says with each command that carries it.
///
/// # Errors
/// `TokenInvalid`; `RateLimited` for an address that tries many that are none; `Unavailable`.
pub async fn holder(origin: Origin<'_>, token: &str, address: Address) -> Result<Holder, ApiError> {
    let presented = api_key::present(token).ok_or(ApiError::TokenInvalid)?;
    let _asking = match turn(&presented.digest, address).await? {
        Turn::Known(holder) => return Ok(holder),
        Turn::Ask(asking) => asking,
    };
    let found = ask(origin, &presented).await;
    if found != Err(ApiError::TokenInvalid) {
        // Right, or without a verdict: no guess.
        address_limits::key_was_right(address, platform::now_ms());
    }
    let holder = found?;
    remember(presented.digest, holder.clone());
    Ok(holder)
}

/// The same for a request whose commands do not carry the key, because an operator acts, or because keys cannot do what
/// it asks: whether the key is live is asked now, whatever is remembered.
///
/// # Errors
/// As [`holder`].
pub async fn live_holder(origin: Origin<'_>, token: &str, address: Address) -> Result<Holder, ApiError> {
    let presented = api_key::present(token).ok_or(ApiError::TokenInvalid)?;
    if known(&presented.digest).is_none() {
        return holder(origin, token, address).await;
    }
    let found = ask(origin, &presented).await;
    if found == Err(ApiError::TokenInvalid) {
        KNOWN.with_borrow_mut(|known| known.remove(&presented.digest));
    }
    found
}

/// What a request with a key does next.
enum Turn {
    Known(Holder),
    /// Ask the key's actor; others wait for what it says.
    Ask(Asking),
}

/// Each guess wakes an actor, so guesses are counted before they are made. Until there is a verdict nobody knows which
/// were guesses: who comes with the same key waits for it, and so does who finds the address's guesses used up by looks
/// that are under way.
async fn turn(digest: &str, address: Address) -> Result<Turn, ApiError> {
    let mut waits = None;
    for _ in 0..VERDICT_LOOKS_MAX {
        if let Some(holder) = known(digest) {
            return Ok(Turn::Known(holder));
        }
        if let Some(asking) = Asking::begin(digest, address, platform::now_ms()) {
            let Err(refused) = address_limits::key_guess(address, platform::now_ms()) else {
                return Ok(Turn::Ask(asking));
            };
            drop(asking);
            if !Asking::any_of(address, platform::now_ms()) {
                return Err(refused);
            }
        }
        waits = waits.or_else(Waiting::begin);
        if waits.is_none() {
            return Err(ApiError::Unavailable);
        }
        timer::sleep(VERDICT_LOOK_MS).await;
    }
    Err(ApiError::Unavailable)
}

/// Asks the actor that the key leads to whose it is.
async fn ask(origin: Origin<'_>, presented: &Presented) -> Result<Holder, ApiError> {
    let command = Command::Identify { digest: presented.digest.clone() };
    match tenant_stub::send_to(origin, &presented.actor, command).await {
        // The routing in the key leads to the actor; the actor says who it is, and both must agree.
        Ok(Reply::Identified { tenant, key }) if tenant_stub::name_of(&tenant) == presented.actor => {
            Ok(Holder { tenant, key: key.id })
        }
        Ok(_) | Err(Refusal::UnknownApiKey) => Err(ApiError::TokenInvalid),
        Err(refusal) => Err(ApiError::from(refusal)),
    }
}

fn known(digest: &str) -> Option<Holder> {
    KNOWN.with_borrow(|known| known.get(digest).cloned())
}

fn remember(digest: String, holder: Holder) {
    KNOWN.with_borrow_mut(|known| {
        if known.len() >= KEYS_MAX {
            known.clear();
        }
        known.insert(digest, holder);
    });
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
    fn so_many_wait_and_who_leaves_makes_room() {
        let mut waiting: Vec<Waiting> = (0..WAITING_MAX).filter_map(|_| Waiting::begin()).collect();
        assert_eq!((waiting.len(), Waiting::begin().is_none()), (WAITING_MAX as usize, true));
        waiting.pop();
        assert!(Waiting::begin().is_some());
    }

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
