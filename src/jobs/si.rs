//! `si`: one ask, done later. It goes the way of `/api/si/ask`, with its hold and its prices from when it was made.
//!
//! It is no part of an experiment: which arm answers would be decided long after its price was.

use actors::credits::Usage;
use actors::shared::Micro;
use futures::future::FutureExt;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::attempt::Attempt;
use super::kinds::{Done, Failure, Kind, Making, Prepared};
use super::stored::{Quote, Stored};
use crate::edge::catalog::{self, Known};
use crate::edge::error::ApiError;
use crate::edge::meter::{self, Work, WorkEnd};
use crate::edge::offer::{self, Offer};
use crate::edge::operation::Operation;
use crate::edge::question::{self, Question};
use crate::platform::now_ms;
use crate::providers::{self, Answered, Failed};

pub const KIND: Kind = Kind {
    name: "si",
    prepare,
    run: |attempt| run(attempt).boxed_local(),
    rules: |usual| usual,
    final_errors: FINAL_ERRORS,
};

/// What would be as wrong the next time.
pub(super) const FINAL_ERRORS: &[&str] = &[
    "request_refused",
    "skill_disabled",
    "input_too_long",
    "invalid_field",
    "invalid_json",
    "missing_input",
    "model_not_found",
    "unknown_tier",
    "not_implemented",
];

fn prepare(making: &Making<'_>, params: &RawValue) -> Result<Prepared, ApiError> {
    let Making { operation, known, caller, tier } = making;
    let mut question = asked(operation, known, params.get())?;
    let pricing = known.pricing(question.answered_by.as_deref());
    let offer = offer::make(&operation.config, *tier, pricing, &mut question, false)?;
    let owner = meter::owner(operation, caller, &offer);
    let quote = Quote::new(&offer.pricing, owner.models.iter());
    Ok(Prepared { amount: offer.hold, owner, quote: Some(quote) })
}

/// Reads one ask, with what its skill says around it.
///
/// # Errors
/// One code for each mistake; `NotImplemented` for files that are to go along.
pub(super) fn asked(operation: &Operation, known: &Known, params: &str) -> Result<Question, ApiError> {
    let (mut question, named) = question::parse(operation, known, params.as_bytes())?;
    // Answering as if they had not been sent would be worse than saying so.
    if !named.is_empty() {
        return Err(ApiError::NotImplemented);
    }
    question.text_within_skill()?;
    question.take_terms();
    Ok(question)
}

async fn run(attempt: &Attempt) -> Result<Done, Failure> {
    let Stored { params, quote } = attempt.stored.clone().ok_or_else(unreadable)?;
    let quote = quote.ok_or_else(unreadable)?;
    let Answer { shown, charge, usage } = ask(attempt, params.get(), quote, attempt.job.terms.amount).await?;
    let result =
        to_raw_value(&shown).map_err(|_| Failure::new("unavailable", "the answer could not be kept"))?;
    Ok(Done { result, charge, usage })
}

pub(super) fn unreadable() -> Failure {
    Failure::new("params_unreadable", "what is kept of this job cannot be read")
}

/// What one ask came to.
pub(super) struct Answer {
    /// For clients, but for what it cost.
    pub shown: Value,
    pub charge: Micro,
    pub usage: Usage,
}

/// Asks once, for `held` at most.
///
/// # Errors
/// The code of an ask's error.
pub(super) async fn ask(
    attempt: &Attempt,
    params: &str,
    quote: Quote,
    held: Micro,
) -> Result<Answer, Failure> {
    let operation = &attempt.operation;
    let known = catalog::current(operation).await;
    let mut question = asked(operation, &known, params)?;
    let offer = offered(attempt, &mut question, quote, held)?;
    let end_ms = now_ms().saturating_add(operation.config.deadlines.total_ms);
    let answered =
        providers::complete(&operation.env, &operation.config, &offer.providers, &question.chat, end_ms);
    let Answered { provider, value: answer, attempts } = answered.await.map_err(|failed| failure(&failed))?;
    let work = Work {
        provider: &provider.name,
        attempts: &attempts,
        model: &answer.model,
        priced_model: &provider.model,
        question: Some(&question),
        used: answer.usage.into(),
        price_percent: None,
        held,
        end: WorkEnd::Complete,
    };
    let (charge, usage) = meter::charged(operation, &offer.pricing, &work, offer.cost_max);
    let shown = json!({
        "content": answer.text,
        "provider": work.provider,
        "model": work.model,
        "tokens_in": work.used.units.tokens_in,
        "tokens_out": work.used.units.tokens_out,
    });
    Ok(Answer { shown, charge, usage })
}

/// Who may answer, and how long, for what was set aside when the job was made.
fn offered(attempt: &Attempt, question: &mut Question, quote: Quote, held: Micro) -> Result<Offer, ApiError> {
    let (config, terms) = (&attempt.operation.config, &attempt.job.terms);
    let tier = match &terms.tier {
        Some(name) => Some(config.tiers.iter().find(|tier| tier.name == *name).ok_or(ApiError::UnknownTier)?),
        None => None,
    };
    // A skill whose words grew since costs no more for that.
    let held = Some(held);
    question.max_credits = question.max_credits.min(held).or(held);
    let mut offer = offer::make(config, tier, quote.pricing(), question, false)?;
    offer.providers.retain(|provider| terms.owner.models.contains(&provider.model));
    Ok(offer)
}

fn failure(failed: &Failed) -> Failure {
    if failed.blames_request() {
        return ApiError::RequestRefused.into();
    }
    let detail = failed.detail();
    Failure::new("si_ask_failed", format!("no provider answered: {detail}"))
}
