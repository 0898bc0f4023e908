//! When something of an actor ends, expires, is delivered or is forgotten: one query, read on every waking and by
//! every alarm.

use std::sync::LazyLock;

use serde::Deserialize;

use super::limits::{TOP_UP_AGAIN_MS, TopUpAsked};
use crate::credits::{self, Grants};
use crate::jobs;
use crate::notices;
use crate::shared::Refusal;
use crate::sql::{Sql, row};
use crate::tickets;

/// When each kind of thing is due next, if ever.
#[derive(Debug, Deserialize)]
pub(super) struct Due {
    hold: Option<i64>,
    delivery: Option<i64>,
    counters: Option<Counters>,
    ended_hold: Option<i64>,
    key: Option<i64>,
    notice_told: Option<i64>,
    ticket: Option<i64>,
    grants: Option<Grants>,
    /// Whether there ever was a job: else there are no tables of jobs to ask.
    has_jobs: bool,
    #[serde(skip)]
    job: Option<i64>,
}

/// Of what was counted, the one thing that is due.
#[derive(Debug, Deserialize)]
struct Counters {
    top_up: Option<TopUpAsked>,
}

/// A JSON array, in the order of the fields: counters and grants are JSON as we wrote it, and the database need not parse
/// them first.
static DUE: LazyLock<String> = LazyLock::new(|| {
    let parts = [
        credits::HOLD_DUE_AT_MS,
        notices::DUE_AT_MS,
        "SELECT counters FROM limits",
        credits::HOLD_FORGOTTEN_AT_MS,
        "SELECT MIN(expires_at_ms) FROM idempotency",
        notices::OLDEST_AT_MS,
        tickets::FORGOTTEN_AT_MS,
        "SELECT grants FROM account",
    ];
    let parts = parts.map(|query| format!("COALESCE(({query}), 'null')"));
    let has_jobs = "iif(EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'jobs'), 'true', 'false')";
    format!("SELECT concat('[', {}, ',', {has_jobs}, ']')", parts.join(", ',', "))
});

impl Due {
    pub fn load(sql: &mut impl Sql) -> Result<Self, Refusal> {
        let due: Option<Self> = row(sql, &DUE, &[])?;
        let mut due = due.ok_or_else(|| Refusal::Broken { detail: "nothing says what is due".to_owned() })?;
        if due.has_jobs {
            due.job = row(sql, jobs::DUE_AT_MS, &[])?;
        }
        Ok(due)
    }

    /// When the alarm is to ring.
    pub fn at_ms(&self) -> Result<Option<i64>, Refusal> {
        let grants = self.grants.as_ref();
        let grants =
            grants.ok_or_else(|| Refusal::Broken { detail: "the account row is missing".to_owned() })?;
        let asked = self.counters.as_ref().and_then(|counters| counters.top_up);
        let top_up = asked.map(|asked| asked.at_ms.saturating_add(TOP_UP_AGAIN_MS));
        let in_time = [self.hold, self.delivery, grants.next_expiry_ms(), top_up, self.job];
        let notice = self.notice_told.map(|at_ms| at_ms.saturating_add(notices::HISTORY_MS));
        let forgotten = [self.ended_hold, self.key, notice, self.ticket];
        Ok(in_time.into_iter().chain(forgotten.map(|at_ms| at_ms.map(batched))).flatten().min())
    }

    /// Whether there is a notice to deliver, or one that waits for a delivery that cannot be any more.
    pub fn delivers(&self, hooked: bool, now_ms: i64) -> bool {
        self.delivery.is_some_and(|at_ms| at_ms <= now_ms || !hooked)
    }

    pub fn forgets_holds(&self, now_ms: i64) -> bool {
        self.ended_hold.is_some_and(|at_ms| at_ms <= now_ms)
    }

    pub fn forgets_tickets(&self, now_ms: i64) -> bool {
        self.ticket.is_some_and(|at_ms| at_ms <= now_ms)
    }

    pub fn forgets_keys(&self, now_ms: i64) -> bool {
        self.key.is_some_and(|at_ms| at_ms <= now_ms)
    }
}

/// When the next thing is due, read from the database.
///
/// # Errors
/// What the database refused.
pub fn due_at_ms(sql: &mut impl Sql) -> Result<Option<i64>, Refusal> {
    Due::load(sql)?.at_ms()
}

/// What is only forgotten can wait for company: one alarm a minute at most.
pub(super) const fn batched(at_ms: i64) -> i64 {
    const MINUTE_MS: i64 = 60_000;
    at_ms.saturating_add(MINUTE_MS).div_euclid(MINUTE_MS).saturating_mul(MINUTE_MS)
}
