//! Notices: what the owner of a tenant is told, kept as a log, and delivered to a webhook when there is one.
//!
//! Owns: the log, the schedule of attempts. Never does: the call itself, which the shell makes between two
//! transactions. A delivery happens at least once; its id stays the same, so that a receiver can tell.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::credits::LAST_WRITTEN;
use crate::planted::{self, Bug};
use crate::shared::{Cursor, Micro, Refusal, TenantId};
use crate::sql::{Sql, row};

pub const SCHEMA: &str = include_str!("schema.sql");

/// Attempts to deliver one notice. With the waits below they span about a day.
pub const ATTEMPTS_MAX: u32 = 15;
/// Deliveries under way at one time: below the six connections an invocation may have open.
pub const DELIVERIES_MAX: u32 = 4;
/// How long an attempt may take before another is made; the shell gives up well before.
pub const LEASE_MS: i64 = 60_000;
/// Waits after a failed attempt: doubled each time, from ten seconds to six hours.
const WAIT_FIRST_MS: i64 = 10_000;
const WAIT_MAX_MS: i64 = 21_600_000;
/// How long notices are kept: 30 days.
pub const HISTORY_MS: i64 = 2_592_000_000;
/// Rows one alarm forgets.
const SWEEP_ROWS_MAX: i64 = 500;

/// What a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoticeKind {
    /// The balance fell below its threshold.
    #[serde(rename = "balance.low")]
    BalanceLow,
    /// The owner's billing is asked to top up. Nothing is charged here. Asked again while the balance stays low.
    #[serde(rename = "top_up.requested")]
    TopUpRequested,
    /// What a cap counted as spent came to its soft limit, and requests go on.
    #[serde(rename = "cap.soft")]
    CapSoft,
    /// A cap is used up: it refused for the first time in its period, or a charge came to its limit.
    #[serde(rename = "cap.reached")]
    CapReached,
}

impl NoticeKind {
    const fn name(self) -> &'static str {
        match self {
            Self::BalanceLow => "balance.low",
            Self::TopUpRequested => "top_up.requested",
            Self::CapSoft => "cap.soft",
            Self::CapReached => "cap.reached",
        }
    }
}

/// Where notices go: an address of the owner, and the secret that signs them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    pub url: String,
    pub secret: String,
}

/// One attempt that the shell is to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    pub seq: i64,
    /// The same for every attempt.
    pub id: String,
    pub url: String,
    pub secret: String,
    pub body: String,
    pub attempt: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Notice {
    pub seq: i64,
    pub at_ms: i64,
    pub kind: NoticeKind,
    pub body: Box<RawValue>,
    pub state: String,
    pub attempts: u32,
    pub next_at_ms: Option<i64>,
    pub delivered_at_ms: Option<i64>,
    pub last_outcome: Option<String>,
    /// The attempts that were reported, in the order of their reports.
    pub attempt_log: Vec<Attempt>,
}

/// How one attempt to deliver a notice ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub attempt: u32,
    pub at_ms: i64,
    /// A status code, or a word of ours.
    pub outcome: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NoticePage {
    pub items: Vec<Notice>,
    pub next_cursor: Option<String>,
}

/// Records a notice, to be delivered when there is a webhook. Every amount that `body` has in micro-credits
/// (`balance_micro`) is told in credits too (`balance`), as everywhere else.
///
/// # Errors
/// What the database refused.
pub fn record(
    sql: &mut impl Sql,
    kind: NoticeKind,
    body: &Value,
    deliver: bool,
    now_ms: i64,
) -> Result<(), Refusal> {
    let (state, next_at_ms) = if deliver { ("pending", Some(now_ms)) } else { ("recorded", None) };
    sql.execute(
        &format!(
            "INSERT INTO notices (at_ms, kind, body, state, next_at_ms, after_seq)
             VALUES (?1, ?2, ?3, ?4, ?5, {LAST_WRITTEN})"
        ),
        &[
            now_ms.into(),
            kind.name().into(),
            with_credits(body).to_string().into(),
            state.into(),
            next_at_ms.into(),
        ],
    )?;
    Ok(())
}

fn with_credits(body: &Value) -> Value {
    let mut told = body.clone();
    if let (Some(members), Some(told)) = (body.as_object(), told.as_object_mut()) {
        for (name, amount) in members {
            if let (Some(name), Some(micro)) = (name.strip_suffix("_micro"), amount.as_i64()) {
                told.insert(name.to_owned(), Value::from(Micro(micro).credits()));
            }
        }
    }
    told
}

#[derive(Deserialize)]
struct DueRow {
    seq: i64,
    at_ms: i64,
    kind: NoticeKind,
    body: Box<RawValue>,
    attempts: u32,
}

/// The body that is signed and sent. One receiver may serve many tenants, so it says whose notice this is: the address,
/// or a guest's subject, as replies have it.
#[derive(Serialize)]
struct Envelope<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: NoticeKind,
    email: &'a str,
    timestamp_ms: i64,
    data: &'a RawValue,
}

/// Takes what is due for delivery, [`DELIVERIES_MAX`] at most. Each is leased: when nothing is heard of an
/// attempt, the next one is made after [`LEASE_MS`]. Without a webhook what waits is left as recorded.
///
/// # Errors
/// What the database refused.
pub fn take_due(
    sql: &mut impl Sql,
    tenant: &TenantId,
    webhook: Option<&Webhook>,
    now_ms: i64,
) -> Result<Vec<Delivery>, Refusal> {
    let Some(webhook) = webhook else {
        sql.execute("UPDATE notices SET state = 'recorded', next_at_ms = NULL WHERE state = 'pending'", &[])?;
        return Ok(Vec::new());
    };
    // Attempts that nobody reports are attempts all the same.
    sql.execute(
        "UPDATE notices SET state = 'failed', next_at_ms = NULL
         WHERE state = 'pending' AND next_at_ms <= ?1 AND attempts >= ?2",
        &[now_ms.into(), i64::from(ATTEMPTS_MAX).into()],
    )?;
    let due: Vec<DueRow> = row(
        sql,
        "SELECT json_group_array(json_object('seq', seq, 'at_ms', at_ms, 'kind', kind, 'body', json(body),
           'attempts', attempts))
         FROM (SELECT * FROM notices WHERE state = 'pending' AND next_at_ms <= ?1
               ORDER BY next_at_ms, seq LIMIT ?2)",
        &[now_ms.into(), i64::from(DELIVERIES_MAX).into()],
    )?
    .unwrap_or_default();
    let name = tenant.actor_name("notice");
    let short = name.get(name.len().saturating_sub(16)..).unwrap_or_default();
    let mut deliveries = Vec::with_capacity(due.len());
    for notice in due {
        let attempt = notice.attempts.saturating_add(1);
        sql.execute(
            "UPDATE notices SET attempts = ?2, next_at_ms = ?3 WHERE seq = ?1",
            &[notice.seq.into(), i64::from(attempt).into(), now_ms.saturating_add(LEASE_MS).into()],
        )?;
        let id = format!("msg_{short}_{}", notice.seq);
        let envelope = Envelope {
            id: &id,
            kind: notice.kind,
            email: tenant.label(),
            timestamp_ms: notice.at_ms,
            data: &notice.body,
        };
        let body = serde_json::to_string(&envelope)
            .map_err(|error| Refusal::Storage { detail: format!("notice: {error}") })?;
        let (url, secret) = (webhook.url.clone(), webhook.secret.clone());
        deliveries.push(Delivery { seq: notice.seq, id, url, secret, body, attempt });
    }
    Ok(deliveries)
}

/// Notes how an attempt ended. `outcome` is a status code or a word of ours; a late report of an attempt that
/// another one has followed changes nothing but a delivery.
///
/// # Errors
/// What the database refused.
pub fn note_attempt(
    sql: &mut impl Sql,
    seq: i64,
    attempt: u32,
    delivered: bool,
    outcome: &str,
    now_ms: i64,
) -> Result<(), Refusal> {
    if delivered {
        sql.execute(
            "UPDATE notices SET state = 'delivered', next_at_ms = NULL, delivered_at_ms = ?2, last_outcome = ?3,
               attempt_log = json_insert(attempt_log, '$[#]',
                 json_object('attempt', CAST(?4 AS INTEGER), 'at_ms', CAST(?2 AS INTEGER), 'outcome', ?3))
             WHERE seq = ?1 AND state <> 'delivered'",
            &[seq.into(), now_ms.into(), outcome.into(), i64::from(attempt).into()],
        )?;
        return Ok(());
    }
    if planted::on(Bug::DeliveredGoesOutAgain) {
        sql.execute("UPDATE notices SET state = 'pending', next_at_ms = 0 WHERE seq = ?1", &[seq.into()])?;
    }
    let last = attempt >= ATTEMPTS_MAX;
    let state = if last { "failed" } else { "pending" };
    let next_at_ms = (!last).then(|| now_ms.saturating_add(wait_ms(seq, attempt)));
    sql.execute(
        "UPDATE notices SET state = ?3, next_at_ms = ?4, last_outcome = ?5,
           attempt_log = json_insert(attempt_log, '$[#]',
             json_object('attempt', attempts, 'at_ms', CAST(?6 AS INTEGER), 'outcome', ?5))
         WHERE seq = ?1 AND attempts = ?2 AND state = 'pending'",
        &[
            seq.into(),
            i64::from(attempt).into(),
            state.into(),
            next_at_ms.into(),
            outcome.into(),
            now_ms.into(),
        ],
    )?;
    Ok(())
}

/// The wait after a failed attempt, spread by up to a quarter so that many notices do not come back at once.
/// The spread follows from the notice itself: rules draw no random numbers.
fn wait_ms(seq: i64, attempt: u32) -> i64 {
    let doublings = attempt.saturating_sub(1).min(16);
    let wait = WAIT_FIRST_MS.saturating_mul(1_i64 << doublings).min(WAIT_MAX_MS);
    let quarter = wait / 4;
    let mixed = seq.wrapping_mul(2_654_435_761).wrapping_add(i64::from(attempt).wrapping_mul(40_503));
    wait.saturating_add(mixed.rem_euclid(quarter.max(1)))
}

/// When the next attempt is due.
pub const DUE_AT_MS: &str = "SELECT MIN(next_at_ms) FROM notices WHERE state = 'pending'";

/// When the oldest notice was told, which is kept for [`HISTORY_MS`].
pub const OLDEST_AT_MS: &str = "SELECT at_ms FROM notices ORDER BY seq LIMIT 1";

/// Whether there is a notice that is old.
///
/// # Errors
/// What the database refused.
pub fn any_old(sql: &mut impl Sql, now_ms: i64) -> Result<bool, Refusal> {
    let old = sql.text("SELECT 1 FROM notices WHERE at_ms <= ?1 LIMIT 1", &[old_ms(now_ms).into()])?;
    Ok(old.is_some())
}

const fn old_ms(now_ms: i64) -> i64 {
    now_ms.saturating_sub(HISTORY_MS)
}

/// Forgets notices that are old, whatever became of them.
///
/// # Errors
/// What the database refused.
pub fn forget_old(sql: &mut impl Sql, now_ms: i64) -> Result<(), Refusal> {
    sql.execute(
        "DELETE FROM notices WHERE seq IN (SELECT seq FROM notices WHERE at_ms <= ?1 ORDER BY seq LIMIT ?2)",
        &[old_ms(now_ms).into(), SWEEP_ROWS_MAX.into()],
    )?;
    Ok(())
}

/// A notice as it was recorded, whatever comes of its delivery.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Told {
    pub seq: i64,
    pub at_ms: i64,
    pub kind: NoticeKind,
    pub body: Box<RawValue>,
    /// The last entry or usage event that was written before; not known of notices from before this was noted.
    pub after_seq: Option<i64>,
}

/// In SQL, the number of the last notice; null before the first.
pub const LAST_SEQ: &str = "SELECT seq FROM sqlite_sequence WHERE name = 'notices'";

/// The number of the last notice, also when it was forgotten; zero before the first.
///
/// # Errors
/// What the database refused.
pub fn last_seq(sql: &mut impl Sql) -> Result<i64, Refusal> {
    Ok(row(sql, LAST_SEQ, &[])?.unwrap_or(0))
}

/// The number of the oldest notice that is kept; past all numbers when none is.
///
/// # Errors
/// What the database refused.
pub fn first_seq(sql: &mut impl Sql) -> Result<i64, Refusal> {
    Ok(row(sql, "SELECT MIN(seq) FROM notices", &[])?.unwrap_or(i64::MAX))
}

/// All of `after < seq <= upto`, in their order; `None` when some of them were forgotten.
///
/// # Errors
/// What the database refused.
pub fn told(sql: &mut impl Sql, after: i64, upto: i64) -> Result<Option<Vec<Told>>, Refusal> {
    let wanted = usize::try_from(upto.saturating_sub(after)).unwrap_or(0);
    if wanted == 0 {
        return Ok(Some(Vec::new()));
    }
    let found: Vec<Told> = row(
        sql,
        "SELECT json_group_array(json_object('seq', seq, 'at_ms', at_ms, 'kind', kind, 'body', json(body),
           'after_seq', after_seq))
         FROM (SELECT * FROM notices WHERE seq > ?1 AND seq <= ?2 ORDER BY seq)",
        &[after.into(), upto.into()],
    )?
    .unwrap_or_default();
    Ok((found.len() == wanted).then_some(found))
}

const LIST: &str = "notices";

/// Newest first, `limit` at most.
///
/// # Errors
/// `InvalidCursor`, or what the database refused.
pub fn list(
    sql: &mut impl Sql,
    tenant: &TenantId,
    limit: u32,
    cursor: Option<&str>,
) -> Result<NoticePage, Refusal> {
    let from = cursor.map_or(Ok(Cursor::NEWEST), |raw| Cursor::decode(raw, LIST, tenant))?;
    let items: Vec<Notice> = row(
        sql,
        "SELECT json_group_array(json_object('seq', seq, 'at_ms', at_ms, 'kind', kind, 'body', json(body),
           'state', state, 'attempts', attempts, 'next_at_ms', next_at_ms,
           'delivered_at_ms', delivered_at_ms, 'last_outcome', last_outcome, 'attempt_log', json(attempt_log)))
         FROM (SELECT * FROM notices WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2)",
        &[from.seq.into(), i64::from(limit).into()],
    )?
    .unwrap_or_default();
    let full = items.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next_cursor = items
        .last()
        .filter(|_| full)
        .map(|last| Cursor { at_ms: last.at_ms, seq: last.seq }.encode(LIST, tenant));
    Ok(NoticePage { items, next_cursor })
}
