//! Why an actor did not do what it was asked. Everything here means: nothing was changed.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Micro, Period};
use crate::rate::shown_limit;

#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The available balance does not cover the hold.
    #[error("the available balance does not cover the hold")]
    InsufficientCredits { available: Micro, needed: Micro, updated_at_ms: i64 },
    /// A rate budget is used up; after `retry_after_ms` the same request fits, if none comes between.
    /// `window_ms` is zero for what counts requests at one time. `remaining` is what is left, too little for this one.
    #[error("the budget `{policy}` of {} in {window_ms} ms is used up", shown_limit(policy, *limit))]
    RateLimited {
        policy: String,
        limit: i64,
        window_ms: i64,
        retry_after_ms: i64,
        #[serde(default)]
        remaining: i64,
    },
    /// The request alone is larger than a budget or a cap can ever give: waiting does not help.
    #[error("the request is larger than `{policy}` allows at once, which is {}", shown_limit(policy, *limit))]
    ExceedsBudget { policy: String, limit: i64 },
    /// A spending cap does not cover the hold; its period ends after `retry_after_ms`.
    #[error("the cap `{cap}` of {limit} does not cover the hold")]
    CapReached { cap: String, period: Period, limit: Micro, retry_after_ms: i64 },
    /// The tenant's plan does not have this tier.
    #[error("the plan does not have the tier `{tier}`")]
    TierNotAllowed { tier: String },
    /// A setting is out of its bounds.
    #[error("the setting `{field}` is out of its bounds")]
    InvalidSetting { field: String, expected: String },
    /// As many grants are live as a tenant may have.
    #[error("{limit} grants are live")]
    TooManyGrants { limit: u32 },
    /// The ledger has no such entry.
    #[error("no such entry")]
    UnknownEntry,
    /// As many holds are open as a tenant may have.
    #[error("{limit} holds are open")]
    TooManyHolds { limit: u32 },
    /// As many idempotency keys are remembered as a tenant may have.
    #[error("{limit} idempotency keys are remembered")]
    TooManyKeys { limit: u32 },
    /// The key was used with another body.
    #[error("the idempotency key was used with another body")]
    IdempotencyConflict,
    /// The first request with this key has not ended yet.
    #[error("the first request with this key has not ended")]
    IdempotencyInProgress,
    /// No live API key is meant. It is never said why.
    #[error("no such API key")]
    UnknownApiKey,
    /// The API key that a job or a schedule was made with has ended, so nothing is begun for it any more.
    #[error("the API key that it was made with has ended")]
    CredentialEnded,
    /// As many API keys are live as a tenant may have.
    #[error("{limit} API keys are live")]
    TooManyApiKeys { limit: u32 },
    /// No ticket is outstanding that opens this from here. It is never said why.
    #[error("no such ticket")]
    UnknownTicket,
    /// As many tickets are outstanding as a tenant may have; after `retry_after_ms` the first is over.
    #[error("{limit} tickets are outstanding")]
    TooManyTickets { limit: u32, retry_after_ms: i64 },
    /// As many sockets are open as a tenant may have.
    #[error("{limit} sockets are open")]
    TooManySockets { limit: u32 },
    /// As many voice sessions are open as a tenant may have.
    #[error("{limit} voice sessions are open")]
    TooManyVoiceSessions { limit: u32 },
    /// There is no such voice session here.
    #[error("no such voice session")]
    UnknownVoiceSession,
    /// Another version is the current one than whoever changes it knows.
    #[error("version {current_version} is the current one")]
    VersionConflict { current_version: i64 },
    /// The catalog has no such version, or no such skill.
    #[error("no such version")]
    UnknownVersion,
    /// As many versions are kept as may be.
    #[error("{limit} versions are kept")]
    TooManyVersions { limit: i64 },
    /// As many skills are there as may be.
    #[error("{limit} skills are there")]
    TooManySkills { limit: u32 },
    /// The skill has no experiment.
    #[error("no such experiment")]
    UnknownExperiment,
    /// No answer of the caller's has this request id and can be scored. It is never said why.
    #[error("no such answer")]
    UnknownRequest,
    /// The experiment was promoted or withdrawn, and can only be begun anew.
    #[error("the experiment is over")]
    ExperimentEnded,
    /// The name of an arm means another thing already.
    #[error("the arm `{arm}` is another one already")]
    ArmChanged { arm: String },
    /// As many skills have an experiment as may.
    #[error("{limit} skills have an experiment")]
    TooManyExperiments { limit: u32 },
    /// There is no such job here.
    #[error("no such job")]
    UnknownJob,
    /// The job is in another state than it can be changed so from; both as clients see them.
    #[error("a job that is `{from}` does not become `{to}`")]
    InvalidTransition { from: String, to: String },
    /// Whoever says so has the lease of the job no longer: it ran out, or the job is over.
    #[error("the lease is over, and the job is `{status}`")]
    StaleLease { status: String },
    /// What is not the client's to change.
    #[error("the field `{field}` is not to be changed")]
    ProtectedField { field: String },
    /// As many jobs are open, or kept, as a tenant may have.
    #[error("{limit} jobs are there")]
    TooManyJobs { limit: i64 },
    /// There is no such schedule here.
    #[error("no such schedule")]
    UnknownSchedule,
    /// As many schedules are there as a tenant may have.
    #[error("{limit} schedules are there")]
    TooManySchedules { limit: u32 },
    /// The operation id was used before.
    #[error("the operation id was used before")]
    DuplicateOperation,
    /// No hold of that id was ever made here, or it was forgotten long ago.
    #[error("no such hold")]
    UnknownHold,
    /// The amount is out of bounds, or would take the balance out of them.
    #[error("the amount is out of bounds")]
    InvalidAmount,
    /// The cursor was not made by this list of this tenant.
    #[error("the cursor was not made by this list")]
    InvalidCursor,
    /// The caller's tenant is not the one this actor belongs to.
    #[error("the actor belongs to another tenant")]
    TenantMismatch,
    /// An invariant was found broken earlier; the actor changes nothing until an operator releases it.
    #[error("the actor is quarantined")]
    Quarantined,
    /// This command found an invariant broken. `detail` is for the operator.
    #[error("an invariant is broken: {detail}")]
    Broken { detail: String },
    /// The database refused. `detail` is for the operator.
    #[error("storage refused: {detail}")]
    Storage { detail: String },
}
