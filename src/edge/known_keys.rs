//! API keys this isolate has seen their actors recognise: whose they are, so that not every request asks twice.
//!
//! Only identity is remembered. Whether the key is still live is looked up by the actor in the transaction of each
//! command, so a key that was revoked opens nothing from then on. What an actor said is none of its keys is remembered for
//! a while too: a program that goes on with such a key uses up nobody's guesses.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};

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

/// Keys remembered at one time that are none, some four hundred bytes each, and for how long: a mistake heals.
const ENDED_MAX: usize = 4_096;
const ENDED_MS: i64 = 300_000;

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
    /// By the actor too that the key leads to: a known secret behind another routing is another key.
    static KNOWN: RefCell<HashMap<Presented, Holder>> = RefCell::default();
    static ENDED: RefCell<Ended> = RefCell::default();
    static ASKED: RefCell<Asked> = RefCell::default();
}

/// Keys that their actors do not know, or no longer, and until when that is believed; the oldest makes room.
#[derive(Default)]
struct Ended {
    until_ms: HashMap<Presented, i64>,
    order: VecDeque<Presented>,
}

impl Ended {
    fn has(&self, presented: &Presented, now_ms: i64) -> bool {
        self.until_ms.get(presented).is_some_and(|until_ms| now_ms < *until_ms)
    }

    fn note(&mut self, presented: &Presented, now_ms: i64) {
        if self.until_ms.insert(presented.clone(), now_ms.saturating_add(ENDED_MS)).is_none() {
            self.order.push_back(presented.clone());
        }
        while self.order.len() > ENDED_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.until_ms.remove(&oldest);
            }
        }
    }
}

/// How long a look may take, in milliseconds. Of one whose client went away in the middle nothing is heard any more.
const LOOK_MS_MAX: i64 = 10_000;

/// Secrets whose actors are being asked.
#[derive(Default)]
struct Asked {
    looks: HashMap<Presented, UnderWay>,
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

/// A look at one key or ticket that is under way; dropped, it is over.
pub struct Asking {
    presented: Presented,
    number: u64,
}

impl Asking {
    /// `None` when another request asks about the same one.
    fn begin(presented: &Presented, address: Address, now_ms: i64) -> Option<Self> {
        ASKED.with_borrow_mut(|asked| {
            if asked.looks.get(presented).is_some_and(|look| look.lasts(now_ms)) {
                return None;
            }
            asked.looks.retain(|_, look| look.lasts(now_ms));
            asked.last_number = asked.last_number.wrapping_add(1);
            let number = asked.last_number;
            asked.looks.insert(presented.clone(), UnderWay { number, address, since_ms: now_ms });
            Some(Self { presented: presented.clone(), number })
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
            if asked.looks.get(&self.presented).is_some_and(|look| look.number == self.number) {
                asked.looks.remove(&self.presented);
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
    let _asking = match turn(&presented, address, || verdict(&presented, platform::now_ms())).await? {
        Turn::Known(verdict) => return verdict,
        Turn::Ask(asking) => asking,
    };
    let found = ask(origin, &presented).await;
    if found != Err(ApiError::TokenInvalid) {
        // Right, or without a verdict: no guess.
        address_limits::key_was_right(address, platform::now_ms());
    }
    let holder = found?;
    remember(presented, holder.clone());
    Ok(holder)
}

/// The same for a request whose commands do not carry the key, because an operator acts, or because keys cannot do what
/// it asks: whether the key is live is asked now, whatever is remembered.
///
/// # Errors
/// As [`holder`].
pub async fn live_holder(origin: Origin<'_>, token: &str, address: Address) -> Result<Holder, ApiError> {
    let presented = api_key::present(token).ok_or(ApiError::TokenInvalid)?;
    if KNOWN.with_borrow(|known| known.contains_key(&presented)) {
        return ask(origin, &presented).await;
    }
    holder(origin, token, address).await
}

/// What a request with a key or a ticket does next.
enum Turn<T> {
    Known(T),
    /// Ask its actor; others wait for what that says.
    Ask(Asking),
}

/// The turn of a ticket: each is good once, so nothing is known of any.
///
/// # Errors
/// `RateLimited` for an address that tries many that are none; `Unavailable`.
pub async fn turn_of_ticket(ticket: &Presented, address: Address) -> Result<Asking, ApiError> {
    match turn(ticket, address, || None::<std::convert::Infallible>).await? {
        Turn::Ask(asking) => Ok(asking),
        Turn::Known(never) => match never {},
    }
}

/// Each guess wakes an actor, so guesses are counted before they are made. Until there is a verdict nobody knows which
/// were guesses: who comes with the same one waits for it, and so does who finds the address's guesses used up by looks
/// that are under way.
async fn turn<T>(
    presented: &Presented,
    address: Address,
    verdict: impl Fn() -> Option<T>,
) -> Result<Turn<T>, ApiError> {
    let mut waits = None;
    for _ in 0..VERDICT_LOOKS_MAX {
        if let Some(verdict) = verdict() {
            return Ok(Turn::Known(verdict));
        }
        if let Some(asking) = Asking::begin(presented, address, platform::now_ms()) {
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

/// Asks the actor that the key leads to whose it is, and remembers a key that is none.
async fn ask(origin: Origin<'_>, presented: &Presented) -> Result<Holder, ApiError> {
    let command = Command::Identify { digest: presented.digest.clone() };
    match tenant_stub::send_to(origin, &presented.actor, command).await {
        // The routing in the key leads to the actor; the actor says who it is, and both must agree.
        Ok(Reply::Identified { tenant, key }) if tenant_stub::name_of(&tenant) == presented.actor => {
            Ok(Holder { tenant, key: key.id })
        }
        Ok(_) | Err(Refusal::UnknownApiKey) => {
            KNOWN.with_borrow_mut(|known| known.remove(presented));
            ENDED.with_borrow_mut(|ended| ended.note(presented, platform::now_ms()));
            Err(ApiError::TokenInvalid)
        }
        Err(refusal) => Err(ApiError::from(refusal)),
    }
}

/// What this isolate knows of a key: whose it is, or that it is none.
fn verdict(presented: &Presented, now_ms: i64) -> Option<Result<Holder, ApiError>> {
    if let Some(holder) = KNOWN.with_borrow(|known| known.get(presented).cloned()) {
        return Some(Ok(holder));
    }
    let ended = ENDED.with_borrow(|ended| ended.has(presented, now_ms));
    ended.then_some(Err(ApiError::TokenInvalid))
}

fn remember(presented: Presented, holder: Holder) {
    KNOWN.with_borrow_mut(|known| {
        if known.len() >= KEYS_MAX {
            known.clear();
        }
        known.insert(presented, holder);
    });
}

/// What a caller is told whose key its actor no longer accepts; the key is known as ended from then on. `None` for every
/// other refusal, and for `/api/keys`, where an unknown key is one that was asked about.
pub fn refused(refusal: &Refusal, caller: &Caller) -> Option<ApiError> {
    let key = caller.api_key.as_ref().filter(|_| *refusal == Refusal::UnknownApiKey)?;
    let gone = KNOWN.with_borrow_mut(|known| {
        known.extract_if(|_, holder| holder.key == *key).map(|(presented, _)| presented).collect::<Vec<_>>()
    });
    ENDED.with_borrow_mut(|ended| gone.iter().for_each(|key| ended.note(key, platform::now_ms())));
    Some(ApiError::TokenInvalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_000_000;

    fn presented(actor: &str, digest: &str) -> Presented {
        Presented { actor: actor.to_owned(), digest: digest.to_owned() }
    }

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
        let begin = |digest: &str, at_ms| Asking::begin(&presented("v1-a", digest), here, at_ms);
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

    #[test]
    fn a_known_secret_behind_another_routing_is_another_key() {
        let holder =
            Holder { tenant: TenantId::from_email("me@x.io").unwrap(), key: "key-routing".to_owned() };
        remember(presented("v1-mine", "secret"), holder.clone());
        assert_eq!(verdict(&presented("v1-mine", "secret"), NOW_MS), Some(Ok(holder)));
        assert_eq!(verdict(&presented("v1-theirs", "secret"), NOW_MS), None);
    }

    #[test]
    fn what_is_no_key_is_remembered_for_a_while_and_bounded() {
        let (mut ended, key) = (Ended::default(), presented("v1-a", "revoked"));
        ended.note(&key, NOW_MS);
        ended.note(&key, NOW_MS + 1);
        assert!(ended.has(&key, NOW_MS + ENDED_MS));
        assert!(!ended.has(&key, NOW_MS + ENDED_MS + 1), "a mistake heals");
        assert!(!ended.has(&presented("v1-b", "revoked"), NOW_MS + 1));
        for n in 0..ENDED_MAX {
            ended.note(&presented("v1-a", &n.to_string()), NOW_MS);
        }
        assert_eq!((ended.until_ms.len(), ended.order.len()), (ENDED_MAX, ENDED_MAX));
        assert!(!ended.has(&key, NOW_MS + 2) && ended.has(&presented("v1-a", "0"), NOW_MS + 2));
    }
}
