//! What clients are shown of an actor's rows, alike in a reply and in a live event.

use actors::credits::{Entry, Part, UsageEvent};
use actors::shared::TenantId;
use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value, json};

/// RFC 3339 in UTC with milliseconds.
pub fn iso_time(at_ms: i64) -> String {
    DateTime::from_timestamp_millis(at_ms)
        .map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
        .unwrap_or_default()
}

/// Credits are rounded down to thousandths, as everywhere; the micro-credits are what was booked, and what the hash is of.
pub fn entry_object(entry: &Entry) -> Value {
    let books = entry.books;
    let postings = [
        ("owned", books.owned),
        ("issued", books.issued),
        ("charged", books.charged),
        ("expired", books.expired),
    ];
    let touched = postings.into_iter().filter(|(_, amount)| amount.0 != 0);
    let shown: Map<String, Value> =
        touched.clone().map(|(book, amount)| (book.to_owned(), json!(amount.credits()))).collect();
    let exact: Map<String, Value> = touched.map(|(book, amount)| (book.to_owned(), json!(amount))).collect();
    let part = |part: &Part| json!({ "id": part.0, "amount": part.1.credits(), "amount_micro": part.1 });
    let grants: Vec<Value> = entry.grants.iter().map(part).collect();
    json!({
        "seq": entry.seq,
        "created_at": iso_time(entry.at_ms),
        "kind": entry.kind,
        "amount": books.owned.credits(),
        "amount_micro": books.owned,
        "balance": entry.available_micro.credits(),
        "balance_micro": entry.available_micro,
        "held": entry.held_micro.credits(),
        "held_micro": entry.held_micro,
        "shortfall": entry.shortfall_micro.credits(),
        "shortfall_micro": entry.shortfall_micro,
        "operation": entry.operation,
        "reason": entry.reason,
        "reference": entry.reference,
        "postings": shown,
        "postings_micro": exact,
        "grants": grants,
        "terms": entry.terms.map(|terms| json!({
            "kind": terms.kind,
            "priority": terms.priority,
            "expires_at": terms.expires_at_ms.map(iso_time),
        })),
        "hash": entry.hash,
    })
}

/// One event as clients know it; what is absent is left out.
pub fn usage_item(tenant: &TenantId, event: &UsageEvent) -> Value {
    let mut item = Map::new();
    item.insert("id".to_owned(), json!(event.id));
    item.insert("created_at".to_owned(), json!(iso_time(event.created_at_ms)));
    let optional = [
        ("route", event.route.as_ref().map(|route| json!(route))),
        ("tokens_in", event.tokens_in.map(|tokens| json!(tokens))),
        ("tokens_out", event.tokens_out.map(|tokens| json!(tokens))),
        ("cost_credits", event.cost_micro.map(|cost| json!(cost.credits()))),
        ("meta", event.meta.as_ref().and_then(|meta| serde_json::from_str(meta.get()).ok())),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            item.insert(name.to_owned(), value);
        }
    }
    item.insert("email".to_owned(), json!(tenant.label()));
    Value::Object(item)
}
