//! `webhook`: a JSON body, posted to an address of the client's and signed as the Standard Webhooks specification says.
//! It costs nothing.

use actors::credits::{Owner, Usage};
use actors::rate::Weight;
use actors::shared::Micro;
use futures::future::{FutureExt, ready};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::attempt::Attempt;
use super::kinds::{Done, Failure, Kind, Making, Prepared};
use super::si::unreadable;
use crate::edge::error::ApiError;
use crate::platform::config::JobRules;
use crate::platform::now_ms;
use crate::platform::webhook::{self, Call, Undelivered};
use crate::platform::webhook_address::{WEBHOOK_URL, webhook_url};

pub const KIND: Kind = Kind {
    name: "webhook",
    prepare: |making, params| ready(prepare(making, params)).boxed_local(),
    run: |attempt| run(attempt).boxed_local(),
    // A receiver may be away for long, and being asked costs it little.
    rules: |usual| JobRules { attempts_max: usual.attempts_max.saturating_mul(2).min(20), ..usual },
    final_errors: &["address_refused", "secret_unusable", "webhook_refused"],
};

#[derive(Deserialize)]
struct Params<'a> {
    url: String,
    /// `whsec_` and 24 to 64 bytes in base64. It is never shown.
    secret: String,
    #[serde(borrow)]
    body: &'a RawValue,
}

fn prepare(making: &Making, params: &RawValue) -> Result<Prepared, ApiError> {
    let expected = "`url`, `secret` and `body`: an address, what signs it, and what is sent";
    let params: Params<'_> = serde_json::from_str(params.get())
        .map_err(|_| ApiError::InvalidField { field: "params", expected })?;
    let operation = &making.operation;
    if webhook_url(&params.url, operation.config.environment).is_none() {
        return Err(ApiError::InvalidField { field: "url", expected: WEBHOOK_URL });
    }
    if !webhook::is_secret(&params.secret) {
        let expected = "`whsec_` and 24 to 64 bytes in base64";
        return Err(ApiError::InvalidField { field: "secret", expected });
    }
    let owner = Owner {
        route: operation.route.to_owned(),
        request_id: Some(operation.request_id.clone()),
        api_key: making.caller.api_key.clone(),
        weight: Weight { requests: 1, ..Weight::default() },
        ..Owner::default()
    };
    Ok(Prepared { amount: Micro::ZERO, owner, quote: None, file_bytes: None })
}

async fn run(attempt: &Attempt) -> Result<Done, Failure> {
    let stored = attempt.stored.as_ref().ok_or_else(unreadable)?;
    let params: Params<'_> = serde_json::from_str(stored.params.get()).map_err(|_| unreadable())?;
    let operation = &attempt.operation;
    let call =
        Call { id: &attempt.job.id, url: &params.url, secret: &params.secret, body: params.body.get() };
    let status = webhook::send(call, operation.config.environment, now_ms()).await.map_err(failure)?;
    let meta = json!({ "outcome": "complete", "request_id": operation.request_id, "type": KIND.name });
    let usage = Usage {
        route: Some(operation.route.to_owned()),
        tokens_in: None,
        tokens_out: None,
        model: None,
        meta: to_raw_value(&meta).ok(),
    };
    let result = to_raw_value(&json!({ "status": status })).map_err(|_| unreadable())?;
    Ok(Done { result, charge: Micro::ZERO, usage })
}

/// What the receiver understood and does not want, it will not want again.
fn failure(undelivered: Undelivered) -> Failure {
    let (status, retry_after_ms) = match undelivered {
        Undelivered::Status(status) => (Some(status), None),
        Undelivered::Later { status, after_ms } => (Some(status), Some(i64::from(after_ms))),
        _ => (None, None),
    };
    let code = match (undelivered, status) {
        (Undelivered::Address, _) => "address_refused",
        (Undelivered::Secret, _) => "secret_unusable",
        (_, Some(408 | 425 | 429)) => "webhook_failed",
        (_, Some(300..=499)) => "webhook_refused",
        _ => "webhook_failed",
    };
    let failure = Failure::new(code, format!("the receiver: {}", undelivered.outcome()));
    Failure { retry_after_ms, ..failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_receiver_refuses_is_final_and_what_it_cannot_do_now_is_not() {
        let is_final = |undelivered| KIND.final_errors.contains(&failure(undelivered).code);
        for refused in [301, 400, 401, 404, 410, 422] {
            assert!(is_final(Undelivered::Status(refused)), "{refused}");
        }
        for later in [408, 425, 429, 500, 503] {
            assert!(!is_final(Undelivered::Status(later)), "{later}");
        }
        let later = failure(Undelivered::Later { status: 429, after_ms: 60_000 });
        assert_eq!((later.code, later.retry_after_ms), ("webhook_failed", Some(60_000)));
        assert!(is_final(Undelivered::Later { status: 404, after_ms: 1 }));
        assert!(!is_final(Undelivered::Timeout) && !is_final(Undelivered::Unreachable));
        assert!(is_final(Undelivered::Address) && is_final(Undelivered::Secret));
    }
}
