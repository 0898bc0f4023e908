//! In which form an answer goes back: as `/api/si/ask` has it, or as OpenAI's clients read it.

use serde_json::Value;

use super::ask_form::{self, Manner};
use super::chat_form;
use super::embeddings;
use super::error::ApiError;
use super::kept_answer::{KeptAnswer, with_variant};
use super::reply::Reply;
use crate::providers::{Answer, Failed, Piece};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Ask(Manner),
    /// OpenAI's chat completions; whether the client wants to see the usage at a stream's end.
    Chat {
        include_usage: bool,
    },
    /// OpenAI's embeddings; whether the client wants them in base64.
    Embeddings {
        base64: bool,
    },
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    Complete,
    /// What was set aside for it is used up.
    Cut,
    /// The provider broke off.
    Interrupted,
}

impl StreamEnd {
    pub const fn of(kept: &KeptAnswer) -> Self {
        if kept.cut {
            Self::Cut
        } else if kept.interrupted {
            Self::Interrupted
        } else {
            Self::Complete
        }
    }

    /// The code and the sentence of an end that is an error.
    pub const fn error(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Complete => None,
            Self::Cut => Some((
                "hold_used_up",
                "the credits set aside for this answer are used up; what was delivered is charged",
            )),
            Self::Interrupted => {
                Some(("provider_interrupted", "the provider broke off; what was delivered is charged"))
            }
        }
    }
}

/// What follows the pieces of a stream.
pub struct Closing<'a> {
    pub kept: &'a KeptAnswer,
    /// What was used and charged, as far as it is known.
    pub usage: Value,
    pub request_id: &'a str,
}

impl Form {
    /// What a client is told when no provider answered.
    pub fn failed(self, failed: &Failed) -> ApiError {
        match self {
            // Its clients send parameters of all kinds, and try again what is not their mistake.
            Self::Chat { .. } | Self::Embeddings { .. } if failed.blames_request() => {
                ApiError::RequestRefused
            }
            _ => ApiError::AskFailed { detail: failed.detail() },
        }
    }

    /// A piece as an event; `None` when it shows nothing. `before` is the text of the piece before it.
    pub fn event(self, piece: &Piece, before: &str, kept: &Names<'_>) -> Option<String> {
        match self {
            Self::Ask(_) => ask_form::event(&piece.text, before),
            Self::Chat { .. } => Some(chat_form::event(piece, kept)),
            // Never asked for as a stream.
            Self::Embeddings { .. } => None,
        }
    }

    /// Whether bytes of a provider's stream in OpenAI's format may go on as they are.
    pub const fn passes_on(self) -> bool {
        matches!(self, Self::Chat { .. })
    }

    pub fn closing(self, closing: &Closing<'_>) -> String {
        match self {
            Self::Ask(manner) => ask_form::closing(manner, closing),
            Self::Chat { include_usage } => chat_form::closing(include_usage, closing),
            Self::Embeddings { .. } => String::new(),
        }
    }

    /// What is kept of an answer that goes back whole.
    pub fn keep_whole(self, kept: KeptAnswer, answer: &Answer, request_id: &str) -> KeptAnswer {
        match self {
            Self::Ask(_) => kept,
            Self::Chat { .. } => chat_form::keep_whole(kept, answer, request_id),
            Self::Embeddings { base64 } => embeddings::keep_whole(kept, answer, base64),
        }
    }

    /// A whole answer, with the headers that say who answered and what was used.
    pub fn whole(self, kept: &KeptAnswer) -> Reply {
        let reply = match self {
            Self::Ask(_) => ask_form::whole(kept),
            Self::Chat { .. } | Self::Embeddings { .. } => chat_form::whole(kept),
        };
        with_variant(reply, kept.variant.as_ref().map(|kept| &kept.name))
            .with("x-provider", &kept.provider)
            .with("x-model", &kept.model)
            .with("x-tokens-in", kept.tokens_in.to_string())
            .with("x-tokens-out", kept.tokens_out.to_string())
    }

    /// The pieces of a kept stream, all of them; `None` when they were too many to keep.
    pub fn replayed(self, kept: &KeptAnswer) -> Option<String> {
        match self {
            Self::Ask(_) => Some(ask_form::event(&kept.content, "").unwrap_or_default()),
            Self::Chat { .. } | Self::Embeddings { .. } => chat_form::replayed(kept),
        }
    }
}

/// What events that are made here are called.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    pub id: &'a str,
    pub model: &'a str,
}
