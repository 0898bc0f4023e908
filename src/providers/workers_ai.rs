//! Workers AI, by its binding. Inputs are made by JSON, because maps arrive empty over the binding.

use wasm_bindgen::prelude::*;
use web_sys::{ReadableStream, Response};
use worker::Env;

use super::answer::{Answer, Wire};
use super::chat::ChatRequest;
use super::{Failure, PieceStream, openai_compatible};
use crate::platform::abort::AbortGuard;
use crate::platform::config::Provider;
use crate::platform::task::settled;

#[wasm_bindgen]
extern "C" {
    type Ai;

    #[wasm_bindgen(method, catch)]
    fn run(this: &Ai, model: &str, inputs: &JsValue, options: &JsValue) -> Result<JsValue, JsValue>;
}

/// One whole answer.
pub async fn complete(env: &Env, provider: &Provider, request: &ChatRequest) -> Result<Answer, Failure> {
    let guard = AbortGuard::new();
    let output = run(env, provider, request, false, &guard).await?;
    guard.let_go();
    let json = js_sys::JSON::stringify(&output).map_err(|_| Failure::Malformed)?;
    let json = json.as_string().ok_or(Failure::Malformed)?;
    Wire::parse(&json)?.into_answer(request, &provider.model, json)
}

/// A stream of pieces, from its first byte on.
pub async fn open(env: &Env, provider: &Provider, request: &ChatRequest) -> Result<PieceStream, Failure> {
    let guard = AbortGuard::new();
    let output = run(env, provider, request, true, &guard).await?;
    let stream = output.dyn_into::<ReadableStream>().map_err(|_| Failure::ContentType)?;
    PieceStream::new(&stream, Some(guard), request)
}

async fn run(
    env: &Env,
    provider: &Provider,
    request: &ChatRequest,
    stream: bool,
    guard: &AbortGuard,
) -> Result<JsValue, Failure> {
    let inputs = js_sys::JSON::parse(&request.body(None, stream)).map_err(|_| Failure::Malformed)?;
    let options = js_sys::Object::new();
    if let Some(signal) = guard.signal() {
        let named = js_sys::Reflect::set(&options, &JsValue::from_str("signal"), &signal);
        named.map_err(|_| Failure::Unreachable)?;
    }
    ended(bound(env)?.run(&provider.model, &inputs, &options)).await
}

fn bound(env: &Env) -> Result<Ai, Failure> {
    let binding = js_sys::Reflect::get(env, &JsValue::from_str("AI")).map_err(|_| Failure::Unreachable)?;
    Ok(binding.unchecked_into())
}

async fn ended(call: Result<JsValue, JsValue>) -> Result<JsValue, Failure> {
    let call = call.map_err(|_| Failure::Unreachable)?;
    // A local binding returns something that can be awaited but is not a plain promise.
    settled(&js_sys::Promise::resolve(&call)).await.map_err(|_| Failure::Unreachable)
}

/// Runs a model that answers with bytes; `inputs` are JSON.
///
/// # Errors
/// As of any call; a status that is none of an answer's.
pub async fn run_raw(env: &Env, model: &str, inputs: &str) -> Result<Response, Failure> {
    let parsed = |text: &str| js_sys::JSON::parse(text).map_err(|_| Failure::Malformed);
    let (inputs, options) = (parsed(inputs)?, parsed(r#"{"returnRawResponse":true}"#)?);
    let output = ended(bound(env)?.run(model, &inputs, &options)).await?;
    // One of another realm is no instance of ours, and has all that one has.
    if !js_sys::Reflect::has(&output, &JsValue::from_str("status")).unwrap_or(false) {
        return Err(Failure::ContentType);
    }
    let response: Response = output.unchecked_into();
    match response.status() {
        200..=299 => Ok(response),
        status => Err(openai_compatible::refused(status, &response)),
    }
}

/// Runs a model with `inputs` of the runtime's own, and gives its answer as JSON.
///
/// # Errors
/// As of any call; `Malformed` when the answer is no JSON.
pub async fn run_with_inputs(env: &Env, model: &str, inputs: &JsValue) -> Result<String, Failure> {
    let output = ended(bound(env)?.run(model, inputs, &js_sys::Object::new())).await?;
    let json = js_sys::JSON::stringify(&output).map_err(|_| Failure::Malformed)?;
    json.as_string().ok_or(Failure::Malformed)
}
