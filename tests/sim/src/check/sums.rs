//! Sums over every table, against the model and each other: cheap enough for every step.

use actors::sql::{Sql, SqlError};
use actors::sqlite::Sqlite;

use super::entries::Walked;
use super::{holds, same};
use crate::model::{Grant, Model};

/// Ended holds, keys and notices are looked at row by row every few steps; here only how many there are; of entries, which
/// are never taken away, the last. Two queries: one that joins them costs half as much again.
const SUMS: &str = "SELECT available_micro, held_micro, granted_micro, settled_micro, holds_open, next_seq, updated_at_ms,
  (SELECT COALESCE(MAX(seq), 0) FROM entries), (SELECT COUNT(*) FROM holds), (SELECT COUNT(*) FROM idempotency),
  (SELECT COUNT(*) FROM notices), (SELECT COUNT(*) FROM usage_client_ids), (SELECT COUNT(*) FROM usage_events),
  grants, head
FROM account";
const OPEN: &str = "SELECT COUNT(*), COALESCE(SUM(charged_micro), 0), COALESCE(SUM(deadline_ms), 0),
  COALESCE(group_concat(parts, ''), '') FROM holds WHERE state = 'open'";

/// What usage events cost. They are never changed, so they are summed when there are more or fewer of them, and
/// where every row is looked at.
const COSTS: &str = "SELECT COALESCE(SUM((by_client = 0) * cost_micro), 0) FROM usage_events";

#[derive(Debug, Clone)]
pub(super) struct Sums {
    account: [i64; 7],
    rows: [i64; 6],
    sums: [i64; 3],
    grants: String,
    head: String,
    parts: i64,
}

impl Sums {
    fn read(database: &mut Sqlite) -> Result<Self, String> {
        let wrong = |error: SqlError| format!("sums that cannot be read: {error}");
        let open = database.first_row(OPEN, |row| {
            Ok(([row.get(0)?, row.get(1)?, row.get(2)?], amounts(row.get_ref(3)?.as_str()?)))
        });
        let (sums, parts) = open.map_err(wrong)?;
        let read = database.first_row(SUMS, |row| {
            let (mut account, mut rows) = ([0; 7], [0; 6]);
            for (at, number) in account.iter_mut().chain(&mut rows).enumerate() {
                *number = row.get(at)?;
            }
            Ok(Self { account, rows, sums, grants: row.get(13)?, head: row.get(14)?, parts })
        });
        read.map_err(wrong)
    }
}

/// What every entry posts, summed as they are walked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Books {
    pub owned: i64,
    pub issued: i64,
    pub charged: i64,
    pub expired: i64,
}

pub fn check(database: &mut Sqlite, model: &Model, walked: &mut Walked, fully: bool) -> Result<(), String> {
    // A database in which no row was changed has the same sums; whether the model has them too is looked up all the same.
    let changed = database.rows_changed();
    let found = match walked.sums.take() {
        Some((known, found)) if known == changed && !fully => found,
        _ => Sums::read(database)?,
    };
    let Sums { account, rows, sums, parts, .. } = found;
    // Entries are never changed, so a step looks at the new ones; all of them are looked at again at the end.
    let last = model.logs.entries.last().map_or(0, |entry| entry.seq);
    if rows[0] != walked.seq || last != walked.seq {
        super::entries::walk(database, model, walked)?;
    }
    same("head of the chain", &found.head, &walked.hash)?;
    if walked.costs.0 != rows[5] || fully {
        let costs = database.text(COSTS, &[]).map_err(|error| error.to_string())?;
        walked.costs = (rows[5], costs.and_then(|sum| sum.parse().ok()).ok_or("a sum of costs")?);
    }
    invariants(&account, walked.costs.1, sums, &walked.books, parts)?;
    let known = &model.state.account;
    let numbers = [
        known.available,
        known.held,
        known.granted,
        known.settled,
        known.open,
        known.next_seq,
        known.updated_at_ms,
    ];
    same("available, held, granted, settled, open holds, next number, last change", &account, &numbers)?;
    let state = &model.state;
    let counts = [
        state.holds.len(),
        state.keys.len(),
        state.notices.len(),
        state.client_events.len(),
        model.logs.usage.len(),
    ]
    .map(|count| i64::try_from(count).unwrap_or(i64::MAX));
    same("the last entry", &rows[0], &last)?;
    same("how many holds, keys, notices, client ids, usage events", &&rows[1..], &&counts[..])?;
    let deadlines: i64 = state.open_holds().map(|hold| hold.deadline_ms).sum();
    same("deadlines of open holds", &sums[2], &deadlines)?;
    if walked.grants.0 != state.grants {
        walked.grants = (state.grants.clone(), grants_text(&state.grants));
    }
    same("grants", &found.grants, &walked.grants.1)?;
    walked.sums = Some((changed, found));
    Ok(())
}

/// What must be true of the database by itself, whatever the model says.
fn invariants(
    account: &[i64; 7],
    cost: i64,
    sums: [i64; 3],
    books: &Books,
    parts: i64,
) -> Result<(), String> {
    let [available, held, granted, settled, open, ..] = *account;
    let [rows_open, charged_open, _] = sums;
    let Books { owned, issued, charged, expired } = *books;
    let all = |what: &str, as_promised: bool| {
        holds(as_promised, || {
            format!("{what}: {account:?}, cost {cost}, {sums:?}, {books:?}, {parts} held by parts")
        })
    };
    all("the books do not sum to zero", owned + issued + charged + expired == 0)?;
    all("available + held is not granted - settled", available + held == granted - settled)?;
    all("an amount is below zero", available >= 0 && held >= 0 && settled >= 0)?;
    all("the entries do not add up to the balance", owned == available + held && charged == settled)?;
    all("grants less what expired are not what was granted", -issued - expired == granted)?;
    all("what is held is not the parts of the open holds", held == parts)?;
    all("open holds are miscounted", open == rows_open)?;
    all("usage does not explain the charges", cost + charged_open == settled)?;
    all("more was charged than was ever granted", charged <= -issued)
}

/// The sum of the amounts in parts of holds, `[[grant,amount],…]` one after the other.
fn amounts(parts: &str) -> i64 {
    let pairs = parts.split(']').filter_map(|pair| pair.rsplit_once(','));
    pairs.filter_map(|(_, amount)| amount.parse::<i64>().ok()).sum()
}

/// The live grants as the account has them, in the order of spending.
fn grants_text(grants: &[Grant]) -> String {
    use std::fmt::Write;

    let mut sorted: Vec<&Grant> = grants.iter().collect();
    sorted.sort_by_key(|grant| grant.rank());
    let mut text = String::from("[");
    for (at, grant) in sorted.into_iter().enumerate() {
        let kind = if grant.promotional { "promotional" } else { "paid" };
        let expiry = grant.expires_at_ms.map_or_else(|| "null".to_owned(), |at_ms| at_ms.to_string());
        let comma = if at == 0 { "" } else { "," };
        write!(
            text,
            "{comma}{{\"id\":{},\"kind\":\"{kind}\",\"priority\":{},\"expires_at_ms\":{expiry},\"left_micro\":{},\"held_micro\":{}}}",
            grant.id, grant.priority, grant.left, grant.held
        )
        .unwrap();
    }
    text.push(']');
    text
}
