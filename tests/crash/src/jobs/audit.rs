//! Holds a tenant's jobs, its books and what was watched live against what its clients were told.
//!
//! An acknowledged job is there once, and over; one that was not heard of is there once or not at all. One that
//! succeeded has one charge of its amount and one usage row, any other has none. Who watched saw every change once.

use super::journal::Wanted;
use super::shown::Shown;
use super::watcher::{Place, Record, Seen};
use super::work::Work;
use crate::audit::{arithmetic, charges};
use crate::books::Books;
use crate::violation::{Fault, Violation};
use std::collections::HashSet;

#[cfg(test)]
mod tests;

const CHARGE: &str = "charge";

/// Everything that is wrong at one tenant, when nothing runs any more.
pub fn audit(wanted: &[Wanted], jobs: &[Shown], books: &Books, record: &Record) -> Vec<Violation> {
    let mut found = Vec::new();
    arithmetic(books, &mut found);
    charges(books, &mut found);
    for hold in &books.holds {
        found.push(Violation::new(Fault::HoldLeft, format!("{hold:?}")));
    }
    for wanted in wanted {
        made_once(wanted, jobs, &mut found);
    }
    for job in jobs {
        let of_job: Vec<&Wanted> = wanted.iter().filter(|wanted| is_of(job, wanted)).collect();
        match of_job[..] {
            [wanted] => ended(wanted, job, books, &mut found),
            _ => found.push(Violation::new(Fault::Unasked, format!("{job:?} is of {of_job:?}"))),
        }
    }
    nothing_else(jobs, books, &mut found);
    watched(jobs, books, record, &mut found);
    found
}

fn is_of(job: &Shown, wanted: &Wanted) -> bool {
    job.params.contains(&wanted.name)
}

fn made_once(wanted: &Wanted, jobs: &[Shown], found: &mut Vec<Violation>) {
    let made: Vec<&Shown> = jobs.iter().filter(|job| is_of(job, wanted)).collect();
    let fault = match (&wanted.acknowledged, &made[..]) {
        (_, [_, _, ..]) => Fault::Doubled,
        (Some(_), []) => Fault::Lost,
        (Some(id), [job]) if job.id != *id => Fault::Altered,
        (None, [_]) if wanted.attempts == 0 => Fault::Unasked,
        _ => return,
    };
    found.push(Violation::new(fault, format!("{wanted:?} became {made:?}")));
}

/// It is over for a reason that it may have, and was charged for accordingly.
fn ended(wanted: &Wanted, job: &Shown, books: &Books, found: &mut Vec<Violation>) {
    let mut wrong = |fault: Fault, detail: &str| {
        found.push(Violation::new(fault, format!("{detail}: {job:?}, wanted as {wanted:?}")));
    };
    let succeeded = job.status == "succeeded";
    let allowed = match (job.status.as_str(), &job.reason) {
        ("succeeded", _) => wanted.work != Work::Refused,
        ("failed", Some(reason)) => wanted.work.may_fail_for(reason),
        _ => false,
    };
    if !allowed {
        wrong(if job.is_over() { Fault::Altered } else { Fault::Stuck }, "not such an end");
    }
    let is_charge = |operation: &str, kind: &str| kind == CHARGE && operation == job.id;
    let entries: Vec<i64> = books
        .entries
        .iter()
        .filter(|entry| is_charge(&entry.operation, &entry.kind))
        .map(|entry| -entry.amount_milli)
        .collect();
    let rows = books.usage.iter().filter(|row| row.id == job.id).count();
    let cost_milli = wanted.work.cost_milli();
    match (succeeded, &entries[..], rows) {
        (true, [amount_milli], 1) if *amount_milli == cost_milli && job.charged_milli == Some(cost_milli) => {
        }
        (false, [], 0) => {}
        (true, [] | [_], 0) | (true, [], 1) => wrong(Fault::Lost, "a charge or its usage row is missing"),
        (true, [_], 1) => wrong(Fault::Altered, "not what it costs"),
        (true, ..) => wrong(Fault::Doubled, "charged more often than once"),
        (false, ..) => wrong(Fault::Unasked, "charged although it did not succeed"),
    }
}

/// No charge and no usage row but those of jobs.
fn nothing_else(jobs: &[Shown], books: &Books, found: &mut Vec<Violation>) {
    let is_job = |id: &str| jobs.iter().any(|job| job.id == id);
    for entry in books.entries.iter().filter(|entry| entry.kind == CHARGE && !is_job(&entry.operation)) {
        found.push(Violation::new(Fault::Unasked, format!("{entry:?}")));
    }
    for row in books.usage.iter().filter(|row| !is_job(&row.id)) {
        found.push(Violation::new(Fault::Unasked, format!("{row:?}")));
    }
}

/// Every event came once and in its place, and together they say what the books and the jobs say.
fn watched(jobs: &[Shown], books: &Books, record: &Record, found: &mut Vec<Violation>) {
    found.extend(record.violations.iter().cloned());
    let mut wrong = |detail: String| found.push(Violation::new(Fault::Feed, detail));
    let Some(start) = record.start else {
        return wrong("nobody watched".to_owned());
    };
    let mut before = start;
    for seen in &record.events {
        if !is_next(before, seen.place) {
            wrong(format!("after {before:?} came {seen:?}"));
        }
        before = seen.place;
    }
    let of_kind = |kind: &str| record.events.iter().filter(|seen| seen.kind == kind).count();
    let charges = books.entries.iter().filter(|entry| entry.kind == CHARGE).count();
    for (kind, expected) in [("balance", charges), ("usage", books.usage.len())] {
        if of_kind(kind) != expected {
            wrong(format!("{} events of {kind} and {expected} in the books", of_kind(kind)));
        }
    }
    let ends = record.ends();
    let queued: HashSet<&str> =
        record.events.iter().filter(|seen| seen.status() == Some("queued")).filter_map(Seen::job).collect();
    for job in jobs {
        match ends.get(job.id.as_str()).map_or(&[][..], Vec::as_slice) {
            [status] if *status == job.status => {}
            seen => wrong(format!("seen to end as {seen:?}: {job:?}")),
        }
        if !queued.contains(job.id.as_str()) {
            wrong(format!("not seen to be queued: {job:?}"));
        }
    }
}

/// One of the three numbers is one more, and the others are the same.
fn is_next(before: Place, after: Place) -> bool {
    let mut steps: Vec<i64> = before.0.iter().zip(after.0).map(|(before, after)| after - before).collect();
    steps.sort_unstable();
    steps == [0, 0, 1]
}
