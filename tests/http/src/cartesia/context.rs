//! The rules of `/tts/websocket`: what a message must have, what must stay the same in a context, and when one is over.

use super::SAMPLE_RATES_HZ;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long after its last sound a context is over.
pub const EXPIRES_AFTER: Duration = Duration::from_secs(1);
/// Contexts of one connection that may be under way at once.
const CONTEXTS_MAX: usize = 10;

const KNOWN: [&str; 17] = [
    "context_id",
    "model_id",
    "transcript",
    "voice",
    "output_format",
    "language",
    "locale",
    "normalization",
    "generation_config",
    "pronunciation_dict_id",
    "max_buffer_delay_ms",
    "add_timestamps",
    "add_phoneme_timestamps",
    "use_normalized_timestamps",
    "continue",
    "flush",
    "speed",
];
/// What may differ from one input of a context to the next.
const MAY_CHANGE: [&str; 3] = ["transcript", "continue", "flush"];

/// What is to be done for a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Speak { context: String, text: String, flush_id: u64, hz: u32, timestamps: bool, then: Then },
    Cancel { context: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    More,
    Flushed,
    Done,
}

/// A rule that was broken: the status, why, and in which context.
pub type Broken = (u16, &'static str, Option<String>);

struct Context {
    same: Map<String, Value>,
    flushes: u64,
    /// When its sound will have been sent; none before there is any.
    sounded: Option<Instant>,
    is_over: bool,
    /// It is over because a script wanted it so; its client may not know yet.
    has_failed: bool,
}

/// Why an input is refused whose context ended by a script: no rule was broken.
pub const FAILED: &str = "the context has failed";

#[derive(Default)]
pub struct Contexts {
    all: HashMap<String, Context>,
}

impl Contexts {
    /// Takes a message at `now`.
    pub fn take(&mut self, text: &str, now: Instant) -> Result<Told, Broken> {
        let Ok(Value::Object(message)) = serde_json::from_str::<Value>(text) else {
            return Err((400, "a message is no JSON object", None));
        };
        let Some(id) = message.get("context_id").and_then(Value::as_str).map(str::to_owned) else {
            return Err((400, "context_id is missing", None));
        };
        let wrong = |why| (400, why, Some(id.clone()));
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
            return Err(wrong("context_id is no id"));
        }
        if message.contains_key("cancel") {
            if message.get("cancel") != Some(&Value::Bool(true)) || message.len() != 2 {
                return Err(wrong("a cancelling message has other members"));
            }
            if let Some(context) = self.all.get_mut(&id) {
                context.is_over = true;
            }
            return Ok(Told::Cancel { context: id });
        }
        let hz = checked(&message).map_err(wrong)?;
        let flag = |name: &str| message.get(name).and_then(Value::as_bool).unwrap_or(false);
        let transcript = message.get("transcript").and_then(Value::as_str).unwrap_or_default().to_owned();
        let (goes_on, flush) = (flag("continue"), flag("flush"));
        if flush && !(goes_on && transcript.is_empty()) {
            return Err(wrong("a flush has a transcript, or is the last input"));
        }
        if goes_on && !flush && transcript.is_empty() {
            return Err(wrong("an input that is not the last has no transcript"));
        }
        self.in_context(&id, &message, now)?;
        let Some(context) = self.all.get_mut(&id) else { return Err((500, "a context is lost", Some(id))) };
        let flush_id = context.flushes + 1;
        context.flushes += u64::from(flush);
        context.is_over = !goes_on;
        let then = match (goes_on, flush) {
            (false, _) => Then::Done,
            (true, true) => Then::Flushed,
            (true, false) => Then::More,
        };
        let timestamps = flag("add_timestamps");
        Ok(Told::Speak { context: id, text: transcript, flush_id, hz, timestamps, then })
    }

    /// Finds the context, which may be new, and holds the message against it.
    fn in_context(&mut self, id: &str, message: &Map<String, Value>, now: Instant) -> Result<(), Broken> {
        let wrong = |why| (400, why, Some(id.to_owned()));
        let mut same = message.clone();
        for name in MAY_CHANGE {
            same.remove(name);
        }
        let Some(context) = self.all.get_mut(id) else {
            if message.get("transcript").and_then(Value::as_str).is_none_or(str::is_empty) {
                return Err(wrong("a context begins without a transcript"));
            }
            if self.all.values().filter(|context| !context.is_over).count() >= CONTEXTS_MAX {
                return Err((429, "too many contexts at once", Some(id.to_owned())));
            }
            let context = Context { same, flushes: 0, sounded: None, is_over: false, has_failed: false };
            self.all.insert(id.to_owned(), context);
            return Ok(());
        };
        if context.sounded.is_some_and(|at| now.saturating_duration_since(at) > EXPIRES_AFTER) {
            context.is_over = true;
        }
        if context.is_over {
            return Err(wrong(if context.has_failed { FAILED } else { "the context is over" }));
        }
        if context.same != same {
            context.is_over = true;
            return Err(wrong("a field of the context has changed"));
        }
        Ok(())
    }

    /// Sound of the context was sent at `now`.
    pub fn sounded(&mut self, id: &str, now: Instant) {
        if let Some(context) = self.all.get_mut(id) {
            context.sounded = Some(now);
        }
    }

    /// Nothing more comes of it.
    pub fn fail(&mut self, id: &str) {
        if let Some(context) = self.all.get_mut(id) {
            (context.is_over, context.has_failed) = (true, true);
        }
    }
}

/// Holds the members of an input against their forms; the rate of its sound.
fn checked(message: &Map<String, Value>) -> Result<u32, &'static str> {
    if message.keys().any(|name| !KNOWN.contains(&name.as_str())) {
        return Err("an input has a member that is not known");
    }
    common(message)?;
    let format = message.get("output_format").unwrap_or(&Value::Null);
    if format.get("container").and_then(Value::as_str) != Some("raw") {
        return Err("the container of a socket is not raw");
    }
    if let Some(delay) = message.get("max_buffer_delay_ms").filter(|delay| !delay.is_null())
        && delay.as_u64().is_none_or(|delay| delay > 5_000)
    {
        return Err("max_buffer_delay_ms is not from 0 to 5000");
    }
    for name in ["continue", "flush", "add_timestamps", "add_phoneme_timestamps", "use_normalized_timestamps"]
    {
        if message.get(name).is_some_and(|flag| !flag.is_boolean() && !flag.is_null()) {
            return Err("a flag is no flag");
        }
    }
    u32::try_from(format.get("sample_rate").and_then(Value::as_u64).unwrap_or(0))
        .map_err(|_| "no sample rate")
}

/// What a request for speech has, by whatever way it comes.
pub fn common(message: &Map<String, Value>) -> Result<(), &'static str> {
    let named = |name: &str| message.get(name).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    if !named("model_id") {
        return Err("model_id is missing");
    }
    if !message.get("transcript").is_some_and(Value::is_string) {
        return Err("transcript is missing");
    }
    let voice = message.get("voice").unwrap_or(&Value::Null);
    // Newer versions take the id alone, or without its mode.
    let id = voice.get("id").unwrap_or(voice).as_str();
    if voice.get("mode").is_some_and(|mode| mode != "id")
        || id.is_none_or(|id| uuid::Uuid::parse_str(id).is_err())
    {
        return Err("voice is no UUID, nor {mode: id, id: a UUID}");
    }
    if let Some(language) = message.get("language").filter(|language| !language.is_null())
        && language.as_str().is_none_or(|text| text.len() != 2)
    {
        return Err("language is no two letters");
    }
    if let Some(speed) = message.get("generation_config").and_then(|config| config.get("speed"))
        && !speed.as_f64().is_some_and(|speed| (0.6..=1.5).contains(&speed))
    {
        return Err("speed is not from 0.6 to 1.5");
    }
    let format = message.get("output_format").unwrap_or(&Value::Null);
    let text = |name: &str| format.get(name).and_then(Value::as_str);
    let rate = format.get("sample_rate").and_then(Value::as_u64).unwrap_or(0);
    if !SAMPLE_RATES_HZ.contains(&rate) {
        return Err("sample_rate is none that is spoken");
    }
    let rates: [u64; 5] = [32_000, 64_000, 96_000, 128_000, 192_000];
    match text("container") {
        Some("raw" | "wav") if text("encoding") == Some("pcm_s16le") && format.get("bit_rate").is_none() => {
            Ok(())
        }
        Some("mp3")
            if format.get("bit_rate").and_then(Value::as_u64).is_some_and(|rate| rates.contains(&rate)) =>
        {
            Ok(())
        }
        _ => Err("output_format is none that this stand-in speaks"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const VOICE: &str = "a0e99841-438c-4a64-b679-ae501e7d6091";

    fn input(more: Value) -> String {
        let mut input = json!({
            "context_id": "c", "model_id": "sonic-3", "transcript": "Hi. ", "continue": true,
            "voice": {"mode": "id", "id": VOICE},
            "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24_000},
        });
        input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        input.to_string()
    }

    fn why(told: Result<Told, Broken>) -> &'static str {
        told.expect_err("it is refused").1
    }

    #[test]
    fn a_context_keeps_its_fields_and_ends() {
        let (mut contexts, now) = (Contexts::default(), Instant::now());
        let said = |then| Told::Speak {
            context: "c".into(),
            text: if then == Then::More { "Hi. ".into() } else { String::new() },
            flush_id: 1,
            hz: 24_000,
            timestamps: false,
            then,
        };
        assert_eq!(contexts.take(&input(json!({})), now), Ok(said(Then::More)));
        let flush = input(json!({"transcript": "", "flush": true}));
        assert_eq!(contexts.take(&flush, now), Ok(said(Then::Flushed)));
        contexts.sounded("c", now);
        assert!(contexts.take(&input(json!({})), now + EXPIRES_AFTER).is_ok());
        let late = now + EXPIRES_AFTER + Duration::from_millis(1);
        assert_eq!(why(contexts.take(&input(json!({})), late)), "the context is over");
        for more in [json!({"context_id": "d"}), json!({"context_id": "d", "language": "de"})] {
            let _ = contexts.take(&input(more), now);
        }
        let again = contexts.take(&input(json!({"context_id": "d"})), now);
        assert_eq!(why(again), "the context is over", "it ended when a field changed");
    }

    #[test]
    fn what_breaks_a_rule_is_refused() {
        for (more, expected) in [
            (json!({"context_id": null}), "context_id is missing"),
            (json!({"context_id": "a b"}), "context_id is no id"),
            (json!({"cancel": true}), "a cancelling message has other members"),
            (json!({"model_id": null}), "model_id is missing"),
            (json!({"transcript": null}), "transcript is missing"),
            (json!({"transcript": ""}), "an input that is not the last has no transcript"),
            (json!({"transcript": "", "continue": false}), "a context begins without a transcript"),
            (json!({"flush": true}), "a flush has a transcript, or is the last input"),
            (
                json!({"voice": {"mode": "embedding", "id": VOICE}}),
                "voice is no UUID, nor {mode: id, id: a UUID}",
            ),
            (json!({"duration": 3}), "an input has a member that is not known"),
            (json!({"max_buffer_delay_ms": 9_000}), "max_buffer_delay_ms is not from 0 to 5000"),
            (json!({"generation_config": {"speed": 3}}), "speed is not from 0.6 to 1.5"),
            (
                json!({"output_format": {"container": "mp3", "sample_rate": 24_000, "bit_rate": 64_000}}),
                "the container of a socket is not raw",
            ),
        ] {
            let told = Contexts::default().take(&input(more.clone()), Instant::now());
            assert_eq!(why(told), expected, "{more}");
        }
    }
}
