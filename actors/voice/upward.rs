//! The way up: numbers, what is kept before it is acknowledged, and what each frame is for.

use super::control::{Control, Message, Unread, Up};
use super::energy::Edge;
use super::event::Event;
use super::frame::{Frame, samples_in};
use super::limits::{
    ACK_FRAMES, ACK_MS, ACK_TAIL_MS, FRAME_MS_MAX, MESSAGE_COST_MS, MESSAGES_BURST_MS, PREROLL_FRAMES, close,
};
use super::session::Work;
use super::settings::Detection;
use crate::shared::Refusal;
use crate::sql::{Sql, SqlValue};

impl<S: Sql> Work<'_, S> {
    /// One message of the socket of `epoch`; of an older one it is not looked at.
    pub(super) fn message(&mut self, epoch: u32, message: &Message) -> Result<(), Refusal> {
        if !self.is_heard(epoch)? {
            return Ok(());
        }
        match Up::read(message) {
            Ok(up) => self.take(up),
            Err(Unread::TooLarge) => self.drop_socket(close::TOO_LARGE),
            Err(Unread::Malformed | Unread::Frame(_)) => {
                self.error("malformed_frame");
                Ok(())
            }
        }
    }

    /// The same of a protocol that has no numbers.
    pub(super) fn unnumbered(&mut self, epoch: u32, mut up: Up) -> Result<(), Refusal> {
        if !self.is_heard(epoch)? {
            return Ok(());
        }
        if let Some(number) = up.number() {
            *number = self.at.up_next;
        }
        self.take(up)
    }

    /// Whether a socket is the one that counts, and does not send too much.
    fn is_heard(&mut self, epoch: u32) -> Result<bool, Refusal> {
        if !self.at.attached || epoch != self.at.epoch {
            return Ok(false);
        }
        self.at.seen_ms = self.now_ms;
        self.at.messages_due_ms = self.at.messages_due_ms.max(self.now_ms).saturating_add(MESSAGE_COST_MS);
        let is_flood = self.at.messages_due_ms.saturating_sub(self.now_ms) > MESSAGES_BURST_MS;
        if is_flood {
            self.drop_socket(close::POLICY)?;
        }
        Ok(!is_flood)
    }

    fn take(&mut self, mut up: Up) -> Result<(), Refusal> {
        // It speaks, so it knows its new token, and it heard of the gap.
        self.at.confirmed = self.at.epoch;
        self.at.gap = false;
        if let Some(seq) = up.number().copied() {
            if seq > self.at.up_next {
                return self.drop_socket(close::GAP);
            }
            if seq < self.at.up_next {
                return Ok(());
            }
            self.at.up_next = seq.saturating_add(1);
        }
        match up {
            Up::Audio(frame) => self.hear(&frame),
            Up::Control(control) => self.control(control),
        }
    }

    fn control(&mut self, control: Control) -> Result<(), Refusal> {
        match control {
            Control::Commit { seq, turn } => self.commit(seq, turn),
            Control::Say { seq, turn, text } => self.say(seq, turn, text),
            Control::Interrupt { turn, played_ms, .. } => self.interrupt(&turn, played_ms),
            Control::Ack { seq } => self.acknowledged(seq),
            Control::Played { turn, media_offset } => self.played(&turn, media_offset),
            Control::Bye => self.end("bye"),
            Control::Resume(_) => {
                self.error("unexpected_resume");
                Ok(())
            }
        }
    }

    /// Sound: of the utterance that is listened to, or before one.
    fn hear(&mut self, frame: &Frame) -> Result<(), Refusal> {
        let milliseconds = self.opened.settings.milliseconds(samples_in(&frame.pcm));
        if frame.pcm.is_empty() || milliseconds > FRAME_MS_MAX {
            self.error("bad_frame_length");
            return Ok(());
        }
        if self.at.ending.is_some() {
            return Ok(());
        }
        let Detection::Energy { silence_ms } = self.opened.settings.detection else {
            return self.listen(frame);
        };
        let edge = self.at.detector.hear(&frame.pcm, self.opened.settings.sample_rate_hz, silence_ms);
        if self.at.listening.is_some() {
            self.listen(frame)?;
        } else {
            self.keep(frame, None)?;
            let old = i64::from(frame.seq.saturating_sub(PREROLL_FRAMES));
            self.sql.execute("DELETE FROM up WHERE turn IS NULL AND seq <= ?1", &[old.into()])?;
        }
        match edge {
            Some(Edge::Began) if self.at.listening.is_none() => self.begin_with_preroll(),
            Some(Edge::Ended) if self.at.listening.is_some() => self.commit(frame.seq, None),
            _ => Ok(()),
        }
    }

    /// One more frame of the utterance, which begins with it if none is under way, and ends before it if it would be
    /// too long.
    fn listen(&mut self, frame: &Frame) -> Result<(), Refusal> {
        let samples = samples_in(&frame.pcm);
        if let Some(n) = self.at.listening {
            let listened = self.turn(n)?.listened;
            let all_ms = self.opened.settings.milliseconds(listened.saturating_add(samples));
            if all_ms > self.opened.settings.bounds.utterance_ms {
                self.commit(frame.seq, None)?;
            }
        }
        let n = match self.at.listening {
            Some(n) => n,
            None => match self.begin_turn()? {
                Some(n) => n,
                None => return Ok(()),
            },
        };
        let mut turn = self.turn(n)?;
        turn.listened = turn.listened.saturating_add(samples);
        self.store_turn(&turn)?;
        self.keep(frame, Some(n))
    }

    fn begin_with_preroll(&mut self) -> Result<(), Refusal> {
        let Some(n) = self.begin_turn()? else {
            return Ok(());
        };
        self.sql.execute("UPDATE up SET turn = ?1 WHERE turn IS NULL", &[n.into()])?;
        let mut turn = self.turn(n)?;
        turn.listened = samples_in(&self.utterance(n)?);
        self.store_turn(&turn)
    }

    fn keep(&mut self, frame: &Frame, turn: Option<i64>) -> Result<(), Refusal> {
        let values: [SqlValue; 3] =
            [i64::from(frame.seq).into(), turn.into(), super::sound::encode(&frame.pcm).into()];
        self.sql.execute("INSERT INTO up VALUES (?1, ?2, ?3)", &values)?;
        Ok(())
    }

    /// Acknowledges what is kept, when it is time: `at_once` when nothing more comes for a while.
    pub(super) fn acknowledge(&mut self, at_once: bool) {
        let last = self.at.up_next.saturating_sub(1);
        let owed = last.saturating_sub(self.at.up_acked);
        let waited_ms = self.now_ms.saturating_sub(self.at.up_acked_ms);
        if owed == 0 || !self.at.attached {
            return;
        }
        if at_once || owed >= ACK_FRAMES || waited_ms >= ACK_MS {
            self.at.up_acked = last;
            self.at.up_acked_ms = self.now_ms;
            self.tell(Event::Ack { seq: last });
        }
    }

    /// When the alarm has to acknowledge what came last.
    pub(super) fn acknowledge_by_ms(&self) -> Option<i64> {
        let owed = self.at.attached && self.at.up_next > self.at.up_acked.saturating_add(1);
        owed.then(|| self.at.up_acked_ms.saturating_add(ACK_TAIL_MS))
    }
}
