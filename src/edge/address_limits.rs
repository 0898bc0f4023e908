//! What one network address may do: guest tokens it is given, and wrong admin keys it may try.
//!
//! Counted in this isolate's memory, by the same meters that an actor uses. No storage is written for a flood of
//! strangers and no hop is made; an address that reaches several isolates has as many budgets.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;

use actors::rate::{Allowance, Denied, Meter};

use super::admin_key::AdminKey;
use super::error::ApiError;
use super::inbound::Inbound;

/// Addresses remembered at one time, some sixty bytes each: one megabyte.
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
    AdminFailure,
    KeyGuess,
}

impl What {
    const fn policy(self) -> &'static str {
        match self {
            Self::GuestToken => "guest-tokens",
            Self::AdminFailure => ADMIN_FAILURES_POLICY,
            Self::KeyGuess => "api-key-failures",
        }
    }
}

#[derive(Default)]
struct Memory {
    meters: HashMap<(What, Address), (Meter, i64)>,
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

    fn parse(text: &str) -> Self {
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
    if per_minute == 0 {
        return Ok(());
    }
    // Half of them at once, the rest over the minute.
    let burst = per_minute.div_euclid(2).max(1);
    let allowance = Allowance { limit: per_minute, window_ms: MINUTE_MS, burst };
    MEMORY.with_borrow_mut(|memory| memory.count(What::GuestToken, address, allowance, now_ms))
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
        if let Some((meter, _)) = memory.meters.get_mut(&(What::KeyGuess, address)) {
            meter.reconcile(KEY_GUESSES, 1, 0, now_ms, now_ms);
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
        if self.meters.len() >= ADDRESSES_MAX && !self.meters.contains_key(&(what, address)) {
            self.make_room(now_ms);
        }
        let (meter, seen_ms) = self.meters.entry((what, address)).or_default();
        *seen_ms = now_ms;
        let retry_after_ms = match meter.admit(allowance, 1, now_ms) {
            Ok(_left) => return Ok(()),
            Err(Denied::After(wait_ms)) => wait_ms,
            Err(Denied::Never) => allowance.window_ms,
        };
        let Allowance { limit, window_ms, .. } = allowance;
        let policy = what.policy().to_owned();
        Err(ApiError::RateLimited { policy, limit, window_ms, retry_after_ms, remaining: 0 })
    }

    /// Forgets who was quiet for a window; if nobody was, everybody: a flood from ever new addresses must not grow
    /// this, and whoever it forgets has one budget more.
    fn make_room(&mut self, now_ms: i64) {
        self.meters.retain(|_, (_, seen_ms)| now_ms.saturating_sub(*seen_ms) < MINUTE_MS);
        if self.meters.len() >= ADDRESSES_MAX {
            self.meters.clear();
        }
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

    #[test]
    fn the_memory_is_bounded() {
        let mut memory = Memory::default();
        for n in 0..u32::try_from(ADDRESSES_MAX).unwrap() + 10 {
            let address = Address::Known(IpAddr::V4(n.into()));
            memory.count(What::GuestToken, address, ADMIN_FAILURES, NOW_MS).unwrap();
        }
        assert!(memory.meters.len() <= ADDRESSES_MAX);
    }
}
