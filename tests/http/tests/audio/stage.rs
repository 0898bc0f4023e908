//! What nearly every test of audio asks.

use bytes::Bytes;
use http_tests::client::Call;
use http_tests::provider_call::ProviderCall;
use http_tests::provider_script::{Behaviour, Ending};
pub use http_tests::recording::{File, form, wav};
use http_tests::tokens;
use http_tests::vars::TTS_MODELS;
use http_tests::world::{Tenant, World};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::Duration;

pub const SPEECH: &str = "/v1/audio/speech";
pub const TRANSCRIPTIONS: &str = "/v1/audio/transcriptions";

/// A text to be spoken, with `more` members.
pub fn speech(input: &str, more: Value) -> Value {
    let mut body = json!({"model": "auto", "input": input, "voice": "alloy"});
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body
}

pub fn speak(tenant: &Tenant, body: &Value) -> Call {
    tenant.post(SPEECH).json(body)
}

/// Bytes that no other text's speech has.
pub fn noise(seed: u32, count: usize) -> Bytes {
    let mut state = seed | 1;
    let byte = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..count).map(byte).collect::<Vec<u8>>().into()
}

pub fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

pub fn sound(content_type: &'static str, pieces: &[Bytes], gap_ms: u64, ending: Ending) -> Behaviour {
    Behaviour::Sound { content_type, pieces: pieces.to_vec(), gap: Duration::from_millis(gap_ms), ending }
}

/// A recording to be written down, by any provider unless `fields` say another; the marker is its prompt.
pub fn transcribe(tenant: &Tenant, marker: &str, fields: &[(&str, &str)], file: File<'_>) -> Call {
    let mut all = vec![("prompt", marker)];
    if !fields.iter().any(|(name, _)| *name == "model") {
        all.push(("model", "auto"));
    }
    all.extend(fields);
    let (content_type, body) = form(&all, &[("file", file)]);
    tenant.post(TRANSCRIPTIONS).typed_body(&content_type, body)
}

pub fn recording(bytes: &[u8]) -> File<'_> {
    ("talk.wav", "audio/wav", bytes)
}

/// The start of an MP3 of so many bytes: no header says how long it is.
pub fn mp3(count: usize) -> Vec<u8> {
    let mut file = b"ID3\x04".to_vec();
    file.extend_from_slice(&noise(7, count - 4));
    file
}

/// The file that a provider received.
pub fn file_of(call: &ProviderCall) -> Vec<u8> {
    let find = |part: &[u8], from: usize| {
        call.bytes[from..].windows(part.len()).position(|window| window == part).map(|at| at + from)
    };
    let named = find(b"name=\"file\"", 0).expect("a file");
    let start = find(b"\r\n\r\n", named).expect("the end of its head") + 4;
    let end = find(b"\r\n--", start).expect("its end");
    call.bytes[start..end].to_vec()
}

/// The text of a field that a provider received.
pub fn field_of(call: &ProviderCall, name: &str) -> Option<String> {
    let at = call.body.find(&format!("name=\"{name}\""))?;
    let rest = call.body[at..].split_once("\r\n\r\n")?.1;
    Some(rest.split("\r\n--").next().unwrap_or_default().to_owned())
}

/// A reply that is read as it comes, by a client that can hang up.
pub async fn opened(world: &World, tenant: &Tenant, body: &Value, key: Option<&str>) -> reqwest::Response {
    let request = reqwest::Client::new()
        .post(format!("{}{SPEECH}", world.client().url()))
        .bearer_auth(tokens::user_token(&tenant.email))
        .header("content-type", "application/json")
        .body(body.to_string());
    let request = match key {
        Some(key) => request.header("idempotency-key", key),
        None => request,
    };
    request.send().await.expect("a reply")
}

/// Every provider of speech does this with requests that hold `marker`.
pub fn all_speak(world: &World, marker: &str, behaviour: &Behaviour) {
    for provider in world.providers() {
        provider.script(marker, [behaviour.clone()]);
    }
}

pub fn first_tts() -> &'static str {
    TTS_MODELS[0]
}

/// No hold is open, the books are right, and so many requests were charged; newest first.
pub async fn settled(tenant: &Tenant, charged: usize) -> Vec<Value> {
    tenant.settled_balance().await;
    let rows = tenant.usage_of(charged).await;
    tenant.verified().await;
    rows
}
