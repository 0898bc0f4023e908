//! What every answer of a model goes through, whatever its form: admit, ask a provider, settle, answer.
//!
//! The work runs apart from the connection: a client that goes away cannot leave a hold behind.

use std::rc::Rc;

use actors::tenant::{Idempotency, Stored};

use super::context::Context;
use super::delivery;
use super::error::ApiError;
use super::form::Form;
use super::identity::Caller;
use super::kept_answer::{KeptAnswer, billed, keep, to_raw, with_budgets};
use super::meter::{self, Admission, Ticket, Work, WorkEnd};
use super::offer;
use super::question::Question;
use super::reply::{Reply, ReplyTo};
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
pub async fn answer(context: &Rc<Context>, mut asked: Asked) -> Result<Reply, ApiError> {
    let offer = offer::make(context, &mut asked.question, asked.streams)?;
    // The tier is a header, and no part of the body; but another tier is another question.
    let digest = match &offer.tier {
        Some(tier) => format!("{}/{tier}", asked.digest),
        None => asked.digest.clone(),
    };
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

/// An answer that goes back whole.
async fn run(context: &Context, asked: &Asked, ticket: &Ticket, reply_to: ReplyTo) {
    let Asked { caller, question, form, .. } = asked;
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
        skill: question.skill.as_deref(),
        usage: answer.usage,
        held: ticket.held,
        end: WorkEnd::Complete,
    };
    let kept = form.keep_whole(keep(&work, &answer.text), &answer, &context.request_id);
    let ended = meter::settle(context, caller, ticket, &work, to_raw(&kept)).await;
    let mut reply = form.whole(&kept);
    let mut available = ticket.available;
    if let Some(ended) = ended {
        available = ended.available;
        reply = billed(reply, caller, &ended.charged.to_string(), &ended.available.to_string());
    }
    let _gone = reply_to.send(Ok(with_budgets(reply, ticket, available)));
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
    let reply = billed(asked.form.whole(&kept), &asked.caller, &charged, &available);
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
