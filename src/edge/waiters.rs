//! Requests of this isolate that wait for the first one with their idempotency key, counted by tenant.
//!
//! Each asks the actor now and then whether the first one is done. A client that sends hundreds with one key must not
//! fill its actor's time with that, and the isolate's memory.

use std::cell::RefCell;
use std::collections::HashMap;

use actors::shared::TenantId;

/// Requests of one tenant that may wait in this isolate at one time. What comes on top is told at once that the first
/// one is under way.
pub const WAITERS_MAX: u32 = 64;

thread_local! {
    static WAITING: RefCell<HashMap<TenantId, u32>> = RefCell::default();
}

/// A request that waits; dropped, it waits no more.
pub struct Waiter {
    tenant: TenantId,
}

impl Waiter {
    /// `None` when as many wait as may.
    pub fn enter(tenant: &TenantId) -> Option<Self> {
        WAITING.with_borrow_mut(|waiting| {
            let count = waiting.get(tenant).copied().unwrap_or(0);
            if count >= WAITERS_MAX {
                return None;
            }
            waiting.insert(tenant.clone(), count.saturating_add(1));
            Some(Self { tenant: tenant.clone() })
        })
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        WAITING.with_borrow_mut(|waiting| match waiting.get_mut(&self.tenant) {
            Some(count) if *count > 1 => *count = count.saturating_sub(1),
            _ => drop(waiting.remove(&self.tenant)),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_wait_and_who_leaves_makes_room() {
        let (me, other) = (TenantId::Guest("me".to_owned()), TenantId::Guest("other".to_owned()));
        let mut waiters: Vec<Waiter> = (0..WAITERS_MAX).filter_map(|_| Waiter::enter(&me)).collect();
        assert_eq!(waiters.len(), WAITERS_MAX as usize);
        assert!(Waiter::enter(&me).is_none());
        assert!(Waiter::enter(&other).is_some(), "each tenant has room of its own");
        waiters.pop();
        assert!(Waiter::enter(&me).is_some());
        waiters.clear();
        WAITING.with_borrow(|waiting| assert!(waiting.is_empty(), "nobody waits, nothing is kept"));
    }
}
