//! The books of one tenant as the public API shows them. Members and kinds that are not known here may come
//! with time; they are passed over.

use crate::operation::milli;
use serde_json::Value;

/// One entry of the ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub seq: i64,
    pub kind: String,
    pub amount_milli: i64,
    /// Available after the entry.
    pub balance_milli: i64,
    pub held_milli: i64,
    pub shortfall_milli: i64,
    /// For a charge the hold, which is the id of its usage row too.
    pub operation: String,
    pub reason: Option<String>,
}

/// One row of the usage feed.
#[derive(Clone, Debug, PartialEq)]
pub struct UsageRow {
    pub id: String,
    /// `None` for an event that a client reported.
    pub request_id: Option<String>,
    pub cost_milli: i64,
    /// The row as it came.
    pub item: Value,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenHold {
    pub id: String,
    pub amount_milli: i64,
    pub age_ms: i64,
}

/// Everything a tenant can see of itself, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Books {
    /// Oldest first.
    pub entries: Vec<Entry>,
    /// Newest first, as the feed is.
    pub usage: Vec<UsageRow>,
    pub balance_milli: i64,
    pub holds: Vec<OpenHold>,
}

impl Entry {
    pub fn parse(item: &Value) -> Self {
        Self {
            seq: item.get("seq").and_then(Value::as_i64).unwrap_or_else(|| panic!("no seq in {item}")),
            kind: text(item, "kind"),
            amount_milli: item.get("amount").and_then(Value::as_f64).map_or(0, milli),
            balance_milli: amount(item, "balance"),
            held_milli: amount(item, "held"),
            shortfall_milli: item.get("shortfall").and_then(Value::as_f64).map_or(0, milli),
            operation: item.get("operation").and_then(Value::as_str).unwrap_or_default().to_owned(),
            reason: item.get("reason").and_then(Value::as_str).map(str::to_owned),
        }
    }

    /// What the tenant owns after the entry, held or not.
    pub fn owned_milli(&self) -> i64 {
        self.balance_milli + self.held_milli
    }
}

impl UsageRow {
    pub fn parse(item: &Value) -> Self {
        let meta = |member: &str| item.pointer(&format!("/meta/{member}")).and_then(Value::as_str);
        let of_client = meta("basis") == Some("client");
        Self {
            id: text(item, "id"),
            request_id: meta("request_id").filter(|_| !of_client).map(str::to_owned),
            cost_milli: item.get("cost_credits").and_then(Value::as_f64).map_or(0, milli),
            item: item.clone(),
        }
    }
}

impl OpenHold {
    pub fn parse(item: &Value) -> Self {
        Self {
            id: text(item, "id"),
            amount_milli: amount(item, "amount"),
            age_ms: item.get("age_ms").and_then(Value::as_i64).unwrap_or_default(),
        }
    }
}

fn text(item: &Value, member: &str) -> String {
    let text = item.get(member).and_then(Value::as_str);
    text.unwrap_or_else(|| panic!("no text {member} in {item}")).to_owned()
}

fn amount(item: &Value, member: &str) -> i64 {
    let amount = item.get(member).and_then(Value::as_f64);
    milli(amount.unwrap_or_else(|| panic!("no number {member} in {item}")))
}
