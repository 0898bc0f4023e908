//! An ask, in both forms, and the answer taken out of either.

use crate::heard::Heard;
use crate::operation::{Answer, Ask, Form, Receipt, milli};
use http_tests::client::{Call, Reply};
use http_tests::event_stream::Transcript;
use http_tests::world::Tenant;
use serde_json::{Value, json};
use std::future::Future;
use std::time::Duration;

/// The platform's edge gives every request its id in this header; the Worker keeps it.
const REQUEST_ID: &str = "cf-ray";
/// Covers the longest scripted usage, so that it is believed.
const MAX_TOKENS: u64 = 400;

/// Asks, and leaves its `first` attempt when the client's patience ends.
pub async fn attempt(tenant: &Tenant, ask: &Ask, name: &str, request_id: &str, first: bool) -> Heard {
    let call = call(tenant, ask, name).header(REQUEST_ID, request_id);
    let heard = Heard::in_time(async {
        match ask.form {
            Form::Json => whole(call, request_id).await,
            Form::Stream => streamed(call).await,
        }
    });
    match ask.patience_ms.filter(|_| first) {
        Some(patience_ms) => leaving(patience_ms, heard).await,
        None => heard.await,
    }
}

/// Whether an answer said that it is the first one again.
pub struct Replayed {
    pub heard: Heard,
    pub said_so: bool,
}

/// The same ask again, after it was acknowledged.
pub async fn again(tenant: &Tenant, ask: &Ask, name: &str) -> Replayed {
    let said_so = |header: Option<&str>| header == Some("true");
    let call = call(tenant, ask, name);
    match ask.form {
        Form::Json => {
            let sent = call.try_send().await;
            let said_so = sent.as_ref().is_ok_and(|reply| said_so(reply.header("idempotency-replayed")));
            Replayed { heard: Heard::of_json(sent, |reply| of_reply(reply).map(Receipt::Answer)), said_so }
        }
        Form::Stream => match call.try_open().await {
            Err(error) => Replayed { heard: Heard::failure(&error), said_so: false },
            Ok(stream) if stream.status != 200 => {
                Replayed { heard: Heard::refusal(&stream.into_reply().await), said_so: false }
            }
            Ok(stream) => {
                let said_so = said_so(stream.header("idempotency-replayed"));
                Replayed { heard: of_stream(&stream.drain().await), said_so }
            }
        },
    }
}

fn call(tenant: &Tenant, ask: &Ask, name: &str) -> Call {
    let body = json!({"input": format!("{} {name}", ask.scenario), "max_tokens": MAX_TOKENS});
    let call = tenant.ask(&body);
    if ask.keyed { call.idempotency_key(name) } else { call }
}

async fn leaving(patience_ms: u64, heard: impl Future<Output = Heard>) -> Heard {
    let patience = Duration::from_millis(patience_ms);
    // Dropping the attempt closes its connection.
    tokio::time::timeout(patience, heard).await.unwrap_or(Heard::Nothing { code: None })
}

async fn whole(call: Call, request_id: &str) -> Heard {
    let sent = call.try_send().await;
    if let Ok(reply) = &sent
        && reply.header("x-request-id") != Some(request_id)
    {
        return Heard::Wrong(format!("not the id {request_id} of its request: {reply:?}"));
    }
    Heard::of_json(sent, |reply| of_reply(reply).map(Receipt::Answer))
}

async fn streamed(call: Call) -> Heard {
    match call.try_open().await {
        Err(error) => Heard::failure(&error),
        Ok(stream) if stream.status != 200 => {
            let reply = stream.into_reply().await;
            // A refusal that was cut has no code.
            if reply.error().is_empty() { Heard::Nothing { code: None } } else { Heard::refusal(&reply) }
        }
        Ok(stream) => of_stream(&stream.drain().await),
    }
}

fn of_reply(reply: &Reply) -> Result<Answer, String> {
    let body = reply.json();
    let header = |name: &str| reply.header(name).ok_or_else(|| format!("no {name}"));
    let number = |name: &str| header(name)?.parse::<f64>().map_err(|_| format!("{name} is no number"));
    let count = |name: &str| header(name)?.parse::<u64>().map_err(|_| format!("{name} is no count"));
    let content = body.pointer("/result/content").and_then(Value::as_str).ok_or("no content")?;
    Ok(Answer {
        content: content.to_owned(),
        provider: header("x-provider")?.to_owned(),
        model: header("x-model")?.to_owned(),
        tokens_in: count("x-tokens-in")?,
        tokens_out: count("x-tokens-out")?,
        charged_milli: milli(number("x-credits-used")?),
        balance_milli: milli(number("x-credits-balance")?),
        interrupted: body.pointer("/result/interrupted") == Some(&Value::Bool(true)),
    })
}

fn of_stream(transcript: &Transcript) -> Heard {
    if transcript.broken {
        return Heard::Nothing { code: None };
    }
    let error = transcript.comment("error");
    let usage = match (&error, transcript.comment("done")) {
        (Some(error), _) => error.get("usage").cloned(),
        (None, Some(_)) => transcript.comment("usage"),
        (None, None) => return Heard::Wrong(format!("an end in order without an end mark: {transcript:?}")),
    };
    match answer_of(usage.unwrap_or_default(), transcript.text(), error.is_some()) {
        Ok(answer) => Heard::Whole(Receipt::Answer(answer)),
        Err(why) => Heard::Wrong(format!("{why}: {transcript:?}")),
    }
}

fn answer_of(usage: Value, content: String, interrupted: bool) -> Result<Answer, String> {
    let missing = |name: &str| format!("no {name} in the usage");
    let text = |name: &str| usage.get(name).and_then(Value::as_str).ok_or_else(|| missing(name));
    let count = |name: &str| usage.get(name).and_then(Value::as_u64).ok_or_else(|| missing(name));
    let number = |name: &str| usage.get(name).and_then(Value::as_f64).ok_or_else(|| missing(name));
    Ok(Answer {
        content,
        provider: text("provider")?.to_owned(),
        model: text("model")?.to_owned(),
        tokens_in: count("tokens_in")?,
        tokens_out: count("tokens_out")?,
        charged_milli: milli(number("credits_used")?),
        balance_milli: milli(number("credits_balance")?),
        interrupted,
    })
}
