//! Live events of one tenant: what the ledger, the usage feed, the notices and the jobs say, as it is written, to whoever listens.
//!
//! An event is no row of its own, but for those of jobs. The ledger's entries and the usage events share one sequence of
//! numbers, notices have another and jobs a third, so a place in the events is three numbers, and what comes after it is
//! read from the rows that are there anyway. A charge costs nothing more because somebody may listen.
//!
//! Owns: places, what comes after one, the state of one listener, and how much it is told at a time. Never does: sockets,
//! which the shell holds.

mod listener;
mod position;
mod telling;

#[cfg(test)]
mod tests;

use std::iter::Peekable;
use std::vec::IntoIter;

use serde::{Deserialize, Serialize};

pub use listener::{
    ACK_WAIT_MS_MAX, Ending, Heard, IDLE_MS_MAX, Listener, MESSAGE_BYTES_MAX, MESSAGES_PER_MINUTE_MAX,
    SOCKET_MS_MAX, SOCKETS_MAX, UNACKNOWLEDGED_EVENTS_MAX,
};
pub use position::Position;
pub use telling::{Telling, ToSend};

use crate::credits::{self, By, Change, Entry, UsageEvent};
use crate::jobs::{self, JobEvent};
use crate::notices::{self, Told};
use crate::shared::Refusal;
use crate::sql::Sql;

/// Events that are sent again to a listener that comes back, page by page as it acknowledges them. Who missed more begins
/// anew, and reads the lists.
pub const REPLAY_EVENTS_MAX: i64 = 4_096;
/// Rows of each kind that one read takes: the most that is read before something is sent.
const PAGE_ROWS: i64 = 256;

/// What happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// An entry of the ledger, with the balance after it.
    Balance(Box<Entry>),
    Usage(Box<UsageEvent>),
    Notice(Box<Told>),
    /// What happened to a job.
    Job(Box<JobEvent>),
}

/// One event, and the place right after it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    pub position: Position,
    pub at_ms: i64,
    pub what: What,
}

/// The place where nothing has happened after.
///
/// # Errors
/// What the database refused.
pub fn newest(sql: &mut impl Sql, now_ms: i64) -> Result<Position, Refusal> {
    let (seq, notice, job) = (credits::last_seq(sql)?, notices::last_seq(sql)?, jobs::last_seq(sql)?);
    Ok(Position { at_ms: now_ms, seq, notice, job })
}

/// Where a listener that was at `from` has to begin anew, because it missed too much, or what it missed is gone; `None`
/// when it can be told all of it. Only numbers are looked at: nothing is read that would be sent.
///
/// # Errors
/// What the database refused.
pub fn passed(sql: &mut impl Sql, from: Position, now_ms: i64) -> Result<Option<Position>, Refusal> {
    let newest = newest(sql, now_ms)?;
    let missed = newest.count().saturating_sub(from.count());
    let gone = !from.is_within(newest)
        || missed > REPLAY_EVENTS_MAX
        || (from.notice < newest.notice && notices::first_seq(sql)? > from.notice.saturating_add(1))
        || (from.job < newest.job && jobs::first_seq(sql)? > from.job.saturating_add(1));
    Ok(gone.then_some(newest))
}

/// What came after `from` and not after `newest`, the first `rows_max` of each kind; `None` when some of it is gone.
///
/// # Errors
/// What the database refused.
pub fn after(
    sql: &mut impl Sql,
    from: Position,
    newest: Position,
    rows_max: i64,
) -> Result<Option<Vec<Event>>, Refusal> {
    // A place that is still to come is of books that were put back from a copy.
    if !from.is_within(newest) {
        return Ok(None);
    }
    let upto = |from: i64, newest: i64| newest.min(from.saturating_add(rows_max));
    let changes = credits::changes(sql, from.seq, upto(from.seq, newest.seq), from.at_ms)?;
    let told = notices::told(sql, from.notice, upto(from.notice, newest.notice))?;
    let of_jobs = jobs::told(sql, from.job, upto(from.job, newest.job))?;
    let (Some(changes), Some(told), Some(of_jobs)) = (changes, told, of_jobs) else {
        return Ok(None);
    };
    Ok(Some(merged(from, changes, told, of_jobs)))
}

/// All in the order of their times, each kind in its own order.
fn merged(from: Position, changes: Vec<Change>, told: Vec<Told>, of_jobs: Vec<JobEvent>) -> Vec<Event> {
    let count = changes.len().saturating_add(told.len()).saturating_add(of_jobs.len());
    let mut merged = Merged {
        events: Vec::with_capacity(count),
        position: from,
        told: told.into_iter().peekable(),
        of_jobs: of_jobs.into_iter().peekable(),
    };
    for change in changes {
        // A client's word for the time of what it reports orders nothing.
        let trusted = !matches!(change, Change::Usage(_, By::Client));
        let at_ms = if trusted { change.at_ms() } else { merged.position.at_ms };
        merged.until(at_ms);
        merged.position.seq = change.seq();
        if trusted {
            merged.position.at_ms = at_ms;
        }
        let at_ms = change.at_ms();
        let what = match change {
            Change::Entry(entry) => What::Balance(entry),
            Change::Usage(event, _) => What::Usage(event),
        };
        merged.push(at_ms, what);
    }
    merged.until(i64::MAX);
    merged.events
}

struct Merged {
    events: Vec<Event>,
    position: Position,
    told: Peekable<IntoIter<Told>>,
    of_jobs: Peekable<IntoIter<JobEvent>>,
}

impl Merged {
    fn push(&mut self, at_ms: i64, what: What) {
        self.events.push(Event { position: self.position, at_ms, what });
    }

    /// Notices and jobs before `at_ms`.
    fn until(&mut self, at_ms: i64) {
        loop {
            let job_ms = self.of_jobs.peek().map_or(i64::MAX, |event| event.at_ms);
            if let Some(notice) = self.told.next_if(|notice| notice.at_ms < at_ms && notice.at_ms <= job_ms) {
                self.position.notice = notice.seq;
                self.push(notice.at_ms, What::Notice(Box::new(notice)));
            } else if let Some(event) = self.of_jobs.next_if(|event| event.at_ms < at_ms) {
                self.position.job = event.seq;
                self.push(event.at_ms, What::Job(Box::new(event)));
            } else {
                return;
            }
        }
    }
}
