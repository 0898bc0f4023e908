//! Calls of providers: a row before each, so that whatever is lost is known, and nothing is asked twice by accident.

use serde::Deserialize;

use super::command::{Action, CallId, Stage};
use super::limits::{ATTEMPTS_MAX, CANCEL_MS, LLM_MS_MAX, STT_MS_MAX, TTS_MS_MAX};
use super::session::{Work, json};
use super::turn::Turn;
use crate::shared::{Refusal, Units};
use crate::sql::{Sql, SqlValue, row};

impl Stage {
    pub(super) const fn stored(self) -> &'static str {
        match self {
            Self::Stt => "stt",
            Self::Llm => "llm",
            Self::Tts => "tts",
        }
    }

    const fn ms_max(self) -> i64 {
        match self {
            Self::Stt => STT_MS_MAX,
            Self::Llm => LLM_MS_MAX,
            Self::Tts => TTS_MS_MAX,
        }
    }
}

/// A call that is under way, and how its turn stands.
#[derive(Debug, Deserialize)]
struct Open {
    turn: i64,
    stage: Stage,
    attempt: i64,
    state: String,
}

impl Open {
    const fn id(&self) -> CallId {
        CallId { turn: self.turn, stage: self.stage, attempt: self.attempt }
    }
}

fn key(call: CallId) -> [SqlValue; 3] {
    [call.turn.into(), call.stage.stored().into(), call.attempt.into()]
}

impl<S: Sql> Work<'_, S> {
    /// Writes down that a provider is asked, and has the host ask it. A stage that was lost too often fails its turn.
    pub(super) fn begin_call(&mut self, turn: Turn, stage: Stage, cause: &str) -> Result<(), Refusal> {
        let last = "SELECT COALESCE(MAX(attempt), 0) FROM provider_calls WHERE turn = ?1 AND stage = ?2";
        let last: Option<i64> = row(self.sql, last, &[turn.n.into(), stage.stored().into()])?;
        let attempt = last.unwrap_or(0).saturating_add(1);
        if attempt > ATTEMPTS_MAX {
            return self.fail(turn, "provider_lost");
        }
        let call = CallId { turn: turn.n, stage, attempt };
        let cause = if attempt == 1 { "first" } else { cause };
        let values: [SqlValue; 6] = [
            call.turn.into(),
            stage.stored().into(),
            attempt.into(),
            cause.into(),
            self.now_ms.into(),
            self.now_ms.saturating_add(stage.ms_max()).into(),
        ];
        self.sql.execute(
            "INSERT INTO provider_calls (turn, stage, attempt, cause, state, begun_at_ms, deadline_ms)
             VALUES (?1, ?2, ?3, ?4, 'running', ?5, ?6)",
            &values,
        )?;
        let input = self.input(&turn, stage)?;
        let prefs = self.opened.settings.prefs.clone();
        self.act(Action::Call { call, input, prefs });
        Ok(())
    }

    /// Whether what is said of a call is of one that counts.
    pub(super) fn is_running(&mut self, call: CallId) -> Result<bool, Refusal> {
        let state = "SELECT state FROM provider_calls WHERE turn = ?1 AND stage = ?2 AND attempt = ?3";
        Ok(self.sql.text(state, &key(call))?.as_deref() == Some("running"))
    }

    /// The call of a stage that runs.
    pub(super) fn running(&mut self, turn: i64, stage: Stage) -> Result<Option<CallId>, Refusal> {
        let attempt =
            "SELECT attempt FROM provider_calls WHERE turn = ?1 AND stage = ?2 AND state = 'running'";
        let attempt: Option<i64> = row(self.sql, attempt, &[turn.into(), stage.stored().into()])?;
        Ok(attempt.map(|attempt| CallId { turn, stage, attempt }))
    }

    /// Why the newest call of a stage was made.
    pub(super) fn cause(&mut self, turn: i64, stage: Stage) -> Result<String, Refusal> {
        let cause =
            "SELECT cause FROM provider_calls WHERE turn = ?1 AND stage = ?2 ORDER BY attempt DESC LIMIT 1";
        let cause = self.sql.text(cause, &[turn.into(), stage.stored().into()])?;
        Ok(cause.filter(|cause| cause != "first").unwrap_or_else(|| "broken".to_owned()))
    }

    pub(super) fn end_call(&mut self, call: CallId, state: &str, units: &Units) -> Result<(), Refusal> {
        let [turn, stage, attempt] = key(call);
        self.sql.execute(
            "UPDATE provider_calls SET state = ?4, units = ?5 WHERE turn = ?1 AND stage = ?2 AND attempt = ?3",
            &[turn, stage, attempt, state.into(), json(units)?.into()],
        )?;
        Ok(())
    }

    /// One that was told to end has said what it used.
    pub(super) fn end_cancelled(&mut self, call: CallId, units: &Units) -> Result<(), Refusal> {
        let state = "SELECT state FROM provider_calls WHERE turn = ?1 AND stage = ?2 AND attempt = ?3";
        if self.sql.text(state, &key(call))?.as_deref() == Some("cancelling") {
            self.end_call(call, "cancelled", units)?;
        }
        Ok(())
    }

    pub(super) fn cancel(&mut self, call: CallId) -> Result<(), Refusal> {
        let [turn, stage, attempt] = key(call);
        self.sql.execute(
            "UPDATE provider_calls SET state = 'cancelling', deadline_ms = ?4
             WHERE turn = ?1 AND stage = ?2 AND attempt = ?3",
            &[turn, stage, attempt, self.now_ms.saturating_add(CANCEL_MS).into()],
        )?;
        self.act(Action::Cancel { call });
        Ok(())
    }

    /// Nothing of a turn is to run any more.
    pub(super) fn cancel_calls(&mut self, turn: i64) -> Result<(), Refusal> {
        for stage in [Stage::Stt, Stage::Llm, Stage::Tts] {
            if let Some(call) = self.running(turn, stage)? {
                self.cancel(call)?;
            }
        }
        Ok(())
    }

    fn open_calls(&mut self, due_by_ms: i64) -> Result<Vec<Open>, Refusal> {
        let calls = "SELECT json_group_array(json_object('turn', turn, 'stage', stage, 'attempt', attempt,
               'state', state)) FROM (SELECT * FROM provider_calls WHERE state IN ('running', 'cancelling')
                 AND deadline_ms <= ?1 ORDER BY turn, stage)";
        Ok(row(self.sql, calls, &[due_by_ms.into()])?.unwrap_or_default())
    }

    /// Calls that took too long. What one used that does not even end is the house's.
    pub(super) fn end_late_calls(&mut self) -> Result<(), Refusal> {
        for open in self.open_calls(self.now_ms)? {
            if open.state == "cancelling" {
                self.end_call(open.id(), "cancelled", &Units::default())?;
            } else if self.is_running(open.id())? {
                let turn = self.turn(open.turn)?;
                self.fail(turn, &format!("{}_timeout", open.stage.stored()))?;
            }
        }
        Ok(())
    }

    /// The host's memory is gone, and the calls that it made with it: they are made again, and counted apart.
    pub(super) fn lose_calls(&mut self) -> Result<(), Refusal> {
        let lost = self.open_calls(i64::MAX >> 11)?;
        for open in &lost {
            self.end_call(open.id(), "lost", &Units::default())?;
        }
        // By name `llm` comes before `tts`: what it says again decides what is left to speak.
        for open in lost.iter().filter(|open| open.state == "running") {
            let turn = self.turn(open.turn)?;
            let is_of_use = !turn.state.is_final() && (open.stage != Stage::Tts || turn.parts > 0);
            if is_of_use {
                self.retry(turn, open.stage, "crash")?;
            }
        }
        Ok(())
    }
}
