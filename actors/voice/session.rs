//! The session's own row, and one command's work on it.

use serde::{Deserialize, Serialize};

use super::command::{Action, Open, Socket};
use super::energy::Detector;
use super::event::{Down, Event};
use crate::shared::Refusal;
use crate::sql::{Sql, row};

/// What changes while a session lives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Session {
    pub opened_at_ms: i64,
    /// The latest time that was heard of: a clock that steps back is not followed.
    pub latest_ms: i64,
    /// Of the newest socket; zero before the first.
    pub epoch: u32,
    pub attached: bool,
    /// When that became so.
    pub since_ms: i64,
    /// Last sign of the newest socket.
    pub seen_ms: i64,
    /// When the messages so far would have come, had they come evenly.
    pub messages_due_ms: i64,
    /// The newest epoch of which the client has spoken: it has that one's token. Zero is the ticket's.
    pub confirmed: u32,
    /// The next number upwards, and how far was acknowledged when.
    pub up_next: u32,
    pub up_acked: u32,
    pub up_acked_ms: i64,
    /// The next number downwards, how far the client has acknowledged, and what of it is kept.
    pub down_next: u32,
    pub down_acked: u32,
    pub ring_samples: u32,
    pub ring_bytes: u64,
    pub ring_rows: i64,
    /// Speech was cut since the client was last here.
    pub gap: bool,
    /// The turn whose speech waits.
    pub paused: Option<i64>,
    pub turns: i64,
    pub listening: Option<i64>,
    pub detector: Detector,
    /// Attached time before this socket; up to where it is covered by holds.
    pub attached_ms: i64,
    pub covered_ms: i64,
    pub holds: i64,
    pub low: bool,
    /// No more is begun, and it ends when what was begun has: why, and when at the latest.
    pub ending: Option<(String, i64)>,
    pub warned: bool,
    pub ended_at_ms: Option<i64>,
    pub why: Option<String>,
}

impl Session {
    /// Attached time so far.
    pub fn lived_ms(&self, now_ms: i64) -> i64 {
        let live_ms = if self.attached { now_ms.saturating_sub(self.since_ms).max(0) } else { 0 };
        self.attached_ms.saturating_add(live_ms)
    }

    pub const fn is_over(&self) -> bool {
        self.ended_at_ms.is_some()
    }
}

/// One command's work: what it reads, what it changed, what is to be done after.
pub(super) struct Work<'a, S> {
    pub sql: &'a mut S,
    pub opened: Open,
    pub at: Session,
    pub now_ms: i64,
    pub actions: Vec<Action>,
}

#[derive(Deserialize)]
struct Stored {
    opened: Open,
    state: Session,
}

impl<'a, S: Sql> Work<'a, S> {
    /// The session that is here; `None` when there is none.
    pub fn load(sql: &'a mut S, now_ms: i64) -> Result<Option<Self>, Refusal> {
        let made = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'session'";
        if sql.text(made, &[])?.is_none() {
            return Ok(None);
        }
        let stored = "SELECT concat('{\"opened\":', opened, ',\"state\":', state, '}') FROM session";
        let stored: Option<Stored> = row(sql, stored, &[])?;
        Ok(stored.map(|Stored { opened, mut state }| {
            state.latest_ms = state.latest_ms.max(now_ms);
            let now_ms = state.latest_ms;
            Self { sql, opened, at: state, now_ms, actions: Vec::new() }
        }))
    }

    pub fn store(&mut self) -> Result<(), Refusal> {
        let state = json(&self.at)?;
        self.sql.execute("UPDATE session SET state = ?1", &[state.into()])?;
        Ok(())
    }

    /// An event of this socket alone; when there is none, nobody hears it.
    pub fn tell(&mut self, event: Event) {
        if self.at.attached {
            self.act(Action::Send { to: Socket::Epoch(self.at.epoch), down: Down::Event(None, event) });
        }
    }

    pub fn error(&mut self, code: &str) {
        self.tell(Event::Error { code: code.to_owned() });
    }

    pub fn act(&mut self, action: Action) {
        self.actions.push(action);
    }
}

pub(super) fn json(value: &impl Serialize) -> Result<String, Refusal> {
    serde_json::to_string(value).map_err(|error| Refusal::Broken { detail: error.to_string() })
}
