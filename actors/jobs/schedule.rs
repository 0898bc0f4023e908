//! Jobs that are made again and again. Cron and time zones are the platform's to read: each command that sets or runs
//! a schedule brings the next time, so the rules need no calendar, and a test needs none either.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::job::{NewJob, Terms, exists, expect, json};
use super::{ID_BYTES_MAX, SCHEDULES_MAX, STORED_PARAMS_BYTES_MAX};
use crate::rate::Weight;
use crate::shared::{Micro, Refusal};
use crate::sql::{Sql, row};

/// Until a run that was asked for is asked for again.
const AGAIN_MS: i64 = 30_000;
/// Schedules one alarm asks for.
const DUE_MAX: i64 = 16;
/// The longest cron expression and name of a time zone, in bytes.
const WORDS_BYTES_MAX: usize = 128;

/// A schedule to be, or to take the place of the one of its id.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewSchedule {
    pub id: String,
    /// As the client wrote it; the platform has read it.
    pub cron: String,
    /// An IANA name.
    pub time_zone: String,
    /// The next time after now; none while it is paused.
    pub next_run_ms: Option<i64>,
    /// What is made: its id and its time are of each run.
    pub job: NewJob,
}

/// The last run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// The time it was for.
    pub run_at_ms: i64,
    pub job: Option<String>,
    /// Why there is no job, in words.
    pub refused: Option<String>,
    /// The same, for programs. None also of runs from before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Schedule {
    pub terms: NewSchedule,
    pub last: Option<LastRun>,
}

/// A run that the platform is to make: by [`Fire`], with a new id, the time of the run after it and the prices of its day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    pub schedule: String,
    pub run_at_ms: i64,
    pub cron: String,
    pub time_zone: String,
    /// What is made, as the schedule has it: the id that it had there, its type, what it is asked, its terms.
    pub set: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub params: String,
    pub terms: Terms,
}

/// What a run is made with in the place of what its schedule was set with: the prices have changed since, or may have.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Priced {
    /// The [`Due::set`] that was priced. A schedule that was set anew meanwhile has another.
    pub set: String,
    pub params: Box<RawValue>,
    /// As in [`Terms`].
    #[serde(rename = "amount_micro")]
    pub amount: Micro,
    pub models: Vec<String>,
    pub weight: Weight,
}

/// Makes the run of a schedule that was due at `run_at_ms`. Runs that were missed are one: the next is to come.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fire {
    pub schedule: String,
    pub run_at_ms: i64,
    pub next_run_ms: Option<i64>,
    /// The id of the job to be.
    pub job: String,
    /// None where it could not be priced: then it is as when the schedule was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priced: Option<Priced>,
}

impl Schedule {
    /// The job of a run.
    #[must_use]
    pub fn run(&self, fire: &Fire) -> NewJob {
        let mut new = self.terms.job.clone();
        let fits =
            |priced: &&Priced| priced.set == new.id && priced.params.get().len() <= STORED_PARAMS_BYTES_MAX;
        if let Some(priced) = fire.priced.as_ref().filter(fits) {
            new.params.clone_from(&priced.params);
            new.terms.amount = priced.amount;
            new.terms.owner.models.clone_from(&priced.models);
            new.terms.owner.weight = priced.weight;
        }
        new.id.clone_from(&fire.job);
        new.run_at_ms = None;
        new.terms.schedule = Some(fire.schedule.clone());
        new
    }
}

/// # Errors
/// `InvalidSetting`, `TooManySchedules`.
pub fn set(sql: &mut impl Sql, new: NewSchedule, now_ms: i64) -> Result<Schedule, Refusal> {
    let id = (1..=ID_BYTES_MAX).contains(&new.id.len());
    expect(id, "id", "1 to 128 bytes")?;
    let words = |text: &str| (1..=WORDS_BYTES_MAX).contains(&text.len());
    expect(words(&new.cron), "cron", "an expression of 1 to 128 bytes")?;
    expect(words(&new.time_zone), "time_zone", "the name of a time zone")?;
    expect(new.next_run_ms.is_none_or(|at_ms| at_ms > now_ms), "cron", "a time to come")?;
    new.job.check(now_ms)?;
    let known = load(sql, &new.id)?;
    if known.is_none() {
        let count: Option<u32> = row(sql, "SELECT COUNT(*) FROM job_schedules", &[])?;
        if count.unwrap_or(0) >= SCHEDULES_MAX {
            return Err(Refusal::TooManySchedules { limit: SCHEDULES_MAX });
        }
    }
    let schedule = Schedule { last: known.and_then(|known| known.last), terms: new };
    write(sql, &schedule, schedule.terms.next_run_ms)?;
    Ok(schedule)
}

fn load(sql: &mut impl Sql, id: &str) -> Result<Option<Schedule>, Refusal> {
    row(sql, "SELECT body FROM job_schedules WHERE id = ?1", &[id.into()])
}

fn write(sql: &mut impl Sql, schedule: &Schedule, due_at_ms: Option<i64>) -> Result<(), Refusal> {
    sql.execute(
        "INSERT INTO job_schedules VALUES (?1, ?2, ?3)
         ON CONFLICT (id) DO UPDATE SET due_at_ms = excluded.due_at_ms, body = excluded.body",
        &[schedule.terms.id.as_str().into(), due_at_ms.into(), json(schedule)?.into()],
    )?;
    Ok(())
}

/// # Errors
/// `UnknownSchedule`.
pub fn delete(sql: &mut impl Sql, id: &str) -> Result<(), Refusal> {
    if !exists(sql)? || load(sql, id)?.is_none() {
        return Err(Refusal::UnknownSchedule);
    }
    sql.execute("DELETE FROM job_schedules WHERE id = ?1", &[id.into()])?;
    Ok(())
}

/// All of them, by id: [`SCHEDULES_MAX`] at most.
///
/// # Errors
/// What the database refused.
pub fn list(sql: &mut impl Sql) -> Result<Vec<Schedule>, Refusal> {
    if !exists(sql)? {
        return Ok(Vec::new());
    }
    // One at a time: sixty-four bodies of sixty-four kilobytes are more than one cell holds.
    let ids: Vec<String> =
        row(sql, "SELECT json_group_array(id) FROM (SELECT id FROM job_schedules ORDER BY id)", &[])?
            .unwrap_or_default();
    let mut all = Vec::with_capacity(ids.len());
    for id in ids {
        all.extend(load(sql, &id)?);
    }
    Ok(all)
}

/// Runs whose time has come. Each is asked for again after a while, until it was made.
pub(super) fn due(sql: &mut impl Sql, now_ms: i64) -> Result<Vec<Due>, Refusal> {
    let ids: Vec<String> = row(
        sql,
        "SELECT json_group_array(id) FROM
           (SELECT id FROM job_schedules WHERE due_at_ms <= ?1 ORDER BY due_at_ms, id LIMIT ?2)",
        &[now_ms.into(), DUE_MAX.into()],
    )?
    .unwrap_or_default();
    let mut due = Vec::with_capacity(ids.len());
    for id in ids {
        let Some(Schedule { terms, .. }) = load(sql, &id)? else { continue };
        sql.execute(
            "UPDATE job_schedules SET due_at_ms = ?2 WHERE id = ?1",
            &[id.as_str().into(), now_ms.saturating_add(AGAIN_MS).into()],
        )?;
        if let Some(run_at_ms) = terms.next_run_ms {
            let NewSchedule { cron, time_zone, job, .. } = terms;
            let NewJob { id: set, kind, params, terms, .. } = job;
            let params = params.get().to_owned();
            due.push(Due { schedule: id, run_at_ms, cron, time_zone, set, kind, params, terms });
        }
    }
    Ok(due)
}

/// The schedule whose run this is; `None` when that run was made before, or is none any more.
///
/// # Errors
/// `UnknownSchedule`.
pub fn take(sql: &mut impl Sql, fire: &Fire) -> Result<Option<Schedule>, Refusal> {
    if !exists(sql)? {
        return Err(Refusal::UnknownSchedule);
    }
    let schedule = load(sql, &fire.schedule)?.ok_or(Refusal::UnknownSchedule)?;
    Ok(Some(schedule).filter(|schedule| schedule.terms.next_run_ms == Some(fire.run_at_ms)))
}

/// Notes what came of a run, and when the next one is.
///
/// # Errors
/// What the database refused.
pub fn fired(
    sql: &mut impl Sql,
    mut schedule: Schedule,
    last: LastRun,
    next_run_ms: Option<i64>,
) -> Result<Schedule, Refusal> {
    schedule.terms.next_run_ms = next_run_ms.filter(|at_ms| *at_ms > last.run_at_ms);
    schedule.last = Some(last);
    let due_at_ms = schedule.terms.next_run_ms;
    write(sql, &schedule, due_at_ms)?;
    Ok(schedule)
}
