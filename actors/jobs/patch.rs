//! What a client may change of a job: its status, where the table allows it, and the result of work of its own.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::body::write_result;
use super::job::{Job, Reason, step};
use super::state::{Event, State, Status};
use crate::shared::Refusal;
use crate::sql::Sql;

/// What is asked.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Patch {
    pub status: Option<Status>,
    pub result: Option<Box<RawValue>>,
}

impl Patch {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// `ProtectedField` for anything but `status` and `result`; `InvalidSetting` for a status that is none.
    pub fn from_body(body: &serde_json::Map<String, Value>) -> Result<Self, Refusal> {
        let mut patch = Self::default();
        for (name, value) in body {
            match name.as_str() {
                "status" => {
                    let read = serde_json::from_value(value.clone());
                    let expected = "queued, running, succeeded, failed or cancelled".to_owned();
                    let wrong = |_| Refusal::InvalidSetting { field: name.clone(), expected };
                    patch.status = Some(read.map_err(wrong)?);
                }
                "result" => patch.result = serde_json::value::to_raw_value(value).ok(),
                _ => return Err(Refusal::ProtectedField { field: name.clone() }),
            }
        }
        Ok(patch)
    }
}

impl Job {
    /// What the client's wish means here; `None` when the job is so already.
    ///
    /// # Errors
    /// `ProtectedField` for a result that is not the client's to say.
    pub fn wish(&self, patch: &Patch) -> Result<Option<Event>, Refusal> {
        let same = patch.status.is_none_or(|status| status == self.state.status());
        // A worker has it: to take it from the worker is no change of nothing.
        let same = same && (self.state != State::Leased || patch.status.is_none());
        if patch.result.is_some() && (same || patch.status != Some(Status::Succeeded)) {
            return Err(Refusal::ProtectedField { field: "result".to_owned() });
        }
        if same {
            return Ok(None);
        }
        Ok(patch.status.map(|status| match status {
            Status::Queued if self.state == State::Failed => Event::Redrive,
            Status::Queued => Event::GiveBack,
            Status::Running => Event::Take,
            Status::Succeeded => Event::Finish,
            Status::Failed => Event::GiveUp,
            Status::Cancelled => Event::Cancel,
        }))
    }

    /// Carries out what a client does itself: takes a job, gives it back, says how it ended. Its hold, when it is over,
    /// is the caller's to end before: the client's own work is not charged.
    ///
    /// # Errors
    /// `InvalidTransition`; `InvalidSetting` for a result that is too large.
    pub fn by_client(
        &mut self,
        sql: &mut impl Sql,
        event: Event,
        result: Option<&RawValue>,
        now_ms: i64,
    ) -> Result<(), Refusal> {
        self.state.after(event)?;
        // Work that was for later is for later still.
        let early = event == Event::GiveBack && self.life.run_at_ms > now_ms;
        let event = if early { Event::GiveBackEarly } else { event };
        match event {
            Event::GiveBackEarly => self.due_at_ms = Some(self.life.run_at_ms),
            // Messages and workers that are on their way find it taken.
            Event::Take => self.epoch = self.epoch.saturating_add(1),
            Event::GiveUp => self.life.reason = Some(Reason::Client),
            _ => {}
        }
        if let Some(result) = result {
            write_result(sql, self, result)?;
        }
        step(sql, self, event, now_ms)
    }
}
