//! Usage events: what was used, when, by which route, and on what basis it was counted.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Account;
use crate::planted::{self, Bug};
use crate::shared::{Cursor, Micro, Refusal, TenantId};
use crate::sql::{Sql, row};

/// What an event records, besides its id, its time and its cost.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Usage {
    pub route: Option<String>,
    pub tokens_in: Option<i64>,
    pub tokens_out: Option<i64>,
    /// The model whose price was charged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// A JSON object: provider, model, basis, outcome, request id.
    pub meta: Option<Box<RawValue>>,
}

impl Usage {
    /// Tokens in and out.
    #[must_use]
    pub fn tokens(&self) -> i64 {
        self.tokens_in.unwrap_or(0).saturating_add(self.tokens_out.unwrap_or(0))
    }

    /// What was used beyond what was `reported` before.
    pub(super) fn beyond(&self, reported: &Self) -> Self {
        let rest = |all: Option<i64>, known: Option<i64>| {
            let known = if planted::on(Bug::LateTokensTwice) { 0 } else { known.unwrap_or(0) };
            all.map(|all| all.saturating_sub(known).max(0))
        };
        Self {
            tokens_in: rest(self.tokens_in, reported.tokens_in),
            tokens_out: rest(self.tokens_out, reported.tokens_out),
            ..self.clone()
        }
    }
}

/// One row of the feed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UsageEvent {
    pub id: String,
    pub created_at_ms: i64,
    pub seq: i64,
    pub route: Option<String>,
    pub tokens_in: Option<i64>,
    pub tokens_out: Option<i64>,
    pub cost_micro: Option<Micro>,
    pub meta: Option<Box<RawValue>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UsagePage {
    pub items: Vec<UsageEvent>,
    pub next_cursor: Option<String>,
}

/// Which part of the feed is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageFilter {
    /// 1 to 100; the caller clamps.
    pub limit: u32,
    pub cursor: Option<String>,
    /// Only events created at or after this.
    pub since_ms: Option<i64>,
}

/// Writes an event in the transaction of its charge; `account` gives the sequence number and is stored by
/// the caller.
pub(super) fn record(
    sql: &mut impl Sql,
    account: &mut Account,
    id: &str,
    (usage, api_key): (&Usage, Option<&str>),
    cost: Micro,
    created_at_ms: i64,
) -> Result<(), Refusal> {
    let seq = account.take_seq();
    insert(sql, (id, created_at_ms, seq), usage, Some(cost), api_key, false)
}

pub(super) fn to_raw(usage: &Usage) -> Result<Box<RawValue>, Refusal> {
    serde_json::value::to_raw_value(usage).map_err(|error| super::account::broken(&error.to_string()))
}

pub(super) fn from_raw(raw: &RawValue) -> Result<Usage, Refusal> {
    serde_json::from_str(raw.get())
        .map_err(|error| Refusal::Storage { detail: format!("stored usage has another shape: {error}") })
}

/// Records an event that a client reports. It debits nothing. The same `id` twice is one event: the first.
///
/// # Errors
/// What the database refused.
pub fn record_client(
    sql: &mut impl Sql,
    id: &str,
    usage: &Usage,
    cost: Option<Micro>,
    created_at_ms: i64,
) -> Result<UsageEvent, Refusal> {
    let known: Option<(i64, i64)> =
        row(sql, "SELECT json_array(created_at_ms, seq) FROM usage_client_ids WHERE id = ?1", &[id.into()])?;
    let (at_ms, seq) = match known {
        Some(found) => found,
        None => {
            let mut account = Account::load(sql)?;
            let seq = account.take_seq();
            insert(sql, (id, created_at_ms, seq), usage, cost, None, true)?;
            sql.execute(
                "INSERT INTO usage_client_ids VALUES (?1, ?2, ?3)",
                &[id.into(), created_at_ms.into(), seq.into()],
            )?;
            account.store(sql)?;
            (created_at_ms, seq)
        }
    };
    let statement = format!("SELECT {EVENT} FROM usage_events WHERE created_at_ms = ?1 AND seq = ?2");
    row(sql, &statement, &[at_ms.into(), seq.into()])?
        .ok_or_else(|| super::account::broken("a known usage id has no event"))
}

pub(super) const EVENT: &str =
    "json_object('id', id, 'created_at_ms', created_at_ms, 'seq', seq, 'route', route,
  'tokens_in', tokens_in, 'tokens_out', tokens_out, 'cost_micro', cost_micro, 'meta', json(meta))";

const LIST: &str = "usage";

/// Newest first.
///
/// # Errors
/// `InvalidCursor`, or what the database refused.
pub fn list(sql: &mut impl Sql, tenant: &TenantId, filter: &UsageFilter) -> Result<UsagePage, Refusal> {
    let from = match filter.cursor.as_deref() {
        Some(raw) => Cursor::decode(raw, LIST, tenant)?,
        None => Cursor::NEWEST,
    };
    let statement = format!(
        "SELECT json_group_array({EVENT}) FROM (SELECT * FROM usage_events
           WHERE (created_at_ms, seq) < (?1, ?2) AND created_at_ms >= ?3
           ORDER BY created_at_ms DESC, seq DESC LIMIT ?4)"
    );
    let args = [
        from.at_ms.into(),
        from.seq.into(),
        filter.since_ms.unwrap_or(0).into(),
        i64::from(filter.limit).into(),
    ];
    let items: Vec<UsageEvent> = row(sql, &statement, &args)?.unwrap_or_default();
    let full = items.len() >= usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let next_cursor = items.last().filter(|_| full).map(|last| {
        let at = Cursor { at_ms: last.created_at_ms, seq: last.seq };
        at.encode(LIST, tenant)
    });
    Ok(UsagePage { items, next_cursor })
}

fn insert(
    sql: &mut impl Sql,
    (id, created_at_ms, seq): (&str, i64, i64),
    usage: &Usage,
    cost: Option<Micro>,
    api_key: Option<&str>,
    by_client: bool,
) -> Result<(), Refusal> {
    sql.execute(
        "INSERT INTO usage_events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        &[
            created_at_ms.into(),
            seq.into(),
            id.into(),
            usage.route.as_deref().into(),
            usage.tokens_in.into(),
            usage.tokens_out.into(),
            cost.map(|c| c.0).into(),
            usage.model.as_deref().into(),
            api_key.into(),
            i64::from(by_client).into(),
            usage.meta.as_ref().map(|meta| meta.get()).into(),
        ],
    )?;
    Ok(())
}

/// What the usage events since `since_ms` cost, of a key and a model where they are given. What an open hold was
/// charged so far has no event yet.
///
/// # Errors
/// What the database refused.
pub fn spent_since(
    sql: &mut impl Sql,
    since_ms: i64,
    api_key: Option<&str>,
    model: Option<&str>,
) -> Result<Micro, Refusal> {
    let spent: Option<i64> = row(
        sql,
        "SELECT COALESCE(SUM(cost_micro), 0) FROM usage_events WHERE created_at_ms >= ?1 AND by_client = 0
           AND (?2 IS NULL OR api_key = ?2) AND (?3 IS NULL OR model = ?3)",
        &[since_ms.into(), api_key.into(), model.into()],
    )?;
    Ok(Micro(spent.unwrap_or(0)))
}
