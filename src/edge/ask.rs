//! `POST /api/si/ask`: admit, ask a provider, settle, answer.
//!
//! The work runs apart from the connection: a client that goes away cannot leave a hold behind.

use std::rc::Rc;

use super::ask_stream;
use super::context::Context;
use super::error::ApiError;
use super::identity::Caller;
use super::kept_answer::{KeptAnswer, answered, billed, keep, replayed_variant, to_raw, with_budgets};
use super::limits::JSON_BODY_BYTES_MAX;
use super::meter::{self, Admission, Ticket, Work, WorkEnd};
use super::offer;
use super::question::{self, Question};
use super::reply::{Reply, ReplyTo};
use super::variant;
use crate::platform::detached::{self, ClientWatch};
use crate::providers;
use actors::tenant::Stored;

pub async fn ask(context: &Rc<Context>) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    // Before the body is read: a flood that is refused anyway should cost as little as it can.
    meter::refused_before(context, &caller)?;
    let bytes = context.inbound.json_bytes(JSON_BODY_BYTES_MAX).await?;
    let mut idempotency = context.idempotency(&caller, &bytes)?;
    let mut question = question::parse(context, &bytes)?;
    variant::assign(context, &caller, &mut question).await;
    let accepts = context.inbound.header("accept").unwrap_or_default().to_ascii_lowercase();
    let streams = accepts.contains("text/event-stream");
    let offer = offer::make(context, &mut question, streams)?;
    let asked = idempotency.as_ref().map_or_else(|| context.digest(&bytes), |key| key.body_hash.clone());
    // The tier is a header, and no part of the body; but another tier is another question.
    let asked = offer.tier.as_ref().map_or_else(|| asked.clone(), |tier| format!("{asked}/{tier}"));
    let fingerprint = idempotency.is_none().then(|| format!("{}:{asked}", caller.scope()));
    if let Some(key) = &mut idempotency {
        key.body_hash = asked;
    }
    let shared = Rc::clone(context);
    let reply = detached::first_value(&context.event, move |reply_to| async move {
        match meter::admit(&shared, &caller, offer, idempotency, fingerprint).await {
            Ok(Admission::Go(ticket)) if streams => {
                ask_stream::run(&shared, &caller, &question, &ticket, reply_to).await;
            }
            Ok(Admission::Go(ticket)) => run(&shared, &caller, &question, &ticket, reply_to).await,
            Ok(Admission::Replay(stored)) => {
                let reply = replay(&shared, &caller, &stored, streams);
                match reply {
                    Ok((reply, rest)) => {
                        let _client_may_be_gone = reply_to.send(Ok(reply));
                        if let Some(rest) = rest {
                            rest.send().await;
                        }
                    }
                    Err(error) => drop(reply_to.send(Err(error))),
                }
            }
            Err(error) => drop(reply_to.send(Err(error))),
        }
    });
    reply.await.unwrap_or(Err(ApiError::Unavailable))
}

async fn run(context: &Context, caller: &Caller, question: &Question, ticket: &Ticket, reply_to: ReplyTo) {
    let watch = ClientWatch::new(context.inbound.signal());
    let asked =
        providers::complete(&context.env, &context.config, &ticket.providers, &question.chat, ticket.end_ms);
    // With a key the client can come back for the answer, so it is made and kept; without one it is lost
    // to everybody, so nobody pays for it.
    let kept = ticket.has_key;
    let outcome = if kept { Some(asked.await) } else { watch.unless_gone(asked).await };
    let (provider, answer) = match outcome {
        Some(Ok(found)) if kept || !watch.is_gone() => found,
        Some(Ok(_)) | None => return meter::release(context, caller, ticket).await,
        Some(Err(failed)) => {
            meter::release(context, caller, ticket).await;
            let _gone = reply_to.send(Err(ApiError::AskFailed { detail: failed.detail() }));
            return;
        }
    };
    let work = Work {
        provider: provider.name,
        model: &answer.model,
        priced_model: &provider.model,
        skill: &question.skill,
        variant: question.variant.as_ref(),
        usage: answer.usage,
        held: ticket.held,
        end: WorkEnd::Complete,
    };
    let kept = keep(context, &work, &answer.text);
    let ended = meter::settle(context, caller, ticket, &work, to_raw(&kept)).await;
    let mut reply = answered(&kept);
    let mut available = ticket.available;
    if let Some(ended) = ended {
        available = ended.available;
        reply = billed(reply, caller, &ended.charged.to_string(), &ended.available.to_string());
    }
    let _gone = reply_to.send(Ok(with_budgets(reply, ticket, available)));
}

/// The first reply again.
///
/// # Errors
/// `ChargedWithoutReply` when none was kept.
fn replay(
    context: &Context,
    caller: &Caller,
    stored: &Stored,
    streams: bool,
) -> Result<(Reply, Option<ask_stream::Rest>), ApiError> {
    let Stored { charged, available, .. } = *stored;
    let kept: Option<KeptAnswer> =
        serde_json::from_str(stored.reply.get()).map_err(|_| ApiError::Unavailable)?;
    let kept = kept.ok_or(ApiError::ChargedWithoutReply { charged, available })?;
    if streams {
        let (reply, rest) = ask_stream::replay(context, caller, kept, stored)?;
        return Ok((reply, Some(rest)));
    }
    let reply = replayed_variant(answered(&kept), &kept);
    let reply = billed(reply, caller, &charged.to_string(), &available.to_string());
    Ok((reply.with("idempotency-replayed", "true"), None))
}
