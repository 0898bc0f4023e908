//! The leaky bucket of a budget, and what a plan with overrides allows.

use actors::rate::Limits;

use super::{DAY_MS, MINUTE_MS};

/// At most `limit` units in a window, `burst` of them at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    pub limit: i64,
    pub burst: i64,
    pub window_ms: i64,
}

/// Requests, tokens and credits: names, and what a burst is of its limit when nothing else is said.
pub const NAMES: [&str; 3] = ["requests", "tokens", "credits-per-day"];
const WINDOWS_MS: [i64; 3] = [MINUTE_MS, MINUTE_MS, DAY_MS];
const BURST_SHARES: [i64; 3] = [4, 2, 2];

/// The level in units times window, so that a millisecond drains a whole number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Meter {
    pub level: i128,
    pub clock_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    Never,
    After(i64),
}

impl Budget {
    /// Drained in a millisecond.
    fn drain(&self) -> i128 {
        i128::from(self.limit - self.burst + 1)
    }

    fn full(&self) -> i128 {
        i128::from(self.burst) * i128::from(self.window_ms)
    }

    /// A window later it is down at the burst again.
    fn highest(&self) -> i128 {
        self.full() + self.drain() * i128::from(self.window_ms)
    }

    fn units(&self, weight: i64) -> i128 {
        i128::from(weight) * i128::from(self.window_ms)
    }
}

impl Meter {
    pub fn level_at(&self, budget: &Budget, now_ms: i64) -> i128 {
        let elapsed_ms = i128::from((now_ms - self.clock_ms).max(0));
        (self.level.min(budget.highest()) - budget.drain() * elapsed_ms).max(0)
    }

    pub fn admit(&mut self, budget: &Budget, weight: i64, now_ms: i64) -> Result<(), Denied> {
        if weight > budget.burst {
            return Err(Denied::Never);
        }
        let level = self.level_at(budget, now_ms) + budget.units(weight);
        if level > budget.full() {
            let excess = level - budget.full();
            let drained_ms = (excess + budget.drain() - 1) / budget.drain();
            return Err(Denied::After(i64::try_from(drained_ms).unwrap() + (self.clock_ms - now_ms).max(0)));
        }
        *self = Self { level, clock_ms: self.clock_ms.max(now_ms) };
        Ok(())
    }

    /// What is left of the burst in whole units, and until when all of it is there again.
    pub fn left(&self, budget: &Budget, now_ms: i64) -> (i64, i64) {
        let level = self.level_at(budget, now_ms);
        let free = (budget.full() - level).max(0) / i128::from(budget.window_ms);
        let reset_ms = (level + budget.drain() - 1) / budget.drain();
        (i64::try_from(free).unwrap(), i64::try_from(reset_ms).unwrap())
    }

    /// What was estimated too high comes back, less what drained away of it since; what was estimated too low is
    /// added, as far as the highest level.
    pub fn reconcile(&mut self, budget: &Budget, estimated: i64, actual: i64, admitted_ms: i64, now_ms: i64) {
        let latest_ms = self.clock_ms.max(now_ms);
        let level = self.level_at(budget, now_ms);
        let more = budget.units(actual - estimated);
        let drained = budget.drain() * i128::from((latest_ms - admitted_ms).max(0));
        let level = if more >= 0 {
            (level + more).min(budget.highest())
        } else {
            (level - (-more - drained).max(0)).max(0)
        };
        *self = Self { level, clock_ms: latest_ms };
    }
}

/// The budgets that `over` and, where it says nothing, `plan` switch on.
pub fn budgets(over: &Limits, plan: &Limits) -> [Option<Budget>; 3] {
    let credits = |limits: &Limits| (limits.credits_per_day.map(|m| m.0), limits.credits_burst.map(|m| m.0));
    let of = |limits: &Limits, at: usize| match at {
        0 => (limits.requests_per_minute, limits.requests_burst),
        1 => (limits.tokens_per_minute, limits.tokens_burst),
        _ => credits(limits),
    };
    std::array::from_fn(|at| {
        let (over, plan) = (of(over, at), of(plan, at));
        let limit = over.0.or(plan.0).filter(|limit| *limit > 0)?;
        let share = BURST_SHARES[at];
        let burst = over.1.or(plan.1).unwrap_or((limit + share - 1) / share);
        Some(Budget { limit, burst: burst.clamp(1, limit), window_ms: WINDOWS_MS[at] })
    })
}
