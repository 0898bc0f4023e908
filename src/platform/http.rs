//! Small JSON answers of services that are neither providers nor receivers: key sets, a challenge's verdict.

use js_sys::Uint8Array;
use serde_json::Value;
use url::Url;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Headers, RequestInit, RequestRedirect, Response, WorkerGlobalScope};

use super::abort::AbortGuard;
use super::streams;
use super::task::settled;
use super::timer;

/// How long such a service may take, all of it.
const TIMEOUT_MS: i64 = 5_000;
/// How much it may say. A key set of a large issuer has some ten kilobytes.
const BODY_BYTES_MAX: usize = 131_072;

/// No answer, or none that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unanswered {
    Unreachable,
    Timeout,
    Status(u16),
    /// The body broke off, is too long, or is no JSON.
    Unreadable,
}

impl Unanswered {
    /// For the log.
    pub fn words(self) -> String {
        match self {
            Self::Unreachable => "it cannot be reached".to_owned(),
            Self::Timeout => format!("no answer within {TIMEOUT_MS} ms"),
            Self::Status(status) => format!("it answers with status {status}"),
            Self::Unreadable => "its answer cannot be read".to_owned(),
        }
    }
}

/// `GET` of a JSON document. Redirects are not followed.
///
/// # Errors
/// [`Unanswered`].
pub async fn get_json(url: &Url) -> Result<Value, Unanswered> {
    ask(url, None).await.map(|(_, body)| body)
}

/// `POST` of a form, answered with a status and JSON: also with one of 400 to 499, but for 429.
///
/// # Errors
/// [`Unanswered`].
pub async fn post_form(url: &Url, fields: &[(&str, &str)]) -> Result<(u16, Value), Unanswered> {
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    ask(url, Some(form)).await
}

async fn ask(url: &Url, form: Option<String>) -> Result<(u16, Value), Unanswered> {
    let guard = AbortGuard::new();
    let asked = async {
        let fetch = send(url, form.as_deref(), &guard).map_err(|_| Unanswered::Unreachable)?;
        let response: Response = settled(&fetch).await.map_err(|_| Unanswered::Unreachable)?.unchecked_into();
        let status = response.status();
        let speaks = match status {
            200..=299 => true,
            429 => false,
            400..=499 => form.is_some(),
            _ => false,
        };
        if !speaks {
            return Err(Unanswered::Status(status));
        }
        let stream = response.body().ok_or(Unanswered::Unreadable)?;
        let body = streams::read_all(&stream, BODY_BYTES_MAX).await.map_err(|_| Unanswered::Unreadable)?;
        let body = serde_json::from_slice(&body.ok_or(Unanswered::Unreadable)?);
        body.map(|body| (status, body)).map_err(|_| Unanswered::Unreadable)
    };
    let answer = timer::within(TIMEOUT_MS, asked).await.map_err(|_| Unanswered::Timeout)??;
    guard.let_go();
    Ok(answer)
}

fn send(url: &Url, form: Option<&str>, guard: &AbortGuard) -> Result<js_sys::Promise, JsValue> {
    let headers = Headers::new()?;
    headers.set("accept", "application/json")?;
    let init = RequestInit::new();
    if let Some(form) = form {
        headers.set("content-type", "application/x-www-form-urlencoded")?;
        init.set_method("POST");
        init.set_body(&Uint8Array::from(form.as_bytes()));
    }
    init.set_headers(&headers);
    init.set_redirect(RequestRedirect::Manual);
    init.set_signal(guard.signal().as_ref());
    let scope: WorkerGlobalScope = js_sys::global().unchecked_into();
    Ok(scope.fetch_with_str_and_init(url.as_str(), &init))
}
