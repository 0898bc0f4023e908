//! What people are told of an error. The code is what programs read.

use actors::rate::shown_limit;

use super::error::ApiError;

impl ApiError {
    /// A sentence for a person.
    pub fn message(&self) -> String {
        match self.plain_message() {
            "" => self.telling_message(),
            plain => plain.to_owned(),
        }
    }

    /// The sentences that are always the same; nothing for an error whose sentence tells a number or a name.
    const fn plain_message(&self) -> &'static str {
        match self {
            Self::NotFound => "there is nothing at this address",
            Self::NotImplemented => "this part of the API is not built yet",
            Self::UriTooLong => "the address is too long",
            Self::Misconfigured => "the service is misconfigured; /ready tells the operator what is wrong",
            Self::Unavailable => {
                "the service could not do this now; with an Idempotency-Key it can safely be sent again"
            }
            Self::MissingEmail => "no identity was given: send a token, or X-User-Email beside one",
            Self::InvalidEmail => "the e-mail address is not one this service accepts",
            Self::TokenInvalid => "the token is not valid here",
            Self::IdentityUnproven => "an address alone proves nothing: send a token for it",
            Self::IdentityMismatch => "the identities given contradict each other",
            Self::OriginForbidden => {
                "only pages of an allowed origin set, clear and spend with a cookie, or open a socket"
            }
            Self::MissingTurnstile => "send the challenge's answer as `turnstile_token`",
            Self::TurnstileFailed => "the challenge was not passed; have the page pose a new one",
            Self::CartesiaUnconfigured => "this deployment has no key of Cartesia's",
            Self::ExchangeUnconfigured => "this deployment trusts no issuer of ID tokens",
            Self::EmailUnverified => "the issuer did not verify the token's e-mail address",
            Self::EmailDomainForbidden => "this issuer is not trusted with addresses of that domain",
            Self::KeysForbidden => {
                "guests have no API keys, and a key cannot keep keys: send a token of the tenant"
            }
            Self::Unauthorized => "a valid X-Admin-Key is needed",
            Self::SigningUnconfigured => {
                "the service has no usable signing key; /ready tells which mistake it is"
            }
            Self::TicketInvalid => "the ticket opens nothing here; get a new one",
            Self::UpgradeRequired => "open this address as a WebSocket, or with `Accept: text/event-stream`",
            Self::InvalidJson => "the body is not JSON this service accepts",
            Self::UnsupportedContentType => "send Content-Type: application/json",
            Self::InvalidForm => {
                "the body is no whole form: send Content-Type: multipart/form-data, with its boundary"
            }
            Self::MissingText => "`text` is missing or empty",
            Self::MissingInput => "`input` is missing or empty",
            Self::R2NotBound => "the bucket of uploads is absent",
            Self::LengthRequired => {
                "send Content-Length: how long the file is must be known before it is taken"
            }
            Self::EmptyBody => "the file is empty",
            Self::BodyLengthMismatch => {
                "the body is not as long as it was said to be, or took too long; nothing was stored"
            }
            Self::ImagesUnsupported => "no provider that may answer this can be shown a picture",
            Self::InvalidCursor => "the cursor was not made by this list",
            Self::InvalidIdempotencyKey => "Idempotency-Key is 1 to 255 visible ASCII characters",
            Self::SetAndDeltaConflict => "give `set` or `delta`, not both",
            Self::NothingToDo => "give `set` or `delta`",
            Self::InvalidAmount => "the amount is no number, too large, or makes the balance so",
            Self::InsufficientCredits { .. } => "the balance does not cover this request",
            Self::UnknownTier => "there is no such tier",
            Self::UnknownModel => "no provider serves that model; GET /v1/models lists those that are",
            Self::IdempotencyConflict => "this Idempotency-Key was used with another request",
            Self::IdempotencyInProgress => "the first request with this Idempotency-Key is still under way",
            Self::ActorQuarantined => "this account is held for inspection; nothing is lost",
            Self::RequestRefused => {
                "every provider that was asked calls the request itself wrong; nothing was charged"
            }
            Self::ExperimentEnded => "the experiment was promoted or withdrawn; define it anew to go on",
            Self::AskFailed { .. } => "no provider answered; nothing was charged",
            Self::AiRunFailed { .. } => "the AI binding did not answer",
            Self::AiNotBound => "the binding AI is absent",
            _ => "",
        }
    }

    /// The sentences that tell what was found, or what the limit is.
    fn telling_message(&self) -> String {
        match self {
            Self::MethodNotAllowed { allow } => format!("this address takes {allow}"),
            Self::HeadersTooLarge { max_headers, max_bytes } => {
                format!("there are more than {max_headers} headers, or they have more than {max_bytes} bytes")
            }
            Self::TooManyApiKeys { limit } => {
                format!("{limit} API keys are live, which is the limit; revoke one")
            }
            Self::TooManyTickets { limit, .. } => {
                format!("{limit} tickets wait for their sockets, which is the limit")
            }
            Self::TooManySockets { limit } => {
                format!("{limit} sockets are open, which is the limit; close one")
            }
            Self::TooManySessions { limit } => {
                format!("{limit} voice sessions are open, which is the limit; end one")
            }
            Self::PayloadTooLarge { max_bytes } => format!("the body is larger than {max_bytes} bytes"),
            Self::AttachmentNotFound { index } => {
                format!("attachment {index} (counted from 0) is none of this tenant's uploads")
            }
            Self::AttachmentUnsupported { index } => format!(
                "attachment {index} (counted from 0) is neither text in UTF-8 nor a PNG, JPEG, WebP or GIF picture"
            ),
            Self::AttachmentTooLarge { index, max_bytes } => {
                format!("with attachment {index} (counted from 0) there are more than {max_bytes} bytes")
            }
            Self::InvalidField { field, expected } => format!("`{field}` must be {expected}"),
            Self::InvalidTime { parameter } => format!("`{parameter}` is not a time this service reads"),
            Self::RateLimited { policy, limit, window_ms: 0, .. } => {
                format!("the budget `{policy}` allows {limit} at one time")
            }
            Self::RateLimited { policy, limit, window_ms, .. } => {
                let limit = shown_limit(policy, *limit);
                format!("the budget `{policy}` allows {limit} in {} s", window_ms / 1_000)
            }
            Self::ExceedsBudget { policy, limit } => {
                let limit = shown_limit(policy, *limit);
                format!("this request alone is larger than `{policy}` ever allows at once, which is {limit}")
            }
            Self::CapReached { cap, limit, .. } => {
                format!("the spending cap `{cap}` of {limit} credits does not cover this request")
            }
            Self::TierNotAllowed { tier } => format!("the plan does not have the tier `{tier}`"),
            Self::InvalidSetting { field, expected } => format!("`{field}`: {expected}"),
            Self::TooManyGrants { limit } => {
                format!("{limit} grants are live, which is the limit; let some be spent or expire")
            }
            Self::SkillDisabled { skill } => format!("the skill `{skill}` is switched off"),
            Self::InputTooLong { skill, max_bytes } => {
                format!(
                    "the skill `{skill}` takes an input of at most {max_bytes} bytes, texts that are attached among them"
                )
            }
            Self::VersionConflict { current_version } => {
                format!(
                    "version {current_version} is the current one; look at it, and say so as `expected_version`"
                )
            }
            Self::TooManyVersions { limit } => format!("{limit} versions are kept, which is the limit"),
            Self::TooManySkills { limit } => {
                format!("{limit} skills are there, which is the limit; delete one")
            }
            Self::TooManyHolds { limit } => format!("{limit} requests are under way, which is the limit"),
            Self::TooManyKeys { limit } => {
                format!("{limit} idempotency keys were used in a day, which is the limit")
            }
            Self::ArmChanged { arm } => {
                format!(
                    "`{arm}` is the name of another arm of this experiment already; give the new one a new name"
                )
            }
            Self::TooManyExperiments { limit } => {
                format!("{limit} skills have an experiment, which is the limit; withdraw one")
            }
            Self::UnsupportedType { kind } => format!("there are no jobs of the type `{kind}`"),
            Self::CredentialEnded => "the API key that it was made with has ended".to_owned(),
            Self::InvalidTransition { from, to } => format!("a job that is {from} cannot become {to}"),
            Self::ProtectedField { field } => format!("`{field}` is not to be changed so"),
            Self::NotFinished { status } => format!("the job is {status}; its result is yet to come"),
            Self::TooManyJobs { limit } => format!("{limit} jobs are there, which is the limit"),
            Self::TooManySchedules { limit } => {
                format!("{limit} schedules are there, which is the limit; delete one")
            }
            Self::ChargedWithoutReply { charged, .. } => format!(
                "the request with this Idempotency-Key was charged {charged} credits and no answer of it was kept; \
                 ask again with another key"
            ),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::error_page::each;

    #[test]
    fn every_error_has_a_sentence() {
        for error in each() {
            assert!(!error.message().is_empty(), "{error:?}");
        }
    }
}
