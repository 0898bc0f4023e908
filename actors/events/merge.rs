//! The one order of all kinds of events, made of the rows alone.
//!
//! What comes next after a place depends on the next row of each kind and on nothing else. So it does not matter where one
//! pass ends and another begins, nor when it is made: whatever is written later has numbers of the other kinds that are
//! not before what was told by then. No clock has a word in it.

use std::iter::Peekable;
use std::vec::IntoIter;

use super::{Event, Position, What};
use crate::credits::Change;
use crate::jobs::JobEvent;
use crate::notices::Told;

/// The rows after a place, each kind in its own order.
pub(super) struct Merge {
    place: Position,
    newest: Position,
    changes: Peekable<IntoIter<Change>>,
    notices: Peekable<IntoIter<Told>>,
    jobs: Peekable<IntoIter<JobEvent>>,
}

impl Merge {
    /// The first of the rows that come after `from` and not after `newest`, none of a kind left out in between.
    pub fn of(
        from: Position,
        newest: Position,
        changes: Vec<Change>,
        notices: Vec<Told>,
        jobs: Vec<JobEvent>,
    ) -> Self {
        let (changes, notices, jobs) = (changes.into_iter(), notices.into_iter(), jobs.into_iter());
        Self {
            place: from,
            newest,
            changes: changes.peekable(),
            notices: notices.peekable(),
            jobs: jobs.peekable(),
        }
    }

    /// As many as are known to be the next ones: all, or up to where a kind has more rows than were read.
    pub fn events(mut self) -> Vec<Event> {
        let rows = self.changes.len().saturating_add(self.notices.len()).saturating_add(self.jobs.len());
        let mut events = Vec::with_capacity(rows);
        while let Some((at_ms, what)) = self.next() {
            self.place.at_ms = at_ms;
            events.push(Event { position: self.place, at_ms, what });
        }
        events
    }

    fn next(&mut self) -> Option<(i64, What)> {
        let (change, notice, job) = (self.changes.peek(), self.notices.peek(), self.jobs.peek());
        if (change.is_none() && self.place.seq < self.newest.seq)
            || (notice.is_none() && self.place.notice < self.newest.notice)
            || (job.is_none() && self.place.job < self.newest.job)
        {
            return None;
        }
        let job = job.filter(|job| notice.is_none_or(|notice| !is_after(job, notice)));
        let follows = match (job, notice) {
            (Some(job), _) => change.is_some_and(|change| is_after_change(job.after_seq, job.at_ms, change)),
            (None, Some(notice)) => {
                change.is_some_and(|change| is_after_change(notice.after_seq, notice.at_ms, change))
            }
            (None, None) => true,
        };
        if follows {
            return self.changes.next().map(|change| self.changed(change));
        }
        if job.is_some() { self.of_a_job() } else { self.noticed() }
    }

    fn changed(&mut self, change: Change) -> (i64, What) {
        self.place.seq = change.seq();
        let at_ms = change.at_ms();
        let what = match change {
            Change::Entry(entry) => What::Balance(entry),
            Change::Usage(event) => What::Usage(event),
        };
        (at_ms, what)
    }

    fn noticed(&mut self) -> Option<(i64, What)> {
        let notice = self.notices.next()?;
        self.place.notice = notice.seq;
        Some((notice.at_ms, What::Notice(Box::new(notice))))
    }

    fn of_a_job(&mut self) -> Option<(i64, What)> {
        let event = self.jobs.next()?;
        self.place.job = event.seq;
        Some((event.at_ms, What::Job(Box::new(event))))
    }
}

/// Rows from before this was noted go by their times.
fn is_after_change(after_seq: Option<i64>, at_ms: i64, change: &Change) -> bool {
    after_seq.map_or_else(|| change.at_ms() <= at_ms, |seq| change.seq() <= seq)
}

fn is_after(job: &JobEvent, notice: &Told) -> bool {
    job.after_notice.map_or_else(|| notice.at_ms <= job.at_ms, |last| notice.seq <= last)
}
