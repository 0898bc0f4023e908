//! What a Tenant actor can be asked, and what it answers. These types cross the stub as JSON: a newer
//! side may add optional fields without breaking an older one while a deployment is under way.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::jobs::{JobCommand, JobReply};
use super::live::{Opened, Opening};
use super::settings::Settings;
use super::voice::{VoiceCommand, VoiceReply};
use crate::credits::caps::Cap;
use crate::credits::{
    Account, Adjusted, Adjustment, EndedHold, Entry, EntryPage, HoldPage, HoldState, Owner, Progressed,
    Usage, UsageEvent, UsageFilter, UsagePage, Verified,
};
use crate::jobs::{Nudge, ScheduleDue};
use crate::keys::{ApiKey, NewKey};
use crate::notices::{Delivery, NoticePage};
use crate::rate::{BudgetLeft, Limits};
use crate::shared::{Micro, Period, Refusal, TenantId};
use crate::tickets::NewTicket;

/// One command on behalf of one tenant. The actor refuses a tenant that is not its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Call {
    pub tenant: TenantId,
    /// The API key that the request came with; refused when it is no longer live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<String>,
    /// The request it is part of, for the log alone: no rule looks at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    pub command: Command,
}

/// A client's key for a request, and the digest of what the request said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    pub key: String,
    /// Digest of route and body, in hexadecimal digits.
    pub body_hash: String,
}

/// What a request wants to be admitted as.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Admission {
    /// The id of the hold to be.
    pub hold: String,
    /// What it may cost.
    pub amount: Micro,
    pub ttl_ms: i64,
    /// Who asks, which models may answer, and what it weighs in the budgets.
    pub owner: Owner,
    /// The tier it asks for, when it does.
    pub tier: Option<String>,
    pub idempotency: Option<Idempotency>,
    /// Digest of what is asked, for tenants that take two requests alike for one.
    pub fingerprint: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    Balance,
    /// The balance right after one entry of the ledger.
    BalanceAt {
        entry: i64,
    },
    /// An operator's change of the balance.
    Adjust {
        operation: String,
        adjustment: Adjustment,
        reason: Option<String>,
        reference: Option<String>,
        idempotency: Option<Idempotency>,
    },
    /// May this request run? Counts it and sets credit aside for it.
    Admit(Box<Admission>),
    /// The request goes on: charge what it has used so far, set more aside for it, give it more time.
    Progress {
        hold: String,
        charge_total: Micro,
        hold_total: Micro,
        ttl_ms: i64,
        usage: Usage,
    },
    /// The request is done: charge it, write its usage, release the rest.
    Settle {
        hold: String,
        charge: Micro,
        usage: Usage,
        /// The reply to give again to the same idempotency key.
        reply: Option<Box<RawValue>>,
    },
    /// The request came to nothing: no further charge, and its idempotency key is free again.
    Release {
        hold: String,
    },
    /// A client reports usage of its own; nothing is debited.
    RecordUsage {
        id: String,
        usage: Usage,
        cost: Option<Micro>,
        created_at_ms: Option<i64>,
        idempotency: Option<Idempotency>,
    },
    /// Counts a request in the tenant's budget of requests, and does nothing else: for what costs no credit.
    Count,
    /// Whether a request with this key was answered already: for one that can no longer be asked as it was.
    Recall {
        idempotency: Idempotency,
    },
    ListUsage(UsageFilter),
    ListEntries {
        limit: u32,
        cursor: Option<String>,
    },
    ListHolds {
        state: HoldState,
        limit: u32,
        cursor: Option<String>,
    },
    ListNotices {
        limit: u32,
        cursor: Option<String>,
    },
    /// The tenant's own audit, from after the entry `from` on (zero: all of it), `limit` entries at most.
    Verify {
        from: i64,
        limit: u32,
    },
    Limits,
    /// Whose actor this is, for who has a live API key and knows nothing else: `tenant` is not looked at.
    Identify {
        digest: String,
    },
    ListKeys,
    /// Adds an API key, and what it may spend.
    CreateKey {
        key: NewKey,
        cap: Option<KeyCap>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        idempotency: Option<Idempotency>,
    },
    RevokeKey {
        id: String,
    },
    /// An operator's settings for this tenant. They replace what was set before. A webhook without a secret keeps
    /// the one its address had, or gets `fresh_secret`.
    SetLimits {
        settings: Box<Settings>,
        fresh_secret: String,
    },
    /// Adds a ticket that opens one socket.
    MintTicket(NewTicket),
    /// Opens the way for a socket. With a ticket, `tenant` is not looked at: the ticket says whose it is.
    OpenSocket(Box<Opening>),
    /// About jobs.
    Jobs(Box<JobCommand>),
    /// About voice sessions.
    Voice(Box<VoiceCommand>),
}

impl Command {
    /// What it is called in a log line.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Balance => "balance",
            Self::BalanceAt { .. } => "balance_at",
            Self::Adjust { .. } => "adjust",
            Self::Admit(_) => "admit",
            Self::Progress { .. } => "progress",
            Self::Settle { .. } => "settle",
            Self::Release { .. } => "release",
            Self::RecordUsage { .. } => "record_usage",
            Self::Count => "count",
            Self::Recall { .. } => "recall",
            Self::ListUsage(_) => "list_usage",
            Self::ListEntries { .. } => "list_entries",
            Self::ListHolds { .. } => "list_holds",
            Self::ListNotices { .. } => "list_notices",
            Self::Verify { .. } => "verify",
            Self::Limits => "limits",
            Self::Identify { .. } => "identify",
            Self::ListKeys => "list_keys",
            Self::CreateKey { .. } => "create_key",
            Self::RevokeKey { .. } => "revoke_key",
            Self::SetLimits { .. } => "set_limits",
            Self::MintTicket(_) => "mint_ticket",
            Self::OpenSocket(_) => "open_socket",
            Self::Jobs(asked) => asked.name(),
            Self::Voice(asked) => asked.name(),
        }
    }
}

/// What an API key may spend in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCap {
    pub period: Period,
    #[serde(rename = "limit_micro")]
    pub limit: Micro,
}

/// A reply that was given once and is given again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stored {
    /// `null` when there is none to give again: the work was charged and its reply was lost, or was too large.
    pub reply: Box<RawValue>,
    /// What the first request was charged, and the available balance right after.
    pub charged: Micro,
    pub available: Micro,
}

/// A request that may run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admitted {
    pub held: Micro,
    /// Available balance with the hold taken out.
    pub available: Micro,
    /// All that was ever granted, less what expired.
    pub granted: Micro,
    pub deadline_ms: i64,
    /// The models whose caps allow them, of those that may answer.
    pub models: Vec<String>,
    pub budgets: Vec<BudgetLeft>,
}

/// What a tenant may do, and what it has used of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LimitsReport {
    pub settings: Settings,
    /// The plan with its overrides.
    pub effective: Limits,
    pub budgets: Vec<BudgetLeft>,
    pub caps: Vec<Cap>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Balance(Account),
    BalanceAt(Box<Entry>),
    Adjusted {
        adjusted: Adjusted,
        replayed: bool,
    },
    Admitted(Admitted),
    /// Refused, and the owner is told of it: the first refusal by a cap in its period. Else a refusal is no reply,
    /// because it changes nothing. Of the request, nothing is counted here either.
    Refused(Refusal),
    /// The key was seen before and its request is done.
    Replay(Stored),
    /// No request with the key was answered.
    NotAnswered,
    Progressed(Progressed),
    Ended(EndedHold),
    Recorded {
        event: UsageEvent,
        replayed: bool,
    },
    Counted,
    Usage(UsagePage),
    Entries(EntryPage),
    Holds(HoldPage),
    Notices(NoticePage),
    Verified(Verified),
    Limits(Box<LimitsReport>),
    Identified {
        tenant: TenantId,
        key: ApiKey,
    },
    Keys(Vec<ApiKey>),
    Key(ApiKey),
    /// What was told of the key that a request with the same idempotency key made.
    KeyAgain(ApiKey),
    Ticket {
        expires_at_ms: i64,
    },
    Opened(Box<Opened>),
    Jobs(Box<JobReply>),
    Voice(Box<VoiceReply>),
}

/// What the shell does after the commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Something is due at this time at the latest: have an alarm by then.
    WakeBy { at_ms: i64 },
    /// Call the owner's webhook, and report how it went.
    Deliver(Delivery),
    /// An invariant was found broken: note it, and change nothing from then on.
    Quarantine { detail: String },
    /// An API key opens nothing any more: end the sockets that it opened.
    EndSocketsOf { api_key: String },
    /// Send a message that there is a job to do. It may get lost: it is sent again until somebody comes.
    Nudge(Nudge),
    /// Make the run of a schedule. Asked for again until it is made.
    RunSchedule(Box<ScheduleDue>),
}

/// A reply and the effects of the command that made it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    pub reply: Reply,
    pub effects: Vec<Effect>,
}
