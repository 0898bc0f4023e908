//! What every answer of a model goes through, whatever its form: admit, ask a provider, settle, answer.
//!
//! The work runs apart from the connection: a client that goes away cannot leave a hold behind.

use std::rc::Rc;

use actors::tenant::{Command, Idempotency, Reply as ActorReply, Stored};

use super::catalog::Known;
use super::context::{Context, unexpected};
use super::delivery;
use super::error::ApiError;
use super::form::Form;
use super::identity::Caller;
use super::kept_answer::{KeptAnswer, billed, keep, replayed_variant, to_raw, with_budgets};
use super::meter::{self, Admission, Ticket, Work, WorkEnd};
use super::offer;
use super::question::Question;
use super::reply::{Reply, ReplyTo};
use super::response_cache;
use crate::platform::detached::{self, ClientWatch};
use crate::providers::{self, Answered};

/// A request that was understood.
pub struct Asked {
    pub caller: Caller,
    pub question: Question,
    pub form: Form,
    pub streams: bool,
    pub idempotency: Option<Idempotency>,
    /// Of its route and body, in hexadecimal digits.
    pub digest: String,
}

/// # Errors
/// What the offer or the actor refuses; `AskFailed` when no provider answers.
pub async fn answer(context: &Rc<Context>, known: &Known, mut asked: Asked) -> Result<Reply, ApiError> {
    let config = &context.config;
    let tier = offer::tier(context, config)?;
    let pricing = known.pricing(asked.question.answered_by.as_deref());
    let offer = offer::make(config, tier, pricing, &mut asked.question, asked.streams)?;
    let digest = of_tier(&asked.digest, offer.tier.as_deref());
    asked.digest.clone_from(&digest);
    let mut idempotency = asked.idempotency.take();
    let fingerprint = idempotency.is_none().then(|| format!("{}:{digest}", asked.caller.scope()));
    if let Some(key) = &mut idempotency {
        key.body_hash = digest;
    }
    let shared = Rc::clone(context);
    let reply = detached::first_value(&context.event, move |reply_to| async move {
        match meter::admit(&shared, &asked.caller, offer, idempotency, fingerprint).await {
            Ok(Admission::Go(ticket)) if asked.streams => {
                delivery::run(&shared, &asked, &ticket, reply_to).await;
            }
            Ok(Admission::Go(ticket)) => run(&shared, &asked, &ticket, reply_to).await,
            Ok(Admission::Replay(stored)) => replay(&shared, &asked, &stored, reply_to).await,
            Err(error) => drop(reply_to.send(Err(error))),
        }
    });
    reply.await.unwrap_or(Err(ApiError::Unavailable))
}

/// The tier is a header, and no part of the body; but another tier is another question.
fn of_tier(digest: &str, tier: Option<&str>) -> String {
    match tier {
        Some(tier) => format!("{digest}/{tier}"),
        None => digest.to_owned(),
    }
}

/// The first reply again, for a request that can no longer be asked as it was; `None` when there was none.
///
/// # Errors
/// The actor's refusals; `UnknownTier`.
pub async fn answered_before(context: &Rc<Context>, mut asked: Asked) -> Result<Option<Reply>, ApiError> {
    let Some(mut idempotency) = asked.idempotency.take() else { return Ok(None) };
    let tier = offer::tier(context, &context.config)?.map(|tier| tier.name.as_str());
    idempotency.body_hash = of_tier(&asked.digest, tier);
    let command = Command::Recall { idempotency };
    let stored = match context.ask_actor(&asked.caller, command).await? {
        ActorReply::Replay(stored) => stored,
        ActorReply::NotAnswered => return Ok(None),
        _ => return Err(unexpected()),
    };
    let shared = Rc::clone(context);
    let reply = detached::first_value(&context.event, move |reply_to| async move {
        replay(&shared, &asked, &stored, reply_to).await;
    });
    reply.await.unwrap_or(Err(ApiError::Unavailable)).map(Some)
}

/// An answer that goes back whole.
async fn run(context: &Context, asked: &Asked, ticket: &Ticket, reply_to: ReplyTo) {
    let Asked { caller, question, form, .. } = asked;
    let slot = response_cache::Slot::of(context, asked);
    if let Some(slot) = &slot
        && let Some(kept) = slot.read().await
    {
        return cached(context, asked, ticket, &kept, reply_to).await;
    }
    let watch = ClientWatch::new(context.inbound.signal());
    let work =
        providers::complete(&context.env, &context.config, &ticket.providers, &question.chat, ticket.end_ms);
    // With a key the client can come back for the answer, so it is made and kept; without one it is lost
    // to everybody, so nobody pays for it.
    let kept = ticket.has_key;
    let outcome = if kept { Some(work.await) } else { watch.unless_gone(work).await };
    let Answered { provider, value: answer, attempts } = match outcome {
        Some(Ok(found)) if kept || !watch.is_gone() => found,
        Some(Ok(_)) | None => return meter::release(context, caller, ticket).await,
        Some(Err(failed)) => {
            meter::release(context, caller, ticket).await;
            let _gone = reply_to.send(Err(form.failed(&failed)));
            return;
        }
    };
    let work = Work {
        provider: &provider.name,
        attempts: &attempts,
        model: &answer.model,
        priced_model: &provider.model,
        question: Some(question),
        used: answer.usage.into(),
        price_percent: None,
        held: ticket.held,
        end: WorkEnd::Complete,
    };
    let kept = form.keep_whole(keep(context, &work, &answer.text), &answer, &context.request_id);
    let reply = settled(context, asked, ticket, &work, &kept).await;
    let _gone = reply_to.send(Ok(if slot.is_some() { reply.with("x-cache", "miss") } else { reply }));
    if let Some(slot) = slot {
        slot.write(&kept).await;
    }
}

/// An answer that was made before, to this very request.
async fn cached(context: &Context, asked: &Asked, ticket: &Ticket, kept: &KeptAnswer, reply_to: ReplyTo) {
    let work = Work {
        provider: &kept.provider,
        attempts: &[],
        model: &kept.model,
        priced_model: &kept.priced_model,
        question: Some(&asked.question),
        used: kept.usage().into(),
        price_percent: context.config.response_cache.map(|cache| cache.price_percent),
        held: ticket.held,
        end: WorkEnd::Complete,
    };
    let reply = settled(context, asked, ticket, &work, kept).await;
    let _gone = reply_to.send(Ok(reply.with("x-cache", "hit")));
}

/// Settles the work, and makes the reply that tells it.
async fn settled(
    context: &Context,
    asked: &Asked,
    ticket: &Ticket,
    work: &Work<'_>,
    kept: &KeptAnswer,
) -> Reply {
    let ended = meter::settle(context, &asked.caller, ticket, work, to_raw(kept)).await;
    let mut reply = asked.form.whole(kept);
    let mut available = ticket.available;
    if let Some(ended) = ended {
        available = ended.available;
        reply = billed(reply, &asked.caller, &ended.charged.to_string(), &ended.available.to_string());
    }
    with_budgets(reply, ticket, available)
}

/// The first reply again.
async fn replay(context: &Context, asked: &Asked, stored: &Stored, reply_to: ReplyTo) {
    let kept = match kept_of(stored) {
        Ok(kept) => kept,
        Err(error) => return drop(reply_to.send(Err(error))),
    };
    if asked.streams {
        return delivery::replay(context, asked, &kept, stored, reply_to).await;
    }
    let (charged, available) = (stored.charged.to_string(), stored.available.to_string());
    let reply = replayed_variant(asked.form.whole(&kept), &kept);
    let reply = billed(reply, &asked.caller, &charged, &available);
    let _gone = reply_to.send(Ok(reply.with("idempotency-replayed", "true")));
}

/// # Errors
/// `ChargedWithoutReply` when none was kept.
fn kept_of(stored: &Stored) -> Result<KeptAnswer, ApiError> {
    let Stored { charged, available, .. } = *stored;
    let kept: Option<KeptAnswer> =
        serde_json::from_str(stored.reply.get()).map_err(|_| ApiError::Unavailable)?;
    kept.ok_or(ApiError::ChargedWithoutReply { charged, available })
}
