//! What clients are told of jobs, as rows: a job's own row says only where it is now.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::job::{Job, JobError, Reason, exists, json};
use super::state::{Event, Status};
use crate::credits::LAST_WRITTEN;
use crate::notices::LAST_SEQ as LAST_NOTICE;
use crate::planted::{self, Bug};
use crate::shared::Refusal;
use crate::sql::{Sql, row};

/// Events that are kept, at least: twice what is sent again to a listener that comes back, so that as many may happen
/// while it is told. Of a quarter of a kilobyte each, some 2 MB.
pub const EVENTS_KEPT: i64 = 8_192;
/// Rows one alarm forgets. It waits until there are as many.
const SWEEP_ROWS_MAX: i64 = 1_000;

/// Something that happened to a job, and how it was right after.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobEvent {
    pub seq: i64,
    pub at_ms: i64,
    pub body: Body,
    /// The last entry or usage event that was written before; not known of events from before this was noted.
    pub after_seq: Option<i64>,
    /// The last notice that was.
    pub after_notice: Option<i64>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Body {
    pub job: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// None when it was made.
    pub event: Option<Event>,
    pub status: Status,
    pub attempt: u32,
    /// When the next attempt is to begin, while it waits for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_at_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

/// Notes what happened, in the transaction in which it does.
///
/// # Errors
/// What the database refused.
pub fn tell(sql: &mut impl Sql, job: &Job, event: Option<Event>, now_ms: i64) -> Result<(), Refusal> {
    if planted::on(Bug::JobEventLost) && event == Some(Event::Complete) {
        return Ok(());
    }
    let status = job.state.status();
    let body = Body {
        job: job.id.clone(),
        kind: job.kind.clone(),
        event,
        status,
        attempt: job.life.attempts,
        run_at_ms: (status == Status::Queued).then_some(job.life.run_at_ms),
        progress: job.life.progress.clone(),
        error: job.life.error.clone().filter(|_| matches!(event, Some(Event::Retry | Event::Die))),
        reason: job.life.reason.filter(|_| status == Status::Failed),
    };
    // The newest is never forgotten, so no number is given twice.
    sql.execute(
        &format!(
            "INSERT INTO job_events SELECT COALESCE(MAX(seq), 0) + 1, ?1, ?2, {LAST_WRITTEN},
               COALESCE(({LAST_NOTICE}), 0) FROM job_events"
        ),
        &[now_ms.into(), json(&body)?.into()],
    )?;
    Ok(())
}

/// The number of the last event; zero before the first.
///
/// # Errors
/// What the database refused.
pub fn last_seq(sql: &mut impl Sql) -> Result<i64, Refusal> {
    if !exists(sql)? {
        return Ok(0);
    }
    Ok(row(sql, "SELECT MAX(seq) FROM job_events", &[])?.unwrap_or(0))
}

/// The number of the oldest event that is kept; past all numbers when none is.
///
/// # Errors
/// What the database refused.
pub fn first_seq(sql: &mut impl Sql) -> Result<i64, Refusal> {
    if !exists(sql)? {
        return Ok(i64::MAX);
    }
    Ok(row(sql, "SELECT MIN(seq) FROM job_events", &[])?.unwrap_or(i64::MAX))
}

/// All of `after < seq <= upto`, in their order; `None` when some of them were forgotten.
///
/// # Errors
/// What the database refused.
pub fn told(sql: &mut impl Sql, after: i64, upto: i64) -> Result<Option<Vec<JobEvent>>, Refusal> {
    let wanted = usize::try_from(upto.saturating_sub(after)).unwrap_or(0);
    if wanted == 0 {
        return Ok(Some(Vec::new()));
    }
    // Each as an array, its fields in their order.
    let events: Vec<JobEvent> = row(
        sql,
        "SELECT concat('[', group_concat(concat('[', seq, ',', at_ms, ',', body, ',', COALESCE(after_seq, 'null'), ',',
           COALESCE(after_notice, 'null'), ']')), ']')
         FROM (SELECT * FROM job_events WHERE seq > ?1 AND seq <= ?2 ORDER BY seq)",
        &[after.into(), upto.into()],
    )?
    .unwrap_or_default();
    Ok((events.len() == wanted).then_some(events))
}

/// Forgets the oldest, once there are `SWEEP_ROWS_MAX` more than are kept, and no more than that at once.
///
/// # Errors
/// What the database refused.
pub fn prune(sql: &mut impl Sql) -> Result<(), Refusal> {
    // Each by itself is one look into the table's order; both in one query would read all of it.
    let (first, last) = (first_seq(sql)?, last_seq(sql)?);
    let over = last.saturating_sub(EVENTS_KEPT).saturating_sub(first);
    if over >= SWEEP_ROWS_MAX {
        let upto = first.saturating_add(SWEEP_ROWS_MAX);
        sql.execute("DELETE FROM job_events WHERE seq < ?1", &[upto.into()])?;
    }
    Ok(())
}
