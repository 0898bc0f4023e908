//! An outgoing socket: a request with `Upgrade`, and the runtime's end of what it answers.

use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Headers, RequestInit, RequestRedirect, Response, WorkerGlobalScope};

use super::super::failure::{Deadline, Failure};
use super::super::openai_compatible;
use super::VERSION;
use crate::platform::abort::AbortGuard;
use crate::platform::client_socket::ClientSocket;
use crate::platform::config::Provider;
use crate::platform::task::settled;
use crate::platform::timer;

/// What may wait unread, in bytes: all that one part of a turn is in base64. More is a provider that sends without end.
const UNREAD_BYTES_MAX: usize = 33_554_432;

/// Opens a socket at `path`, which may have a query, within `wait_ms`.
///
/// # Errors
/// `Timeout`, `Unreachable`, a status that is no upgrade.
pub async fn open(
    provider: &Provider,
    path: &str,
    request_id: &str,
    wait_ms: i64,
) -> Result<ClientSocket, Failure> {
    let guard = AbortGuard::new();
    let opening = async {
        let fetch = send(provider, path, request_id, &guard).map_err(|_| Failure::Unreachable)?;
        let response = settled(&fetch).await.map_err(|_| Failure::Unreachable)?;
        let response: Response = response.unchecked_into();
        match response.status() {
            101 => ClientSocket::accept_within(&response, UNREAD_BYTES_MAX).ok_or(Failure::Malformed),
            200..=299 => Err(Failure::ContentType),
            300..=399 => Err(Failure::Redirect),
            status => Err(openai_compatible::refused(status, &response)),
        }
    };
    let opened = timer::within(wait_ms, opening).await;
    let socket = opened.unwrap_or(Err(Failure::Timeout(Deadline::Connect)))?;
    guard.let_go();
    Ok(socket)
}

fn send(
    provider: &Provider,
    path: &str,
    request_id: &str,
    guard: &AbortGuard,
) -> Result<js_sys::Promise, JsValue> {
    let headers = Headers::new()?;
    headers.set("upgrade", "websocket")?;
    headers.set("cartesia-version", VERSION)?;
    headers.set("x-request-id", request_id)?;
    if let Some(key) = &provider.key {
        headers.set("authorization", &format!("Bearer {key}"))?;
    }
    let init = RequestInit::new();
    init.set_headers(&headers);
    init.set_redirect(RequestRedirect::Manual);
    init.set_signal(guard.signal().as_ref());
    let scope: WorkerGlobalScope = js_sys::global().unchecked_into();
    Ok(scope.fetch_with_str_and_init(&format!("{}{path}", provider.base), &init))
}
