//! One hop to a tenant's actor: a command goes over as bytes, a reply or a refusal comes back as bytes.

use actors::shared::{Refusal, TenantId};
use actors::tenant::{Call, Command, Reply};
use js_sys::Uint8Array;
use worker::{Env, Method, Request, RequestInit};

use super::log;

/// The binding's name in `wrangler.toml`, and the kind in an actor's name.
const BINDING: &str = "TENANT";
const KIND: &str = "tenant";
/// The platform wants a whole URL; nothing reads it.
const URL: &str = "https://tenant.actor/command";

/// What the actor sends back.
pub type Answer = Result<Reply, Refusal>;

/// Sends `command` to the actor of `tenant` and waits for its answer. When this returns `Ok`, what the
/// command did is on disk: the runtime holds the answer back until it is.
///
/// # Errors
/// The actor's refusal; `Storage` when it could not be reached or did not answer.
pub async fn send(env: &Env, tenant: &TenantId, command: Command) -> Answer {
    let call = Call { tenant: tenant.clone(), command };
    let bytes = serde_json::to_vec(&call).map_err(|error| unreachable(&error.to_string()))?;
    let answer = hop(env, &tenant.actor_name(KIND), &bytes).await;
    let answer = answer.map_err(|error| unreachable(&error.to_string()))?;
    let answer: Answer = serde_json::from_slice(&answer).map_err(|error| unreachable(&error.to_string()))?;
    // Ids are random and names are digests, so these are faults of ours and not of a client.
    if let Err(refusal @ (Refusal::DuplicateOperation | Refusal::UnknownHold | Refusal::TenantMismatch)) =
        &answer
    {
        log::fault("actor_refused", &refusal.to_string());
    }
    answer
}

async fn hop(env: &Env, name: &str, bytes: &[u8]) -> worker::Result<Vec<u8>> {
    let stub = env.durable_object(BINDING)?.get_by_name(name)?;
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some(Uint8Array::from(bytes).into()));
    let mut response = stub.fetch_with_request(Request::new_with_init(URL, &init)?).await?;
    response.bytes().await
}

fn unreachable(detail: &str) -> Refusal {
    log::fault("actor_unreachable", detail);
    Refusal::Storage { detail: format!("tenant actor: {detail}") }
}
