//! One hop to the catalog's actor.

use actors::catalog::{Command, Reply};
use actors::shared::Refusal;
use js_sys::Promise;
use sha2::{Digest, Sha256};
use wasm_bindgen::prelude::*;
use worker::Env;

use super::tenant_stub::Origin;
use super::{hop, log};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_namespace = cognomega, js_name = catalog)]
    fn command(env: &Env, name: &str, call: &str) -> Result<Promise, JsValue>;
}

/// Sends `asked` to the one catalog. When this returns `Ok`, what it asks is on disk.
///
/// # Errors
/// The actor's refusal; `Storage` when it could not be reached or did not answer.
pub async fn send(origin: Origin<'_>, asked: &Command) -> Result<Reply, Refusal> {
    let failed = |detail: String| {
        log::fault_of(origin.request_id, "catalog_unreachable", &detail);
        Refusal::Storage { detail: format!("catalog actor: {detail}") }
    };
    let call = serde_json::to_string(asked).map_err(|error| failed(error.to_string()))?;
    let answer = hop::answered(command(origin.env, &actor_name(), &call)).await.map_err(failed)?;
    let answer: Result<Reply, Refusal> =
        serde_json::from_str(&answer).map_err(|error| failed(error.to_string()))?;
    answer
}

/// As every actor's: a digest.
fn actor_name() -> String {
    format!("v1-{:x}", Sha256::digest("catalog"))
}
