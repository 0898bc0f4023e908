//! A client's request in OpenAI's format, passed on as it came: only what decides the price is set here.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::count::{count_tokens, estimate_prompt_tokens};
use super::images::{IMAGE_TOKENS_COUNTED, IMAGE_TOKENS_HELD, IMAGE_TOKENS_MAX};

/// Bytes of base64 for a token of sound: a second is ten tokens, and 4,000 bytes even when it is compressed well. The
/// most that can be true is four times that.
const SOUND_BYTES_PER_TOKEN: usize = 400;
const SOUND_BYTES_PER_TOKEN_MIN: usize = 100;
/// Bytes of base64 for a token of a file: a page of text is 600 tokens, and some 30,000 bytes of PDF. The most that can
/// be true is ten times that.
const FILE_BYTES_PER_TOKEN: usize = 50;
const FILE_BYTES_PER_TOKEN_MIN: usize = 5;
/// Tokens that a template adds around one message.
const MESSAGE_TOKENS: u64 = 4;
/// An address of a picture that is not the picture itself, in bytes. A longer one counts as text.
const ADDRESS_BYTES_MAX: usize = 2_048;
/// Members that only say how to answer. Every other one may be read by the model, whoever invented it, and counts: what a
/// provider takes for a part of the prompt must not be free.
const NOT_READ: &[&str] = &[
    "audio",
    "encoding_format",
    "function_call",
    "logit_bias",
    "metadata",
    "modalities",
    "prompt_cache_key",
    "reasoning",
    "reasoning_effort",
    "safety_identifier",
    "service_tier",
    "stop",
    "tool_choice",
    "user",
    "verbosity",
];

/// The members of a JSON object as they came, in their order; no name twice.
#[derive(Debug, Clone, Default)]
pub struct Members(pub Vec<(String, Box<RawValue>)>);

impl Members {
    pub fn get(&self, name: &str) -> Option<&RawValue> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_ref()).filter(|value| value.get() != "null")
    }

    /// A member as a value; `None` when it is absent or `null`.
    pub fn value(&self, name: &str) -> Option<Value> {
        self.get(name).and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    /// Puts a member where it was, or at the end.
    pub fn set(&mut self, name: &str, value: &Value) {
        let Ok(raw) = serde_json::value::to_raw_value(value) else { return };
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = raw,
            None => self.0.push((name.to_owned(), raw)),
        }
    }

    /// The object again.
    pub fn to_text(&self) -> String {
        let values = self.0.iter().map(|(name, value)| name.len().saturating_add(value.get().len()));
        let bytes = values.fold(2_usize, |sum, bytes| sum.saturating_add(bytes).saturating_add(6));
        let mut text = String::with_capacity(bytes);
        text.push('{');
        for (at, (name, value)) in self.0.iter().enumerate() {
            if at > 0 {
                text.push(',');
            }
            text.push_str(&Value::from(name.as_str()).to_string());
            text.push(':');
            text.push_str(value.get());
        }
        text.push('}');
        text
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members: Vec<(String, Box<RawValue>)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    // Of two readers one would take the first and one the last.
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(serde::de::Error::custom("a member is there twice"));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// A request that is passed on.
#[derive(Debug, Clone)]
pub struct WholeRequest {
    /// All but the model, the limit of the answer's length and what a stream is asked with.
    members: Members,
    /// How the client calls the limit of tokens. Newer models know but the newer name.
    limit_name: &'static str,
    stream_options: Map<String, Value>,
    /// Answers that are asked for at once.
    pub answers: u32,
    /// Vectors that are asked for, one for each input; `None` where it is a chat.
    pub vectors: Option<usize>,
    pub size: PromptSize,
}

impl WholeRequest {
    /// `members` without those that are set here: see [`WholeRequest::SET_HERE`].
    pub fn new(mut members: Members, answers: u32) -> Self {
        let newer = members.get("max_completion_tokens").is_some();
        let stream_options = match members.value("stream_options") {
            Some(Value::Object(options)) => options,
            _ => Map::new(),
        };
        for name in Self::SET_HERE {
            members.remove(name);
        }
        let size = PromptSize::of(&members);
        let limit_name = if newer { "max_completion_tokens" } else { "max_tokens" };
        Self { members, limit_name, stream_options, answers, vectors: None, size }
    }

    /// A request for embeddings of as many inputs.
    pub fn embeddings(members: Members, inputs: usize) -> Self {
        Self { vectors: Some(inputs), ..Self::new(members, 0) }
    }

    /// Members that are not passed on as they came.
    pub const SET_HERE: &'static [&'static str] =
        &["model", "max_tokens", "max_completion_tokens", "stream", "stream_options"];

    /// The body for `model`; Workers AI takes none, and knows only the older name of the limit.
    pub fn body(&self, model: Option<&str>, max_tokens: u32, stream: bool) -> String {
        let mut members = Members::default();
        if let Some(model) = model {
            members.set("model", &json!(model));
        }
        members.0.extend(self.members.0.iter().cloned());
        if self.vectors.is_some() {
            if model.is_none() {
                // Workers AI's name for it.
                let input = members.value("input").unwrap_or_default();
                members = Members::default();
                members.set("text", &input);
            }
            return members.to_text();
        }
        let limit_name = if model.is_some() { self.limit_name } else { "max_tokens" };
        members.set(limit_name, &json!(max_tokens));
        if stream {
            members.set("stream", &json!(true));
            if model.is_some() {
                let mut options = self.stream_options.clone();
                // Asked for whether the client wants to see it or not: it is what is charged.
                options.insert("include_usage".to_owned(), json!(true));
                members.set("stream_options", &Value::Object(options));
            }
        }
        members.to_text()
    }
}

/// What a model has to read, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PromptSize {
    /// Everything that is no medium, as JSON.
    pub text_bytes: usize,
    text_tokens: u64,
    messages: u64,
    images: u64,
    sound_bytes: usize,
    file_bytes: usize,
}

fn tokens(bytes: usize, bytes_per_token: usize) -> u64 {
    u64::try_from(bytes.div_ceil(bytes_per_token)).unwrap_or(u64::MAX)
}

impl PromptSize {
    fn of(members: &Members) -> Self {
        let mut size = Self::default();
        let mut media_bytes = 0_usize;
        for (name, raw) in members.0.iter().filter(|(name, _)| !NOT_READ.contains(&name.as_str())) {
            let Ok(value) = serde_json::from_str::<Value>(raw.get()) else { continue };
            // A number or a switch is a setting.
            if !(value.is_string() || value.is_array() || value.is_object()) {
                continue;
            }
            size.text_bytes = size.text_bytes.saturating_add(raw.get().len());
            media_bytes = media_bytes.saturating_add(size.measure(&value));
            if let (Value::Array(messages), "messages") = (&value, name.as_str()) {
                size.messages = u64::try_from(messages.len()).unwrap_or(u64::MAX);
            }
        }
        size.text_bytes = size.text_bytes.saturating_sub(media_bytes);
        size
    }

    /// Adds what `value` holds; returns how many bytes of it are media.
    fn measure(&mut self, value: &Value) -> usize {
        match value {
            Value::String(text) => {
                self.text_tokens = self.text_tokens.saturating_add(count_tokens(text));
                0
            }
            Value::Array(items) => {
                items.iter().fold(0_usize, |sum, item| sum.saturating_add(self.measure(item)))
            }
            Value::Object(members) => self.measure_object(members),
            _ => {
                self.text_tokens = self.text_tokens.saturating_add(1);
                0
            }
        }
    }

    fn measure_object(&mut self, members: &Map<String, Value>) -> usize {
        let medium = members.get("type").and_then(Value::as_str).and_then(|kind| self.medium(kind, members));
        let (member, bytes) = medium.unwrap_or(("", 0));
        // What stands beside a medium is read too.
        members.iter().filter(|(name, _)| *name != member).fold(bytes, |sum, (name, value)| {
            self.text_tokens = self.text_tokens.saturating_add(count_tokens(name));
            sum.saturating_add(self.measure(value))
        })
    }

    /// The member that holds a medium, and its bytes.
    fn medium(&mut self, kind: &str, members: &Map<String, Value>) -> Option<(&'static str, usize)> {
        let inside = |member: &str, name: &str| {
            let found = members.get(member)?;
            let text = found.get(name).or(Some(found)).and_then(Value::as_str)?;
            Some((text.len(), text.starts_with("data:")))
        };
        match kind {
            "image_url" => {
                let (bytes, embedded) = inside("image_url", "url")?;
                if !embedded && bytes > ADDRESS_BYTES_MAX {
                    return None;
                }
                self.images = self.images.saturating_add(1);
                Some(("image_url", bytes))
            }
            "input_audio" => {
                let (bytes, _) = inside("input_audio", "data")?;
                self.sound_bytes = self.sound_bytes.saturating_add(bytes);
                Some(("input_audio", bytes))
            }
            "file" => {
                let (bytes, _) = inside("file", "file_data")?;
                self.file_bytes = self.file_bytes.saturating_add(bytes);
                Some(("file", bytes))
            }
            _ => None,
        }
    }

    fn media_tokens(self, image: u64, sound_bytes: usize, file_bytes: usize) -> u64 {
        let images = self.images.saturating_mul(image);
        let others =
            tokens(self.sound_bytes, sound_bytes).saturating_add(tokens(self.file_bytes, file_bytes));
        images.saturating_add(others)
    }

    /// Pictures, each of which has a price where its model's price says so.
    pub const fn images(self) -> u64 {
        self.images
    }

    pub fn tokens_held(self) -> u64 {
        let media = self.media_tokens(IMAGE_TOKENS_HELD, SOUND_BYTES_PER_TOKEN, FILE_BYTES_PER_TOKEN);
        let messages = self.messages.saturating_mul(MESSAGE_TOKENS);
        let text = estimate_prompt_tokens(self.text_bytes, self.text_tokens);
        text.saturating_add(messages).saturating_add(media)
    }

    pub fn tokens_counted(self) -> u64 {
        let media = self.media_tokens(IMAGE_TOKENS_COUNTED, SOUND_BYTES_PER_TOKEN, FILE_BYTES_PER_TOKEN);
        let messages = self.messages.saturating_mul(MESSAGE_TOKENS);
        let counted = self.text_tokens.saturating_add(messages).saturating_add(media);
        counted.min(self.tokens_held())
    }

    pub const fn has_media(self) -> bool {
        self.images > 0 || self.sound_bytes > 0 || self.file_bytes > 0
    }

    pub fn media_tokens_max(self) -> u64 {
        self.media_tokens(IMAGE_TOKENS_MAX, SOUND_BYTES_PER_TOKEN_MIN, FILE_BYTES_PER_TOKEN_MIN)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn members(value: &Value) -> Members {
        serde_json::from_str(&value.to_string()).unwrap()
    }

    fn request(value: &Value) -> WholeRequest {
        WholeRequest::new(members(value), 1)
    }

    #[test]
    fn all_that_is_not_set_here_goes_along_as_it_came() {
        let text = r#"{"model":"x","messages":[{"role":"user","content":"Hi\u00e9"}],"temperature":0.10,"stream":true,"seed":12345678901234567890}"#;
        let request = WholeRequest::new(serde_json::from_str(text).unwrap(), 1);
        let body = request.body(Some("m"), 7, false);
        let expected = r#"{"model":"m","messages":[{"role":"user","content":"Hi\u00e9"}],"temperature":0.10,"seed":12345678901234567890,"max_tokens":7}"#;
        assert_eq!(body, expected);
        let stream: Value = serde_json::from_str(&request.body(Some("m"), 7, true)).unwrap();
        assert_eq!(stream["stream_options"], json!({"include_usage": true}));
        let workers: Value = serde_json::from_str(&request.body(None, 7, true)).unwrap();
        assert!(workers.get("model").is_none() && workers.get("stream_options").is_none());
    }

    #[test]
    fn the_limit_keeps_the_name_the_client_knows() {
        let newer = request(&json!({"messages": [], "max_completion_tokens": 9, "stream_options": {"a": 1}}));
        let body: Value = serde_json::from_str(&newer.body(Some("m"), 7, true)).unwrap();
        assert_eq!((&body["max_completion_tokens"], body.get("max_tokens")), (&json!(7), None));
        assert_eq!(body["stream_options"], json!({"a": 1, "include_usage": true}));
        let workers: Value = serde_json::from_str(&newer.body(None, 7, false)).unwrap();
        assert_eq!(workers["max_tokens"], 7);
    }

    #[test]
    fn a_member_that_is_there_twice_is_refused() {
        assert!(serde_json::from_str::<Members>(r#"{"messages":[],"messages":[1]}"#).is_err());
        assert!(serde_json::from_str::<Members>(r"[]").is_err());
    }

    #[test]
    fn embeddings_are_asked_with_what_came_and_the_model() {
        let asked = json!({"model": "x", "input": ["a b", "c"], "dimensions": 3});
        let request = WholeRequest::embeddings(members(&asked), 2);
        let body = request.body(Some("m"), 0, false);
        assert_eq!(body, r#"{"model":"m","dimensions":3,"input":["a b","c"]}"#);
        assert_eq!(request.body(None, 0, false), r#"{"text":["a b","c"]}"#);
        assert_eq!(request.size.tokens_counted(), 3);
    }

    #[test]
    fn media_are_not_counted_as_text() {
        let data = format!("data:image/png;base64,{}", "A".repeat(100_000));
        let text = json!({"messages": [{"role": "user", "content": "What is this?"}]});
        let image = json!({"messages": [{"role": "user", "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": data}},
        ]}]});
        let (text, image) = (request(&text).size, request(&image).size);
        assert!(image.text_bytes < text.text_bytes + 200, "{image:?}");
        assert!((3_000..3_200).contains(&image.tokens_held()), "{image:?}");
        assert_eq!((image.images, image.media_tokens_max()), (1, 50_000));
        assert!(text.tokens_counted() < 20, "{text:?}");
    }

    #[test]
    fn what_stands_beside_a_medium_is_read_too() {
        let long = "word ".repeat(5_000);
        let sly = json!({"messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "https://x.io/a.png"}, "text": long},
        ]}]});
        assert!(request(&sly).size.tokens_counted() > 5_000);
        let no_address = json!({"messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": long}},
        ]}]});
        assert!(request(&no_address).size.tokens_counted() > 5_000);
    }

    #[test]
    fn what_nobody_here_has_heard_of_is_read_too_and_settings_are_not() {
        let plain = json!({"messages": [{"role": "user", "content": "Hi"}]});
        let with = |name: &str, value: Value| {
            let mut body = plain.clone();
            body[name] = value;
            request(&body).size.tokens_counted()
        };
        let (least, long) = (request(&plain).size.tokens_counted(), "word ".repeat(5_000));
        assert!(with("documents", json!([{"source": {"type": "text", "text": long}}])) > 5_000);
        assert!(with("anything", json!(long)) > 5_000);
        for (name, value) in
            [("temperature", json!(0.5)), ("seed", json!(7)), ("stop", json!(["a"])), ("user", json!("u"))]
        {
            assert_eq!(with(name, value), least, "{name}");
        }
    }

    #[test]
    fn tools_are_read_by_the_model() {
        let tool = json!({"type": "function", "function": {"name": "f", "description": "word ".repeat(100)}});
        let size = request(&json!({"messages": [], "tools": [tool]})).size;
        assert!(size.tokens_counted() > 100, "{size:?}");
    }

    proptest! {
        #[test]
        fn no_more_is_counted_than_is_held(texts in prop::collection::vec("\\PC{0,60}", 0..6), images in 0_usize..3) {
            let mut parts: Vec<Value> = texts.iter().map(|text| json!({"type": "text", "text": text})).collect();
            let image = json!({"type": "image_url", "image_url": {"url": "https://x.io/a.png"}});
            parts.extend(vec![image; images]);
            let size = request(&json!({"messages": [{"role": "user", "content": parts}]})).size;
            prop_assert!(size.tokens_counted() <= size.tokens_held());
        }
    }
}
