//! One turn after the other: understood, answered, spoken.

use serde::Deserialize;

use super::command::{CallEnd, CallId, Input, Role, Said, Stage};
use super::event::Event;
use super::limits::{HISTORY_CHARACTERS_MAX, HISTORY_TURNS_MAX, ROWS_READ_MAX, TEXT_BYTES_MAX};
use super::session::Work;
use super::turn::{State, Turn};
use crate::shared::{Refusal, Units};
use crate::sql::{Sql, row};

/// A turn that is not over, and how its hold stands.
#[derive(Debug, Deserialize)]
pub(super) struct UnderWay {
    pub n: i64,
    pub state: State,
    hold: String,
}

impl<S: Sql> Work<'_, S> {
    /// Turns that are not over, the oldest first.
    pub(super) fn under_way(&mut self) -> Result<Vec<UnderWay>, Refusal> {
        let turns = "SELECT json_group_array(json_object('n', n, 'state', state, 'hold', hold)) FROM (
               SELECT t.n, t.state, h.state AS hold FROM turns AS t JOIN holds AS h ON h.turn = t.n
               WHERE t.state NOT IN ('done', 'interrupted', 'failed') ORDER BY t.n)";
        Ok(row(self.sql, turns, &[])?.unwrap_or_default())
    }

    /// Begins the next turn if it may be; the one that speaks, if one does.
    pub(super) fn advance(&mut self) -> Result<Option<i64>, Refusal> {
        for turn in self.under_way()? {
            match (turn.state, turn.hold.as_str()) {
                (_, "refused") => {
                    let refused = self.turn(turn.n)?;
                    self.fail(refused, "insufficient_credits")?;
                }
                (State::Committed, "granted") if !self.is_busy()? => self.start(turn.n)?,
                _ => {}
            }
        }
        let speaking = self.under_way()?.into_iter().find(|turn| turn.state == State::Speaking);
        Ok(speaking.map(|turn| turn.n))
    }

    fn is_busy(&mut self) -> Result<bool, Refusal> {
        Ok(self.under_way()?.iter().any(|turn| turn.state.is_worked_on()))
    }

    fn start(&mut self, n: i64) -> Result<(), Refusal> {
        let mut turn = self.turn(n)?;
        if turn.user_text.is_some() {
            return self.think(turn);
        }
        turn.state = State::Stt;
        self.store_turn(&turn)?;
        self.tell_turn(&turn)?;
        self.begin_call(turn, Stage::Stt, "first")
    }

    fn think(&mut self, mut turn: Turn) -> Result<(), Refusal> {
        turn.state = State::Thinking;
        turn.asked_at_ms = self.now_ms;
        self.store_turn(&turn)?;
        self.tell_turn(&turn)?;
        self.begin_call(turn, Stage::Llm, "first")
    }

    /// All sound of an utterance.
    pub(super) fn utterance(&mut self, n: i64) -> Result<Vec<u8>, Refusal> {
        let page = "SELECT json_group_array(json_array(seq, sound)) FROM (SELECT seq, sound FROM up
                      WHERE turn = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3)";
        let (mut sound, mut after) = (Vec::new(), 0_i64);
        loop {
            let args = [n.into(), after.into(), ROWS_READ_MAX.into()];
            let rows: Vec<(i64, String)> = row(self.sql, page, &args)?.unwrap_or_default();
            let Some((last, _)) = rows.last() else {
                return Ok(sound);
            };
            after = *last;
            for (_, text) in rows {
                sound.extend(super::sound::decode(&text)?);
            }
        }
    }

    /// What the model is told: who it is, what was said and heard before, and the turn's own text.
    pub(super) fn messages(&mut self, turn: &Turn) -> Result<Vec<Said>, Refusal> {
        let earlier = "SELECT json_group_array(json(body)) FROM (SELECT body FROM turns
               WHERE n < ?1 AND state IN ('done', 'interrupted') ORDER BY n DESC LIMIT ?2)";
        let earlier: Vec<Turn> =
            row(self.sql, earlier, &[turn.n.into(), HISTORY_TURNS_MAX.into()])?.unwrap_or_default();
        let line = |role, text: String| Said { role, text };
        let mut newest_first = vec![line(Role::User, turn.user_text.clone().unwrap_or_default())];
        let mut left = HISTORY_CHARACTERS_MAX;
        for before in earlier {
            let Some(asked) = before.user_text.clone() else { continue };
            let heard = self.heard_text(&before)?;
            let both = asked.chars().count().saturating_add(heard.chars().count());
            let Some(rest) = left.checked_sub(both) else { break };
            left = rest;
            if !heard.trim().is_empty() {
                newest_first.push(line(Role::Assistant, heard));
            }
            newest_first.push(line(Role::User, asked));
        }
        newest_first.extend(self.opened.settings.system.clone().map(|text| line(Role::System, text)));
        newest_first.reverse();
        Ok(newest_first)
    }

    pub(super) fn input(&mut self, turn: &Turn, stage: Stage) -> Result<Input, Refusal> {
        Ok(match stage {
            Stage::Stt => Input::Sound(self.utterance(turn.n)?),
            Stage::Llm => Input::Messages {
                messages: self.messages(turn)?,
                tokens_out_max: self.opened.settings.bounds.tokens_out,
            },
            Stage::Tts => Input::Parts,
        })
    }

    /// A partial transcript; nothing is kept of it.
    pub(super) fn hears(&mut self, call: CallId, text: String) -> Result<(), Refusal> {
        if call.stage == Stage::Stt && self.is_running(call)? {
            let turn = self.turn(call.turn)?.name();
            let text = within(text);
            self.tell(Event::Transcript { turn, role: Role::User, text, is_final: false });
        }
        Ok(())
    }

    pub(super) fn call_ended(&mut self, call: CallId, ended: CallEnd) -> Result<(), Refusal> {
        if !self.is_running(call)? {
            let units = match ended {
                CallEnd::Cancelled { units } | CallEnd::Done { units, .. } => units,
                CallEnd::Failed { .. } | CallEnd::Broken => Units::default(),
            };
            return self.end_cancelled(call, &units);
        }
        let turn = self.turn(call.turn)?;
        // Speech that ends before all was handed to it has lost its provider.
        let too_early = call.stage == Stage::Tts && !turn.llm_ended;
        match ended {
            CallEnd::Done { text, units } if !too_early => {
                self.end_call(call, "done", &units)?;
                match call.stage {
                    Stage::Stt => self.understood(turn, text.unwrap_or_default()),
                    Stage::Llm => self.thought(turn),
                    Stage::Tts => self.speech_ended(turn),
                }
            }
            CallEnd::Failed { code } => {
                self.end_call(call, "failed", &Units::default())?;
                self.fail(turn, &code)
            }
            CallEnd::Done { .. } | CallEnd::Broken | CallEnd::Cancelled { .. } => {
                self.end_call(call, "broken", &Units::default())?;
                self.retry(turn, call.stage, "broken")
            }
        }
    }

    fn understood(&mut self, mut turn: Turn, text: String) -> Result<(), Refusal> {
        let text = within(text);
        turn.latencies.stt_ms = Some(self.now_ms.saturating_sub(turn.committed_at_ms));
        self.sql.execute("DELETE FROM up WHERE turn = ?1", &[turn.n.into()])?;
        if text.trim().is_empty() {
            turn.code = Some("no_speech".to_owned());
            return self.finish(turn);
        }
        turn.user_text = Some(text.clone());
        self.push(
            Some(turn.n),
            Event::Transcript { turn: turn.name(), role: Role::User, text, is_final: true },
        )?;
        self.think(turn)
    }

    /// All of the turn is on its way.
    pub(super) fn finish(&mut self, mut turn: Turn) -> Result<(), Refusal> {
        turn.state = State::Done;
        self.close_turn(&mut turn)?;
        self.store_turn(&turn)?;
        self.tell_turn(&turn)
    }

    /// What was lost in mid-call is done again, from what is kept.
    pub(super) fn retry(&mut self, mut turn: Turn, stage: Stage, cause: &str) -> Result<(), Refusal> {
        match stage {
            Stage::Stt => {}
            // Nothing was heard of the first answer, so another one may take its place.
            Stage::Llm if turn.samples == 0 && turn.rest.is_empty() => {
                self.cancel_calls(turn.n)?;
                self.sql.execute("DELETE FROM parts WHERE turn = ?1", &[turn.n.into()])?;
                turn.tail.clear();
                turn.again = None;
                (turn.parts, turn.characters) = (0, 0);
                if turn.state != State::Thinking {
                    turn.state = State::Thinking;
                    // What the client was told of the answer is void.
                    self.tell_turn(&turn)?;
                }
            }
            // It goes on where it was, if it says the same again.
            Stage::Llm => {
                turn.tail.clear();
                turn.again = Some(String::new());
            }
            Stage::Tts => return self.speak_again(turn, cause),
        }
        self.store_turn(&turn)?;
        self.begin_call(turn, stage, cause)
    }
}

/// As much as is kept of a text, cut between characters.
fn within(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        let mut end = TEXT_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end = end.saturating_sub(1);
        }
        text.truncate(end);
    }
    text
}
