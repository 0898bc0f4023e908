//! Files that a tenant uploaded, and what an operator does to them.

use crate::client::Call;
use crate::provider_call::ProviderCall;
use crate::world::{Tenant, World, text};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub const UPLOAD: &str = "/api/upload/direct";
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

/// An upload, not sent yet.
pub fn upload_call(tenant: &Tenant, name: &str, content_type: &str, bytes: impl Into<Vec<u8>>) -> Call {
    tenant.post(UPLOAD).query("filename", name).typed_body(content_type, bytes.into())
}

/// Uploads, and gives the key.
pub async fn uploaded(tenant: &Tenant, name: &str, content_type: &str, bytes: impl Into<Vec<u8>>) -> String {
    let reply = upload_call(tenant, name, content_type, bytes).send().await.expect(200);
    text(&reply.json(), "key").to_owned()
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

/// Takes an object away, as a rule of the bucket's may.
pub fn deleted(world: &World, key: &str) {
    world.stack.in_bucket(json!({"delete": key}));
}
