//! Turns: how they begin, how the client ends them, and what is known of each.

use serde::{Deserialize, Serialize};

use super::event::{Event, Latencies};
use super::limits::{TURNS_MAX, TURNS_WAITING_MAX};
use super::money::Used;
use super::session::{Work, json};
use crate::shared::Refusal;
use crate::sql::{Sql, row};

/// Where a turn is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    #[default]
    Listening,
    /// The utterance is over; what comes next waits for the turn before, and for its hold.
    Committed,
    Stt,
    Thinking,
    Speaking,
    /// All of it is on its way to the client.
    Done,
    Interrupted,
    Failed,
}

impl State {
    pub(super) const fn stored(self) -> &'static str {
        match self {
            Self::Listening => "listening",
            Self::Committed => "committed",
            Self::Stt => "stt",
            Self::Thinking => "thinking",
            Self::Speaking => "speaking",
            Self::Done => "done",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }

    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Interrupted | Self::Failed)
    }

    /// A provider works on it.
    pub(super) const fn is_worked_on(self) -> bool {
        matches!(self, Self::Stt | Self::Thinking | Self::Speaking)
    }
}

/// How a turn's number is written in a frame.
pub(super) fn stream_of(n: i64) -> u16 {
    u16::try_from(n.rem_euclid(65_536)).unwrap_or_default()
}

/// What is known of a turn. Sound is counted in samples.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Turn {
    pub n: i64,
    pub id: Option<String>,
    pub state: State,
    pub began_at_ms: i64,
    pub committed_at_ms: i64,
    pub ended_at_ms: Option<i64>,
    pub listened: u32,
    pub user_text: Option<String>,
    /// Text that is not a sentence yet, and what a model that was asked again has said so far.
    pub tail: String,
    pub again: Option<String>,
    pub llm_ended: bool,
    /// Sentences that were handed to speech, and their characters.
    pub parts: i64,
    pub characters: u64,
    /// Sound that has a number, and what is too short for a frame of its own yet.
    pub samples: u32,
    pub rest: String,
    pub last_seq: u32,
    pub played: Option<u32>,
    /// Sound that never reached the client, because it did not come back.
    pub lost: u32,
    /// Speech was cut, because more was unacknowledged than is kept.
    pub gap: bool,
    pub code: Option<String>,
    pub asked_at_ms: i64,
    pub first_part_at_ms: i64,
    pub latencies: Latencies,
    /// What was charged, once it is known.
    pub used: Option<Used>,
}

impl Turn {
    /// Its name for the client; empty while it has none.
    pub fn name(&self) -> String {
        self.id.clone().unwrap_or_default()
    }
}

impl<S: Sql> Work<'_, S> {
    /// # Errors
    /// `Broken`: whoever asks knows of it from another row.
    pub(super) fn turn(&mut self, n: i64) -> Result<Turn, Refusal> {
        let found = row(self.sql, "SELECT body FROM turns WHERE n = ?1", &[n.into()])?;
        found.ok_or_else(|| Refusal::Broken { detail: format!("turn {n} is not there") })
    }

    fn turn_of(&mut self, id: &str) -> Result<Option<Turn>, Refusal> {
        row(self.sql, "SELECT body FROM turns WHERE id = ?1", &[id.into()])
    }

    pub(super) fn store_turn(&mut self, turn: &Turn) -> Result<(), Refusal> {
        let body = json(turn)?;
        self.sql.execute(
            "UPDATE turns SET id = ?2, state = ?3, body = ?4 WHERE n = ?1",
            &[turn.n.into(), turn.id.as_deref().into(), turn.state.stored().into(), body.into()],
        )?;
        Ok(())
    }

    pub(super) fn tell_turn(&mut self, turn: &Turn) -> Result<(), Refusal> {
        let event = Event::Turn {
            turn: turn.id.clone(),
            stream: stream_of(turn.n),
            state: turn.state,
            gap: turn.gap,
            code: turn.code.clone(),
            latencies: turn.state.is_final().then_some(turn.latencies),
        };
        self.push(Some(turn.n), event)
    }

    /// A new turn, and the hold for it. None when the session takes no more.
    fn new_turn(&mut self) -> Result<Option<Turn>, Refusal> {
        if self.at.turns >= TURNS_MAX {
            self.begin_ending("turns", super::limits::GRACE_MS)?;
        }
        if self.at.ending.is_some() {
            self.error("session_ending");
            return Ok(None);
        }
        let n = self.at.turns.saturating_add(1);
        self.at.turns = n;
        let turn = Turn { n, began_at_ms: self.now_ms, ..Turn::default() };
        let body = json(&turn)?;
        self.sql.execute("INSERT INTO turns VALUES (?1, NULL, 'listening', ?2)", &[n.into(), body.into()])?;
        self.ask_for_turn(n)?;
        Ok(Some(turn))
    }

    /// Listens to a new utterance.
    pub(super) fn begin_turn(&mut self) -> Result<Option<i64>, Refusal> {
        let Some(turn) = self.new_turn()? else {
            return Ok(None);
        };
        self.at.listening = Some(turn.n);
        self.tell_turn(&turn)?;
        Ok(Some(turn.n))
    }

    /// The utterance is over.
    pub(super) fn commit(&mut self, seq: u32, id: Option<String>) -> Result<(), Refusal> {
        self.at.detector = super::energy::Detector::default();
        let Some(n) = self.at.listening.take() else {
            self.error("nothing_to_commit");
            return Ok(());
        };
        let turn = self.turn(n)?;
        self.enqueue(turn, seq, id)
    }

    /// A turn that is written.
    pub(super) fn say(&mut self, seq: u32, id: Option<String>, text: String) -> Result<(), Refusal> {
        let Some(mut turn) = self.new_turn()? else {
            return Ok(());
        };
        turn.user_text = Some(text);
        self.enqueue(turn, seq, id)
    }

    /// The turn is complete, and waits for those before it.
    fn enqueue(&mut self, mut turn: Turn, seq: u32, id: Option<String>) -> Result<(), Refusal> {
        turn.committed_at_ms = self.now_ms;
        let waiting = "SELECT COUNT(*) FROM turns WHERE state = 'committed'
                       AND state NOT IN ('done', 'interrupted', 'failed')";
        let waiting: i64 = row(self.sql, waiting, &[])?.unwrap_or(0);
        let named = match id {
            // One that is there already was answered, or is: the same work is not done twice.
            Some(id) if self.turn_of(&id)?.is_some() => return self.fail(turn, "turn_known"),
            Some(id) => id,
            None => {
                let derived = format!("t{seq}");
                let taken = self.turn_of(&derived)?.is_some();
                if taken { format!("{derived}-{}", turn.n) } else { derived }
            }
        };
        turn.id = Some(named);
        if waiting >= TURNS_WAITING_MAX {
            return self.fail(turn, "too_many_turns");
        }
        turn.state = State::Committed;
        self.store_turn(&turn)?;
        self.tell_turn(&turn)
    }

    /// The client wants silence, having heard so much. The same again changes nothing.
    pub(super) fn interrupt(&mut self, id: &str, played_ms: u32) -> Result<(), Refusal> {
        let Some(mut turn) = self.turn_of(id)? else {
            self.error("unknown_turn");
            return Ok(());
        };
        if matches!(turn.state, State::Interrupted | State::Failed) {
            return Ok(());
        }
        turn.played = Some(self.opened.settings.samples(played_ms).min(turn.samples));
        turn.state = State::Interrupted;
        self.close_turn(&mut turn)?;
        self.drop_sound(turn.n)?;
        self.store_turn(&turn)?;
        self.push(Some(turn.n), Event::Interrupted { turn: turn.name(), at_seq: turn.last_seq })
    }

    /// So much of a turn was played. After an interruption it is too late to have heard more.
    pub(super) fn played(&mut self, id: &str, media_offset: u32) -> Result<(), Refusal> {
        let Some(mut turn) = self.turn_of(id)? else {
            return Ok(());
        };
        let played = media_offset.min(turn.samples);
        if turn.state != State::Interrupted && turn.played.is_none_or(|known| known < played) {
            turn.played = Some(played);
            self.store_turn(&turn)?;
        }
        Ok(())
    }

    /// The turn ends without an answer, or with part of one.
    pub(super) fn fail(&mut self, mut turn: Turn, code: &str) -> Result<(), Refusal> {
        turn.state = State::Failed;
        turn.code = Some(code.to_owned());
        self.close_turn(&mut turn)?;
        self.store_turn(&turn)?;
        self.tell_turn(&turn)
    }

    /// What every end of a turn does: nothing of it is under way any more. The caller stores it.
    pub(super) fn close_turn(&mut self, turn: &mut Turn) -> Result<(), Refusal> {
        self.cancel_calls(turn.n)?;
        turn.rest.clear();
        turn.tail.clear();
        turn.again = None;
        turn.ended_at_ms.get_or_insert(self.now_ms);
        if self.at.listening == Some(turn.n) {
            self.at.listening = None;
        }
        self.sql.execute("DELETE FROM up WHERE turn = ?1", &[turn.n.into()])?;
        Ok(())
    }
}
