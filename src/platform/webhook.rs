//! Calling an owner's webhook, signed as the Standard Webhooks specification says: three headers, an HMAC over
//! id, time and body.

use actors::notices::Delivery;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use url::Url;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Headers, RequestInit, RequestRedirect, Response, WorkerGlobalScope};

use super::abort::AbortGuard;
use super::config::Environment;
use super::retry_after::retry_after_ms;
use super::task::settled;
use super::timer;
use super::webhook_address::webhook_url;

/// How long a receiver may take: well below `actors::notices::LEASE_MS`.
const DELIVERY_TIMEOUT_MS: i64 = 10_000;
/// What a secret begins with; the rest is the key in base64.
const SECRET_PREFIX: &str = "whsec_";
/// A key's length in bytes, as the Standard Webhooks specification has it.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Why a delivery failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undelivered {
    /// The address is not one that may be called, any more.
    Address,
    Secret,
    Unreachable,
    Timeout,
    Status(u16),
    /// The same, and it said after how long it may be called again.
    Later {
        status: u16,
        after_ms: u32,
    },
}

impl Undelivered {
    /// As the delivery log has it.
    pub fn outcome(self) -> String {
        match self {
            Self::Address => "address_refused".to_owned(),
            Self::Secret => "secret_unusable".to_owned(),
            Self::Unreachable => "unreachable".to_owned(),
            Self::Timeout => "timeout".to_owned(),
            Self::Status(status) | Self::Later { status, .. } => status.to_string(),
        }
    }
}

/// A fresh secret from 32 random bytes.
pub fn secret(random: [u8; 32]) -> String {
    format!("{SECRET_PREFIX}{}", STANDARD.encode(random))
}

/// What is sent, and where to. The id is the same at every attempt, so that a receiver knows it again.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub id: &'a str,
    pub url: &'a str,
    pub secret: &'a str,
    /// JSON.
    pub body: &'a str,
}

impl<'a> Call<'a> {
    pub fn of(delivery: &'a Delivery) -> Self {
        let Delivery { id, url, secret, body, .. } = delivery;
        Self { id, url, secret, body }
    }
}

/// Makes the call once. Any 2xx is a delivery; redirects are not followed.
///
/// # Errors
/// [`Undelivered`].
pub async fn send(call: Call<'_>, environment: Environment, now_ms: i64) -> Result<u16, Undelivered> {
    let url = webhook_url(call.url, environment).ok_or(Undelivered::Address)?;
    let guard = AbortGuard::new();
    let fetch = request(&url, call, now_ms.div_euclid(1_000), &guard)?;
    let response = timer::within(DELIVERY_TIMEOUT_MS, settled(&fetch)).await;
    let response = response.map_err(|_| Undelivered::Timeout)?.map_err(|_| Undelivered::Unreachable)?;
    let response: Response = response.unchecked_into();
    // The body is of no interest: dropping the guard tells the receiver to stop.
    match response.status() {
        status @ 200..=299 => Ok(status),
        status => {
            let header = response.headers().get("retry-after").ok().flatten();
            Err(match header.and_then(|text| retry_after_ms(&text, now_ms)) {
                Some(after_ms) => Undelivered::Later { status, after_ms },
                None => Undelivered::Status(status),
            })
        }
    }
}

fn request(url: &Url, call: Call<'_>, at_s: i64, guard: &AbortGuard) -> Result<js_sys::Promise, Undelivered> {
    let signature = sign(call.secret, call.id, at_s, call.body).ok_or(Undelivered::Secret)?;
    let build = || -> Result<RequestInit, JsValue> {
        let headers = Headers::new()?;
        headers.set("content-type", "application/json")?;
        headers.set("webhook-id", call.id)?;
        headers.set("webhook-timestamp", &at_s.to_string())?;
        headers.set("webhook-signature", &signature)?;
        let init = RequestInit::new();
        init.set_method("POST");
        init.set_headers(&headers);
        init.set_body(&JsValue::from_str(call.body));
        init.set_redirect(RequestRedirect::Manual);
        init.set_signal(guard.signal().as_ref());
        Ok(init)
    };
    let init = build().map_err(|_| Undelivered::Unreachable)?;
    let scope: WorkerGlobalScope = js_sys::global().unchecked_into();
    Ok(scope.fetch_with_str_and_init(url.as_str(), &init))
}

/// Whether a secret can sign: `whsec_` and base64 of 24 to 64 bytes. With an empty key anybody could.
pub fn is_secret(secret: &str) -> bool {
    key_of(secret).is_some()
}

fn key_of(secret: &str) -> Option<Vec<u8>> {
    let key = STANDARD.decode(secret.strip_prefix(SECRET_PREFIX).unwrap_or(secret)).ok()?;
    KEY_BYTES.contains(&key.len()).then_some(key)
}

/// `v1,<base64>` over `id.time.body`; `None` for a secret that is none.
fn sign(secret: &str, id: &str, at_s: i64, body: &str) -> Option<String> {
    let key = key_of(secret)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
    mac.update(format!("{id}.{at_s}.{body}").as_bytes());
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    #[test]
    fn the_signature_is_that_of_the_specification() {
        let signature = sign(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            "{\"test\": 2432232314}",
        );
        assert_eq!(signature.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
        assert_eq!(sign("whsec_***", "id", 1, ""), None);
    }

    #[test]
    fn a_key_that_anybody_could_guess_signs_nothing() {
        for (bytes, usable) in [(0, false), (1, false), (23, false), (24, true), (64, true), (65, false)] {
            let secret = format!("whsec_{}", STANDARD.encode(vec![7_u8; bytes]));
            assert_eq!(is_secret(&secret), usable, "{bytes} bytes");
            assert_eq!(sign(&secret, "id", 1, "").is_some(), usable, "{bytes} bytes");
        }
        assert!(!is_secret(""));
        assert!(is_secret(&secret([0; 32])), "one of our own");
    }
}
