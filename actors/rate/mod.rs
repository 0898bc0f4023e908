//! A requests-per-minute budget: in any sliding minute, no more is admitted than the limit.
//!
//! Owns: the window and its row. Never does: credits.

mod window;

#[cfg(test)]
mod tests;

use serde::Deserialize;

use crate::shared::Refusal;
use crate::sql::{Sql, row};

use window::Window;

pub use window::WINDOW_MS;

pub const SCHEMA: &str = include_str!("schema.sql");

/// The one budget of today; the name is the row's key.
const REQUESTS: &str = "requests";

#[derive(Deserialize)]
struct WindowRow {
    clock_ms: i64,
    buckets: Vec<(i64, u32)>,
}

/// What is left of a budget after an admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BudgetLeft {
    /// Requests a window may hold.
    pub limit: u32,
    /// Requests that would be admitted now.
    pub remaining: u32,
    pub window_ms: i64,
}

/// Counts one request against `requests_per_minute`; zero switches the budget off.
///
/// # Errors
/// `RateLimited`, with a wait after which one more request fits; or what the database refused.
pub fn admit(
    sql: &mut impl Sql,
    requests_per_minute: u32,
    now_ms: i64,
) -> Result<Option<BudgetLeft>, Refusal> {
    if requests_per_minute == 0 {
        return Ok(None);
    }
    let stored: Option<WindowRow> = row(
        sql,
        "SELECT json_object('clock_ms', clock_ms, 'buckets', json(buckets)) FROM rate_windows WHERE policy = ?1",
        &[REQUESTS.into()],
    )?;
    let window = stored.map_or_else(Window::default, |found| Window::restore(found.clock_ms, found.buckets));
    let (window, remaining) = window.admit(requests_per_minute, now_ms).map_err(|retry_after_ms| {
        Refusal::RateLimited { limit: requests_per_minute, window_ms: WINDOW_MS, retry_after_ms }
    })?;
    let buckets = serde_json::to_string(window.buckets())
        .map_err(|error| Refusal::Broken { detail: error.to_string() })?;
    sql.execute(
        "INSERT INTO rate_windows (policy, clock_ms, buckets) VALUES (?1, ?2, ?3)
         ON CONFLICT (policy) DO UPDATE SET clock_ms = excluded.clock_ms, buckets = excluded.buckets",
        &[REQUESTS.into(), window.clock_ms().into(), buckets.into()],
    )?;
    Ok(Some(BudgetLeft { limit: requests_per_minute, remaining, window_ms: WINDOW_MS }))
}
