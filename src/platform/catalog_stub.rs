//! One hop to the catalog's actor.

use actors::catalog::{Command, Reply};
use actors::shared::Refusal;
use js_sys::Promise;
use sha2::{Digest, Sha256};
use wasm_bindgen::prelude::*;
use worker::Env;

use super::log;
use super::task::settled;
use super::tenant_stub::Origin;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_namespace = cognomega, js_name = catalog)]
    fn command(env: &Env, name: &str, call: &str) -> Result<Promise, JsValue>;
}

/// Sends `command` to the one catalog. When this returns `Ok`, what the command did is on disk.
///
/// # Errors
/// The actor's refusal; `Storage` when it could not be reached or did not answer.
pub async fn send(origin: Origin<'_>, command: &Command) -> Result<Reply, Refusal> {
    let failed = |detail: String| {
        log::fault_of(origin.request_id, "catalog_unreachable", &detail);
        Refusal::Storage { detail: format!("catalog actor: {detail}") }
    };
    let call = serde_json::to_string(command).map_err(|error| failed(error.to_string()))?;
    let answer = hop(origin.env, &call).await.map_err(|error| failed(words(&error)))?;
    let answer: Result<Reply, Refusal> =
        serde_json::from_str(&answer).map_err(|error| failed(error.to_string()))?;
    answer
}

async fn hop(env: &Env, call: &str) -> Result<String, JsValue> {
    let answer = settled(&self::command(env, &actor_name(), call)?).await?;
    Ok(answer.as_string().unwrap_or_default())
}

/// As every actor's: a digest.
fn actor_name() -> String {
    format!("v1-{:x}", Sha256::digest("catalog"))
}

fn words(error: &JsValue) -> String {
    let error = error.dyn_ref::<js_sys::Error>();
    error.map_or_else(|| "no error was given".to_owned(), |error| String::from(error.message()))
}
