//! The books of schema version 1, carried over: they had no grants, no postings and no hash chain.
//!
//! Every entry keeps its number, its time and its amounts, and gets its postings and its place in the chain. What
//! the tenant owns becomes one grant without an expiry. Holds that were open are given back: a settle that comes
//! for one of them finds none, and the house pays.

use serde::Deserialize;

use super::Account;
use super::account::{unopened, within};
use super::entries::{Books, Entry, Kind, insert};
use super::grant::GrantTerms;
use crate::shared::{Micro, Refusal};
use crate::sql::{Sql, row};

/// Entries that are read at one time.
const ENTRIES_MAX: i64 = 500;

#[derive(Deserialize)]
struct OldAccount {
    available_micro: Micro,
    held_micro: Micro,
    granted_micro: Micro,
    settled_micro: Micro,
    next_seq: i64,
    updated_at_ms: i64,
}

#[derive(Deserialize)]
struct OldEntry {
    seq: i64,
    at_ms: i64,
    kind: Kind,
    amount_micro: Micro,
    available_micro: Micro,
    held_micro: Micro,
    shortfall_micro: Micro,
    operation: String,
    reason: Option<String>,
}

/// Fills the tables of today from those of version 1, which were renamed to `…_1`.
///
/// # Errors
/// What the database refused; `Broken` when the old books do not balance.
pub fn from_1(sql: &mut impl Sql, genesis: &str) -> Result<(), Refusal> {
    let old: OldAccount = row(
        sql,
        "SELECT json_object('available_micro', available_micro, 'held_micro', held_micro,
           'granted_micro', granted_micro, 'settled_micro', settled_micro, 'next_seq', next_seq,
           'updated_at_ms', updated_at_ms) FROM account_1",
        &[],
    )?
    .ok_or_else(|| super::account::broken("the account row is missing"))?;
    let mut account = unopened(genesis, old.updated_at_ms);
    sql.execute(
        "INSERT INTO account VALUES (1, 0, 0, 0, 0, 0, 1, ?1, '[]', ?2)",
        &[old.updated_at_ms.into(), genesis.into()],
    )?;
    let last_seq = carry_entries(sql, &mut account)?;
    account.available = within(old.available_micro.plus(old.held_micro))?;
    account.granted = old.granted_micro;
    account.settled = old.settled_micro;
    account.next_seq = old.next_seq;
    if account.available > Micro::ZERO {
        account.grants.add(last_seq, GrantTerms::default(), account.available)?;
    }
    account.store(sql)?;
    sql.execute(
        "INSERT INTO usage_events
           SELECT created_at_ms, seq, id, route, tokens_in, tokens_out, cost_micro, NULL, NULL,
             EXISTS (SELECT 1 FROM usage_client_ids_1 AS known
                     WHERE known.created_at_ms = event.created_at_ms AND known.seq = event.seq), meta
           FROM usage_events_1 AS event;
         INSERT INTO usage_client_ids SELECT id, created_at_ms, seq FROM usage_client_ids_1;",
        &[],
    )?;
    Ok(())
}

/// Copies the entries in their order; the number of the last.
fn carry_entries(sql: &mut impl Sql, account: &mut Account) -> Result<i64, Refusal> {
    let mut last_seq = 0;
    loop {
        let page: Vec<OldEntry> = row(
            sql,
            "SELECT json_group_array(json_object('seq', seq, 'at_ms', at_ms, 'kind', kind,
               'amount_micro', amount_micro, 'available_micro', available_micro, 'held_micro', held_micro,
               'shortfall_micro', shortfall_micro, 'operation', operation, 'reason', reason))
             FROM (SELECT * FROM entries_1 WHERE seq > ?1 ORDER BY seq LIMIT ?2)",
            &[last_seq.into(), ENTRIES_MAX.into()],
        )?
        .unwrap_or_default();
        if page.is_empty() {
            return Ok(last_seq);
        }
        for old in page {
            last_seq = old.seq;
            carry(sql, account, old)?;
        }
    }
}

fn carry(sql: &mut impl Sql, account: &mut Account, old: OldEntry) -> Result<(), Refusal> {
    let amount = old.amount_micro;
    let against = amount.negated();
    let books = if old.kind == Kind::Charge {
        Books { owned: amount, charged: against, ..Books::default() }
    } else {
        Books { owned: amount, issued: against, ..Books::default() }
    };
    let mut entry = Entry {
        seq: old.seq,
        at_ms: old.at_ms,
        kind: old.kind,
        books,
        available_micro: old.available_micro,
        held_micro: old.held_micro,
        shortfall_micro: old.shortfall_micro,
        operation: old.operation,
        reason: old.reason,
        reference: None,
        grants: Vec::new(),
        terms: None,
        hash: String::new(),
    };
    entry.hash = entry.hash_after(&account.head)?;
    account.head.clone_from(&entry.hash);
    insert(sql, &entry)
}
