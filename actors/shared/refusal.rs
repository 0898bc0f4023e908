//! Why an actor did not do what it was asked. Everything here means: nothing was changed.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Micro;

#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The available balance does not cover the hold.
    #[error("the available balance does not cover the hold")]
    InsufficientCredits { available: Micro, needed: Micro, updated_at_ms: i64 },
    /// A rate budget is used up; after `retry_after_ms` one more request fits.
    #[error("the budget of {limit} requests in {window_ms} ms is used up")]
    RateLimited { limit: u32, window_ms: i64, retry_after_ms: i64 },
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
