//! What nearly every test of attachments does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_tests::client::{Call, Reply};
pub use http_tests::uploads::{PNG, UPLOAD, metadata, picture, planted, upload_call, uploaded, user_content};
use http_tests::world::{Tenant, World, text};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Where every key begins.
pub const FOLDER: &str = "uploads/";

pub fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
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
