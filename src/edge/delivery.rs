//! An answer as a stream: its pieces as they come, then what was used; settled for what was delivered.

use std::cell::Cell;

use actors::shared::{Micro, ModelPrice, Units};
use actors::tenant::Stored;
use serde_json::{Value, json};

use super::answering::Asked;
use super::chat_form::KEPT_EVENTS_BYTES_MAX;
use super::context::Context;
use super::error::ApiError;
use super::form::{Closing, Names};
use super::identity::Caller;
use super::kept_answer::{self, KeptAnswer};
use super::meter::{self, Ticket, Work, WorkEnd};
use super::outlet::Outlet;
use super::question::OnHoldUsed;
use super::reply::{Reply, ReplyTo};
use super::variant::Variant;
use crate::platform::config::Provider;
use crate::platform::detached::ClientWatch;
use crate::platform::{now_ms, streams};
use crate::providers::{
    self, Answered, Attempt, BYTES_PER_TOKEN_MAX, Batch, Deadline, Failure, Piece, PieceStream, Produced,
    TokenUsage,
};

/// Bytes that are never called running away: a few long words.
const RUNAWAY_BYTES_MIN: usize = 1_024;
/// More is set aside for a stream in steps of at least so many tokens: each is a command to the actor and an entry of
/// the ledger, and a client that chose a small first step must not choose their number.
const TOP_UP_STEP_TOKENS_MIN: u64 = 256;

/// Asks, answers with a stream, and settles what was delivered of it.
pub async fn run(context: &Context, asked: &Asked, ticket: &Ticket, reply_to: ReplyTo) {
    let (caller, question) = (&asked.caller, &asked.question);
    let watch = ClientWatch::new(context.inbound.signal());
    let opening = providers::open_stream(
        &context.env,
        &context.config,
        &ticket.providers,
        &question.chat,
        ticket.end_ms,
    );
    // With a key the client can come back for the answer, so it is made to its end and kept.
    let kept = ticket.has_key;
    let opened = if kept { Some(opening.await) } else { watch.unless_gone(opening).await };
    let Answered { provider, value: stream, attempts } = match opened {
        Some(Ok(opened)) => opened,
        None => return meter::release(context, caller, ticket).await,
        Some(Err(failed)) => {
            meter::release(context, caller, ticket).await;
            let _gone = reply_to.send(Err(asked.form.failed(&failed)));
            return;
        }
    };
    let Ok((writer, readable)) = streams::pipe() else {
        meter::release(context, caller, ticket).await;
        let _gone = reply_to.send(Err(ApiError::Unavailable));
        return;
    };
    let model = stream.model.clone().unwrap_or_else(|| provider.model.clone());
    let mut reply = Reply::events(readable)
        .with("x-provider", &*provider.name)
        .with("x-model", &model)
        .with("x-credits-held", ticket.held.to_string());
    let variant = question.variant.as_ref().map(Variant::name);
    reply = kept_answer::with_variant(reply, variant.as_ref());
    if !caller.tenant.is_guest() {
        reply = reply.with("x-credits-balance", ticket.available.to_string());
    }
    if reply_to.send(Ok(kept_answer::with_budgets(reply, ticket, ticket.available))).is_err() && !kept {
        return meter::release(context, caller, ticket).await;
    }
    let id = stream.id.clone().unwrap_or_else(|| format!("chatcmpl-{}", context.request_id));
    let delivery = Delivery {
        context,
        asked,
        ticket,
        provider: &provider,
        model: &model,
        attempts: &attempts,
        id,
        watch: &watch,
        listening: Cell::new(true),
    };
    delivery.run(stream, Outlet::new(writer)).await;
}

/// One stream on its way to a client.
struct Delivery<'a> {
    context: &'a Context,
    asked: &'a Asked,
    ticket: &'a Ticket,
    provider: &'a Provider,
    model: &'a str,
    attempts: &'a [Attempt],
    id: String,
    watch: &'a ClientWatch,
    /// The client took all that there was so far.
    listening: Cell<bool>,
}

/// What was delivered so far. With a key, all that came: the client can come back for it.
#[derive(Default)]
struct Delivered {
    produced: Produced,
    /// The text of the last piece.
    last: String,
    /// The answer, where it is kept.
    text: String,
    events: String,
    /// A piece in OpenAI's format was among it: its provider says in it how it ends.
    openai: bool,
}

impl Delivery<'_> {
    async fn run(&self, mut stream: PieceStream, mut outlet: Outlet) {
        let mut delivered = Delivered::default();
        let mut allowance = Allowance::new(self);
        let end = self.pump(&mut stream, &mut outlet, &mut delivered, &mut allowance).await;
        let reported = stream.usage;
        // Dropped before the settle: nobody reads on, so the provider is told to stop at once.
        drop(stream);
        // The provider's own numbers only when the answer is complete.
        let reported = reported.filter(|_| end == WorkEnd::Complete);
        let usage = TokenUsage::believed(reported, &self.asked.question.chat, delivered.produced);
        let work = self.work(usage, end, allowance.held);
        let kept = self.keep(&work, delivered);
        let reply = if self.ticket.has_key && kept.events.as_ref().is_some_and(String::is_empty) {
            // Too long to keep: the key says that it was charged.
            None
        } else {
            kept_answer::to_raw(&kept)
        };
        let caller = &self.asked.caller;
        let ended = meter::settle(self.context, caller, self.ticket, &work, reply).await;
        if !self.listening.get() {
            // Gone, or too slow to wait for: either way it must not take the silence for the end.
            return outlet.abort();
        }
        let billed = ended.map(|ended| (ended.charged.credits(), ended.available.credits()));
        let closing = closing(self.context, self.asked, &kept, billed);
        let _client_may_be_gone = outlet.write(&closing, self.context.config.deadlines.idle_ms).await;
        outlet.close().await;
    }

    fn keep(&self, work: &Work<'_>, delivered: Delivered) -> KeptAnswer {
        let mut kept = kept_answer::keep(self.context, work, &delivered.text);
        if self.asked.form.passes_on() {
            kept.id = Some(self.id.clone());
            kept.events = self.ticket.has_key.then_some(delivered.events);
            kept.finish = (!delivered.openai).then(|| "stop".to_owned());
        }
        kept
    }

    /// A stream that broke off says something of its provider, unless the request's own time was over: an answer may
    /// be as long as it was asked to be.
    fn blame(&self, failure: Failure, provider_end_ms: i64) {
        let failure = match failure {
            Failure::Timeout(_) if now_ms() >= self.ticket.end_ms => Failure::Timeout(Deadline::Budget),
            Failure::Timeout(_) if now_ms() >= provider_end_ms => Failure::Timeout(Deadline::Total),
            other => other,
        };
        providers::stream_failed(&self.context.config, self.provider, failure);
    }

    /// When the provider's own time for a stream is over.
    fn provider_end_ms(&self) -> i64 {
        let so_far_ms = self.attempts.last().map_or(0, |attempt| attempt.duration_ms);
        now_ms().saturating_sub(so_far_ms).saturating_add(self.provider.deadlines.stream_ms)
    }

    fn work(&self, usage: TokenUsage, end: WorkEnd, held: Micro) -> Work<'_> {
        Work {
            provider: &self.provider.name,
            attempts: self.attempts,
            model: self.model,
            priced_model: &self.provider.model,
            question: Some(&self.asked.question),
            used: usage.into(),
            price_percent: None,
            held,
            end,
        }
    }

    /// Whether there is credit for what came so far: from the hold, or from a larger one.
    async fn has_credit(&self, allowance: &mut Allowance, produced: Produced) -> bool {
        if allowance.spent() <= allowance.held {
            return true;
        }
        let question = &self.asked.question;
        if question.on_hold_used == OnHoldUsed::Cut || allowance.held >= self.ticket.hold_max {
            return false;
        }
        let step = self.ticket.held.max(allowance.price.hold(&Units::tokens(0, TOP_UP_STEP_TOKENS_MIN)));
        let wanted = allowance.held.plus(step).unwrap_or(self.ticket.hold_max);
        let wanted = wanted.max(allowance.spent()).min(self.ticket.hold_max);
        let usage = TokenUsage::counted(&question.chat, produced);
        let work = self.work(usage, WorkEnd::Complete, allowance.held);
        let top_up = async |hold_total: Micro| {
            let topped =
                meter::top_up(self.context, &self.asked.caller, self.ticket, hold_total, &work).await;
            topped.map(|()| hold_total)
        };
        let held = match top_up(wanted).await {
            // The balance pays for a part of it.
            Err(available) if available > Micro::ZERO => {
                let rest = work.held.plus(available).unwrap_or(wanted).min(wanted);
                top_up(rest).await
            }
            other => other,
        };
        match held {
            Ok(held) => {
                allowance.held = held;
                allowance.spent() <= held
            }
            Err(_) => false,
        }
    }

    /// Passes pieces on until the stream or the client ends.
    async fn pump(
        &self,
        stream: &mut PieceStream,
        outlet: &mut Outlet,
        delivered: &mut Delivered,
        allowance: &mut Allowance,
    ) -> WorkEnd {
        let idle_ms = self.provider.deadlines.idle_ms;
        let provider_end_ms = self.provider_end_ms();
        let end_ms = self.ticket.end_ms.min(provider_end_ms);
        let kept = self.ticket.has_key;
        loop {
            let wait_ms = idle_ms.min(end_ms.saturating_sub(now_ms()));
            let next = stream.next(wait_ms);
            let next = if kept { Some(next.await) } else { self.watch.unless_gone(next).await };
            let batch = match next {
                None => {
                    self.listening.set(false);
                    return WorkEnd::ClientGone;
                }
                Some(Err(failure)) => {
                    self.blame(failure, provider_end_ms);
                    return WorkEnd::Interrupted;
                }
                Some(Ok(None)) => return WorkEnd::Complete,
                Some(Ok(Some(batch))) => batch,
            };
            if let Some(end) = self.pass(batch, outlet, delivered, allowance, wait_ms).await {
                return end;
            }
        }
    }

    /// Passes on what came together; how the work ended, when that ends it.
    async fn pass(
        &self,
        batch: Batch,
        outlet: &mut Outlet,
        delivered: &mut Delivered,
        allowance: &mut Allowance,
        wait_ms: i64,
    ) -> Option<WorkEnd> {
        let names = Names { id: &self.id, model: self.model };
        let (mut shown, mut all) = (String::new(), true);
        // What the client has when it takes what is shown.
        let mut after = delivered.produced;
        let mut end = None;
        for piece in &batch.pieces {
            allowance.push(piece);
            if !self.has_credit(allowance, after).await {
                // What is not paid for is not delivered.
                (end, all) = (Some(WorkEnd::HoldUsedUp), false);
                break;
            }
            if let Some(event) = self.asked.form.event(piece, &delivered.last, &names) {
                shown.push_str(&event);
            }
            after = piece.so_far;
            self.take(delivered, piece);
            if after.bytes > self.runaway_bytes() {
                end = Some(WorkEnd::HoldUsedUp);
                break;
            }
        }
        if self.ticket.has_key && self.asked.form.passes_on() {
            keep_events(delivered, &shown);
        }
        if self.listening.get() && !shown.is_empty() {
            let as_came = batch.as_came.filter(|_| all && self.asked.form.passes_on());
            let took = match as_came {
                Some(chunk) => outlet.pass_on(&chunk, wait_ms).await,
                None => outlet.write(&shown, wait_ms).await,
            };
            if !took {
                self.listening.set(false);
                if !self.ticket.has_key {
                    return Some(WorkEnd::ClientGone);
                }
            }
        }
        delivered.produced = after;
        end
    }

    fn take(&self, delivered: &mut Delivered, piece: &Piece) {
        if self.ticket.has_key && !self.asked.form.passes_on() {
            delivered.text.push_str(&piece.text);
        }
        delivered.last.clone_from(&piece.text);
        delivered.openai |= piece.event.is_some();
    }

    /// A provider that sends more text than this is cut off, however it cuts its pieces.
    fn runaway_bytes(&self) -> usize {
        let tokens = usize::try_from(self.asked.question.chat.tokens_out_max()).unwrap_or(usize::MAX);
        tokens.saturating_mul(BYTES_PER_TOKEN_MAX).max(RUNAWAY_BYTES_MIN)
    }
}

/// Adds to the events that are kept. When they become too many, none are.
fn keep_events(delivered: &mut Delivered, shown: &str) {
    let first = delivered.produced == Produced::default();
    if !first && delivered.events.is_empty() {
        return;
    }
    if delivered.events.len().saturating_add(shown.len()) > KEPT_EVENTS_BYTES_MAX {
        delivered.events = String::new();
    } else {
        delivered.events.push_str(shown);
    }
}

/// What a stream may cost, and has cost so far.
struct Allowance {
    /// The client gave a limit of credits: what is counted is what is spent.
    limited: bool,
    /// What the whole answer may cost. A hold below it is a step on the way there.
    held_max: Micro,
    /// Set aside in all.
    held: Micro,
    price: ModelPrice,
    /// What the prompt counts as: its tokens and its pictures.
    prompt: Units,
    counted: u64,
    /// Pieces that came. Most providers send one for each token.
    pieces: u64,
}

impl Allowance {
    fn new(delivery: &Delivery<'_>) -> Self {
        let (question, ticket) = (&delivery.asked.question, delivery.ticket);
        Self {
            limited: question.max_credits.is_some() && question.on_hold_used == OnHoldUsed::Cut,
            held_max: ticket.hold_max,
            held: ticket.held,
            price: ticket.pricing.price_of(&delivery.provider.model),
            prompt: Units {
                images: question.chat.images(),
                ..Units::tokens(question.chat.prompt_tokens_counted(), 0)
            },
            counted: 0,
            pieces: 0,
        }
    }

    fn push(&mut self, piece: &Piece) {
        self.counted = piece.so_far.tokens;
        self.pieces = self.pieces.saturating_add(1);
    }

    /// What the answer has cost so far. Of some scripts the count finds more tokens than a vocabulary does. Where the
    /// hold is made for `max_tokens`, an honest answer must never be cut for that, so the lower of two counts is taken.
    fn spent(&self) -> Micro {
        // A piece may hold many tokens: of a step that is the first of many, nothing is known but the count.
        let exact = self.limited || self.held < self.held_max;
        let tokens = if exact { self.counted } else { self.counted.min(self.pieces) };
        self.price.charge(&Units { tokens_out: tokens, ..self.prompt })
    }
}

/// What follows the pieces.
fn closing(context: &Context, asked: &Asked, kept: &KeptAnswer, billed: Option<(f64, f64)>) -> String {
    let usage = usage_object(kept, &asked.caller, billed);
    asked.form.closing(&Closing { kept, usage, request_id: &context.request_id })
}

fn usage_object(kept: &KeptAnswer, caller: &Caller, billed: Option<(f64, f64)>) -> Value {
    let mut usage = json!({
        "provider": kept.provider,
        "model": kept.model,
        "tokens_in": kept.tokens_in,
        "tokens_out": kept.tokens_out,
        "basis": kept.basis,
    });
    if let (Some((charged, available)), Some(usage)) = (billed, usage.as_object_mut()) {
        usage.insert("credits_used".to_owned(), json!(charged));
        if !caller.tenant.is_guest() {
            usage.insert("credits_balance".to_owned(), json!(available));
        }
    }
    usage
}

/// A kept answer as a stream again.
pub async fn replay(context: &Context, asked: &Asked, kept: &KeptAnswer, stored: &Stored, reply_to: ReplyTo) {
    let Stored { charged, available, .. } = *stored;
    let Some(pieces) = asked.form.replayed(kept) else {
        return drop(reply_to.send(Err(ApiError::ChargedWithoutReply { charged, available })));
    };
    let Ok((writer, readable)) = streams::pipe() else {
        return drop(reply_to.send(Err(ApiError::Unavailable)));
    };
    let billed = Some((charged.credits(), available.credits()));
    let events = format!("{pieces}{}", closing(context, asked, kept, billed));
    let reply = kept_answer::replayed_variant(Reply::events(readable), kept);
    let mut reply = kept_answer::with_variant(reply, kept.variant.as_ref().map(|kept| &kept.name))
        .with("x-provider", kept.provider.as_str())
        .with("x-model", kept.model.as_str())
        .with("idempotency-replayed", "true");
    if !asked.caller.tenant.is_guest() {
        reply = reply.with("x-credits-balance", available.to_string());
    }
    let _client_may_be_gone = reply_to.send(Ok(reply));
    let mut outlet = Outlet::new(writer);
    if outlet.write(&events, context.config.deadlines.idle_ms).await {
        outlet.close().await;
    } else {
        outlet.abort();
    }
}
