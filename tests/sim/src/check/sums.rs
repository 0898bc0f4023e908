//! Sums over every table, in one query, against the model and each other: cheap enough for every step.

use actors::sql::Sql;
use actors::sqlite::Sqlite;

use super::entries::Walked;
use super::{holds, same};
use crate::model::{Grant, Model};

/// Ended holds, keys and notices are looked at row by row every few steps; here only how many there are.
const SUMS: &str = "SELECT json_array(
  json_array(a.available_micro, a.held_micro, a.granted_micro, a.settled_micro, a.holds_open, a.next_seq,
    a.updated_at_ms),
  json_array((SELECT COUNT(*) FROM entries), (SELECT COUNT(*) FROM holds), (SELECT COUNT(*) FROM idempotency),
    (SELECT COUNT(*) FROM notices), (SELECT COUNT(*) FROM usage_client_ids), u.rows),
  json_array(u.cost, h.rows, h.charged, h.deadlines), a.grants, a.head, h.parts)
FROM account a,
  (SELECT COUNT(*) AS rows, COALESCE(SUM(charged_micro), 0) AS charged, COALESCE(SUM(deadline_ms), 0) AS deadlines,
     COALESCE(group_concat(parts, ''), '') AS parts FROM holds WHERE state = 'open') h,
  (SELECT COUNT(*) AS rows, COALESCE(SUM((by_client = 0) * COALESCE(cost_micro, 0)), 0) AS cost
     FROM usage_events) u";

#[derive(serde::Deserialize)]
struct Sums([i64; 7], [usize; 6], [i64; 4], String, String, String);

/// What every entry posts, summed as they are walked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Books {
    pub owned: i64,
    pub issued: i64,
    pub charged: i64,
    pub expired: i64,
}

pub fn check(database: &mut Sqlite, model: &Model, walked: &mut Walked) -> Result<(), String> {
    let text =
        database.text(SUMS, &[]).map_err(|error| error.to_string())?.ok_or("the account row is missing")?;
    let found: Sums = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
    let Sums(account, rows, sums, grants, head, parts) = found;
    // Entries are never changed, so a step looks at the new ones; all of them are looked at again at the end.
    if rows[0] != walked.entries || model.logs.entries.len() != walked.entries {
        super::entries::walk(database, model, walked)?;
    }
    same("head of the chain", &head, &walked.hash)?;
    invariants(&account, sums, &walked.books, amounts(&parts))?;
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
        model.logs.entries.len(),
        state.holds.len(),
        state.keys.len(),
        state.notices.len(),
        state.client_events.len(),
        model.logs.usage.len(),
    ];
    same("how many entries, holds, keys, notices, client ids, usage events", &rows, &counts)?;
    let deadlines: i64 = state.open_holds().map(|hold| hold.deadline_ms).sum();
    same("deadlines of open holds", &sums[3], &deadlines)?;
    same("grants", &grants, &grants_text(&state.grants))
}

/// What must be true of the database by itself, whatever the model says.
fn invariants(account: &[i64; 7], sums: [i64; 4], books: &Books, parts: i64) -> Result<(), String> {
    let [available, held, granted, settled, open, ..] = *account;
    let [cost, rows_open, charged_open, _] = sums;
    let Books { owned, issued, charged, expired } = *books;
    let all = |what: &str, as_promised: bool| {
        holds(as_promised, || format!("{what}: {account:?}, {sums:?}, {books:?}, {parts} held by parts"))
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
