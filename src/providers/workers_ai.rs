//! Workers AI, by its binding. Inputs are made by JSON, because maps arrive empty over the binding.

use wasm_bindgen::prelude::*;
use web_sys::ReadableStream;
use worker::Env;

use super::answer::{Answer, Wire};
use super::chat::ChatRequest;
use super::{Failure, PieceStream};
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
    let binding = js_sys::Reflect::get(env, &JsValue::from_str("AI")).map_err(|_| Failure::Unreachable)?;
    let options = js_sys::Object::new();
    if let Some(signal) = guard.signal() {
        let named = js_sys::Reflect::set(&options, &JsValue::from_str("signal"), &signal);
        named.map_err(|_| Failure::Unreachable)?;
    }
    let call = binding.unchecked_into::<Ai>().run(&provider.model, &inputs, &options);
    let call = call.map_err(|_| Failure::Unreachable)?;
    // A local binding returns something that can be awaited but is not a plain promise.
    settled(&js_sys::Promise::resolve(&call)).await.map_err(|_| Failure::Unreachable)
}
