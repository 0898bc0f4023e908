//! The sums over every table, in one query, against the model: cheap enough for every step.

use actors::sql::Sql;
use actors::sqlite::Sqlite;

use super::{holds, same};
use crate::model::{Grant, Model, NoticeState};

const NUMBERS: usize = 30;

const NAMES: [&str; NUMBERS] = [
    "available",
    "held",
    "granted",
    "settled",
    "open holds",
    "next sequence number",
    "time of the last change",
    "entries",
    "sum of what entries own",
    "sum of what was issued",
    "sum of what was charged",
    "sum of what expired",
    "entries that do not sum to zero",
    "sum of shortfalls of entries",
    "holds",
    "open holds by their rows",
    "charged of open holds",
    "charged of all holds",
    "shortfalls of holds",
    "deadlines of open holds",
    "held by the parts of open holds",
    "usage events",
    "cost of usage",
    "keys",
    "keys with a reply",
    "expiries of keys",
    "notices",
    "pending notices",
    "attempts to deliver",
    "client events",
];

const SUMS: &str = "SELECT json_array(
  a.available_micro, a.held_micro, a.granted_micro, a.settled_micro, a.holds_open, a.next_seq, a.updated_at_ms,
  e.rows, e.owned, e.issued, e.charged, e.expired, e.unbalanced, e.shortfall,
  h.rows, h.open, h.charged_open, h.charged, h.shortfall, h.deadlines,
  (SELECT COALESCE(SUM(p.value ->> 1), 0) FROM holds, json_each(holds.parts) p WHERE state = 'open'),
  u.rows, u.cost, k.rows, k.given, k.expiries, n.rows, n.pending, n.attempts,
  (SELECT COUNT(*) FROM usage_client_ids))
FROM account a,
  (SELECT COUNT(*) AS rows, COALESCE(SUM(owned_micro), 0) AS owned, COALESCE(SUM(issued_micro), 0) AS issued,
     COALESCE(SUM(charged_micro), 0) AS charged, COALESCE(SUM(expired_micro), 0) AS expired,
     COALESCE(SUM(owned_micro + issued_micro + charged_micro + expired_micro <> 0), 0) AS unbalanced,
     COALESCE(SUM(shortfall_micro), 0) AS shortfall FROM entries) e,
  (SELECT COUNT(*) AS rows, COALESCE(SUM(state = 'open'), 0) AS open,
     COALESCE(SUM((state = 'open') * charged_micro), 0) AS charged_open,
     COALESCE(SUM(charged_micro), 0) AS charged, COALESCE(SUM(shortfall_micro), 0) AS shortfall,
     COALESCE(SUM((state = 'open') * deadline_ms), 0) AS deadlines FROM holds) h,
  (SELECT COUNT(*) AS rows, COALESCE(SUM((by_client = 0) * COALESCE(cost_micro, 0)), 0) AS cost
     FROM usage_events) u,
  (SELECT COUNT(*) AS rows, COALESCE(SUM(reply IS NOT NULL), 0) AS given,
     COALESCE(SUM(expires_at_ms), 0) AS expiries FROM idempotency) k,
  (SELECT COUNT(*) AS rows, COALESCE(SUM(state = 'pending'), 0) AS pending,
     COALESCE(SUM(attempts), 0) AS attempts FROM notices) n";

/// The same numbers, from the model.
fn expected(model: &Model) -> [i64; NUMBERS] {
    let (account, state, logs) = (&model.state.account, &model.state, &model.logs);
    let count = |rows: usize| i64::try_from(rows).unwrap();
    let entries = |of: fn(&crate::model::Entry) -> i64| logs.entries.iter().map(of).sum::<i64>();
    let open = |of: fn(&crate::model::Hold) -> i64| state.open_holds().map(of).sum::<i64>();
    let own_usage = logs.usage.iter().filter(|row| !row.by_client);
    [
        account.available,
        account.held,
        account.granted,
        account.settled,
        account.open,
        account.next_seq,
        account.updated_at_ms,
        count(logs.entries.len()),
        entries(|entry| entry.owned),
        entries(|entry| entry.issued),
        entries(|entry| entry.charged),
        entries(|entry| entry.expired),
        0,
        entries(|entry| entry.shortfall),
        count(state.holds.len()),
        count(state.open_holds().count()),
        open(|hold| hold.charged),
        state.holds.iter().map(|hold| hold.charged).sum(),
        state.holds.iter().map(|hold| hold.shortfall).sum(),
        open(|hold| hold.deadline_ms),
        open(crate::model::Hold::held),
        count(logs.usage.len()),
        own_usage.filter_map(|row| row.cost).sum(),
        count(state.keys.len()),
        count(state.keys.iter().filter(|row| row.given.is_some()).count()),
        state.keys.iter().map(|row| row.expires_at_ms).sum(),
        count(state.notices.len()),
        count(state.notices.iter().filter(|notice| notice.state == NoticeState::Pending).count()),
        state.notices.iter().map(|notice| i64::from(notice.attempts)).sum(),
        count(state.client_events.len()),
    ]
}

pub fn check(database: &mut Sqlite, model: &Model) -> Result<(), String> {
    let text =
        database.text(SUMS, &[]).map_err(|error| error.to_string())?.ok_or("the account row is missing")?;
    let found: [i64; NUMBERS] = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
    invariants(&found)?;
    let expected = expected(model);
    for (at, name) in NAMES.iter().enumerate() {
        same(name, &found[at], &expected[at])?;
    }
    let grants = database.text("SELECT grants FROM account", &[]).map_err(|error| error.to_string())?;
    same("grants", &grants.unwrap_or_default(), &grants_text(&model.state.grants))
}

/// What must be true of the database by itself, whatever the model says.
fn invariants(found: &[i64; NUMBERS]) -> Result<(), String> {
    let [available, held, granted, settled, open, _, _, _, owned, issued, charged, expired, unbalanced, ..] =
        *found;
    let (rows_open, charged_open, parts, cost) = (found[15], found[16], found[20], found[22]);
    let all = |what: &str, as_promised: bool| holds(as_promised, || format!("{what}: {found:?}"));
    all("an entry's postings do not sum to zero", unbalanced == 0)?;
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
