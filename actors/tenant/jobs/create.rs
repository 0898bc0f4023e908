//! How a job comes to be, or begins anew: its row and its hold in one transaction, through the tenant's admission.

use serde_json::value::RawValue;

use super::super::admission::{self, Books};
use super::super::handle::{At, key_due, unreadable, woken};
use super::super::idempotency::{self, Seen};
use super::super::{Admission, Idempotency, Outcome, Reply, Stored};
use super::{JobReply, said};
use crate::jobs::{self, Fire, JOBS_OPEN_MAX, Job, LastRun, NewJob};
use crate::planted::{self, Bug};
use crate::shared::{Micro, Refusal};
use crate::sql::Sql;

/// What came of wanting a job.
enum Made {
    New(Job),
    /// An open one of the same dedupe key.
    Known(Job),
    /// Refused, and the owner is told of it: this is committed.
    Refused(Refusal),
}

impl At<'_> {
    pub(super) fn create_job(
        self,
        sql: &mut impl Sql,
        new: &NewJob,
        key: Option<&Idempotency>,
    ) -> Result<Outcome, Refusal> {
        if let Some(asked) = key {
            match idempotency::look_up(sql, asked, self.now_ms)? {
                Seen::Done(stored) => {
                    let first = serde_json::from_str(stored.reply.get());
                    let (job, deduped): (Job, bool) = first.map_err(|error| unreadable(&error))?;
                    return woken(said(JobReply::Created { job, deduped, replayed: true }), i64::MAX);
                }
                Seen::Free => idempotency::make_room(sql)?,
            }
        }
        jobs::make_tables(sql)?;
        let mut books = Books::load(sql, self.actor, self.now_ms)?;
        let (job, deduped) = match self.make(sql, &mut books, new)? {
            Made::New(job) => (job, false),
            Made::Known(job) => (job, true),
            Made::Refused(refusal) => {
                let due_ms = books.store(sql)?;
                return woken(Reply::Refused(refusal), due_ms);
            }
        };
        if let Some(asked) = key {
            let json = serde_json::to_string(&(&job, deduped)).map_err(|error| unreadable(&error))?;
            let reply = RawValue::from_string(json).map_err(|error| unreadable(&error))?;
            let stored = Stored { reply, charged: Micro::ZERO, available: Micro::ZERO };
            idempotency::remember(sql, asked, &stored, self.now_ms)?;
        }
        let key_due_ms = key_due(key, self.now_ms);
        let nudges = jobs::refill(sql, &books.limits.settings.jobs, self.now_ms)?;
        let due_ms = books.store(sql)?.min(key_due_ms);
        self.done(sql, JobReply::Created { job, deduped, replayed: false }, nudges, due_ms)
    }

    /// Makes a job; the caller stores the books, and calls for workers.
    fn make(self, sql: &mut impl Sql, books: &mut Books, new: &NewJob) -> Result<Made, Refusal> {
        new.check(self.now_ms)?;
        if let Some(dedupe) = &new.dedupe
            && let Some(known) = jobs::open_of_dedupe(sql, dedupe)?
            && !planted::on(Bug::DedupeIgnored)
        {
            return Ok(Made::Known(known));
        }
        if books.limits.counters.jobs_open >= JOBS_OPEN_MAX {
            return Err(Refusal::TooManyJobs { limit: i64::from(JOBS_OPEN_MAX) });
        }
        jobs::room(sql)?;
        let mut job = Job::new(new, self.now_ms);
        if let Err(refusal) = self.admit_job(sql, books, &job)? {
            return Ok(Made::Refused(refusal));
        }
        jobs::insert(sql, &mut job, &new.params, self.now_ms)?;
        Ok(Made::New(job))
    }

    /// Sets credit aside for all that may come of a job until its deadline.
    fn admit_job(
        self,
        sql: &mut impl Sql,
        books: &mut Books,
        job: &Job,
    ) -> Result<Result<(), Refusal>, Refusal> {
        let mut asked = Admission {
            hold: job.hold(),
            amount: job.terms.amount,
            ttl_ms: job.expires_at_ms.saturating_sub(self.now_ms),
            owner: job.owner(),
            tier: job.terms.tier.clone(),
            idempotency: None,
            fingerprint: None,
        };
        let who = (self.actor, self.policy);
        if let Err(refusal) = admission::set_aside(sql, who, books, &mut asked, self.now_ms)? {
            return Ok(Err(refusal));
        }
        let counters = &mut books.limits.counters;
        counters.jobs_open = counters.jobs_open.saturating_add(1);
        Ok(Ok(()))
    }

    pub(super) fn redrive_job(self, sql: &mut impl Sql, id: &str) -> Result<Outcome, Refusal> {
        let mut job = jobs::find(sql, id)?;
        let mut books = Books::load(sql, self.actor, self.now_ms)?;
        match self.redrive(sql, &mut books, &mut job)? {
            Ok(()) => self.close(sql, &mut books, JobReply::Changed(job)),
            Err(refusal) => {
                let due_ms = books.store(sql)?;
                woken(Reply::Refused(refusal), due_ms)
            }
        }
    }

    /// Begins a job anew; the caller stores the books. The inner refusal is one that is committed.
    fn redrive(
        self,
        sql: &mut impl Sql,
        books: &mut Books,
        job: &mut Job,
    ) -> Result<Result<(), Refusal>, Refusal> {
        let mut anew = job.begun_anew(self.now_ms)?;
        if books.limits.counters.jobs_open >= JOBS_OPEN_MAX {
            return Err(Refusal::TooManyJobs { limit: i64::from(JOBS_OPEN_MAX) });
        }
        if planted::on(Bug::RedriveTakesNoHold) {
            let counters = &mut books.limits.counters;
            counters.jobs_open = counters.jobs_open.saturating_add(1);
        } else if let Err(refusal) = self.admit_job(sql, books, &anew)? {
            return Ok(Err(refusal));
        }
        anew.redriven(sql, self.now_ms)?;
        *job = anew;
        Ok(Ok(()))
    }

    pub(super) fn redrive_jobs(self, sql: &mut impl Sql, limit: u32) -> Result<Outcome, Refusal> {
        let nothing = JobReply::Redriven { jobs: Vec::new(), more: false, refused: None };
        if !jobs::exists(sql)? {
            return woken(said(nothing), i64::MAX);
        }
        let (ids, mut more) = jobs::failed_ids(sql, limit.clamp(1, jobs::SWEEP_ROWS_MAX))?;
        let mut books = Books::load(sql, self.actor, self.now_ms)?;
        let (mut begun, mut refused) = (Vec::new(), None);
        for id in ids {
            let mut job = jobs::find(sql, &id)?;
            match self.redrive(sql, &mut books, &mut job) {
                Ok(Ok(())) => begun.push(id),
                Err(refusal) if !is_harmless(&refusal) => return Err(refusal),
                Ok(Err(refusal)) | Err(refusal) => {
                    (refused, more) = (Some(refusal), true);
                    break;
                }
            }
        }
        self.close(sql, &mut books, JobReply::Redriven { jobs: begun, more, refused })
    }

    /// Makes the run of a schedule, once. A run that is refused is over: the next one is to come, and the schedule says
    /// why there is no job.
    pub(super) fn fire_schedule(self, sql: &mut impl Sql, fire: &Fire) -> Result<Outcome, Refusal> {
        let Some(schedule) = jobs::take_schedule(sql, fire)? else {
            let reply = JobReply::Fired { job: None, replayed: true, refused: None };
            return woken(said(reply), i64::MAX);
        };
        let new = schedule.run(fire);
        let mut books = Books::load(sql, self.actor, self.now_ms)?;
        let (job, refused) = match self.make(sql, &mut books, &new) {
            Ok(Made::New(job)) => (Some(job), None),
            // The last run is still under way, and the schedule said that two of its jobs are one.
            Ok(Made::Known(known)) => (Some(known), None),
            Err(refusal) if !is_harmless(&refusal) => return Err(refusal),
            Ok(Made::Refused(refusal)) | Err(refusal) => (None, Some(refusal)),
        };
        let last = LastRun {
            run_at_ms: fire.run_at_ms,
            job: job.as_ref().map(|job| job.id.clone()),
            refused: refused.as_ref().map(ToString::to_string),
        };
        jobs::schedule_fired(sql, schedule, last, fire.next_run_ms)?;
        self.close(sql, &mut books, JobReply::Fired { job, replayed: false, refused })
    }
}

/// Whether a refusal came before anything was counted or set aside, so that a command may go on without that job.
const fn is_harmless(refusal: &Refusal) -> bool {
    !matches!(refusal, Refusal::Storage { .. } | Refusal::Broken { .. } | Refusal::DuplicateOperation)
}
