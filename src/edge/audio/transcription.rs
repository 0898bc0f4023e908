//! `POST /v1/audio/transcriptions`: a recording as text, charged by its length.

use std::rc::Rc;

use super::super::catalog;
use super::super::chat_form::KEPT_EVENTS_BYTES_MAX;
use super::super::context::Context;
use super::super::error::ApiError;
use super::super::identity::Caller;
use super::super::kept_answer;
use super::super::meter::{self, Admission, Ticket, Work, WorkEnd};
use super::super::reply::{Reply, ReplyTo};
use super::charge::Told;
use super::kept_transcript::{self, KeptTranscript, Written};
use super::passing::{self, Begun, Passed, Passing};
use super::recording::{self, Recording};
use super::{failed, hearing, with_tier};
use crate::platform::config::Provider;
use crate::platform::detached::{self, ClientWatch};
use crate::providers::{self, Answered, Attempt, UsageWatch};

pub async fn transcribe(context: &Rc<Context>) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    meter::refused_before(context, &caller)?;
    let recording = recording::read(context).await?;
    let idempotency = context.idempotency(&caller, recording.canonical.as_bytes())?;
    let known = catalog::current(context).await;
    let tier = super::super::offer::tier(context, &context.config)?;
    let heard = (recording.recorded, recording.streams);
    let offer = hearing::offered(&context.config, tier, known.pricing(None), &recording.model, heard)?;
    let digest = with_tier(context.digest(recording.canonical.as_bytes()), &offer);
    let fingerprint = idempotency.is_none().then(|| format!("{}:{digest}", caller.scope()));
    let idempotency = idempotency.map(|mut key| {
        key.body_hash = digest;
        key
    });
    let shared = Rc::clone(context);
    let reply = detached::first_value(&context.event, move |reply_to| async move {
        match meter::admit(&shared, &caller, offer, idempotency, fingerprint).await {
            Ok(Admission::Go(ticket)) => {
                let hearing =
                    Hearing { context: &shared, caller: &caller, recording: &recording, ticket: &ticket };
                if recording.streams {
                    hearing.run_events(reply_to).await;
                } else {
                    hearing.run(reply_to).await;
                }
            }
            Ok(Admission::Replay(stored)) => drop(reply_to.send(kept_transcript::replay(&caller, &stored))),
            Err(error) => drop(reply_to.send(Err(error))),
        }
    });
    reply.await.unwrap_or(Err(ApiError::Unavailable))
}

/// One recording that was admitted.
struct Hearing<'a> {
    context: &'a Context,
    caller: &'a Caller,
    recording: &'a Recording,
    ticket: &'a Ticket,
}

impl Hearing<'_> {
    /// A transcript that goes back whole.
    async fn run(&self, reply_to: ReplyTo) {
        let Self { context, caller, recording, ticket } = *self;
        let watch = ClientWatch::new(context.inbound.signal());
        let (request, end_ms) = (&recording.request, ticket.end_ms);
        let work = providers::transcribe(&context.env, &context.config, &ticket.providers, request, end_ms);
        // With a key the client can come back for it; without one it is lost to everybody, so nobody pays for it.
        let kept = ticket.has_key;
        let outcome = if kept { Some(work.await) } else { watch.unless_gone(work).await };
        let Answered { provider, value: transcript, attempts } = match outcome {
            Some(Ok(found)) if kept || !watch.is_gone() => found,
            Some(Ok(_)) | None => return meter::release(context, caller, ticket).await,
            Some(Err(error)) => {
                meter::release(context, caller, ticket).await;
                let _gone = reply_to.send(Err(failed(&error)));
                return;
            }
        };
        let work = self.work(&provider, &attempts, Told::from(&transcript), WorkEnd::Complete);
        let written = Written::of(request.format);
        let kept = self.kept(&provider, written, transcript.body);
        let ended = meter::settle(context, caller, ticket, &work, kept.to_raw()).await;
        let mut reply = kept.reply();
        let mut available = ticket.available;
        if let Some(ended) = ended {
            available = ended.available;
            reply = kept_answer::billed(reply, caller, &ended.charged.to_string(), &available.to_string());
        }
        let _gone = reply_to.send(Ok(kept_answer::with_budgets(reply, ticket, available)));
    }

    /// A transcript's events, passed on as they come.
    async fn run_events(&self, reply_to: ReplyTo) {
        let Self { context, caller, recording, ticket } = *self;
        let watch = ClientWatch::new(context.inbound.signal());
        let (request, end_ms) = (&recording.request, ticket.end_ms);
        let opening = providers::transcribe_in_events(&context.config, &ticket.providers, request, end_ms);
        let begun = passing::begin((context, caller, ticket), &watch, opening, reply_to).await;
        let Some(Begun { answered, writer, readable, reply_to }) = begun else { return };
        let Answered { provider, value: stream, attempts } = answered;
        let reply = Reply::events(readable)
            .with("x-provider", &*provider.name)
            .with("x-model", &provider.model)
            .with("x-credits-held", ticket.held.to_string());
        let client_left =
            reply_to.send(Ok(kept_answer::with_budgets(reply, ticket, ticket.available))).is_err();
        let passing = Passing {
            context,
            ticket,
            provider: &provider,
            attempts: &attempts,
            watch: &watch,
            kept_bytes_max: ticket.has_key.then(|| u64::try_from(KEPT_EVENTS_BYTES_MAX).unwrap_or(0)),
        };
        let mut usage = UsageWatch::default();
        let Passed { mut end, listening, kept, .. } =
            passing.run(stream, &writer, |chunk| usage.push(chunk)).await;
        if end == WorkEnd::Complete && !usage.complete {
            // It ended without saying that it did.
            end = WorkEnd::Interrupted;
        }
        let reported = usage.reported.filter(|_| end == WorkEnd::Complete);
        let told = Told { reported, characters: usage.characters };
        let work = self.work(&provider, &attempts, told, end);
        let events = kept.filter(|_| end == WorkEnd::Complete).and_then(|chunks| {
            let bytes: Vec<u8> = chunks.iter().flat_map(js_sys::Uint8Array::to_vec).collect();
            String::from_utf8(bytes).ok()
        });
        let reply = events.and_then(|body| self.kept(&provider, Written::Events, body).to_raw());
        let _settled_or_left_to_its_deadline = meter::settle(context, caller, ticket, &work, reply).await;
        if end == WorkEnd::Complete && listening && !client_left {
            writer.close().await;
        } else {
            writer.abort();
        }
    }

    fn work<'w>(
        &self,
        provider: &'w Provider,
        attempts: &'w [Attempt],
        told: Told,
        end: WorkEnd,
    ) -> Work<'w> {
        let Ticket { pricing, held, .. } = self.ticket;
        hearing::work((pricing, *held), self.recording.recorded, (provider, attempts), told, end)
    }

    fn kept(&self, provider: &Provider, written: Written, body: String) -> KeptTranscript {
        KeptTranscript { body, written, provider: provider.name.to_string(), model: provider.model.clone() }
    }
}
