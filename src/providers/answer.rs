//! What providers answer, taken apart with distrust: every field may be absent, odd or absurd.

use actors::shared::Units;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Failure;
use super::chat::{ChatRequest, Produced};
use super::reported::{Disbelieved, Reported, Verdict};

/// The longest model name or id that is passed on, in characters.
const NAME_CHARS_MAX: usize = 128;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The provider said so, and it can be true (`reported.rs` has the rule).
    Reported,
    /// Counted here, by one fixed rule (`count.rs`), from all the text that went in and came out.
    Counted,
    /// Counted where there was text, and taken at a usual size where there is nothing to count: pictures, sound and
    /// files in a prompt.
    Estimated,
}

impl Basis {
    /// The one of that name; what is not known was counted.
    pub fn named(name: &str) -> Self {
        let found = [Self::Reported, Self::Estimated].into_iter().find(|basis| basis.name() == name);
        found.unwrap_or(Self::Counted)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Counted => "counted",
            Self::Estimated => "estimated",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenUsage {
    pub tokens_in: u64,
    /// Those of `tokens_in` that the provider had from before.
    pub tokens_cached: u64,
    pub tokens_out: u64,
    pub basis: Basis,
    /// What the provider said instead, where that cannot be true.
    pub disbelieved: Option<Disbelieved>,
}

impl TokenUsage {
    /// What a provider reported, when it can be true of this request and what came of it; else counted.
    pub fn believed(reported: Option<Reported>, request: &ChatRequest, produced: Produced) -> Self {
        match reported.map(|reported| reported.judged(request, produced)) {
            Some(Verdict::Believed { tokens_in, tokens_cached, tokens_out }) => {
                Self { tokens_in, tokens_cached, tokens_out, basis: Basis::Reported, disbelieved: None }
            }
            Some(Verdict::Disbelieved(said)) => {
                Self { disbelieved: Some(said), ..Self::counted(request, produced) }
            }
            Some(Verdict::Unsaid) | None => Self::counted(request, produced),
        }
    }

    /// Counted from what was asked and what came. No more of an answer is charged than was asked for: a provider
    /// that ignores `max_tokens` does so at the house's cost.
    pub fn counted(request: &ChatRequest, produced: Produced) -> Self {
        Self {
            tokens_in: request.prompt_tokens_counted(),
            tokens_cached: 0,
            tokens_out: produced.tokens.min(request.tokens_out_max()),
            basis: if request.has_media() { Basis::Estimated } else { Basis::Counted },
            disbelieved: None,
        }
    }

    /// In the units that prices are of.
    pub fn units(self) -> Units {
        Units { tokens_cached: self.tokens_cached, ..Units::tokens(self.tokens_in, self.tokens_out) }
    }
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The first answer's text; empty where it calls a tool instead.
    pub text: String,
    /// What the provider sent, where all of it goes back.
    pub body: Option<String>,
    /// The model that answered, as the provider names it.
    pub model: String,
    pub usage: TokenUsage,
}

/// A whole answer or one piece of a stream, in OpenAI's format or that of Workers AI.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Wire {
    id: Option<Value>,
    choices: Option<Vec<Choice>>,
    /// Vectors of embeddings.
    data: Option<Vec<IgnoredAny>>,
    /// Workers AI: the text.
    response: Option<Value>,
    /// Workers AI: the tools it calls.
    tool_calls: Option<Box<RawValue>>,
    usage: Option<Value>,
    model: Option<Value>,
    error: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    index: Option<Value>,
    message: Option<Content>,
    delta: Option<Content>,
    finish_reason: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Content {
    content: Option<String>,
    refusal: Option<String>,
    /// What a model thinks aloud, as several servers name it.
    reasoning_content: Option<String>,
    reasoning: Option<Value>,
    tool_calls: Option<Value>,
    function_call: Option<Value>,
}

impl Content {
    /// Everything in it that a model wrote.
    fn written(&self) -> impl Iterator<Item = &str> {
        let reasoning = self.reasoning_content.as_deref();
        let reasoning = reasoning.or_else(|| self.reasoning.as_ref().and_then(Value::as_str));
        let texts = [self.content.as_deref(), self.refusal.as_deref(), reasoning];
        let calls = self.tool_calls.iter().filter_map(Value::as_array).flatten();
        let functions = calls.filter_map(|call| call.get("function")).chain(&self.function_call);
        let called = functions.flat_map(|function| [function.get("name"), function.get("arguments")]);
        let called = called.flatten().filter_map(Value::as_str);
        texts.into_iter().flatten().chain(called).filter(|text| !text.is_empty())
    }
}

fn clean(name: &Value) -> Option<String> {
    let name: String = name.as_str()?.chars().filter(char::is_ascii_graphic).take(NAME_CHARS_MAX).collect();
    (!name.is_empty()).then_some(name)
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

    /// Whether it is in OpenAI's format, whose readers read it as it is.
    pub const fn is_openai(&self) -> bool {
        self.choices.is_some()
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
        self.contents().next()?.content.clone()
    }

    fn contents(&self) -> impl Iterator<Item = &Content> {
        let choices = self.choices.iter().flatten();
        choices.filter_map(|choice| choice.message.as_ref().or(choice.delta.as_ref()))
    }

    /// Calls of tools, as Workers AI lists them.
    fn called(&self) -> Option<&str> {
        self.tool_calls.as_deref().map(RawValue::get).filter(|calls| calls.starts_with("[{"))
    }

    /// Hands everything in it that a model wrote to `read`, of all answers.
    pub fn each_written(&self, mut read: impl FnMut(&str)) {
        if self.response.is_some() {
            if let Some(text) = self.text() {
                read(&text);
            }
        } else {
            self.contents().flat_map(Content::written).for_each(&mut read);
        }
        if let Some(calls) = self.called() {
            read(calls);
        }
    }

    /// How much a model wrote in it.
    pub fn produced(&self) -> Produced {
        let mut produced = Produced::default();
        self.each_written(|text| {
            let more = Produced::of(text);
            produced.tokens = produced.tokens.saturating_add(more.tokens);
            produced.bytes = produced.bytes.saturating_add(more.bytes);
        });
        produced
    }

    /// The answers that end in it, by their numbers. Who asks for one gets number zero, said or not.
    pub fn finished(&self) -> impl Iterator<Item = u32> {
        let ends = |choice: &&Choice| choice.finish_reason.as_ref().is_some_and(|reason| !reason.is_null());
        self.choices.iter().flatten().filter(ends).map(|choice| {
            choice
                .index
                .as_ref()
                .and_then(Value::as_u64)
                .and_then(|number| u32::try_from(number).ok())
                .unwrap_or(0)
        })
    }

    /// Whether there is an answer in it, or a part of one.
    pub fn has_choices(&self) -> bool {
        self.choices.as_ref().is_some_and(|choices| !choices.is_empty())
    }

    /// Usage as the provider says it, unless it does not.
    pub fn usage(&self) -> Option<Reported> {
        Reported::of(self.usage.as_ref())
    }

    /// The model's name, cleaned for headers and rows.
    pub fn model(&self) -> Option<String> {
        clean(self.model.as_ref()?)
    }

    /// The answer's id, cleaned.
    pub fn id(&self) -> Option<String> {
        clean(self.id.as_ref()?)
    }

    /// A whole answer to `request`, which came as `body`; `model` is what was asked for, where the provider does not
    /// say.
    pub fn into_answer(self, request: &ChatRequest, model: &str, body: String) -> Result<Answer, Failure> {
        let produced = self.produced();
        if produced.bytes > request.answer_bytes_max() {
            return Err(Failure::TooLarge);
        }
        let text = if let Some(vectors) = request.vectors() {
            if self.data.as_ref().map(Vec::len) != Some(vectors) {
                return Err(Failure::Malformed);
            }
            String::new()
        } else if request.is_whole() {
            if !self.has_choices() && self.response.is_none() && self.called().is_none() {
                return Err(Failure::Malformed);
            }
            self.text().unwrap_or_default()
        } else {
            self.text().ok_or(Failure::Malformed)?
        };
        let usage = TokenUsage::believed(self.usage(), request, produced);
        let model = self.model().unwrap_or_else(|| model.to_owned());
        Ok(Answer { text, body: request.is_whole().then_some(body), model, usage })
    }
}

#[cfg(test)]
mod tests {
    use super::super::chat::Prompt;
    use super::super::whole_request::WholeRequest;
    use super::*;

    fn request() -> ChatRequest {
        let prompt = Prompt::Plain { system: None, user: "Hello".to_owned(), images: Vec::new() };
        ChatRequest { prompt, max_tokens: 5, request_id: String::new() }
    }

    fn answer(json: &str) -> Result<Answer, Failure> {
        Wire::parse(json)?.into_answer(&request(), "asked", json.to_owned())
    }

    #[test]
    fn both_formats_are_read() {
        let openai = r#"{"model":"m","choices":[{"message":{"content":"Hi."}}],
            "usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#;
        let reported = TokenUsage {
            tokens_in: 3,
            tokens_cached: 0,
            tokens_out: 2,
            basis: Basis::Reported,
            disbelieved: None,
        };
        let expected = Answer { text: "Hi.".into(), body: None, model: "m".into(), usage: reported };
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
        let usage = TokenUsage::counted(&request(), Produced::of(&"many words ".repeat(50)));
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
        let long = format!(r#"{{"response":"{}"}}"#, "x".repeat(request().answer_bytes_max() + 1));
        assert_eq!(answer(&long), Err(Failure::TooLarge));
    }

    #[test]
    fn model_names_are_cleaned() {
        let json = r#"{"model":"m\r\nSet-Cookie: x","response":"Hi."}"#;
        assert_eq!(answer(json).unwrap().model, "mSet-Cookie:x");
    }

    fn whole(answers: u32) -> ChatRequest {
        let members = serde_json::from_str(r#"{"messages":[{"role":"user","content":"Hello"}]}"#).unwrap();
        let prompt = Prompt::Whole(WholeRequest::new(members, answers));
        ChatRequest { prompt, max_tokens: 5, request_id: String::new() }
    }

    #[test]
    fn of_a_whole_request_all_that_came_goes_back() {
        let call = r#"{"id":"c","choices":[{"message":{"content":null,"tool_calls":[{"id":"t","function":
            {"name":"weather","arguments":"{\"city\":\"Paris\"}"}}]},"finish_reason":"tool_calls"}]}"#;
        let answer = Wire::parse(call).unwrap().into_answer(&whole(1), "asked", call.to_owned()).unwrap();
        assert_eq!((answer.text.as_str(), answer.body.as_deref()), ("", Some(call)));
        assert_eq!((answer.usage.basis, answer.usage.tokens_out), (Basis::Counted, 5), "the call is counted");
        let parts = r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"t","type":"function","function":
            {"name":"weather","arguments":""}}]}},{"delta":{"reasoning":"Hm.","tool_calls":null}}]}"#;
        let mut written = Vec::new();
        Wire::parse(parts).unwrap().each_written(|text| written.push(text.to_owned()));
        assert_eq!(written, ["weather", "Hm."], "and nothing of what stands around it");
        for empty in ["{}", r#"{"choices":[]}"#] {
            let answer = Wire::parse(empty).unwrap().into_answer(&whole(1), "asked", empty.to_owned());
            assert_eq!(answer, Err(Failure::Malformed), "{empty}");
        }
    }

    #[test]
    fn of_embeddings_there_is_one_for_each_input() {
        let members = serde_json::from_str(r#"{"input":["a","b"]}"#).unwrap();
        let prompt = Prompt::Whole(WholeRequest::embeddings(members, 2));
        let request = ChatRequest { prompt, max_tokens: 0, request_id: String::new() };
        let read = |json: &str| Wire::parse(json).unwrap().into_answer(&request, "asked", json.to_owned());
        let usage = r#""usage":{"prompt_tokens":7,"total_tokens":7}"#;
        let two =
            read(&format!(r#"{{"data":[{{"embedding":[0.1]}},{{"embedding":"AAA="}}],{usage}}}"#)).unwrap();
        assert_eq!((two.usage.tokens_in, two.usage.tokens_out, two.usage.basis), (7, 0, Basis::Reported));
        let counted = read(r#"{"shape":[2,1],"data":[[0.1],[0.2]]}"#).unwrap();
        assert_eq!((counted.usage.tokens_in, counted.usage.basis), (2, Basis::Counted));
        for wrong in
            [r#"{"data":[[0.1]]}"#, r#"{"data":null}"#, r#"{"choices":[{"message":{"content":"Hi"}}]}"#]
        {
            assert_eq!(read(wrong), Err(Failure::Malformed), "{wrong}");
        }
    }

    #[test]
    fn several_answers_may_have_their_tokens_each() {
        let usage =
            r#"{"prompt_tokens":3,"completion_tokens":20,"prompt_tokens_details":{"cached_tokens":9}}"#;
        let json = format!(r#"{{"choices":[{{"message":{{"content":"Hi."}}}}],"usage":{usage}}}"#);
        let read = |answers| {
            let answer = Wire::parse(&json).unwrap().into_answer(&whole(answers), "asked", json.clone());
            answer.unwrap().usage
        };
        assert_eq!((read(4).basis, read(4).tokens_out), (Basis::Reported, 20));
        assert_eq!(read(4).tokens_cached, 3, "no more of a prompt is had from before than it has");
        let many = Wire::parse(&json.replace(":20", ":90")).unwrap();
        assert_eq!(many.into_answer(&whole(4), "asked", json.clone()).unwrap().usage.basis, Basis::Counted);
    }
}
