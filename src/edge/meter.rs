//! Metering one ask: the hold before it, the settle or release after it, each tried until it is known.

use actors::credits::{EndedHold, Usage};
use actors::shared::Micro;
use actors::tenant::{Command, Idempotency, Reply as ActorReply, Stored};
use actors::{rate::BudgetLeft, shared::Refusal};
use serde_json::json;
use serde_json::value::RawValue;

use super::context::{Context, unexpected};
use super::error::ApiError;
use super::identity::Caller;
use crate::platform::{log, now_ms, random_id, tenant_stub, timer};
use crate::providers::{ChatRequest, TokenUsage, estimate_prompt_tokens};

/// Waits between looks at a request with the same key that is still under way, in milliseconds.
const SAME_KEY_WAITS_MS: [u32; 4] = [25, 50, 100, 250];
/// Waits between tries to settle. A settle may be repeated: its hold ends once.
const SETTLE_WAITS_MS: [u32; 3] = [50, 250, 1_000];

/// An ask that may run: its hold, and what it was admitted with.
pub struct Ticket {
    pub hold: String,
    pub held: Micro,
    pub available: Micro,
    pub budget: Option<BudgetLeft>,
    pub idempotency: Option<Idempotency>,
    /// When the work must have ended, so that its settle comes well before the hold's deadline.
    pub end_ms: i64,
}

/// Admitted, or answered before.
pub enum Admission {
    Go(Ticket),
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
}

impl WorkEnd {
    const fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Interrupted => "interrupted",
            Self::ClientGone => "client_gone",
        }
    }
}

/// Everything a usage row says.
pub struct Work<'a> {
    pub provider: &'a str,
    /// The model as the provider names it.
    pub model: &'a str,
    /// The model that was asked for. Its price counts: what a provider says of itself changes no charge.
    pub priced_model: &'a str,
    pub skill: &'a str,
    pub usage: TokenUsage,
    pub end: WorkEnd,
}

/// What an ask of this size could cost at the dearest provider that may answer it.
pub fn hold_amount(context: &Context, request: &ChatRequest) -> Micro {
    let tokens = estimate_prompt_tokens(request.prompt_bytes()).saturating_add(u64::from(request.max_tokens));
    let config = &context.config;
    let dearest = config.providers.iter().map(|provider| config.price_of(&provider.model)).max();
    dearest.unwrap_or(config.price).hold(tokens)
}

/// Has the ask admitted. A request whose key is under way waits for the first one's reply.
///
/// # Errors
/// The actor's refusals; `IdempotencyInProgress` when the first request takes longer than an ask may.
pub async fn admit(
    context: &Context,
    caller: &Caller,
    amount: Micro,
    idempotency: Option<Idempotency>,
) -> Result<Admission, ApiError> {
    let deadlines = context.config.deadlines;
    let end_ms = now_ms().saturating_add(deadlines.total_ms);
    let mut waits = SAME_KEY_WAITS_MS.into_iter();
    let mut wait_ms = 0;
    loop {
        let hold = random_id();
        let command = Command::Admit {
            hold: hold.clone(),
            amount,
            ttl_ms: deadlines.hold_ttl_ms,
            route: context.route.to_owned(),
            idempotency: idempotency.clone(),
        };
        match tenant_stub::send(&context.env, &caller.tenant, command).await {
            Ok(ActorReply::Admitted { admitted, budget }) => {
                return Ok(Admission::Go(Ticket {
                    hold,
                    held: admitted.held,
                    available: admitted.available,
                    budget,
                    idempotency,
                    end_ms: now_ms().saturating_add(deadlines.total_ms),
                }));
            }
            Ok(ActorReply::Replay(stored)) => return Ok(Admission::Replay(stored)),
            Err(Refusal::IdempotencyInProgress) if now_ms() < end_ms => {
                wait_ms = waits.next().unwrap_or(wait_ms);
                timer::sleep(wait_ms).await;
            }
            Err(refusal @ Refusal::Storage { .. }) => {
                // Its answer may have been lost after the hold was made.
                let release = Command::Release { hold, idempotency: idempotency.clone() };
                let _the_deadline_ends_it_otherwise =
                    tenant_stub::send(&context.env, &caller.tenant, release).await;
                return Err(ApiError::from(refusal));
            }
            Err(refusal) => return Err(of_caller(refusal, caller)),
            Ok(_) => return Err(unexpected()),
        }
    }
}

/// A refusal for money tells whose balance it is.
fn of_caller(refusal: Refusal, caller: &Caller) -> ApiError {
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
    let charge = context.config.price_of(work.priced_model).charge(work.usage.total());
    let meta = json!({
        "provider": work.provider,
        "model": work.model,
        "skill": work.skill,
        "basis": work.usage.basis.name(),
        "outcome": work.end.name(),
        "request_id": context.request_id,
    });
    let usage = Usage {
        route: Some(context.route.to_owned()),
        tokens_in: i64::try_from(work.usage.tokens_in).ok(),
        tokens_out: i64::try_from(work.usage.tokens_out).ok(),
        meta: RawValue::from_string(meta.to_string()).ok(),
    };
    let command = Command::Settle {
        hold: ticket.hold.clone(),
        charge,
        usage,
        reply,
        idempotency: ticket.idempotency.clone(),
    };
    end(context, caller, command).await
}

/// Ends the hold of work that came to nothing, without a charge.
pub async fn release(context: &Context, caller: &Caller, ticket: &Ticket) {
    let command = Command::Release { hold: ticket.hold.clone(), idempotency: ticket.idempotency.clone() };
    let _the_deadline_ends_it_otherwise = end(context, caller, command).await;
}

async fn end(context: &Context, caller: &Caller, command: Command) -> Option<EndedHold> {
    for wait_ms in SETTLE_WAITS_MS.into_iter().map(Some).chain([None]) {
        match tenant_stub::send(&context.env, &caller.tenant, command.clone()).await {
            Ok(ActorReply::Ended(ended)) => return Some(ended),
            Err(Refusal::Storage { .. }) => {}
            Ok(_) | Err(_) => break,
        }
        if let Some(wait_ms) = wait_ms {
            timer::sleep(wait_ms).await;
        }
    }
    log::fault("hold_left_to_its_deadline", &context.request_id);
    None
}
