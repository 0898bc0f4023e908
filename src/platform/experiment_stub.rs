//! One hop to the actor of a skill's experiment, or to the one that lists the skills that have one.

use actors::experiment::directory::{Entry, Listed};
use actors::experiment::{Call, Command, Reply, actor_name, directory_name};
use actors::shared::Refusal;
use js_sys::Promise;
use wasm_bindgen::prelude::*;
use worker::Env;

use super::tenant_stub::Origin;
use super::{hop, log};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_namespace = cognomega, js_name = experiment)]
    fn command(env: &Env, name: &str, call: &str) -> Result<Promise, JsValue>;
}

/// Sends `command` to the experiment of `skill`. When this returns `Ok`, what the command did is on disk.
///
/// # Errors
/// The actor's refusal; `Storage` when it could not be reached or did not answer.
pub async fn send(origin: Origin<'_>, skill: &str, command: Command) -> Result<Reply, Refusal> {
    deliver(origin, &actor_name(skill), skill, command).await
}

/// Asks or changes the list of skills that have an experiment; the list as it is then.
///
/// # Errors
/// As [`send`].
pub async fn directory(origin: Origin<'_>, entry: Entry) -> Result<Listed, Refusal> {
    match deliver(origin, &directory_name(), "", Command::Directory(entry)).await? {
        Reply::Directory(listed) => Ok(listed),
        _ => Err(unreachable(origin, "the list of experiments answered another question")),
    }
}

async fn deliver(origin: Origin<'_>, actor: &str, skill: &str, asked: Command) -> Result<Reply, Refusal> {
    let call = Call { request_id: origin.request_id.to_owned(), skill: skill.to_owned(), command: asked };
    let call = serde_json::to_string(&call).map_err(|error| unreachable(origin, &error.to_string()))?;
    let answer = hop::answered(command(origin.env, actor, &call)).await;
    let answer = answer.map_err(|error| unreachable(origin, &error))?;
    let answer: Result<Reply, Refusal> =
        serde_json::from_str(&answer).map_err(|error| unreachable(origin, &error.to_string()))?;
    answer
}

fn unreachable(origin: Origin<'_>, detail: &str) -> Refusal {
    log::fault_of(origin.request_id, "experiment_actor_unreachable", detail);
    Refusal::Storage { detail: format!("experiment actor: {detail}") }
}
