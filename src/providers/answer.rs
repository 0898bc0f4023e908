//! What providers answer, taken apart with distrust: every field may be absent, odd or absurd.

use actors::shared::Units;
use serde::Deserialize;
use serde_json::Value;

use super::Failure;
use super::chat::ChatRequest;
use super::count::{count_prompt, count_tokens};

/// The longest model name that is passed on, in characters.
const MODEL_CHARS_MAX: usize = 128;
/// Tokens that a chat template may add to a prompt, which itself has at most one token a byte.
const TEMPLATE_TOKENS_MAX: u64 = 512;
/// Tokens by which a provider's count of an answer may pass the limit it was asked with: its end marks.
const END_TOKENS_MAX: u64 = 16;

/// Where a provider's usage says how much of the prompt it had in a cache.
const CACHED_TOKENS: &str = "/prompt_tokens_details/cached_tokens";

/// On what a number of tokens rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The provider said so.
    Reported,
    /// Counted here, from the text.
    Counted,
}

impl Basis {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Counted => "counted",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenUsage {
    pub tokens_in: u64,
    /// Of `tokens_in`, those that the provider says it had in a cache.
    pub tokens_cached: u64,
    pub tokens_out: u64,
    pub basis: Basis,
}

impl TokenUsage {
    /// What a provider reported, when it can be true of this request and this answer; else counted.
    pub fn believed(reported: Option<Self>, request: &ChatRequest, text: &str) -> Self {
        match reported {
            Some(usage) if usage.can_be_true(request, text) => usage,
            _ => Self::counted(request, text),
        }
    }

    /// Counted from what was asked and what came. No more of an answer is charged than was asked for: a provider
    /// that ignores `max_tokens` does so at the house's cost.
    pub fn counted(request: &ChatRequest, text: &str) -> Self {
        Self {
            tokens_in: count_prompt(request.system.as_deref(), &request.user),
            tokens_cached: 0,
            tokens_out: count_tokens(text).min(u64::from(request.max_tokens)),
            basis: Basis::Counted,
        }
    }

    fn can_be_true(self, request: &ChatRequest, text: &str) -> bool {
        let prompt_bytes = u64::try_from(request.prompt_bytes()).unwrap_or(u64::MAX);
        let tokens_in_max = prompt_bytes.saturating_add(TEMPLATE_TOKENS_MAX);
        let tokens_out_max = u64::from(request.max_tokens).saturating_add(END_TOKENS_MAX);
        (1..=tokens_in_max).contains(&self.tokens_in)
            && self.tokens_out <= tokens_out_max
            && (self.tokens_out > 0 || text.is_empty())
    }

    /// In the units that prices are of.
    pub fn units(self) -> Units {
        Units { tokens_cached: self.tokens_cached, ..Units::tokens(self.tokens_in, self.tokens_out) }
    }
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub text: String,
    /// The model that answered, as the provider names it.
    pub model: String,
    pub usage: TokenUsage,
}

/// A whole answer or one piece of a stream, in OpenAI's format or that of Workers AI.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Wire {
    choices: Option<Vec<Choice>>,
    /// Workers AI: the text.
    response: Option<Value>,
    usage: Option<Value>,
    model: Option<Value>,
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    message: Option<Content>,
    delta: Option<Content>,
    finish_reason: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Content {
    content: Option<String>,
}

#[derive(Deserialize)]
struct Reported {
    prompt_tokens: u64,
    completion_tokens: u64,
}

impl Wire {
    pub fn parse(text: &str) -> Result<Self, Failure> {
        // A list would be read as an object's fields in their order.
        if !text.trim_start().starts_with('{') {
            return Err(Failure::Malformed);
        }
        let wire: Self = serde_json::from_str(text).map_err(|_| Failure::Malformed)?;
        if wire.error.as_ref().is_some_and(|error| !error.is_null()) {
            return Err(Failure::Malformed);
        }
        Ok(wire)
    }

    /// The text of a whole answer or of a piece.
    pub fn text(&self) -> Option<String> {
        if let Some(response) = &self.response {
            // A model asked for JSON may answer with it unquoted.
            return match response {
                Value::String(text) => Some(text.clone()),
                Value::Null => None,
                other => Some(other.to_string()),
            };
        }
        let choice = self.choices.as_ref()?.first()?;
        choice.message.as_ref().or(choice.delta.as_ref())?.content.clone()
    }

    pub fn is_finished(&self) -> bool {
        self.choices
            .iter()
            .flatten()
            .any(|choice| choice.finish_reason.as_ref().is_some_and(|reason| !reason.is_null()))
    }

    /// Reported usage, unless it is absent or malformed. Nothing says yet that it is true.
    pub fn usage(&self) -> Option<TokenUsage> {
        let reported = Reported::deserialize(self.usage.as_ref().filter(|usage| usage.is_object())?).ok()?;
        let cached =
            self.usage.as_ref().and_then(|usage| usage.pointer(CACHED_TOKENS)).and_then(Value::as_u64);
        Some(TokenUsage {
            tokens_in: reported.prompt_tokens,
            // A part is never more than the whole.
            tokens_cached: cached.unwrap_or(0).min(reported.prompt_tokens),
            tokens_out: reported.completion_tokens,
            basis: Basis::Reported,
        })
    }

    /// The model's name, cleaned for headers and rows.
    pub fn model(&self) -> Option<String> {
        let name = self.model.as_ref()?.as_str()?;
        let clean: String = name.chars().filter(char::is_ascii_graphic).take(MODEL_CHARS_MAX).collect();
        (!clean.is_empty()).then_some(clean)
    }

    /// A whole answer to `request`; `model` is what was asked for, where the provider does not say.
    pub fn into_answer(
        self,
        request: &ChatRequest,
        model: &str,
        bytes_max: usize,
    ) -> Result<Answer, Failure> {
        let text = self.text().ok_or(Failure::Malformed)?;
        if text.len() > bytes_max {
            return Err(Failure::TooLarge);
        }
        let usage = TokenUsage::believed(self.usage(), request, &text);
        let model = self.model().unwrap_or_else(|| model.to_owned());
        Ok(Answer { text, model, usage })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> ChatRequest {
        ChatRequest { system: None, user: "Hello".to_owned(), max_tokens: 5, request_id: String::new() }
    }

    fn answer(json: &str) -> Result<Answer, Failure> {
        Wire::parse(json)?.into_answer(&request(), "asked", 100)
    }

    #[test]
    fn both_formats_are_read() {
        let openai = r#"{"model":"m","choices":[{"message":{"content":"Hi."}}],
            "usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#;
        let reported = TokenUsage { tokens_in: 3, tokens_cached: 0, tokens_out: 2, basis: Basis::Reported };
        let expected = Answer { text: "Hi.".into(), model: "m".into(), usage: reported };
        assert_eq!(answer(openai), Ok(expected.clone()));
        let workers = r#"{"response":"Hi.","usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
        assert_eq!(answer(workers), Ok(Answer { model: "asked".into(), ..expected }));
    }

    #[test]
    fn what_is_absent_or_absurd_is_counted() {
        for usage in [
            "null",
            "{}",
            r#"{"prompt_tokens":-1,"completion_tokens":2}"#,
            r#"{"prompt_tokens":3,"completion_tokens":99999999999}"#,
            r#""x""#,
            "[3,2]",
            r#"{"prompt_tokens":0,"completion_tokens":2}"#,
            r#"{"prompt_tokens":3,"completion_tokens":0}"#,
            r#"{"prompt_tokens":518,"completion_tokens":2}"#,
            r#"{"prompt_tokens":3,"completion_tokens":22}"#,
        ] {
            let json = format!(r#"{{"choices":[{{"message":{{"content":"Hi."}}}}],"usage":{usage}}}"#);
            let usage = answer(&json).unwrap().usage;
            assert_eq!((usage.basis, usage.tokens_in, usage.tokens_out), (Basis::Counted, 9, 2), "{json}");
        }
    }

    #[test]
    fn tokens_from_a_cache_are_read_and_are_never_more_than_came_in() {
        for (details, expected) in [
            ("null", 0),
            ("{}", 0),
            ("7", 0),
            (r#"{"cached_tokens":-1}"#, 0),
            (r#"{"cached_tokens":2}"#, 2),
            (r#"{"cached_tokens":99}"#, 3),
        ] {
            let usage =
                format!(r#"{{"prompt_tokens":3,"completion_tokens":2,"prompt_tokens_details":{details}}}"#);
            let json = format!(r#"{{"choices":[{{"message":{{"content":"Hi."}}}}],"usage":{usage}}}"#);
            let usage = answer(&json).unwrap().usage;
            assert_eq!((usage.basis, usage.tokens_cached), (Basis::Reported, expected), "{details}");
        }
    }

    #[test]
    fn no_more_is_charged_than_was_asked_for() {
        let usage = TokenUsage::counted(&request(), &"many words ".repeat(50));
        assert_eq!(usage.tokens_out, 5);
    }

    #[test]
    fn other_shapes_are_failures() {
        for json in [
            "",
            "{}",
            "[]",
            "<html>",
            r#"{"choices":[]}"#,
            r#"{"choices":[{"message":{"content":null}}]}"#,
            r#"{"choices":[{"message":{"content":7}}]}"#,
            r#"{"error":{"message":"no"}}"#,
        ] {
            assert_eq!(answer(json), Err(Failure::Malformed), "{json}");
        }
        let long = format!(r#"{{"response":"{}"}}"#, "x".repeat(101));
        assert_eq!(answer(&long), Err(Failure::TooLarge));
    }

    #[test]
    fn model_names_are_cleaned() {
        let json = r#"{"model":"m\r\nSet-Cookie: x","response":"Hi."}"#;
        assert_eq!(answer(json).unwrap().model, "mSet-Cookie:x");
    }
}
