//! Texts that are kept for a while near where they were made: the platform's cache. It may forget any at any time.

use js_sys::Promise;
use wasm_bindgen::prelude::*;

use super::task::settled;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = cognomega)]
    fn recall(key: &str) -> Promise;

    #[wasm_bindgen(js_namespace = cognomega)]
    fn remember(key: &str, text: &str, ttl_s: f64) -> Promise;
}

/// What is kept under `key`, which is of letters and digits.
pub async fn text(key: &str) -> Option<String> {
    settled(&recall(key)).await.ok()?.as_string()
}

/// Keeps `text` for `ttl_s`. That it could not be kept changes nothing.
pub async fn keep(key: &str, text: &str, ttl_s: u32) {
    let _kept_or_not = settled(&remember(key, text, f64::from(ttl_s))).await;
}
