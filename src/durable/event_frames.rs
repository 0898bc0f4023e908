//! Live events as a socket sends them: one JSON object a message, `{id, type, at, data}`.

use actors::credits::Account;
use actors::events::{
    ACK_WAIT_MS_MAX, Event, IDLE_MS_MAX, Listener, Position, REPLAY_EVENTS_MAX, UNACKNOWLEDGED_EVENTS_MAX,
    What,
};
use actors::jobs::JobEvent;
use actors::shared::TenantId;
use actors::tenant::Opened;
use serde_json::{Map, Value, json};

use crate::shown::{entry_object, iso_time, usage_item};

/// How often a client is asked to send `ping`: several times before it is taken for gone.
const PING_MS: i64 = 60_000;

/// The first message: where the tenant stands, and from which place on it will be told more.
pub(super) fn hello(opened: &Opened, now_ms: i64) -> String {
    let Opened { tenant, listener, account, begins } = opened;
    let mut data = snapshot(tenant, account);
    for (name, value) in [
        ("begins", json!(begins)),
        ("ping_ms", json!(PING_MS)),
        ("idle_ms", json!(IDLE_MS_MAX)),
        ("unacknowledged_max", json!(UNACKNOWLEDGED_EVENTS_MAX)),
        ("ack_wait_ms", json!(ACK_WAIT_MS_MAX)),
        ("ends_at", json!(iso_time(listener.ends_at_ms))),
    ] {
        data.insert(name.to_owned(), value);
    }
    frame(tenant, listener.position, "hello", now_ms, &Value::Object(data))
}

/// What came in between can no longer be told: the tenant as it is now, and the place from which on it can.
pub(super) fn window_passed(
    tenant: &TenantId,
    account: &Account,
    listener: &Listener,
    now_ms: i64,
) -> String {
    let mut data = snapshot(tenant, account);
    data.insert("replay_events_max".to_owned(), json!(REPLAY_EVENTS_MAX));
    frame(tenant, listener.position, "window_passed", now_ms, &Value::Object(data))
}

/// One event.
pub(super) fn event(tenant: &TenantId, event: &Event) -> String {
    let (kind, data) = match &event.what {
        What::Balance(entry) => ("balance", entry_object(entry)),
        What::Usage(usage) => ("usage", usage_item(tenant, usage)),
        What::Notice(notice) => {
            ("notice", json!({ "seq": notice.seq, "type": notice.kind, "data": notice.body }))
        }
        What::Job(job) => ("job", job_data(job)),
    };
    frame(tenant, event.position, kind, event.at_ms, &data)
}

/// With its time as clients have times.
fn job_data(event: &JobEvent) -> Value {
    let mut data = json!(event.body);
    if let Some(members) = data.as_object_mut() {
        members.remove("run_at_ms");
        if let Some(at_ms) = event.body.run_at_ms {
            members.insert("run_at".to_owned(), json!(iso_time(at_ms)));
        }
    }
    data
}

/// What a client is told whose message is none.
pub(super) fn unknown_message() -> String {
    let message = "send `ping`, or {\"type\":\"ack\",\"id\":…} with the id of an event that came";
    json!({ "type": "error", "error": "unknown_message", "message": message }).to_string()
}

fn snapshot(tenant: &TenantId, account: &Account) -> Map<String, Value> {
    let mut data = Map::new();
    for (name, value) in [
        ("email", json!(tenant.label())),
        ("balance", json!(account.available.credits())),
        ("balance_micro", json!(account.available)),
        ("held", json!(account.held.credits())),
        ("held_micro", json!(account.held)),
        ("updated_at", json!(iso_time(account.updated_at_ms))),
    ] {
        data.insert(name.to_owned(), value);
    }
    data
}

fn frame(tenant: &TenantId, position: Position, kind: &str, at_ms: i64, data: &Value) -> String {
    json!({ "id": position.encode(tenant), "type": kind, "at": iso_time(at_ms), "data": data }).to_string()
}
