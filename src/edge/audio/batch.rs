//! `POST /api/tts/cartesia/batch`: a text as sound, by Cartesia and nobody else. Older clients ask so; what is charged and
//! kept is that of `/v1/audio/speech`.

use std::rc::Rc;

use serde_json::Value;

use super::super::context::Context;
use super::super::error::ApiError;
use super::super::json_body;
use super::super::limits::{JSON_BODY_BYTES_MAX, SPEECH_CHARACTERS_MAX, VOICE_BYTES_MAX};
use super::super::meter;
use super::super::models;
use super::super::reply::Reply;
use super::speech;
use super::speech_form::Spoken;
use crate::providers::{Members, SpeechFormat, SpeechRequest};

pub async fn speak(context: &Rc<Context>) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let cartesia = &context.config.offers.cartesia;
    if cartesia.is_empty() {
        return Err(ApiError::CartesiaUnconfigured);
    }
    meter::refused_before(context, &caller)?;
    let bytes = context.inbound.json_bytes(JSON_BODY_BYTES_MAX).await?;
    let idempotency = context.idempotency(&caller, &bytes)?;
    let spoken = read(&json_body::parse(&bytes)?, &context.request_id)?;
    speech::serve(context, caller, spoken, cartesia, idempotency).await
}

/// # Errors
/// `MissingText`, `InvalidField`.
fn read(members: &Members, request_id: &str) -> Result<Spoken, ApiError> {
    let wrong = |field, expected| ApiError::InvalidField { field, expected };
    let input = match members.value("text") {
        Some(Value::String(text)) if !text.trim().is_empty() => text,
        None | Some(Value::Null | Value::String(_)) => return Err(ApiError::MissingText),
        Some(_) => return Err(wrong("text", "a text of 1 to 4,096 characters")),
    };
    let characters = input.chars().count();
    if characters > SPEECH_CHARACTERS_MAX {
        return Err(wrong("text", "a text of 1 to 4,096 characters"));
    }
    let visible =
        |name: &String| name.len() <= VOICE_BYTES_MAX && name.bytes().all(|byte| byte.is_ascii_graphic());
    let voice = match members.value("voice") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(voice)) if visible(&voice) => voice,
        Some(_) => return Err(wrong("voice", "a voice's id, of at most 128 visible ASCII characters")),
    };
    let format = match members.value("format") {
        None | Some(Value::Null) => Some(SpeechFormat::Mp3),
        Some(format) => format.as_str().and_then(SpeechFormat::named),
    };
    let packed =
        |format: &SpeechFormat| matches!(format, SpeechFormat::Mp3 | SpeechFormat::Wav | SpeechFormat::Pcm);
    let format = format.filter(packed).ok_or(wrong("format", "`mp3`, `wav` or `pcm`"))?;
    Ok(Spoken {
        model: models::AUTO.to_owned(),
        characters: u64::try_from(characters).unwrap_or(u64::MAX),
        request: SpeechRequest {
            members: Members::default(),
            input,
            voice,
            format,
            speed: 1.0,
            language: None,
            as_events: false,
            request_id: request_id.to_owned(),
        },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn code(body: Value) -> Result<(String, SpeechFormat, u64), &'static str> {
        let read = read(&serde_json::from_value(body).unwrap(), "id");
        let known = |spoken: Spoken| (spoken.request.voice, spoken.request.format, spoken.characters);
        read.map(known).map_err(|error| match error {
            ApiError::InvalidField { field, .. } => field,
            other => other.code(),
        })
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (body, expected) in [
            (json!({}), "missing_text"),
            (json!({ "text": null }), "missing_text"),
            (json!({ "text": " \n" }), "missing_text"),
            (json!({ "text": 7 }), "text"),
            (json!({ "text": "x".repeat(4_097) }), "text"),
            (json!({ "text": "Hi", "voice": "a b" }), "voice"),
            (json!({ "text": "Hi", "voice": 7 }), "voice"),
            (json!({ "text": "Hi", "format": "opus" }), "format"),
            (json!({ "text": "Hi", "format": 7 }), "format"),
        ] {
            assert_eq!(code(body.clone()), Err(expected), "{body}");
        }
    }

    #[test]
    fn what_is_left_out_is_usual() {
        assert_eq!(code(json!({ "text": "Grüße" })), Ok((String::new(), SpeechFormat::Mp3, 5)));
        let own = json!({ "text": "Hi", "voice": "v", "format": "wav" });
        assert_eq!(code(own), Ok(("v".to_owned(), SpeechFormat::Wav, 2)));
    }
}
