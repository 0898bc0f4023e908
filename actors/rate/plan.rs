//! Plans: what a tenant may do in a window of time. From configuration, with overrides a tenant or a key has.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::meter::Allowance;
use crate::shared::{DAY_MS, Micro, Refusal};

pub const MINUTE_MS: i64 = 60_000;
/// The largest limit of a budget: a thousand million credits a day in micro-credits is 10^15.
const LIMIT_MAX: i64 = 1_000_000_000_000_000;
/// Tiers a plan may name.
pub const TIERS_MAX: usize = 16;

/// What can be set of a plan. Absent is the plan's own value; zero switches a budget off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<i64>,
    /// Requests that may come at once; a quarter of the limit when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_burst: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<i64>,
    /// Tokens that may come at once; half of the limit when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_burst: Option<i64>,
    #[serde(rename = "credits_per_day_micro", skip_serializing_if = "Option::is_none")]
    pub credits_per_day: Option<Micro>,
    /// Credits that may be spent at once; half of the limit when absent.
    #[serde(rename = "credits_burst_micro", skip_serializing_if = "Option::is_none")]
    pub credits_burst: Option<Micro>,
    /// Requests under way at one time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<i64>,
    /// The tiers that may be asked for; all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tiers: Option<Vec<String>>,
}

/// Plans by name.
pub type Plans = BTreeMap<String, Limits>;

/// A budget with a window: its name in headers, its unit, and what it allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    pub name: &'static str,
    pub allowance: Allowance,
}

pub const REQUESTS: &str = "requests";
pub const TOKENS: &str = "tokens";
pub const CREDITS_PER_DAY: &str = "credits-per-day";
pub const IN_FLIGHT: &str = "in-flight";

impl Limits {
    /// These limits where `over` says nothing.
    #[must_use]
    pub fn overridden_by(&self, over: &Self) -> Self {
        Self {
            requests_per_minute: over.requests_per_minute.or(self.requests_per_minute),
            requests_burst: over.requests_burst.or(self.requests_burst),
            tokens_per_minute: over.tokens_per_minute.or(self.tokens_per_minute),
            tokens_burst: over.tokens_burst.or(self.tokens_burst),
            credits_per_day: over.credits_per_day.or(self.credits_per_day),
            credits_burst: over.credits_burst.or(self.credits_burst),
            in_flight: over.in_flight.or(self.in_flight),
            tiers: over.tiers.clone().or_else(|| self.tiers.clone()),
        }
    }

    /// # Errors
    /// `InvalidSetting` for a number below zero or absurd, and for too many tiers.
    pub fn check(&self) -> Result<(), Refusal> {
        let numbers = [
            ("requests_per_minute", self.requests_per_minute, 0),
            ("requests_burst", self.requests_burst, 1),
            ("tokens_per_minute", self.tokens_per_minute, 0),
            ("tokens_burst", self.tokens_burst, 1),
            ("credits_per_day", self.credits_per_day.map(|micro| micro.0), 0),
            ("credits_burst", self.credits_burst.map(|micro| micro.0), 1),
            ("in_flight", self.in_flight, 0),
        ];
        for (field, number, min) in numbers {
            if number.is_some_and(|number| !(min..=LIMIT_MAX).contains(&number)) {
                return Err(Refusal::InvalidSetting {
                    field: field.to_owned(),
                    expected: format!("a number from {min} on, within reason"),
                });
            }
        }
        if self.tiers.as_ref().is_some_and(|tiers| tiers.len() > TIERS_MAX) {
            return Err(Refusal::InvalidSetting {
                field: "tiers".to_owned(),
                expected: format!("at most {TIERS_MAX} names"),
            });
        }
        Ok(())
    }

    /// The budgets with a window that are switched on.
    #[must_use]
    pub fn budgets(&self) -> Vec<Budget> {
        let budget = |name, limit: Option<i64>, burst: Option<i64>, share: i64, window_ms| {
            let limit = limit.filter(|limit| *limit > 0)?;
            let shared = limit.saturating_add(share).saturating_sub(1).checked_div(share);
            let burst = burst.or(shared).unwrap_or(limit).clamp(1, limit);
            Some(Budget { name, allowance: Allowance { limit, window_ms, burst } })
        };
        let micro = |amount: Option<Micro>| amount.map(|amount| amount.0);
        [
            budget(REQUESTS, self.requests_per_minute, self.requests_burst, 4, MINUTE_MS),
            budget(TOKENS, self.tokens_per_minute, self.tokens_burst, 2, MINUTE_MS),
            budget(CREDITS_PER_DAY, micro(self.credits_per_day), micro(self.credits_burst), 2, DAY_MS),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// # Errors
    /// `TierNotAllowed`.
    pub fn allow_tier(&self, tier: &str) -> Result<(), Refusal> {
        match &self.tiers {
            Some(tiers) if !tiers.iter().any(|known| known == tier) => {
                Err(Refusal::TierNotAllowed { tier: tier.to_owned() })
            }
            _ => Ok(()),
        }
    }
}
