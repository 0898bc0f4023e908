//! Holds `ops/errors.md` against the enum: every code is on the page once, with its status, and nothing else is.

use std::collections::BTreeMap;

use actors::shared::{Micro, Period};

use super::error::ApiError;
use super::openapi;

const ENUM: &str = include_str!("error.rs");

/// One of each.
pub(super) fn each() -> Vec<ApiError> {
    let text = String::new;
    vec![
        ApiError::NotFound,
        ApiError::UnknownModel,
        ApiError::RequestRefused,
        ApiError::MethodNotAllowed { allow: text() },
        ApiError::NotImplemented,
        ApiError::UriTooLong,
        ApiError::HeadersTooLarge { max_headers: 1, max_bytes: 1 },
        ApiError::Misconfigured,
        ApiError::Unavailable,
        ApiError::MissingEmail,
        ApiError::InvalidEmail,
        ApiError::TokenInvalid,
        ApiError::IdentityUnproven,
        ApiError::IdentityMismatch,
        ApiError::OriginForbidden,
        ApiError::MissingTurnstile,
        ApiError::TurnstileFailed,
        ApiError::ExchangeUnconfigured,
        ApiError::CartesiaUnconfigured,
        ApiError::EmailUnverified,
        ApiError::EmailDomainForbidden,
        ApiError::KeysForbidden,
        ApiError::TooManyApiKeys { limit: 1 },
        ApiError::Unauthorized,
        ApiError::SigningUnconfigured,
        ApiError::TicketInvalid,
        ApiError::TooManyTickets { limit: 1, retry_after_ms: 1 },
        ApiError::TooManySockets { limit: 1 },
        ApiError::TooManySessions { limit: 1 },
        ApiError::UpgradeRequired,
        ApiError::InvalidJson,
        ApiError::UnsupportedContentType,
        ApiError::InvalidForm,
        ApiError::PayloadTooLarge { max_bytes: 1 },
        ApiError::InvalidField { field: "", expected: "" },
        ApiError::MissingInput,
        ApiError::MissingText,
        ApiError::R2NotBound,
        ApiError::LengthRequired,
        ApiError::EmptyBody,
        ApiError::BodyLengthMismatch,
        ApiError::AttachmentNotFound { index: 1 },
        ApiError::AttachmentUnsupported { index: 1 },
        ApiError::AttachmentTooLarge { index: 1, max_bytes: 1 },
        ApiError::ImagesUnsupported,
        ApiError::InvalidCursor,
        ApiError::InvalidTime { parameter: "" },
        ApiError::InvalidIdempotencyKey,
        ApiError::SetAndDeltaConflict,
        ApiError::NothingToDo,
        ApiError::InvalidAmount,
        ApiError::InsufficientCredits {
            email: None,
            available: Micro::ZERO,
            needed: Micro::ZERO,
            updated_at_ms: 0,
        },
        ApiError::RateLimited { policy: text(), limit: 1, window_ms: 1, retry_after_ms: 1, remaining: 0 },
        ApiError::ExceedsBudget { policy: text(), limit: 1 },
        ApiError::CapReached { cap: text(), period: Period::Day, limit: Micro::ZERO, retry_after_ms: 1 },
        ApiError::UnknownTier,
        ApiError::TierNotAllowed { tier: text() },
        ApiError::InvalidSetting { field: text(), expected: text() },
        ApiError::TooManyGrants { limit: 1 },
        ApiError::TooManyHolds { limit: 1 },
        ApiError::TooManyKeys { limit: 1 },
        ApiError::SkillDisabled { skill: text() },
        ApiError::InputTooLong { skill: text(), max_bytes: 1 },
        ApiError::VersionConflict { current_version: 1 },
        ApiError::TooManyVersions { limit: 1 },
        ApiError::TooManySkills { limit: 1 },
        ApiError::IdempotencyConflict,
        ApiError::IdempotencyInProgress,
        ApiError::ChargedWithoutReply { charged: Micro::ZERO, available: Micro::ZERO },
        ApiError::ActorQuarantined,
        ApiError::ExperimentEnded,
        ApiError::ArmChanged { arm: text() },
        ApiError::TooManyExperiments { limit: 1 },
        ApiError::UnsupportedType { kind: text() },
        ApiError::CredentialEnded,
        ApiError::InvalidTransition { from: text(), to: text() },
        ApiError::ProtectedField { field: text() },
        ApiError::NotFinished { status: text() },
        ApiError::TooManyJobs { limit: 1 },
        ApiError::TooManySchedules { limit: 1 },
        ApiError::AskFailed { detail: text() },
        ApiError::AiRunFailed { detail: text() },
        ApiError::AiNotBound,
    ]
}

#[test]
fn the_page_has_every_code_once_and_with_its_status() {
    let rows = openapi::rows();
    let page: BTreeMap<_, _> = rows.iter().map(|row| (row.code.to_owned(), row.status)).collect();
    assert_eq!(page.len(), rows.len(), "a code is there twice");
    let codes = each().into_iter().map(|error| (error.code().to_owned(), error.status()));
    assert_eq!(page, codes.collect());
}

#[test]
fn no_code_of_the_enum_is_left_out_here() {
    let function =
        ENUM.split("pub const fn code").nth(1).unwrap().split("pub const fn status").next().unwrap();
    let mut written: Vec<&str> = function.lines().filter_map(|line| line.split('"').nth(1)).collect();
    let mut listed: Vec<&str> = each().iter().map(ApiError::code).collect();
    written.sort_unstable();
    listed.sort_unstable();
    assert_eq!(written, listed);
}
