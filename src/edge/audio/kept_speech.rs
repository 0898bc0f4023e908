//! Speech that is kept for its idempotency key: its bytes in the bucket, and where they are in the actor.

use actors::tenant::Stored;
use js_sys::Uint8Array;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::super::context::Context;
use super::super::error::ApiError;
use super::super::identity::Caller;
use super::super::kept_answer;
use super::super::meter::Ticket;
use super::super::reply::{Body, Reply};
use crate::platform::{config, log, reply_bucket, tenant_stub};

/// What the names of such objects begin with: a rule of the bucket's that deletes by age names it.
const PREFIX: &str = "speech/";

#[derive(Debug, Serialize, Deserialize)]
pub struct KeptSpeech {
    /// The object's name.
    pub name: String,
    pub bytes: u64,
    /// In the words of `Content-Type`.
    pub media: String,
    pub provider: String,
    pub model: String,
}

/// Whether there is a bucket to keep it in.
pub fn is_possible(context: &Context) -> bool {
    config::has_binding(&context.env, reply_bucket::BINDING)
}

/// Puts `chunks` into the bucket. Whether they are there.
pub async fn keep(context: &Context, kept: &KeptSpeech, chunks: &[Uint8Array]) -> bool {
    let stored = reply_bucket::put(&context.env, &kept.name, chunks, &kept.media).await;
    if !stored {
        log::fault_of(&context.request_id, "speech_not_kept", "the bucket did not take it");
    }
    stored
}

/// The name of one request's speech. A hold's id is random, so nobody guesses it and no two requests share it; no address
/// and no key can be read from it.
pub fn name_of(caller: &Caller, ticket: &Ticket) -> String {
    let mut digest = Sha256::new();
    digest.update(tenant_stub::name_of(&caller.tenant));
    digest.update([0]);
    digest.update(&ticket.hold);
    format!("{PREFIX}{:x}", digest.finalize())
}

/// The first reply again.
///
/// # Errors
/// `ChargedWithoutReply` when it was not kept, or is there no more.
pub async fn replay(context: &Context, caller: &Caller, stored: &Stored) -> Result<Reply, ApiError> {
    let Stored { charged, available, .. } = *stored;
    let gone = ApiError::ChargedWithoutReply { charged, available };
    let kept: Option<KeptSpeech> =
        serde_json::from_str(stored.reply.get()).map_err(|_| ApiError::Unavailable)?;
    let kept = kept.ok_or(gone.clone())?;
    let found = match is_possible(context) {
        true => reply_bucket::get(&context.env, &kept.name, kept.bytes).await,
        false => None,
    };
    let reply = Reply::of_media(&kept.media, Body::Stream(found.ok_or(gone)?))
        .with("x-provider", kept.provider)
        .with("x-model", kept.model)
        .with("idempotency-replayed", "true");
    Ok(kept_answer::billed(reply, caller, &charged.to_string(), &available.to_string()))
}
