//! Providers that speak OpenAI's formats over HTTPS.

use js_sys::Uint8Array;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{FormData, Headers, RequestInit, RequestRedirect, Response, WorkerGlobalScope};

use super::answer::{Answer, Wire};
use super::cartesia;
use super::chat::ChatRequest;
use super::{Failure, PieceStream};
use crate::platform::abort::AbortGuard;
use crate::platform::config::{Provider, ProviderKind};
use crate::platform::now_ms;
use crate::platform::retry_after::retry_after_ms;
use crate::platform::streams;
use crate::platform::task::settled;

/// One whole answer.
pub async fn complete(provider: &Provider, request: &ChatRequest) -> Result<Answer, Failure> {
    let guard = AbortGuard::new();
    let response = chat(provider, request, false, &guard).await?;
    expect_type(&response, "json")?;
    let body = body(&response, request.body_bytes_max()).await?;
    guard.let_go();
    let text = String::from_utf8(body).map_err(|_| Failure::Malformed)?;
    Wire::parse(&text)?.into_answer(request, &provider.model, text)
}

/// A stream of pieces, from its first byte on.
pub async fn open(provider: &Provider, request: &ChatRequest) -> Result<PieceStream, Failure> {
    let guard = AbortGuard::new();
    let response = chat(provider, request, true, &guard).await?;
    expect_type(&response, "text/event-stream")?;
    let stream = response.body().ok_or(Failure::Malformed)?;
    PieceStream::new(&stream, Some(guard), request)
}

/// The whole body. One whose length is told is taken in one turn, where each piece of a stream would be one.
pub(super) async fn body(response: &Response, bytes_max: usize) -> Result<Vec<u8>, Failure> {
    if whole_length(&response.headers()).is_some_and(|length| length <= bytes_max) {
        let buffer = response.array_buffer().map_err(|_| Failure::Malformed)?;
        let buffer = settled(&buffer).await.map_err(|_| Failure::Interrupted)?;
        let bytes = Uint8Array::new(&buffer).to_vec();
        return if bytes.len() > bytes_max { Err(Failure::TooLarge) } else { Ok(bytes) };
    }
    let stream = response.body().ok_or(Failure::Malformed)?;
    let bytes = streams::read_all(&stream, bytes_max).await.map_err(|_| Failure::Interrupted)?;
    bytes.ok_or(Failure::TooLarge)
}

/// The length a body will have. A compressed body's is not known: its header tells what comes over the wire.
fn whole_length(headers: &Headers) -> Option<usize> {
    let header = |name: &str| headers.get(name).ok().flatten();
    if header("content-encoding").is_some_and(|encoding| encoding != "identity") {
        return None;
    }
    header("content-length")?.trim().parse().ok()
}

async fn chat(
    provider: &Provider,
    request: &ChatRequest,
    stream: bool,
    guard: &AbortGuard,
) -> Result<Response, Failure> {
    let content = Content::Json(request.body(Some(&provider.model), stream));
    post(provider, request.path(), &request.request_id, content, guard).await
}

/// What is posted.
pub(super) enum Content {
    Json(String),
    /// With files, whose bytes never are in memory of ours.
    Form(FormData),
}

/// Posts to `path` below the provider's base, and waits for a status that is an answer.
pub(super) async fn post(
    provider: &Provider,
    path: &str,
    request_id: &str,
    content: Content,
    guard: &AbortGuard,
) -> Result<Response, Failure> {
    let fetch = send(provider, path, request_id, content, guard).map_err(|_| Failure::Unreachable)?;
    let response = settled(&fetch).await.map_err(|_| Failure::Unreachable)?;
    let response: Response = response.unchecked_into();
    match response.status() {
        200..=299 => Ok(response),
        300..=399 => Err(Failure::Redirect),
        status => Err(refused(status, &response)),
    }
}

/// A status that is no answer, and when the provider may be asked again if it says so.
pub(super) fn refused(status: u16, response: &Response) -> Failure {
    let header = response.headers().get("retry-after").ok().flatten();
    match header.and_then(|text| retry_after_ms(&text, now_ms())) {
        Some(after_ms) => Failure::Later { status, after_ms },
        None => Failure::Status(status),
    }
}

fn send(
    provider: &Provider,
    path: &str,
    request_id: &str,
    content: Content,
    guard: &AbortGuard,
) -> Result<js_sys::Promise, JsValue> {
    let headers = Headers::new()?;
    let body = match content {
        Content::Json(text) => {
            headers.set("content-type", "application/json")?;
            JsValue::from(text)
        }
        // The runtime says its type itself, with the boundary it chose.
        Content::Form(form) => form.into(),
    };
    headers.set("x-request-id", request_id)?;
    if provider.kind == ProviderKind::Cartesia {
        headers.set("cartesia-version", cartesia::VERSION)?;
    }
    if let Some(key) = &provider.key {
        headers.set("authorization", &format!("Bearer {key}"))?;
    }
    let init = RequestInit::new();
    init.set_method("POST");
    init.set_headers(&headers);
    init.set_body(&body);
    init.set_redirect(RequestRedirect::Manual);
    init.set_signal(guard.signal().as_ref());
    let scope: WorkerGlobalScope = js_sys::global().unchecked_into();
    let url = format!("{}{path}", provider.base);
    Ok(scope.fetch_with_str_and_init(&url, &init))
}

/// What an answer says it is, in lower case and without parameters.
pub(super) fn type_of(response: &Response) -> String {
    let content_type = response.headers().get("content-type").ok().flatten().unwrap_or_default();
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn expect_type(response: &Response, wanted: &str) -> Result<(), Failure> {
    if type_of(response).contains(wanted) { Ok(()) } else { Err(Failure::ContentType) }
}
