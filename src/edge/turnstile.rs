//! A challenge that a page's visitor solved, verified with the service that posed it. It fails closed.

use serde_json::Value;

use super::address_limits::Address;
use super::context::Context;
use super::error::ApiError;
use crate::platform::config::Turnstile;
use crate::platform::http;

/// The longest answer a challenge gives, in bytes, by its documentation.
const ANSWER_BYTES_MAX: usize = 2_048;

/// Where the challenge's answer may be beside the body.
pub const ANSWER_HEADER: &str = "x-turnstile-token";

/// Has the request's challenge verified, when one is configured; `in_body` is its answer as the body has it.
///
/// # Errors
/// `MissingTurnstile`, `TurnstileFailed`.
pub async fn check(context: &Context, in_body: Option<Value>) -> Result<(), ApiError> {
    let Some(turnstile) = &context.config.turnstile else {
        return Ok(());
    };
    let answer = answer(context, in_body)?.ok_or(ApiError::MissingTurnstile)?;
    if answer.len() > ANSWER_BYTES_MAX {
        return Err(ApiError::TurnstileFailed);
    }
    let address = context
        .inbound
        .header("cf-connecting-ip")
        .filter(|_| matches!(Address::of(&context.inbound), Address::Known(_)));
    let mut fields = vec![("secret", turnstile.secret.as_str()), ("response", answer.as_str())];
    if let Some(address) = &address {
        fields.push(("remoteip", address));
    }
    let verdict = http::post_form(&turnstile.verify_url, &fields).await;
    let verdict = verdict.map_err(|_| ApiError::TurnstileFailed)?;
    if passes(&verdict, turnstile) { Ok(()) } else { Err(ApiError::TurnstileFailed) }
}

fn answer(context: &Context, in_body: Option<Value>) -> Result<Option<String>, ApiError> {
    if let Some(header) = context.inbound.header_filled(ANSWER_HEADER) {
        return Ok(Some(header));
    }
    let text = in_body.filter(|value| !value.is_null());
    let text = text.map(|value| value.as_str().map(str::to_owned).ok_or(ApiError::MissingTurnstile));
    Ok(text.transpose()?.filter(|text| !text.trim().is_empty()))
}

/// A good verdict is of a page of ours: an answer taken from another site's challenge is none.
fn passes(verdict: &Value, turnstile: &Turnstile) -> bool {
    let good = verdict.get("success").and_then(Value::as_bool) == Some(true);
    let host = verdict.get("hostname").and_then(Value::as_str).unwrap_or_default();
    good && turnstile.hostnames.iter().any(|known| known.eq_ignore_ascii_case(host))
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
        let verdict = |success: Value, hostname: &str| json!({ "success": success, "hostname": hostname });
        assert!(passes(&verdict(json!(true), "APP.cognomega.com"), &turnstile));
        for bad in [
            verdict(json!(false), "app.cognomega.com"),
            verdict(json!("true"), "app.cognomega.com"),
            verdict(json!(true), "evil.io"),
            verdict(json!(true), "app.cognomega.com.evil.io"),
            json!({ "success": true }),
            json!({ "hostname": "app.cognomega.com" }),
            json!([]),
        ] {
            assert!(!passes(&bad, &turnstile), "{bad}");
        }
    }
}
