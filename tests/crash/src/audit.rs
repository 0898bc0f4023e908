//! Compares what the clients of a tenant were told with what its books say.
//!
//! An acknowledged operation is there exactly once and as it was acknowledged. One whose answer never came is
//! there once or not at all. One that was refused is not there, and neither is anything that nobody asked for.

use crate::books::{Books, Entry, UsageRow};
use crate::bounds::{ALARM_LATENESS_MS, HOLD_TTL_MS};
use crate::operation::{Answer, Operation, Outcome, Receipt, Request, milli};
use crate::violation::{Fault, Violation};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

#[cfg(test)]
mod tests;

const CHARGE: &str = "charge";
const DELTA: &str = "delta";
/// Kinds that move what a tenant owns by their amount.
const MOVING: [&str; 4] = ["grant", "set", DELTA, CHARGE];

/// What a usage event must have kept.
const EVENT_MEMBERS: [&str; 6] = ["id", "created_at", "route", "tokens_in", "tokens_out", "cost_credits"];

type Index<'a, T> = HashMap<&'a str, Vec<&'a T>>;

/// Everything that is wrong with `books`, given all `operations` of their tenant.
pub fn audit(operations: &[Operation], books: &Books) -> Vec<Violation> {
    let mut found = Vec::new();
    arithmetic(books, &mut found);
    charges(books, &mut found);
    overdue_holds(books, &mut found);
    let rows = index(&books.usage, |row| row.request_id.as_deref());
    let events = index(&books.usage, |row| row.request_id.is_none().then_some(row.id.as_str()));
    let deltas = index(&books.entries, |entry| entry.reason.as_deref().filter(|_| entry.kind == DELTA));
    for operation in operations {
        match &operation.request {
            Request::Ask(_) => asked(operation, &rows, &mut found),
            Request::Adjust { delta_milli } => adjusted(operation, *delta_milli, &deltas, &mut found),
            Request::UsageEvent { .. } => reported(operation, &events, &mut found),
        }
    }
    unasked(operations, books, &mut found);
    found
}

/// How many of `operations` were done although the answer to the attempt that did them never came: these are what
/// a client that charged by what it heard, or a server that charged once for each attempt, would get wrong.
pub fn done_unheard(operations: &[Operation], books: &Books) -> usize {
    let rows = index(&books.usage, |row| row.request_id.as_deref());
    let unheard = operations.iter().filter(|operation| {
        // Only what was acknowledged heard its last attempt.
        let heard = usize::from(operation.acknowledged().is_some());
        let attempts = operation.request_ids.len().saturating_sub(heard);
        operation.request_ids.iter().take(attempts).any(|id| rows.contains_key(id.as_str()))
    });
    unheard.count()
}

/// Values by a name that may occur more than once; those without one are left out.
fn index<'a, T>(values: &'a [T], name: impl Fn(&'a T) -> Option<&'a str>) -> Index<'a, T> {
    let mut index: Index<'a, T> = HashMap::new();
    for value in values {
        if let Some(name) = name(value) {
            index.entry(name).or_default().push(value);
        }
    }
    index
}

/// Each entry follows from the one before it, and balance and holds from the last.
pub(crate) fn arithmetic(books: &Books, found: &mut Vec<Violation>) {
    let mut wrong = |detail: String| found.push(Violation::new(Fault::Unbalanced, detail));
    let mut owned_milli = 0;
    let mut last_seq = i64::MIN;
    for entry in &books.entries {
        if entry.seq <= last_seq {
            wrong(format!("entry {} comes after entry {last_seq}", entry.seq));
        }
        let moved_milli = entry.owned_milli() - owned_milli;
        // A kind that is not known here moves what is owned by its amount, or, as the end of a hold, not at all.
        let may_rest = !MOVING.contains(&entry.kind.as_str()) && moved_milli == 0;
        if moved_milli != entry.amount_milli && !may_rest {
            wrong(format!("what was owned before was {owned_milli}, and then came {entry:?}"));
        }
        if entry.balance_milli < 0 || entry.held_milli < 0 {
            wrong(format!("below zero: {entry:?}"));
        }
        owned_milli = entry.owned_milli();
        last_seq = entry.seq;
    }
    let held_milli: i64 = books.holds.iter().map(|hold| hold.amount_milli).sum();
    if books.balance_milli + held_milli != owned_milli {
        let balance_milli = books.balance_milli;
        wrong(format!(
            "available {balance_milli} and held {held_milli} are not {owned_milli}, the entries' sum"
        ));
    }
}

/// Each usage row of ours that cost something has its charge, once, and each charge has its row.
pub(crate) fn charges(books: &Books, found: &mut Vec<Violation>) {
    let charges = index(&books.entries, |entry| (entry.kind == CHARGE).then_some(entry.operation.as_str()));
    let mut rows: HashMap<&str, usize> = HashMap::new();
    for row in books.usage.iter().filter(|row| row.request_id.is_some()) {
        *rows.entry(row.id.as_str()).or_default() += 1;
        let of_row = charges.get(row.id.as_str()).map_or(&[][..], Vec::as_slice);
        match of_row {
            [] if row.cost_milli == 0 => {}
            [] => found.push(Violation::new(Fault::Lost, format!("the charge of {row:?}"))),
            [charge] if charge.amount_milli == -row.cost_milli => {}
            [charge] => found.push(Violation::new(Fault::Altered, format!("{charge:?} is not of {row:?}"))),
            [..] => found.push(Violation::new(Fault::Doubled, format!("charges of {row:?}: {of_row:?}"))),
        }
    }
    for (id, times) in rows.iter().filter(|(_, times)| **times > 1) {
        found.push(Violation::new(Fault::Doubled, format!("{times} usage rows of the hold {id}")));
    }
    for (id, charges) in charges.iter().filter(|(id, _)| !rows.contains_key(**id)) {
        found.push(Violation::new(Fault::Lost, format!("the usage row of the charge {id}: {charges:?}")));
    }
}

fn overdue_holds(books: &Books, found: &mut Vec<Violation>) {
    let age_ms_max = i64::try_from(HOLD_TTL_MS + ALARM_LATENESS_MS).unwrap_or(i64::MAX);
    for hold in books.holds.iter().filter(|hold| hold.age_ms > age_ms_max) {
        found.push(Violation::new(Fault::HoldLeft, format!("{hold:?} is older than {age_ms_max} ms")));
    }
}

fn asked(operation: &Operation, rows: &Index<'_, UsageRow>, found: &mut Vec<Violation>) {
    let ids = operation.request_ids.iter();
    let rows: Vec<&UsageRow> = ids.filter_map(|id| rows.get(id.as_str())).flatten().copied().collect();
    once_at_most(operation, &rows, found);
    let (Some(Receipt::Answer(answer)), Some(row)) = (operation.acknowledged(), rows.first()) else {
        return;
    };
    if !is_of(row, answer) {
        found.push(Violation::new(Fault::Altered, format!("{}: {answer:?} became {row:?}", operation.name)));
    }
}

fn is_of(row: &UsageRow, answer: &Answer) -> bool {
    let tokens = |member: &str| row.item.get(member).and_then(Value::as_u64);
    row.cost_milli == answer.charged_milli
        && tokens("tokens_in") == Some(answer.tokens_in)
        && tokens("tokens_out") == Some(answer.tokens_out)
}

fn adjusted(operation: &Operation, delta_milli: i64, deltas: &Index<'_, Entry>, found: &mut Vec<Violation>) {
    let entries = deltas.get(operation.name.as_str()).map_or(&[][..], Vec::as_slice);
    once_at_most(operation, entries, found);
    let Some(entry) = entries.first() else {
        return;
    };
    // A balance ends at zero; the part of the change that it did not have is the shortfall.
    let whole = entry.amount_milli - entry.shortfall_milli == delta_milli;
    let told_milli = match operation.acknowledged() {
        Some(Receipt::Adjusted(body)) => body.get("balance").and_then(Value::as_f64).map(milli),
        _ => Some(entry.balance_milli),
    };
    if !whole || told_milli != Some(entry.balance_milli) {
        let detail = format!("{}: {delta_milli}, told {told_milli:?}, became {entry:?}", operation.name);
        found.push(Violation::new(Fault::Altered, detail));
    }
}

fn reported(operation: &Operation, events: &Index<'_, UsageRow>, found: &mut Vec<Violation>) {
    let rows = events.get(operation.name.as_str()).map_or(&[][..], Vec::as_slice);
    once_at_most(operation, rows, found);
    let (Some(Receipt::Recorded(event)), Some(row)) = (operation.acknowledged(), rows.first()) else {
        return;
    };
    if EVENT_MEMBERS.iter().any(|member| event.get(member) != row.item.get(member)) {
        found.push(Violation::new(Fault::Altered, format!("{event} became {}", row.item)));
    }
}

/// Holds the traces of an operation in the books against what its client was told.
fn once_at_most<T: std::fmt::Debug>(operation: &Operation, traces: &[T], found: &mut Vec<Violation>) {
    let fault = match (&operation.outcome, traces.len()) {
        (Outcome::Acknowledged(_), 0) => Fault::Lost,
        (Outcome::Refused(_), 1..) => Fault::RefusedButDone,
        (Outcome::Unsent, 1..) => Fault::Unasked,
        (_, 2..) => Fault::Doubled,
        (_, 0 | 1) => return,
    };
    found.push(Violation::new(fault, format!("{operation:?} in the books: {traces:?}")));
}

fn unasked(operations: &[Operation], books: &Books, found: &mut Vec<Violation>) {
    let names: HashSet<&str> = operations.iter().map(|operation| operation.name.as_str()).collect();
    let request_ids: HashSet<&str> =
        operations.iter().flat_map(|operation| &operation.request_ids).map(String::as_str).collect();
    for row in &books.usage {
        let known = match &row.request_id {
            Some(request_id) => request_ids.contains(request_id.as_str()),
            None => names.contains(row.id.as_str()),
        };
        if !known {
            found.push(Violation::new(Fault::Unasked, format!("{row:?}")));
        }
    }
    for entry in books.entries.iter().filter(|entry| matches!(entry.kind.as_str(), "set" | DELTA)) {
        if !entry.reason.as_deref().is_some_and(|reason| names.contains(reason)) {
            found.push(Violation::new(Fault::Unasked, format!("{entry:?}")));
        }
    }
}
