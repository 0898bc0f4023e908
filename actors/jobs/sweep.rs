//! What the alarm looks at: leases that ran out, times that came, messages to send again, jobs to forget.

use super::body::drop_body;
use super::job::{Job, ROW, step, store};
use super::queue::{Nudge, nudge};
use super::state::Event;
use super::{SWEEP_ROWS_MAX, schedule};
use crate::planted::{self, Bug};
use crate::shared::Refusal;
use crate::sql::{Sql, row};

/// When something of jobs is due next; a query over tables that are there.
pub const DUE_AT_MS: &str =
    "SELECT MIN(at_ms) FROM (SELECT MIN(due_at_ms) AS at_ms FROM jobs WHERE due_at_ms IS NOT NULL
  UNION ALL SELECT MIN(due_at_ms) FROM job_schedules)";

/// What is due, the longest first, `SWEEP_ROWS_MAX` at most. The alarm comes again for the rest.
///
/// # Errors
/// What the database refused.
pub fn due_jobs(sql: &mut impl Sql, now_ms: i64) -> Result<Vec<Job>, Refusal> {
    let statement = format!(
        "SELECT json_group_array({ROW}) FROM
           (SELECT * FROM jobs WHERE due_at_ms IS NOT NULL AND due_at_ms <= ?1 ORDER BY due_at_ms, seq LIMIT ?2)"
    );
    let mut due: Vec<Job> =
        row(sql, &statement, &[now_ms.into(), i64::from(SWEEP_ROWS_MAX).into()])?.unwrap_or_default();
    if planted::on(Bug::LostLeaseForgotten) {
        due.retain(|job| job.worker.is_none());
    }
    Ok(due)
}

/// Schedules whose time has come. Each is asked for again until its run is made.
///
/// # Errors
/// What the database refused.
pub fn due_schedules(sql: &mut impl Sql, now_ms: i64) -> Result<Vec<schedule::Due>, Refusal> {
    schedule::due(sql, now_ms)
}

/// The time of a job has come.
///
/// # Errors
/// What the database refused.
pub fn ready(sql: &mut impl Sql, job: &mut Job, now_ms: i64) -> Result<(), Refusal> {
    step(sql, job, Event::Due, now_ms)
}

/// The message for a job was lost, or nobody came.
///
/// # Errors
/// What the database refused.
pub fn nudge_again(sql: &mut impl Sql, job: &mut Job, now_ms: i64) -> Result<Option<Nudge>, Refusal> {
    let sent = nudge(sql, job, now_ms)?;
    Ok(Some(sent).filter(|_| !planted::on(Bug::NudgeNotSentAgain)))
}

/// A job that is over: first its result is forgotten, then the job.
///
/// # Errors
/// What the database refused.
pub fn forget(sql: &mut impl Sql, job: &mut Job, now_ms: i64) -> Result<(), Refusal> {
    drop_body(sql, job.seq)?;
    let forgotten_at_ms = job.forgotten_at_ms();
    if forgotten_at_ms.is_some_and(|at_ms| at_ms > now_ms) {
        job.life.has_body = false;
        job.due_at_ms = forgotten_at_ms;
        return store(sql, job);
    }
    sql.execute("DELETE FROM jobs WHERE seq = ?1", &[job.seq.into()])?;
    Ok(())
}
