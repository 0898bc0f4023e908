//! Who is asked next in one request, and when: the order, the rounds, the waits between them.
//!
//! A plan and nothing else: time and randomness are arguments, and what came of an attempt is told to it.

use std::collections::VecDeque;

use super::failure::Failure;

/// Attempts of one request in all, whatever the rounds: each may cost the house a whole answer.
pub const ATTEMPTS_MAX: u32 = 16;
/// The wait before the second round; twice as long before each next one, at most the second.
const BACKOFF_FIRST_MS: i64 = 100;
const BACKOFF_MAX_MS: i64 = 2_000;

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Ask the provider with this number.
    Ask(usize),
    Wait {
        until_ms: i64,
    },
    /// Nobody is left, or no time.
    End,
}

#[derive(Debug)]
pub struct Schedule {
    /// Who is still to be asked in this round, and from when on.
    queue: VecDeque<(i64, usize)>,
    /// Whose failure may pass, and when they may be asked again, in the order they failed.
    again: Vec<(i64, usize)>,
    retries_left: u32,
    backoff_ms: i64,
    attempts: u32,
    end_ms: i64,
}

impl Schedule {
    /// `order` are the providers' numbers; `end_ms` is when the request's time is over.
    pub fn new(order: impl IntoIterator<Item = usize>, retries: u32, end_ms: i64) -> Self {
        Self {
            queue: order.into_iter().map(|number| (i64::MIN, number)).collect(),
            again: Vec::new(),
            retries_left: retries,
            backoff_ms: BACKOFF_FIRST_MS,
            attempts: 0,
            end_ms,
        }
    }

    /// `chance` is from 0 to 1.
    pub fn next(&mut self, now_ms: i64, chance: f64) -> Step {
        if now_ms >= self.end_ms || self.attempts >= ATTEMPTS_MAX {
            return Step::End;
        }
        if self.queue.is_empty() {
            self.begin_round(now_ms, chance);
        }
        match self.queue.front().copied() {
            None => Step::End,
            Some((ready_ms, _)) if ready_ms > now_ms => Step::Wait { until_ms: ready_ms },
            Some((_, number)) => {
                self.queue.pop_front();
                self.attempts = self.attempts.saturating_add(1);
                Step::Ask(number)
            }
        }
    }

    /// Another round, over those whose failure may pass: each when it said that it may be asked again, and none before
    /// a wait of a length that others do not share.
    fn begin_round(&mut self, now_ms: i64, chance: f64) {
        if self.retries_left == 0 {
            return;
        }
        self.retries_left = self.retries_left.saturating_sub(1);
        let earliest_ms = now_ms.saturating_add(jittered(self.backoff_ms, chance));
        self.backoff_ms = self.backoff_ms.saturating_mul(2).min(BACKOFF_MAX_MS);
        let end_ms = self.end_ms;
        let again = std::mem::take(&mut self.again).into_iter();
        let mut round: Vec<(i64, usize)> = again
            .map(|(ready_ms, number)| (ready_ms.max(earliest_ms), number))
            .filter(|(ready_ms, _)| *ready_ms < end_ms)
            .collect();
        // Whoever is ready first; among equals, in the order they had.
        round.sort_by_key(|(ready_ms, _)| *ready_ms);
        self.queue = round.into();
    }

    /// The provider with this number failed at `now_ms`.
    pub fn failed(&mut self, number: usize, failure: Failure, now_ms: i64) {
        if let Some(after_ms) = failure.again_after_ms() {
            self.again.push((now_ms.saturating_add(i64::from(after_ms)), number));
        }
    }

    /// It was not asked after all.
    pub const fn passed_over(&mut self) {
        self.attempts = self.attempts.saturating_sub(1);
    }
}

/// Between half of `ms` and all of it.
fn jittered(ms: i64, chance: f64) -> i64 {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    let jittered = (ms as f64 * (0.5 + 0.5 * chance.clamp(0.0, 1.0))) as i64;
    jittered
}

/// The order of providers given as `(place, weight)`: by place, and within one drawn by weight. `chance` gives numbers
/// from 0 to 1.
pub fn draw(terms: &[(usize, u32)], mut chance: impl FnMut() -> f64) -> Vec<usize> {
    let mut order = Vec::with_capacity(terms.len());
    let mut left: Vec<(usize, (usize, u32))> = terms.iter().copied().enumerate().collect();
    while let Some((_, (place, _))) = left.first().copied() {
        // Those of a place stand together; what a tier left out does not part them.
        let beside = left.iter().take_while(|(_, (other, _))| *other == place).count();
        let rivals = left.get(..beside).unwrap_or_default();
        let total: f64 = rivals.iter().map(|(_, (_, weight))| f64::from(*weight)).sum();
        let mut point = if beside > 1 { chance().clamp(0.0, 1.0) * total } else { 0.0 };
        let drawn = rivals.iter().position(|(_, (_, weight))| {
            point -= f64::from(*weight);
            point < 0.0
        });
        let (number, _) = left.remove(drawn.unwrap_or(beside.saturating_sub(1)));
        order.push(number);
    }
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::providers::failure::Deadline;

    const BUSY: Failure = Failure::Status(503);
    const WRONG: Failure = Failure::Malformed;

    #[test]
    fn each_is_asked_in_turn_and_again_only_if_its_failure_may_pass() {
        let mut schedule = Schedule::new(0..3, 1, 10_000);
        for (number, failure) in [(0, BUSY), (1, WRONG), (2, Failure::Unreachable)] {
            assert_eq!(schedule.next(0, 1.0), Step::Ask(number));
            schedule.failed(number, failure, 0);
        }
        assert_eq!(schedule.next(0, 1.0), Step::Wait { until_ms: 100 });
        assert_eq!(schedule.next(100, 1.0), Step::Ask(0));
        schedule.failed(0, BUSY, 100);
        assert_eq!(schedule.next(100, 1.0), Step::Ask(2));
        schedule.failed(2, BUSY, 100);
        assert_eq!(schedule.next(100, 1.0), Step::End, "one further round and no more");
    }

    #[test]
    fn waits_grow_and_vary() {
        let mut schedule = Schedule::new([0], 5, 100_000);
        let (mut now_ms, mut waits) = (0, Vec::new());
        loop {
            match schedule.next(now_ms, 1.0) {
                Step::Ask(number) => schedule.failed(number, BUSY, now_ms),
                Step::Wait { until_ms } => {
                    waits.push(until_ms - now_ms);
                    now_ms = until_ms;
                }
                Step::End => break,
            }
        }
        assert_eq!(waits, [100, 200, 400, 800, 1_600]);
        assert_eq!([0.0, 0.5, 1.0, f64::NAN].map(|chance| jittered(100, chance)), [50, 75, 100, 0]);
    }

    #[test]
    fn whoever_says_when_is_asked_then_and_not_beyond_the_end() {
        let mut schedule = Schedule::new(0..3, 1, 1_000);
        for (number, after_ms) in [(0, 700), (1, 5_000), (2, 300)] {
            assert_eq!(schedule.next(0, 0.0), Step::Ask(number));
            schedule.failed(number, Failure::Later { status: 500, after_ms }, 0);
        }
        assert_eq!(schedule.next(10, 0.0), Step::Wait { until_ms: 300 });
        assert_eq!(schedule.next(300, 0.0), Step::Ask(2));
        assert_eq!(schedule.next(310, 0.0), Step::Wait { until_ms: 700 });
        assert_eq!(schedule.next(700, 0.0), Step::Ask(0));
        assert_eq!(schedule.next(710, 0.0), Step::End, "the other would be back too late");
    }

    #[test]
    fn a_place_is_shared_by_weight() {
        let terms = [(0, 3), (0, 1), (1, 1)];
        for (point, first) in [(0.0, 0), (0.74, 0), (0.75, 1), (1.0, 1)] {
            let order = draw(&terms, || point);
            assert_eq!((order.first(), order.last(), order.len()), (Some(&first), Some(&2), 3), "{point}");
        }
        let never = || -> f64 { panic!("nobody shares a place") };
        assert_eq!(draw(&[(0, 1), (1, 5), (4, 1)], never), [0, 1, 2]);
        assert_eq!(draw(&[], never), [0; 0]);
    }

    fn failures() -> impl Strategy<Value = Failure> {
        prop_oneof![
            Just(BUSY),
            Just(WRONG),
            Just(Failure::Timeout(Deadline::Total)),
            (0_u32..9_000).prop_map(|after_ms| Failure::Later { status: 429, after_ms }),
        ]
    }

    proptest! {
        /// Whatever fails how: it ends, in time, after no more attempts than allowed, no provider is asked more often
        /// than there are rounds, before it said so, or again after a failure that does not pass.
        #[test]
        fn every_request_ends_within_its_bounds(
            providers in 1_usize..12,
            retries in 0_u32..6,
            end_ms in 0_i64..20_000,
            failures in prop::collection::vec((failures(), 0_i64..800), 1..40),
            chance in 0.0_f64..=1.0,
        ) {
            let mut schedule = Schedule::new(0..providers, retries, end_ms);
            let (mut now_ms, mut asked) = (0_i64, vec![0_u32; providers]);
            let mut not_before: Vec<Option<i64>> = vec![Some(0); providers];
            let mut what_comes = failures.iter().cycle();
            let mut steps = 0;
            loop {
                steps += 1;
                prop_assert!(steps < 200);
                match schedule.next(now_ms, chance) {
                    Step::End => break,
                    Step::Wait { until_ms } => {
                        prop_assert!(until_ms > now_ms && until_ms < end_ms);
                        now_ms = until_ms;
                    }
                    Step::Ask(number) => {
                        prop_assert!(now_ms < end_ms);
                        prop_assert!(not_before[number].is_some_and(|ms| ms <= now_ms), "{number} is asked too soon");
                        asked[number] += 1;
                        let (failure, took_ms) = *what_comes.next().unwrap();
                        now_ms += took_ms;
                        schedule.failed(number, failure, now_ms);
                        not_before[number] = failure.again_after_ms().map(|ms| now_ms + i64::from(ms));
                    }
                }
            }
            prop_assert!(asked.iter().sum::<u32>() <= ATTEMPTS_MAX);
            prop_assert!(asked.iter().all(|count| *count <= retries + 1));
        }

        #[test]
        fn a_draw_is_a_permutation_that_keeps_the_places(
            terms in prop::collection::vec((0_usize..4, 1_u32..1_000), 0..10),
            chances in prop::collection::vec(0.0_f64..=1.0, 10),
        ) {
            let mut terms = terms;
            terms.sort_by_key(|(place, _)| *place);
            let mut chance = chances.iter().cycle();
            let order = draw(&terms, || *chance.next().unwrap());
            let mut sorted = order.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..terms.len()).collect::<Vec<_>>());
            prop_assert!(order.is_sorted_by_key(|number| terms[*number].0));
        }
    }
}
