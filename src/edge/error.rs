//! Every error a client can get: its stable code, its status, and the fields beside it. One enum, one place.

use actors::shared::{Micro, Period, Refusal};
use serde_json::{Map, Value, json};

use super::moment::iso_time;
pub use super::openai_error::ErrorForm;
use super::reply::seconds_up;

/// When to come back with a new idempotency key after too many, in seconds. Nobody knows when the oldest of them is
/// forgotten, so this is a hint.
const TOO_MANY_KEYS_WAIT_S: i64 = 60;
/// The same after too many sockets or voice sessions: nobody knows when one of them is closed.
const TOO_MANY_SOCKETS_WAIT_S: i64 = 10;
/// The same after too many jobs: nobody knows when one of them is over.
const TOO_MANY_JOBS_WAIT_S: i64 = 10;

#[derive(Debug, Clone, PartialEq)]
pub enum ApiError {
    NotFound,
    MethodNotAllowed {
        allow: String,
    },
    NotImplemented,
    UriTooLong,
    HeadersTooLarge {
        max_headers: usize,
        max_bytes: usize,
    },
    Misconfigured,
    Unavailable,
    // Identity
    MissingEmail,
    InvalidEmail,
    TokenInvalid,
    IdentityUnproven,
    IdentityMismatch,
    OriginForbidden,
    MissingTurnstile,
    TurnstileFailed,
    ExchangeUnconfigured,
    EmailUnverified,
    EmailDomainForbidden,
    KeysForbidden,
    TooManyApiKeys {
        limit: u32,
    },
    Unauthorized,
    SigningUnconfigured,
    // Sockets
    TicketInvalid,
    TooManyTickets {
        limit: u32,
        retry_after_ms: i64,
    },
    TooManySockets {
        limit: u32,
    },
    UpgradeRequired,
    // Voice
    TooManySessions {
        limit: u32,
    },
    CartesiaUnconfigured,
    // Bodies and parameters
    InvalidJson,
    UnsupportedContentType,
    InvalidForm,
    PayloadTooLarge {
        max_bytes: usize,
    },
    InvalidField {
        field: &'static str,
        expected: &'static str,
    },
    MissingInput,
    MissingText,
    // Uploads and attachments
    R2NotBound,
    LengthRequired,
    EmptyBody,
    BodyLengthMismatch,
    /// `index` is its place in the list, from zero.
    AttachmentNotFound {
        index: usize,
    },
    AttachmentUnsupported {
        index: usize,
    },
    AttachmentTooLarge {
        index: usize,
        max_bytes: usize,
    },
    ImagesUnsupported,
    InvalidCursor,
    InvalidTime {
        parameter: &'static str,
    },
    InvalidIdempotencyKey,
    // Credits
    SetAndDeltaConflict,
    NothingToDo,
    InvalidAmount,
    InsufficientCredits {
        email: Option<String>,
        available: Micro,
        needed: Micro,
        updated_at_ms: i64,
    },
    RateLimited {
        policy: String,
        limit: i64,
        window_ms: i64,
        retry_after_ms: i64,
        remaining: i64,
    },
    ExceedsBudget {
        policy: String,
        limit: i64,
    },
    CapReached {
        cap: String,
        period: Period,
        limit: Micro,
        retry_after_ms: i64,
    },
    UnknownTier,
    UnknownModel,
    TierNotAllowed {
        tier: String,
    },
    InvalidSetting {
        field: String,
        expected: String,
    },
    TooManyGrants {
        limit: u32,
    },
    TooManyHolds {
        limit: u32,
    },
    TooManyKeys {
        limit: u32,
    },
    // Skills and prices
    SkillDisabled {
        skill: String,
    },
    InputTooLong {
        skill: String,
        max_bytes: u32,
    },
    VersionConflict {
        current_version: i64,
    },
    TooManyVersions {
        limit: i64,
    },
    TooManySkills {
        limit: u32,
    },
    IdempotencyConflict,
    IdempotencyInProgress,
    /// The key's request was charged and no answer of it was kept: its stream was lost, or it was too long to keep.
    ChargedWithoutReply {
        charged: Micro,
        available: Micro,
    },
    ActorQuarantined,
    // Experiments
    ExperimentEnded,
    ArmChanged {
        arm: String,
    },
    TooManyExperiments {
        limit: u32,
    },
    // Jobs
    UnsupportedType {
        kind: String,
    },
    CredentialEnded,
    InvalidTransition {
        from: String,
        to: String,
    },
    ProtectedField {
        field: String,
    },
    NotFinished {
        status: String,
    },
    TooManyJobs {
        limit: i64,
    },
    TooManySchedules {
        limit: u32,
    },
    // Providers
    /// Every provider that was asked calls the request itself wrong.
    RequestRefused,
    AskFailed {
        detail: String,
    },
    AiRunFailed {
        detail: String,
    },
    AiNotBound,
}

impl ApiError {
    /// A setting of an operator's that is out of its bounds.
    pub fn invalid_setting(field: &str, expected: &str) -> Self {
        Self::InvalidSetting { field: field.to_owned(), expected: expected.to_owned() }
    }

    /// The `error` field.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::NotImplemented => "not_implemented",
            Self::UriTooLong => "uri_too_long",
            Self::HeadersTooLarge { .. } => "headers_too_large",
            Self::Misconfigured => "misconfigured",
            Self::Unavailable => "unavailable",
            Self::MissingEmail => "missing_email",
            Self::InvalidEmail => "invalid_email",
            Self::TokenInvalid => "token_invalid",
            Self::IdentityUnproven => "identity_unproven",
            Self::IdentityMismatch => "identity_mismatch",
            Self::OriginForbidden => "origin_forbidden",
            Self::MissingTurnstile => "missing_turnstile",
            Self::TurnstileFailed => "turnstile_failed",
            Self::ExchangeUnconfigured => "exchange_unconfigured",
            Self::CartesiaUnconfigured => "cartesia_unconfigured",
            Self::EmailUnverified => "email_unverified",
            Self::EmailDomainForbidden => "email_domain_forbidden",
            Self::KeysForbidden => "keys_forbidden",
            Self::TooManyApiKeys { .. } => "too_many_api_keys",
            Self::Unauthorized => "unauthorized",
            Self::SigningUnconfigured => "signing_unconfigured",
            Self::TicketInvalid => "ticket_invalid",
            Self::TooManyTickets { .. } => "too_many_tickets",
            Self::TooManySockets { .. } => "too_many_sockets",
            Self::UpgradeRequired => "upgrade_required",
            Self::TooManySessions { .. } => "too_many_sessions",
            Self::InvalidJson => "invalid_json",
            Self::UnsupportedContentType => "unsupported_content_type",
            Self::InvalidForm => "invalid_form",
            Self::PayloadTooLarge { .. } => "payload_too_large",
            Self::InvalidField { .. } => "invalid_field",
            Self::MissingInput => "missing_input",
            Self::MissingText => "missing_text",
            Self::R2NotBound => "r2_not_bound",
            Self::LengthRequired => "length_required",
            Self::EmptyBody => "empty_body",
            Self::BodyLengthMismatch => "body_length_mismatch",
            Self::AttachmentNotFound { .. } => "attachment_not_found",
            Self::AttachmentUnsupported { .. } => "attachment_unsupported",
            Self::AttachmentTooLarge { .. } => "attachment_too_large",
            Self::ImagesUnsupported => "images_unsupported",
            Self::InvalidCursor => "invalid_cursor",
            Self::InvalidTime { .. } => "invalid_time",
            Self::InvalidIdempotencyKey => "invalid_idempotency_key",
            Self::SetAndDeltaConflict => "set_and_delta_conflict",
            Self::NothingToDo => "nothing_to_do",
            Self::InvalidAmount => "invalid_amount",
            Self::InsufficientCredits { .. } => "insufficient_credits",
            Self::RateLimited { .. } => "rate_limited",
            Self::ExceedsBudget { .. } => "exceeds_budget",
            Self::CapReached { .. } => "cap_reached",
            Self::UnknownTier => "unknown_tier",
            Self::UnknownModel => "model_not_found",
            Self::TierNotAllowed { .. } => "tier_not_allowed",
            Self::InvalidSetting { .. } => "invalid_setting",
            Self::TooManyGrants { .. } => "too_many_grants",
            Self::TooManyHolds { .. } => "too_many_holds",
            Self::TooManyKeys { .. } => "too_many_idempotency_keys",
            Self::SkillDisabled { .. } => "skill_disabled",
            Self::InputTooLong { .. } => "input_too_long",
            Self::VersionConflict { .. } => "version_conflict",
            Self::TooManyVersions { .. } => "too_many_versions",
            Self::TooManySkills { .. } => "too_many_skills",
            Self::IdempotencyConflict => "idempotency_conflict",
            Self::IdempotencyInProgress => "idempotency_in_progress",
            Self::ChargedWithoutReply { .. } => "charged_without_reply",
            Self::ActorQuarantined => "actor_quarantined",
            Self::RequestRefused => "request_refused",
            Self::ExperimentEnded => "experiment_ended",
            Self::ArmChanged { .. } => "arm_changed",
            Self::TooManyExperiments { .. } => "too_many_experiments",
            Self::UnsupportedType { .. } => "unsupported_type",
            Self::CredentialEnded => "credential_ended",
            Self::InvalidTransition { .. } => "invalid_transition",
            Self::ProtectedField { .. } => "protected_field",
            Self::NotFinished { .. } => "not_finished",
            Self::TooManyJobs { .. } => "too_many_jobs",
            Self::TooManySchedules { .. } => "too_many_schedules",
            Self::AskFailed { .. } => "si_ask_failed",
            Self::AiRunFailed { .. } => "ai_run_failed",
            Self::AiNotBound => "ai_not_bound",
        }
    }

    pub const fn status(&self) -> u16 {
        match self {
            Self::MissingEmail
            | Self::InvalidEmail
            | Self::InvalidJson
            | Self::UnsupportedContentType
            | Self::InvalidForm
            | Self::InvalidField { .. }
            | Self::MissingInput
            | Self::MissingText
            | Self::EmptyBody
            | Self::BodyLengthMismatch
            | Self::AttachmentUnsupported { .. }
            | Self::ImagesUnsupported
            | Self::InvalidCursor
            | Self::InvalidTime { .. }
            | Self::InvalidIdempotencyKey
            | Self::SetAndDeltaConflict
            | Self::NothingToDo
            | Self::ExceedsBudget { .. }
            | Self::UnknownTier
            | Self::RequestRefused
            | Self::UnsupportedType { .. }
            | Self::ProtectedField { .. }
            | Self::InvalidSetting { .. }
            | Self::InvalidAmount => 400,
            Self::TokenInvalid | Self::TicketInvalid | Self::IdentityUnproven | Self::Unauthorized => 401,
            Self::InsufficientCredits { .. } => 402,
            Self::IdentityMismatch
            | Self::OriginForbidden
            | Self::TurnstileFailed
            | Self::EmailUnverified
            | Self::EmailDomainForbidden
            | Self::KeysForbidden
            | Self::SkillDisabled { .. }
            | Self::TierNotAllowed { .. } => 403,
            Self::MissingTurnstile => 400,
            Self::ExchangeUnconfigured | Self::CartesiaUnconfigured => 501,
            Self::NotFound | Self::UnknownModel | Self::AttachmentNotFound { .. } => 404,
            Self::MethodNotAllowed { .. } => 405,
            Self::IdempotencyConflict
            | Self::IdempotencyInProgress
            | Self::ChargedWithoutReply { .. }
            | Self::VersionConflict { .. }
            | Self::TooManyVersions { .. }
            | Self::TooManySkills { .. }
            | Self::TooManyApiKeys { .. }
            | Self::ExperimentEnded
            | Self::ArmChanged { .. }
            | Self::TooManyExperiments { .. }
            | Self::CredentialEnded
            | Self::InvalidTransition { .. }
            | Self::NotFinished { .. }
            | Self::TooManySchedules { .. }
            | Self::TooManyGrants { .. } => 409,
            Self::LengthRequired => 411,
            Self::PayloadTooLarge { .. } | Self::InputTooLong { .. } | Self::AttachmentTooLarge { .. } => 413,
            Self::UriTooLong => 414,
            Self::UpgradeRequired => 426,
            Self::HeadersTooLarge { .. } => 431,
            Self::RateLimited { .. }
            | Self::CapReached { .. }
            | Self::TooManyHolds { .. }
            | Self::TooManyTickets { .. }
            | Self::TooManySockets { .. }
            | Self::TooManySessions { .. }
            | Self::TooManyJobs { .. }
            | Self::TooManyKeys { .. } => 429,
            Self::SigningUnconfigured | Self::AiRunFailed { .. } | Self::AiNotBound | Self::R2NotBound => 500,
            Self::NotImplemented => 501,
            Self::AskFailed { .. } => 502,
            Self::Misconfigured | Self::Unavailable | Self::ActorQuarantined => 503,
        }
    }

    /// Seconds a client should wait, rounded up so that waiting them is enough.
    pub fn retry_after_s(&self) -> Option<i64> {
        match self {
            Self::RateLimited { retry_after_ms, .. }
            | Self::CapReached { retry_after_ms, .. }
            | Self::TooManyTickets { retry_after_ms, .. } => Some(seconds_up(*retry_after_ms)),
            Self::TooManySockets { .. } | Self::TooManySessions { .. } => Some(TOO_MANY_SOCKETS_WAIT_S),
            Self::TooManyJobs { .. } => Some(TOO_MANY_JOBS_WAIT_S),
            Self::TooManyHolds { .. } | Self::IdempotencyInProgress | Self::Unavailable => Some(1),
            Self::TooManyKeys { .. } => Some(TOO_MANY_KEYS_WAIT_S),
            _ => None,
        }
    }

    /// The response body: flat, the code first.
    pub fn body(&self, request_id: &str) -> Value {
        let mut body = Map::new();
        body.insert("error".to_owned(), json!(self.code()));
        body.insert("message".to_owned(), json!(self.message()));
        body.insert("request_id".to_owned(), json!(request_id));
        match self {
            Self::PayloadTooLarge { max_bytes } => {
                body.insert("max_bytes".to_owned(), json!(max_bytes));
            }
            Self::AttachmentNotFound { index } | Self::AttachmentUnsupported { index } => {
                body.insert("index".to_owned(), json!(index));
            }
            Self::AttachmentTooLarge { index, max_bytes } => {
                body.insert("index".to_owned(), json!(index));
                body.insert("max_bytes".to_owned(), json!(max_bytes));
            }
            Self::InvalidField { field, .. } => {
                body.insert("field".to_owned(), json!(field));
            }
            Self::AskFailed { detail } | Self::AiRunFailed { detail } => {
                body.insert("detail".to_owned(), json!(detail));
            }
            Self::RateLimited { policy, .. } | Self::ExceedsBudget { policy, .. } => {
                body.insert("policy".to_owned(), json!(policy));
            }
            Self::CapReached { cap, period, limit, .. } => {
                body.insert("cap".to_owned(), json!(cap));
                body.insert("period".to_owned(), json!(period));
                body.insert("limit".to_owned(), json!(limit.credits()));
            }
            Self::ArmChanged { arm } => {
                body.insert("arm".to_owned(), json!(arm));
            }
            Self::UnsupportedType { kind } => {
                body.insert("type".to_owned(), json!(kind));
            }
            Self::ProtectedField { field } => {
                body.insert("field".to_owned(), json!(field));
            }
            Self::InvalidTransition { from, to } => {
                body.insert("from".to_owned(), json!(from));
                body.insert("to".to_owned(), json!(to));
            }
            Self::NotFinished { status } => {
                body.insert("status".to_owned(), json!(status));
            }
            Self::TierNotAllowed { tier } => {
                body.insert("tier".to_owned(), json!(tier));
            }
            Self::InvalidSetting { field, .. } => {
                body.insert("field".to_owned(), json!(field));
            }
            Self::SkillDisabled { skill } => {
                body.insert("skill".to_owned(), json!(skill));
            }
            Self::InputTooLong { skill, max_bytes } => {
                body.insert("skill".to_owned(), json!(skill));
                body.insert("max_bytes".to_owned(), json!(max_bytes));
            }
            Self::VersionConflict { current_version } => {
                body.insert("current_version".to_owned(), json!(current_version));
            }
            Self::InsufficientCredits { email, available, needed, updated_at_ms } => {
                balance_fields(&mut body, email.as_deref(), *available, *updated_at_ms);
                body.insert("needed".to_owned(), json!(needed.credits()));
            }
            Self::ChargedWithoutReply { charged, available } => {
                body.insert("charged".to_owned(), json!(charged.credits()));
                body.insert("balance".to_owned(), json!(available.credits()));
            }
            _ => {}
        }
        if matches!(self, Self::AiRunFailed { .. }) {
            body.insert("ok".to_owned(), json!(false));
        }
        Value::Object(body)
    }
}

/// The balance object: three equal numbers, two equal times, as clients of old expect.
pub fn balance_fields(
    body: &mut Map<String, Value>,
    email: Option<&str>,
    available: Micro,
    updated_at_ms: i64,
) {
    let credits = json!(available.credits());
    let updated = json!(iso_time(updated_at_ms));
    body.insert("email".to_owned(), json!(email));
    for name in ["balance", "balance_credits", "credits"] {
        body.insert(name.to_owned(), credits.clone());
    }
    for name in ["updated_at", "updated"] {
        body.insert(name.to_owned(), updated.clone());
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::InsufficientCredits { available, needed, updated_at_ms } => {
                Self::InsufficientCredits { email: None, available, needed, updated_at_ms }
            }
            Refusal::RateLimited { policy, limit, window_ms, retry_after_ms, remaining } => {
                Self::RateLimited { policy, limit, window_ms, retry_after_ms, remaining }
            }
            Refusal::ExceedsBudget { policy, limit } => Self::ExceedsBudget { policy, limit },
            Refusal::CapReached { cap, period, limit, retry_after_ms } => {
                Self::CapReached { cap, period, limit, retry_after_ms }
            }
            Refusal::TierNotAllowed { tier } => Self::TierNotAllowed { tier },
            Refusal::InvalidSetting { field, expected } => Self::InvalidSetting { field, expected },
            Refusal::TooManyGrants { limit } => Self::TooManyGrants { limit },
            Refusal::VersionConflict { current_version } => Self::VersionConflict { current_version },
            Refusal::TooManyVersions { limit } => Self::TooManyVersions { limit },
            Refusal::TooManySkills { limit } => Self::TooManySkills { limit },
            Refusal::UnknownEntry
            | Refusal::UnknownVersion
            | Refusal::UnknownApiKey
            | Refusal::UnknownExperiment
            | Refusal::UnknownJob
            | Refusal::UnknownSchedule
            | Refusal::UnknownVoiceSession
            | Refusal::UnknownRequest => Self::NotFound,
            Refusal::ExperimentEnded => Self::ExperimentEnded,
            Refusal::ArmChanged { arm } => Self::ArmChanged { arm },
            Refusal::TooManyExperiments { limit } => Self::TooManyExperiments { limit },
            Refusal::UnknownTicket => Self::TicketInvalid,
            Refusal::TooManyTickets { limit, retry_after_ms } => {
                Self::TooManyTickets { limit, retry_after_ms }
            }
            Refusal::TooManySockets { limit } => Self::TooManySockets { limit },
            Refusal::TooManyVoiceSessions { limit } => Self::TooManySessions { limit },
            Refusal::CredentialEnded => Self::CredentialEnded,
            Refusal::TooManyApiKeys { limit } => Self::TooManyApiKeys { limit },
            Refusal::TooManyHolds { limit } => Self::TooManyHolds { limit },
            Refusal::TooManyKeys { limit } => Self::TooManyKeys { limit },
            Refusal::IdempotencyConflict => Self::IdempotencyConflict,
            Refusal::IdempotencyInProgress => Self::IdempotencyInProgress,
            Refusal::InvalidAmount => Self::InvalidAmount,
            Refusal::InvalidCursor => Self::InvalidCursor,
            Refusal::Quarantined | Refusal::Broken { .. } => Self::ActorQuarantined,
            Refusal::ProtectedField { field } => Self::ProtectedField { field },
            Refusal::InvalidTransition { from, to } => Self::InvalidTransition { from, to },
            Refusal::TooManyJobs { limit } => Self::TooManyJobs { limit },
            Refusal::TooManySchedules { limit } => Self::TooManySchedules { limit },
            // Faults of ours, logged where they were found.
            Refusal::DuplicateOperation
            | Refusal::StaleLease { .. }
            | Refusal::UnknownHold
            | Refusal::TenantMismatch
            | Refusal::Storage { .. } => Self::Unavailable,
        }
    }
}
