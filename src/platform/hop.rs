//! The way to an actor and back: text there and text back, and what went wrong in words for the log.

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use web_sys::Response;

use super::task::settled;

/// Waits for what a call was answered. What is no text is read as none.
///
/// # Errors
/// The runtime's words for what went wrong.
pub(super) async fn answered(call: Result<Promise, JsValue>) -> Result<String, String> {
    let call = call.map_err(|error| words(&error))?;
    let answer = settled(&call).await.map_err(|error| words(&error))?;
    Ok(answer.as_string().unwrap_or_default())
}

/// The status of a response that opens a socket.
const SWITCHING_PROTOCOLS: u16 = 101;

/// What came of a call that is to open a socket.
pub(super) enum Opened {
    /// The response with the socket in it.
    Socket(Response),
    /// What the actor answered instead, as text.
    Answer(String),
}

/// Waits for a socket, or for what is said instead.
///
/// # Errors
/// The runtime's words for what went wrong.
pub(super) async fn opened(call: Result<Promise, JsValue>) -> Result<Opened, String> {
    let call = call.map_err(|error| words(&error))?;
    let response: Response = settled(&call).await.map_err(|error| words(&error))?.unchecked_into();
    if response.status() == SWITCHING_PROTOCOLS {
        return Ok(Opened::Socket(response));
    }
    answered(response.text()).await.map(Opened::Answer)
}

pub(super) fn words(error: &JsValue) -> String {
    let error = error.dyn_ref::<js_sys::Error>();
    error.map_or_else(|| "no error was given".to_owned(), |error| String::from(error.message()))
}
