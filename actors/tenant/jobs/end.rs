//! How a job ends, each way with its hold in the same transaction: settled once when it succeeds, released otherwise.

use super::super::admission::Books;
use super::super::handle::{At, woken};
use super::super::{Actor, Outcome, Policy};
use super::{JobReply, said};
use crate::credits;
use crate::jobs::{self, Complete, Event, Fail, Failing, Job, Patch};
use crate::planted::{self, Bug};
use crate::rate::Weight;
use crate::shared::Refusal;
use crate::sql::Sql;

impl At<'_> {
    pub(super) fn complete_job(self, sql: &mut impl Sql, asked: &Complete) -> Result<Outcome, Refusal> {
        let now_ms = self.now_ms;
        let mut job = jobs::find(sql, &asked.id)?;
        if job.was_completed(asked.epoch) && !planted::on(Bug::CompletionNotKnownAgain) {
            return woken(said(JobReply::Ended { job, first: false }), i64::MAX);
        }
        job.live(asked.epoch)?;
        let mut books = Books::load(sql, self.actor, now_ms)?;
        let Books { account, limits } = &mut books;
        let usage = &asked.usage;
        let (ended, change) = credits::settle(sql, account, &job.hold(), asked.charge, usage, now_ms)?;
        let change = change.filter(|_| ended.first).ok_or_else(|| lost(&job))?;
        let actual = Weight { requests: 0, tokens: usage.tokens(), micro: ended.charged };
        let counted = (usage.model.as_deref(), Some(actual));
        limits.apply(sql, (self.policy, &self.actor.tenant), &change, counted, now_ms)?;
        limits.watch_balance(sql, account, now_ms)?;
        limits.job_ended()?;
        job.complete(sql, &asked.result, (ended.charged, account.available), now_ms)?;
        if planted::on(Bug::SlotNotRefilled) {
            let due_ms = books.store(sql)?;
            return self.done(sql, JobReply::Ended { job, first: true }, Vec::new(), due_ms);
        }
        self.close(sql, &mut books, JobReply::Ended { job, first: true })
    }

    pub(super) fn fail_job(self, sql: &mut impl Sql, asked: Fail) -> Result<Outcome, Refusal> {
        let now_ms = self.now_ms;
        let mut job = jobs::find(sql, &asked.id)?;
        if job.has_failed(asked.epoch) {
            return woken(said(JobReply::Ended { job, first: false }), i64::MAX);
        }
        job.live(asked.epoch)?;
        let mut books = Books::load(sql, self.actor, now_ms)?;
        let error = jobs::JobError::new(&asked.error.code, &asked.error.message);
        let failing = job.fail(sql, error, asked.retry_after_ms, asked.seed, now_ms)?;
        if failing == Failing::Dead && !planted::on(Bug::DeadJobKeepsHold) {
            release(sql, (self.actor, self.policy), &mut books, &job, now_ms)?;
        }
        self.close(sql, &mut books, JobReply::Ended { job, first: true })
    }

    pub(super) fn patch_job(self, sql: &mut impl Sql, id: &str, patch: &Patch) -> Result<Outcome, Refusal> {
        let mut job = jobs::find(sql, id)?;
        let Some(event) = job.wish(patch)? else {
            return woken(said(JobReply::Changed(job)), i64::MAX);
        };
        if event == Event::Redrive {
            return self.redrive_job(sql, id, None);
        }
        job.by_client(sql, event, patch.result.as_deref(), self.now_ms)?;
        let mut books = Books::load(sql, self.actor, self.now_ms)?;
        if job.state.is_final() && !planted::on(Bug::CancelKeepsHold) {
            release(sql, (self.actor, self.policy), &mut books, &job, self.now_ms)?;
        }
        self.close(sql, &mut books, JobReply::Changed(job))
    }
}

/// Gives back all that was set aside for a job that ended uncharged; the caller stores the books.
pub(super) fn release(
    sql: &mut impl Sql,
    (actor, policy): (&Actor, &Policy),
    books: &mut Books,
    job: &Job,
    now_ms: i64,
) -> Result<(), Refusal> {
    let Books { account, limits } = books;
    let (_, change) = credits::release(sql, account, &job.hold(), now_ms)?;
    let change = change.ok_or_else(|| lost(job))?;
    // What its attempts used is nobody's: the house pays.
    let nothing = (None, Some(Weight::default()));
    limits.apply(sql, (policy, &actor.tenant), &change, nothing, now_ms)?;
    limits.watch_balance(sql, account, now_ms)?;
    limits.job_ended()
}

/// A job that is not over has an open hold: they end in one transaction.
fn lost(job: &Job) -> Refusal {
    Refusal::Broken { detail: format!("the hold of the open job {} had ended", job.id) }
}
