//! The ledger's entries and the usage events in the one order that they were written in: what live events are made of.

use super::entries::{self, Entry};
use super::usage::{EVENT, UsageEvent};
use crate::shared::Refusal;
use crate::sql::{Sql, row};

/// In SQL, the last number that was given to an entry or a usage event when a row of another kind is written, in the same
/// transaction too: the account is stored at its end, and has the numbers of those before. `?1` is the time of the
/// transaction, which its usage events have. Three looks, each at the end of a table's order.
pub const LAST_WRITTEN: &str = "MAX(COALESCE((SELECT next_seq - 1 FROM account), 0),
  COALESCE((SELECT MAX(seq) FROM entries), 0),
  COALESCE((SELECT MAX(seq) FROM usage_events WHERE created_at_ms = ?1), 0))";

/// One row of either.
#[derive(Debug, Clone)]
pub enum Change {
    Entry(Box<Entry>),
    Usage(Box<UsageEvent>),
}

impl Change {
    /// Its place in the order.
    #[must_use]
    pub const fn seq(&self) -> i64 {
        match self {
            Self::Entry(entry) => entry.seq,
            Self::Usage(event) => event.seq,
        }
    }

    /// When it happened, as it says itself.
    #[must_use]
    pub const fn at_ms(&self) -> i64 {
        match self {
            Self::Entry(entry) => entry.at_ms,
            Self::Usage(event) => event.created_at_ms,
        }
    }
}

/// The last number that an entry or a usage event has; zero before the first.
///
/// # Errors
/// What the database refused.
pub fn last_seq(sql: &mut impl Sql) -> Result<i64, Refusal> {
    let next: Option<i64> = row(sql, "SELECT next_seq FROM account", &[])?;
    Ok(next.unwrap_or(1).saturating_sub(1))
}

/// All of `after < seq <= upto`, in their order; `None` when some of them are no longer stored.
///
/// Entries and usage events share their numbers, and no number is left out, so it is known how many are missing. Usage
/// events are stored by their time, and an index for this alone would be written with every charge. So ours are looked
/// for from the newest back, until as many are found as there are; where the clock has stepped back that is a longer way.
///
/// # Errors
/// What the database refused.
pub fn changes(sql: &mut impl Sql, after: i64, upto: i64) -> Result<Option<Vec<Change>>, Refusal> {
    let wanted = usize::try_from(upto.saturating_sub(after)).unwrap_or(0);
    if wanted == 0 {
        return Ok(Some(Vec::new()));
    }
    let between = [after.into(), upto.into()];
    let rows = "SELECT * FROM entries WHERE seq > ?1 AND seq <= ?2 ORDER BY seq";
    let entries = entries::read(sql, rows, &between)?;
    let mut changes: Vec<Change> = entries.into_iter().map(|entry| Change::Entry(Box::new(entry))).collect();
    add_usage(sql, &mut changes, "by_client = 1 AND seq > ?1 AND seq <= ?2", &between)?;
    let missing = i64::try_from(wanted.saturating_sub(changes.len())).unwrap_or(i64::MAX);
    if missing > 0 {
        let ours = "by_client = 0 AND seq > ?1 AND seq <= ?2 ORDER BY created_at_ms DESC, seq DESC LIMIT ?3";
        add_usage(sql, &mut changes, ours, &[after.into(), upto.into(), missing.into()])?;
    }
    changes.sort_by_key(Change::seq);
    Ok((changes.len() == wanted).then_some(changes))
}

fn add_usage(
    sql: &mut impl Sql,
    changes: &mut Vec<Change>,
    which: &str,
    args: &[crate::sql::SqlValue],
) -> Result<(), Refusal> {
    let statement =
        format!("SELECT json_group_array({EVENT}) FROM (SELECT * FROM usage_events WHERE {which})");
    let events: Vec<UsageEvent> = row(sql, &statement, args)?.unwrap_or_default();
    changes.extend(events.into_iter().map(|event| Change::Usage(Box::new(event))));
    Ok(())
}
