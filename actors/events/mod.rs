//! Live events of one tenant: what the ledger, the usage feed, the notices and the jobs say, as it is written, to whoever listens.
//!
//! An event is no row of its own, but for those of jobs. The ledger's entries and the usage events share one sequence of
//! numbers, notices have another and jobs a third, so a place in the events is three numbers, and what comes after it is
//! read from the rows that are there anyway. A charge costs nothing more because somebody may listen.
//!
//! They are told in the order that they were written, which the rows say themselves: a notice and an event of a job know
//! the last number of the other kinds before theirs. So an event has one place, whoever asks for it and from where.
//!
//! Owns: places, what comes after one, the state of one listener, and how much it is told at a time. Never does: sockets,
//! which the shell holds.

mod listener;
mod merge;
mod position;
mod telling;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use listener::{
    ACK_WAIT_MS_MAX, Ending, Heard, IDLE_MS_MAX, Listener, MESSAGE_BYTES_MAX, MESSAGES_PER_MINUTE_MAX,
    SOCKET_MS_MAX, SOCKETS_MAX, UNACKNOWLEDGED_EVENTS_MAX,
};
pub use position::Position;
pub use telling::{Telling, ToSend};

use merge::Merge;

use crate::credits::{self, Entry, UsageEvent};
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

/// What came after `from` and not after `newest`, in the order that it was written; `None` when some of it is gone.
/// `rows_max` of each kind are read, and one event at least is told where there is one.
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
    let changes = credits::changes(sql, from.seq, upto(from.seq, newest.seq))?;
    let notices = notices::told(sql, from.notice, upto(from.notice, newest.notice))?;
    let jobs = jobs::told(sql, from.job, upto(from.job, newest.job))?;
    let (Some(changes), Some(notices), Some(jobs)) = (changes, notices, jobs) else {
        return Ok(None);
    };
    Ok(Some(Merge::of(from, newest, changes, notices, jobs).events()))
}
