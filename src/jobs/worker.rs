//! A worker: leases a job, does it beside its heartbeats, and brings what came of it.

use actors::jobs::{Complete, Fail, JobError, LeaseAsked, Leased};
use actors::shared::{Refusal, TenantId};
use actors::tenant::{Command, JobCommand, JobReply, Reply};
use futures::future::{Either, select};

use super::attempt::{Attempt, Unkept};
use super::kinds::{self, Done, Failure, RESULT_TOO_LARGE};
use crate::edge::meter::waits_within;
use crate::edge::operation::Operation;
use crate::platform::{chance, log, now_ms, random_id, tenant_stub, timer};

/// The route that usage rows of jobs name.
pub const ROUTE: &str = "/api/jobs";
/// How often a worker says that it is at it, within one lease.
const BEATS_PER_LEASE: i64 = 3;
/// The longest attempt: the platform ends a consumer after fifteen minutes.
const ATTEMPT_MS_MAX: i64 = 780_000;
/// How long the end of an attempt is tried to be told. Later its lease has run out.
const END_PATIENCE_MS: i64 = 30_000;

/// Asks the actor for a job; `called` is the one that a message was sent for.
///
/// # Errors
/// The actor's refusal.
pub async fn lease(
    operation: &Operation,
    tenant: &TenantId,
    called: Option<&str>,
) -> Result<Option<Leased>, Refusal> {
    let asked =
        LeaseAsked { worker: random_id(), job: called.map(str::to_owned), types: Some(kinds::names()) };
    let command = Command::Jobs(Box::new(JobCommand::Lease(asked)));
    match tenant_stub::send(operation.origin(), tenant, None, command).await? {
        Reply::Jobs(reply) => match *reply {
            JobReply::Leased(leased) => Ok(leased),
            _ => Err(unexpected()),
        },
        _ => Err(unexpected()),
    }
}

fn unexpected() -> Refusal {
    Refusal::Storage { detail: "an actor answered another command".to_owned() }
}

/// Does a job that was leased. Nothing is left to do after it, whatever came of it.
pub async fn work(operation: &Operation, tenant: &TenantId, leased: Leased) {
    let operation = Operation { request_id: request_of(operation, &leased), ..operation.clone() };
    let attempt = Attempt::new(operation, tenant.clone(), leased);
    let Some(kind) = kinds::find(&attempt.job.kind) else { return };
    let doing = timer::within(ATTEMPT_MS_MAX, (kind.run)(&attempt));
    let done = match select(Box::pin(doing), Box::pin(beating(&attempt))).await {
        Either::Left((Ok(done), _)) => done,
        Either::Left((Err(timer::Elapsed), _)) => {
            Err(Failure::new("timeout", format!("the attempt took longer than {ATTEMPT_MS_MAX} ms")))
        }
        // Dropping the work ends its calls.
        Either::Right(((), _)) => return,
    };
    let told = match done {
        Ok(done) => complete(&attempt, done).await,
        Err(failure) => fail(&attempt, failure).await,
    };
    if told.is_err() {
        let detail = "no answer of its actor says that the attempt ended; its lease runs out";
        log::fault_of(&attempt.operation.request_id, "job_left_to_its_lease", detail);
    }
}

/// The request that made the job. Those of a schedule have none of their own, so it is the message's.
fn request_of(operation: &Operation, leased: &Leased) -> String {
    let terms = &leased.job.terms;
    let own = terms.owner.request_id.clone().filter(|_| terms.schedule.is_none());
    own.unwrap_or_else(|| operation.request_id.clone())
}

/// Keeps the lease alive until it is lost.
async fn beating(attempt: &Attempt) {
    let between_ms = attempt.job.terms.lease_ms.checked_div(BEATS_PER_LEASE).unwrap_or(1);
    let between_ms = u32::try_from(between_ms.max(1)).unwrap_or(u32::MAX);
    loop {
        timer::sleep(between_ms).await;
        if attempt.beat(None, None, None).await == Err(Unkept::LeaseLost) {
            return;
        }
    }
}

/// The actor could not be reached.
struct Untold;

async fn complete(attempt: &Attempt, done: Done) -> Result<(), Untold> {
    let Done { result, charge, usage } = done;
    let (id, epoch) = (attempt.job.id.clone(), attempt.job.epoch);
    let told = tell(attempt, JobCommand::Complete(Complete { id, epoch, charge, usage, result })).await;
    match told {
        Err(Refusal::InvalidSetting { .. }) => {
            fail(attempt, Failure::new(RESULT_TOO_LARGE, "the result is larger than a job's may be")).await
        }
        told => ended(told),
    }
}

async fn fail(attempt: &Attempt, failure: Failure) -> Result<(), Untold> {
    let Failure { code, message, retry_after_ms } = failure;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let seed = (chance() * f64::from(u32::MAX)) as u32;
    let (id, epoch) = (attempt.job.id.clone(), attempt.job.epoch);
    let error = JobError::new(code, &message);
    ended(tell(attempt, JobCommand::Fail(Fail { id, epoch, error, retry_after_ms, seed })).await)
}

fn ended(told: tenant_stub::Answer) -> Result<(), Untold> {
    match told {
        // Another one has the job, or it is over: what was made here is nobody's.
        Ok(_) | Err(Refusal::StaleLease { .. } | Refusal::UnknownJob) => Ok(()),
        Err(_) => Err(Untold),
    }
}

/// Sends an end until it is answered: it may be sent again and again, and happens once.
async fn tell(attempt: &Attempt, command: JobCommand) -> tenant_stub::Answer {
    let left_ms = attempt.job.expires_at_ms.saturating_sub(now_ms());
    for wait_ms in waits_within(END_PATIENCE_MS.min(left_ms)) {
        match attempt.send(command.clone()).await {
            Err(Refusal::Storage { .. }) => timer::sleep(wait_ms).await,
            answer => return answer,
        }
    }
    attempt.send(command).await
}
