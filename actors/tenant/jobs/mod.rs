//! Jobs in the tenant's one database: each is made together with its hold, and ends together with it.

mod create;
mod end;
mod ring;

use serde::{Deserialize, Serialize};

pub(super) use ring::{expire, ring};

use super::admission::Books;
use super::due::due_at_ms;
use super::handle::{At, woken};
use super::{Call, Effect, Idempotency, Outcome, Policy, Reply};
use crate::credits::HOLD_HISTORY_MS;
use crate::jobs::{
    self, Beat, Complete, Fail, Fire, Job, JobFilter, JobPage, JobStats, JobWithBody, LeaseAsked, Leased,
    NewJob, NewSchedule, Nudge, Patch, Schedule,
};
use crate::shared::{Refusal, TenantId};
use crate::sql::Sql;

/// What can be asked about jobs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobCommand {
    /// Makes a job, and sets its credit aside.
    Create {
        job: NewJob,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        idempotency: Option<Idempotency>,
    },
    /// A worker has come, called by a message or by itself.
    Lease(LeaseAsked),
    Beat(Beat),
    /// Its result, its charge and its usage, at once.
    Complete(Complete),
    Fail(Fail),
    Cancel {
        id: String,
    },
    Patch {
        id: String,
        patch: Patch,
    },
    /// Begins one of the dead-letter list anew, with a hold of its own.
    Redrive {
        id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        idempotency: Option<Idempotency>,
    },
    /// The same with the oldest of them.
    RedriveAll(RedriveAll),
    SetSchedule(NewSchedule),
    DeleteSchedule {
        id: String,
    },
    /// Makes the run of a schedule that is due.
    Fire(Fire),
    Get {
        id: String,
    },
    List(JobFilter),
    DeadLetters {
        limit: u32,
        cursor: Option<String>,
    },
    Stats,
    ListSchedules,
}

/// Which jobs of the dead-letter list are begun anew.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RedriveAll {
    /// So many are looked at: 1 to [`jobs::SWEEP_ROWS_MAX`].
    pub limit: u32,
    /// Behind those that an earlier call looked at.
    #[serde(default)]
    pub cursor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<Idempotency>,
}

/// What is answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobReply {
    Created {
        job: Job,
        /// An open job of the same dedupe key was there before.
        deduped: bool,
        /// The idempotency key was seen before: the job as it was then.
        replayed: bool,
    },
    /// None: nothing is ready, or as many run as may.
    Leased(Option<Leased>),
    /// The lease goes on until then.
    Beaten {
        until_ms: i64,
    },
    /// The attempt ended; the same at every repetition.
    Ended {
        job: Job,
        first: bool,
    },
    Changed(Job),
    Redriven {
        jobs: Vec<String>,
        /// Why others were passed over, and how many: the first refusal of each kind.
        refused: Vec<(Refusal, u32)>,
        /// There are more in the dead-letter list, behind all of these.
        next_cursor: Option<String>,
    },
    /// The idempotency key was seen before: what was answered then.
    Again(Box<JobReply>),
    Schedule(Schedule),
    Deleted,
    Fired {
        job: Option<Job>,
        /// This run was made before, or is none any more.
        replayed: bool,
        refused: Option<Refusal>,
    },
    Job(JobWithBody),
    Page(JobPage),
    Stats(JobStats),
    Schedules(Vec<Schedule>),
}

impl JobCommand {
    /// What it is called in a log line.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create_job",
            Self::Lease(_) => "lease_job",
            Self::Beat(_) => "beat_job",
            Self::Complete(_) => "complete_job",
            Self::Fail(_) => "fail_job",
            Self::Cancel { .. } => "cancel_job",
            Self::Patch { .. } => "patch_job",
            Self::Redrive { .. } => "redrive_job",
            Self::RedriveAll(_) => "redrive_jobs",
            Self::SetSchedule(_) => "set_schedule",
            Self::DeleteSchedule { .. } => "delete_schedule",
            Self::Fire(_) => "fire_schedule",
            Self::Get { .. } => "get_job",
            Self::List(_) => "list_jobs",
            Self::DeadLetters { .. } => "list_dead_letters",
            Self::Stats => "job_stats",
            Self::ListSchedules => "list_schedules",
        }
    }

    pub(super) const fn ends_work(&self) -> bool {
        matches!(self, Self::Beat(_) | Self::Complete(_) | Self::Fail(_))
    }

    /// Whether it may change something.
    #[must_use]
    pub const fn changes(&self) -> bool {
        !matches!(
            self,
            Self::Get { .. } | Self::List(_) | Self::DeadLetters { .. } | Self::Stats | Self::ListSchedules
        )
    }
}

impl JobReply {
    /// Of a tenant that never had a job, so there is nothing to go on behind.
    fn no_redriven(cursor: Option<&str>) -> Result<Self, Refusal> {
        match cursor {
            Some(_) => Err(Refusal::InvalidCursor),
            None => Ok(Self::Redriven { jobs: Vec::new(), refused: Vec::new(), next_cursor: None }),
        }
    }
}

fn said(reply: JobReply) -> Reply {
    Reply::Jobs(Box::new(reply))
}

/// Questions.
///
/// # Errors
/// `UnknownJob`, `InvalidCursor`.
pub(super) fn answer(
    sql: &mut impl Sql,
    tenant: &TenantId,
    question: JobCommand,
    now_ms: i64,
) -> Result<Reply, Refusal> {
    Ok(said(match question {
        JobCommand::Get { id } => {
            let job = jobs::find(sql, &id)?;
            JobReply::Job(jobs::with_body(sql, job)?)
        }
        JobCommand::List(filter) => JobReply::Page(jobs::list(sql, tenant, &filter)?),
        JobCommand::DeadLetters { limit, cursor } => {
            JobReply::Page(jobs::dead_letters(sql, tenant, limit, cursor.as_deref())?)
        }
        JobCommand::Stats => JobReply::Stats(jobs::stats(sql, now_ms)?),
        JobCommand::ListSchedules => JobReply::Schedules(jobs::list_schedules(sql)?),
        _ => return Err(Refusal::Storage { detail: "a change among the questions".to_owned() }),
    }))
}

/// What an actor says of jobs that was never opened; `None` for what opens it.
///
/// # Errors
/// As an opened one that has none.
pub(super) fn unopened(
    asked: &JobCommand,
    call: &Call,
    policy: &Policy,
    now_ms: i64,
) -> Result<Option<Reply>, Refusal> {
    let no_page = |cursor: &Option<String>| match cursor {
        Some(_) => Err(Refusal::InvalidCursor),
        None => Ok(JobReply::Page(JobPage { items: Vec::new(), next_cursor: None })),
    };
    let reply = match asked {
        JobCommand::Create { job, .. } => {
            job.check(now_ms)?;
            let available = policy.opening(&call.tenant, now_ms).amount;
            let needed = job.terms.amount;
            if needed > available {
                return Err(Refusal::InsufficientCredits { available, needed, updated_at_ms: now_ms });
            }
            return Ok(None);
        }
        JobCommand::SetSchedule(_) => return Ok(None),
        JobCommand::Lease(_) => JobReply::Leased(None),
        JobCommand::RedriveAll(asked) => JobReply::no_redriven(asked.cursor.as_deref())?,
        JobCommand::DeleteSchedule { .. } | JobCommand::Fire(_) => return Err(Refusal::UnknownSchedule),
        JobCommand::List(filter) => no_page(&filter.cursor)?,
        JobCommand::DeadLetters { cursor, .. } => no_page(cursor)?,
        JobCommand::Stats => JobReply::Stats(JobStats::default()),
        JobCommand::ListSchedules => JobReply::Schedules(Vec::new()),
        JobCommand::Get { .. }
        | JobCommand::Beat(_)
        | JobCommand::Complete(_)
        | JobCommand::Fail(_)
        | JobCommand::Cancel { .. }
        | JobCommand::Patch { .. }
        | JobCommand::Redrive { .. } => return Err(Refusal::UnknownJob),
    };
    Ok(Some(said(reply)))
}

impl At<'_> {
    /// Carries out a command about jobs.
    pub(super) fn jobs(self, sql: &mut impl Sql, asked: JobCommand) -> Result<Outcome, Refusal> {
        match asked {
            JobCommand::Create { job, idempotency } => self.create_job(sql, &job, idempotency.as_ref()),
            JobCommand::Lease(asked) => self.lease_job(sql, &asked),
            JobCommand::Beat(asked) => {
                let mut job = jobs::find(sql, &asked.id)?;
                job.beat(sql, &asked, self.now_ms)?;
                let until_ms = job.due_at_ms.unwrap_or(self.now_ms);
                woken(said(JobReply::Beaten { until_ms }), until_ms)
            }
            JobCommand::Complete(asked) => self.complete_job(sql, &asked),
            JobCommand::Fail(asked) => self.fail_job(sql, asked),
            JobCommand::Cancel { id } => {
                let patch = Patch { status: Some(jobs::Status::Cancelled), result: None };
                self.patch_job(sql, &id, &patch)
            }
            JobCommand::Patch { id, patch } => self.patch_job(sql, &id, &patch),
            JobCommand::Redrive { id, idempotency } => self.redrive_job(sql, &id, idempotency.as_ref()),
            JobCommand::RedriveAll(asked) => self.redrive_jobs(sql, &asked),
            JobCommand::SetSchedule(new) => {
                jobs::make_tables(sql)?;
                let schedule = jobs::set_schedule(sql, new, self.now_ms)?;
                let next_ms = schedule.terms.next_run_ms.unwrap_or(i64::MAX);
                woken(said(JobReply::Schedule(schedule)), next_ms)
            }
            JobCommand::DeleteSchedule { id } => {
                jobs::delete_schedule(sql, &id)?;
                woken(said(JobReply::Deleted), i64::MAX)
            }
            JobCommand::Fire(fire) => self.fire_schedule(sql, &fire),
            _ => Err(Refusal::Storage { detail: "a question among the changes".to_owned() }),
        }
    }

    fn lease_job(self, sql: &mut impl Sql, asked: &LeaseAsked) -> Result<Outcome, Refusal> {
        if !jobs::exists(sql)? {
            return woken(said(JobReply::Leased(None)), i64::MAX);
        }
        let limits = super::limits::LimitsRow::load(sql, self.actor)?;
        let leased = jobs::lease(sql, &limits.settings.jobs, asked, self.now_ms)?;
        let nudges = jobs::refill(sql, &limits.settings.jobs, self.now_ms)?;
        self.done(sql, JobReply::Leased(leased), nudges, i64::MAX)
    }

    /// Stores the books of a command that ended a job or began one, and calls for those who wait.
    fn close(self, sql: &mut impl Sql, books: &mut Books, reply: JobReply) -> Result<Outcome, Refusal> {
        let nudges = jobs::refill(sql, &books.limits.settings.jobs, self.now_ms)?;
        let due_ms = books.store(sql)?.min(self.now_ms.saturating_add(HOLD_HISTORY_MS));
        self.done(sql, reply, nudges, due_ms)
    }

    /// The answer, the messages to send, and when to ring: for jobs, and by `due_ms`.
    fn done(
        self,
        sql: &mut impl Sql,
        reply: JobReply,
        nudges: Vec<Nudge>,
        due_ms: i64,
    ) -> Result<Outcome, Refusal> {
        let at_ms = due_at_ms(sql)?.unwrap_or(i64::MAX).min(due_ms);
        let mut outcome = woken(said(reply), at_ms)?;
        outcome.effects.extend(nudges.into_iter().map(Effect::Nudge));
        Ok(outcome)
    }
}
