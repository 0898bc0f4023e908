//! The job's row: what it was made with, what became of it, and how it is read and written.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::state::{Event, State};
use super::{
    ATTEMPTS_MAX, CODE_BYTES_MAX, DEDUPE_BYTES_MAX, DELAY_MS_MAX, FINAL_ERRORS_MAX, HISTORY_MS, ID_BYTES_MAX,
    JOBS_KEPT_MAX, LEASE_MS_MAX, LEASE_MS_MIN, MESSAGE_BYTES_MAX, PRIORITY_MAX, SCHEMA,
    STORED_PARAMS_BYTES_MAX, TTL_MS_MAX, TYPE_BYTES_MAX, WAIT_MS_MAX, news,
};
use crate::credits::Owner;
use crate::shared::{Micro, Refusal};
use crate::sql::{Sql, row};

/// A job to be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewJob {
    /// Not to be guessed, of `[a-z0-9-]`.
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub params: Box<RawValue>,
    /// 0 to 9; 9 goes first.
    pub priority: i64,
    /// Not before this time.
    #[serde(default)]
    pub run_at_ms: Option<i64>,
    /// While a job of the same one is open, that one is answered.
    #[serde(default)]
    pub dedupe: Option<String>,
    pub terms: Terms,
}

/// What a job was made with: its type said it, and it does not change when the type does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// What all attempts together may cost.
    #[serde(rename = "amount_micro")]
    pub amount: Micro,
    /// Who asks, which models may answer, and what it weighs in the budgets.
    pub owner: Owner,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// From its time on it is done, or it fails, within this.
    pub ttl_ms: i64,
    pub lease_ms: i64,
    pub attempts_max: u32,
    /// The wait after the first failed attempt; it doubles, up to the longest.
    pub wait_first_ms: i64,
    pub wait_max_ms: i64,
    /// Codes of errors that another attempt would meet again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub final_errors: Vec<String>,
    /// How long its result is kept.
    pub result_ttl_ms: i64,
    /// The schedule that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
}

/// Why an attempt failed. `code` is for programs; neither has anything internal in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    pub code: String,
    pub message: String,
}

/// Why a job is in the dead-letter list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// An error that another attempt would meet again.
    FinalError,
    AttemptsExhausted,
    /// Its deadline passed, or would have before the next attempt.
    Expired,
    /// A client said so.
    Client,
}

/// What became of a job so far.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Life {
    pub run_at_ms: i64,
    /// Leases since it was made, or begun anew.
    pub attempts: u32,
    /// How often it was begun anew. Each time it has a hold of its own.
    #[serde(default)]
    pub redrives: u32,
    /// Messages that were sent and brought nobody.
    #[serde(default)]
    pub nudges: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Box<RawValue>>,
    /// Of the last attempt that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    #[serde(default, rename = "charged_micro")]
    pub charged: Micro,
    /// The available balance right after its charge.
    #[serde(default, rename = "balance_micro", skip_serializing_if = "Option::is_none")]
    pub balance: Option<Micro>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at_ms: Option<i64>,
    /// The dedupe key that it had while it was open, and has again when it is begun anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedupe: Option<String>,
    /// Its body is there: what it was asked, and its result.
    #[serde(default)]
    pub has_body: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    pub seq: i64,
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub state: State,
    pub priority: i64,
    pub due_at_ms: Option<i64>,
    pub epoch: i64,
    pub worker: Option<String>,
    pub expires_at_ms: i64,
    pub dedupe: Option<String>,
    pub created_at_ms: i64,
    pub updated_at_ms: i64,
    pub terms: Terms,
    pub life: Life,
}

/// What is only forgotten can wait for company: one alarm a minute at most.
const MINUTE_MS: i64 = 60_000;

impl NewJob {
    /// # Errors
    /// `InvalidSetting`, naming the field.
    pub fn check(&self, now_ms: i64) -> Result<(), Refusal> {
        let id = |text: &str| {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain)
        };
        expect(id(&self.id), "id", "1 to 128 of a-z, 0-9 and -")?;
        let kind = (1..=TYPE_BYTES_MAX).contains(&self.kind.len());
        expect(kind, "type", "a name of 1 to 32 bytes")?;
        let params = self.params.get().len() <= STORED_PARAMS_BYTES_MAX;
        expect(params, "params", "at most 81920 bytes of JSON with their prices")?;
        expect((0..=PRIORITY_MAX).contains(&self.priority), "priority", "a whole number from 0 to 9")?;
        let latest_ms = now_ms.saturating_add(DELAY_MS_MAX);
        expect(self.run_at_ms.is_none_or(|at_ms| at_ms <= latest_ms), "run_at", "at most 30 days ahead")?;
        let dedupe = self.dedupe.as_ref().is_none_or(|key| (1..=DEDUPE_BYTES_MAX).contains(&key.len()));
        expect(dedupe, "dedupe_key", "1 to 255 bytes")?;
        self.terms.check()
    }
}

impl Terms {
    fn check(&self) -> Result<(), Refusal> {
        expect(self.amount >= Micro::ZERO, "amount", "credits, zero or more")?;
        expect((1..=TTL_MS_MAX).contains(&self.ttl_ms), "ttl_ms", "at most 7 days")?;
        let lease = (LEASE_MS_MIN..=LEASE_MS_MAX).contains(&self.lease_ms);
        expect(lease, "lease_ms", "1 second to 15 minutes")?;
        expect((1..=ATTEMPTS_MAX).contains(&self.attempts_max), "attempts_max", "1 to 20")?;
        let waits =
            (0..=WAIT_MS_MAX).contains(&self.wait_first_ms) && (0..=WAIT_MS_MAX).contains(&self.wait_max_ms);
        expect(waits, "wait_ms", "at most a day")?;
        let codes = self.final_errors.len() <= FINAL_ERRORS_MAX
            && self.final_errors.iter().all(|code| code.len() <= CODE_BYTES_MAX);
        expect(codes, "final_errors", "at most 32 codes of at most 64 bytes")?;
        expect((0..=HISTORY_MS).contains(&self.result_ttl_ms), "result_ttl_ms", "at most 30 days")
    }
}

pub(super) fn expect(holds: bool, field: &str, expected: &str) -> Result<(), Refusal> {
    if holds {
        return Ok(());
    }
    Err(Refusal::InvalidSetting { field: field.to_owned(), expected: expected.to_owned() })
}

impl JobError {
    /// With a message of bounded length, cut between characters.
    #[must_use]
    pub fn new(code: &str, message: &str) -> Self {
        Self { code: cut(code, CODE_BYTES_MAX), message: cut(message, MESSAGE_BYTES_MAX) }
    }
}

fn cut(text: &str, bytes_max: usize) -> String {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or_default().to_owned()
}

impl Job {
    /// One that is not written yet.
    #[must_use]
    pub fn new(new: &NewJob, now_ms: i64) -> Self {
        let run_at_ms = new.run_at_ms.unwrap_or(now_ms).max(now_ms);
        let later = run_at_ms > now_ms;
        Self {
            seq: 0,
            id: new.id.clone(),
            kind: new.kind.clone(),
            state: if later { State::Delayed } else { State::Queued },
            priority: new.priority,
            due_at_ms: later.then_some(run_at_ms),
            epoch: 0,
            worker: None,
            expires_at_ms: run_at_ms.saturating_add(new.terms.ttl_ms),
            dedupe: new.dedupe.clone(),
            created_at_ms: now_ms,
            updated_at_ms: now_ms,
            terms: new.terms.clone(),
            life: Life { run_at_ms, has_body: true, ..Life::default() },
        }
    }

    /// The id of the hold that is open while it is. Usage events have that id too, so none is written twice.
    #[must_use]
    pub fn hold(&self) -> String {
        match self.life.redrives {
            0 => self.id.clone(),
            times => format!("{}-r{times}", self.id),
        }
    }

    /// The owner of its hold, which says whose it is.
    #[must_use]
    pub fn owner(&self) -> Owner {
        Owner { job: Some(self.id.clone()), idempotency_key: None, ..self.terms.owner.clone() }
    }

    /// Moves it on. What is due, and who has it, is set by whoever knows.
    ///
    /// # Errors
    /// `InvalidTransition`.
    pub(super) fn go(&mut self, event: Event, now_ms: i64) -> Result<(), Refusal> {
        self.state = self.state.after(event)?;
        self.updated_at_ms = self.updated_at_ms.max(now_ms);
        self.worker = self.worker.take().filter(|_| self.state == State::Leased);
        if matches!(self.state, State::Queued | State::Taken) {
            self.due_at_ms = None;
        }
        if self.state.is_final() {
            self.end(now_ms);
        }
        Ok(())
    }

    fn end(&mut self, now_ms: i64) {
        let kept_ms = match self.state {
            State::Succeeded => self.terms.result_ttl_ms,
            _ => HISTORY_MS,
        };
        self.life.finished_at_ms = Some(now_ms);
        self.life.dedupe = self.dedupe.take();
        self.due_at_ms = Some(batched(now_ms.saturating_add(kept_ms)));
    }

    /// When it is forgotten, once it is over.
    pub(super) fn forgotten_at_ms(&self) -> Option<i64> {
        self.life.finished_at_ms.map(|at_ms| batched(at_ms.saturating_add(HISTORY_MS)))
    }
}

pub(super) const fn batched(at_ms: i64) -> i64 {
    at_ms.saturating_add(MINUTE_MS).div_euclid(MINUTE_MS).saturating_mul(MINUTE_MS)
}

pub(super) const ROW: &str =
    "json_object('seq', seq, 'id', id, 'type', type, 'state', state, 'priority', priority,
  'due_at_ms', due_at_ms, 'epoch', epoch, 'worker', worker, 'expires_at_ms', expires_at_ms, 'dedupe', dedupe,
  'created_at_ms', created_at_ms, 'updated_at_ms', updated_at_ms, 'terms', json(terms), 'life', json(life))";

/// Whether this tenant ever had a job: its tables are there.
///
/// # Errors
/// What the database refused.
pub fn exists(sql: &mut impl Sql) -> Result<bool, Refusal> {
    Ok(sql.text("SELECT name FROM sqlite_master WHERE name = 'jobs'", &[])?.is_some())
}

/// Makes the tables, where there are none. Without the comments, which every database would keep.
///
/// # Errors
/// What the database refused.
pub fn make_tables(sql: &mut impl Sql) -> Result<(), Refusal> {
    if exists(sql)? {
        return Ok(());
    }
    let lines = SCHEMA.lines().filter(|line| !line.trim_start().starts_with("--"));
    let tables: String = lines.flat_map(|line| [line, "\n"]).collect();
    sql.execute(&tables, &[])?;
    Ok(())
}

/// # Errors
/// `UnknownJob`, also where there was never one.
pub fn find(sql: &mut impl Sql, id: &str) -> Result<Job, Refusal> {
    if !exists(sql)? {
        return Err(Refusal::UnknownJob);
    }
    load(sql, id)?.ok_or(Refusal::UnknownJob)
}

/// The job of that id, where there are tables.
///
/// # Errors
/// What the database refused.
pub fn load(sql: &mut impl Sql, id: &str) -> Result<Option<Job>, Refusal> {
    let statement = format!("SELECT {ROW} FROM jobs WHERE id = ?1");
    row(sql, &statement, &[id.into()])
}

pub(super) fn load_seq(sql: &mut impl Sql, seq: i64) -> Result<Job, Refusal> {
    let statement = format!("SELECT {ROW} FROM jobs WHERE seq = ?1");
    row(sql, &statement, &[seq.into()])?.ok_or_else(|| broken("a job that is listed is not there"))
}

/// The open job of that dedupe key.
///
/// # Errors
/// What the database refused.
pub fn open_of_dedupe(sql: &mut impl Sql, dedupe: &str) -> Result<Option<Job>, Refusal> {
    let statement = format!("SELECT {ROW} FROM jobs WHERE dedupe = ?1");
    row(sql, &statement, &[dedupe.into()])
}

/// Refuses a job when as many as may be are kept.
///
/// # Errors
/// `TooManyJobs`.
pub fn room(sql: &mut impl Sql) -> Result<(), Refusal> {
    // Numbers are given in their order, so there are at most as many as lie between the first and the last.
    let span: Option<i64> =
        row(sql, "SELECT COALESCE((SELECT MAX(seq) FROM jobs) - (SELECT MIN(seq) FROM jobs), 0)", &[])?;
    if span.unwrap_or(0) >= JOBS_KEPT_MAX.saturating_sub(1) {
        let kept: Option<i64> = row(sql, "SELECT COUNT(*) FROM jobs", &[])?;
        if kept.unwrap_or(0) >= JOBS_KEPT_MAX {
            return Err(Refusal::TooManyJobs { limit: JOBS_KEPT_MAX });
        }
    }
    Ok(())
}

/// Writes a new job, and what it is asked. It is told of.
///
/// # Errors
/// `DuplicateOperation` when there is one of that id.
pub fn insert(sql: &mut impl Sql, job: &mut Job, params: &RawValue, now_ms: i64) -> Result<(), Refusal> {
    if load(sql, &job.id)?.is_some() {
        return Err(Refusal::DuplicateOperation);
    }
    let seq: Option<i64> = row(
        sql,
        "INSERT INTO jobs (id, type, state, priority, due_at_ms, epoch, expires_at_ms, dedupe, created_at_ms,
           updated_at_ms, terms, life)
         VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?8, ?8, ?9, ?10) RETURNING seq",
        &[
            job.id.as_str().into(),
            job.kind.as_str().into(),
            job.state.name().into(),
            job.priority.into(),
            job.due_at_ms.into(),
            job.expires_at_ms.into(),
            job.dedupe.as_deref().into(),
            now_ms.into(),
            json(&job.terms)?.into(),
            json(&job.life)?.into(),
        ],
    )?;
    job.seq = seq.ok_or_else(|| broken("a new job has no number"))?;
    sql.execute(
        "INSERT INTO job_bodies (seq, params) VALUES (?1, ?2)",
        &[job.seq.into(), params.get().into()],
    )?;
    news::tell(sql, job, None, now_ms)
}

/// Writes what may have changed of a job.
///
/// # Errors
/// What the database refused; its checks hold the invariants too.
pub fn store(sql: &mut impl Sql, job: &Job) -> Result<(), Refusal> {
    sql.execute(
        "UPDATE jobs SET state = ?2, due_at_ms = ?3, epoch = ?4, worker = ?5, expires_at_ms = ?6, dedupe = ?7,
           updated_at_ms = ?8, life = ?9 WHERE seq = ?1",
        &[
            job.seq.into(),
            job.state.name().into(),
            job.due_at_ms.into(),
            job.epoch.into(),
            job.worker.as_deref().into(),
            job.expires_at_ms.into(),
            job.dedupe.as_deref().into(),
            job.updated_at_ms.into(),
            json(&job.life)?.into(),
        ],
    )?;
    Ok(())
}

/// Moves a job on, writes it, and tells of it where clients are to know.
pub(super) fn step(sql: &mut impl Sql, job: &mut Job, event: Event, now_ms: i64) -> Result<(), Refusal> {
    job.go(event, now_ms)?;
    store(sql, job)?;
    if event.is_told() {
        news::tell(sql, job, Some(event), now_ms)?;
    }
    Ok(())
}

pub(super) fn json(value: &impl Serialize) -> Result<String, Refusal> {
    serde_json::to_string(value).map_err(|error| broken(&error.to_string()))
}

pub(super) fn broken(detail: &str) -> Refusal {
    Refusal::Broken { detail: detail.to_owned() }
}
