//! Refusals this isolate remembers until their wait is over, so that a flood of refused requests does not reach
//! the actor it is meant for. The actor alone decides who is admitted; this only repeats what it said.
//!
//! Only the tenant's budget of requests is remembered: nothing gives it back before its time, so the wait it told
//! stays true.

use std::cell::RefCell;
use std::collections::HashMap;

use actors::rate::REQUESTS;
use actors::shared::{Refusal, TenantId};

/// Tenants remembered at one time: a few hundred bytes each, so about a megabyte.
const TENANTS_MAX: usize = 4_096;
/// The longest a refusal is remembered, whatever it said: an operator's change of plan takes effect by then.
const REMEMBERED_MS_MAX: i64 = 60_000;
/// Requests with an idempotency key that still reach the actor in that time, because their reply may be kept
/// there and costs nothing.
const KEYED_REQUESTS_MAX: u32 = 8;

struct Remembered {
    until_ms: i64,
    limit: i64,
    window_ms: i64,
    /// What was left then, too little for this one.
    remaining: i64,
    /// Of another weight nothing is known.
    weight: i64,
    keyed: u32,
}

#[derive(Default)]
struct Memory {
    tenants: HashMap<TenantId, Remembered>,
}

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
}

/// The refusal that a request of this weight would meet again, if one is remembered.
pub fn recall(tenant: &TenantId, weight: i64, has_key: bool, now_ms: i64) -> Option<Refusal> {
    MEMORY.with_borrow_mut(|memory| memory.recall(tenant, weight, has_key, now_ms))
}

/// Remembers a refusal, when it is one that stays true.
pub fn remember(tenant: &TenantId, weight: i64, refusal: &Refusal, now_ms: i64) {
    MEMORY.with_borrow_mut(|memory| memory.remember(tenant, weight, refusal, now_ms));
}

impl Memory {
    fn recall(&mut self, tenant: &TenantId, weight: i64, has_key: bool, now_ms: i64) -> Option<Refusal> {
        let found = self.tenants.get_mut(tenant)?;
        let retry_after_ms = found.until_ms.saturating_sub(now_ms);
        if retry_after_ms <= 0 {
            self.tenants.remove(tenant);
            return None;
        }
        // What weighs less may still fit; what weighs more has to wait longer, or never fits.
        if weight != found.weight {
            return None;
        }
        if has_key && found.keyed < KEYED_REQUESTS_MAX {
            found.keyed = found.keyed.saturating_add(1);
            return None;
        }
        let Remembered { limit, window_ms, remaining, .. } = *found;
        Some(Refusal::RateLimited {
            policy: REQUESTS.to_owned(),
            limit,
            window_ms,
            retry_after_ms,
            remaining,
        })
    }

    fn remember(&mut self, tenant: &TenantId, weight: i64, refusal: &Refusal, now_ms: i64) {
        let Refusal::RateLimited { policy, limit, window_ms, retry_after_ms, remaining } = refusal else {
            return;
        };
        if policy != REQUESTS || *retry_after_ms > REMEMBERED_MS_MAX {
            return;
        }
        if self.tenants.len() >= TENANTS_MAX {
            self.tenants.retain(|_, known| known.until_ms > now_ms);
        }
        if self.tenants.len() >= TENANTS_MAX {
            return;
        }
        let until_ms = now_ms.saturating_add(*retry_after_ms);
        let keyed = self.tenants.get(tenant).map_or(0, |known| known.keyed);
        let (limit, window_ms, remaining) = (*limit, *window_ms, *remaining);
        let known = Remembered { until_ms, limit, window_ms, remaining, weight, keyed };
        self.tenants.insert(tenant.clone(), known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_000_000;

    fn me() -> TenantId {
        TenantId::Email("me@x.io".to_owned())
    }

    fn refused(policy: &str, retry_after_ms: i64) -> Refusal {
        let policy = policy.to_owned();
        Refusal::RateLimited { policy, limit: 60, window_ms: 60_000, retry_after_ms, remaining: 1 }
    }

    #[test]
    fn a_refusal_is_repeated_until_its_wait_is_over() {
        let mut memory = Memory::default();
        memory.remember(&me(), 2, &refused(REQUESTS, 5_000), NOW_MS);
        assert_eq!(memory.recall(&me(), 2, false, NOW_MS + 1_000), Some(refused(REQUESTS, 4_000)));
        assert_eq!(memory.recall(&me(), 1, false, NOW_MS + 1_000), None, "a lighter one may fit");
        assert_eq!(memory.recall(&me(), 3, false, NOW_MS + 1_000), None, "a heavier one waits longer");
        let other = TenantId::Guest("me@x.io".to_owned());
        assert_eq!(memory.recall(&other, 2, false, NOW_MS), None);
        assert_eq!(memory.recall(&me(), 2, false, NOW_MS + 5_000), None);
    }

    #[test]
    fn what_may_change_before_its_time_is_not_remembered() {
        let mut memory = Memory::default();
        for refusal in [
            refused("tokens", 5_000),
            refused("in-flight", 1_000),
            refused("requests@key", 5_000),
            refused(REQUESTS, REMEMBERED_MS_MAX + 1),
            Refusal::TooManyHolds { limit: 1 },
        ] {
            memory.remember(&me(), 1, &refusal, NOW_MS);
            assert_eq!(memory.recall(&me(), 1, false, NOW_MS), None, "{refusal}");
        }
    }

    #[test]
    fn a_few_requests_with_keys_get_through_for_their_kept_replies() {
        let mut memory = Memory::default();
        memory.remember(&me(), 1, &refused(REQUESTS, 5_000), NOW_MS);
        for _ in 0..KEYED_REQUESTS_MAX {
            assert_eq!(memory.recall(&me(), 1, true, NOW_MS), None);
            memory.remember(&me(), 1, &refused(REQUESTS, 5_000), NOW_MS);
        }
        assert!(memory.recall(&me(), 1, true, NOW_MS).is_some());
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut memory = Memory::default();
        for n in 0..TENANTS_MAX + 10 {
            memory.remember(&TenantId::Guest(n.to_string()), 1, &refused(REQUESTS, 5_000), NOW_MS);
        }
        assert_eq!(memory.tenants.len(), TENANTS_MAX);
        memory.remember(&me(), 1, &refused(REQUESTS, 5_000), NOW_MS + 5_000);
        assert_eq!(memory.tenants.len(), 1);
    }
}
