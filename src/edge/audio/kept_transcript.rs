//! A transcript as it is kept for its key, and as the reply made of it, the first time and again.

use actors::tenant::Stored;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::error::ApiError;
use super::super::identity::Caller;
use super::super::kept_answer;
use super::super::reply::{Body, Reply};
use crate::providers::TranscriptFormat;

/// What the reply's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Written {
    Json,
    Text,
    Vtt,
    /// A stream's events.
    Events,
}

impl Written {
    pub const fn of(format: TranscriptFormat) -> Self {
        match format {
            TranscriptFormat::Json | TranscriptFormat::VerboseJson => Self::Json,
            TranscriptFormat::Text | TranscriptFormat::Srt => Self::Text,
            TranscriptFormat::Vtt => Self::Vtt,
        }
    }
}

#[derive(Serialize, Deserialize)]
pub struct KeptTranscript {
    pub body: String,
    pub written: Written,
    pub provider: String,
    pub model: String,
}

impl KeptTranscript {
    pub fn to_raw(&self) -> Option<Box<RawValue>> {
        serde_json::value::to_raw_value(self).ok()
    }

    /// The reply without what was charged.
    pub fn reply(&self) -> Reply {
        let body = self.body.clone();
        let reply = match self.written {
            Written::Json => Reply::json_text(200, body),
            Written::Text => Reply::of_media("text/plain; charset=utf-8", Body::Text(body)),
            Written::Vtt => Reply::of_media("text/vtt; charset=utf-8", Body::Text(body)),
            Written::Events => Reply::of_media("text/event-stream; charset=utf-8", Body::Text(body)),
        };
        reply.with("x-provider", &self.provider).with("x-model", &self.model)
    }
}

/// The first reply again.
///
/// # Errors
/// `ChargedWithoutReply` when it was too long to keep, or broke off.
pub fn replay(caller: &Caller, stored: &Stored) -> Result<Reply, ApiError> {
    let Stored { charged, available, .. } = *stored;
    let kept: Option<KeptTranscript> =
        serde_json::from_str(stored.reply.get()).map_err(|_| ApiError::Unavailable)?;
    let kept = kept.ok_or(ApiError::ChargedWithoutReply { charged, available })?;
    let reply = kept.reply().with("idempotency-replayed", "true");
    Ok(kept_answer::billed(reply, caller, &charged.to_string(), &available.to_string()))
}
