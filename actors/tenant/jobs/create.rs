//! How a job comes to be, or begins anew: its row and its hold in one transaction, through the tenant's admission.

use std::mem::discriminant;

use serde::Serialize;
use serde_json::value::to_raw_value;

use super::super::admission::{self, Books};
use super::super::handle::{At, key_due, unreadable, woken};
use super::super::idempotency::{self, Seen};
use super::super::{Admission, Idempotency, Outcome, Reply, Stored};
use super::{JobReply, RedriveAll, said};
use crate::credits::{HOLD_HISTORY_MS, Owner};
use crate::jobs::{self, Fire, JOBS_OPEN_MAX, Job, LastRun, NewJob, Status};
use crate::keys;
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
            remember(sql, asked, &(&job, deduped), self.now_ms)?;
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

    pub(super) fn redrive_job(
        self,
        sql: &mut impl Sql,
        id: &str,
        key: Option<&Idempotency>,
    ) -> Result<Outcome, Refusal> {
        if let Some(first) = self.said_before(sql, key)? {
            return Ok(first);
        }
        let mut job = jobs::find(sql, id)?;
        let mut books = Books::load(sql, self.actor, self.now_ms)?;
        match self.redrive(sql, &mut books, &mut job)? {
            Ok(()) => self.close_once(sql, &mut books, key, JobReply::Changed(job)),
            Err(refusal) => {
                let due_ms = books.store(sql)?;
                woken(Reply::Refused(refusal), due_ms)
            }
        }
    }

    /// What the first request with this key was told; room for the key where it is new.
    fn said_before(self, sql: &mut impl Sql, key: Option<&Idempotency>) -> Result<Option<Outcome>, Refusal> {
        let Some(asked) = key else { return Ok(None) };
        match idempotency::look_up(sql, asked, self.now_ms)? {
            Seen::Done(stored) => {
                let first = serde_json::from_str(stored.reply.get()).map_err(|error| unreadable(&error))?;
                woken(said(JobReply::Again(first)), i64::MAX).map(Some)
            }
            Seen::Free => idempotency::make_room(sql).map(|()| None),
        }
    }

    /// As [`Self::close`], and the reply is remembered for whoever asks again with the same key.
    fn close_once(
        self,
        sql: &mut impl Sql,
        books: &mut Books,
        key: Option<&Idempotency>,
        reply: JobReply,
    ) -> Result<Outcome, Refusal> {
        if let Some(asked) = key {
            remember(sql, asked, &reply, self.now_ms)?;
        }
        let nudges = jobs::refill(sql, &books.limits.settings.jobs, self.now_ms)?;
        let history_ms = self.now_ms.saturating_add(HOLD_HISTORY_MS);
        let due_ms = books.store(sql)?.min(history_ms).min(key_due(key, self.now_ms));
        self.done(sql, reply, nudges, due_ms)
    }

    /// Begins a job anew; the caller stores the books. The inner refusal is one that is committed.
    fn redrive(
        self,
        sql: &mut impl Sql,
        books: &mut Books,
        job: &mut Job,
    ) -> Result<Result<(), Refusal>, Refusal> {
        let mut anew = job.begun_anew(self.now_ms)?;
        self.key_lives(sql, &anew.terms.owner)?;
        if let Some(dedupe) = &anew.dedupe
            && jobs::open_of_dedupe(sql, dedupe)?.is_some()
        {
            // Two open jobs of one key are one, and that one is there.
            let (from, to) = (Status::Failed.name().to_owned(), Status::Queued.name().to_owned());
            return Err(Refusal::InvalidTransition { from, to });
        }
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

    /// Begins the oldest of the dead-letter list anew, as many as `asked` says. Those that are refused are passed over and
    /// counted: what is behind them may be affordable.
    pub(super) fn redrive_jobs(self, sql: &mut impl Sql, asked: &RedriveAll) -> Result<Outcome, Refusal> {
        let key = asked.idempotency.as_ref();
        if let Some(first) = self.said_before(sql, key)? {
            return Ok(first);
        }
        if !jobs::exists(sql)? {
            return woken(said(JobReply::no_redriven(asked.cursor.as_deref())?), i64::MAX);
        }
        let limit = asked.limit.clamp(1, jobs::SWEEP_ROWS_MAX);
        let (ids, next_cursor) = jobs::failed_ids(sql, &self.actor.tenant, limit, asked.cursor.as_deref())?;
        let mut books = Books::load(sql, self.actor, self.now_ms)?;
        let (mut begun, mut refused) = (Vec::new(), Vec::new());
        for id in ids {
            let mut job = jobs::find(sql, &id)?;
            match self.redrive(sql, &mut books, &mut job) {
                Ok(Ok(())) => begun.push(id),
                Err(refusal) if !is_harmless(&refusal) => return Err(refusal),
                Ok(Err(refusal)) | Err(refusal) => count(&mut refused, refusal),
            }
        }
        let reply = JobReply::Redriven { jobs: begun, refused, next_cursor };
        self.close_once(sql, &mut books, key, reply)
    }

    /// Whether the API key that a job was made with, where it was made with one, may still begin it: no command carries
    /// that key. What is under way ends as it was meant.
    fn key_lives(self, sql: &mut impl Sql, owner: &Owner) -> Result<(), Refusal> {
        let Some(id) = owner.api_key.as_deref() else { return Ok(()) };
        match keys::check(sql, id, self.now_ms) {
            Err(Refusal::UnknownApiKey) => Err(Refusal::CredentialEnded),
            checked => checked.map(drop),
        }
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
        let made = match self.key_lives(sql, &new.terms.owner) {
            Ok(()) => self.make(sql, &mut books, &new),
            Err(refusal) => Err(refusal),
        };
        let (job, refused) = match made {
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
            refusal: refused.clone(),
        };
        jobs::schedule_fired(sql, schedule, last, fire.next_run_ms)?;
        self.close(sql, &mut books, JobReply::Fired { job, replayed: false, refused })
    }
}

/// Counts a refusal with those of its kind.
fn count(refused: &mut Vec<(Refusal, u32)>, refusal: Refusal) {
    let kind = discriminant(&refusal);
    match refused.iter_mut().find(|(known, _)| discriminant(known) == kind) {
        Some((_, count)) => *count = count.saturating_add(1),
        None => refused.push((refusal, 1)),
    }
}

/// Remembers what a key's request was told.
fn remember(
    sql: &mut impl Sql,
    asked: &Idempotency,
    reply: &impl Serialize,
    now_ms: i64,
) -> Result<(), Refusal> {
    let reply = to_raw_value(reply).map_err(|error| unreadable(&error))?;
    let stored = Stored { reply, charged: Micro::ZERO, available: Micro::ZERO };
    idempotency::remember(sql, asked, &stored, now_ms)
}

/// Whether a refusal came before anything was counted or set aside, so that a command may go on without that job.
const fn is_harmless(refusal: &Refusal) -> bool {
    !matches!(refusal, Refusal::Storage { .. } | Refusal::Broken { .. } | Refusal::DuplicateOperation)
}
