//! The form of `/v1/chat/completions`: what a provider sent goes back as it came, with the usage that is charged.

use serde_json::{Value, json};

use super::form::{Closing, Names, StreamEnd};
use super::kept_answer::KeptAnswer;
use super::reply::Reply;
use crate::platform::now_ms;
use crate::providers::{Answer, Members, Piece};

/// Events of a stream that are kept for its key, in bytes: with their quoting an actor still keeps them
/// (`actors::tenant::REPLY_BYTES_MAX`).
pub const KEPT_EVENTS_BYTES_MAX: usize = 400_000;

const DONE: &str = "data: [DONE]\n\n";

/// Now, in seconds since 1970.
fn seconds_now() -> i64 {
    now_ms().div_euclid(1_000)
}

fn data(event: &str) -> String {
    // JSON has no line ends but between its tokens, where a space is as good.
    if event.contains(['\n', '\r']) {
        format!("data: {}\n\n", event.replace(['\n', '\r'], " "))
    } else {
        format!("data: {event}\n\n")
    }
}

/// A piece as one event: as it came, or a chunk of ours around the text of a provider with a format of its own.
pub fn event(piece: &Piece, names: &Names<'_>) -> String {
    if let Some(event) = &piece.event {
        return data(event);
    }
    let choice = json!({ "index": 0, "delta": { "content": piece.text }, "finish_reason": null });
    data(&chunk(names, json!([choice]), None).to_string())
}

fn chunk(names: &Names<'_>, choices: Value, usage: Option<&Value>) -> Value {
    let mut chunk = json!({
        "id": names.id,
        "object": "chat.completion.chunk",
        "created": seconds_now(),
        "model": names.model,
        "choices": choices,
    });
    if let (Some(usage), Some(members)) = (usage, chunk.as_object_mut()) {
        members.insert("usage".to_owned(), usage.clone());
    }
    chunk
}

/// The usage object, as OpenAI has it.
fn usage_of(kept: &KeptAnswer) -> Value {
    let mut usage = json!({
        "prompt_tokens": kept.tokens_in,
        "completion_tokens": kept.tokens_out,
        "total_tokens": kept.tokens_in.saturating_add(kept.tokens_out),
    });
    if let (true, Some(members)) = (kept.tokens_cached > 0, usage.as_object_mut()) {
        members.insert("prompt_tokens_details".to_owned(), json!({ "cached_tokens": kept.tokens_cached }));
    }
    usage
}

/// What follows the pieces: the usage when it was asked for, what was charged as a comment, and the end mark; or the
/// error, after which there is no end mark.
pub fn closing(include_usage: bool, closing: &Closing<'_>) -> String {
    let Closing { kept, usage, .. } = closing;
    let comment = format!(": usage {usage}\n\n");
    if let Some((code, message)) = StreamEnd::of(kept).error() {
        let kind = if kept.cut { "insufficient_quota" } else { "server_error" };
        let error = json!({ "error": { "message": message, "type": kind, "code": code, "param": null } });
        return format!("{comment}{}", data(&error.to_string()));
    }
    let names = Names { id: kept.id.as_deref().unwrap_or_default(), model: &kept.model };
    // A provider whose format says no end has not told it either.
    let end = match kept.finish.as_deref() {
        Some(reason) => {
            let choice = json!({ "index": 0, "delta": {}, "finish_reason": reason });
            data(&chunk(&names, json!([choice]), None).to_string())
        }
        None => String::new(),
    };
    let shown = if include_usage {
        data(&chunk(&names, json!([]), Some(&usage_of(kept))).to_string())
    } else {
        String::new()
    };
    format!("{end}{shown}{comment}{DONE}")
}

/// The body that goes back: what came, in OpenAI's format if it was not, and with the usage that is charged where the
/// provider's own was not believed.
pub fn keep_whole(mut kept: KeptAnswer, answer: &Answer, request_id: &str) -> KeptAnswer {
    let came = answer.body.as_deref().unwrap_or("{}");
    let mut members: Members = serde_json::from_str(came).unwrap_or_default();
    if members.get("choices").is_none() {
        members = converted(&members, &answer.text);
    }
    for (name, value) in [
        ("id", json!(format!("chatcmpl-{request_id}"))),
        ("object", json!("chat.completion")),
        ("created", json!(seconds_now())),
        ("model", json!(answer.model)),
    ] {
        if members.get(name).is_none() {
            members.set(name, &value);
        }
    }
    if kept.basis != "reported" || members.get("usage").is_none() {
        members.set("usage", &usage_of(&kept));
    }
    // It is in the body.
    kept.content.clear();
    kept.body = serde_json::value::RawValue::from_string(members.to_text()).ok();
    kept
}

/// Workers AI's own format in OpenAI's.
fn converted(members: &Members, text: &str) -> Members {
    let calls: Vec<Value> = match members.value("tool_calls") {
        Some(Value::Array(calls)) => calls.iter().enumerate().map(|(at, call)| tool_call(at, call)).collect(),
        _ => Vec::new(),
    };
    let finish = if calls.is_empty() { "stop" } else { "tool_calls" };
    let mut message = json!({ "role": "assistant", "content": text });
    if let (false, Some(message)) = (calls.is_empty(), message.as_object_mut()) {
        message.insert("tool_calls".to_owned(), Value::Array(calls));
    }
    let mut converted = Members::default();
    converted.set("choices", &json!([{ "index": 0, "message": message, "finish_reason": finish }]));
    if let Some(usage) = members.value("usage") {
        converted.set("usage", &usage);
    }
    converted
}

fn tool_call(at: usize, call: &Value) -> Value {
    let arguments = match call.get("arguments") {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "{}".to_owned(),
    };
    let function = json!({ "name": call.get("name"), "arguments": arguments });
    json!({ "id": format!("call_{at}"), "type": "function", "function": function })
}

pub fn whole(kept: &KeptAnswer) -> Reply {
    Reply::json_text(200, kept.body.as_ref().map_or_else(|| "{}".to_owned(), |body| body.get().to_owned()))
}

/// The events of a kept stream again.
pub fn replayed(kept: &KeptAnswer) -> Option<String> {
    kept.events.clone()
}
