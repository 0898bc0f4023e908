//! An event that a client reports of itself. Its id is the operation's name.

use crate::heard::Heard;
use crate::operation::{Receipt, credits};
use http_tests::client::Reply;
use http_tests::world::Tenant;
use serde_json::{Value, json};

pub async fn attempt(tenant: &Tenant, tokens_in: u64, cost_milli: i64, name: &str) -> Heard {
    let body =
        json!({"id": name, "route": "/crash", "tokens_in": tokens_in, "cost_credits": credits(cost_milli)});
    let sent = tenant.post("/api/usage").json(&body);
    Heard::in_time(async { Heard::of_json(sent.try_send().await, event) }).await
}

fn event(reply: &Reply) -> Result<Receipt, String> {
    match reply.json() {
        Value::Object(body) if body.get("ok") == Some(&Value::Bool(true)) => {
            body.get("event").cloned().map(Receipt::Recorded).ok_or_else(|| "no event".to_owned())
        }
        _ => Err("not ok".to_owned()),
    }
}
