//! What nearly every test of attachments does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_tests::client::{Call, Reply};
use http_tests::provider_call::ProviderCall;
use http_tests::world::{Tenant, World, text};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub const UPLOAD: &str = "/api/upload/direct";
/// Where every key begins.
pub const FOLDER: &str = "uploads/";

/// How a PNG begins; what comes then is for its readers.
pub const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A picture of so many bytes that no other test has.
pub fn picture(bytes: usize) -> Vec<u8> {
    let seed = uuid::Uuid::new_v4();
    let noise = (0_u64..).flat_map(|block| {
        Sha256::new_with_prefix(seed.as_bytes()).chain_update(block.to_le_bytes()).finalize()
    });
    PNG.iter().copied().chain(noise).take(bytes).collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// An upload, not sent yet.
pub fn upload_call(tenant: &Tenant, name: &str, content_type: &str, bytes: impl Into<Vec<u8>>) -> Call {
    tenant.post(UPLOAD).query("filename", name).typed_body(content_type, bytes.into())
}

/// Uploads, and gives the key.
pub async fn uploaded(tenant: &Tenant, name: &str, content_type: &str, bytes: impl Into<Vec<u8>>) -> String {
    let reply = upload_call(tenant, name, content_type, bytes).send().await.expect(200);
    text(&reply.json(), "key").to_owned()
}

/// What the bucket has below a prefix.
pub fn listed(world: &World, prefix: &str) -> Vec<Value> {
    world.stack.in_bucket(json!({"list": prefix}))
}

/// All keys that hold `part`.
pub fn keys_with(world: &World, part: &str) -> Vec<String> {
    let all = listed(world, FOLDER);
    all.iter().map(|object| text(object, "key").to_owned()).filter(|key| key.contains(part)).collect()
}

/// Puts an object there as nobody but an operator can.
pub fn planted(world: &World, key: &str, content_type: &str, bytes: &[u8], metadata: Value) {
    let put = json!({
        "put": key, "base64": STANDARD.encode(bytes), "content_type": content_type, "metadata": metadata,
    });
    assert_eq!(world.stack.in_bucket(put).len(), 1);
}

/// The metadata of an object.
pub fn metadata(world: &World, key: &str) -> Value {
    world.stack.in_bucket(json!({"read": key})).remove(0)["metadata"].clone()
}

/// The content of the user's message in a provider's call.
pub fn user_content(call: &ProviderCall) -> Value {
    let body = call.json();
    let messages = body["messages"].as_array().cloned().unwrap_or_default();
    messages.last().unwrap_or_else(|| panic!("no message in {body}"))["content"].clone()
}

/// The bytes in a data URL of that type.
pub fn bytes_in(url: &str, media_type: &str) -> Vec<u8> {
    let head = format!("data:{media_type};base64,");
    let data = url.strip_prefix(&head);
    STANDARD.decode(data.unwrap_or_else(|| panic!("{url:.60} is none of {media_type}"))).expect("base64")
}

/// Asks with attachments; `more` goes beside.
pub fn ask(tenant: &Tenant, input: &str, attachments: Value, more: Value) -> Call {
    let mut body = json!({"input": input, "attachments": attachments});
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    tenant.ask(&body)
}

/// What a refusal says, without what is another at every request.
pub fn said(reply: &Reply) -> Value {
    let mut body = reply.json();
    body.as_object_mut().map(|members| members.remove("request_id"));
    body
}

/// No hold is left, and the books are in order.
pub async fn in_order(tenant: &Tenant, credits: f64) {
    http_tests::world::assert_credits(tenant.settled_balance().await, credits, "the balance");
    tenant.verified().await;
}
