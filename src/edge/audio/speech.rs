//! `POST /v1/audio/speech`: a text as sound, passed on as it is made.
//!
//! What is submitted is known before the call, so the hold is exact; once a provider answers it is charged, however much
//! of the answer the client waits for: so do providers bill.

use std::rc::Rc;

use actors::tenant::Idempotency;

use super::super::catalog;
use super::super::context::Context;
use super::super::error::ApiError;
use super::super::identity::Caller;
use super::super::kept_answer;
use super::super::limits::{JSON_BODY_BYTES_MAX, KEPT_SPEECH_BYTES_MAX};
use super::super::meter::{self, Admission, Ticket, Used, Work, WorkEnd};
use super::super::reply::{Body, Reply, ReplyTo};
use super::kept_speech::{self, KeptSpeech};
use super::passing::{self, Begun, Passed, Passing};
use super::speech_form::{self, Spoken};
use super::{offer, with_tier};
use crate::platform::config::Provider;
use crate::platform::detached::{self, ClientWatch};
use crate::providers::{self, Answered, Basis, ByteStream, SpeechRequest, Wish};

pub async fn speak(context: &Rc<Context>) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    meter::refused_before(context, &caller)?;
    let bytes = context.inbound.json_bytes(JSON_BODY_BYTES_MAX).await?;
    let idempotency = context.idempotency(&caller, &bytes)?;
    let spoken = speech_form::parse(context, &bytes)?;
    serve(context, caller, spoken, &context.config.offers.speech, idempotency).await
}

/// Has one of `providers` speak.
pub(super) async fn serve(
    context: &Rc<Context>,
    caller: Caller,
    spoken: Spoken,
    providers: &[Provider],
    idempotency: Option<Idempotency>,
) -> Result<Reply, ApiError> {
    let known = catalog::current(context).await;
    let tier = super::super::offer::tier(context, &context.config)?;
    let offer = offer::make(
        tier,
        known.pricing(None),
        (providers, &spoken.model),
        (|provider| spoken.request.beyond(provider.kind).is_none(), cannot(providers, &spoken.request)),
        |price| price.units_of_characters(spoken.characters),
    )?;
    let idempotency = idempotency.map(|mut key| {
        key.body_hash = with_tier(key.body_hash, &offer);
        key
    });
    let shared = Rc::clone(context);
    let reply = detached::first_value(&context.event, move |reply_to| async move {
        // No two requests alike are taken for one: the sound of the first is there for its key alone.
        match meter::admit(&shared, &caller, offer, idempotency, None).await {
            Ok(Admission::Go(ticket)) => run(&shared, &caller, &spoken, &ticket, reply_to).await,
            Ok(Admission::Replay(stored)) => {
                let _gone = reply_to.send(kept_speech::replay(&shared, &caller, &stored).await);
            }
            Err(error) => drop(reply_to.send(Err(error))),
        }
    });
    reply.await.unwrap_or(Err(ApiError::Unavailable))
}

/// What a client is told when nobody can do what it wants.
fn cannot(providers: &[Provider], request: &SpeechRequest) -> ApiError {
    let (field, expected) = match providers.iter().find_map(|provider| request.beyond(provider.kind)) {
        Some(Wish::Events) | None => ("stream_format", "`audio`: nobody who serves this model sends events"),
        Some(Wish::Speed) => ("speed", "1: nobody who serves this model speaks at another speed"),
        Some(Wish::Format) => {
            ("response_format", "`mp3`, `wav` or `pcm`: nobody who serves this model packs sound otherwise")
        }
    };
    ApiError::InvalidField { field, expected }
}

async fn run(context: &Context, caller: &Caller, spoken: &Spoken, ticket: &Ticket, reply_to: ReplyTo) {
    let watch = ClientWatch::new(context.inbound.signal());
    let opening =
        providers::speak(&context.env, &context.config, &ticket.providers, &spoken.request, ticket.end_ms);
    let begun = passing::begin((context, caller, ticket), &watch, opening, reply_to).await;
    let Some(Begun { answered, writer, readable, reply_to }) = begun else { return };
    let Answered { provider, value: stream, attempts } = answered;
    let price = ticket.pricing.price_of(&provider.model);
    let units = price.units_of_characters(spoken.characters);
    let mut work = Work {
        provider: &provider.name,
        attempts: &attempts,
        model: &provider.model,
        priced_model: &provider.model,
        question: None,
        used: Used { units, basis: Basis::Counted, disbelieved: None },
        price_percent: None,
        held: ticket.held,
        end: WorkEnd::Complete,
    };
    let media = stream.media;
    let reply = head(caller, ticket, &work, &stream, readable);
    let client_left = reply_to.send(Ok(reply)).is_err();
    let keeps = ticket.has_key && kept_speech::is_possible(context);
    let passing = Passing {
        context,
        ticket,
        provider: &provider,
        attempts: &attempts,
        watch: &watch,
        kept_bytes_max: keeps.then_some(KEPT_SPEECH_BYTES_MAX),
    };
    let Passed { end, listening, kept, bytes } = passing.run(stream, &writer, |_| Ok(())).await;
    work.end = end;
    let mut reply = None;
    if let Some(chunks) = kept.filter(|_| end == WorkEnd::Complete) {
        let (name, media) = (kept_speech::name_of(caller, ticket), media.to_owned());
        let (provider, model) = (provider.name.to_string(), provider.model.clone());
        let speech = KeptSpeech { name, bytes, media, provider, model };
        if kept_speech::keep(context, &speech, &chunks).await {
            reply = serde_json::value::to_raw_value(&speech).ok();
        }
    }
    let _settled_or_left_to_its_deadline = meter::settle(context, caller, ticket, &work, reply).await;
    if end == WorkEnd::Complete && listening && !client_left {
        writer.close().await;
    } else {
        // Whoever is still there must not take the silence for the end.
        writer.abort();
    }
}

/// The reply, before its bytes: what is charged is known already.
fn head(
    caller: &Caller,
    ticket: &Ticket,
    work: &Work<'_>,
    stream: &ByteStream,
    readable: web_sys::ReadableStream,
) -> Reply {
    let charge = ticket.pricing.price_of(work.priced_model).charge(&work.used.units);
    let left = ticket.held.minus(charge).and_then(|rest| ticket.available.plus(rest));
    let available = left.unwrap_or(ticket.available);
    let reply = Reply::of_media(stream.media, Body::Stream(readable))
        .with("x-accel-buffering", "no")
        .with("x-provider", work.provider)
        .with("x-model", work.model)
        .with("x-credits-held", ticket.held.to_string());
    let reply = kept_answer::billed(reply, caller, &charge.to_string(), &available.to_string());
    kept_answer::with_budgets(reply, ticket, available)
}
