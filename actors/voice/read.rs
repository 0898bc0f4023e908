//! What can be read of a session, while it lives and after.

use serde::{Deserialize, Serialize};

use super::event::Latencies;
use super::limits::PAGE_TURNS_MAX;
use super::money::Used;
use super::session::Work;
use super::turn::{State, Turn};
use crate::shared::{Micro, Refusal};
use crate::sql::{Sql, row};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionView {
    pub session: String,
    pub opened_at_ms: i64,
    pub ended_at_ms: Option<i64>,
    /// Why it ended.
    pub why: Option<String>,
    pub epoch: u32,
    pub attached: bool,
    /// Attached time.
    pub attached_ms: i64,
    pub turns: i64,
    /// All that was charged, and what is set aside now.
    pub charged_micro: Micro,
    pub held_micro: Micro,
    /// Calls of providers that were made again because this actor, or the provider's socket, was lost.
    pub crash_retries: i64,
    pub broken_retries: i64,
    /// Sound that waits for the client.
    pub ring_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnView {
    pub n: i64,
    pub turn: String,
    pub state: State,
    pub began_at_ms: i64,
    pub ended_at_ms: Option<i64>,
    /// What was understood.
    pub user_text: Option<String>,
    /// What was heard of the answer.
    pub heard: String,
    pub gap: bool,
    pub code: Option<String>,
    pub latencies: Latencies,
    /// What was charged, once it is known.
    pub used: Option<Used>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnPage {
    pub items: Vec<TurnView>,
    /// Where the next page begins after.
    pub next_after: Option<i64>,
}

#[derive(Default, Deserialize)]
struct Sums {
    charged: Micro,
    held: Micro,
    crash: i64,
    broken: i64,
}

impl<S: Sql> Work<'_, S> {
    pub(super) fn view(&mut self) -> Result<SessionView, Refusal> {
        let sums = "SELECT json_object(
             'charged', (SELECT COALESCE(SUM(charge_micro), 0) FROM holds),
             'held', (SELECT COALESCE(SUM(amount_micro), 0) FROM holds WHERE state = 'granted'),
             'crash', (SELECT COUNT(*) FROM provider_calls WHERE cause = 'crash'),
             'broken', (SELECT COUNT(*) FROM provider_calls WHERE cause = 'broken'))";
        let sums: Sums = row(self.sql, sums, &[])?.unwrap_or_default();
        Ok(SessionView {
            session: self.opened.session.clone(),
            opened_at_ms: self.at.opened_at_ms,
            ended_at_ms: self.at.ended_at_ms,
            why: self.at.why.clone(),
            epoch: self.at.epoch,
            attached: self.at.attached,
            attached_ms: self.at.lived_ms(self.now_ms),
            turns: self.at.turns,
            charged_micro: sums.charged,
            held_micro: sums.held,
            crash_retries: sums.crash,
            broken_retries: sums.broken,
            ring_bytes: self.at.ring_bytes,
        })
    }

    /// Turns that have a name, the oldest first.
    pub(super) fn page(&mut self, after: i64, limit: i64) -> Result<TurnPage, Refusal> {
        let limit = limit.clamp(1, PAGE_TURNS_MAX);
        let turns = "SELECT json_group_array(json(body)) FROM (SELECT body FROM turns
               WHERE n > ?1 AND id IS NOT NULL ORDER BY n LIMIT ?2)";
        let turns: Vec<Turn> =
            row(self.sql, turns, &[after.into(), limit.saturating_add(1).into()])?.unwrap_or_default();
        let more = i64::try_from(turns.len()).unwrap_or(i64::MAX) > limit;
        let mut items = Vec::with_capacity(turns.len());
        for turn in turns.into_iter().take(usize::try_from(limit).unwrap_or(0)) {
            let heard = self.heard_text(&turn)?;
            items.push(TurnView {
                n: turn.n,
                turn: turn.name(),
                state: turn.state,
                began_at_ms: turn.began_at_ms,
                ended_at_ms: turn.ended_at_ms,
                user_text: turn.user_text,
                heard,
                gap: turn.gap,
                code: turn.code,
                latencies: turn.latencies,
                used: turn.used,
            });
        }
        let next_after = items.last().filter(|_| more).map(|last| last.n);
        Ok(TurnPage { items, next_after })
    }
}
