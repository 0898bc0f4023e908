//! The hold's row: who owns it, what is still set aside, how it ended.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Account;
use super::account::broken;
use super::grant::{Part, total};
use crate::rate::Weight;
use crate::shared::{Cursor, Micro, Refusal, TenantId};
use crate::sql::{Sql, SqlError, row};

/// Open holds of one tenant's requests: at 60 s of work each, more than a tenant's share of one actor can use. Those of
/// its jobs are limited by the number of its jobs.
pub const HOLDS_OPEN_MAX: u32 = 1_000;
/// How long an ended hold is remembered: far beyond any retry of its settle. Ten minutes.
pub const HOLD_HISTORY_MS: i64 = 600_000;
/// How long an expired hold is listed, so that somebody can look into it. Seven days.
pub const EXPIRED_HISTORY_MS: i64 = 604_800_000;

/// Who owns a hold, and as what it was admitted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub route: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The API key that asked, by its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<String>,
    /// Models that may answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// What it counts in the budgets, as estimated; with what was set aside for it since.
    #[serde(default)]
    pub weight: Weight,
    /// The idempotency key of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// The job whose hold it is, by its id. Its work is not in flight while the job waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
}

/// How a hold ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldEnd {
    Settled,
    Released,
    Expired,
}

impl HoldEnd {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Released => "released",
            Self::Expired => "expired",
        }
    }
}

/// The end of a hold, the first time and at every repetition the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedHold {
    pub end: HoldEnd,
    /// All that was charged, partial settles included.
    pub charged: Micro,
    pub shortfall: Micro,
    /// Available balance now.
    pub available: Micro,
    /// This call ended it; false when it had ended before.
    pub first: bool,
}

/// What a command did to a hold, for those who count: caps and meters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldChange {
    pub id: String,
    pub owner: Owner,
    pub created_at_ms: i64,
    /// What is no longer set aside; below zero when more was set aside.
    pub unheld: Micro,
    /// What this command charged.
    pub charged: Micro,
    /// All that was charged of the hold.
    pub charged_total: Micro,
    /// Tokens of the work so far, as it was last reported before the end.
    pub tokens: i64,
    /// Set when the hold ended.
    pub end: Option<HoldEnd>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedHold {
    pub id: String,
    pub state: String,
    pub amount_micro: Micro,
    pub charged_micro: Micro,
    /// What the house paid, when it expired before its work was done.
    pub shortfall_micro: Micro,
    pub owner: Owner,
    pub created_at_ms: i64,
    pub deadline_ms: i64,
    pub ended_at_ms: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldPage {
    pub items: Vec<ListedHold>,
    pub open: u32,
    pub next_cursor: Option<String>,
}

/// The row as rules read it, its fields in the order of [`READ`].
#[derive(Debug, Deserialize)]
pub(super) struct HoldRow {
    pub state: String,
    pub amount_micro: Micro,
    pub charged_micro: Micro,
    pub shortfall_micro: Micro,
    pub parts: Vec<Part>,
    pub owner: Owner,
    pub usage: Option<Box<RawValue>>,
    pub created_at_ms: i64,
    pub deadline_ms: i64,
}

/// Numbers, a word, and JSON as we wrote it: what most commands read, so the database need not parse it first.
const READ: &str =
    "SELECT concat('[\"', state, '\",', amount_micro, ',', charged_micro, ',', shortfall_micro, ',',
  parts, ',', owner, ',', COALESCE(usage, 'null'), ',', created_at_ms, ',', deadline_ms, ']')
FROM holds WHERE id = ?1";

pub(super) const ROW: &str = "json_object('id', id, 'state', state, 'amount_micro', amount_micro,
  'charged_micro', charged_micro, 'shortfall_micro', shortfall_micro, 'parts', json(parts),
  'owner', json(owner), 'usage', json(usage), 'created_at_ms', created_at_ms, 'deadline_ms', deadline_ms,
  'ended_at_ms', ended_at_ms)";

impl HoldRow {
    pub fn is_open(&self) -> bool {
        self.state == "open"
    }

    pub fn ended(&self, account: &Account) -> EndedHold {
        EndedHold {
            end: match self.state.as_str() {
                "settled" => HoldEnd::Settled,
                "expired" => HoldEnd::Expired,
                _ => HoldEnd::Released,
            },
            charged: self.charged_micro,
            shortfall: self.shortfall_micro,
            available: account.available,
            first: false,
        }
    }
}

/// # Errors
/// `UnknownHold`.
pub(super) fn load(sql: &mut impl Sql, id: &str) -> Result<HoldRow, Refusal> {
    row(sql, READ, &[id.into()])?.ok_or(Refusal::UnknownHold)
}

/// Writes a new open hold.
///
/// # Errors
/// `DuplicateOperation` when there is one of that id.
pub(super) fn insert(
    sql: &mut impl Sql,
    id: &str,
    amount: Micro,
    parts: &[Part],
    owner: &Owner,
    deadline_ms: i64,
    now_ms: i64,
) -> Result<(), Refusal> {
    let made = sql.execute(
        "INSERT INTO holds (id, state, amount_micro, parts, owner, api_key, created_at_ms, deadline_ms)
         VALUES (?1, 'open', ?2, ?3, ?4, ?5, ?6, ?7)",
        &[
            id.into(),
            amount.0.into(),
            json(&parts)?.into(),
            json(owner)?.into(),
            owner.api_key.as_deref().filter(|_| owner.job.is_none()).into(),
            now_ms.into(),
            deadline_ms.into(),
        ],
    );
    made.map_err(|error| match error {
        SqlError::Taken(_) => Refusal::DuplicateOperation,
        other => other.into(),
    })
}

/// Writes what a command did to an open hold that stays open.
pub(super) fn update(sql: &mut impl Sql, id: &str, hold: &HoldRow, parts: &[Part]) -> Result<(), Refusal> {
    sql.execute(
        "UPDATE holds SET amount_micro = ?2, charged_micro = ?3, parts = ?4, usage = ?5, deadline_ms = ?6,
           owner = ?7 WHERE id = ?1",
        &[
            id.into(),
            hold.amount_micro.0.into(),
            hold.charged_micro.0.into(),
            json(&parts)?.into(),
            hold.usage.as_ref().map(|usage| usage.get()).into(),
            hold.deadline_ms.into(),
            json(&hold.owner)?.into(),
        ],
    )?;
    Ok(())
}

/// Marks an open hold as ended; nothing is set aside for it any more.
pub(super) fn mark(
    sql: &mut impl Sql,
    id: &str,
    end: HoldEnd,
    charged: Micro,
    shortfall: Micro,
    now_ms: i64,
) -> Result<(), Refusal> {
    let history_ms = if end == HoldEnd::Expired { EXPIRED_HISTORY_MS } else { HOLD_HISTORY_MS };
    sql.execute(
        "UPDATE holds SET state = ?2, charged_micro = ?3, shortfall_micro = ?4, ended_at_ms = ?5,
           forget_at_ms = ?6, parts = '[]' WHERE id = ?1",
        &[
            id.into(),
            end.name().into(),
            charged.0.into(),
            shortfall.0.into(),
            now_ms.into(),
            now_ms.saturating_add(history_ms).into(),
        ],
    )?;
    Ok(())
}

pub(super) fn json(value: &impl Serialize) -> Result<String, Refusal> {
    serde_json::to_string(value).map_err(|error| broken(&error.to_string()))
}

/// Which holds are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldState {
    Open,
    /// Those nobody settled or released, for [`EXPIRED_HISTORY_MS`].
    Expired,
}

/// Cursors of one list are none of the other: they are ordered by other times.
const fn list_name(state: HoldState) -> &'static str {
    match state {
        HoldState::Open => "holds-open",
        HoldState::Expired => "holds-expired",
    }
}

/// Open holds, the one that expires first leading; or expired ones, the last leading. `limit` at most.
///
/// # Errors
/// `InvalidCursor`, or what the database refused.
pub fn list(
    sql: &mut impl Sql,
    tenant: &TenantId,
    state: HoldState,
    limit: u32,
    cursor: Option<&str>,
) -> Result<HoldPage, Refusal> {
    // Deadlines may be alike, so a cursor counts those of the last one that were given out already.
    let from = cursor.map(|raw| Cursor::decode(raw, list_name(state), tenant)).transpose()?;
    let (condition, order) = match state {
        HoldState::Open => ("state = 'open' AND deadline_ms >= ?1", "deadline_ms, id"),
        HoldState::Expired => ("state = 'expired' AND deadline_ms <= ?1", "deadline_ms DESC, id"),
    };
    let statement = format!(
        "SELECT json_group_array({ROW})
         FROM (SELECT * FROM holds WHERE {condition} ORDER BY {order} LIMIT ?2 OFFSET ?3)"
    );
    let start_ms = match state {
        HoldState::Open => 0,
        HoldState::Expired => Cursor::NEWEST.at_ms,
    };
    let (at_ms, skip) = from.map_or((start_ms, 0), |from| (from.at_ms, from.seq));
    let args = [at_ms.into(), i64::from(limit).into(), skip.into()];
    let items: Vec<ListedHold> = row(sql, &statement, &args)?.unwrap_or_default();
    let full = items.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next_cursor = items.last().filter(|_| full).map(|last| {
        let alike = items.iter().filter(|hold| hold.deadline_ms == last.deadline_ms).count();
        let before = if last.deadline_ms == at_ms { skip } else { 0 };
        let seq = i64::try_from(alike).unwrap_or(i64::MAX).saturating_add(before);
        Cursor { at_ms: last.deadline_ms, seq }.encode(list_name(state), tenant)
    });
    let open = Account::load(sql)?.holds_open;
    Ok(HoldPage { items, open, next_cursor })
}

/// Whether the hold is still open; false when it ended or is not known.
///
/// # Errors
/// What the database refused.
pub fn is_open(sql: &mut impl Sql, id: &str) -> Result<bool, Refusal> {
    let open = sql.text("SELECT 1 FROM holds WHERE id = ?1 AND state = 'open'", &[id.into()])?;
    Ok(open.is_some())
}

/// Open holds of one API key, but for those of jobs.
///
/// # Errors
/// What the database refused.
pub fn open_of_key(sql: &mut impl Sql, key: &str) -> Result<i64, Refusal> {
    let count: Option<i64> =
        row(sql, "SELECT COUNT(*) FROM holds WHERE state = 'open' AND api_key = ?1", &[key.into()])?;
    Ok(count.unwrap_or(0))
}

/// An open hold, as caps count it, its fields in the order of the query.
#[derive(Debug, Deserialize)]
pub struct OpenAmounts {
    pub owner: Owner,
    parts: Vec<Part>,
    /// What partial settles charged, and for which model: its usage event is yet to come.
    pub charged: Micro,
    pub model: Option<String>,
    pub created_at_ms: i64,
}

impl OpenAmounts {
    /// What is set aside.
    ///
    /// # Errors
    /// `Broken` beyond the bounds of money.
    pub fn held(&self) -> Result<Micro, Refusal> {
        total(&self.parts)
    }
}

/// All open holds, as caps count them.
///
/// # Errors
/// What the database refused.
pub fn open_amounts(sql: &mut impl Sql) -> Result<Vec<OpenAmounts>, Refusal> {
    all_open(
        sql,
        "concat('[', owner, ',', parts, ',', charged_micro, ',', json_quote(usage ->> '$.model'), ',',
           created_at_ms, ']')",
    )
}

/// Open holds that one cell of a query has: a cell holds 2 MB, and a hold is seldom more than a kilobyte.
const PAGE_ROWS: usize = 500;

/// What `columns` make of every open hold, in pages: there may be as many as jobs.
pub(super) fn all_open<T: DeserializeOwned>(sql: &mut impl Sql, columns: &str) -> Result<Vec<T>, Refusal> {
    let statement = format!(
        "SELECT concat('[', group_concat(concat('[', json_quote(id), ',', {columns}, ']')), ']')
         FROM (SELECT * FROM holds WHERE state = 'open' AND id > ?1 ORDER BY id LIMIT {PAGE_ROWS})"
    );
    let (mut all, mut last) = (Vec::new(), String::new());
    loop {
        let page: Vec<(String, T)> = row(sql, &statement, &[last.as_str().into()])?.unwrap_or_default();
        let full = page.len() >= PAGE_ROWS;
        for (id, read) in page {
            all.push(read);
            last = id;
        }
        if !full {
            return Ok(all);
        }
    }
}
