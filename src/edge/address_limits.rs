//! What one network address may do: guest tokens it is given, ID tokens it exchanges, and wrong keys it may try.
//!
//! The address's own actor counts, in one place for all isolates. What it refused is remembered here until the wait is
//! over: a flood makes no hop and writes nothing. Guesses at API keys are counted in this isolate alone: the key's own
//! actor judges each of them, and which ones were guesses is known afterwards.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use actors::addresses::{Count, Verdict};
use actors::rate::{Allowance, Denied, Meter};
use sha2::{Digest, Sha256};

use super::error::ApiError;
use super::inbound::Inbound;
use crate::platform::address_stub;
use crate::platform::tenant_stub::Origin;

/// Addresses remembered at one time, some hundred and fifty bytes each: three megabytes.
const ADDRESSES_MAX: usize = 16_384;
const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;
/// Wrong admin keys that one address may try in a minute. A right one is never refused.
const ADMIN_FAILURES: Allowance = Allowance { limit: 10, window_ms: MINUTE_MS, burst: 10 };

/// API keys that are none of ours which one address may try in a minute.
const KEY_GUESSES: Allowance = Allowance { limit: 30, window_ms: MINUTE_MS, burst: 15 };

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum What {
    GuestToken,
    GuestOfAll,
    Exchange,
    AdminFailure,
    KeyGuess,
}

impl What {
    const fn policy(self) -> &'static str {
        match self {
            Self::GuestToken => "guest-tokens",
            Self::GuestOfAll => "guest-tokens-of-all",
            Self::Exchange => "exchanges",
            Self::AdminFailure => "admin-failures",
            Self::KeyGuess => "api-key-failures",
        }
    }
}

/// What is remembered of addresses, and the order in which it was last used.
#[derive(Default)]
struct Memory {
    meters: HashMap<(What, Address), Counted>,
    order: BTreeMap<u64, (What, Address)>,
    last_turn: u64,
}

#[derive(Default)]
struct Counted {
    meter: Meter,
    /// Until then the address's actor refuses; zero when it did not.
    refused_until_ms: i64,
    turn: u64,
}

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
}

/// Where a request comes from. What holds a /64 network of IPv6 holds each address in it, so the network counts.
/// Behind no proxy nothing is known, and all count as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Address {
    Known(IpAddr),
    Unknown,
    /// All addresses together.
    Any,
}

impl Address {
    /// The platform's word; a client cannot set this header there.
    pub fn of(inbound: &Inbound) -> Self {
        inbound.header("cf-connecting-ip").map_or(Self::Unknown, |text| Self::parse(&text))
    }

    pub(super) fn parse(text: &str) -> Self {
        match text.trim().parse() {
            Ok(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
                Some(mapped) => Self::Known(IpAddr::V4(mapped)),
                None => {
                    let [a, b, c, d, ..] = address.segments();
                    Self::Known(IpAddr::V6(std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)))
                }
            },
            Ok(address) => Self::Known(address),
            Err(_) => Self::Unknown,
        }
    }

    /// The name of the actor that counts for it: a digest.
    fn actor_name(self) -> String {
        let name = match self {
            Self::Known(address) => format!("address:{address}"),
            Self::Unknown => "unknown".to_owned(),
            Self::Any => "any".to_owned(),
        };
        format!("v1-{:x}", Sha256::digest(name))
    }
}

/// Counts a guest token; `per_minute` of zero is no limit.
///
/// # Errors
/// `RateLimited`; `Unavailable` when nobody could count.
pub async fn guest_token(
    origin: Origin<'_>,
    address: Address,
    per_minute: i64,
    now_ms: i64,
) -> Result<(), ApiError> {
    up_to(origin, (What::GuestToken, address), per_minute, MINUTE_MS, now_ms).await
}

/// Counts a guest token among those of all addresses: each is worth a grant. `per_day` of zero is no limit.
///
/// # Errors
/// As [`guest_token`].
pub async fn guest_of_all(origin: Origin<'_>, per_day: i64, now_ms: i64) -> Result<(), ApiError> {
    up_to(origin, (What::GuestOfAll, Address::Any), per_day, DAY_MS, now_ms).await
}

/// Counts an exchange of an ID token, good or not: each may cost a look at its issuer's keys, two signatures, or both.
///
/// # Errors
/// As [`guest_token`].
pub async fn exchange(
    origin: Origin<'_>,
    address: Address,
    per_minute: i64,
    now_ms: i64,
) -> Result<(), ApiError> {
    up_to(origin, (What::Exchange, address), per_minute, MINUTE_MS, now_ms).await
}

/// Half of them at once, the rest over the window; zero is no limit.
async fn up_to(
    origin: Origin<'_>,
    key: (What, Address),
    limit: i64,
    window_ms: i64,
    now_ms: i64,
) -> Result<(), ApiError> {
    if limit == 0 {
        return Ok(());
    }
    count(origin, key, Allowance { limit, window_ms, burst: limit.div_euclid(2).max(1) }, now_ms).await
}

/// Has the address's actor count, unless it is known to refuse.
async fn count(
    origin: Origin<'_>,
    (what, address): (What, Address),
    allowance: Allowance,
    now_ms: i64,
) -> Result<(), ApiError> {
    if let Some(wait_ms) = MEMORY.with_borrow(|memory| memory.wait_ms((what, address), now_ms)) {
        return Err(refused(what, allowance, wait_ms));
    }
    let asked = Count { what: what.policy().to_owned(), allowance };
    match address_stub::count(origin, &address.actor_name(), &asked).await {
        Ok(Verdict::Counted) => Ok(()),
        Ok(Verdict::Refused { retry_after_ms }) => {
            let until_ms = now_ms.saturating_add(retry_after_ms);
            MEMORY.with_borrow_mut(|memory| memory.used((what, address)).refused_until_ms = until_ms);
            Err(refused(what, allowance, retry_after_ms))
        }
        Err(_logged) => Err(ApiError::Unavailable),
    }
}

fn refused(what: What, Allowance { limit, window_ms, .. }: Allowance, retry_after_ms: i64) -> ApiError {
    let policy = what.policy().to_owned();
    ApiError::RateLimited { policy, limit, window_ms, retry_after_ms, remaining: 0 }
}

/// Counts a wrong admin key, and says what it is told: from the eleventh within a minute on, to wait.
pub async fn admin_failure(origin: Origin<'_>, address: Address, now_ms: i64) -> ApiError {
    match count(origin, (What::AdminFailure, address), ADMIN_FAILURES, now_ms).await {
        Err(refusal @ ApiError::RateLimited { .. }) => refusal,
        _ => ApiError::Unauthorized,
    }
}

/// Counts an API key that this isolate does not know.
///
/// # Errors
/// `RateLimited`.
pub fn key_guess(address: Address, now_ms: i64) -> Result<(), ApiError> {
    MEMORY.with_borrow_mut(|memory| memory.count(What::KeyGuess, address, KEY_GUESSES, now_ms))
}

/// The key was right after all: many servers may share an address.
pub fn key_was_right(address: Address, now_ms: i64) {
    MEMORY.with_borrow_mut(|memory| {
        if let Some(counted) = memory.meters.get_mut(&(What::KeyGuess, address)) {
            counted.meter.reconcile(KEY_GUESSES, 1, 0, now_ms, now_ms);
        }
    });
}

impl Memory {
    fn count(
        &mut self,
        what: What,
        address: Address,
        allowance: Allowance,
        now_ms: i64,
    ) -> Result<(), ApiError> {
        let counted = self.used((what, address));
        let retry_after_ms = match counted.meter.admit(allowance, 1, now_ms) {
            Ok(_left) => return Ok(()),
            Err(Denied::After(wait_ms)) => wait_ms,
            Err(Denied::Never) => allowance.window_ms,
        };
        Err(refused(what, allowance, retry_after_ms))
    }

    /// How long the address's actor goes on refusing, as it said.
    fn wait_ms(&self, key: (What, Address), now_ms: i64) -> Option<i64> {
        let until_ms = self.meters.get(&key)?.refused_until_ms;
        Some(until_ms.saturating_sub(now_ms)).filter(|wait_ms| *wait_ms > 0)
    }

    /// The meter of that key, from now on the one used last. A flood from ever new addresses must not grow this, so
    /// the one used longest ago makes room: as a rule it has been quiet for its window, and has lost nothing. Who goes
    /// on being refused stays.
    fn used(&mut self, key: (What, Address)) -> &mut Counted {
        self.last_turn = self.last_turn.saturating_add(1);
        let counted = self.meters.entry(key).or_default();
        self.order.remove(&counted.turn);
        counted.turn = self.last_turn;
        self.order.insert(self.last_turn, key);
        while self.meters.len() > ADDRESSES_MAX {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            self.meters.remove(&oldest);
        }
        self.meters.entry(key).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_000_000;

    fn wait_of(result: Result<(), ApiError>) -> Option<i64> {
        match result {
            Ok(()) => None,
            Err(ApiError::RateLimited { retry_after_ms, .. }) => Some(retry_after_ms),
            Err(error) => panic!("{error:?}"),
        }
    }

    #[test]
    fn each_address_has_its_own_budget_of_each_kind() {
        let (one, two) = (Address::parse("192.0.2.1"), Address::parse("192.0.2.2"));
        let mut memory = Memory::default();
        let mut try_it = |what, address, at_ms| memory.count(what, address, ADMIN_FAILURES, at_ms);
        for _ in 0..10 {
            assert_eq!(wait_of(try_it(What::AdminFailure, one, NOW_MS)), None);
        }
        let wait_ms = wait_of(try_it(What::AdminFailure, one, NOW_MS)).unwrap();
        assert!(wait_ms > 0 && wait_ms <= MINUTE_MS, "{wait_ms}");
        assert_eq!(wait_of(try_it(What::AdminFailure, two, NOW_MS)), None);
        assert_eq!(wait_of(try_it(What::GuestToken, one, NOW_MS)), None);
        assert_eq!(wait_of(try_it(What::AdminFailure, one, NOW_MS + wait_ms)), None, "the wait was true");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        assert_eq!(Address::parse("2001:db8:1:2::1"), Address::parse("2001:db8:1:2:ffff::9"));
        assert_ne!(Address::parse("2001:db8:1:2::1"), Address::parse("2001:db8:1:3::1"));
        assert_eq!(Address::parse("::ffff:192.0.2.1"), Address::parse("192.0.2.1"));
        assert_eq!(Address::parse("not an address"), Address::Unknown);
    }

    #[test]
    fn what_an_actor_refused_is_remembered_until_its_wait_is_over() {
        let (one, two) = (Address::parse("192.0.2.1"), Address::parse("192.0.2.2"));
        let mut memory = Memory::default();
        memory.used((What::GuestToken, one)).refused_until_ms = NOW_MS + 5_000;
        assert_eq!(memory.wait_ms((What::GuestToken, one), NOW_MS + 1_000), Some(4_000));
        assert_eq!(memory.wait_ms((What::GuestToken, one), NOW_MS + 5_000), None);
        assert_eq!(memory.wait_ms((What::Exchange, one), NOW_MS), None);
        assert_eq!(memory.wait_ms((What::GuestToken, two), NOW_MS), None);
        assert_eq!(memory.meters.len(), 1, "to look is not to remember");
    }

    #[test]
    fn every_address_has_an_actor_of_its_own() {
        let names =
            ["192.0.2.1", "192.0.2.2", "2001:db8::1", "?"].map(|text| Address::parse(text).actor_name());
        let names: std::collections::HashSet<_> =
            names.into_iter().chain([Address::Any.actor_name()]).collect();
        assert_eq!(names.len(), 5);
    }

    fn nth(n: usize) -> Address {
        Address::Known(IpAddr::V4(u32::try_from(n).unwrap().into()))
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_the_quietest_alone() {
        let mut memory = Memory::default();
        let mut count = |address| wait_of(memory.count(What::GuestToken, address, ADMIN_FAILURES, NOW_MS));
        for _ in 0..10 {
            assert_eq!(count(nth(0)), None);
            assert_eq!(count(nth(1)), None);
        }
        for n in 2..ADDRESSES_MAX + 1_000 {
            count(nth(n));
            // Refused all the while, and so never the quietest.
            if n % 1_000 == 0 {
                assert!(count(nth(0)).is_some(), "the flood freed who was refused, at {n}");
            }
        }
        assert!(count(nth(0)).is_some());
        assert_eq!(count(nth(1)), None, "who was quiet longest made room");
        assert_eq!((memory.meters.len(), memory.order.len()), (ADDRESSES_MAX, ADDRESSES_MAX));
    }
}
