//! The one alarm, and the end of a session.

use super::command::Action;
use super::command::Socket;
use super::event::Event;
use super::limits::{
    DEAD_AFTER_MS, GRACE_MS, IDLE_LOOK_MS, PERIOD_LEAD_MS, RETENTION_MS, SESSION_MS_MAX, TURN_MS_MAX,
    UNATTACHED_MS, close,
};
use super::session::Work;
use super::turn::Turn;
use crate::shared::Refusal;
use crate::sql::{Sql, row};

impl<S: Sql> Work<'_, S> {
    /// What is due. Safe early, late or twice.
    pub(super) fn ring(&mut self, pinged_ms: Option<i64>) -> Result<(), Refusal> {
        self.end_late_calls()?;
        self.ask_again(false)?;
        if self.at.is_over() {
            return Ok(());
        }
        if self.at.attached {
            let pinged_ms = pinged_ms.unwrap_or(0).min(self.now_ms);
            self.at.seen_ms = self.at.seen_ms.max(pinged_ms);
            let dead_ms = self.at.seen_ms.saturating_add(DEAD_AFTER_MS);
            if dead_ms <= self.now_ms {
                self.act(Action::Close { socket: Socket::Epoch(self.at.epoch), code: close::DEAD });
                self.detach(dead_ms)?;
            }
        }
        self.end_late_turns()?;
        if !self.at.attached && self.wait_ends_ms() <= self.now_ms {
            return self.end("window");
        }
        if !self.at.warned && self.warn_at_ms() <= self.now_ms {
            self.at.warned = true;
            self.tell(Event::Goaway { ms: GRACE_MS });
            self.begin_ending("age", GRACE_MS)?;
        }
        if self.acknowledge_by_ms().is_some_and(|by_ms| by_ms <= self.now_ms) {
            self.acknowledge(true);
        }
        Ok(())
    }

    /// When a client that is not here is not waited for any more.
    fn wait_ends_ms(&self) -> i64 {
        let wait_ms = if self.at.epoch == 0 { UNATTACHED_MS } else { self.opened.settings.window_ms };
        self.at.since_ms.saturating_add(wait_ms)
    }

    const fn warn_at_ms(&self) -> i64 {
        self.at.opened_at_ms.saturating_add(SESSION_MS_MAX).saturating_sub(GRACE_MS)
    }

    /// Ends a session that is to end, once its turns are over and its client has all, or its time is.
    pub(super) fn end_if_done(&mut self) -> Result<(), Refusal> {
        let Some((why, by_ms)) = self.at.ending.clone() else {
            return Ok(());
        };
        let has_all = self.at.down_acked.saturating_add(1) == self.at.down_next;
        if by_ms <= self.now_ms || (has_all && self.under_way()?.is_empty()) {
            self.end(&why)?;
        }
        Ok(())
    }

    /// The session is over. What its client said goodbye to counts as delivered; what waited in vain does not.
    pub(super) fn end(&mut self, why: &str) -> Result<(), Refusal> {
        if self.at.is_over() {
            return Ok(());
        }
        self.at.ended_at_ms = Some(self.now_ms);
        self.act(Action::Over);
        self.at.why = Some(why.to_owned());
        if self.at.attached {
            self.tell(Event::Ended { why: why.to_owned() });
            self.act(Action::Close { socket: Socket::Epoch(self.at.epoch), code: close::ENDED });
        } else {
            self.lose_undelivered()?;
        }
        self.detach(self.now_ms)?;
        for under_way in self.under_way()? {
            let mut turn: Turn = self.turn(under_way.n)?;
            turn.state = super::turn::State::Failed;
            turn.code = Some(format!("session_{why}"));
            self.close_turn(&mut turn)?;
            self.store_turn(&turn)?;
        }
        self.sql.execute("DELETE FROM down; DELETE FROM up;", &[])?;
        (self.at.ring_samples, self.at.ring_bytes, self.at.ring_rows) = (0, 0, 0);
        (self.at.ending, self.at.listening, self.at.paused) = (None, None, None);
        Ok(())
    }

    /// Forgets a session whose time to be read is over; whether it did.
    pub(super) fn forget(&mut self) -> Result<bool, Refusal> {
        let due = self.forget_at_ms().is_some_and(|at_ms| at_ms <= self.now_ms);
        if due {
            for table in ["session", "tokens", "turns", "provider_calls", "parts", "up", "down", "holds"] {
                self.sql.execute(&format!("DROP TABLE {table}"), &[])?;
            }
            self.act(Action::Forget);
        }
        Ok(due)
    }

    fn forget_at_ms(&self) -> Option<i64> {
        self.at.ended_at_ms.map(|ended_ms| ended_ms.saturating_add(RETENTION_MS))
    }

    /// When the alarm has to ring next.
    pub(super) fn wake(&mut self) -> Result<(), Refusal> {
        let rows = "SELECT json_array(
             (SELECT MIN(deadline_ms) FROM provider_calls WHERE state IN ('running', 'cancelling')),
             (SELECT MIN(again_at_ms) FROM holds WHERE again_at_ms IS NOT NULL AND (again_at_ms > ?1 OR state <> 'granted')),
             (SELECT MIN(to_ms) FROM holds WHERE turn IS NULL AND ended_ms IS NULL AND state IN ('asked', 'granted')),
             (SELECT MIN(json_extract(body, '$.began_at_ms')) FROM turns
                WHERE state NOT IN ('done', 'interrupted', 'failed')))";
        let rows: (Option<i64>, Option<i64>, Option<i64>, Option<i64>) =
            row(self.sql, rows, &[self.now_ms.into()])?.unwrap_or_default();
        let (call_ms, hold_ms, period_ms, began_ms) = rows;
        let mut due = vec![call_ms, hold_ms];
        if self.at.is_over() {
            due.push(self.forget_at_ms());
        } else {
            let busy = began_ms.is_some();
            due.push(began_ms.map(|began_ms| began_ms.saturating_add(TURN_MS_MAX)));
            due.push(self.at.ending.as_ref().map(|(_, by_ms)| *by_ms));
            due.push((!self.at.warned).then(|| self.warn_at_ms()));
            due.push(self.acknowledge_by_ms());
            if self.at.attached {
                let look_ms = if busy { DEAD_AFTER_MS } else { IDLE_LOOK_MS };
                due.push(Some(self.at.seen_ms.saturating_add(look_ms)));
                // Attached time as the clock will show it.
                let at = |lived_ms: i64| {
                    self.at.since_ms.saturating_add(lived_ms.saturating_sub(self.at.attached_ms))
                };
                due.push(period_ms.map(at));
                let asks = period_ms.is_some() && self.at.ending.is_none();
                due.push(asks.then(|| at(self.at.covered_ms.saturating_sub(PERIOD_LEAD_MS))));
            } else {
                due.push(Some(self.wait_ends_ms()));
            }
        }
        if let Some(at_ms) = due.into_iter().flatten().min() {
            self.act(Action::WakeBy { at_ms: at_ms.max(self.now_ms) });
        }
        Ok(())
    }
}
