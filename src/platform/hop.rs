//! The way to an actor and back: text there and text back, and what went wrong in words for the log.

use js_sys::Promise;
use wasm_bindgen::prelude::*;

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

pub(super) fn words(error: &JsValue) -> String {
    let error = error.dyn_ref::<js_sys::Error>();
    error.map_or_else(|| "no error was given".to_owned(), |error| String::from(error.message()))
}
