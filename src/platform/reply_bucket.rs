//! The bucket bound as `R2`: what is too large for an actor to keep, by a name that is a digest.

use js_sys::{Array, Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::ReadableStream;
use worker::Env;

use super::task::settled;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = cognomega)]
    fn store(env: &Env, name: &str, chunks: &Array, content_type: &str) -> Promise;

    #[wasm_bindgen(js_namespace = cognomega)]
    fn load(env: &Env, name: &str) -> Promise;
}

/// The name of the binding.
pub const BINDING: &str = "R2";

/// Keeps `chunks`, one after the other, under `name`. Whether that was done.
pub async fn put(env: &Env, name: &str, chunks: &[Uint8Array], content_type: &str) -> bool {
    let list: Array = chunks.iter().collect();
    settled(&store(env, name, &list, content_type)).await.is_ok()
}

/// The bytes under `name` as a stream, when they are there and as many as `bytes`.
pub async fn get(env: &Env, name: &str, bytes: u64) -> Option<ReadableStream> {
    let found = settled(&load(env, name)).await.ok().filter(JsValue::is_object)?;
    let member = |name: &str| js_sys::Reflect::get(&found, &JsValue::from_str(name)).ok();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let size = member("size")?.as_f64()? as u64;
    member("body")?.dyn_into().ok().filter(|_| size == bytes)
}
