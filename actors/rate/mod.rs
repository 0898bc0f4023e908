//! Rate budgets: requests and tokens a minute, credits a day, requests in flight.
//!
//! Owns: the meter, plans, and what a request weighs in each budget. Never does: storage of its own (the
//! tenant's row of limits keeps the meters), credits.

mod admission;
mod meter;
mod plan;

#[cfg(test)]
mod tests;

pub use admission::{
    BudgetLeft, IN_FLIGHT_WAIT_MS, Meters, Weight, admit, admit_more, both, key_of, left, reconcile,
    shown_limit, windows_left,
};
pub use meter::{Allowance, Denied, Left, Meter};
pub use plan::{Budget, CREDITS_PER_DAY, IN_FLIGHT, Limits, MINUTE_MS, Plans, REQUESTS, TIERS_MAX, TOKENS};
