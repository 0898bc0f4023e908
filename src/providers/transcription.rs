//! A recording to be written down: what is asked of a provider, and what it says of text and length.

use js_sys::{Object, Reflect, Uint8Array};
use serde_json::Value;
use wasm_bindgen::JsValue;
use web_sys::{Blob, FormData};
use worker::Env;

use super::attempts::{self, Answered, Failed, Form, Plan};
use super::byte_stream::ByteStream;
use super::cartesia;
use super::failure::Failure;
use super::heard::Heard;
use super::openai_compatible::{self, Content};
use super::speech::begun;
use super::sse::SseParser;
use super::whole_request::Members;
use super::workers_ai;
use crate::platform::abort::AbortGuard;
use crate::platform::config::{Config, Provider, ProviderKind};
use crate::platform::uploads;

const PATH: &str = "/audio/transcriptions";
/// The longest transcript that is passed on, in bytes: two hours of fast speech are 200 KB, and with a line for each of
/// its words twenty times that.
pub const TRANSCRIPT_BYTES_MAX: usize = 4_194_304;
/// The largest recording that goes to Whisper by the binding, in bytes. It goes as base64 in one message, which has 32 MiB
/// at most.
const BASE64_BYTES_MAX: u64 = 20_000_000;

/// In which form a transcript is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TranscriptFormat {
    Json,
    VerboseJson,
    Text,
    Srt,
    Vtt,
}

impl TranscriptFormat {
    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "json" => Self::Json,
            "verbose_json" => Self::VerboseJson,
            "text" => Self::Text,
            "srt" => Self::Srt,
            "vtt" => Self::Vtt,
            _ => return None,
        })
    }

    pub const fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::VerboseJson)
    }
}

/// What is asked.
pub struct TranscriptionRequest {
    /// Its bytes stay with the runtime, and each attempt gets the same.
    pub file: Blob,
    /// By whose ending a server knows what it is.
    pub file_name: String,
    pub file_bytes: u64,
    /// In the words of `Content-Type`.
    pub media: String,
    /// The client's own fields but for the file and the model.
    pub fields: Vec<(String, String)>,
    pub format: TranscriptFormat,
    pub language: Option<String>,
    pub prompt: Option<String>,
    pub request_id: String,
}

/// What a provider says was used. Nothing says yet that it is true.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reported {
    Seconds(f64),
    Tokens {
        tokens_in: u64,
        tokens_out: u64,
    },
    /// Something that no usage can be.
    Absurd,
}

/// A whole transcript, in the form that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Transcript {
    pub body: String,
    pub reported: Option<Reported>,
    /// Of the text in it.
    pub characters: u64,
}

/// Asks `providers` until one answers.
///
/// # Errors
/// [`Failed`] with every attempt, when none does before `end_ms`.
pub async fn transcribe(
    env: &Env,
    config: &Config,
    providers: &[Provider],
    request: &TranscriptionRequest,
    end_ms: i64,
) -> Result<Answered<Transcript>, Failed> {
    let plan = Plan { config, providers, request_id: &request.request_id, end_ms, form: Form::Whole };
    attempts::run(plan, async |provider, _| once(env, provider, request).await).await
}

/// Asks one provider.
pub(super) async fn once(
    env: &Env,
    provider: &Provider,
    request: &TranscriptionRequest,
) -> Result<Transcript, Failure> {
    match provider.kind {
        ProviderKind::OpenAiCompatible => compatible(provider, request).await,
        ProviderKind::WorkersAi => binding(env, &provider.model, request).await,
        ProviderKind::Cartesia => cartesia::transcribe(provider, request).await,
    }
}

/// Asks `providers`, who all speak OpenAI's format, until the first event of one arrives.
///
/// # Errors
/// [`Failed`] with every attempt, when none does before `end_ms`.
pub async fn transcribe_in_events(
    config: &Config,
    providers: &[Provider],
    request: &TranscriptionRequest,
    end_ms: i64,
) -> Result<Answered<ByteStream>, Failed> {
    let plan = Plan { config, providers, request_id: &request.request_id, end_ms, form: Form::Bytes };
    attempts::run(plan, async |provider, wait_ms| {
        begun(provider, wait_ms, async {
            let guard = AbortGuard::new();
            let form = form(provider, request).map_err(|_| Failure::Malformed)?;
            let content = Content::Form(form);
            let response =
                openai_compatible::post(provider, PATH, &request.request_id, content, &guard).await?;
            if openai_compatible::type_of(&response) != "text/event-stream" {
                return Err(Failure::ContentType);
            }
            let stream = response.body().ok_or(Failure::Malformed)?;
            let bytes_max = u64::try_from(TRANSCRIPT_BYTES_MAX).unwrap_or(u64::MAX);
            ByteStream::new(&stream, Some(guard), "text/event-stream; charset=utf-8", bytes_max)
        })
        .await
    })
    .await
}

/// The client's form with the provider's model.
fn form(provider: &Provider, request: &TranscriptionRequest) -> Result<FormData, JsValue> {
    let form = FormData::new()?;
    form.append_with_str("model", &provider.model)?;
    for (name, value) in &request.fields {
        form.append_with_str(name, value)?;
    }
    form.append_with_blob_and_filename("file", &request.file, &request.file_name)?;
    Ok(form)
}

async fn compatible(provider: &Provider, request: &TranscriptionRequest) -> Result<Transcript, Failure> {
    let guard = AbortGuard::new();
    let form = form(provider, request).map_err(|_| Failure::Malformed)?;
    let response =
        openai_compatible::post(provider, PATH, &request.request_id, Content::Form(form), &guard).await?;
    let said = openai_compatible::type_of(&response);
    let body = openai_compatible::body(&response, TRANSCRIPT_BYTES_MAX).await?;
    guard.let_go();
    let text = String::from_utf8(body).map_err(|_| Failure::Malformed)?;
    read(request.format, &said, text)
}

/// Reads what came as `said`.
fn read(format: TranscriptFormat, said: &str, text: String) -> Result<Transcript, Failure> {
    let json = said.contains("json");
    let plain = said.starts_with("text/") || said == "application/x-subrip";
    if !json && (format.is_json() || !plain || said == "text/html" || said == "text/event-stream") {
        return Err(Failure::ContentType);
    }
    if !json {
        let whole = match format {
            TranscriptFormat::Vtt => text.trim_start_matches('\u{feff}').starts_with("WEBVTT"),
            TranscriptFormat::Srt => text.trim().is_empty() || text.contains("-->"),
            _ => true,
        };
        let characters = characters(&text);
        return if whole {
            Ok(Transcript { body: text, reported: None, characters })
        } else {
            Err(Failure::Malformed)
        };
    }
    if !text.trim_start().starts_with('{') {
        return Err(Failure::Malformed);
    }
    let members: Members = serde_json::from_str(&text).map_err(|_| Failure::Malformed)?;
    let Some(Value::String(heard)) = members.value("text").filter(|_| members.get("error").is_none()) else {
        return Err(Failure::Malformed);
    };
    let reported = reported(members.value("usage").as_ref(), members.value("duration").as_ref());
    let characters = characters(&heard);
    match format {
        TranscriptFormat::Json | TranscriptFormat::VerboseJson => {
            Ok(Transcript { body: text, reported, characters })
        }
        // Some servers answer so whatever is asked for.
        TranscriptFormat::Text => Ok(Transcript { body: format!("{heard}\n"), reported, characters }),
        TranscriptFormat::Srt | TranscriptFormat::Vtt => Err(Failure::ContentType),
    }
}

/// Characters of a text, without what subtitles have around it.
fn characters(text: &str) -> u64 {
    let is_text = |line: &&str| {
        let line = line.trim();
        !line.contains("-->") && line != "WEBVTT" && !line.bytes().all(|byte| byte.is_ascii_digit())
    };
    let count: usize = text.lines().filter(is_text).map(|line| line.chars().count()).sum();
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// What usage says, and else the length that stands beside the text.
fn reported(usage: Option<&Value>, duration: Option<&Value>) -> Option<Reported> {
    let Some(usage) = usage.and_then(Value::as_object) else {
        return duration.map(|duration| match duration {
            Value::Number(number) => number.as_f64().map_or(Reported::Absurd, Reported::Seconds),
            // It was a text in earlier versions of the format.
            Value::String(text) => text.trim().parse().map_or(Reported::Absurd, Reported::Seconds),
            _ => Reported::Absurd,
        });
    };
    if let Some(seconds) = usage.get("seconds") {
        return Some(seconds.as_f64().map_or(Reported::Absurd, Reported::Seconds));
    }
    let count = |name: &str| usage.get(name).map(|count| count.as_u64().ok_or(()));
    match (count("input_tokens"), count("output_tokens")) {
        (None, None) => None,
        (Some(Ok(tokens_in)), Some(Ok(tokens_out))) => Some(Reported::Tokens { tokens_in, tokens_out }),
        _ => Some(Reported::Absurd),
    }
}

/// Reads the usage out of a transcript's events as they pass.
#[derive(Default)]
pub struct UsageWatch {
    parser: SseParser,
    pub reported: Option<Reported>,
    /// Of the text that was told.
    pub characters: u64,
    /// The event that ends a transcript has passed.
    pub complete: bool,
}

impl UsageWatch {
    /// # Errors
    /// `Malformed` for what are no events.
    pub fn push(&mut self, chunk: &Uint8Array) -> Result<(), Failure> {
        self.take(&chunk.to_vec())
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        for event in self.parser.push(bytes).map_err(|_| Failure::Malformed)? {
            if event.trim() == "[DONE]" {
                self.complete = true;
                continue;
            }
            let members: Members = serde_json::from_str(&event).map_err(|_| Failure::Malformed)?;
            if let Some(Value::String(delta)) = members.value("delta") {
                self.characters = self.characters.saturating_add(characters(&delta));
            }
            if members.value("type").is_some_and(|kind| kind == "transcript.text.done") {
                self.complete = true;
                self.reported = reported(members.value("usage").as_ref(), None);
            }
        }
        Ok(())
    }
}

async fn binding(env: &Env, model: &str, request: &TranscriptionRequest) -> Result<Transcript, Failure> {
    let deepgram = model.contains("/deepgram/");
    let inputs = if deepgram {
        deepgram_inputs(request).map_err(|_| Failure::Malformed)?
    } else {
        whisper_inputs(request).await?
    };
    let answer = workers_ai::run_with_inputs(env, model, &inputs).await?;
    let answer: Value = serde_json::from_str(&answer).map_err(|_| Failure::Malformed)?;
    let heard = if deepgram { Heard::by_deepgram(&answer) } else { Heard::by_whisper(&answer) };
    Ok(Transcript::of(&heard.ok_or(Failure::Malformed)?, request))
}

impl Transcript {
    /// What was heard, in the form that was asked for.
    pub(super) fn of(heard: &Heard, request: &TranscriptionRequest) -> Self {
        let reported = heard.duration.map(Reported::Seconds);
        let body = heard.shown(request.format, request.language.as_deref());
        Self { body, reported, characters: characters(&heard.text) }
    }
}

/// `@cf/deepgram/nova-3`: the recording as a stream.
fn deepgram_inputs(request: &TranscriptionRequest) -> Result<JsValue, JsValue> {
    let (inputs, audio) = (Object::new(), Object::new());
    let set = |object: &Object, name: &str, value: &JsValue| Reflect::set(object, &name.into(), value);
    set(&audio, "body", &request.file.stream())?;
    set(&audio, "contentType", &JsValue::from_str(&request.media))?;
    set(&inputs, "audio", &audio)?;
    set(&inputs, "smart_format", &JsValue::TRUE)?;
    match &request.language {
        Some(language) => set(&inputs, "language", &JsValue::from_str(language))?,
        None => set(&inputs, "detect_language", &JsValue::TRUE)?,
    };
    Ok(inputs.into())
}

/// `@cf/openai/whisper-large-v3-turbo`: the recording in base64.
async fn whisper_inputs(request: &TranscriptionRequest) -> Result<JsValue, Failure> {
    if request.file_bytes > BASE64_BYTES_MAX {
        // As a server would say it: others may take it.
        return Err(Failure::Status(413));
    }
    let audio = uploads::in_base64(&request.file).await.ok_or(Failure::Malformed)?;
    let inputs = Object::new();
    let set = |name: &str, value: &JsValue| Reflect::set(&inputs, &name.into(), value);
    let all = || -> Result<(), JsValue> {
        set("audio", &audio)?;
        set("task", &JsValue::from_str("transcribe"))?;
        if let Some(language) = &request.language {
            set("language", &JsValue::from_str(language))?;
        }
        if let Some(prompt) = &request.prompt {
            set("initial_prompt", &JsValue::from_str(prompt))?;
        }
        Ok(())
    };
    all().map_err(|_| Failure::Malformed)?;
    Ok(inputs.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn usage_is_read_in_every_form_it_comes_in() {
        let of = |body: Value| read(TranscriptFormat::Json, "application/json", body.to_string()).unwrap();
        let text = |more: Value| {
            let mut body = json!({ "text": "x" });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            of(body).reported
        };
        for (more, expected) in [
            (json!({}), None),
            (json!({ "duration": 8.47 }), Some(Reported::Seconds(8.47))),
            (json!({ "duration": "8.47" }), Some(Reported::Seconds(8.47))),
            (json!({ "duration": -1 }), Some(Reported::Seconds(-1.0))),
            (json!({ "duration": [] }), Some(Reported::Absurd)),
            (json!({ "duration": "long" }), Some(Reported::Absurd)),
            (
                json!({ "duration": 3, "usage": { "type": "duration", "seconds": 4 } }),
                Some(Reported::Seconds(4.0)),
            ),
            (json!({ "usage": { "type": "duration", "seconds": "4" } }), Some(Reported::Absurd)),
            (
                json!({ "usage": { "type": "tokens", "input_tokens": 14, "output_tokens": 45 } }),
                Some(Reported::Tokens { tokens_in: 14, tokens_out: 45 }),
            ),
            (json!({ "usage": { "input_tokens": -14, "output_tokens": 45 } }), Some(Reported::Absurd)),
            (json!({ "usage": { "input_tokens": 14 } }), Some(Reported::Absurd)),
            (json!({ "usage": {} }), None),
        ] {
            assert_eq!(text(more.clone()), expected, "{more}");
        }
    }

    #[test]
    fn characters_are_those_of_the_text_alone() {
        assert_eq!(characters("Grüße!\n"), 6);
        assert_eq!(
            characters("1\n00:00:00,000 --> 00:00:01,000\nHi 5.\n\n2\n00:00:01,000 --> 00:00:02,000\nYes.\n"),
            9
        );
        assert_eq!(characters("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nHi.\n"), 3);
    }

    #[test]
    fn what_is_no_transcript_of_its_form_is_refused() {
        use TranscriptFormat::{Json, Srt, Text, VerboseJson, Vtt};
        let json = "application/json";
        for (format, said, body, expected) in [
            (Json, json, r#"{"text":"a"}"#, Ok(r#"{"text":"a"}"#)),
            (VerboseJson, json, r#"{"text":"a","duration":1}"#, Ok(r#"{"text":"a","duration":1}"#)),
            (Text, json, r#"{"text":"a"}"#, Ok("a\n")),
            (Text, "text/plain", "a\n", Ok("a\n")),
            (
                Srt,
                "text/plain",
                "1\n00:00:00,000 --> 00:00:01,000\na\n",
                Ok("1\n00:00:00,000 --> 00:00:01,000\na\n"),
            ),
            (Vtt, "text/vtt", "WEBVTT\n\n", Ok("WEBVTT\n\n")),
            (Vtt, "text/plain", "a", Err(Failure::Malformed)),
            (Srt, "text/plain", "a", Err(Failure::Malformed)),
            (Srt, json, r#"{"text":"a"}"#, Err(Failure::ContentType)),
            (Text, "text/html", "<html>", Err(Failure::ContentType)),
            (Json, "text/html", "<html>", Err(Failure::ContentType)),
            (Json, "text/plain", r#"{"text":"a"}"#, Err(Failure::ContentType)),
            (Text, "audio/mpeg", "a", Err(Failure::ContentType)),
            (Json, json, r#"{"text":"a""#, Err(Failure::Malformed)),
            (Json, json, r#"{"text":7}"#, Err(Failure::Malformed)),
            (Json, json, r#"["text"]"#, Err(Failure::Malformed)),
            (Json, json, r#"{"text":"a","error":{"message":"no"}}"#, Err(Failure::Malformed)),
        ] {
            let read = read(format, said, body.to_owned()).map(|read| read.body);
            assert_eq!(read.as_deref().map_err(|failure| *failure), expected, "{format:?} {said} {body}");
        }
    }

    #[test]
    fn the_usage_of_events_is_found_however_they_are_cut() {
        let events = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"a\"}\n\n\
            data: {\"type\":\"transcript.text.done\",\"text\":\"a\",\"usage\":{\"seconds\":3}}\n\n";
        for cut in 0..events.len() {
            let mut watch = UsageWatch::default();
            let (first, second) = events.as_bytes().split_at(cut);
            watch.take(first).unwrap();
            assert!(!watch.complete);
            watch.take(second).unwrap();
            assert!(watch.complete);
            assert_eq!(watch.reported, Some(Reported::Seconds(3.0)), "{cut}");
        }
        assert_eq!(UsageWatch::default().take(b"data: <html>\n\n"), Err(Failure::Malformed));
    }
}
