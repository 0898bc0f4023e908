//! The body of `POST /v1/audio/speech`: what decides the price and the answer's form is read, the rest is passed on.

use serde_json::Value;

use super::super::context::Context;
use super::super::error::ApiError;
use super::super::json_body;
use super::super::limits::{SPEECH_CHARACTERS_MAX, VOICE_BYTES_MAX};
use super::super::models;
use crate::providers::{Members, SpeechFormat, SpeechRequest};

/// A request for speech that was understood.
pub struct Spoken {
    pub model: String,
    pub request: SpeechRequest,
    /// Characters that are submitted: the text, and how it is to be spoken.
    pub characters: u64,
}

fn wrong(field: &'static str, expected: &'static str) -> ApiError {
    ApiError::InvalidField { field, expected }
}

/// # Errors
/// One code for each mistake; nothing was changed then.
pub fn parse(context: &Context, bytes: &[u8]) -> Result<Spoken, ApiError> {
    read(json_body::parse(bytes)?, &context.request_id)
}

fn read(members: Members, request_id: &str) -> Result<Spoken, ApiError> {
    let model = models::named(&members)?;
    let text = "a text of 1 to 4,096 characters";
    let input = match members.value("input") {
        Some(Value::String(input)) if is_short(&input) && !input.trim().is_empty() => input,
        _ => return Err(wrong("input", text)),
    };
    let instructions = match members.value("instructions") {
        None => String::new(),
        Some(Value::String(instructions)) if is_short(&instructions) => instructions,
        Some(_) => return Err(wrong("instructions", "a text of at most 4,096 characters")),
    };
    let voice = voice(members.value("voice").as_ref())?;
    let format = match members.value("response_format") {
        None => Some(SpeechFormat::Mp3),
        Some(format) => format.as_str().and_then(SpeechFormat::named),
    };
    let format = format.ok_or(wrong("response_format", "`mp3`, `opus`, `aac`, `flac`, `wav` or `pcm`"))?;
    let speed = match members.value("speed") {
        None => Some(1.0),
        Some(speed) => speed.as_f64().filter(|speed| (0.25..=4.0).contains(speed)),
    };
    let speed = speed.ok_or(wrong("speed", "a number from 0.25 to 4"))?;
    let as_events = match members.value("stream_format") {
        None => false,
        Some(Value::String(format)) if format == "audio" => false,
        Some(Value::String(format)) if format == "sse" => true,
        Some(_) => return Err(wrong("stream_format", "`audio` or `sse`")),
    };
    let characters = input.chars().count().saturating_add(instructions.chars().count());
    let request_id = request_id.to_owned();
    Ok(Spoken {
        model,
        characters: u64::try_from(characters).unwrap_or(u64::MAX),
        request: SpeechRequest {
            members,
            input,
            voice,
            format,
            speed,
            language: None,
            as_events,
            request_id,
        },
    })
}

fn is_short(text: &str) -> bool {
    text.chars().count() <= SPEECH_CHARACTERS_MAX
}

/// A voice by its name, or one of the customer's own by its id.
fn voice(voice: Option<&Value>) -> Result<String, ApiError> {
    let named = match voice {
        Some(Value::Object(own)) => own.get("id").and_then(Value::as_str),
        Some(other) => other.as_str(),
        None => None,
    };
    let visible = |name: &&str| {
        (1..=VOICE_BYTES_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let expected = "a voice's name, or an object with its `id`, of 1 to 128 visible ASCII characters";
    named.filter(visible).map(str::to_owned).ok_or(wrong("voice", expected))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(more: Value) -> Result<Spoken, ApiError> {
        let mut body = json!({ "model": "tts", "input": "Hi", "voice": "alloy" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        read(serde_json::from_value(body).unwrap(), "id")
    }

    #[test]
    fn characters_are_those_that_are_submitted() {
        for (more, characters) in [
            (json!({}), 2),
            (json!({ "input": "Grüße, 世界! 👋🏽" }), 13),
            (json!({ "input": "é", "instructions": "warmly" }), 7),
            (json!({ "input": "x".repeat(4_096), "instructions": "y".repeat(4_096) }), 8_192),
        ] {
            assert_eq!(parsed(more.clone()).ok().map(|spoken| spoken.characters), Some(characters), "{more}");
        }
    }

    #[test]
    fn wrong_fields_are_named() {
        for (more, field) in [
            (json!({ "model": 7 }), "model"),
            (json!({ "input": "" }), "input"),
            (json!({ "input": " \n" }), "input"),
            (json!({ "input": ["a"] }), "input"),
            (json!({ "input": "x".repeat(4_097) }), "input"),
            (json!({ "voice": null }), "voice"),
            (json!({ "voice": "" }), "voice"),
            (json!({ "voice": "a b" }), "voice"),
            (json!({ "voice": { "name": "x" } }), "voice"),
            (json!({ "response_format": "ogg" }), "response_format"),
            (json!({ "response_format": 7 }), "response_format"),
            (json!({ "speed": 0.24 }), "speed"),
            (json!({ "speed": "1" }), "speed"),
            (json!({ "stream_format": "raw" }), "stream_format"),
            (json!({ "instructions": 7 }), "instructions"),
            (json!({ "instructions": "x".repeat(4_097) }), "instructions"),
        ] {
            let error = parsed(more.clone()).err();
            assert!(
                matches!(error, Some(ApiError::InvalidField { field: named, .. }) if named == field),
                "{more}"
            );
        }
    }

    #[test]
    fn what_is_left_out_is_usual() {
        let usual = parsed(json!({ "speed": 1, "voice": { "id": "voice_1" } })).ok().unwrap();
        assert_eq!((usual.request.format, usual.request.as_events), (SpeechFormat::Mp3, false));
        assert_eq!(usual.request.voice, "voice_1");
        assert_eq!(usual.request.speed, 1.0);
        assert_eq!(parsed(json!({ "speed": 1.5 })).ok().unwrap().request.speed, 1.5);
    }
}
