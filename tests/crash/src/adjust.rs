//! An operator's change of a balance. Its reason is the operation's name, so its entry can be told from others.

use crate::heard::Heard;
use crate::operation::{Receipt, credits};
use http_tests::client::Reply;
use http_tests::world::Tenant;
use serde_json::json;

pub async fn send(tenant: &Tenant, delta_milli: i64, name: &str) -> Result<Reply, reqwest::Error> {
    let body = json!({"email": tenant.email, "delta": credits(delta_milli), "reason": name});
    let call = tenant.client.post("/api/credits/adjust").admin().idempotency_key(name);
    call.json(&body).try_send().await
}

pub async fn attempt(tenant: &Tenant, delta_milli: i64, name: &str) -> Heard {
    Heard::in_time(async { heard(send(tenant, delta_milli, name).await) }).await
}

pub fn heard(sent: Result<Reply, reqwest::Error>) -> Heard {
    Heard::of_json(sent, |reply| Ok(Receipt::Adjusted(reply.json())))
}
