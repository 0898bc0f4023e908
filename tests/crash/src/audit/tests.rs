//! The checker itself: sound books pass, and every way in which books can lie is reported.

use super::*;
use crate::books::OpenHold;
use crate::operation::{Ask, Form};
use serde_json::json;

const OPENING: &str = "op-opening";
const GIFT: &str = "op-gift";
const ASKED: &str = "op-ask";
const KEYED: &str = "op-keyed";
const EVENT: &str = "op-event";

fn operation(name: &str, request: Request, attempts: usize, outcome: Outcome) -> Operation {
    let request_ids = (0..attempts).map(|attempt| format!("{name}-{attempt}")).collect();
    Operation { tenant: 0, request, name: name.to_owned(), request_ids, outcome }
}

fn ask(keyed: bool) -> Request {
    Request::Ask(Ask { scenario: "scenario", form: Form::Json, keyed, patience_ms: None, probe: false })
}

fn answered(charged_milli: i64) -> Outcome {
    Outcome::Acknowledged(Receipt::Answer(Answer {
        content: "text".to_owned(),
        provider: "groq".to_owned(),
        model: "model".to_owned(),
        tokens_in: 52,
        tokens_out: 192,
        charged_milli,
        balance_milli: 0,
        interrupted: false,
    }))
}

fn adjustment(name: &str, delta_milli: i64, balance: f64) -> Operation {
    let outcome = Outcome::Acknowledged(Receipt::Adjusted(json!({"balance": balance})));
    operation(name, Request::Adjust { delta_milli }, 1, outcome)
}

fn event_item(name: &str) -> Value {
    json!({"id": name, "created_at": "2026-01-02T03:04:05Z", "tokens_in": 7, "meta": {"basis": "client"}})
}

/// An opening of 1.000, a gift of 0.100, an ask for 0.012, one with a key for 0.004 whose first attempt was not
/// heard, and an event.
fn operations() -> Vec<Operation> {
    let event = Request::UsageEvent { tokens_in: 7, cost_milli: 0 };
    vec![
        adjustment(OPENING, 1_000, 1.0),
        adjustment(GIFT, 100, 1.1),
        operation(ASKED, ask(false), 1, answered(12)),
        operation(KEYED, ask(true), 2, answered(4)),
        operation(EVENT, event, 1, Outcome::Acknowledged(Receipt::Recorded(event_item(EVENT)))),
    ]
}

fn entry(seq: i64, kind: &str, amount: f64, balance: f64, operation: &str, reason: Option<&str>) -> Entry {
    Entry::parse(&json!({
        "seq": seq, "kind": kind, "amount": amount, "balance": balance, "held": 0.0, "shortfall": 0.0,
        "operation": operation, "reason": reason, "a_member_of_tomorrow": {"hash": "…"},
    }))
}

fn row(hold: &str, request_id: &str, cost: f64) -> UsageRow {
    UsageRow::parse(&json!({
        "id": hold, "cost_credits": cost, "tokens_in": 52, "tokens_out": 192,
        "meta": {"request_id": request_id, "basis": "reported"},
    }))
}

fn books() -> Books {
    Books {
        entries: vec![
            entry(1, "delta", 1.0, 1.0, "adjust-1", Some(OPENING)),
            entry(2, "delta", 0.1, 1.1, "adjust-2", Some(GIFT)),
            entry(3, "charge", -0.012, 1.088, "hold-1", None),
            entry(5, "charge", -0.004, 1.084, "hold-2", None),
        ],
        usage: vec![
            UsageRow::parse(&event_item(EVENT)),
            row("hold-2", "op-keyed-0", 0.004),
            row("hold-1", "op-ask-0", 0.012),
        ],
        balance_milli: 1_084,
        holds: Vec::new(),
    }
}

/// What the checker finds in the sound books after `change`.
fn faults(change: impl FnOnce(&mut Vec<Operation>, &mut Books)) -> Vec<Fault> {
    let (mut operations, mut books) = (operations(), books());
    change(&mut operations, &mut books);
    let mut faults: Vec<Fault> =
        audit(&operations, &books).into_iter().map(|violation| violation.fault).collect();
    faults.sort_unstable();
    faults.dedup();
    faults
}

/// An ask that was charged once more than its client knows, with books that agree with each other.
fn charge_again(books: &mut Books, request_id: &str) {
    books.entries.push(entry(7, "charge", -0.004, 1.08, "hold-3", None));
    books.usage.push(row("hold-3", request_id, 0.004));
    books.balance_milli -= 4;
}

#[test]
fn sound_books_pass() {
    assert_eq!(audit(&operations(), &books()), []);
    assert_eq!(done_unheard(&operations(), &books()), 1, "the first attempt with the key");
}

#[test]
fn a_lost_charge_is_found() {
    let lost_entry = faults(|_, books| {
        books.entries.pop();
        books.balance_milli += 4;
    });
    assert_eq!(lost_entry, [Fault::Lost]);
    let lost_row = faults(|_, books| {
        books.usage.pop();
    });
    assert_eq!(lost_row, [Fault::Lost]);
    let lost_whole = faults(|_, books| {
        books.usage.retain(|row| row.id != "hold-2");
        books.entries.pop();
        books.balance_milli += 4;
    });
    assert_eq!(lost_whole, [Fault::Lost], "although the books agree with each other");
}

#[test]
fn a_doubled_charge_is_found() {
    let same_hold = faults(|_, books| {
        books.entries.push(entry(7, "charge", -0.004, 1.08, "hold-2", None));
        books.balance_milli -= 4;
    });
    assert_eq!(same_hold, [Fault::Doubled]);
    let same_row = faults(|_, books| {
        books.usage.push(row("hold-2", "op-keyed-0", 0.004));
    });
    assert_eq!(same_row, [Fault::Doubled]);
    let each_attempt = faults(|_, books| charge_again(books, "op-keyed-1"));
    assert_eq!(each_attempt, [Fault::Doubled], "although the books agree with each other");
    let one_attempt = faults(|_, books| charge_again(books, "op-ask-0"));
    assert_eq!(one_attempt, [Fault::Doubled]);
}

#[test]
fn what_was_not_heard_may_be_there_once_but_not_twice() {
    let unknown = |operations: &mut Vec<Operation>| operations[3].outcome = Outcome::Unknown;
    assert_eq!(faults(|operations, _| unknown(operations)), []);
    let absent = faults(|operations, books| {
        unknown(operations);
        books.usage.retain(|row| row.id != "hold-2");
        books.entries.pop();
        books.balance_milli += 4;
    });
    assert_eq!(absent, []);
    let twice = faults(|operations, books| {
        unknown(operations);
        charge_again(books, "op-keyed-1");
    });
    assert_eq!(twice, [Fault::Doubled]);
}

#[test]
fn what_was_refused_or_never_sent_may_not_be_there() {
    let refused = |operations: &mut Vec<Operation>, _: &mut Books| {
        operations[2].outcome = Outcome::Refused("insufficient_credits".to_owned());
    };
    assert_eq!(faults(refused), [Fault::RefusedButDone]);
    let unsent = |operations: &mut Vec<Operation>, _: &mut Books| operations[1].outcome = Outcome::Unsent;
    assert_eq!(faults(unsent), [Fault::Unasked]);
    let strange_charge = |_: &mut Vec<Operation>, books: &mut Books| charge_again(books, "somebody-else");
    assert_eq!(faults(strange_charge), [Fault::Unasked]);
    let strange_change = |_: &mut Vec<Operation>, books: &mut Books| {
        books.entries.push(entry(7, "delta", 0.1, 1.184, "adjust-3", None));
        books.balance_milli += 100;
    };
    assert_eq!(faults(strange_change), [Fault::Unasked]);
}

#[test]
fn other_amounts_than_were_acknowledged_are_found() {
    let charged_more = faults(|_, books| {
        books.entries[3] = entry(5, "charge", -0.005, 1.083, "hold-2", None);
        books.usage[1] = row("hold-2", "op-keyed-0", 0.005);
        books.balance_milli -= 1;
    });
    assert_eq!(charged_more, [Fault::Altered]);
    let row_differs = faults(|_, books| books.usage[1] = row("hold-2", "op-keyed-0", 0.003));
    assert_eq!(row_differs, [Fault::Altered]);
    let tokens_differ = faults(|operations, _| {
        if let Outcome::Acknowledged(Receipt::Answer(answer)) = &mut operations[2].outcome {
            answer.tokens_out += 1;
        }
    });
    assert_eq!(tokens_differ, [Fault::Altered]);
}

#[test]
fn adjustments_are_there_once_and_as_told() {
    let lost = faults(|_, books| {
        books.entries[0] = entry(1, "delta", 1.1, 1.1, "adjust-1", Some(OPENING));
        books.entries.remove(1);
    });
    assert_eq!(lost, [Fault::Lost, Fault::Altered]);
    let doubled = faults(|_, books| {
        books.entries.push(entry(7, "delta", 0.1, 1.184, "adjust-2", Some(GIFT)));
        books.balance_milli += 100;
    });
    assert_eq!(doubled, [Fault::Doubled]);
    let told_otherwise = faults(|operations, _| operations[1] = adjustment(GIFT, 100, 1.2));
    assert_eq!(told_otherwise, [Fault::Altered]);
    let other_delta = faults(|operations, _| operations[1] = adjustment(GIFT, 90, 1.1));
    assert_eq!(other_delta, [Fault::Altered]);
}

#[test]
fn a_shortfall_belongs_to_its_adjustment() {
    let taken = faults(|operations, books| {
        operations.push(adjustment("op-taken", -2_000, 0.0));
        let mut entry = entry(7, "delta", -1.084, 0.0, "adjust-3", Some("op-taken"));
        entry.shortfall_milli = 916;
        books.entries.push(entry);
        books.balance_milli = 0;
    });
    assert_eq!(taken, []);
}

#[test]
fn events_are_there_once_and_unchanged() {
    let lost = faults(|_, books| {
        books.usage.remove(0);
    });
    assert_eq!(lost, [Fault::Lost]);
    let doubled = faults(|_, books| books.usage.push(UsageRow::parse(&event_item(EVENT))));
    assert_eq!(doubled, [Fault::Doubled]);
    let altered = faults(|_, books| books.usage[0].item["tokens_in"] = json!(8));
    assert_eq!(altered, [Fault::Altered]);
    let grown = faults(|_, books| books.usage[0].item["a_member_of_tomorrow"] = json!(1));
    assert_eq!(grown, []);
    let strange = faults(|_, books| books.usage.push(UsageRow::parse(&event_item("somebody-elses"))));
    assert_eq!(strange, [Fault::Unasked]);
}

#[test]
fn a_balance_that_is_not_the_sum_is_found() {
    assert_eq!(faults(|_, books| books.balance_milli += 1), [Fault::Unbalanced]);
    let running = faults(|_, books| books.entries[1].balance_milli += 1);
    assert_eq!(running, [Fault::Altered, Fault::Unbalanced], "and its adjustment was told another");
    let order = faults(|_, books| books.entries[2].seq = 2);
    assert_eq!(order, [Fault::Unbalanced]);
    let below_zero = faults(|_, books| {
        books.entries[3].balance_milli = -1;
        books.entries[3].held_milli = 1_085;
    });
    assert_eq!(below_zero, [Fault::Unbalanced]);
}

#[test]
fn open_holds_are_part_of_what_is_owned() {
    let hold = |amount_milli, age_ms| OpenHold { id: "hold-9".to_owned(), amount_milli, age_ms };
    let held = faults(|_, books| {
        books.holds.push(hold(30, 100));
        books.balance_milli -= 30;
    });
    assert_eq!(held, []);
    assert_eq!(faults(|_, books| books.holds.push(hold(30, 100))), [Fault::Unbalanced]);
    let overdue = faults(|_, books| {
        books.holds.push(hold(30, 60_000));
        books.balance_milli -= 30;
    });
    assert_eq!(overdue, [Fault::HoldLeft]);
}

#[test]
fn kinds_of_tomorrow_are_passed_over() {
    let expired = faults(|_, books| {
        // The end of a hold gives back and moves nothing that is owned.
        books.entries.push(entry(7, "expire", 0.03, 1.084, "hold-8", None));
        // The end of a grant takes its rest away.
        books.entries.push(entry(8, "lapse", -0.084, 1.0, "grant-1", None));
        books.balance_milli = 1_000;
    });
    assert_eq!(expired, []);
    let wrong = faults(|_, books| {
        books.entries.push(entry(7, "expire", 0.03, 1.1, "hold-8", None));
        books.balance_milli = 1_100;
    });
    assert_eq!(wrong, [Fault::Unbalanced]);
}
