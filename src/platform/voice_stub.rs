//! One hop to a voice session's actor: a command goes over as text, a reply or a refusal comes back as text.

use actors::shared::{Refusal, TenantId};
use actors::voice::{Open, SessionView, TurnPage};
use js_sys::Promise;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wasm_bindgen::prelude::*;
use web_sys::Response;
use worker::Env;

use super::hop::{self, Opened};
use super::log;
use super::tenant_stub::Origin;

/// What is asked of a session from outside of its sockets.
#[derive(Debug, Serialize, Deserialize)]
pub struct VoiceCall {
    /// The request that it is part of, for the log alone.
    pub request_id: String,
    pub asked: VoiceAsked,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoiceAsked {
    Open(Box<Open>),
    /// The session and a page of its turns.
    Show {
        tenant: TenantId,
        after: i64,
        limit: i64,
    },
    End {
        tenant: TenantId,
    },
    /// The first socket; `tenant` is whose ticket was good.
    Attach {
        tenant: TenantId,
        ticket_digest: String,
    },
    /// A socket whose client says by its first message who it is.
    Return,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoiceReply {
    Done,
    Shown { session: Box<SessionView>, turns: TurnPage },
}

pub type VoiceAnswer = Result<VoiceReply, Refusal>;

/// The name of a session's actor: a digest.
pub fn name_of(session: &str) -> String {
    format!("v1-{:x}", Sha256::new_with_prefix("voice/").chain_update(session).finalize())
}

/// Asks the session. When this returns `Ok`, what was done is on disk.
///
/// # Errors
/// The actor's refusal; `UnknownVoiceSession` also for another tenant's; `Storage` when it could not be reached.
pub async fn send(origin: Origin<'_>, session: &str, asked: VoiceAsked) -> VoiceAnswer {
    let failed = |detail: &str| unreachable(origin, detail);
    let call = text(origin, asked).map_err(|error| failed(&error))?;
    let answer = hop::answered(command(origin.env, &name_of(session), &call)).await;
    let answer: Result<VoiceAnswer, _> = serde_json::from_str(&answer.map_err(|error| failed(&error))?);
    told(answer.map_err(|error| failed(&error.to_string()))?)
}

/// Asks the session to open a socket.
///
/// # Errors
/// As [`send`].
pub async fn open_socket(origin: Origin<'_>, session: &str, asked: VoiceAsked) -> Result<Response, Refusal> {
    let failed = |detail: &str| unreachable(origin, detail);
    let call = text(origin, asked).map_err(|error| failed(&error))?;
    let opened = hop::opened(speak(origin.env, &name_of(session), &call)).await;
    let answer = match opened.map_err(|error| failed(&error))? {
        Opened::Socket(response) => return Ok(response),
        Opened::Answer(text) => text,
    };
    let answer = serde_json::from_str::<VoiceAnswer>(&answer);
    match told(answer.map_err(|error| failed(&error.to_string()))?) {
        Err(refusal) => Err(refusal),
        Ok(_) => Err(failed("a socket was neither opened nor refused")),
    }
}

fn text(origin: Origin<'_>, asked: VoiceAsked) -> Result<String, String> {
    let call = VoiceCall { request_id: origin.request_id.to_owned(), asked };
    serde_json::to_string(&call).map_err(|error| error.to_string())
}

/// Whether a session is another's is nobody's to know.
fn told(answer: VoiceAnswer) -> VoiceAnswer {
    answer.map_err(|refusal| match refusal {
        Refusal::TenantMismatch => Refusal::UnknownVoiceSession,
        refusal => refusal,
    })
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_namespace = cognomega, js_name = voice)]
    fn command(env: &Env, name: &str, call: &str) -> Result<Promise, JsValue>;

    #[wasm_bindgen(catch, js_namespace = cognomega)]
    fn speak(env: &Env, name: &str, call: &str) -> Result<Promise, JsValue>;
}

fn unreachable(origin: Origin<'_>, detail: &str) -> Refusal {
    log::fault_of(origin.request_id, "voice_actor_unreachable", detail);
    Refusal::Storage { detail: format!("voice actor: {detail}") }
}
