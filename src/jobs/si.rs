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
use super::stored::{ATTACHMENT_CHANGED, Quote, Stored};
use crate::edge::attachments::{self, Attached, Named};
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
    prepare: |making, params| prepare(making, params).boxed_local(),
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
    "attachment_not_found",
    "attachment_unsupported",
    "attachment_too_large",
    "images_unsupported",
    ATTACHMENT_CHANGED,
];

async fn prepare(making: &Making, params: &RawValue) -> Result<Prepared, ApiError> {
    let Making { operation, known, caller, .. } = making;
    let (question, named) = asked(operation, known, params.get())?;
    let attached = attachments::read(operation, &caller.tenant, &named).await?;
    let file_bytes = (!named.is_empty()).then_some(attached.bytes);
    let mut question = whole(question, attached)?;
    let pricing = known.pricing(question.answered_by.as_deref());
    let offer = offer::make(&operation.config, making.tier()?, pricing, &mut question, false)?;
    let owner = meter::owner(operation, caller, &offer);
    let quote = Quote::new(&offer.pricing, owner.models.iter());
    Ok(Prepared { amount: offer.hold, owner, quote: Some(quote), file_bytes })
}

/// Reads one ask, and what it names as attachments.
///
/// # Errors
/// One code for each mistake.
pub(super) fn asked(
    operation: &Operation,
    known: &Known,
    params: &str,
) -> Result<(Question, Vec<Named>), ApiError> {
    let (question, named) = question::parse(operation, known, params.as_bytes())?;
    question.text_within_skill()?;
    Ok((question, named))
}

/// The question with its attachments in it, and what its skill says around both.
///
/// # Errors
/// `InputTooLong`.
pub(super) fn whole(mut question: Question, attached: Attached) -> Result<Question, ApiError> {
    attached.join(&mut question)?;
    question.take_terms();
    Ok(question)
}

async fn run(attempt: &Attempt) -> Result<Done, Failure> {
    let stored = attempt.stored.as_ref().ok_or_else(unreadable)?;
    let asked = (stored.params.get(), stored);
    let Answer { shown, charge, usage } = ask(attempt, asked, attempt.job.terms.amount).await?;
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

/// Asks once what `params` say, of what is stored, for `held` at most.
///
/// # Errors
/// The code of an ask's error.
pub(super) async fn ask(
    attempt: &Attempt,
    (params, stored): (&str, &Stored),
    held: Micro,
) -> Result<Answer, Failure> {
    let operation = &attempt.operation;
    let quote = stored.quote.clone().ok_or_else(unreadable)?;
    let known = catalog::current(operation).await;
    let (question, named) = asked(operation, &known, params)?;
    let attached = attachments::read(operation, &attempt.tenant, &named).await?;
    stored.still_pays(attached.bytes)?;
    let mut question = whole(question, attached)?;
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
    meter::flag(operation, &work);
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
    let tier = offer::tier_named(config, terms.tier.as_deref())?;
    // A skill whose words grew since costs no more for that.
    let held = Some(held);
    question.max_credits = question.max_credits.min(held).or(held);
    let mut offer = offer::make(config, tier, quote.pricing(), question, false)?;
    offer.providers.retain(|provider| terms.owner.models.contains(&provider.model));
    Ok(offer)
}

pub(super) fn failure(failed: &Failed) -> Failure {
    if failed.blames_request() {
        return ApiError::RequestRefused.into();
    }
    let detail = failed.detail();
    let retry_after_ms = failed.retry_after_ms().map(i64::from);
    Failure { retry_after_ms, ..Failure::new("si_ask_failed", format!("no provider answered: {detail}")) }
}
