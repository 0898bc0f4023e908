//! One attempt, from its lease to its end: heartbeats, completion, failure. Who has an older lease is late.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::PROGRESS_BYTES_MAX;
use super::body::{checkpoint, forget_owed, write_result};
use super::job::{Job, JobError, Life, Reason, Terms, expect, step, store};
use super::state::{Event, State};
use crate::credits::Usage;
use crate::planted::{self, Bug};
use crate::shared::{Micro, Refusal};
use crate::sql::Sql;

/// A worker says that it is at it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Beat {
    pub id: String,
    pub epoch: i64,
    /// For clients to see.
    #[serde(default)]
    pub progress: Option<Box<RawValue>>,
    /// What is done so far, for another attempt to go on with. Its member `result`, if it has one, is shown to clients
    /// while the job has no result.
    #[serde(default)]
    pub checkpoint: Option<Box<RawValue>>,
    /// What is owed for the checkpoint that comes with it.
    #[serde(default)]
    pub owed: Option<Owed>,
}

/// What a job owes for what it got done so far. Whatever ends it but its completion settles this, up to its hold.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Owed {
    #[serde(rename = "charge_micro")]
    pub charge: Micro,
    pub usage: Usage,
}

/// A worker is done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Complete {
    pub id: String,
    pub epoch: i64,
    pub charge: Micro,
    pub usage: Usage,
    pub result: Box<RawValue>,
}

/// A worker failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fail {
    pub id: String,
    pub epoch: i64,
    pub error: JobError,
    /// How long whoever refused asked to be left alone. The longest wait of the job's type bounds it.
    #[serde(default)]
    pub retry_after_ms: Option<i64>,
    /// Spreads the next attempts: any number, drawn by whoever sends this.
    pub seed: u32,
}

/// What comes of a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Why there is no other attempt. Its hold is to be ended then.
    pub reason: Option<Reason>,
    /// When another one would begin.
    pub next_ms: i64,
}

/// The wait after the attempt of this number: doubled each time, and somewhere between half of that and all of it.
#[must_use]
pub fn wait_ms(terms: &Terms, attempt: u32, seed: u32) -> i64 {
    let doublings = attempt.saturating_sub(1).min(30);
    let whole = terms.wait_first_ms.saturating_mul(1_i64 << doublings).min(terms.wait_max_ms);
    let half = whole / 2;
    let spread = whole.saturating_sub(half).saturating_add(1);
    half.saturating_add(i64::from(seed).checked_rem(spread).unwrap_or(0))
}

impl Job {
    /// Whether whoever has the lease of this epoch may go on.
    ///
    /// # Errors
    /// `StaleLease`.
    pub fn live(&self, epoch: i64) -> Result<(), Refusal> {
        let ours = self.epoch == epoch || planted::on(Bug::StaleEpochAccepted);
        if self.state == State::Leased && ours {
            return Ok(());
        }
        Err(Refusal::StaleLease { status: self.state.status().name().to_owned() })
    }

    /// Whether the completion of this epoch was heard before.
    #[must_use]
    pub fn was_completed(&self, epoch: i64) -> bool {
        self.state == State::Succeeded && self.epoch == epoch
    }

    /// Whether the failure of this epoch was heard before.
    #[must_use]
    pub fn has_failed(&self, epoch: i64) -> bool {
        let waits = matches!(self.state, State::Delayed | State::Queued | State::Nudged | State::Failed);
        waits && self.epoch == epoch && epoch > 0 && self.life.error.is_some()
    }

    /// # Errors
    /// `StaleLease`; `InvalidSetting` for what is too large.
    pub fn beat(&mut self, sql: &mut impl Sql, asked: &Beat, now_ms: i64) -> Result<(), Refusal> {
        self.live(asked.epoch)?;
        if let Some(done) = &asked.checkpoint {
            checkpoint(sql, self, done, asked.owed.as_ref())?;
        }
        let until_ms = now_ms.saturating_add(self.terms.lease_ms).min(self.expires_at_ms);
        // A clock that stepped back takes no time away.
        self.due_at_ms = self.due_at_ms.max(Some(until_ms));
        let said = |progress: &Option<Box<RawValue>>| progress.as_ref().map(|said| said.get().to_owned());
        if asked.progress.is_none() || said(&asked.progress) == said(&self.life.progress) {
            self.updated_at_ms = self.updated_at_ms.max(now_ms);
            return store(sql, self);
        }
        let fits = asked.progress.as_ref().is_none_or(|progress| progress.get().len() <= PROGRESS_BYTES_MAX);
        expect(fits, "progress", "at most 1024 bytes of JSON")?;
        self.life.progress.clone_from(&asked.progress);
        step(sql, self, Event::Beat, now_ms)
    }

    /// Its work is done; its charge is in the same transaction.
    ///
    /// # Errors
    /// `InvalidSetting` for a result that is too large.
    pub fn complete(
        &mut self,
        sql: &mut impl Sql,
        result: &RawValue,
        (charged, balance): (Micro, Micro),
        now_ms: i64,
    ) -> Result<(), Refusal> {
        write_result(sql, self, result)?;
        self.life.charged = charged;
        self.life.balance = Some(balance);
        self.life.error = None;
        step(sql, self, Event::Complete, now_ms)
    }

    /// Whether another attempt comes after one that ended so, and when.
    #[must_use]
    pub fn verdict(&self, code: &str, retry_after_ms: Option<i64>, seed: u32, now_ms: i64) -> Verdict {
        let asked_ms = retry_after_ms.unwrap_or(0).min(self.terms.wait_max_ms);
        let wait_ms = wait_ms(&self.terms, self.life.attempts, seed).max(asked_ms);
        let next_ms = now_ms.saturating_add(wait_ms);
        let exhausted =
            self.life.attempts >= self.terms.attempts_max && !planted::on(Bug::AttemptsNotCounted);
        let reason = if self.terms.final_errors.iter().any(|known| known == code) {
            Some(Reason::FinalError)
        } else if exhausted {
            Some(Reason::AttemptsExhausted)
        } else {
            (next_ms >= self.expires_at_ms).then_some(Reason::Expired)
        };
        Verdict { reason, next_ms }
    }

    /// The attempt came to nothing.
    ///
    /// # Errors
    /// What the database refused.
    pub fn fail(
        &mut self,
        sql: &mut impl Sql,
        error: JobError,
        verdict: Verdict,
        now_ms: i64,
    ) -> Result<(), Refusal> {
        let Verdict { reason, next_ms } = verdict;
        self.life.error = Some(error);
        self.life.reason = reason;
        if reason.is_some() {
            return step(sql, self, Event::Die, now_ms);
        }
        self.life.run_at_ms = next_ms;
        self.due_at_ms = Some(next_ms);
        step(sql, self, Event::Retry, now_ms)
    }

    /// Its deadline passed, and its hold has ended.
    ///
    /// # Errors
    /// What the database refused.
    pub fn expire(&mut self, sql: &mut impl Sql, now_ms: i64) -> Result<(), Refusal> {
        self.life.reason = Some(Reason::Expired);
        step(sql, self, Event::Expire, now_ms)
    }

    /// # Errors
    /// `InvalidTransition` for one that is over.
    pub fn cancel(&mut self, sql: &mut impl Sql, now_ms: i64) -> Result<(), Refusal> {
        step(sql, self, Event::Cancel, now_ms)
    }

    /// What it is once it has begun anew: as it was made, with a hold of its own, which the caller makes before
    /// [`Job::redriven`].
    ///
    /// # Errors
    /// `InvalidTransition` for one that is not in the dead-letter list.
    pub fn begun_anew(&self, now_ms: i64) -> Result<Self, Refusal> {
        self.state.after(Event::Redrive)?;
        let redrives = self.life.redrives.saturating_add(1);
        let has_body = self.life.has_body;
        let life = Life { run_at_ms: now_ms, redrives, has_body, ..Life::default() };
        let expires_at_ms = now_ms.saturating_add(self.terms.ttl_ms);
        Ok(Self { life, expires_at_ms, dedupe: self.life.dedupe.clone(), ..self.clone() })
    }

    /// Begins anew what [`Job::begun_anew`] made.
    ///
    /// # Errors
    /// What the database refused.
    pub fn redriven(&mut self, sql: &mut impl Sql, now_ms: i64) -> Result<(), Refusal> {
        forget_owed(sql, self)?;
        step(sql, self, Event::Redrive, now_ms)
    }
}
