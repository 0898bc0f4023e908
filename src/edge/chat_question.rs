//! The body of `POST /v1/chat/completions`: what decides the price is read, the rest is passed on as it came.

use serde_json::Value;

use super::context::Context;
use super::error::ApiError;
use super::json_body;
use super::limits::{CHAT_ANSWERS_MAX, CHAT_MESSAGES_MAX};
use super::models;
use super::question::{Question, max_credits, on_hold_used};
use crate::providers::{ChatRequest, Members, Prompt, WholeRequest};

/// Members of ours, which no provider knows.
const OWN: &[&str] = &["max_credits", "on_hold_used"];

/// What some provider would do, and ask its customer to pay for: other models than the one whose price counts, searches,
/// answers that are foretold.
const NOT_OFFERED: [(&str, &str); 9] = [
    ("web_search_options", "nothing: searching the web is not offered"),
    ("search_settings", "nothing: searching the web is not offered"),
    ("search_parameters", "nothing: searching the web is not offered"),
    ("plugins", "nothing: plugins are not offered"),
    ("models", "nothing: the model is `model`"),
    ("fallbacks", "nothing: the model is `model`"),
    ("route", "nothing: the model is `model`"),
    ("provider", "nothing: the provider is chosen here, or by `model` as `provider/model`"),
    ("prediction", "nothing: predicted answers are not offered"),
];

/// A chat that was understood.
pub struct Chat {
    pub question: Question,
    pub streams: bool,
    /// The client wants to see the usage at the end of its stream.
    pub include_usage: bool,
}

fn wrong(field: &'static str, expected: &'static str) -> ApiError {
    ApiError::InvalidField { field, expected }
}

/// # Errors
/// One code for each mistake; nothing was changed then.
pub fn parse(context: &Context, bytes: &[u8]) -> Result<Chat, ApiError> {
    let mut members: Members = json_body::parse(bytes)?;
    let model = models::named(&members)?;
    match members.value("messages") {
        Some(Value::Array(messages)) if (1..=CHAT_MESSAGES_MAX).contains(&messages.len()) => {
            if !messages.iter().all(is_message) {
                return Err(wrong("messages", "objects with a `role`"));
            }
        }
        _ => return Err(wrong("messages", "a list of 1 to 2,048 messages")),
    }
    let streams = flag(&members, "stream")?;
    let include_usage = include_usage(&members)?;
    let answers = answers(&members)?;
    not_at_the_house_s_cost(&members)?;
    let max_tokens = max_tokens(context, &members)?;
    let limit = max_credits(members.value("max_credits").as_ref())?;
    let when_used = on_hold_used(members.value("on_hold_used").as_ref())?;
    for name in OWN {
        members.remove(name);
    }
    let prompt = Prompt::Whole(WholeRequest::new(members, answers));
    let chat = ChatRequest { prompt, max_tokens, request_id: context.request_id.clone() };
    let question = Question::of_model(model, chat, limit, when_used);
    Ok(Chat { question, streams, include_usage })
}

fn is_message(message: &Value) -> bool {
    message.get("role").is_some_and(Value::is_string)
}

fn flag(members: &Members, name: &'static str) -> Result<bool, ApiError> {
    match members.value(name) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(value),
        Some(_) => Err(wrong(name, "true or false")),
    }
}

fn include_usage(members: &Members) -> Result<bool, ApiError> {
    let expected = "an object, with `include_usage` true or false";
    match members.value("stream_options") {
        None => Ok(false),
        Some(Value::Object(options)) => match options.get("include_usage") {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(_) => Err(wrong("stream_options", expected)),
        },
        Some(_) => Err(wrong("stream_options", expected)),
    }
}

fn answers(members: &Members) -> Result<u32, ApiError> {
    match members.value("n") {
        None => Ok(1),
        Some(value) => {
            let count = value.as_u64().and_then(|count| u32::try_from(count).ok());
            count.filter(|count| (1..=CHAT_ANSWERS_MAX).contains(count)).ok_or(wrong("n", "1 to 8"))
        }
    }
}

/// The smaller of both names of the limit. Without one an answer may be as long as any: clients of this API expect
/// whole answers.
fn max_tokens(context: &Context, members: &Members) -> Result<u32, ApiError> {
    let mut limit = context.config.max_output_tokens;
    for name in ["max_tokens", "max_completion_tokens"] {
        let Some(value) = members.value(name) else { continue };
        let count = value.as_u64().filter(|count| *count > 0);
        let count = count.ok_or(wrong(name, "a whole number above zero"))?;
        limit = limit.min(u32::try_from(count).unwrap_or(u32::MAX));
    }
    Ok(limit)
}

/// Whether a part of a message is a medium whose size nobody here knows, but for a picture: one at another address, or one
/// that lies with the provider.
fn names_a_medium_elsewhere(messages: &Value) -> bool {
    let parts = messages.as_array().into_iter().flatten().filter_map(|message| message["content"].as_array());
    parts.flatten().any(|part| {
        let kind = part["type"].as_str().unwrap_or_default();
        let by_address = kind.ends_with("_url") && kind != "image_url";
        let by_id = |pointer: &str| part.pointer(pointer).is_some_and(|id| !id.is_null());
        by_address || by_id("/file/file_id") || by_id("/file_id")
    })
}

/// What a provider charges its customer for beside the tokens, or keeps for it, is not the client's to ask for.
fn not_at_the_house_s_cost(members: &Members) -> Result<(), ApiError> {
    let said = |name: &str| members.value(name);
    if !matches!(said("service_tier").as_ref().map(Value::as_str), None | Some(Some("auto" | "default"))) {
        return Err(wrong("service_tier", "`auto` or `default`"));
    }
    if !matches!(said("store"), None | Some(Value::Bool(false))) {
        return Err(wrong("store", "false"));
    }
    for (name, expected) in NOT_OFFERED {
        if said(name).is_some() {
            return Err(wrong(name, expected));
        }
    }
    let ours_to_run = |tool: &Value| matches!(tool["type"].as_str(), Some("function" | "custom"));
    match said("tools") {
        None => {}
        Some(Value::Array(tools)) if tools.iter().all(ours_to_run) => {}
        Some(_) => return Err(wrong("tools", "a list of tools of the types `function` and `custom`")),
    }
    if members.value("messages").as_ref().is_some_and(names_a_medium_elsewhere) {
        let expected =
            "pictures by address or embedded; sound and files embedded, and nothing by its id at a provider";
        return Err(wrong("messages", expected));
    }
    let sound = |kinds: &Value| kinds.as_array().is_none_or(|kinds| kinds.iter().any(|kind| kind != "text"));
    if said("modalities").as_ref().is_some_and(sound) || said("audio").is_some() {
        return Err(wrong("modalities", "[\"text\"]; speech is at /v1/audio/speech"));
    }
    Ok(())
}
