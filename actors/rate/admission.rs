//! A request against all budgets of its tenant and of its key at once: all admit it, or none counts it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::meter::{Allowance, Denied, Left, Meter};
use super::plan::{Budget, CREDITS_PER_DAY, IN_FLIGHT, Limits, REQUESTS, TOKENS};
use crate::planted::{self, Bug};
use crate::shared::{Micro, Refusal};

/// Meters by name: `requests`, or `requests@<key>` for those of an API key.
pub type Meters = BTreeMap<String, Meter>;

/// What a request weighs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weight {
    /// Requests it counts as; a tier may count as several.
    pub requests: i64,
    /// Tokens, estimated before and reconciled after.
    pub tokens: i64,
    /// Credits, as the hold has them before, with all that it grew by, and the charge after.
    pub micro: Micro,
}

impl Weight {
    /// The larger of each.
    #[must_use]
    pub fn at_least(self, other: Self) -> Self {
        Self {
            requests: self.requests.max(other.requests),
            tokens: self.tokens.max(other.tokens),
            micro: self.micro.max(other.micro),
        }
    }

    fn of(self, budget: &Budget) -> i64 {
        match budget.name {
            REQUESTS => self.requests,
            TOKENS => self.tokens,
            CREDITS_PER_DAY => self.micro.0,
            _ => 0,
        }
    }
}

/// What is left of a budget, as the headers say it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetLeft {
    pub policy: String,
    pub limit: i64,
    pub remaining: i64,
    /// Zero for what counts requests at one time.
    pub window_ms: i64,
    /// Until all of the burst is there again.
    pub reset_ms: i64,
}

/// Counts a request against `limits`, whose meters are those of `key`, or the tenant's own without one.
/// `in_flight` is how many requests are under way without this one.
///
/// # Errors
/// `RateLimited`, `ExceedsBudget`; the meters may then be half changed, and the caller drops them.
pub fn admit(
    meters: &mut Meters,
    limits: &Limits,
    key: Option<&str>,
    weight: Weight,
    in_flight: i64,
    now_ms: i64,
) -> Result<Vec<BudgetLeft>, Refusal> {
    let mut left = Vec::with_capacity(4);
    // Of several refusals the longest wait is the true one: after it, all admit.
    let mut longest: Option<(Budget, i64, i64)> = None;
    for budget in limits.budgets() {
        let (policy, allowance) = (meter_name(budget.name, key), budget.allowance);
        let meter = meters.entry(policy.clone()).or_default();
        match meter.admit(allowance, weight.of(&budget), now_ms) {
            Ok(Left { remaining, reset_ms }) => {
                let (limit, window_ms) = (allowance.limit, allowance.window_ms);
                left.push(BudgetLeft { policy, limit, remaining, window_ms, reset_ms });
            }
            Err(Denied::Never) => return Err(Refusal::ExceedsBudget { policy, limit: allowance.burst }),
            Err(Denied::After(wait_ms)) if longest.is_none_or(|(_, before_ms, _)| wait_ms > before_ms) => {
                longest = Some((budget, wait_ms, meter.left(allowance, now_ms).remaining));
            }
            Err(Denied::After(_)) => {}
        }
    }
    if let Some((budget, retry_after_ms, remaining)) = longest {
        let Allowance { limit, window_ms, .. } = budget.allowance;
        let policy = meter_name(budget.name, key);
        return Err(Refusal::RateLimited { policy, limit, window_ms, retry_after_ms, remaining });
    }
    if let Some(limit) = limits.in_flight.filter(|limit| *limit > 0) {
        let policy = meter_name(IN_FLIGHT, key);
        if in_flight >= limit.saturating_add(i64::from(planted::on(Bug::InFlightOffByOne))) {
            return Err(Refusal::RateLimited {
                policy,
                limit,
                window_ms: 0,
                retry_after_ms: IN_FLIGHT_WAIT_MS,
                remaining: 0,
            });
        }
        let remaining = limit.saturating_sub(in_flight).saturating_sub(1);
        left.push(BudgetLeft { policy, limit, remaining, window_ms: 0, reset_ms: 0 });
    }
    Ok(left)
}

/// What is left of the budgets of `limits` that have a window.
#[must_use]
pub fn windows_left(meters: &Meters, limits: &Limits, key: Option<&str>, now_ms: i64) -> Vec<BudgetLeft> {
    let budgets = limits.budgets().into_iter().map(|budget| {
        let (policy, allowance) = (meter_name(budget.name, key), budget.allowance);
        let meter = meters.get(&policy).copied().unwrap_or_default();
        let Left { remaining, reset_ms } = meter.left(allowance, now_ms);
        let (limit, window_ms) = (allowance.limit, allowance.window_ms);
        BudgetLeft { policy, limit, remaining, window_ms, reset_ms }
    });
    budgets.collect()
}

/// What is left of every budget of `limits`; `in_flight` is how many requests are under way.
#[must_use]
pub fn left(
    meters: &Meters,
    limits: &Limits,
    key: Option<&str>,
    in_flight: i64,
    now_ms: i64,
) -> Vec<BudgetLeft> {
    let mut left = windows_left(meters, limits, key, now_ms);
    left.extend(limits.in_flight.filter(|limit| *limit > 0).map(|limit| BudgetLeft {
        policy: meter_name(IN_FLIGHT, key),
        limit,
        remaining: limit.saturating_sub(in_flight).max(0),
        window_ms: 0,
        reset_ms: 0,
    }));
    left
}

/// Counts what a request is to cost beyond what it was admitted for. It is under way already, so the credits alone
/// are asked.
///
/// # Errors
/// `RateLimited`, `ExceedsBudget`; the meters may then be half changed, and the caller drops them.
pub fn admit_more(
    meters: &mut Meters,
    limits: &Limits,
    key: Option<&str>,
    more: Micro,
    now_ms: i64,
) -> Result<Vec<BudgetLeft>, Refusal> {
    let credits = Limits {
        credits_per_day: limits.credits_per_day,
        credits_burst: limits.credits_burst,
        ..Limits::default()
    };
    admit(meters, &credits, key, Weight { micro: more, ..Weight::default() }, 0, now_ms)
}

/// What the tenant's and the key's budgets say together. Of two waits the longer is the true one; what can never
/// fit is said before any wait.
///
/// # Errors
/// The refusal of either.
pub fn both(
    own: Result<Vec<BudgetLeft>, Refusal>,
    of_key: Result<Vec<BudgetLeft>, Refusal>,
) -> Result<Vec<BudgetLeft>, Refusal> {
    let wait_ms = |refusal: &Refusal| match refusal {
        Refusal::RateLimited { retry_after_ms, .. } => *retry_after_ms,
        _ => i64::MAX,
    };
    match (own, of_key) {
        (Ok(own), Ok(of_key)) => Ok(own.into_iter().chain(of_key).collect()),
        (Err(own), Err(of_key)) => Err(if wait_ms(&of_key) > wait_ms(&own) { of_key } else { own }),
        (Err(refusal), _) | (_, Err(refusal)) => Err(refusal),
    }
}

/// When to look again after too many at once: nobody knows when the first of them ends, so this is a hint.
pub const IN_FLIGHT_WAIT_MS: i64 = 1_000;

/// Replaces what a request was estimated to weigh by what it weighed. The number of requests stays.
pub fn reconcile(
    meters: &mut Meters,
    limits: &Limits,
    key: Option<&str>,
    estimated: Weight,
    actual: Weight,
    admitted_ms: i64,
    now_ms: i64,
) {
    let actual = Weight { requests: estimated.requests, ..actual };
    for budget in limits.budgets() {
        let (before, after) = (estimated.of(&budget), actual.of(&budget));
        if before != after {
            let meter = meters.entry(meter_name(budget.name, key)).or_default();
            meter.reconcile(budget.allowance, before, after, admitted_ms, now_ms);
        }
    }
}

/// The limit of a policy as a person reads it: credits where it counts credits, as caps do.
#[must_use]
pub fn shown_limit(policy: &str, limit: i64) -> String {
    let budget = policy.split_once('@').map_or(policy, |(budget, _)| budget);
    if budget == CREDITS_PER_DAY || policy.starts_with("cap:") {
        return format!("{} credits", Micro(limit));
    }
    limit.to_string()
}

/// The API key whose meter this is; none for one of the tenant.
#[must_use]
pub fn key_of(meter: &str) -> Option<&str> {
    meter.split_once('@').map(|(_, key)| key)
}

fn meter_name(budget: &str, key: Option<&str>) -> String {
    key.map_or_else(|| budget.to_owned(), |key| format!("{budget}@{key}"))
}
