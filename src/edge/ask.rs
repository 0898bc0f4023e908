//! `POST /api/si/ask`: admit, ask a provider, settle, answer.
//!
//! The work runs apart from the connection: a client that goes away cannot leave a hold behind.

use std::rc::Rc;

use actors::tenant::Stored;
use futures::channel::oneshot;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::ask_stream;
use super::context::Context;
use super::error::ApiError;
use super::identity::Caller;
use super::json_body;
use super::limits::{JSON_BODY_BYTES_MAX, SKILL_BYTES_MAX};
use super::meter::{self, Admission, Ticket, Work, WorkEnd};
use super::reply::Reply;
use crate::platform::detached::{self, ClientWatch};
use crate::providers::{self, ChatRequest, TokenUsage};

const GENERAL: &str = "general";
const GENERAL_PROMPT: &str = "You are a helpful assistant. Answer clearly and briefly.";

/// Known fields as raw values, so that each wrong type gets its own answer.
#[derive(Deserialize)]
struct AskBody<'a> {
    skill: Option<Value>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    system: Option<Value>,
    max_tokens: Option<Value>,
    attachments: Option<Value>,
}

/// A question that was understood.
pub struct Question {
    pub skill: String,
    pub chat: ChatRequest,
}

/// The sender of the one reply a request gets.
pub type ReplyTo = oneshot::Sender<Result<Reply, ApiError>>;

/// What is kept of an answer for the same idempotency key.
#[derive(Serialize, Deserialize)]
pub struct KeptAnswer {
    pub content: String,
    pub provider: String,
    pub model: String,
    pub tokens_in: u64,
    pub tokens_out: u64,
    pub basis: String,
    /// The provider broke off: the content is what was delivered and charged.
    #[serde(default)]
    pub interrupted: bool,
}

pub async fn ask(context: &Rc<Context>) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let bytes = context.inbound.json_bytes(JSON_BODY_BYTES_MAX).await?;
    let idempotency = context.idempotency(&bytes)?;
    let question = parse(context, &bytes)?;
    if context.config.providers.is_empty() {
        return Err(ApiError::AskFailed { detail: "no provider is configured".to_owned() });
    }
    let accepts = context.inbound.header("accept").unwrap_or_default().to_ascii_lowercase();
    let streams = accepts.contains("text/event-stream");
    let shared = Rc::clone(context);
    let reply = detached::first_value(&context.event, move |reply_to| async move {
        let amount = meter::hold_amount(&shared, &question.chat);
        match meter::admit(&shared, &caller, amount, idempotency).await {
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
    let asked = providers::complete(&context.env, &context.config, &question.chat, ticket.end_ms);
    // With a key the client can come back for the answer, so it is made and kept; without one it is lost
    // to everybody, so nobody pays for it.
    let kept = ticket.idempotency.is_some();
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
        usage: answer.usage,
        end: WorkEnd::Complete,
    };
    let kept = keep(&work, &answer.text);
    let ended = meter::settle(context, caller, ticket, &work, to_raw(&kept)).await;
    let mut reply = answered(&kept);
    if let Some(ended) = ended {
        reply = billed(reply, caller, &ended.charged.to_string(), &ended.available.to_string());
    }
    let _gone = reply_to.send(Ok(with_budget(reply, ticket)));
}

pub fn keep(work: &Work<'_>, text: &str) -> KeptAnswer {
    KeptAnswer {
        content: text.to_owned(),
        provider: work.provider.to_owned(),
        model: work.model.to_owned(),
        tokens_in: work.usage.tokens_in,
        tokens_out: work.usage.tokens_out,
        basis: work.usage.basis.name().to_owned(),
        interrupted: work.end == WorkEnd::Interrupted,
    }
}

pub fn to_raw(kept: &KeptAnswer) -> Option<Box<RawValue>> {
    serde_json::value::to_raw_value(kept).ok()
}

/// The JSON answer with the headers that say who answered and what was used.
fn answered(kept: &KeptAnswer) -> Reply {
    let mut result = json!({ "content": kept.content });
    if let (true, Some(result)) = (kept.interrupted, result.as_object_mut()) {
        result.insert("interrupted".to_owned(), json!(true));
    }
    Reply::json(200, &json!({ "result": result }))
        .with("x-provider", &kept.provider)
        .with("x-model", &kept.model)
        .with("x-tokens-in", kept.tokens_in.to_string())
        .with("x-tokens-out", kept.tokens_out.to_string())
}

/// The headers that say what was charged. A guest has no balance to be told.
fn billed(reply: Reply, caller: &Caller, used: &str, balance: &str) -> Reply {
    let reply = reply.with("x-credits-used", used);
    if caller.tenant.is_guest() { reply } else { reply.with("x-credits-balance", balance) }
}

pub fn with_budget(reply: Reply, ticket: &Ticket) -> Reply {
    match ticket.budget {
        Some(left) => reply.with_budget(left.limit, left.remaining, left.window_ms, left.window_ms / 1_000),
        None => reply,
    }
}

/// The first reply again.
fn replay(
    context: &Context,
    caller: &Caller,
    stored: &Stored,
    streams: bool,
) -> Result<(Reply, Option<ask_stream::Rest>), ApiError> {
    let kept: KeptAnswer = serde_json::from_str(stored.reply.get()).map_err(|_| ApiError::Unavailable)?;
    if streams {
        let (reply, rest) = ask_stream::replay(context, caller, kept, stored)?;
        return Ok((reply, Some(rest)));
    }
    let reply = billed(answered(&kept), caller, &stored.charged.to_string(), &stored.available.to_string());
    Ok((reply.with("idempotency-replayed", "true"), None))
}

fn parse(context: &Context, bytes: &[u8]) -> Result<Question, ApiError> {
    let body: AskBody<'_> = json_body::parse(bytes)?;
    let skill = match body.skill {
        None | Some(Value::Null) => GENERAL.to_owned(),
        Some(Value::String(name)) if is_skill(&name) => name,
        Some(_) => {
            let expected = "a name of at most 64 letters, digits, `-`, `_` or `.`";
            return Err(ApiError::InvalidField { field: "skill", expected });
        }
    };
    let user = match body.input.map(RawValue::get) {
        None | Some("null") => return Err(ApiError::MissingInput),
        Some(raw) if raw.starts_with('"') => serde_json::from_str(raw).map_err(|_| ApiError::InvalidJson)?,
        Some(raw) if raw.starts_with('{') => raw.to_owned(),
        Some(_) => return Err(ApiError::InvalidField { field: "input", expected: "a text or an object" }),
    };
    let user: String = user;
    if user.trim().is_empty() {
        return Err(ApiError::MissingInput);
    }
    let system = match body.system {
        None | Some(Value::Null) => GENERAL_PROMPT.to_owned(),
        Some(Value::String(system)) => system,
        Some(_) => return Err(ApiError::InvalidField { field: "system", expected: "a text" }),
    };
    match body.attachments {
        None | Some(Value::Null) => {}
        Some(Value::Array(list)) if list.is_empty() => {}
        // Answering as if they had not been sent would be worse than saying so.
        Some(Value::Array(_)) => return Err(ApiError::NotImplemented),
        Some(_) => return Err(ApiError::InvalidField { field: "attachments", expected: "a list" }),
    }
    let chat = ChatRequest {
        system: Some(system).filter(|system| !system.trim().is_empty()),
        user,
        max_tokens: max_tokens(context, body.max_tokens.as_ref())?,
        request_id: context.request_id.clone(),
    };
    Ok(Question { skill, chat })
}

fn is_skill(name: &str) -> bool {
    (1..=SKILL_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

fn max_tokens(context: &Context, asked: Option<&Value>) -> Result<u32, ApiError> {
    let config = &context.config;
    match asked {
        None | Some(Value::Null) => Ok(config.default_max_tokens),
        Some(value) => {
            let count = value.as_u64().filter(|count| *count > 0);
            let count = count.ok_or(ApiError::InvalidField {
                field: "max_tokens",
                expected: "a whole number above zero",
            })?;
            Ok(u32::try_from(count).unwrap_or(u32::MAX).min(config.max_output_tokens))
        }
    }
}

/// Usage of what was delivered of a stream: the provider's own numbers only when the answer is complete.
pub fn delivered(reported: Option<TokenUsage>, end: WorkEnd, chat: &ChatRequest, text: &str) -> TokenUsage {
    match reported {
        Some(usage) if end == WorkEnd::Complete => usage,
        _ => TokenUsage::counted(chat, text),
    }
}
