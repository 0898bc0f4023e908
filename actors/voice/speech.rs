//! The answer: its text in sentences, their sound in frames, and what was heard of it.

use serde::Deserialize;

use super::command::{Action, CallId, Role, Stage};
use super::event::Event;
use super::limits::{ROW_MS, ROW_MS_MIN};
use super::sentence::{heard, speakable};
use super::session::Work;
use super::turn::{State, Turn};
use crate::shared::{Refusal, Units};
use crate::sql::{Sql, row};

/// One sentence, as far as it was spoken.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Part {
    part: i64,
    pub text: String,
    bytes: u32,
    seen_bytes: u32,
    spoken: u8,
}

impl<S: Sql> Work<'_, S> {
    pub(super) fn parts(&mut self, turn: i64) -> Result<Vec<Part>, Refusal> {
        let parts = "SELECT json_group_array(json_object('part', part, 'text', text, 'bytes', bytes,
               'seen_bytes', seen_bytes, 'spoken', spoken)) FROM (SELECT * FROM parts WHERE turn = ?1 ORDER BY part)";
        Ok(row(self.sql, parts, &[turn.into()])?.unwrap_or_default())
    }

    /// More text of the model.
    pub(super) fn says(&mut self, call: CallId, text: &str) -> Result<(), Refusal> {
        if call.stage != Stage::Llm || !self.is_running(call)? {
            return Ok(());
        }
        let mut turn = self.turn(call.turn)?;
        let waited_ms = self.now_ms.saturating_sub(turn.asked_at_ms);
        turn.latencies.llm_first_ms.get_or_insert(waited_ms);
        match turn.again.take() {
            None => turn.tail.push_str(text),
            Some(mut again) => {
                again.push_str(text);
                let said: String = self.parts(turn.n)?.into_iter().map(|part| part.text).collect();
                if let Some(rest) = again.strip_prefix(said.as_str()) {
                    rest.clone_into(&mut turn.tail);
                } else if said.starts_with(&again) {
                    turn.again = Some(again);
                } else {
                    // It says something else now. What was said stays, and is all.
                    turn.code = Some("answer_changed".to_owned());
                    return self.stop_thinking(turn, call);
                }
            }
        }
        while let Some(end) = speakable(&turn.tail) {
            let rest = turn.tail.split_off(end);
            let sentence = std::mem::replace(&mut turn.tail, rest);
            if !self.feed(&mut turn, sentence)? {
                return self.stop_thinking(turn, call);
            }
        }
        if turn.state.is_final() { Ok(()) } else { self.store_turn(&turn) }
    }

    /// The model is told to end; what was handed to speech is spoken.
    fn stop_thinking(&mut self, mut turn: Turn, call: CallId) -> Result<(), Refusal> {
        turn.tail.clear();
        self.cancel(call)?;
        self.thought(turn)
    }

    /// The model has said all.
    pub(super) fn thought(&mut self, mut turn: Turn) -> Result<(), Refusal> {
        // One that was asked again and said less than before has nothing to add.
        turn.again = None;
        let last = std::mem::take(&mut turn.tail);
        if !last.trim().is_empty() {
            self.feed(&mut turn, last)?;
        }
        if turn.state.is_final() {
            return Ok(());
        }
        turn.llm_ended = true;
        self.store_turn(&turn)?;
        if let Some(call) = self.running(turn.n, Stage::Tts)? {
            self.act(Action::FeedEnd { call });
        }
        self.finish_spoken(turn)
    }

    /// Hands one sentence to speech; false when the turn may say no more.
    fn feed(&mut self, turn: &mut Turn, text: String) -> Result<bool, Refusal> {
        let characters = u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
        let all = turn.characters.saturating_add(characters);
        if all > self.opened.settings.bounds.characters {
            turn.code = Some("answer_cut".to_owned());
            return Ok(false);
        }
        let part = turn.parts;
        (turn.parts, turn.characters) = (part.saturating_add(1), all);
        self.sql.execute(
            "INSERT INTO parts (turn, part, text) VALUES (?1, ?2, ?3)",
            &[turn.n.into(), part.into(), text.as_str().into()],
        )?;
        if turn.state != State::Speaking {
            turn.state = State::Speaking;
            turn.first_part_at_ms = self.now_ms;
            self.tell_turn(turn)?;
        }
        let spoken = Event::Transcript {
            turn: turn.name(),
            role: Role::Assistant,
            text: text.clone(),
            is_final: true,
        };
        self.push(Some(turn.n), spoken)?;
        self.store_turn(turn)?;
        if self.running(turn.n, Stage::Tts)?.is_none() {
            let cause = self.cause(turn.n, Stage::Llm)?;
            self.begin_call(turn.clone(), Stage::Tts, &cause)?;
            *turn = self.turn(turn.n)?;
        }
        let Some(call) = self.running(turn.n, Stage::Tts)? else {
            return Ok(false);
        };
        self.act(Action::Feed { call, part, text });
        Ok(true)
    }

    /// Speech was lost: what is not spoken yet is handed over again, and what was taken of it is skipped.
    pub(super) fn speak_again(&mut self, turn: Turn, cause: &str) -> Result<(), Refusal> {
        self.sql
            .execute("UPDATE parts SET seen_bytes = 0 WHERE turn = ?1 AND spoken = 0", &[turn.n.into()])?;
        let (n, llm_ended) = (turn.n, turn.llm_ended);
        self.begin_call(turn, Stage::Tts, cause)?;
        let Some(call) = self.running(n, Stage::Tts)? else {
            return Ok(());
        };
        for part in self.parts(n)?.into_iter().filter(|part| part.spoken == 0) {
            self.act(Action::Feed { call, part: part.part, text: part.text });
        }
        if llm_ended {
            self.act(Action::FeedEnd { call });
        }
        Ok(())
    }

    /// Sound of one sentence. That of a later one says that those before are spoken.
    pub(super) fn sounds(&mut self, call: CallId, part: i64, pcm: &[u8]) -> Result<(), Refusal> {
        if call.stage != Stage::Tts || !self.is_running(call)? {
            return Ok(());
        }
        let parts = self.parts(call.turn)?;
        let Some(at) = parts.iter().find(|known| known.part == part && known.spoken == 0) else {
            return Ok(());
        };
        let before = "UPDATE parts SET spoken = 1 WHERE turn = ?1 AND part < ?2 AND spoken = 0";
        self.sql.execute(before, &[call.turn.into(), part.into()])?;
        let seen = at.seen_bytes.saturating_add(u32::try_from(pcm.len()).unwrap_or(u32::MAX));
        let known = usize::try_from(at.bytes.saturating_sub(at.seen_bytes)).unwrap_or(usize::MAX);
        let fresh = pcm.get(known..).unwrap_or_default();
        let counted = "UPDATE parts SET seen_bytes = ?3, bytes = ?4 WHERE turn = ?1 AND part = ?2";
        let values =
            [call.turn.into(), part.into(), i64::from(seen).into(), i64::from(at.bytes.max(seen)).into()];
        self.sql.execute(counted, &values)?;
        let mut turn = self.turn(call.turn)?;
        if turn.samples == 0 && turn.rest.is_empty() && turn.latencies.tts_first_ms.is_none() {
            turn.latencies.tts_first_ms = Some(self.now_ms.saturating_sub(turn.first_part_at_ms));
        }
        if self.cut_into_frames(&mut turn, fresh, false)? {
            return self.store_turn(&turn);
        }
        turn.gap = true;
        self.at.gap = true;
        self.finish(turn)
    }

    /// All sound of a sentence, and of those before it, was there.
    pub(super) fn spoken(&mut self, call: CallId, part: i64) -> Result<(), Refusal> {
        if call.stage != Stage::Tts || !self.is_running(call)? {
            return Ok(());
        }
        let spoken = "UPDATE parts SET spoken = 1 WHERE turn = ?1 AND part <= ?2 AND spoken = 0";
        self.sql.execute(spoken, &[call.turn.into(), part.into()])?;
        let turn = self.turn(call.turn)?;
        self.finish_spoken(turn)
    }

    /// The provider has spoken all that it was given.
    pub(super) fn speech_ended(&mut self, turn: Turn) -> Result<(), Refusal> {
        self.sql.execute("UPDATE parts SET spoken = 1 WHERE turn = ?1", &[turn.n.into()])?;
        self.finish_spoken(turn)
    }

    /// Ends the turn once its whole answer was spoken.
    fn finish_spoken(&mut self, mut turn: Turn) -> Result<(), Refusal> {
        let left = "SELECT COUNT(*) FROM parts WHERE turn = ?1 AND spoken = 0";
        let left: i64 = row(self.sql, left, &[turn.n.into()])?.unwrap_or(0);
        if !turn.llm_ended || left > 0 || turn.state.is_final() {
            return Ok(());
        }
        if !self.cut_into_frames(&mut turn, &[], true)? {
            turn.gap = true;
            self.at.gap = true;
        }
        if let Some(call) = self.running(turn.n, Stage::Tts)? {
            self.end_call(call, "done", &Units { characters: turn.characters, ..Units::default() })?;
        }
        self.finish(turn)
    }

    /// Says sound in frames of [`ROW_MS`]. What is too short for one waits for more, but not the first and not the last.
    /// False when no more can be kept.
    fn cut_into_frames(&mut self, turn: &mut Turn, fresh: &[u8], is_last: bool) -> Result<bool, Refusal> {
        let mut sound = super::sound::decode(&turn.rest)?;
        sound.extend(fresh);
        let bytes =
            |ms: u32| usize::try_from(self.opened.settings.samples(ms)).unwrap_or(0).saturating_mul(2);
        let (whole, least) = (bytes(ROW_MS), bytes(ROW_MS_MIN));
        turn.rest.clear();
        while sound.len() >= whole.max(2) {
            let rest = sound.split_off(whole.max(2));
            if !self.push_sound(turn, std::mem::replace(&mut sound, rest))? {
                return Ok(false);
            }
        }
        if sound.len() >= least || is_last || turn.samples == 0 {
            let odd = sound.split_off(sound.len().saturating_sub(sound.len() % 2));
            if !sound.is_empty() && !self.push_sound(turn, sound)? {
                return Ok(false);
            }
            sound = if is_last { Vec::new() } else { odd };
        }
        turn.rest = super::sound::encode(&sound);
        Ok(true)
    }

    /// Samples of a turn that reached its client.
    fn delivered(&mut self, turn: &Turn) -> Result<u32, Refusal> {
        let waiting = self.unacknowledged(turn.n)?;
        Ok(turn.samples.saturating_sub(turn.lost).saturating_sub(waiting))
    }

    /// The characters that are charged: those of every sentence that was delivered whole; and where the client itself
    /// wanted silence, of all that was handed to speech by then.
    pub(super) fn charged_characters(&mut self, turn: &Turn) -> Result<u64, Refusal> {
        let parts = self.parts(turn.n)?;
        let delivered = self.delivered(turn)?;
        let (mut bytes, mut characters) = (0_u32, 0_u64);
        for part in parts {
            bytes = bytes.saturating_add(part.bytes);
            let whole = part.spoken == 1 && bytes / 2 <= delivered;
            if whole || (turn.state == State::Interrupted && !turn.gap) {
                let count = u64::try_from(part.text.chars().count()).unwrap_or(u64::MAX);
                characters = characters.saturating_add(count);
            }
        }
        Ok(characters)
    }

    /// What the client heard of an answer: all that was said, unless it was cut short.
    pub(super) fn heard_text(&mut self, turn: &Turn) -> Result<String, Refusal> {
        let cut = turn.state != State::Done || turn.gap || turn.lost > 0;
        let reached = turn.samples.saturating_sub(turn.lost);
        let mut left = match (cut, turn.played) {
            (false, _) => u32::MAX,
            (true, Some(played)) if turn.state == State::Interrupted => played,
            (true, _) => reached,
        };
        let usual = self.opened.settings.sample_rate_hz / 15;
        let mut text = String::new();
        for part in self.parts(turn.n)? {
            let own = part.bytes / 2;
            // How long the rest of it would have been is not known: as long as its text usually takes.
            let count = u32::try_from(part.text.chars().count()).unwrap_or(u32::MAX);
            let all = if part.spoken == 1 { own } else { own.max(count.saturating_mul(usual)) };
            text.push_str(if left >= all { &part.text } else { heard(&part.text, left, all) });
            if left < all {
                break;
            }
            left = left.saturating_sub(all);
        }
        Ok(text)
    }
}
