//! Metering one ask: the hold before it, the settle or release after it, each tried until it is known.

use actors::credits::{EndedHold, Owner, Usage};
use actors::rate::BudgetLeft;
use actors::shared::{Micro, Refusal, Units};
use actors::tenant::{
    Admission as AdmissionCall, Admitted, Command, Idempotency, Reply as ActorReply, Stored,
};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::context::{Context, unexpected};
use super::error::ApiError;
use super::identity::Caller;
use super::known_keys;
use super::offer::{self, Offer};
use super::operation::Operation;
use super::pricing::Pricing;
use super::question::Question;
use super::refusals;
use super::variant;
use super::waiters::Waiter;
use crate::platform::config::Provider;
use crate::platform::{log, now_ms, random_id, tenant_stub, timer};
use crate::providers::{self, Attempt, Basis, Disbelieved, TokenUsage};

/// Attempts that a usage row names, some hundred bytes each.
const ATTEMPTS_SHOWN_MAX: usize = 24;

/// Waits between looks at a request with the same key that is still under way, in milliseconds; the last one is
/// repeated.
const SAME_KEY_WAITS_MS: [u32; 7] = [25, 50, 100, 250, 500, 1_000, 2_000];
/// The first and the longest wait between tries to end a hold, each twice the one before it. It may be tried
/// again and again: a hold ends once.
const END_WAIT_FIRST_MS: u32 = 50;
const END_WAIT_MAX_MS: u32 = 4_000;
/// How long a settle waits for its actor in all: what is not settled is not paid. It never tries beyond the hold's
/// deadline.
const SETTLE_PATIENCE_MS: i64 = 30_000;
/// How long a release does. What it gives back comes back by itself, and somebody waits for the refusal behind it.
const RELEASE_PATIENCE_MS: i64 = 1_500;

/// An ask that may run: its hold, and what it was admitted with.
pub struct Ticket {
    pub hold: String,
    pub held: Micro,
    /// The most that may be set aside for it.
    pub hold_max: Micro,
    /// The most that the client lets it cost; `None` when it did not say.
    pub cost_max: Option<Micro>,
    pub available: Micro,
    pub granted: Micro,
    pub budgets: Vec<BudgetLeft>,
    pub tier: Option<String>,
    /// Those whose models may answer, in order.
    pub providers: Vec<Provider>,
    pub pricing: Pricing,
    /// The client gave a key: it can come back for the answer.
    pub has_key: bool,
    /// When the work must have ended, so that its settle comes well before the hold's deadline.
    pub end_ms: i64,
    /// When its hold ends by itself, or later when it was topped up.
    pub deadline_ms: i64,
}

/// Admitted, or answered before.
pub enum Admission {
    Go(Box<Ticket>),
    Replay(Stored),
}

/// How the work ended, as usage rows say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkEnd {
    Complete,
    /// The provider broke off after the first piece.
    Interrupted,
    /// The client went away after the first piece.
    ClientGone,
    /// What was set aside is used up, and nothing more was to be had.
    HoldUsedUp,
}

impl WorkEnd {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Interrupted => "interrupted",
            Self::ClientGone => "client_gone",
            Self::HoldUsedUp => "hold_used_up",
        }
    }
}

/// What was used, and on what that rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    pub units: Units,
    pub basis: Basis,
    /// What the provider said instead, where that cannot be true.
    pub disbelieved: Option<Disbelieved>,
}

impl From<TokenUsage> for Used {
    fn from(usage: TokenUsage) -> Self {
        Self { units: usage.units(), basis: usage.basis, disbelieved: usage.disbelieved }
    }
}

/// Everything a usage row says.
pub struct Work<'a> {
    pub provider: &'a str,
    /// Everybody who was asked for it.
    pub attempts: &'a [Attempt],
    /// The model as the provider names it.
    pub model: &'a str,
    /// The model that was asked for. Its price counts: what a provider says of itself changes no charge.
    pub priced_model: &'a str,
    /// What was asked, where it was asked in words.
    pub question: Option<&'a Question>,
    pub used: Used,
    /// Hundredths of the price that are charged: less than all for an answer that was made before.
    pub price_percent: Option<u32>,
    /// What is set aside for it in all.
    pub held: Micro,
    pub end: WorkEnd,
}

/// Repeats a refusal that is remembered for this tenant, whatever the request asks.
///
/// # Errors
/// `RateLimited`; `UnknownTier`.
pub fn refused_before(context: &Context, caller: &Caller) -> Result<(), ApiError> {
    let weight = offer::tier(context, &context.config)?.map_or(1, |tier| tier.weight);
    let has_key = context.inbound.header("idempotency-key").is_some();
    match refusals::recall(&caller.tenant, weight, has_key, now_ms()) {
        Some(refusal) => Err(ApiError::from(refusal)),
        None => Ok(()),
    }
}

/// Has the ask admitted. A request whose key is under way waits for the first one's reply, when not too many do.
///
/// # Errors
/// The actor's refusals; `IdempotencyInProgress` when the first request takes longer than an ask may, or many wait.
pub async fn admit(
    context: &Context,
    caller: &Caller,
    offer: Offer,
    idempotency: Option<Idempotency>,
    fingerprint: Option<String>,
) -> Result<Admission, ApiError> {
    let (tenant, weight) = (&caller.tenant, offer.weight.requests);
    let has_key = idempotency.is_some();
    let deadlines = context.config.deadlines;
    let end_ms = now_ms().saturating_add(deadlines.total_ms);
    let mut waits = SAME_KEY_WAITS_MS.into_iter();
    let (mut wait_ms, mut waiter) = (0, None);
    loop {
        let hold = random_id();
        let call = AdmissionCall {
            hold: hold.clone(),
            amount: offer.hold,
            ttl_ms: deadlines.hold_ttl_ms,
            owner: owner(context, caller, &offer),
            tier: offer.tier.clone(),
            idempotency: idempotency.clone(),
            fingerprint: fingerprint.clone(),
        };
        match context.send_metered(caller, Command::Admit(Box::new(call))).await {
            Ok(ActorReply::Admitted(admitted)) => {
                let end_ms = now_ms().saturating_add(deadlines.total_ms);
                let ticket = ticket(hold, admitted, offer, has_key, end_ms);
                return Ok(Admission::Go(Box::new(ticket)));
            }
            Ok(ActorReply::Replay(stored)) => return Ok(Admission::Replay(stored)),
            Err(Refusal::IdempotencyInProgress) if now_ms() < end_ms => {
                waiter = waiter.or_else(|| Waiter::enter(tenant));
                if waiter.is_none() {
                    return Err(ApiError::IdempotencyInProgress);
                }
                wait_ms = waits.next().unwrap_or(wait_ms);
                timer::sleep(wait_ms).await;
            }
            Err(refusal @ Refusal::Storage { .. }) => {
                // Its answer may have been lost after the hold was made.
                if !tenant_stub::was_not_taken(&refusal) {
                    let release = Command::Release { hold };
                    let _the_deadline_ends_it_otherwise =
                        tenant_stub::send(context.origin(), tenant, None, release).await;
                }
                return Err(ApiError::from(refusal));
            }
            Err(refusal) => {
                refusals::remember(tenant, weight, &refusal, now_ms());
                return Err(of_caller(refusal, caller));
            }
            Ok(_) => return Err(unexpected()),
        }
    }
}

/// Who asks, which models may answer, and what it weighs.
pub fn owner(operation: &Operation, caller: &Caller, offer: &Offer) -> Owner {
    let mut models: Vec<String> = Vec::with_capacity(offer.providers.len());
    for provider in &offer.providers {
        if !models.contains(&provider.model) {
            models.push(provider.model.clone());
        }
    }
    Owner {
        route: operation.route.to_owned(),
        request_id: Some(operation.request_id.clone()),
        models,
        weight: offer.weight,
        api_key: caller.api_key.clone(),
        ..Owner::default()
    }
}

fn ticket(hold: String, admitted: Admitted, offer: Offer, has_key: bool, end_ms: i64) -> Ticket {
    let Admitted { held, available, granted, deadline_ms, models, budgets } = admitted;
    let Offer { mut providers, pricing, tier, hold_max, cost_max, .. } = offer;
    // A model whose cap is used up does not answer.
    providers.retain(|provider| models.contains(&provider.model));
    Ticket {
        hold,
        held,
        hold_max,
        cost_max,
        available,
        granted,
        budgets,
        tier,
        providers,
        pricing,
        has_key,
        end_ms,
        deadline_ms,
    }
}

/// Sets more aside for a stream, and charges what it has delivered so far.
///
/// # Errors
/// What is available instead, when that is less than was wanted; zero when the actor could not be reached.
pub async fn top_up(
    context: &Context,
    caller: &Caller,
    ticket: &Ticket,
    hold_total: Micro,
    work: &Work<'_>,
) -> Result<(), Micro> {
    // No more than is set aside is charged before the end.
    let charge_max = least(Some(work.held), ticket.cost_max);
    let (charge_total, usage) = charged(context, &ticket.pricing, work, charge_max);
    let command = Command::Progress {
        hold: ticket.hold.clone(),
        charge_total,
        hold_total,
        ttl_ms: context.config.deadlines.hold_ttl_ms,
        usage,
    };
    match tenant_stub::send(context.origin(), &caller.tenant, None, command).await {
        Ok(ActorReply::Progressed(_)) => Ok(()),
        Err(Refusal::InsufficientCredits { available, .. }) => Err(available),
        Ok(_) | Err(_) => Err(Micro::ZERO),
    }
}

/// A refusal for money tells whose balance it is.
pub fn of_caller(refusal: Refusal, caller: &Caller) -> ApiError {
    if let Some(error) = known_keys::refused(&refusal, caller) {
        return error;
    }
    match ApiError::from(refusal) {
        ApiError::InsufficientCredits { available, needed, updated_at_ms, .. } => {
            let email = Some(caller.tenant.label().to_owned());
            ApiError::InsufficientCredits { email, available, needed, updated_at_ms }
        }
        other => other,
    }
}

/// Charges the work and ends its hold. `None` when the actor could not be reached at all: then the hold ends
/// by its deadline, and the house pays.
pub async fn settle(
    context: &Context,
    caller: &Caller,
    ticket: &Ticket,
    work: &Work<'_>,
    reply: Option<Box<RawValue>>,
) -> Option<EndedHold> {
    // What was cut so that it costs no more.
    let cut = (work.end == WorkEnd::HoldUsedUp).then_some(work.held);
    let (charge, usage) = charged(context, &ticket.pricing, work, least(cut, ticket.cost_max));
    let command = Command::Settle { hold: ticket.hold.clone(), charge, usage, reply };
    let left_ms = ticket.deadline_ms.saturating_sub(now_ms());
    flag(context, work);
    let ended = end(context, caller, command, SETTLE_PATIENCE_MS.min(left_ms)).await?;
    let variant = work.question.and_then(|question| question.variant.as_ref());
    variant::note(context, caller, variant, ended.charged).await;
    Some(ended)
}

/// Notes a report of usage that cannot be true, against whoever made it.
pub fn flag(operation: &Operation, work: &Work<'_>) {
    if let Some(said) = work.used.disbelieved {
        providers::usage_flagged(&operation.request_id, work.provider, work.priced_model, said.flag);
    }
}

/// Ends the hold of work that came to nothing, without a charge.
pub async fn release(context: &Context, caller: &Caller, ticket: &Ticket) {
    let command = Command::Release { hold: ticket.hold.clone() };
    let _the_deadline_ends_it_otherwise = end(context, caller, command, RELEASE_PATIENCE_MS).await;
}

/// The lower of two limits that may be.
fn least(one: Option<Micro>, other: Option<Micro>) -> Option<Micro> {
    [one, other].into_iter().flatten().min()
}

/// What the work costs by `pricing`, no more than `charge_max`, and the usage row that says all that this is computed
/// from.
pub fn charged(
    operation: &Operation,
    pricing: &Pricing,
    work: &Work<'_>,
    charge_max: Option<Micro>,
) -> (Micro, Usage) {
    // Pictures have been sent whatever came of them, and no provider counts them.
    let images = work.question.map_or(0, |question| question.chat.images());
    let used = (work.priced_model, Units { images, ..work.used.units });
    let (charged, due) = pricing.charged(used, work.price_percent, charge_max);
    let mut meta = Map::new();
    for (name, value) in [
        ("provider", json!(work.provider)),
        ("model", json!(work.model)),
        ("basis", json!(work.used.basis.name())),
        ("outcome", json!(work.end.name())),
        ("request_id", json!(operation.request_id)),
    ] {
        meta.insert(name.to_owned(), value);
    }
    if let Some(question) = work.question {
        write_question(question, &mut meta);
    }
    charged.write(&mut meta);
    if let Some(said) = work.used.disbelieved {
        meta.insert("usage_flag".to_owned(), json!(said.flag.name()));
        meta.insert("usage_reported".to_owned(), said.shown());
    }
    // Whoever answered at once is named already.
    if work.attempts.len() > 1 {
        meta.insert("attempts".to_owned(), attempts(work.attempts));
    }
    (due, usage(operation, work, meta))
}

/// By which skill, and which arm of its experiment, a question was answered.
fn write_question(question: &Question, meta: &mut Map<String, Value>) {
    if let (Some(skill), Some(answered_by)) = (&question.skill, &question.answered_by) {
        meta.insert("skill".to_owned(), json!(skill));
        meta.insert("skill_version".to_owned(), json!(answered_by.version));
        if !answered_by.name.eq_ignore_ascii_case(skill) {
            meta.insert("answered_by".to_owned(), json!(answered_by.name));
        }
    }
    if let Some(variant) = &question.variant {
        meta.insert("variant".to_owned(), json!(variant.name()));
    }
}

fn usage(operation: &Operation, work: &Work<'_>, meta: Map<String, Value>) -> Usage {
    Usage {
        route: Some(operation.route.to_owned()),
        tokens_in: i64::try_from(work.used.units.tokens_in).ok(),
        tokens_out: i64::try_from(work.used.units.tokens_out).ok(),
        model: Some(work.priced_model.to_owned()),
        meta: RawValue::from_string(Value::Object(meta).to_string()).ok(),
    }
}

fn attempts(attempts: &[Attempt]) -> Value {
    let shown = attempts.iter().take(ATTEMPTS_SHOWN_MAX).map(|attempt| {
        json!({
            "provider": &*attempt.provider,
            "model": attempt.model,
            "outcome": attempt.outcome.code(),
            "duration_ms": attempt.duration_ms,
        })
    });
    Value::Array(shown.collect())
}

async fn end(context: &Context, caller: &Caller, command: Command, patience_ms: i64) -> Option<EndedHold> {
    for wait_ms in waits_within(patience_ms).map(Some).chain([None]) {
        match tenant_stub::send(context.origin(), &caller.tenant, None, command.clone()).await {
            Ok(ActorReply::Ended(ended)) => return Some(ended),
            Err(Refusal::Storage { .. }) => {}
            Ok(_) | Err(_) => break,
        }
        if let Some(wait_ms) = wait_ms {
            timer::sleep(wait_ms).await;
        }
    }
    log::fault_of(
        &context.request_id,
        "hold_left_to_its_deadline",
        "no answer of its actor says that it ended",
    );
    None
}

/// The waits between tries that take no more than `patience_ms` together.
pub fn waits_within(patience_ms: i64) -> impl Iterator<Item = u32> {
    let longer = |wait_ms: &u32| Some(wait_ms.saturating_mul(2).min(END_WAIT_MAX_MS));
    std::iter::successors(Some(END_WAIT_FIRST_MS), longer).scan(patience_ms, |left_ms, wait_ms| {
        *left_ms = left_ms.saturating_sub(i64::from(wait_ms));
        (*left_ms >= 0).then_some(wait_ms)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_settle_is_tried_as_long_as_its_patience_and_no_longer() {
        let settle: Vec<u32> = waits_within(SETTLE_PATIENCE_MS).collect();
        let waited: u32 = settle.iter().sum();
        assert!((25_000..=30_000).contains(&waited), "{settle:?}");
        assert!(settle.is_sorted() && settle.len() < 20, "{settle:?}");
        assert_eq!(waits_within(RELEASE_PATIENCE_MS).collect::<Vec<_>>(), [50, 100, 200, 400]);
        // A hold whose time is over is tried once, at once.
        assert_eq!(waits_within(0).count() + waits_within(-5).count(), 0);
    }
}
