//! Jobs: work that a tenant leaves with us, done later and elsewhere, never lost and never charged twice.
//!
//! Owns: the job's row and its life ([`state`]), the order in which jobs go, leases, retries, the dead-letter list,
//! schedules, and what clients are told. Never does: money, which the tenant's actor moves in the same transaction;
//! messages and the work itself, which the shell and the workers do; calendars, which the platform reads.

mod attempt;
mod body;
mod job;
mod list;
mod news;
mod patch;
mod queue;
mod rates;
mod schedule;
pub mod state;
mod sweep;
mod verify;

#[cfg(test)]
mod tests;

pub use attempt::{Beat, Complete, Fail, Owed, Verdict, wait_ms};
pub use body::{JobWithBody, checkpoint, drop_body, owed, with_body, write_result};
pub use job::{
    Job, JobError, Life, NewJob, Reason, Terms, exists, find, insert, load, make_tables, open_of_dedupe,
    room, store,
};
pub use list::{JobFilter, JobPage, JobStats, TypeStats, dead_letters, failed_ids, list, stats};
pub use news::{EVENTS_KEPT, JobEvent, first_seq, last_seq, prune, tell, told};
pub use patch::Patch;
pub use queue::{JobLimits, LeaseAsked, Leased, Nudge, lease, refill};
pub use rates::{RATE_EVENTS_MAX, RATE_MINUTES, Rates, TypeCounts};
pub use schedule::{
    Due as ScheduleDue, Fire, LastRun, NewSchedule, Priced, Schedule, delete as delete_schedule,
    fired as schedule_fired, list as list_schedules, set as set_schedule, take as take_schedule,
};
pub use state::{Event, State, Status};
pub use sweep::{DUE_AT_MS, due_jobs, due_schedules, forget, nudge_again, ready};
pub use verify::verify;

/// The tables.
pub const SCHEMA: &str = include_str!("schema.sql");

/// Jobs of one tenant that are not final. Each has a hold of a few hundred bytes beside its row.
pub const JOBS_OPEN_MAX: u32 = 10_000;
/// Jobs of one tenant in all, with those that are over and not forgotten: 100,000 rows of half a kilobyte.
pub const JOBS_KEPT_MAX: i64 = 100_000;
/// What a job is asked, in bytes of JSON as its client wrote it.
pub const PARAMS_BYTES_MAX: usize = 65_536;
/// The same with what the shell keeps beside it: the prices of the models that may answer, a hundred bytes each.
pub const STORED_PARAMS_BYTES_MAX: usize = 81_920;
/// What it answers, in bytes of JSON. A row of the platform holds 2 MB: params, checkpoint and result fit in one.
pub const RESULT_BYTES_MAX: usize = 1_000_000;
/// What an attempt leaves for the next one, in bytes of JSON: it is written again with each step of the work.
pub const CHECKPOINT_BYTES_MAX: usize = 524_288;
/// What is owed for it, in bytes of JSON.
pub const OWED_BYTES_MAX: usize = 65_536;
/// What a heartbeat says for clients to see.
pub const PROGRESS_BYTES_MAX: usize = 1_024;
/// The message of an error; what is longer is cut.
pub const MESSAGE_BYTES_MAX: usize = 1_024;
/// The code of an error, and how many of them a type may call final.
pub const CODE_BYTES_MAX: usize = 64;
pub const FINAL_ERRORS_MAX: usize = 32;
/// Names: ids of jobs and schedules, of types, of workers; dedupe keys.
pub const ID_BYTES_MAX: usize = 128;
pub const TYPE_BYTES_MAX: usize = 32;
pub const WORKER_BYTES_MAX: usize = 128;
pub const DEDUPE_BYTES_MAX: usize = 255;
pub const PRIORITY_MAX: i64 = 9;
pub const PRIORITY_DEFAULT: i64 = 5;
/// Attempts of one job, until it is begun anew.
pub const ATTEMPTS_MAX: u32 = 20;
/// How long a lease may be without a heartbeat: a worker of the platform lives fifteen minutes.
pub const LEASE_MS_MAX: i64 = 900_000;
pub const LEASE_MS_MIN: i64 = 1_000;
/// How far ahead a job may be made, and how long it may take from its time on. Credit is set aside for all of it.
pub const DELAY_MS_MAX: i64 = 2_592_000_000;
pub const TTL_MS_MAX: i64 = 604_800_000;
/// The longest wait between two attempts.
pub const WAIT_MS_MAX: i64 = 86_400_000;
/// How long a job that is over is kept, and so the dead-letter list. 30 days.
pub const HISTORY_MS: i64 = 2_592_000_000;
/// Schedules of one tenant.
pub const SCHEDULES_MAX: u32 = 64;
/// Jobs one alarm looks at, and one command begins anew: a transaction of some milliseconds.
pub const SWEEP_ROWS_MAX: u32 = 100;
