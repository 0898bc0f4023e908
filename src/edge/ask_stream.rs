//! The streaming form of an ask: text pieces as they come, then what was used, then the end mark.
//!
//! `data:` lines carry plain text only, because existing clients show every one of them. What a program
//! needs besides comes in comment lines, or as named events when the request asks with `?events=1`.

use actors::shared::{Micro, Price};
use actors::tenant::Stored;
use serde_json::{Value, json};

use super::context::Context;
use super::error::ApiError;
use super::identity::Caller;
use super::kept_answer::{self, KeptAnswer};
use super::meter::{self, Ticket, Work, WorkEnd};
use super::question::{OnHoldUsed, Question};
use super::reply::{Reply, ReplyTo};
use super::variant::Variant;
use crate::platform::detached::ClientWatch;
use crate::platform::streams::{self, ByteWriter};
use crate::platform::{config::Provider, now_ms, timer};
use crate::providers::{self, ChatRequest, PieceStream, TokenCounter, TokenUsage};

/// A provider that sends more text than this for each token it was asked for is cut off, however it cuts its pieces:
/// it will not stop by itself. Vocabularies average four or five bytes a token in every script.
const RUNAWAY_BYTES_PER_TOKEN: usize = 16;
/// Bytes that are never called running away: a few long words.
const RUNAWAY_BYTES_MIN: usize = 1_024;

/// More is set aside for a stream in steps of at least so many tokens: each is a command to the actor and an entry of
/// the ledger, and a client that chose a small first step must not choose their number.
const TOP_UP_STEP_TOKENS_MIN: u64 = 256;

/// How the stream says what is not text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Comments,
    NamedEvents,
}

impl Form {
    fn of(context: &Context) -> Self {
        match context.inbound.query.get("events").as_deref() {
            Some("1") => Self::NamedEvents,
            _ => Self::Comments,
        }
    }

    fn usage(self, usage: &Value) -> String {
        match self {
            Self::Comments => format!(": usage {usage}\n\n"),
            Self::NamedEvents => format!("event: usage\ndata: {usage}\n\n"),
        }
    }

    const fn done(self) -> &'static str {
        match self {
            Self::Comments => ": done\n\n",
            Self::NamedEvents => "event: done\ndata:\n\n",
        }
    }

    fn error(self, error: &Value) -> String {
        match self {
            // The event has empty data: a client that shows every data line shows nothing more.
            Self::Comments => format!(": error {error}\nevent: error\ndata:\n\n"),
            Self::NamedEvents => format!("event: error\ndata: {error}\n\n"),
        }
    }
}

/// A piece of text as one event: a `data:` line for each of its lines. A lone carriage return ends a line of
/// an event stream too, so it must not get through: a model's text could forge events with it.
fn text_event(text: &str) -> String {
    let mut event = String::with_capacity(text.len().saturating_add(8));
    for line in text.replace("\r\n", "\n").split(['\n', '\r']) {
        event.push_str("data: ");
        event.push_str(line);
        event.push('\n');
    }
    event.push('\n');
    event
}

/// Asks, answers with a stream, and settles what was delivered of it.
pub async fn run(
    context: &Context,
    caller: &Caller,
    question: &Question,
    ticket: &Ticket,
    reply_to: ReplyTo,
) {
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
    let (provider, stream) = match opened {
        Some(Ok(opened)) => opened,
        None => return meter::release(context, caller, ticket).await,
        Some(Err(failed)) => {
            meter::release(context, caller, ticket).await;
            let _gone = reply_to.send(Err(ApiError::AskFailed { detail: failed.detail() }));
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
        .with("x-provider", provider.name)
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
    let delivery = Delivery { context, caller, question, ticket, provider: &provider, model: &model };
    delivery.run(stream, writer, &watch).await;
}

/// One stream on its way to a client.
struct Delivery<'a> {
    context: &'a Context,
    caller: &'a Caller,
    question: &'a Question,
    ticket: &'a Ticket,
    provider: &'a Provider,
    model: &'a str,
}

impl Delivery<'_> {
    async fn run(&self, mut stream: PieceStream, writer: ByteWriter, watch: &ClientWatch) {
        let mut text = String::new();
        let mut allowance = Allowance::new(self.context, self.question, self.ticket, self.provider);
        let (end, listening) = self.pump(&mut stream, &writer, watch, &mut text, &mut allowance).await;
        let reported = stream.usage;
        // Dropped before the settle: nobody reads on, so the provider is told to stop at once.
        drop(stream);
        let usage = delivered(reported, end, &self.question.chat, &text);
        let work = self.work(usage, end, allowance.held);
        let kept = kept_answer::keep(self.context, &work, &text);
        let ended =
            meter::settle(self.context, self.caller, self.ticket, &work, kept_answer::to_raw(&kept)).await;
        if !listening {
            // Gone, or too slow to wait for: either way it must not take the silence for the end.
            return writer.abort();
        }
        let billed = ended.map(|ended| (ended.charged.credits(), ended.available.credits()));
        let closing = closing(self.context, &kept, self.caller, billed);
        let _client_may_be_gone = write(&writer, &closing, self.context.config.deadlines.idle_ms).await;
        writer.close().await;
    }

    fn work(&self, usage: TokenUsage, end: WorkEnd, held: Micro) -> Work<'_> {
        Work {
            provider: self.provider.name,
            model: self.model,
            priced_model: &self.provider.model,
            skill: &self.question.skill,
            variant: self.question.variant.as_ref(),
            usage,
            held,
            end,
        }
    }

    /// Whether there is credit for what came so far: from the hold, or from a larger one.
    async fn has_credit(&self, allowance: &mut Allowance, text: &str) -> bool {
        if allowance.spent() <= allowance.held {
            return true;
        }
        if self.question.on_hold_used == OnHoldUsed::Cut || allowance.held >= self.ticket.hold_max {
            return false;
        }
        let step = self.ticket.held.max(allowance.price.hold(TOP_UP_STEP_TOKENS_MIN));
        let wanted = allowance.held.plus(step).unwrap_or(self.ticket.hold_max);
        let wanted = wanted.max(allowance.spent()).min(self.ticket.hold_max);
        let usage = TokenUsage::counted(&self.question.chat, text);
        let work = self.work(usage, WorkEnd::Complete, allowance.held);
        let top_up = async |hold_total: Micro| {
            let totals = (work.held, hold_total);
            meter::top_up(self.context, self.caller, self.ticket, totals, &work).await.map(|()| hold_total)
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

    /// Passes pieces on until the stream or the client ends. `text` is what the client took; with a key, it is
    /// the whole answer, which the client can come back for. Also whether the client took all of it.
    async fn pump(
        &self,
        stream: &mut PieceStream,
        writer: &ByteWriter,
        watch: &ClientWatch,
        text: &mut String,
        allowance: &mut Allowance,
    ) -> (WorkEnd, bool) {
        let idle_ms = self.context.config.deadlines.idle_ms;
        let kept = self.ticket.has_key;
        let asked_for = usize::try_from(self.question.chat.max_tokens).unwrap_or(usize::MAX);
        let runaway_bytes = asked_for.saturating_mul(RUNAWAY_BYTES_PER_TOKEN).max(RUNAWAY_BYTES_MIN);
        let mut listening = true;
        loop {
            let wait_ms = idle_ms.min(self.ticket.end_ms.saturating_sub(now_ms()));
            let next = stream.next(wait_ms);
            let next = if kept { Some(next.await) } else { watch.unless_gone(next).await };
            let piece = match next {
                None => return (WorkEnd::ClientGone, false),
                Some(Err(_)) => return (WorkEnd::Interrupted, listening),
                Some(Ok(None)) => return (WorkEnd::Complete, listening),
                Some(Ok(Some(piece))) => piece,
            };
            allowance.push(&piece);
            if !self.has_credit(allowance, text).await {
                // What is not paid for is not delivered.
                return (WorkEnd::HoldUsedUp, listening);
            }
            // The two halves of one line end may come in two pieces.
            let halved = text.ends_with('\r').then(|| piece.strip_prefix('\n')).flatten();
            let shown = halved.unwrap_or(&piece);
            if listening && !shown.is_empty() && !write(writer, &text_event(shown), wait_ms).await {
                if !kept {
                    return (WorkEnd::ClientGone, false);
                }
                listening = false;
            }
            text.push_str(&piece);
            if text.len() > runaway_bytes {
                return (WorkEnd::HoldUsedUp, listening);
            }
        }
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
    price: Price,
    prompt_tokens: u64,
    counter: TokenCounter,
    /// Pieces that came. Most providers send one for each token.
    pieces: u64,
}

impl Allowance {
    fn new(context: &Context, question: &Question, ticket: &Ticket, provider: &Provider) -> Self {
        let chat = &question.chat;
        Self {
            limited: question.max_credits.is_some() && question.on_hold_used == OnHoldUsed::Cut,
            held_max: ticket.hold_max,
            held: ticket.held,
            price: context.config.price_of(&provider.model),
            prompt_tokens: providers::count_prompt(chat.system.as_deref(), &chat.user),
            counter: TokenCounter::default(),
            pieces: 0,
        }
    }

    fn push(&mut self, piece: &str) {
        self.counter.push(piece);
        self.pieces = self.pieces.saturating_add(1);
    }

    /// What the answer has cost so far. Of some scripts the count finds more tokens than a vocabulary does. Where the
    /// hold is made for `max_tokens`, an honest answer must never be cut for that, so the lower of two counts is taken.
    fn spent(&self) -> Micro {
        let counted = self.counter.total();
        // A piece may hold many tokens: of a step that is the first of many, nothing is known but the count.
        let exact = self.limited || self.held < self.held_max;
        let tokens = if exact { counted } else { counted.min(self.pieces) };
        self.price.charge(self.prompt_tokens.saturating_add(tokens))
    }
}

/// Whether the client took it. One that takes nothing for `wait_ms` counts as gone.
async fn write(writer: &ByteWriter, event: &str, wait_ms: i64) -> bool {
    matches!(timer::within(wait_ms, writer.write(event.as_bytes())).await, Ok(Ok(())))
}

/// Usage of what was delivered of a stream: the provider's own numbers only when the answer is complete.
fn delivered(reported: Option<TokenUsage>, end: WorkEnd, chat: &ChatRequest, text: &str) -> TokenUsage {
    TokenUsage::believed(reported.filter(|_| end == WorkEnd::Complete), chat, text)
}

/// What follows the text: usage and the end mark, or the error.
fn closing(context: &Context, kept: &KeptAnswer, caller: &Caller, billed: Option<(f64, f64)>) -> String {
    let form = Form::of(context);
    let usage = usage_object(kept, caller, billed);
    if kept.cut {
        return form.error(&json!({
            "error": "hold_used_up",
            "message": "the credits set aside for this answer are used up; what was delivered is charged",
            "request_id": context.request_id,
            "usage": usage,
        }));
    }
    if !kept.interrupted {
        return format!("{}{}", form.usage(&usage), form.done());
    }
    form.error(&json!({
        "error": "provider_interrupted",
        "message": "the provider broke off; what was delivered is charged",
        "request_id": context.request_id,
        "usage": usage,
    }))
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

/// What is still to be written of a replayed stream, after its reply was sent.
pub struct Rest {
    writer: ByteWriter,
    events: String,
    wait_ms: i64,
}

impl Rest {
    pub async fn send(self) {
        if write(&self.writer, &self.events, self.wait_ms).await {
            self.writer.close().await;
        } else {
            self.writer.abort();
        }
    }
}

/// A kept answer as a stream.
pub fn replay(
    context: &Context,
    caller: &Caller,
    kept: KeptAnswer,
    stored: &Stored,
) -> Result<(Reply, Rest), ApiError> {
    let (writer, readable) = streams::pipe().map_err(|_| ApiError::Unavailable)?;
    let billed = Some((stored.charged.credits(), stored.available.credits()));
    let events = format!("{}{}", text_event(&kept.content), closing(context, &kept, caller, billed));
    let reply = kept_answer::replayed_variant(Reply::events(readable), &kept);
    let variant = kept.variant.as_ref().map(|kept| &kept.name);
    let mut reply = kept_answer::with_variant(reply, variant)
        .with("x-provider", kept.provider)
        .with("x-model", kept.model)
        .with("idempotency-replayed", "true");
    if !caller.tenant.is_guest() {
        reply = reply.with("x-credits-balance", stored.available.to_string());
    }
    Ok((reply, Rest { writer, events, wait_ms: context.config.deadlines.idle_ms }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_keeps_its_lines() {
        assert_eq!(text_event("a"), "data: a\n\n");
        assert_eq!(text_event(" a\n\nb"), "data:  a\ndata: \ndata: b\n\n");
        assert_eq!(text_event("a\r\nb\rdata: c"), "data: a\ndata: b\ndata: data: c\n\n");
    }

    #[test]
    fn only_text_is_in_the_data_of_the_plain_form() {
        let form = Form::Comments;
        let extra =
            format!("{}{}{}", form.usage(&json!({"a": 1})), form.done(), form.error(&json!({"b": 2})));
        assert!(extra.lines().filter_map(|line| line.strip_prefix("data:")).all(str::is_empty), "{extra}");
    }
}
