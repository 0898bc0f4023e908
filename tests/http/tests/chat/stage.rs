//! What nearly every test of chats asks.

use http_tests::client::Call;
use http_tests::event_stream::{Item, Transcript};
use http_tests::provider_script::Behaviour;
use http_tests::world::Tenant;
use serde_json::{Value, json};

pub const CHAT: &str = "/v1/chat/completions";

/// A chat of one message, with `more` members.
pub fn chat(marker: &str, more: Value) -> Value {
    let mut body = json!({"model": "auto", "messages": [{"role": "user", "content": marker}]});
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body
}

pub fn post(tenant: &Tenant, body: &Value) -> Call {
    tenant.post(CHAT).json(body)
}

pub async fn streamed(tenant: &Tenant, body: &Value) -> Transcript {
    post(tenant, body).open().await.expect_stream().await.drain().await
}

/// The data of every event, as JSON where it is JSON.
pub fn data(transcript: &Transcript) -> Vec<Value> {
    let data = transcript.items.iter().filter_map(|item| match item {
        Item::Event { name, data } if name.is_empty() => Some(data),
        _ => None,
    });
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| json!(data))).collect()
}

/// A JSON body of the provider's own.
pub fn body(value: &Value) -> Behaviour {
    Behaviour::page(200, "application/json", value.to_string())
}

pub fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {value}"))
}
