//! Answers that were given before: to the same request of the same tenant, word for word, while they last. Off unless
//! `RESPONSE_CACHE_TTL_SEC` says how long that is.
//!
//! Attachments are in the request as keys, and the object of a key never changes, so the same words are about the same
//! files; one that is gone ends the request before this is looked at.
//!
//! A cached answer is admitted and charged like any other, at the part of its price that is configured. Only what comes
//! whole is kept.

use sha2::{Digest, Sha256};

use super::answering::Asked;
use super::context::Context;
use super::kept_answer::KeptAnswer;
use crate::platform::{recall, tenant_stub};

/// The longest answer that is kept, in bytes of JSON.
const KEPT_BYTES_MAX: usize = 1_000_000;

/// Where the answer to one request is kept.
pub struct Slot {
    key: String,
    ttl_s: u32,
    /// The client wants an answer that is made now.
    fresh: bool,
}

impl Slot {
    /// `None` where nothing is kept.
    pub fn of(context: &Context, asked: &Asked) -> Option<Self> {
        let ttl_s = context.config.response_cache.as_ref()?.ttl_s;
        let mut key = Sha256::new();
        key.update(tenant_stub::name_of(&asked.caller.tenant));
        key.update([0]);
        key.update(&asked.digest);
        if let Some(skill) = &asked.question.answered_by {
            // With another prompt the same words ask something else.
            key.update(format!("/{}/{}", skill.name, skill.version));
        }
        if let Some(variant) = &asked.question.variant {
            key.update(format!("/{}", variant.name()));
        }
        let wish = context.inbound.header("cache-control").unwrap_or_default().to_ascii_lowercase();
        let fresh = wish.contains("no-cache") || wish.contains("no-store");
        Some(Self { key: format!("{:x}", key.finalize()), ttl_s, fresh })
    }

    /// The answer that was given before.
    pub async fn read(&self) -> Option<KeptAnswer> {
        if self.fresh {
            return None;
        }
        serde_json::from_str(&recall::text(&self.key).await?).ok()
    }

    pub async fn write(&self, kept: &KeptAnswer) {
        let Ok(text) = serde_json::to_string(kept) else { return };
        if text.len() <= KEPT_BYTES_MAX {
            recall::keep(&self.key, &text, self.ttl_s).await;
        }
    }
}
