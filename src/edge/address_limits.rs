//! What one network address may do: guest tokens it is given, ID tokens it exchanges, and wrong keys it may try.
//!
//! Counted in this isolate's memory, by the same meters that an actor uses. No storage is written for a flood of
//! strangers and no hop is made; an address that reaches several isolates has as many budgets.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use actors::rate::{Allowance, Denied, Meter};

use super::admin_key::AdminKey;
use super::error::ApiError;
use super::inbound::Inbound;

/// Addresses remembered at one time, some hundred and fifty bytes each: three megabytes.
const ADDRESSES_MAX: usize = 16_384;
const MINUTE_MS: i64 = 60_000;
/// Wrong admin keys that one address may try in a minute. A right one is never refused.
const ADMIN_FAILURES: Allowance = Allowance { limit: 10, window_ms: MINUTE_MS, burst: 10 };

/// The name of that budget.
pub const ADMIN_FAILURES_POLICY: &str = "admin-failures";

/// API keys that are none of ours which one address may try in a minute.
const KEY_GUESSES: Allowance = Allowance { limit: 30, window_ms: MINUTE_MS, burst: 15 };

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum What {
    GuestToken,
    Exchange,
    AdminFailure,
    KeyGuess,
}

impl What {
    const fn policy(self) -> &'static str {
        match self {
            Self::GuestToken => "guest-tokens",
            Self::Exchange => "exchanges",
            Self::AdminFailure => ADMIN_FAILURES_POLICY,
            Self::KeyGuess => "api-key-failures",
        }
    }
}

/// Meters, and the order in which they were last used.
#[derive(Default)]
struct Memory {
    meters: HashMap<(What, Address), Counted>,
    order: BTreeMap<u64, (What, Address)>,
    last_turn: u64,
}

#[derive(Default)]
struct Counted {
    meter: Meter,
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
}

/// Counts a guest token; `per_minute` of zero is no limit.
///
/// # Errors
/// `RateLimited`.
pub fn guest_token(address: Address, per_minute: i64, now_ms: i64) -> Result<(), ApiError> {
    up_to(What::GuestToken, address, per_minute, now_ms)
}

/// Counts an exchange of an ID token, good or not: each may cost a look at its issuer's keys, two signatures, or both.
///
/// # Errors
/// `RateLimited`.
pub fn exchange(address: Address, per_minute: i64, now_ms: i64) -> Result<(), ApiError> {
    up_to(What::Exchange, address, per_minute, now_ms)
}

/// Half of them at once, the rest over the minute; zero is no limit.
fn up_to(what: What, address: Address, per_minute: i64, now_ms: i64) -> Result<(), ApiError> {
    if per_minute == 0 {
        return Ok(());
    }
    let burst = per_minute.div_euclid(2).max(1);
    let allowance = Allowance { limit: per_minute, window_ms: MINUTE_MS, burst };
    MEMORY.with_borrow_mut(|memory| memory.count(what, address, allowance, now_ms))
}

/// Counts a wrong admin key: what it is from the eleventh within a minute on.
pub fn admin_failure(address: Address, now_ms: i64) -> AdminKey {
    let counted =
        MEMORY.with_borrow_mut(|memory| memory.count(What::AdminFailure, address, ADMIN_FAILURES, now_ms));
    match counted {
        Err(ApiError::RateLimited { limit, window_ms, retry_after_ms, .. }) => {
            AdminKey::TooOften { limit, window_ms, retry_after_ms }
        }
        _ => AdminKey::Invalid,
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
        let Allowance { limit, window_ms, .. } = allowance;
        let policy = what.policy().to_owned();
        Err(ApiError::RateLimited { policy, limit, window_ms, retry_after_ms, remaining: 0 })
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

    fn refused(result: Result<(), ApiError>) -> Option<i64> {
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
            assert_eq!(refused(try_it(What::AdminFailure, one, NOW_MS)), None);
        }
        let wait_ms = refused(try_it(What::AdminFailure, one, NOW_MS)).unwrap();
        assert!(wait_ms > 0 && wait_ms <= MINUTE_MS, "{wait_ms}");
        assert_eq!(refused(try_it(What::AdminFailure, two, NOW_MS)), None);
        assert_eq!(refused(try_it(What::GuestToken, one, NOW_MS)), None);
        assert_eq!(refused(try_it(What::AdminFailure, one, NOW_MS + wait_ms)), None, "the wait was true");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        assert_eq!(Address::parse("2001:db8:1:2::1"), Address::parse("2001:db8:1:2:ffff::9"));
        assert_ne!(Address::parse("2001:db8:1:2::1"), Address::parse("2001:db8:1:3::1"));
        assert_eq!(Address::parse("::ffff:192.0.2.1"), Address::parse("192.0.2.1"));
        assert_eq!(Address::parse("not an address"), Address::Unknown);
    }

    fn nth(n: usize) -> Address {
        Address::Known(IpAddr::V4(u32::try_from(n).unwrap().into()))
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_the_quietest_alone() {
        let mut memory = Memory::default();
        let mut count = |address| refused(memory.count(What::GuestToken, address, ADMIN_FAILURES, NOW_MS));
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
