//! How a job ends, each way with its hold in the same transaction: settled once when it succeeds; otherwise what its
//! attempts say is owed is settled, and where nothing is, it is released.

use super::super::Outcome;
use super::super::admission::Books;
use super::super::handle::{At, woken};
use super::super::limits::LimitsRow;
use super::{JobReply, said};
use crate::credits::{self, Account, HoldChange, Usage};
use crate::jobs::{self, Complete, Event, Fail, Job, Owed, Patch};
use crate::planted::{self, Bug};
use crate::rate::Weight;
use crate::shared::{Micro, Refusal};
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
        let charged =
            self.settle_job(sql, (&mut books.account, &mut books.limits), &job, asked.charge, &asked.usage)?;
        job.complete(sql, &asked.result, (charged, books.account.available), now_ms)?;
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
        let verdict = job.verdict(&error.code, asked.retry_after_ms, asked.seed, now_ms);
        if verdict.reason.is_some() && !planted::on(Bug::DeadJobKeepsHold) {
            self.end_hold(sql, (&mut books.account, &mut books.limits), &mut job)?;
        }
        job.fail(sql, error, verdict, now_ms)?;
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
        let ends = job.state.after(event)?.is_final();
        let mut books = Books::load(sql, self.actor, self.now_ms)?;
        if ends && !planted::on(Bug::CancelKeepsHold) {
            self.end_hold(sql, (&mut books.account, &mut books.limits), &mut job)?;
        }
        job.by_client(sql, event, patch.result.as_deref(), self.now_ms)?;
        self.close(sql, &mut books, JobReply::Changed(job))
    }

    /// Ends the hold of a job that does not complete, and says what was charged in its life, which the caller writes:
    /// what it owes for what it got done, up to what was set aside. What else its attempts used is the house's.
    pub(super) fn end_hold(
        self,
        sql: &mut impl Sql,
        (account, limits): (&mut Account, &mut LimitsRow),
        job: &mut Job,
    ) -> Result<(), Refusal> {
        if let Some(Owed { charge, usage }) = jobs::owed(sql, job)? {
            let charge = charge.min(job.terms.amount);
            job.life.charged = self.settle_job(sql, (account, limits), job, charge, &usage)?;
            job.life.balance = Some(account.available);
            return Ok(());
        }
        let (_, change) = credits::release(sql, account, &job.hold(), self.now_ms)?;
        let change = change.ok_or_else(|| lost(job))?;
        self.count_end(sql, (account, limits), &change, (None, Weight::default()))
    }

    /// The one charge of a job; what was charged.
    fn settle_job(
        self,
        sql: &mut impl Sql,
        (account, limits): (&mut Account, &mut LimitsRow),
        job: &Job,
        charge: Micro,
        usage: &Usage,
    ) -> Result<Micro, Refusal> {
        let (ended, change) = credits::settle(sql, account, &job.hold(), charge, usage, self.now_ms)?;
        let change = change.filter(|_| ended.first).ok_or_else(|| lost(job))?;
        let actual = Weight { requests: 0, tokens: usage.tokens(), micro: ended.charged };
        self.count_end(sql, (account, limits), &change, (usage.model.as_deref(), actual))?;
        Ok(ended.charged)
    }

    fn count_end(
        self,
        sql: &mut impl Sql,
        (account, limits): (&mut Account, &mut LimitsRow),
        change: &HoldChange,
        (model, actual): (Option<&str>, Weight),
    ) -> Result<(), Refusal> {
        let who = (self.policy, &self.actor.tenant);
        limits.apply(sql, who, change, (model, Some(actual)), self.now_ms)?;
        limits.watch_balance(sql, account, self.now_ms)?;
        limits.job_ended()
    }
}

/// A job that is not over has an open hold: they end in one transaction.
fn lost(job: &Job) -> Refusal {
    Refusal::Broken { detail: format!("the hold of the open job {} had ended", job.id) }
}
