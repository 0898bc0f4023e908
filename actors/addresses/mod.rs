//! What one network address may do, or all of them together, counted in one place for every isolate.
//!
//! Owns: the meters of one address, and when they say nothing any more. Never does: what is counted and how much of it
//! is allowed, which whoever asks brings along; addresses themselves, of which only a digest names the actor.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::rate::{Allowance, Denied, Meter};
use crate::shared::Refusal;
use crate::sql::{Sql, row};

pub const SCHEMA: &str = include_str!("schema.sql");

/// Things counted for one address at one time. The front door has four.
pub const METERS_MAX: i64 = 16;

/// One thing that an address is about to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// What it is, in a word of the front door's own.
    pub what: String,
    pub allowance: Allowance,
}

/// Whether it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was counted.
    Counted,
    /// It was not: it may after this many milliseconds, if nothing comes between.
    Refused { retry_after_ms: i64 },
}

/// A verdict, and when the actor is to be woken to forget what it counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    pub verdict: Verdict,
    pub wake_by_ms: Option<i64>,
}

/// Makes the table, once.
///
/// # Errors
/// What the database refused.
pub fn open(sql: &mut impl Sql) -> Result<(), Refusal> {
    sql.execute(SCHEMA, &[])?;
    Ok(())
}

/// Counts one thing, if it is within what is allowed.
///
/// # Errors
/// `Storage` when more is counted than [`METERS_MAX`]; what the database refused.
pub fn count(sql: &mut impl Sql, asked: &Count, now_ms: i64) -> Result<Counted, Refusal> {
    let known: Option<Meter> =
        row(sql, "SELECT meter FROM meters WHERE what = ?1", &[asked.what.as_str().into()])?;
    let is_new = known.is_none();
    let mut meter = known.unwrap_or_default();
    let left = match meter.admit(asked.allowance, 1, now_ms) {
        Ok(left) => left,
        Err(denied) => {
            let retry_after_ms = match denied {
                Denied::After(wait_ms) => wait_ms,
                Denied::Never => asked.allowance.window_ms,
            };
            return Ok(Counted { verdict: Verdict::Refused { retry_after_ms }, wake_by_ms: None });
        }
    };
    if is_new {
        let taken: Option<i64> = row(sql, "SELECT COUNT(*) FROM meters", &[])?;
        if taken.unwrap_or(0) >= METERS_MAX {
            return Err(Refusal::Storage {
                detail: "more is counted of an address than was planned".to_owned(),
            });
        }
    }
    let stored =
        serde_json::to_string(&meter).map_err(|error| Refusal::Broken { detail: error.to_string() })?;
    let quiet_at_ms = now_ms.saturating_add(left.reset_ms).saturating_add(1);
    sql.execute(
        "INSERT INTO meters VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET meter = excluded.meter, quiet_at_ms = MAX(quiet_at_ms, excluded.quiet_at_ms)",
        &[asked.what.as_str().into(), stored.into(), quiet_at_ms.into()],
    )?;
    Ok(Counted { verdict: Verdict::Counted, wake_by_ms: Some(quiet_at_ms) })
}

/// Forgets meters that say nothing any more; when the next one will, or `None` when nothing is left at all.
///
/// # Errors
/// What the database refused.
pub fn forget(sql: &mut impl Sql, now_ms: i64) -> Result<Option<i64>, Refusal> {
    sql.execute("DELETE FROM meters WHERE quiet_at_ms <= ?1", &[now_ms.into()])?;
    row(sql, "SELECT MIN(quiet_at_ms) FROM meters", &[])
}
