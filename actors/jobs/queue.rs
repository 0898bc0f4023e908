//! Which job goes next, and who is told: higher priority first, then older; as many at a time as may run.
//!
//! A message says only that there is something to do. As many are on their way as there are places to run in, so a
//! tenant with ten thousand jobs fills no queue that others wait in too; each is sent again until a lease answers it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::body::with_body;
use super::job::{Job, ROW, expect, load, load_seq, step};
use super::state::{Event, State};
use super::{TYPE_BYTES_MAX, WORKER_BYTES_MAX};
use crate::planted::{self, Bug};
use crate::shared::Refusal;
use crate::sql::{Sql, row};

/// Jobs of a tenant that run at one time, when nobody said how many.
pub const RUNNING_DEFAULT: u32 = 8;
/// The most that may be said.
pub const RUNNING_MAX: u32 = 64;
/// Types that may have a number of their own.
pub const TYPES_MAX: usize = 16;
/// Until a message is sent again: doubled each time, from fifteen seconds to five minutes.
const NUDGE_FIRST_MS: i64 = 15_000;
const NUDGE_MAX_MS: i64 = 300_000;

/// How many jobs may run at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobLimits {
    /// Of the tenant.
    pub running: Option<u32>,
    /// Of one type.
    pub running_by_type: BTreeMap<String, u32>,
}

impl JobLimits {
    /// # Errors
    /// `InvalidSetting`, naming the field.
    pub fn check(&self) -> Result<(), Refusal> {
        let fits = |number: &u32| (1..=RUNNING_MAX).contains(number);
        let types = &self.running_by_type;
        let named = types.keys().all(|kind| (1..=TYPE_BYTES_MAX).contains(&kind.len()));
        expect(self.running.as_ref().is_none_or(fits), "jobs.running", "1 to 64")?;
        let by_type = types.len() <= TYPES_MAX && named && types.values().all(fits);
        expect(by_type, "jobs.running_by_type", "at most 16 types, each with 1 to 64")
    }

    fn running(&self) -> u32 {
        self.running.unwrap_or(RUNNING_DEFAULT)
    }

    fn of_type(&self, kind: &str) -> u32 {
        self.running_by_type.get(kind).copied().unwrap_or(RUNNING_MAX)
    }
}

/// A message to be sent: that this job, or another one of its tenant, can be leased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nudge {
    pub job: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// How often it was sent before.
    pub again: u32,
}

/// A worker that can take a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseAsked {
    /// Its name, another one for each invocation, and for each job that it does at the same time.
    pub worker: String,
    /// The job that the message named. It answers that message, whichever job is leased.
    #[serde(default)]
    pub job: Option<String>,
    /// What it can do; everything, when it does not say.
    #[serde(default)]
    pub types: Option<Vec<String>>,
}

/// A job to be done until `job.due_at_ms`, or longer with heartbeats.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Leased {
    pub job: Job,
    pub params: Option<Box<RawValue>>,
    /// What an earlier attempt got done.
    pub checkpoint: Option<Box<RawValue>>,
}

/// Jobs that run, and those a message is on its way for.
#[derive(Debug, Default)]
struct Active {
    of_type: BTreeMap<String, (u32, u32)>,
    nudged: u32,
    leased: u32,
}

impl Active {
    fn load(sql: &mut impl Sql) -> Result<Self, Refusal> {
        let rows: Option<Vec<(String, State, u32)>> = row(
            sql,
            "SELECT json_group_array(json_array(type, state, n)) FROM
               (SELECT type, state, COUNT(*) AS n FROM jobs WHERE state = 'nudged' OR state = 'leased'
                GROUP BY type, state)",
            &[],
        )?;
        let mut active = Self::default();
        for (kind, state, count) in rows.unwrap_or_default() {
            let of_type = active.of_type.entry(kind).or_default();
            if state == State::Leased {
                of_type.1 = count;
                active.leased = active.leased.saturating_add(count);
            } else {
                of_type.0 = count;
                active.nudged = active.nudged.saturating_add(count);
            }
        }
        Ok(active)
    }

    fn of(&self, kind: &str) -> (u32, u32) {
        self.of_type.get(kind).copied().unwrap_or_default()
    }
}

/// A job that may go next, in the order of its query.
#[derive(Debug, Deserialize)]
struct Head {
    seq: i64,
    kind: String,
    priority: i64,
}

/// The first of each type among those that nobody was told of.
fn heads(sql: &mut impl Sql) -> Result<Vec<Head>, Refusal> {
    let heads = row(
        sql,
        "WITH RECURSIVE kinds (kind) AS (
           SELECT MIN(type) FROM jobs WHERE state = 'queued'
           UNION ALL
           SELECT (SELECT MIN(type) FROM jobs WHERE state = 'queued' AND type > kind) FROM kinds
             WHERE kind IS NOT NULL)
         SELECT json_group_array(json_array(seq, type, priority)) FROM kinds JOIN jobs ON jobs.seq =
           (SELECT seq FROM jobs WHERE state = 'queued' AND type = kind ORDER BY priority DESC, seq LIMIT 1)",
        &[],
    )?;
    Ok(heads.unwrap_or_default())
}

fn nudged(sql: &mut impl Sql) -> Result<Vec<Head>, Refusal> {
    let heads = row(
        sql,
        "SELECT json_group_array(json_array(seq, type, priority)) FROM jobs WHERE state = 'nudged'",
        &[],
    )?;
    Ok(heads.unwrap_or_default())
}

fn first(heads: Vec<Head>) -> Option<Head> {
    if planted::on(Bug::PriorityIgnored) {
        return heads.into_iter().min_by_key(|head| head.seq);
    }
    heads.into_iter().min_by_key(|head| (head.priority.saturating_neg(), head.seq))
}

/// Sends messages for as many jobs as there are places to run in that nobody was called for.
///
/// # Errors
/// What the database refused.
pub fn refill(sql: &mut impl Sql, limits: &JobLimits, now_ms: i64) -> Result<Vec<Nudge>, Refusal> {
    let mut active = Active::load(sql)?;
    let mut nudges = Vec::new();
    while active.nudged.saturating_add(active.leased) < limits.running() {
        let mut waiting = heads(sql)?;
        waiting.retain(|head| {
            let (nudged, leased) = active.of(&head.kind);
            nudged.saturating_add(leased) < limits.of_type(&head.kind)
        });
        let Some(head) = first(waiting) else { break };
        let mut job = load_seq(sql, head.seq)?;
        nudges.push(nudge(sql, &mut job, now_ms)?);
        active.nudged = active.nudged.saturating_add(1);
        let of_type = active.of_type.entry(head.kind).or_default();
        of_type.0 = of_type.0.saturating_add(1);
    }
    Ok(nudges)
}

/// The message for a job, once more or for the first time.
pub(super) fn nudge(sql: &mut impl Sql, job: &mut Job, now_ms: i64) -> Result<Nudge, Refusal> {
    let again = if job.state == State::Nudged { job.life.nudges } else { 0 };
    let wait_ms = NUDGE_FIRST_MS.saturating_mul(1_i64 << again.min(16)).min(NUDGE_MAX_MS);
    job.life.nudges = again.saturating_add(1);
    job.due_at_ms = Some(now_ms.saturating_add(wait_ms));
    step(sql, job, Event::Nudge, now_ms)?;
    Ok(Nudge { job: job.id.clone(), kind: job.kind.clone(), again })
}

/// Leases the job that goes next to a worker; none when nothing is ready or as many run as may. A worker has one lease at
/// a time: who did not hear of it and asks again gets the same one.
///
/// # Errors
/// `InvalidSetting` for a worker without a name; what the database refused.
pub fn lease(
    sql: &mut impl Sql,
    limits: &JobLimits,
    asked: &LeaseAsked,
    now_ms: i64,
) -> Result<Option<Leased>, Refusal> {
    let named = (1..=WORKER_BYTES_MAX).contains(&asked.worker.len());
    expect(named, "worker", "a name of 1 to 128 bytes")?;
    let statement =
        format!("SELECT {ROW} FROM jobs WHERE (state = 'nudged' OR state = 'leased') AND worker = ?1");
    let known: Option<Job> = row(sql, &statement, &[asked.worker.as_str().into()])?;
    if let Some(job) = known {
        return leased(sql, job).map(Some);
    }
    let called = asked.job.as_deref().map(|id| load(sql, id)).transpose()?.flatten();
    let active = Active::load(sql)?;
    let extra = u32::from(planted::on(Bug::OneRunsTooMany));
    let mut ready = heads(sql)?;
    ready.extend(nudged(sql)?);
    ready.retain(|head| {
        let wanted = asked.types.as_ref().is_none_or(|types| types.contains(&head.kind));
        wanted && active.of(&head.kind).1 < limits.of_type(&head.kind).saturating_add(extra)
    });
    if active.leased >= limits.running().saturating_add(extra) {
        ready.clear();
    }
    let head = first(ready);
    // The message has come, so it is no longer on its way: whoever is told next has to be told anew.
    if let Some(mut job) = called
        && job.state == State::Nudged
        && head.as_ref().is_none_or(|head| head.seq != job.seq)
    {
        step(sql, &mut job, Event::Pass, now_ms)?;
    }
    let Some(head) = head else {
        return Ok(None);
    };
    let mut job = load_seq(sql, head.seq)?;
    job.epoch = job.epoch.saturating_add(1);
    job.life.attempts = job.life.attempts.saturating_add(1);
    job.life.nudges = 0;
    job.due_at_ms = Some(now_ms.saturating_add(job.terms.lease_ms).min(job.expires_at_ms));
    job.worker = Some(asked.worker.clone());
    step(sql, &mut job, Event::Lease, now_ms)?;
    leased(sql, job).map(Some)
}

fn leased(sql: &mut impl Sql, job: Job) -> Result<Leased, Refusal> {
    let found = with_body(sql, job)?;
    Ok(Leased { job: found.job, params: found.params, checkpoint: found.checkpoint })
}
