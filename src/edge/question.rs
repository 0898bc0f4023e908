//! The body of an ask: what is asked, understood and bounded.

use actors::shared::Micro;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::context::Context;
use super::error::ApiError;
use super::json_body;
use super::limits::SKILL_BYTES_MAX;
use super::variant::Variant;
use crate::providers::ChatRequest;

const GENERAL: &str = "general";
const GENERAL_PROMPT: &str = "You are a helpful assistant. Answer clearly and briefly.";

/// Known fields as raw values, so that each wrong type gets its own answer.
#[derive(Deserialize)]
struct AskBody<'a> {
    skill: Option<Value>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    system: Option<Value>,
    max_tokens: Option<Value>,
    max_credits: Option<Value>,
    on_hold_used: Option<Value>,
    attachments: Option<Value>,
}

/// What becomes of a stream whose hold is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnHoldUsed {
    /// It ends there, and says so.
    Cut,
    /// More is set aside, while there is credit and up to what the request could cost.
    TopUp,
}

/// A question that was understood.
pub struct Question {
    pub skill: String,
    /// The client brought its own system prompt, instead of the skill's.
    pub own_system: bool,
    /// Which arm of the skill's experiment answers; `None` before that is known, and without one.
    pub variant: Option<Variant>,
    pub chat: ChatRequest,
    /// Set aside no more than this at first; the most it may cost, unless it is topped up.
    pub max_credits: Option<Micro>,
    /// As it was asked. An answer that is not streamed is never topped up; [`super::offer::make`] sees to that.
    pub on_hold_used: OnHoldUsed,
}

/// # Errors
/// One code for each mistake; nothing was changed then.
pub fn parse(context: &Context, bytes: &[u8]) -> Result<Question, ApiError> {
    let body: AskBody<'_> = json_body::parse(bytes)?;
    let skill = match body.skill {
        None | Some(Value::Null) => GENERAL.to_owned(),
        Some(Value::String(name)) if is_skill(&name) => name,
        Some(_) => {
            let expected = "a name of at most 64 letters, digits, `-`, `_` or `.`";
            return Err(ApiError::InvalidField { field: "skill", expected });
        }
    };
    let user = match body.input.map(RawValue::get) {
        None | Some("null") => return Err(ApiError::MissingInput),
        Some(raw) if raw.starts_with('"') => serde_json::from_str(raw).map_err(|_| ApiError::InvalidJson)?,
        Some(raw) if raw.starts_with('{') => raw.to_owned(),
        Some(_) => return Err(ApiError::InvalidField { field: "input", expected: "a text or an object" }),
    };
    let user: String = user;
    if user.trim().is_empty() {
        return Err(ApiError::MissingInput);
    }
    let own_system = matches!(body.system, Some(Value::String(_)));
    let system = match body.system {
        None | Some(Value::Null) => GENERAL_PROMPT.to_owned(),
        Some(Value::String(system)) => system,
        Some(_) => return Err(ApiError::InvalidField { field: "system", expected: "a text" }),
    };
    match body.attachments {
        None | Some(Value::Null) => {}
        Some(Value::Array(list)) if list.is_empty() => {}
        // Answering as if they had not been sent would be worse than saying so.
        Some(Value::Array(_)) => return Err(ApiError::NotImplemented),
        Some(_) => return Err(ApiError::InvalidField { field: "attachments", expected: "a list" }),
    }
    let chat = ChatRequest {
        system: Some(system).filter(|system| !system.trim().is_empty()),
        user,
        max_tokens: max_tokens(context, body.max_tokens.as_ref())?,
        request_id: context.request_id.clone(),
    };
    Ok(Question {
        skill,
        own_system,
        variant: None,
        chat,
        max_credits: max_credits(body.max_credits.as_ref())?,
        on_hold_used: on_hold_used(body.on_hold_used.as_ref())?,
    })
}

fn max_credits(asked: Option<&Value>) -> Result<Option<Micro>, ApiError> {
    match asked {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let amount = value.as_f64().and_then(Micro::from_credits).filter(|amount| *amount > Micro::ZERO);
            let wrong = ApiError::InvalidField { field: "max_credits", expected: "credits, above zero" };
            amount.map(Some).ok_or(wrong)
        }
    }
}

fn on_hold_used(asked: Option<&Value>) -> Result<OnHoldUsed, ApiError> {
    match asked {
        None | Some(Value::Null) => Ok(OnHoldUsed::Cut),
        Some(value) => match value.as_str() {
            Some("cut") => Ok(OnHoldUsed::Cut),
            Some("top_up") => Ok(OnHoldUsed::TopUp),
            _ => Err(ApiError::InvalidField { field: "on_hold_used", expected: "`cut` or `top_up`" }),
        },
    }
}

/// Whether a text can name a skill.
pub fn is_skill(name: &str) -> bool {
    (1..=SKILL_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

fn max_tokens(context: &Context, asked: Option<&Value>) -> Result<u32, ApiError> {
    let config = &context.config;
    match asked {
        None | Some(Value::Null) => Ok(config.default_max_tokens),
        Some(value) => {
            let count = value.as_u64().filter(|count| *count > 0);
            let count = count.ok_or(ApiError::InvalidField {
                field: "max_tokens",
                expected: "a whole number above zero",
            })?;
            Ok(u32::try_from(count).unwrap_or(u32::MAX).min(config.max_output_tokens))
        }
    }
}
