//! What a Tenant actor can be asked, and what it answers. These types cross the stub as JSON bytes: a newer
//! side may add optional fields without breaking an older one while a deployment is under way.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::credits::{
    Account, Adjusted, Adjustment, Admitted, EndedHold, EntryPage, HoldPage, Usage, UsageEvent, UsageFilter,
    UsagePage,
};
use crate::rate::BudgetLeft;
use crate::shared::{Micro, TenantId};

/// One command on behalf of one tenant. The actor refuses a tenant that is not its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Call {
    pub tenant: TenantId,
    pub command: Command,
}

/// A client's key for a request, and the digest of what the request said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    pub key: String,
    /// Digest of route and body, in hexadecimal digits.
    pub body_hash: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    Balance,
    /// An operator's change of the balance.
    Adjust {
        operation: String,
        adjustment: Adjustment,
        reason: Option<String>,
        idempotency: Option<Idempotency>,
    },
    /// May this request run? Counts it and sets credit aside for it.
    Admit {
        hold: String,
        amount: Micro,
        ttl_ms: i64,
        route: String,
        idempotency: Option<Idempotency>,
    },
    /// The request is done: charge it, write its usage, release the rest.
    Settle {
        hold: String,
        charge: Micro,
        usage: Usage,
        /// The reply to give again to the same idempotency key.
        reply: Option<Box<RawValue>>,
        idempotency: Option<Idempotency>,
    },
    /// The request came to nothing: no charge, and its idempotency key is free again.
    Release {
        hold: String,
        idempotency: Option<Idempotency>,
    },
    /// A client reports usage of its own; nothing is debited.
    RecordUsage {
        id: String,
        usage: Usage,
        cost: Option<Micro>,
        created_at_ms: Option<i64>,
        idempotency: Option<Idempotency>,
    },
    ListUsage(UsageFilter),
    ListEntries {
        limit: u32,
        cursor: Option<String>,
    },
    ListHolds {
        limit: u32,
    },
}

/// A reply that was given once and is given again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stored {
    pub reply: Box<RawValue>,
    /// What the first request was charged, and the available balance right after.
    pub charged: Micro,
    pub available: Micro,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Balance(Account),
    Adjusted {
        adjusted: Adjusted,
        replayed: bool,
    },
    Admitted {
        admitted: Admitted,
        budget: Option<BudgetLeft>,
    },
    /// The key was seen before and its request is done.
    Replay(Stored),
    Ended(EndedHold),
    Recorded {
        event: UsageEvent,
        replayed: bool,
    },
    Usage(UsagePage),
    Entries(EntryPage),
    Holds(HoldPage),
}

/// What the shell does after the commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Something is due at this time at the latest: have an alarm by then.
    WakeBy { at_ms: i64 },
}

/// A reply and the effects of the command that made it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    pub reply: Reply,
    pub effects: Vec<Effect>,
}

/// What configuration says of every tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Requests that any sliding minute may hold; zero switches the budget off.
    pub requests_per_minute: u32,
    /// Credit that a guest begins with.
    pub guest_grant: Micro,
}

impl Policy {
    /// What a new tenant begins with.
    #[must_use]
    pub const fn opening_grant(self, tenant: &TenantId) -> Micro {
        if tenant.is_guest() { self.guest_grant } else { Micro::ZERO }
    }
}
