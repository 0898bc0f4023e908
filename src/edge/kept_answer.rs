//! An answer as it is kept for its idempotency key, and as the reply made of it, the first time and again.

use actors::shared::Micro;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::context::Context;
use super::identity::Caller;
use super::meter::{Ticket, Work, WorkEnd};
use super::reply::Reply;
use crate::providers::{Basis, TokenUsage};

/// What is kept of an answer for the same idempotency key.
#[derive(Serialize, Deserialize)]
pub struct KeptAnswer {
    pub content: String,
    pub provider: String,
    pub model: String,
    pub tokens_in: u64,
    pub tokens_out: u64,
    pub basis: String,
    /// The provider broke off: the content is what was delivered and charged.
    #[serde(default)]
    pub interrupted: bool,
    /// The hold was used up: the content is what it paid for.
    #[serde(default)]
    pub cut: bool,
    /// Those of `tokens_in` that the provider had from before.
    #[serde(default)]
    pub tokens_cached: u64,
    /// The model whose price counts.
    #[serde(default)]
    pub priced_model: String,
    /// OpenAI's format: the whole body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Box<RawValue>>,
    /// OpenAI's format: a stream's events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<String>,
    /// OpenAI's format: the answer's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// OpenAI's format: why a stream ended whose provider has no words for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<String>,
    /// Which arm of an experiment answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<KeptVariant>,
}

impl KeptAnswer {
    /// What was used for it when it was made.
    pub fn usage(&self) -> TokenUsage {
        TokenUsage {
            tokens_in: self.tokens_in,
            tokens_cached: self.tokens_cached,
            tokens_out: self.tokens_out,
            basis: Basis::named(&self.basis),
            // Whoever said what, it was flagged when the answer was made.
            disbelieved: None,
        }
    }
}

/// What a replayed answer still says of the arm that made it.
#[derive(Serialize, Deserialize)]
pub struct KeptVariant {
    pub name: String,
    /// The request that the answer was made for, which feedback names.
    pub request_id: String,
}

pub fn keep(context: &Context, work: &Work<'_>, text: &str) -> KeptAnswer {
    let variant = work.question.and_then(|question| question.variant.as_ref());
    let variant =
        variant.map(|variant| KeptVariant { name: variant.name(), request_id: context.request_id.clone() });
    KeptAnswer {
        content: text.to_owned(),
        provider: work.provider.to_owned(),
        model: work.model.to_owned(),
        tokens_in: work.used.units.tokens_in,
        tokens_out: work.used.units.tokens_out,
        basis: work.used.basis.name().to_owned(),
        interrupted: work.end == WorkEnd::Interrupted,
        cut: work.end == WorkEnd::HoldUsedUp,
        tokens_cached: work.used.units.tokens_cached,
        priced_model: work.priced_model.to_owned(),
        body: None,
        events: None,
        id: None,
        finish: None,
        variant,
    }
}

pub fn to_raw(kept: &KeptAnswer) -> Option<Box<RawValue>> {
    serde_json::value::to_raw_value(kept).ok()
}

/// The header that says which arm answered.
pub fn with_variant(reply: Reply, name: Option<&String>) -> Reply {
    match name {
        Some(name) => reply.with("x-variant", name),
        None => reply,
    }
}

/// What feedback on a replayed answer names: the request it was made for, and not the one that repeated it.
pub fn replayed_variant(reply: Reply, kept: &KeptAnswer) -> Reply {
    match &kept.variant {
        Some(kept) => reply.with("x-feedback-id", &kept.request_id),
        None => reply,
    }
}

/// The headers that say what was charged. A guest has no balance to be told.
pub fn billed(reply: Reply, caller: &Caller, used: &str, balance: &str) -> Reply {
    let reply = reply.with("x-credits-used", used);
    if caller.tenant.is_guest() { reply } else { reply.with("x-credits-balance", balance) }
}

/// The budgets and credits a request was admitted with, and its tier.
pub fn with_budgets(reply: Reply, ticket: &Ticket, available: Micro) -> Reply {
    let reply = reply.with_budgets(&ticket.budgets, Some((ticket.granted, available)));
    match &ticket.tier {
        Some(tier) => reply.with("x-intelligence-tier", tier),
        None => reply,
    }
}
