//! One hop to a tenant's actor: a command goes over as text, a reply or a refusal comes back as text.

use actors::shared::{Refusal, TenantId};
use actors::tenant::{Call, Command, Reply, Standing};
use js_sys::Promise;
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;
use web_sys::Response;
use worker::Env;

use super::hop::{self, Opened};
use super::log;

/// The kind in an actor's name.
const KIND: &str = "tenant";

/// What the shell says of a command that it did not take (`src/shell.js`): nothing of it was run, nor will be.
const NOT_TAKEN: &str = "too many commands wait";

/// The request that a command is part of.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    pub env: &'a Env,
    /// Goes along to the actor, so that its log lines and those of the front door can be read together.
    pub request_id: &'a str,
}

/// What the actor answers.
pub type Answer = Result<Reply, Refusal>;

/// What the actor sends back.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answered {
    pub answer: Answer,
    /// Where the tenant stands, when the command was metered and the answer does not say so itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
}

/// The name of a tenant's actor: a digest.
pub fn name_of(tenant: &TenantId) -> String {
    tenant.actor_name(KIND)
}

/// Sends `command` to the actor of `tenant` and waits for its answer. When this returns `Ok`, what the
/// command did is on disk: the runtime holds the answer back until it is.
///
/// # Errors
/// The actor's refusal; `Storage` when it could not be reached or did not answer.
pub async fn send(origin: Origin<'_>, tenant: &TenantId, api_key: Option<&str>, command: Command) -> Answer {
    deliver(origin, &name_of(tenant), &call(origin, tenant.clone(), api_key, command)).await.answer
}

/// The same for a metered command.
pub async fn send_metered(
    origin: Origin<'_>,
    tenant: &TenantId,
    api_key: Option<&str>,
    command: Command,
) -> Answered {
    deliver(origin, &name_of(tenant), &call(origin, tenant.clone(), api_key, command)).await
}

/// Asks the actor of that name who it is; nothing else can be asked without knowing.
///
/// # Errors
/// As [`send`].
pub async fn send_to(origin: Origin<'_>, actor: &str, command: Command) -> Answer {
    let call = call(origin, TenantId::Guest(String::new()), None, command);
    deliver(origin, actor, &call).await.answer
}

/// Asks the actor of that name to open a socket, for a tenant that is known or for whoever holds the ticket that the
/// command shows.
///
/// # Errors
/// The actor's refusal; `Storage` when it could not be reached or did not answer.
pub async fn open_socket(
    origin: Origin<'_>,
    actor: &str,
    (tenant, api_key): (Option<&TenantId>, Option<&str>),
    command: Command,
) -> Result<Response, Refusal> {
    let failed = |detail: &str| unreachable(origin, detail);
    let tenant = tenant.cloned().unwrap_or(TenantId::Guest(String::new()));
    let call = serde_json::to_string(&call(origin, tenant, api_key, command));
    let call = call.map_err(|error| failed(&error.to_string()))?;
    let answer = match hop::opened(listen(origin.env, actor, &call)).await.map_err(|error| failed(&error))? {
        Opened::Socket(response) => return Ok(response),
        Opened::Answer(text) => text,
    };
    let answered = serde_json::from_str::<Answered>(&answer);
    match told(origin, answered.map_err(|error| failed(&error.to_string()))?.answer) {
        Err(refusal) => Err(refusal),
        Ok(_) => Err(failed("a socket was neither opened nor refused")),
    }
}

fn call(origin: Origin<'_>, tenant: TenantId, api_key: Option<&str>, command: Command) -> Call {
    let request_id = Some(origin.request_id.to_owned());
    Call { tenant, api_key: api_key.map(str::to_owned), request_id, command }
}

async fn deliver(origin: Origin<'_>, name: &str, call: &Call) -> Answered {
    match reach(origin, name, call).await {
        Ok(Answered { answer, standing }) => Answered { answer: told(origin, answer), standing },
        Err(refusal) => Answered { answer: Err(refusal), standing: None },
    }
}

async fn reach(origin: Origin<'_>, name: &str, call: &Call) -> Result<Answered, Refusal> {
    let failed = |detail: &str| unreachable(origin, detail);
    let call = serde_json::to_string(call).map_err(|error| failed(&error.to_string()))?;
    let answer = hop::answered(command(origin.env, name, &call)).await.map_err(|error| failed(&error))?;
    serde_json::from_str(&answer).map_err(|error| failed(&error.to_string()))
}

fn told(origin: Origin<'_>, answer: Answer) -> Answer {
    // Whether a refusal was worth a notice is the actor's own affair.
    let answer = if let Ok(Reply::Refused(refusal)) = answer { Err(refusal) } else { answer };
    // Ids are random and names are digests, so these are faults of ours and not of a client.
    if let Err(refusal @ (Refusal::DuplicateOperation | Refusal::UnknownHold | Refusal::TenantMismatch)) =
        &answer
    {
        log::fault_of(origin.request_id, "actor_refused", &refusal.to_string());
    }
    answer
}

/// Whether the command is known not to have run. After any other failure it may have.
pub fn was_not_taken(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Storage { detail } if detail.ends_with(NOT_TAKEN))
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_namespace = cognomega)]
    fn command(env: &Env, name: &str, call: &str) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch, js_namespace = cognomega)]
    fn listen(env: &Env, name: &str, call: &str) -> Result<Promise, JsValue>;
}

fn unreachable(origin: Origin<'_>, detail: &str) -> Refusal {
    log::fault_of(origin.request_id, "actor_unreachable", detail);
    Refusal::Storage { detail: format!("tenant actor: {detail}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_was_not_taken_is_told_from_one_that_may_have_run() {
        let said = |detail: &str| Refusal::Storage { detail: format!("tenant actor: {detail}") };
        assert!(was_not_taken(&said(NOT_TAKEN)));
        assert!(!was_not_taken(&said("the actor was lost")));
        assert!(!was_not_taken(&Refusal::Quarantined));
        let shell = include_str!("../shell.js");
        assert!(shell.contains(&format!("throw new Error('{NOT_TAKEN}')")), "the shell says it otherwise");
    }
}
