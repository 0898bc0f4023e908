//! What came of the recent attempts at one model of one provider.

use std::collections::{BTreeMap, VecDeque};

use super::failure::{Blame, Failure};

/// Attempts that are remembered. 32 bytes each.
const ATTEMPTS_MAX: usize = 128;
/// How long they are, in milliseconds.
pub const WINDOW_MS: i64 = 600_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub at_ms: i64,
    pub duration_ms: i64,
    /// `None`: it answered.
    pub failure: Option<Failure>,
}

impl Seen {
    fn is_fault(&self) -> bool {
        self.failure.is_some_and(|failure| failure.blame() == Blame::Provider)
    }
}

/// In the order they ended.
#[derive(Debug, Clone, Default)]
pub struct Recent {
    seen: VecDeque<Seen>,
}

/// What a window of them says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub attempts: usize,
    /// Those that say something of the provider, and those of them that speak against it.
    pub judged: usize,
    pub faults: usize,
    /// By their exact codes.
    pub failures: BTreeMap<String, usize>,
    /// Of those that answered: until the first piece of a stream, or the whole of an answer.
    pub p50_ms: Option<i64>,
    pub p95_ms: Option<i64>,
}

impl Recent {
    pub fn push(&mut self, seen: Seen) {
        if self.seen.len() >= ATTEMPTS_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back(seen);
    }

    /// An answer that had begun well broke off: the latest that counts as one no longer does. Which of several under
    /// way it was makes no difference to any number here.
    pub fn spoil(&mut self, failure: Failure) {
        if let Some(answered) = self.seen.iter_mut().rev().find(|seen| seen.failure.is_none()) {
            answered.failure = Some(failure);
        }
    }

    /// Attempts since `from_ms` that say something of the provider, and how many of them speak against it.
    pub fn faults_since(&self, from_ms: i64) -> (usize, usize) {
        let judged = |seen: &&Seen| seen.at_ms >= from_ms && (seen.failure.is_none() || seen.is_fault());
        let judged = self.seen.iter().filter(judged);
        judged.fold((0, 0), |(all, faults), seen| {
            (all.saturating_add(1), faults.saturating_add(usize::from(seen.is_fault())))
        })
    }

    pub fn summary(&self, now_ms: i64) -> Summary {
        let from_ms = now_ms.saturating_sub(WINDOW_MS);
        let (judged, faults) = self.faults_since(from_ms);
        let mut summary = Summary { judged, faults, ..Summary::default() };
        let mut durations_ms = Vec::with_capacity(self.seen.len());
        for seen in self.seen.iter().filter(|seen| seen.at_ms >= from_ms) {
            summary.attempts = summary.attempts.saturating_add(1);
            match seen.failure {
                None => durations_ms.push(seen.duration_ms),
                Some(failure) => {
                    let count = summary.failures.entry(failure.exact_code()).or_default();
                    *count = count.saturating_add(1);
                }
            }
        }
        durations_ms.sort_unstable();
        summary.p50_ms = percentile(&durations_ms, 50);
        summary.p95_ms = percentile(&durations_ms, 95);
        summary
    }
}

/// The smallest of the sorted values that so many in a hundred do not exceed.
fn percentile(sorted: &[i64], percent: usize) -> Option<i64> {
    let rank = sorted.len().saturating_mul(percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(at_ms: i64, failure: Option<Failure>) -> Seen {
        Seen { at_ms, duration_ms: at_ms, failure }
    }

    #[test]
    fn percentiles_are_values_that_were_there() {
        assert_eq!(percentile(&[], 50), None);
        assert_eq!((percentile(&[7], 50), percentile(&[7], 95)), (Some(7), Some(7)));
        let hundred: Vec<i64> = (1..=100).collect();
        assert_eq!((percentile(&hundred, 50), percentile(&hundred, 95)), (Some(50), Some(95)));
        assert_eq!((percentile(&[1, 2, 3], 50), percentile(&[1, 2, 3], 95)), (Some(2), Some(3)));
    }

    #[test]
    fn a_window_is_summed_up_by_codes() {
        let mut recent = Recent::default();
        recent.push(seen(1, None));
        for failure in [Failure::Status(400), Failure::Status(503), Failure::Status(503)] {
            recent.push(seen(WINDOW_MS + 5, Some(failure)));
        }
        recent.push(seen(WINDOW_MS + 5, None));
        let summary = recent.summary(WINDOW_MS + 5);
        assert_eq!((summary.attempts, summary.judged, summary.faults), (4, 3, 2), "the first is too old");
        let failures = BTreeMap::from([("http_400".to_owned(), 1), ("http_503".to_owned(), 2)]);
        assert_eq!(summary.failures, failures);
        assert_eq!(summary.p50_ms, Some(WINDOW_MS + 5));
    }

    #[test]
    fn an_answer_that_broke_off_is_a_failure_and_counts_once() {
        let mut recent = Recent::default();
        recent.push(seen(1, None));
        recent.push(seen(2, Some(Failure::Malformed)));
        recent.spoil(Failure::Interrupted);
        assert_eq!(recent.faults_since(0), (2, 2));
        recent.spoil(Failure::Interrupted);
        assert_eq!(recent.summary(2).attempts, 2);
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let mut recent = Recent::default();
        for at_ms in 0..1_000 {
            recent.push(seen(at_ms, None));
        }
        assert_eq!(recent.summary(1_000).attempts, ATTEMPTS_MAX);
    }
}
