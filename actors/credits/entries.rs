//! Ledger entries: every change of what a tenant owns, with the balance after it.

use serde::{Deserialize, Serialize};

use super::Account;
use crate::shared::{Cursor, Micro, Refusal, TenantId};
use crate::sql::{Sql, row};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub seq: i64,
    pub at_ms: i64,
    /// `grant`, `set`, `delta` or `charge`.
    pub kind: String,
    /// Signed: a charge is negative.
    pub amount_micro: Micro,
    /// Balance after the entry.
    pub available_micro: Micro,
    pub held_micro: Micro,
    /// What a charge or a correction asked for and the balance did not have.
    pub shortfall_micro: Micro,
    /// The hold or the operation behind the entry.
    pub operation: String,
    pub reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryPage {
    pub items: Vec<Entry>,
    pub next_cursor: Option<String>,
}

pub(super) struct NewEntry<'a> {
    pub kind: &'a str,
    pub amount: Micro,
    pub shortfall: Micro,
    pub operation: &'a str,
    pub reason: Option<&'a str>,
}

/// Writes an entry with the balance `account` has after it.
pub(super) fn append(
    sql: &mut impl Sql,
    account: &mut Account,
    entry: &NewEntry<'_>,
    now_ms: i64,
) -> Result<i64, Refusal> {
    let seq = account.take_seq();
    sql.execute(
        "INSERT INTO entries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        &[
            seq.into(),
            now_ms.into(),
            entry.kind.into(),
            entry.amount.0.into(),
            account.available.0.into(),
            account.held.0.into(),
            entry.shortfall.0.into(),
            entry.operation.into(),
            entry.reason.into(),
        ],
    )?;
    Ok(seq)
}

const LIST: &str = "ledger";

/// Newest first, `limit` at most (1 to 100; the caller clamps).
///
/// # Errors
/// `InvalidCursor`, or what the database refused.
pub fn list(
    sql: &mut impl Sql,
    tenant: &TenantId,
    limit: u32,
    cursor: Option<&str>,
) -> Result<EntryPage, Refusal> {
    let from = cursor.map_or(Ok(Cursor::NEWEST), |raw| Cursor::decode(raw, LIST, tenant))?;
    let items: Vec<Entry> = row(
        sql,
        "SELECT json_group_array(json_object('seq', seq, 'at_ms', at_ms, 'kind', kind,
           'amount_micro', amount_micro, 'available_micro', available_micro, 'held_micro', held_micro,
           'shortfall_micro', shortfall_micro, 'operation', operation, 'reason', reason))
         FROM (SELECT * FROM entries WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2)",
        &[from.seq.into(), i64::from(limit).into()],
    )?
    .unwrap_or_default();
    let full = items.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next_cursor = items.last().filter(|_| full).map(|last| {
        let at = Cursor { at_ms: last.at_ms, seq: last.seq };
        at.encode(LIST, tenant)
    });
    Ok(EntryPage { items, next_cursor })
}
