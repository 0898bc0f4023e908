//! How a tenant likes to be spoken to: `GET` and `PUT /api/voice/prefs`. What is none of ours is kept as it came.

use actors::tenant::{VoiceCommand, VoiceReply};
use actors::voice_slots::PREFS_BYTES_MAX;
use serde_json::{Map, Value, json};

use super::super::context::{Context, unexpected};
use super::super::error::ApiError;
use super::super::identity::Caller;
use super::super::json_body;
use super::super::limits::{MODEL_BYTES_MAX, VOICE_BYTES_MAX};
use super::super::reply::Reply;
use super::ask;

/// The body around them, in bytes.
const BODY_BYTES_MAX: usize = PREFS_BYTES_MAX.saturating_mul(2);
/// A language, as `pt-BR`.
const LANGUAGE_BYTES_MAX: usize = 35;
/// The preferences that a session looks at.
const NAMES: [&str; 6] = ["voice", "language", "speed", "model", "stt_model", "tts_model"];

pub async fn show(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let prefs = saved(context, &caller).await?;
    Ok(Reply::json(200, &json!({ "email": caller.tenant.label(), "prefs": prefs })))
}

pub async fn set(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let bytes = context.inbound.json_bytes(BODY_BYTES_MAX).await?;
    let mut body: Map<String, Value> = json_body::parse(&bytes)?;
    let prefs = match body.remove("prefs") {
        Some(Value::Object(prefs)) => prefs,
        Some(_) => return Err(ApiError::InvalidField { field: "prefs", expected: "an object" }),
        None => body,
    };
    check(&prefs)?;
    let prefs = Value::Object(prefs);
    if prefs.to_string().len() > PREFS_BYTES_MAX {
        return Err(ApiError::PayloadTooLarge { max_bytes: PREFS_BYTES_MAX });
    }
    match ask(context, &caller, VoiceCommand::SetPrefs { prefs }).await? {
        VoiceReply::Prefs(prefs) => {
            Ok(Reply::json(200, &json!({ "ok": true, "email": caller.tenant.label(), "prefs": prefs })))
        }
        _ => Err(unexpected()),
    }
}

/// What the tenant said before.
pub async fn saved(context: &Context, caller: &Caller) -> Result<Map<String, Value>, ApiError> {
    match ask(context, caller, VoiceCommand::Prefs).await? {
        VoiceReply::Prefs(Value::Object(prefs)) => Ok(prefs),
        _ => Err(unexpected()),
    }
}

/// # Errors
/// `InvalidField`.
pub fn check(prefs: &Map<String, Value>) -> Result<(), ApiError> {
    let text = |name: &str, bytes_max: usize, allowed: fn(char) -> bool| match prefs.get(name) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => (1..=bytes_max).contains(&text.len()) && text.chars().all(allowed),
        Some(_) => false,
    };
    let wrong = |field: &'static str, expected: &'static str| Err(ApiError::InvalidField { field, expected });
    if !text("voice", VOICE_BYTES_MAX, |c| c.is_ascii_graphic() || c == ' ') {
        return wrong("voice", "a voice's name, of at most 128 bytes");
    }
    if !text("language", LANGUAGE_BYTES_MAX, |c| c.is_ascii_alphanumeric() || c == '-') {
        return wrong("language", "a language, as `en` or `pt-BR`");
    }
    for field in ["model", "stt_model", "tts_model"] {
        if !text(field, MODEL_BYTES_MAX, |c| c.is_ascii_graphic()) {
            return wrong(field, "the name of a model");
        }
    }
    match prefs.get("speed").filter(|speed| !speed.is_null()) {
        Some(speed) if !speed.as_f64().is_some_and(|speed| (0.25..=4.0).contains(&speed)) => {
            wrong("speed", "a number from 0.25 to 4")
        }
        _ => Ok(()),
    }
}

/// What a session goes by: `saved`, and what was `asked` for this one before it.
pub fn merged(saved: &Map<String, Value>, asked: &Map<String, Value>) -> Map<String, Value> {
    let said = |name: &str| {
        let value = asked.get(name).or_else(|| saved.get(name)).filter(|value| !value.is_null())?;
        Some((name.to_owned(), value.clone()))
    };
    NAMES.iter().filter_map(|name| said(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_is_ours_is_checked_and_the_rest_is_not_looked_at() {
        for right in [
            json!({}),
            json!({"voice": "luna", "language": "pt-BR", "speed": 1, "model": null, "theme": [1]}),
        ] {
            assert_eq!(check(&object(right)), Ok(()));
        }
        for (field, value) in [
            ("voice", json!(7)),
            ("voice", json!("")),
            ("voice", json!("a\nb")),
            ("language", json!("e n")),
            ("speed", json!(0.2)),
            ("speed", json!("1")),
            ("model", json!("m".repeat(300))),
        ] {
            let prefs = object(json!({ field: value }));
            assert!(matches!(check(&prefs), Err(ApiError::InvalidField { field: f, .. }) if f == field));
        }
    }

    #[test]
    fn what_is_asked_for_goes_before_what_was_saved() {
        let saved = object(json!({"voice": "luna", "speed": 2, "theme": "dark"}));
        let asked = object(json!({"voice": "sol", "speed": null, "language": "en"}));
        assert_eq!(Value::Object(merged(&saved, &asked)), json!({"voice": "sol", "language": "en"}));
    }
}
