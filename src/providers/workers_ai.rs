//! Workers AI, by its binding. Inputs are made by JSON, because maps arrive empty over the binding.

use wasm_bindgen::prelude::*;
use web_sys::ReadableStream;
use worker::Env;

use super::answer::{Answer, Wire};
use super::chat::ChatRequest;
use super::{Failure, PieceStream};
use crate::platform::config::Provider;
use crate::platform::task::settled;

#[wasm_bindgen]
extern "C" {
    type Ai;

    #[wasm_bindgen(method, catch)]
    fn run(this: &Ai, model: &str, inputs: &JsValue) -> Result<JsValue, JsValue>;
}

/// One whole answer.
pub async fn complete(env: &Env, provider: &Provider, request: &ChatRequest) -> Result<Answer, Failure> {
    let output = run(env, provider, request, false).await?;
    let json = js_sys::JSON::stringify(&output).map_err(|_| Failure::Malformed)?;
    let json = json.as_string().ok_or(Failure::Malformed)?;
    Wire::parse(&json)?.into_answer(request, &provider.model, json)
}

/// A stream of pieces, from its first byte on.
pub async fn open(env: &Env, provider: &Provider, request: &ChatRequest) -> Result<PieceStream, Failure> {
    let output = run(env, provider, request, true).await?;
    let stream = output.dyn_into::<ReadableStream>().map_err(|_| Failure::ContentType)?;
    PieceStream::new(&stream, None, request)
}

async fn run(
    env: &Env,
    provider: &Provider,
    request: &ChatRequest,
    stream: bool,
) -> Result<JsValue, Failure> {
    let inputs = js_sys::JSON::parse(&request.body(None, stream)).map_err(|_| Failure::Malformed)?;
    let binding = js_sys::Reflect::get(env, &JsValue::from_str("AI")).map_err(|_| Failure::Unreachable)?;
    let call =
        binding.unchecked_into::<Ai>().run(&provider.model, &inputs).map_err(|_| Failure::Unreachable)?;
    // A local binding returns something that can be awaited but is not a plain promise.
    settled(&js_sys::Promise::resolve(&call)).await.map_err(|_| Failure::Unreachable)
}
