//! What the tenant's one alarm does for jobs, and what becomes of a job whose hold is over.

use super::super::admission::Books;
use super::super::handle::At;
use super::super::limits::LimitsRow;
use super::super::{Actor, Effect, Policy};
use crate::credits::Account;
use crate::jobs::{self, JobError, State};
use crate::planted::{self, Bug};
use crate::shared::Refusal;
use crate::sql::Sql;

/// The error of an attempt whose worker was not heard of until its lease ran out.
const LEASE_RAN_OUT: &str = "lease_expired";

/// A job whose deadline passed has failed, and its hold has just expired.
pub(in super::super) fn expire(
    sql: &mut impl Sql,
    limits: &mut LimitsRow,
    id: &str,
    now_ms: i64,
) -> Result<(), Refusal> {
    // The place where it ran may be another's, and messages are not this command's to send.
    limits.due_ms = limits.due_ms.min(now_ms);
    if planted::on(Bug::ExpiredJobStaysOpen) {
        return Ok(());
    }
    let job = jobs::load(sql, id)?;
    let mut job = job.ok_or_else(|| Refusal::Broken { detail: format!("a hold is of no job: {id}") })?;
    job.expire(sql, now_ms)?;
    limits.job_ended()
}

impl At<'_> {
    /// Ends a job whose deadline passed and that owes something, with its hold; whether it was one.
    pub(in super::super) fn settle_expired(
        self,
        sql: &mut impl Sql,
        (account, limits): (&mut Account, &mut LimitsRow),
        id: &str,
    ) -> Result<bool, Refusal> {
        let Some(mut job) = jobs::load(sql, id)? else { return Ok(false) };
        if jobs::owed(sql, &job)?.is_none() || planted::on(Bug::ExpiredJobStaysOpen) {
            return Ok(false);
        }
        limits.due_ms = limits.due_ms.min(self.now_ms);
        self.end_hold(sql, (account, limits), &mut job)?;
        job.expire(sql, self.now_ms)?;
        Ok(true)
    }
}

/// Looks at the jobs and schedules that are due, some hundred at most, and calls for workers; the caller stores the
/// books.
pub(in super::super) fn ring(
    sql: &mut impl Sql,
    (actor, policy): (&Actor, &Policy),
    books: &mut Books,
    now_ms: i64,
) -> Result<Vec<Effect>, Refusal> {
    let at = At { actor, policy, now_ms };
    if !jobs::exists(sql)? {
        return Ok(Vec::new());
    }
    let mut nudges = Vec::new();
    for mut job in jobs::due_jobs(sql, now_ms)? {
        match job.state {
            State::Delayed => jobs::ready(sql, &mut job, now_ms)?,
            State::Nudged => nudges.extend(jobs::nudge_again(sql, &mut job, now_ms)?),
            State::Leased => {
                let error = JobError::new(LEASE_RAN_OUT, "nothing was heard of the worker");
                // Rules draw no chance: the spread follows from which job and which lease it is.
                let seed = job.seq.wrapping_mul(2_654_435_761).wrapping_add(job.epoch.wrapping_mul(40_503));
                let seed = u32::try_from(seed.rem_euclid(i64::from(u32::MAX))).unwrap_or(0);
                let verdict = job.verdict(LEASE_RAN_OUT, None, seed, now_ms);
                if verdict.reason.is_some() {
                    at.end_hold(sql, (&mut books.account, &mut books.limits), &mut job)?;
                }
                job.fail(sql, error, verdict, now_ms)?;
            }
            State::Succeeded | State::Failed | State::Cancelled => jobs::forget(sql, &mut job, now_ms)?,
            // These have no time: the schema says so.
            State::Queued | State::Taken => {}
        }
    }
    nudges.extend(jobs::refill(sql, &books.limits.settings.jobs, now_ms)?);
    jobs::prune(sql)?;
    let runs = jobs::due_schedules(sql, now_ms)?.into_iter().map(|due| Effect::RunSchedule(Box::new(due)));
    Ok(nudges.into_iter().map(Effect::Nudge).chain(runs).collect())
}
