//! Lists of jobs, the dead-letter list among them, and what there is of each kind.

use serde::{Deserialize, Serialize};

use super::job::{Job, ROW, exists};
use super::rates::{Rates, no_rates, rates};
use super::state::{State, Status};
use crate::shared::{Cursor, Refusal, TenantId};
use crate::sql::{Sql, row};

/// Which jobs are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFilter {
    /// 1 to 100; the caller clamps.
    pub limit: u32,
    pub cursor: Option<String>,
    #[serde(default)]
    pub status: Option<Status>,
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobPage {
    pub items: Vec<Job>,
    pub next_cursor: Option<String>,
}

/// What there is of one type in one status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeStats {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: Status,
    pub count: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStats {
    /// Jobs that wait to run and whose time has come; those that wait for their time; those that run.
    pub depth: u32,
    pub delayed: u32,
    pub running: u32,
    /// How long the oldest of those in `depth` has waited since its time came.
    pub oldest_ms: Option<i64>,
    /// Jobs that are kept, by type and status.
    pub by_type: Vec<TypeStats>,
    /// What happened in the last minutes, by type.
    #[serde(default = "no_rates")]
    pub rates: Vec<Rates>,
}

impl Default for JobStats {
    /// Of a tenant without jobs.
    fn default() -> Self {
        let by_type = Vec::new();
        Self { depth: 0, delayed: 0, running: 0, oldest_ms: None, by_type, rates: no_rates() }
    }
}

const LIST: &str = "jobs";
const DEAD: &str = "jobs-dead";
const REDRIVE: &str = "jobs-redrive";

/// Newest first.
///
/// # Errors
/// `InvalidCursor`, or what the database refused.
pub fn list(sql: &mut impl Sql, tenant: &TenantId, filter: &JobFilter) -> Result<JobPage, Refusal> {
    let from =
        filter.cursor.as_deref().map_or(Ok(Cursor::NEWEST), |raw| Cursor::decode(raw, LIST, tenant))?;
    if !exists(sql)? {
        return Ok(JobPage { items: Vec::new(), next_cursor: None });
    }
    let states: Option<Vec<&str>> =
        filter.status.map(|status| status.states().map(State::name).collect::<Vec<_>>());
    let states = states.map(|names| super::job::json(&names)).transpose()?;
    let statement = format!(
        "SELECT json_group_array({ROW}) FROM (SELECT * FROM jobs WHERE seq < ?1
           AND (?2 IS NULL OR state IN (SELECT value FROM json_each(?2))) AND (?3 IS NULL OR type = ?3)
           ORDER BY seq DESC LIMIT ?4)"
    );
    let args =
        [from.seq.into(), states.into(), filter.kind.as_deref().into(), i64::from(filter.limit).into()];
    let items: Vec<Job> = row(sql, &statement, &args)?.unwrap_or_default();
    let next_cursor = next(&items, filter.limit)
        .map(|last| Cursor { at_ms: last.created_at_ms, seq: last.seq }.encode(LIST, tenant));
    Ok(JobPage { items, next_cursor })
}

fn next(items: &[Job], limit: u32) -> Option<&Job> {
    let full = items.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    items.last().filter(|_| full)
}

/// Jobs that failed, the last one first: in the order in which they are forgotten.
///
/// # Errors
/// `InvalidCursor`, or what the database refused.
pub fn dead_letters(
    sql: &mut impl Sql,
    tenant: &TenantId,
    limit: u32,
    cursor: Option<&str>,
) -> Result<JobPage, Refusal> {
    let from = cursor.map_or(Ok(Cursor::NEWEST), |raw| Cursor::decode(raw, DEAD, tenant))?;
    if !exists(sql)? {
        return Ok(JobPage { items: Vec::new(), next_cursor: None });
    }
    let statement = format!(
        "SELECT json_group_array({ROW}) FROM (SELECT * FROM jobs
           WHERE due_at_ms IS NOT NULL AND (due_at_ms, seq) < (?1, ?2) AND state = 'failed'
           ORDER BY due_at_ms DESC, seq DESC LIMIT ?3)"
    );
    let args = [from.at_ms.into(), from.seq.into(), i64::from(limit).into()];
    let items: Vec<Job> = row(sql, &statement, &args)?.unwrap_or_default();
    let next_cursor = next(&items, limit).map(|last| {
        let at_ms = last.due_at_ms.unwrap_or(0);
        Cursor { at_ms, seq: last.seq }.encode(DEAD, tenant)
    });
    Ok(JobPage { items, next_cursor })
}

/// Ids of jobs in the dead-letter list, the oldest first, and where to go on behind them when there are more.
///
/// # Errors
/// `InvalidCursor`, or what the database refused.
pub fn failed_ids(
    sql: &mut impl Sql,
    tenant: &TenantId,
    limit: u32,
    cursor: Option<&str>,
) -> Result<(Vec<String>, Option<String>), Refusal> {
    let from = cursor.map(|raw| Cursor::decode(raw, REDRIVE, tenant)).transpose()?;
    let (at_ms, seq) = from.map_or((0, 0), |from| (from.at_ms, from.seq));
    let mut found: Vec<(String, i64, i64)> = row(
        sql,
        "SELECT json_group_array(json_array(id, due_at_ms, seq)) FROM (SELECT id, due_at_ms, seq FROM jobs
           WHERE due_at_ms IS NOT NULL AND (due_at_ms, seq) > (?1, ?2) AND state = 'failed'
           ORDER BY due_at_ms, seq LIMIT ?3)",
        &[at_ms.into(), seq.into(), i64::from(limit).saturating_add(1).into()],
    )?
    .unwrap_or_default();
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| more);
    let next = last.map(|(_, at_ms, seq)| Cursor { at_ms: *at_ms, seq: *seq }.encode(REDRIVE, tenant));
    Ok((found.into_iter().map(|(id, _, _)| id).collect(), next))
}

/// # Errors
/// What the database refused.
pub fn stats(sql: &mut impl Sql, now_ms: i64) -> Result<JobStats, Refusal> {
    if !exists(sql)? {
        return Ok(JobStats::default());
    }
    let rows: Vec<(String, State, u32, Option<i64>)> = row(
        sql,
        "SELECT json_group_array(json_array(type, state, n, oldest)) FROM (SELECT type, state, COUNT(*) AS n,
           MIN(CASE WHEN state = 'queued' OR state = 'nudged' THEN life ->> '$.run_at_ms' END) AS oldest
           FROM jobs GROUP BY type, state)",
        &[],
    )?
    .unwrap_or_default();
    let mut found = JobStats { rates: rates(sql, now_ms)?, ..JobStats::default() };
    for (kind, state, count, oldest_ms) in rows {
        let part = match state {
            State::Queued | State::Nudged => Some(&mut found.depth),
            State::Delayed => Some(&mut found.delayed),
            State::Leased | State::Taken => Some(&mut found.running),
            _ => None,
        };
        if let Some(part) = part {
            *part = part.saturating_add(count);
        }
        let age_ms = oldest_ms.map(|at_ms| now_ms.saturating_sub(at_ms).max(0));
        found.oldest_ms = found.oldest_ms.max(age_ms);
        let status = state.status();
        match found.by_type.iter_mut().find(|known| known.kind == kind && known.status == status) {
            Some(known) => known.count = known.count.saturating_add(count),
            None => found.by_type.push(TypeStats { kind, status, count }),
        }
    }
    Ok(found)
}
