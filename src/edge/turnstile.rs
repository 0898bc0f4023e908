//! A challenge that a page's visitor solved, verified with the service that posed it. It fails closed.

use serde_json::Value;

use super::address_limits::Address;
use super::context::Context;
use super::error::ApiError;
use crate::platform::config::Turnstile;
use crate::platform::{http, log};

/// The longest answer a challenge gives, in bytes, by its documentation.
const ANSWER_BYTES_MAX: usize = 2_048;

/// Where the challenge's answer may be beside the body.
pub const ANSWER_HEADER: &str = "x-turnstile-token";

/// Has the request's challenge verified, when one is configured; `in_body` is its answer as the body has it.
///
/// # Errors
/// `MissingTurnstile`; `TurnstileFailed`; `Unavailable` when the service gives no verdict, which is no fault of the
/// visitor's: nobody passes, and nobody is told to solve another challenge.
pub async fn check(context: &Context, in_body: Option<Value>) -> Result<(), ApiError> {
    let Some(turnstile) = &context.config.turnstile else {
        return Ok(());
    };
    let answer = answer(context, in_body)?.ok_or(ApiError::MissingTurnstile)?;
    if answer.len() > ANSWER_BYTES_MAX {
        return Err(ApiError::TurnstileFailed);
    }
    let address =
        context.inbound.header("cf-connecting-ip").filter(|_| matches!(context.address(), Address::Known(_)));
    let mut fields = vec![("secret", turnstile.secret.as_str()), ("response", answer.as_str())];
    if let Some(address) = &address {
        fields.push(("remoteip", address));
    }
    let said = http::post_form(&turnstile.verify_url, &fields).await;
    let verdict = said
        .map_err(|unanswered| unanswered.words())
        .and_then(|(status, said)| judge(status, &said, turnstile));
    match verdict {
        Ok(true) => Ok(()),
        Ok(false) => Err(ApiError::TurnstileFailed),
        Err(why) => {
            log::fault_of(&context.request_id, "turnstile_unavailable", &why);
            Err(ApiError::Unavailable)
        }
    }
}

fn answer(context: &Context, in_body: Option<Value>) -> Result<Option<String>, ApiError> {
    if let Some(header) = context.inbound.header_filled(ANSWER_HEADER) {
        return Ok(Some(header));
    }
    let text = in_body.filter(|value| !value.is_null());
    let text = text.map(|value| value.as_str().map(str::to_owned).ok_or(ApiError::MissingTurnstile));
    Ok(text.transpose()?.filter(|text| !text.trim().is_empty()))
}

/// Codes of failures that are not the visitor's, as the service's documentation has them.
const NOT_THE_VISITORS: &[&str] =
    &["internal-error", "missing-input-secret", "invalid-input-secret", "bad-request"];

/// Whether the challenge was passed. A good verdict is of a page of ours: an answer taken from another site's challenge
/// is none. A failure may come with any status that has an answer, a success with one that says so too.
///
/// # Errors
/// Why what the service said is no verdict, in words for the log.
fn judge(status: u16, said: &Value, turnstile: &Turnstile) -> Result<bool, String> {
    let Some(success) = said.get("success").and_then(Value::as_bool) else {
        return Err("its answer has no verdict".to_owned());
    };
    if success && !matches!(status, 200..=299) {
        return Err(format!("it says success with status {status}"));
    }
    let codes = said.get("error-codes").and_then(Value::as_array).into_iter().flatten();
    let ours = codes
        .filter_map(Value::as_str)
        .find_map(|code| NOT_THE_VISITORS.iter().find(|known| **known == code));
    if let (false, Some(code)) = (success, ours) {
        return Err(format!("it says {code}"));
    }
    let host = said.get("hostname").and_then(Value::as_str).unwrap_or_default();
    Ok(success && turnstile.hostnames.iter().any(|known| known.eq_ignore_ascii_case(host)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_good_verdict_of_our_pages_passes() {
        let turnstile = Turnstile {
            secret: "s".to_owned(),
            verify_url: "https://challenges.cloudflare.com/x".parse().unwrap(),
            hostnames: vec!["app.cognomega.com".to_owned()],
        };
        let verdict = |success: bool, hostname: &str| json!({ "success": success, "hostname": hostname });
        assert_eq!(judge(200, &verdict(true, "APP.cognomega.com"), &turnstile), Ok(true));
        for failed in [
            verdict(false, "app.cognomega.com"),
            verdict(true, "evil.io"),
            verdict(true, "app.cognomega.com.evil.io"),
            json!({ "success": true }),
            json!({ "success": false, "error-codes": ["timeout-or-duplicate"] }),
        ] {
            assert_eq!(judge(200, &failed, &turnstile), Ok(false), "{failed}");
        }
        for none in [
            json!({ "success": "true", "hostname": "app.cognomega.com" }),
            json!({ "hostname": "app.cognomega.com" }),
            json!([]),
            Value::Null,
            json!({ "success": false, "error-codes": ["internal-error"] }),
            json!({ "success": false, "error-codes": ["invalid-input-secret"] }),
        ] {
            assert!(judge(200, &none, &turnstile).is_err(), "{none}");
        }
        for status in [199, 300, 400, 403] {
            assert!(judge(status, &verdict(true, "app.cognomega.com"), &turnstile).is_err(), "{status}");
        }
        assert_eq!(judge(400, &verdict(false, "app.cognomega.com"), &turnstile), Ok(false));
    }
}
