//! The body of an ask: what is asked, understood and bounded.

use std::rc::Rc;

use actors::catalog::{GENERAL, OnClientSystem, SkillTerms};
use actors::shared::Micro;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::attached_room::Room;
use super::attachments::{self, Named};
use super::catalog::{Known, Skill};
use super::error::ApiError;
use super::json_body;
use super::limits::SKILL_BYTES_MAX;
use super::operation::Operation;
use super::variant::Variant;
use crate::providers::{ChatRequest, Prompt};

/// What stands between a skill's own prompt and what a client adds to it.
const BETWEEN_SYSTEMS: &str = "\n\n";

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
    /// The skill as it was asked for; `None` where none can be named.
    pub skill: Option<String>,
    /// The skill that answers: the stored one of that name, else the general one.
    pub answered_by: Option<Rc<Skill>>,
    /// The client's own system prompt, where it sent one.
    pub system: Option<String>,
    /// The model that was asked for by its name; `None` takes each provider's own.
    pub model: Option<String>,
    /// The client brought its own system prompt, instead of the skill's.
    pub own_system: bool,
    /// Which arm of the skill's experiment answers; `None` before that is known, and without one.
    pub variant: Option<Variant>,
    pub chat: ChatRequest,
    /// Set aside no more than this at first; the most it may cost, unless it is topped up.
    pub max_credits: Option<Micro>,
    /// As it was asked. An answer that is not streamed is never topped up; [`super::offer::make`] sees to that.
    pub on_hold_used: OnHoldUsed,
    /// What its attachments take of the isolate's memory, as long as the question is there.
    pub room: Option<Room>,
}

impl Question {
    /// A request that names a model and no skill: its own words are all that the model is told.
    pub const fn of_model(
        model: String,
        chat: ChatRequest,
        max_credits: Option<Micro>,
        on_hold_used: OnHoldUsed,
    ) -> Self {
        Self {
            skill: None,
            answered_by: None,
            system: None,
            own_system: true,
            variant: None,
            model: Some(model),
            chat,
            max_credits,
            on_hold_used,
            room: None,
        }
    }

    /// Holds what the client asks against the limit of its skill, in the version that answers: the input, and the texts that are attached to it, or
    /// the limit could be passed by.
    ///
    /// # Errors
    /// `InputTooLong`.
    pub fn text_within_skill(&self) -> Result<(), ApiError> {
        let (Some(skill), Some(answered_by)) = (&self.skill, &self.answered_by) else { return Ok(()) };
        let Prompt::Plain { user, .. } = &self.chat.prompt else { return Ok(()) };
        match answered_by.terms.input_bytes_max.filter(|max| user.len() > usize_of(*max)) {
            Some(max_bytes) => Err(ApiError::InputTooLong { skill: skill.clone(), max_bytes }),
            None => Ok(()),
        }
    }

    /// Puts what the skill that answers says around the question. Which one and in which version must be known by then.
    pub fn take_terms(&mut self) {
        let Some(skill) = &self.answered_by else { return };
        let Prompt::Plain { system, .. } = &mut self.chat.prompt else { return };
        let terms = &skill.terms;
        if let Some(most) = terms.max_tokens {
            self.chat.max_tokens = self.chat.max_tokens.min(most);
        }
        let of_arm = self.variant.as_ref().and_then(|variant| variant.arm.system.clone());
        *system = of_arm.or_else(|| system_of(terms, self.system.take()));
    }
}

/// Reads a question. What its skill says of it is not put around it yet, see [`Question::take_terms`]; nor is what it
/// names as attachments in it.
///
/// # Errors
/// One code for each mistake; nothing was changed then.
pub fn parse(operation: &Operation, known: &Known, bytes: &[u8]) -> Result<(Question, Vec<Named>), ApiError> {
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
        None | Some(Value::Null) => None,
        Some(Value::String(system)) => Some(system),
        Some(_) => return Err(ApiError::InvalidField { field: "system", expected: "a text" }),
    };
    let attachments = attachments::parse(body.attachments.as_ref())?;
    let max_tokens = max_tokens(operation, body.max_tokens.as_ref())?;
    let answered_by = known.skill(&skill);
    // Of all its versions: whoever switches a skill off has an experiment's arms switched off too.
    if !answered_by.terms.enabled {
        return Err(ApiError::SkillDisabled { skill });
    }
    let prompt = Prompt::Plain { system: None, user, images: Vec::new() };
    let chat = ChatRequest { prompt, max_tokens, request_id: operation.request_id.clone() };
    let question = Question {
        skill: Some(skill),
        answered_by: Some(answered_by),
        system,
        model: None,
        own_system,
        variant: None,
        chat,
        max_credits: max_credits(body.max_credits.as_ref())?,
        on_hold_used: on_hold_used(body.on_hold_used.as_ref())?,
        room: None,
    };
    Ok((question, attachments))
}

/// What the model is told first. A client that sends nothing at all has the skill's prompt; one that sends an empty
/// text wants none, where it may say so.
fn system_of(terms: &SkillTerms, client: Option<String>) -> Option<String> {
    let system = match (client, terms.on_client_system) {
        (None, _) => terms.system.clone(),
        (Some(client), OnClientSystem::Replace) => client,
        (Some(client), OnClientSystem::Append) if client.trim().is_empty() => terms.system.clone(),
        (Some(client), OnClientSystem::Append) => [&terms.system, BETWEEN_SYSTEMS, &client].concat(),
    };
    Some(system).filter(|system| !system.trim().is_empty())
}

fn usize_of(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

pub fn max_credits(asked: Option<&Value>) -> Result<Option<Micro>, ApiError> {
    match asked {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let amount = value.as_f64().and_then(Micro::from_credits).filter(|amount| *amount > Micro::ZERO);
            let wrong = ApiError::InvalidField { field: "max_credits", expected: "credits, above zero" };
            amount.map(Some).ok_or(wrong)
        }
    }
}

pub fn on_hold_used(asked: Option<&Value>) -> Result<OnHoldUsed, ApiError> {
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

fn max_tokens(operation: &Operation, asked: Option<&Value>) -> Result<u32, ApiError> {
    let config = &operation.config;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_replaces_or_adds_to_what_a_skill_says() {
        let of = |on_client_system, client: Option<&str>| {
            let terms = SkillTerms { system: "Skill.".to_owned(), on_client_system, ..SkillTerms::default() };
            system_of(&terms, client.map(str::to_owned))
        };
        for (on_client_system, client, expected) in [
            (OnClientSystem::Replace, None, Some("Skill.")),
            (OnClientSystem::Replace, Some("Mine."), Some("Mine.")),
            (OnClientSystem::Replace, Some(" "), None),
            (OnClientSystem::Append, None, Some("Skill.")),
            (OnClientSystem::Append, Some("Mine."), Some("Skill.\n\nMine.")),
            (OnClientSystem::Append, Some(" "), Some("Skill.")),
        ] {
            assert_eq!(of(on_client_system, client).as_deref(), expected, "{on_client_system:?} {client:?}");
        }
        assert_eq!(system_of(&SkillTerms::default(), None), None, "a skill that says nothing");
    }
}
