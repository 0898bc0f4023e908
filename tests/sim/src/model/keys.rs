//! Idempotency keys in the model: same key and body, same reply; other body, refused.

use actors::shared::Refusal;

use super::{Account, JobView, KEY_TTL_MS, Model};
use crate::command::Key;

/// A reply that was given once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    Settled {
        hold: u32,
        charged: i64,
        available: i64,
        reply: bool,
    },
    Adjusted {
        account: Account,
        shortfall: i64,
    },
    /// Place in the log of usage.
    Recorded(usize),
    Job {
        job: JobView,
        deduped: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRow {
    pub key: Key,
    /// While the request is under way, or the hold it had.
    pub hold: Option<u32>,
    /// Place in the log of replies.
    pub given: Option<usize>,
    pub ttl_ms: i64,
    pub expires_at_ms: i64,
}

impl Model {
    /// What was given to this key before; nothing when it is free.
    pub(super) fn look_up(&self, key: Option<Key>, now_ms: i64) -> Result<Option<Given>, Refusal> {
        let Some(asked) = key else { return Ok(None) };
        let live = |row: &&KeyRow| row.key.key == asked.key && row.expires_at_ms > now_ms;
        let Some(row) = self.state.keys.iter().find(live) else { return Ok(None) };
        let under_way = row.hold.is_some_and(|hold| self.state.open_holds().any(|open| open.id == hold));
        if row.given.is_none() && !under_way {
            return Ok(None);
        }
        if row.key.body != asked.body {
            return Err(Refusal::IdempotencyConflict);
        }
        row.given.map(|at| Some(self.logs.given[at])).ok_or(Refusal::IdempotencyInProgress)
    }

    fn write(&mut self, row: KeyRow) {
        match self.state.keys.iter_mut().find(|known| known.key.key == row.key.key) {
            Some(known) => *known = row,
            None => self.state.keys.push(row),
        }
    }

    pub(super) fn take(&mut self, key: Key, hold: u32, ttl_ms: i64, under_way_ms: i64, now_ms: i64) {
        let expires_at_ms = now_ms + ttl_ms.max(under_way_ms);
        self.write(KeyRow { key, hold: Some(hold), given: None, ttl_ms, expires_at_ms });
    }

    pub(super) fn remember(&mut self, key: Key, given: Given, now_ms: i64) {
        let at = Some(self.logs.given.len());
        self.logs.given.push(given);
        let (ttl_ms, expires_at_ms) = (KEY_TTL_MS, now_ms + KEY_TTL_MS);
        self.write(KeyRow { key, hold: None, given: at, ttl_ms, expires_at_ms });
    }

    pub(super) fn finish(&mut self, key: u32, hold: u32, given: Given, now_ms: i64) {
        // A reply takes the place of none; of a reply, nothing does.
        let replies = matches!(given, Given::Settled { reply: true, .. });
        let lost = |at: usize| matches!(self.logs.given[at], Given::Settled { reply: false, .. });
        let open = |row: &KeyRow| row.given.is_none_or(|at| replies && lost(at));
        let ours = |row: &&mut KeyRow| row.key.key == key && row.hold == Some(hold) && open(row);
        if let Some(row) = self.state.keys.iter_mut().find(ours) {
            row.given = Some(self.logs.given.len());
            row.expires_at_ms = now_ms + row.ttl_ms;
            self.logs.given.push(given);
        }
    }

    pub(super) fn free(&mut self, key: u32, hold: u32) {
        let ours = |row: &KeyRow| row.key.key == key && row.hold == Some(hold) && row.given.is_none();
        self.state.keys.retain(|row| !ours(row));
    }
}
