//! The circuit breaker: when a provider's model is left alone, for how long, and who tries it again first.
//!
//! A rule and nothing else: time and randomness are arguments.

use super::failure::{Blame, Failure};
use super::recent::{Recent, Seen};
use crate::platform::config::BreakerRules;

/// Requests at one time that may try whether a provider is back.
const PROBES_MAX: u32 = 1;
/// A share of failures says something only of so many attempts, and of those of the last minute.
const RATE_ATTEMPTS_MIN: usize = 10;
const RATE_WINDOW_MS: i64 = 60_000;
/// The most that chance adds to a cool-down, as a part of it: isolates that opened together shall not return together.
const JITTER_PART: i64 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        since_ms: i64,
        until_ms: i64,
    },
    /// The cool-down is over; so many requests are trying.
    HalfOpen {
        probes: u32,
    },
}

/// What a caller sees of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    Closed,
    Open { until_ms: i64 },
    HalfOpen,
}

/// Leave to ask. What comes of it is told with it, or that nothing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permit {
    /// The state it was given in: what began in another says nothing of this one.
    epoch: u64,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Usual,
    Probe,
    /// Asked although it is open, because all are.
    Forced,
}

#[derive(Debug, Clone)]
pub struct Breaker {
    state: State,
    epoch: u64,
    /// Failures one after the other.
    failures: u32,
    /// How often it opened since it was last closed.
    openings: u32,
    /// Failures of before do not count into the share of after.
    closed_ms: i64,
    pub recent: Recent,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            state: State::Closed,
            epoch: 0,
            failures: 0,
            openings: 0,
            closed_ms: i64::MIN,
            recent: Recent::default(),
        }
    }
}

impl Breaker {
    /// Leave to ask now.
    ///
    /// # Errors
    /// When there will be leave again; not later than now while others are trying.
    pub fn admit(&mut self, rules: &BreakerRules, now_ms: i64) -> Result<Permit, i64> {
        if rules.failures == 0 {
            return Ok(self.permit(Kind::Usual));
        }
        match self.state {
            State::Closed => Ok(self.permit(Kind::Usual)),
            // A clock that was set back must not prolong it.
            State::Open { since_ms, until_ms } if (since_ms..until_ms).contains(&now_ms) => Err(until_ms),
            State::Open { .. } => {
                self.enter(State::HalfOpen { probes: 1 });
                Ok(self.permit(Kind::Probe))
            }
            State::HalfOpen { probes } if probes < PROBES_MAX => {
                self.state = State::HalfOpen { probes: probes.saturating_add(1) };
                Ok(self.permit(Kind::Probe))
            }
            State::HalfOpen { .. } => Err(now_ms),
        }
    }

    /// Leave to ask whatever the state, for a request that has nobody else.
    pub const fn force(&self) -> Permit {
        self.permit(Kind::Forced)
    }

    const fn permit(&self, kind: Kind) -> Permit {
        Permit { epoch: self.epoch, kind }
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// The attempt came to nothing that could be judged: its request went away, or another provider was faster.
    pub fn give_up(&mut self, permit: Permit) {
        if let (State::HalfOpen { probes }, true) = (self.state, self.is_probe(permit)) {
            self.state = State::HalfOpen { probes: probes.saturating_sub(1) };
        }
    }

    fn is_probe(&self, permit: Permit) -> bool {
        permit.kind == Kind::Probe && permit.epoch == self.epoch
    }

    /// What came of an attempt. `chance` is from 0 to 1. Whether it opened just now.
    pub fn record(&mut self, rules: &BreakerRules, permit: Permit, seen: Seen, chance: f64) -> bool {
        let is_probe = self.is_probe(permit);
        self.give_up(permit);
        self.recent.push(seen);
        let current = permit.epoch == self.epoch;
        match seen.failure {
            None => {
                self.failures = 0;
                // Whoever was forced to ask found out what a probe would.
                if is_probe || (current && permit.kind == Kind::Forced) {
                    self.close(seen.at_ms);
                }
                false
            }
            Some(failure) if failure.blame() == Blame::Nobody => false,
            Some(failure) => match self.state {
                State::HalfOpen { .. } if is_probe => self.open(rules, seen.at_ms, failure, chance),
                State::Closed if current => self.failed(rules, seen.at_ms, failure, chance),
                _ => false,
            },
        }
    }

    /// An answer that had begun broke off. Whether it opened just now.
    pub fn record_break(&mut self, rules: &BreakerRules, failure: Failure, now_ms: i64, chance: f64) -> bool {
        self.recent.spoil(failure);
        let counts = failure.blame() == Blame::Provider && self.state == State::Closed;
        counts && self.failed(rules, now_ms, failure, chance)
    }

    fn failed(&mut self, rules: &BreakerRules, now_ms: i64, failure: Failure, chance: f64) -> bool {
        self.failures = self.failures.saturating_add(1);
        if rules.failures == 0 {
            return false;
        }
        let from_ms = now_ms.saturating_sub(RATE_WINDOW_MS).max(self.closed_ms);
        let (judged, faults) = self.recent.faults_since(from_ms);
        let percent = usize::try_from(rules.error_percent).unwrap_or(usize::MAX);
        let too_many =
            judged >= RATE_ATTEMPTS_MIN && faults.saturating_mul(100) >= judged.saturating_mul(percent);
        (self.failures >= rules.failures || too_many) && self.open(rules, now_ms, failure, chance)
    }

    fn open(&mut self, rules: &BreakerRules, now_ms: i64, failure: Failure, chance: f64) -> bool {
        let doubled = 1_i64.checked_shl(self.openings.min(32)).unwrap_or(i64::MAX);
        let mut cool_down_ms = rules.open_ms.saturating_mul(doubled).min(rules.open_max_ms);
        if let Failure::Later { after_ms, .. } = failure {
            // It said itself when it will be back.
            cool_down_ms = cool_down_ms.max(i64::from(after_ms)).min(rules.open_max_ms);
        }
        let until_ms = now_ms.saturating_add(cool_down_ms).saturating_add(part_of(cool_down_ms, chance));
        self.openings = self.openings.saturating_add(1);
        self.failures = 0;
        self.enter(State::Open { since_ms: now_ms, until_ms });
        true
    }

    fn close(&mut self, now_ms: i64) {
        self.openings = 0;
        self.closed_ms = now_ms;
        self.enter(State::Closed);
    }

    /// The state at `now_ms`, without changing it.
    pub fn shown(&self, now_ms: i64) -> Shown {
        match self.state {
            State::Closed => Shown::Closed,
            State::Open { since_ms, until_ms } if (since_ms..until_ms).contains(&now_ms) => {
                Shown::Open { until_ms }
            }
            State::Open { .. } | State::HalfOpen { .. } => Shown::HalfOpen,
        }
    }
}

/// By chance from nothing to a tenth of `ms`.
fn part_of(ms: i64, chance: f64) -> i64 {
    let most = ms.checked_div(JITTER_PART).unwrap_or(0);
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    let part = (most as f64 * chance.clamp(0.0, 1.0)) as i64;
    part
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
