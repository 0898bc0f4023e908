//! What configuration says of every tenant.

use crate::credits::{GrantKind, GrantTerms, Opening, PRIORITY_DEFAULT};
use crate::rate::{Limits, Plans};
use crate::shared::{Micro, TenantId};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    pub plans: Plans,
    /// The plan of tenants without one of their own, and of guests.
    pub default_plan: String,
    pub guest_plan: String,
    /// Credit that a guest begins with, and how long it lasts.
    pub guest_grant: Micro,
    pub guest_grant_ttl_ms: i64,
}

impl Policy {
    /// What a tenant opened at `now_ms` begins with.
    #[must_use]
    pub fn opening(&self, tenant: &TenantId, now_ms: i64) -> Opening {
        let terms = GrantTerms {
            kind: GrantKind::Promotional,
            priority: PRIORITY_DEFAULT,
            expires_at_ms: Some(now_ms.saturating_add(self.guest_grant_ttl_ms)),
        };
        Opening { amount: if tenant.is_guest() { self.guest_grant } else { Micro::ZERO }, terms }
    }

    /// The limits of a plan. One that configuration no longer names counts as the default one.
    #[must_use]
    pub fn plan(&self, tenant: &TenantId, named: Option<&str>) -> Limits {
        let usual = if tenant.is_guest() { &self.guest_plan } else { &self.default_plan };
        let plan = named.and_then(|name| self.plans.get(name)).or_else(|| self.plans.get(usual));
        plan.cloned().unwrap_or_default()
    }
}
