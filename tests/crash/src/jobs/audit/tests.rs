//! The checker itself: sound jobs pass, and every way in which they can lie is reported.

use super::*;
use crate::books::{Entry, OpenHold, UsageRow};
use crate::jobs::watcher::Seen;
use crate::jobs::work::Work;
use serde_json::{Value, json};

struct Stage {
    wanted: Vec<Wanted>,
    jobs: Vec<Shown>,
    books: Books,
    record: Record,
}

fn wanted(name: &str, work: Work, acknowledged: Option<&str>) -> Wanted {
    let acknowledged = acknowledged.map(str::to_owned);
    Wanted { tenant: 0, work, name: name.to_owned(), keyed: true, attempts: 1, acknowledged }
}

fn shown(id: &str, name: &str, status: &str, reason: Option<&str>, charged_milli: Option<i64>) -> Shown {
    Shown {
        id: id.to_owned(),
        params: format!("work {name}"),
        status: status.to_owned(),
        reason: reason.map(str::to_owned),
        attempts: 1,
        charged_milli,
    }
}

fn charge(seq: i64, id: &str, balance: f64) -> Entry {
    Entry::parse(&json!({"seq": seq, "kind": "charge", "amount": -0.012, "balance": balance, "held": 0.0,
        "operation": id}))
}

fn row(id: &str) -> UsageRow {
    UsageRow::parse(
        &json!({"id": id, "cost_credits": 0.012, "meta": {"request_id": id, "basis": "reported"}}),
    )
}

fn seen(place: [i64; 3], kind: &str, data: Value) -> Seen {
    Seen { place: Place(place), kind: kind.to_owned(), data }
}

fn of_job(place: [i64; 3], job: &str, status: &str) -> Seen {
    seen(place, "job", json!({"job": job, "status": status}))
}

/// A job that succeeded, and one that was refused for good.
fn stage() -> Stage {
    let opening =
        json!({"seq": 1, "kind": "set", "amount": 1.0, "balance": 1.0, "held": 0.0, "operation": "set-1"});
    Stage {
        wanted: vec![
            wanted("job-0-end", Work::Late, Some("j0")),
            wanted("job-1-end", Work::Refused, Some("j1")),
            wanted("job-2-end", Work::Late, None),
        ],
        jobs: vec![
            shown("j0", "job-0-end", "succeeded", None, Some(12)),
            shown("j1", "job-1-end", "failed", Some("final_error"), None),
        ],
        books: Books {
            entries: vec![Entry::parse(&opening), charge(2, "j0", 0.988)],
            usage: vec![row("j0")],
            balance_milli: 988,
            holds: Vec::new(),
        },
        record: Record {
            start: Some(Place([1, 0, 0])),
            events: vec![
                of_job([1, 0, 1], "j0", "queued"),
                of_job([1, 0, 2], "j0", "running"),
                of_job([1, 0, 3], "j1", "queued"),
                seen([2, 0, 3], "balance", json!({})),
                seen([3, 0, 3], "usage", json!({})),
                of_job([3, 0, 4], "j0", "succeeded"),
                of_job([3, 0, 5], "j1", "failed"),
            ],
            ..Record::default()
        },
    }
}

fn faults(change: impl FnOnce(&mut Stage)) -> Vec<Fault> {
    let mut stage = stage();
    change(&mut stage);
    let found = audit(&stage.wanted, &stage.jobs, &stage.books, &stage.record);
    let mut faults: Vec<Fault> = found.into_iter().map(|violation| violation.fault).collect();
    faults.sort_unstable();
    faults.dedup();
    faults
}

#[test]
fn sound_jobs_pass() {
    let Stage { wanted, jobs, books, record } = stage();
    assert_eq!(audit(&wanted, &jobs, &books, &record), []);
}

#[test]
fn a_job_that_is_lost_doubled_or_strange_is_found() {
    assert_eq!(faults(|stage| drop(stage.jobs.pop())), [Fault::Lost]);
    let doubled = faults(|stage| {
        stage.jobs.push(shown("j9", "job-1-end", "failed", Some("final_error"), None));
    });
    assert_eq!(doubled, [Fault::Doubled, Fault::Feed]);
    let strange = faults(|stage| {
        stage.jobs.push(shown("j9", "nobody's", "failed", Some("final_error"), None));
    });
    assert_eq!(strange, [Fault::Unasked, Fault::Feed]);
    let other_id = faults(|stage| stage.wanted[0].acknowledged = Some("j7".to_owned()));
    assert_eq!(other_id, [Fault::Altered]);
}

#[test]
fn an_end_that_may_not_be_is_found() {
    assert!(faults(|stage| stage.jobs[0].status = "running".to_owned()).contains(&Fault::Stuck));
    assert_eq!(faults(|stage| stage.jobs[1].reason = None), [Fault::Altered], "failed without a reason");
    let expired = faults(|stage| stage.jobs[1].reason = Some("expired".to_owned()));
    assert_eq!(expired, [Fault::Altered]);
    let answered = faults(|stage| stage.wanted[0].work = Work::Refused);
    assert_eq!(answered, [Fault::Altered], "what every provider refuses cannot succeed");
}

#[test]
fn a_charge_that_is_missing_doubled_or_of_another_amount_is_found() {
    let missing = faults(|stage| {
        stage.books.entries.pop();
        stage.books.usage.pop();
        stage.books.balance_milli = 1_000;
    });
    assert_eq!(missing, [Fault::Lost, Fault::Feed]);
    let doubled = faults(|stage| {
        stage.books.entries.push(charge(4, "j0", 0.976));
        stage.books.usage.push(row("j0"));
        stage.books.balance_milli = 976;
    });
    assert_eq!(doubled, [Fault::Doubled, Fault::Feed]);
    let of_failed = faults(|stage| {
        stage.books.entries.push(charge(4, "j1", 0.976));
        stage.books.usage.push(row("j1"));
        stage.books.balance_milli = 976;
    });
    assert_eq!(of_failed, [Fault::Unasked, Fault::Feed]);
    assert_eq!(faults(|stage| stage.wanted[0].work = Work::Batch), [Fault::Altered]);
    assert_eq!(faults(|stage| stage.jobs[0].charged_milli = Some(13)), [Fault::Altered]);
    let hold = OpenHold { id: "j1".to_owned(), amount_milli: 0, age_ms: 1 };
    assert_eq!(faults(|stage| stage.books.holds.push(hold)), [Fault::HoldLeft]);
}

#[test]
fn an_event_that_is_missing_doubled_or_false_is_found() {
    for index in 0..7 {
        // Without the last one there is no gap, but an end that was not seen.
        assert_eq!(faults(|stage| drop(stage.record.events.remove(index))), [Fault::Feed], "{index}");
        let doubled = |stage: &mut Stage| {
            let again = stage.record.events[index].clone();
            stage.record.events.insert(index, again);
        };
        assert_eq!(faults(doubled), [Fault::Feed], "{index}");
    }
    assert_eq!(faults(|stage| stage.record.events.swap(1, 2)), [Fault::Feed]);
    assert_eq!(faults(|stage| stage.record.events[5] = of_job([3, 0, 4], "j0", "failed")), [Fault::Feed]);
    assert_eq!(faults(|stage| stage.record = Record::default()), [Fault::Feed]);
}
