//! The way down: numbers, what is kept until it is acknowledged, and the bounds of that.

use serde::Deserialize;

use super::command::{Action, Socket};
use super::event::{Down, Event};
use super::frame::{DROPPED, Frame, samples_in};
use super::limits::{GO_ON_MS, PAUSE_MS, RING_BYTES_MAX, RING_MS_MAX, RING_ROWS_MAX, close};
use super::session::{Work, json};
use super::turn::{Turn, stream_of};
use crate::shared::Refusal;
use crate::sql::{Sql, SqlValue, row};

#[derive(Default, Deserialize)]
struct Sums {
    samples: u32,
    rows: i64,
}

impl<S: Sql> Work<'_, S> {
    /// Says an event that is part of the sequence.
    pub(super) fn push(&mut self, turn: Option<i64>, event: Event) -> Result<(), Refusal> {
        let text = json(&event)?;
        let seq = self.next_down();
        if self.is_kept() {
            self.sql.execute(
                "INSERT INTO down (seq, turn, event) VALUES (?1, ?2, ?3)",
                &[i64::from(seq).into(), turn.into(), text.into()],
            )?;
            self.at.ring_rows = self.at.ring_rows.saturating_add(1);
        }
        self.send(Down::Event(Some(seq), event));
        Ok(())
    }

    /// Says sound of a turn; false when no more can be kept.
    pub(super) fn push_sound(&mut self, turn: &mut Turn, pcm: Vec<u8>) -> Result<bool, Refusal> {
        let samples = samples_in(&pcm);
        let bytes = u64::try_from(pcm.len()).unwrap_or(u64::MAX);
        if self.is_kept() {
            let all = self.at.ring_samples.saturating_add(samples);
            let all_bytes = self.at.ring_bytes.saturating_add(bytes);
            if self.opened.settings.milliseconds(all) > RING_MS_MAX || all_bytes > RING_BYTES_MAX {
                return Ok(false);
            }
            (self.at.ring_samples, self.at.ring_bytes) = (all, all_bytes);
            self.at.ring_rows = self.at.ring_rows.saturating_add(1);
        }
        let seq = self.next_down();
        if self.is_kept() {
            let values: [SqlValue; 5] = [
                i64::from(seq).into(),
                turn.n.into(),
                i64::from(samples).into(),
                i64::from(turn.samples).into(),
                super::sound::encode(&pcm).into(),
            ];
            self.sql.execute(
                "INSERT INTO down (seq, turn, samples, media_offset, sound) VALUES (?1, ?2, ?3, ?4, ?5)",
                &values,
            )?;
        }
        let frame = Frame { flags: 0, stream: stream_of(turn.n), seq, media_offset: turn.samples, pcm };
        self.send(Down::Audio(frame));
        turn.samples = turn.samples.saturating_add(samples);
        turn.last_seq = seq;
        Ok(true)
    }

    /// Where the client's protocol cannot come back, nothing is kept for it.
    const fn is_kept(&self) -> bool {
        self.opened.settings.window_ms > 0
    }

    fn next_down(&mut self) -> u32 {
        let seq = self.at.down_next;
        self.at.down_next = seq.saturating_add(1);
        if !self.is_kept() {
            self.at.down_acked = seq;
        }
        seq
    }

    fn send(&mut self, down: Down) {
        if self.at.attached {
            self.act(Action::Send { to: Socket::Epoch(self.at.epoch), down });
        }
    }

    /// The client has everything up to `seq`. One that was never sent is a mistake, and one that was acknowledged is late.
    pub(super) fn acknowledged(&mut self, seq: u32) -> Result<(), Refusal> {
        if seq >= self.at.down_next {
            self.error("unknown_ack");
            return Ok(());
        }
        if seq <= self.at.down_acked {
            return Ok(());
        }
        self.at.down_acked = seq;
        let upto: SqlValue = i64::from(seq).into();
        let gone = "SELECT json_object('samples', COALESCE(SUM(samples), 0), 'rows', COUNT(*)) FROM down
                    WHERE seq <= ?1";
        let gone: Sums = row(self.sql, gone, std::slice::from_ref(&upto))?.unwrap_or_default();
        self.sql.execute("DELETE FROM down WHERE seq <= ?1", &[upto])?;
        self.less(gone.samples);
        self.at.ring_rows = self.at.ring_rows.saturating_sub(gone.rows);
        Ok(())
    }

    /// The sound of a turn is of no use any more; its numbers stay, so that the sequence has no hole.
    pub(super) fn drop_sound(&mut self, turn: i64) -> Result<(), Refusal> {
        let samples = self.unacknowledged(turn)?;
        self.sql.execute(
            "UPDATE down SET sound = '', samples = 0, flags = ?2 WHERE turn = ?1 AND sound <> ''",
            &[turn.into(), i64::from(DROPPED).into()],
        )?;
        self.less(samples);
        Ok(())
    }

    fn less(&mut self, samples: u32) {
        self.at.ring_samples = self.at.ring_samples.saturating_sub(samples);
        self.at.ring_bytes = self.at.ring_bytes.saturating_sub(u64::from(samples).saturating_mul(2));
    }

    /// Samples of a turn that the client has not acknowledged.
    pub(super) fn unacknowledged(&mut self, turn: i64) -> Result<u32, Refusal> {
        let sum = "SELECT COALESCE(SUM(samples), 0) FROM down WHERE turn = ?1";
        Ok(row(self.sql, sum, &[turn.into()])?.unwrap_or(0))
    }

    /// Pauses speech that runs ahead of a connected client, and lets it go on.
    pub(super) fn pace(&mut self, speaking: Option<i64>) -> Result<(), Refusal> {
        if !self.at.attached {
            return Ok(());
        }
        if self.at.ring_rows > RING_ROWS_MAX {
            return self.drop_socket(close::BEHIND);
        }
        let behind_ms = self.opened.settings.milliseconds(self.at.ring_samples);
        if let Some(turn) = self.at.paused.filter(|turn| speaking != Some(*turn) || behind_ms < GO_ON_MS) {
            self.at.paused = None;
            self.act(Action::GoOn { turn });
        }
        if let Some(turn) = speaking.filter(|_| self.at.paused.is_none() && behind_ms > PAUSE_MS) {
            self.at.paused = Some(turn);
            self.act(Action::Pause { turn });
        }
        Ok(())
    }
}
