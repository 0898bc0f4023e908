//! Commands about jobs as the simulator speaks of them.

use actors::credits::{Owner, Usage};
use actors::jobs::{Beat, Complete, Fail, JobError, LeaseAsked, NewJob, Patch, Status, Terms};
use actors::rate::Weight;
use actors::shared::Micro;
use actors::tenant::{Command, JobCommand, RedriveAll};
use serde_json::value::RawValue;

use crate::command::{API_KEYS, Key, MODELS, Used, hold_id, idempotency};

pub const TYPES: [&str; 2] = ["si", "webhook"];
/// What clients may ask a job to become, in the order of [`JobCmd::Patch`].
pub const STATUSES: [Status; 5] =
    [Status::Queued, Status::Running, Status::Succeeded, Status::Failed, Status::Cancelled];
pub const RESULT_TTL_MS: i64 = 3_600_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobSpec {
    pub job: u32,
    pub kind: u8,
    pub priority: i64,
    pub run_at_ms: Option<i64>,
    pub amount: i64,
    pub ttl_ms: i64,
    pub lease_ms: i64,
    pub attempts_max: u32,
    /// After the first attempt; four times as long at most.
    pub wait_ms: i64,
    pub dedupe: Option<u8>,
    pub api_key: Option<u8>,
    pub models: u8,
    pub tokens: i64,
    pub key: Option<Key>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobCmd {
    Create(JobSpec),
    Lease {
        worker: u32,
        job: Option<u32>,
    },
    Beat {
        job: u32,
        epoch: i64,
        mark: Option<u32>,
    },
    Complete {
        job: u32,
        epoch: i64,
        charge: i64,
        used: Used,
    },
    Fail {
        job: u32,
        epoch: i64,
        fatal: bool,
        seed: u32,
    },
    /// A place in [`STATUSES`].
    Patch {
        job: u32,
        status: u8,
    },
    RedriveAll {
        limit: u32,
    },
}

/// A job is named as its hold is.
pub fn job_id(job: u32) -> String {
    hold_id(job)
}

pub fn worker_id(worker: u32) -> String {
    format!("w{worker}")
}

pub fn mark_text(mark: u32) -> String {
    format!("{{\"done\":{mark}}}")
}

fn raw(text: String) -> Box<RawValue> {
    RawValue::from_string(text).expect("JSON")
}

impl JobCmd {
    pub fn build(&self) -> Command {
        Command::Jobs(Box::new(match *self {
            Self::Create(spec) => {
                JobCommand::Create { job: new_job(&spec), idempotency: idempotency(spec.key) }
            }
            Self::Lease { worker, job } => {
                let job = job.map(job_id);
                JobCommand::Lease(LeaseAsked { worker: worker_id(worker), job, types: None })
            }
            Self::Beat { job, epoch, mark } => JobCommand::Beat(Beat {
                id: job_id(job),
                epoch,
                progress: mark.map(|mark| raw(mark_text(mark))),
                checkpoint: mark.map(|mark| raw(mark.to_string())),
            }),
            Self::Complete { job, epoch, charge, used } => JobCommand::Complete(Complete {
                id: job_id(job),
                epoch,
                charge: Micro(charge),
                usage: Usage {
                    route: Some("job".to_owned()),
                    tokens_in: Some(used.tokens_in),
                    tokens_out: Some(used.tokens_out),
                    model: used.model.map(|model| MODELS[usize::from(model)].to_owned()),
                    meta: None,
                },
                result: raw(format!("{{\"content\":{epoch}}}")),
            }),
            Self::Fail { job, epoch, fatal, seed } => {
                let error = JobError { code: code(fatal).to_owned(), message: String::new() };
                JobCommand::Fail(Fail { id: job_id(job), epoch, error, retry_after_ms: None, seed })
            }
            Self::Patch { job, status } => {
                let patch = Patch { status: Some(STATUSES[usize::from(status)]), result: None };
                JobCommand::Patch { id: job_id(job), patch }
            }
            Self::RedriveAll { limit } => {
                JobCommand::RedriveAll(RedriveAll { limit, ..RedriveAll::default() })
            }
        }))
    }

    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Create(_) => "create job",
            Self::Lease { .. } => "lease job",
            Self::Beat { .. } => "beat",
            Self::Complete { .. } => "complete job",
            Self::Fail { .. } => "fail job",
            Self::Patch { .. } => "patch job",
            Self::RedriveAll { .. } => "redrive jobs",
        }
    }
}

const fn code(fatal: bool) -> &'static str {
    if fatal { "fatal" } else { "timeout" }
}

pub fn new_job(spec: &JobSpec) -> NewJob {
    let models = MODELS.iter().enumerate().filter(|(at, _)| spec.models & (1 << at) != 0);
    let owner = Owner {
        route: "job".to_owned(),
        api_key: spec.api_key.map(|key| API_KEYS[usize::from(key)].to_owned()),
        models: models.map(|(_, name)| (*name).to_owned()).collect(),
        weight: Weight { requests: 1, tokens: spec.tokens, micro: Micro(spec.amount) },
        ..Owner::default()
    };
    NewJob {
        id: job_id(spec.job),
        kind: TYPES[usize::from(spec.kind)].to_owned(),
        params: raw(format!("{{\"input\":{}}}", spec.job)),
        priority: spec.priority,
        run_at_ms: spec.run_at_ms,
        dedupe: spec.dedupe.map(|dedupe| format!("d{dedupe}")),
        terms: Terms {
            amount: Micro(spec.amount),
            owner,
            tier: None,
            ttl_ms: spec.ttl_ms,
            lease_ms: spec.lease_ms,
            attempts_max: spec.attempts_max,
            wait_first_ms: spec.wait_ms,
            wait_max_ms: spec.wait_ms * 4,
            final_errors: vec![code(true).to_owned()],
            result_ttl_ms: RESULT_TTL_MS,
            schedule: None,
        },
    }
}
