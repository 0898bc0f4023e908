//! One meter: the generic cell rate algorithm in its leaky-bucket form, in exact integers.
//!
//! What is admitted raises the level; the level falls by `refill` units a window. A request of weight `w` is
//! admitted when the level stays within `burst`. With `refill = limit − burst + 1`, what is admitted within
//! any window of time is less than `burst + refill`, so at most `limit`: the level after the last admission
//! is at most `burst`, and less than `refill` can have leaked since the first.
//!
//! What turns out larger than it was admitted as raises the level further, to `burst + refill` at most: a window
//! later the level is down at the burst again, so one such request costs its tenant a window and not a month. The
//! promise needs no more: what was admitted alone never raises the level above the burst, so a level that is cut
//! to more than that still stands for all of it.

use serde::{Deserialize, Serialize};

use crate::planted::{self, Bug};

/// What a budget allows: at most `limit` units in any sliding window, `burst` of them at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowance {
    pub limit: i64,
    pub window_ms: i64,
    /// From 1 to `limit`.
    pub burst: i64,
}

impl Allowance {
    /// Units that come back in a window.
    const fn refill(self) -> i128 {
        (self.limit as i128).saturating_sub(self.burst as i128).saturating_add(1)
    }

    /// No level is higher, whatever was added late, or counted when the limit was larger.
    const fn highest(self) -> i128 {
        self.scaled(self.burst).saturating_add(self.refill().saturating_mul(self.window_ms as i128))
    }

    const fn scaled(self, units: i64) -> i128 {
        (units as i128).saturating_mul(self.window_ms as i128)
    }

    /// What leaks in `elapsed_ms`, in units × window.
    const fn leaked(self, elapsed_ms: i64) -> i128 {
        self.refill().saturating_mul(elapsed_ms as i128)
    }
}

/// The state of a meter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    /// Whole units, and the rest as units × window.
    level: i64,
    rest: i64,
    /// The latest time seen. Time that steps back is read as this.
    clock_ms: i64,
}

/// What is left after an admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Whole units that would be admitted now.
    pub remaining: i64,
    /// Until the whole burst is there again, when nothing comes between.
    pub reset_ms: i64,
}

/// Why a weight was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// It fits after this many milliseconds by the caller's clock, if nothing comes between.
    After(i64),
    /// It is larger than the burst.
    Never,
}

impl Meter {
    /// Admits `weight` units at `now_ms`.
    ///
    /// # Errors
    /// [`Denied`], and the meter is as it was.
    pub fn admit(&mut self, allowance: Allowance, weight: i64, now_ms: i64) -> Result<Left, Denied> {
        if weight > allowance.burst {
            return Err(Denied::Never);
        }
        let level = self.level_at(allowance, now_ms).saturating_add(allowance.scaled(weight));
        let burst = allowance.burst.saturating_add(i64::from(planted::on(Bug::GcraOffByOne)));
        let excess = level.saturating_sub(allowance.scaled(burst));
        if excess > 0 {
            let behind_ms = self.clock_ms.saturating_sub(now_ms).max(0);
            let wait_ms = time(div_ceil(excess, allowance.refill()));
            return Err(Denied::After(behind_ms.saturating_add(wait_ms)));
        }
        self.set(allowance, level, now_ms);
        Ok(self.left(allowance, now_ms))
    }

    /// What would be admitted at `now_ms`.
    #[must_use]
    pub fn left(&self, allowance: Allowance, now_ms: i64) -> Left {
        let level = self.level_at(allowance, now_ms);
        let free = allowance.scaled(allowance.burst).saturating_sub(level).max(0);
        let remaining = free.checked_div(i128::from(allowance.window_ms)).unwrap_or(0);
        Left {
            remaining: i64::try_from(remaining).unwrap_or(i64::MAX),
            reset_ms: time(div_ceil(level, allowance.refill())),
        }
    }

    /// Replaces an admission of `estimated` units, made at `admitted_ms`, by what it `actually` was.
    ///
    /// What is given back has not leaked away since: the level falls by no more than it would be lower had the
    /// true weight been admitted in the first place. So the promise holds for the true weights too, except for
    /// what was estimated too low, which is added as far as the highest level allows.
    pub fn reconcile(
        &mut self,
        allowance: Allowance,
        estimated: i64,
        actual: i64,
        admitted_ms: i64,
        now_ms: i64,
    ) {
        let level = self.level_at(allowance, now_ms);
        let level = if actual >= estimated {
            let more = allowance.scaled(actual.saturating_sub(estimated));
            level.saturating_add(more).min(allowance.highest())
        } else {
            let unused = allowance.scaled(estimated.saturating_sub(actual));
            let now_ms = now_ms.max(self.clock_ms);
            let leaked = allowance.leaked(now_ms.saturating_sub(admitted_ms).max(0));
            let leaked = if planted::on(Bug::TokensOverRefunded) { 0 } else { leaked };
            level.saturating_sub(unused.saturating_sub(leaked).max(0)).max(0)
        };
        self.set(allowance, level, now_ms);
    }

    fn level_at(&self, allowance: Allowance, now_ms: i64) -> i128 {
        let elapsed_ms = now_ms.saturating_sub(self.clock_ms);
        let elapsed_ms =
            if planted::on(Bug::ClockStepBackGivesAllowance) { elapsed_ms.abs() } else { elapsed_ms.max(0) };
        let stored =
            allowance.scaled(self.level).saturating_add(i128::from(self.rest)).min(allowance.highest());
        stored.saturating_sub(allowance.leaked(elapsed_ms)).max(0)
    }

    fn set(&mut self, allowance: Allowance, level: i128, now_ms: i64) {
        let window = i128::from(allowance.window_ms);
        self.level = i64::try_from(level.checked_div(window).unwrap_or(0)).unwrap_or(i64::MAX);
        self.rest = i64::try_from(level.checked_rem(window).unwrap_or(0)).unwrap_or(0);
        self.clock_ms =
            if planted::on(Bug::MeterFollowsClockBack) { now_ms } else { self.clock_ms.max(now_ms) };
    }
}

fn div_ceil(amount: i128, by: i128) -> i128 {
    let whole = amount.checked_div(by).unwrap_or(0);
    let exact = whole.checked_mul(by) == Some(amount);
    if exact { whole } else { whole.saturating_add(1) }
}

/// Milliseconds within a double's exact integers.
fn time(ms: i128) -> i64 {
    const MS_MAX: i64 = 1 << 52;
    i64::try_from(ms).unwrap_or(MS_MAX).min(MS_MAX)
}
