//! The list of actors that have jobs, so that the sweep finds those whose alarm was abandoned. It is kept in KV: a name
//! each, which goes by itself after a while. Nothing depends on it but the sweep, so it may be late and incomplete.

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use worker::Env;

use super::hop::{self, words};
use super::log;
use super::sockets::ObjectState;
use super::task::{self, settled};

/// How long a name stays that is not written again: the longest time ahead of a job, and the longest that it may take.
const TTL_S: u32 = 3_196_800;
/// How often an instance of an actor that has jobs writes its name. A day.
pub const BETWEEN_MS: i64 = 86_400_000;
/// Names that are read at once: what KV gives in one answer.
const NAMES_MAX: u32 = 1_000;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_namespace = cognomega, js_name = noteJobs)]
    fn note_jobs(env: &Env, name: &str, ttl_s: u32) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch, js_namespace = cognomega, js_name = withJobs)]
    fn with_jobs(env: &Env, prefix: &str, limit: u32) -> Result<Promise, JsValue>;
}

/// Writes the name of an actor that has jobs. Nobody waits for it.
pub fn note(env: &Env, state: &ObjectState, actor: &str) {
    let failed = |error: &JsValue| log::fault("jobs_not_listed", &words(error));
    match note_jobs(env, actor, TTL_S) {
        Err(error) => failed(&error),
        Ok(noted) => task::keep_alive(state, async move {
            if let Err(error) = settled(&noted).await {
                failed(&error);
            }
        }),
    }
}

/// Names that begin so.
///
/// # Errors
/// The runtime's words for what went wrong.
pub async fn names(env: &Env, prefix: &str) -> Result<Vec<String>, String> {
    let text = hop::answered(with_jobs(env, prefix, NAMES_MAX)).await?;
    Ok(text.lines().map(str::to_owned).collect())
}
