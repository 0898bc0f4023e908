//! One hop to the actor that counts what a network address does.

use actors::addresses::{Count, Verdict};
use actors::shared::Refusal;
use js_sys::Promise;
use wasm_bindgen::prelude::*;
use worker::Env;

use super::tenant_stub::Origin;
use super::{hop, log};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_namespace = cognomega, js_name = address)]
    fn command(env: &Env, name: &str, call: &str) -> Result<Promise, JsValue>;
}

/// Counts one thing at the actor of that name. When this returns, what was counted is on disk.
///
/// # Errors
/// `Storage` when the actor could not be reached or did not answer.
pub async fn count(origin: Origin<'_>, actor: &str, count: &Count) -> Result<Verdict, Refusal> {
    let failed = |detail: String| {
        log::fault_of(origin.request_id, "address_actor_unreachable", &detail);
        Refusal::Storage { detail: format!("address actor: {detail}") }
    };
    let call = serde_json::to_string(count).map_err(|error| failed(error.to_string()))?;
    let answer = hop::answered(command(origin.env, actor, &call)).await.map_err(failed)?;
    let answer: Result<Verdict, Refusal> =
        serde_json::from_str(&answer).map_err(|error| failed(error.to_string()))?;
    answer
}
