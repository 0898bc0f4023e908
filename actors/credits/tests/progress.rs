//! Work that is charged in parts: streams and voice.

use super::*;

fn more(charge: i64, hold: i64, deadline_ms: i64) -> Progress {
    Progress { charge_total: Micro(charge), hold_total: Micro(hold), deadline_ms }
}

impl Ledger {
    fn step(&mut self, asked: Progress, usage: &Usage, now_ms: i64) -> (Progressed, HoldChange) {
        self.progress("h", asked, usage, now_ms).unwrap().unwrap()
    }
}

#[test]
fn parts_are_charged_as_totals_so_a_repeated_or_late_report_changes_nothing() {
    let mut ledger = Ledger::new(10_000);
    ledger.hold("h", 6_000);
    let (progressed, change) = ledger.step(total(1_500), &tokens(1, 2), NOW_MS + 1);
    let expected = Progressed {
        charged: Micro(1_500),
        held: Micro(4_500),
        available: Micro(4_000),
        deadline_ms: NOW_MS + TTL_MS,
    };
    assert_eq!(progressed, expected);
    assert_eq!((change.unheld, change.charged, change.end), (Micro(1_500), Micro(1_500), None));
    assert_eq!((change.id.as_str(), change.created_at_ms), ("h", NOW_MS));
    assert_eq!((ledger.balance(), ledger.account().settled), ((4_000, 4_500), Micro(1_500)));
    ledger.step(total(2_500), &tokens(1, 4), NOW_MS + 2);
    for late in [2_500, 1_500, 0] {
        let (progressed, change) = ledger.step(total(late), &tokens(1, 4), NOW_MS + 3);
        assert_eq!((progressed.charged, progressed.held), (Micro(2_500), Micro(3_500)));
        assert_eq!((change.unheld, change.charged), (Micro::ZERO, Micro::ZERO));
    }
    let (ended, change) = ledger.settle("h", 4_000, NOW_MS + 4);
    assert_eq!((ended.charged, ended.shortfall, ended.available), (Micro(4_000), Micro::ZERO, Micro(6_000)));
    let change = change.unwrap();
    assert_eq!((change.unheld, change.charged), (Micro(3_500), Micro(1_500)), "only what is new");
    let charges: Vec<_> = ledger.entries().iter().map(|entry| entry.books.charged.0).collect();
    assert_eq!(charges, [0, 1_500, 1_000, 1_500], "an entry for each part, none for nothing");
    assert_eq!(ledger.verify().problems, Vec::<String>::new());
}

#[test]
fn before_the_end_no_more_is_charged_than_is_set_aside() {
    let mut ledger = Ledger::new(10_000);
    ledger.hold("h", 1_000);
    let (progressed, change) = ledger.step(total(2_500), &Usage::default(), NOW_MS);
    assert_eq!((progressed.charged, progressed.held), (Micro(1_000), Micro::ZERO));
    assert_eq!(change.charged, Micro(1_000));
    assert_eq!(ledger.balance(), (9_000, 0), "what is available is not touched");
    let ended = ledger.charge("h", 2_500);
    assert_eq!((ended.charged, ended.shortfall), (Micro(2_500), Micro::ZERO), "the end draws the rest");
    assert_eq!(ledger.balance(), (7_500, 0));
}

#[test]
fn a_hold_is_topped_up_to_a_total_when_there_is_enough() {
    let mut ledger = Ledger::new(3_000);
    ledger.hold("h", 1_000);
    let (progressed, change) = ledger.step(more(800, 1_800, 0), &Usage::default(), NOW_MS);
    assert_eq!(
        (progressed.charged, progressed.held, progressed.available),
        (Micro(800), Micro(1_000), Micro(1_200))
    );
    assert_eq!((change.unheld, change.charged), (Micro::ZERO, Micro(800)));
    let (again, _) = ledger.step(more(800, 1_800, 0), &Usage::default(), NOW_MS);
    assert_eq!(again, progressed, "a total, not a step");
    let (_, change) = ledger.step(more(800, 2_000, 0), &Usage::default(), NOW_MS);
    assert_eq!((change.unheld, change.charged), (Micro(-200), Micro::ZERO), "more is set aside");
    let refused = ledger.progress("h", more(1_500, 3_001, 0), &Usage::default(), NOW_MS);
    let (available, needed) = (Micro(1_000), Micro(1_001));
    assert_eq!(refused, Err(Refusal::InsufficientCredits { available, needed, updated_at_ms: NOW_MS }));
    assert_eq!(ledger.balance(), (1_000, 1_200), "a refusal charges nothing either");
    ledger.step(more(1_500, 3_000, 0), &Usage::default(), NOW_MS);
    assert_eq!(ledger.balance(), (0, 1_500));
    assert_eq!(ledger.number("SELECT amount_micro FROM holds"), 3_000);
    assert_eq!(ledger.verify().problems, Vec::<String>::new());
}

#[test]
fn a_charge_takes_of_the_grants_in_the_order_they_were_held() {
    let mut ledger = Ledger::new(0);
    let first = ledger.grant(1_000, until(NOW_MS + 500));
    let second = ledger.grant(1_000, GrantTerms::default());
    ledger.hold("h", 1_600);
    let parts = |ledger: &mut Ledger| ledger.sql.text("SELECT parts FROM holds", &[]).unwrap().unwrap();
    assert_eq!(parts(&mut ledger), format!("[[{first},1000],[{second},600]]"));
    ledger.step(total(400), &Usage::default(), NOW_MS);
    assert_eq!(ledger.entries().pop().unwrap().grants, [Part(first, Micro(400))]);
    assert_eq!(parts(&mut ledger), format!("[[{first},600],[{second},600]]"));
    ledger.step(total(1_200), &Usage::default(), NOW_MS);
    assert_eq!(ledger.grants(), [(second, 400, 400)]);
    let entry = ledger.entries().pop().unwrap();
    assert_eq!(entry.grants, [Part(first, Micro(600)), Part(second, Micro(200))]);
    assert_eq!(parts(&mut ledger), format!("[[{second},400]]"));
    ledger.release("h", NOW_MS);
    assert_eq!(ledger.grants(), [(second, 800, 0)]);
}

#[test]
fn a_deadline_moves_on_and_never_back() {
    let mut ledger = Ledger::new(10_000);
    ledger.hold("h", 1_000);
    let (progressed, _) = ledger.step(more(0, 0, NOW_MS + 3_000), &Usage::default(), NOW_MS);
    assert_eq!(progressed.deadline_ms, NOW_MS + 3_000);
    let (progressed, _) = ledger.step(more(0, 0, NOW_MS + 2_000), &Usage::default(), NOW_MS);
    assert_eq!(progressed.deadline_ms, NOW_MS + 3_000);
    assert_eq!(due_at_ms(&mut ledger.sql).unwrap(), Some(NOW_MS + 3_000));
    assert!(ledger.expire(NOW_MS + 2_999).is_empty());
    assert_eq!(ledger.expire(NOW_MS + 3_000).len(), 1);
}

fn seen(ledger: &mut Ledger) -> Vec<(String, Option<i64>, Option<i64>)> {
    let events = ledger.usage();
    events
        .into_iter()
        .map(|event| (event.id, event.tokens_out, event.cost_micro.map(|cost| cost.0)))
        .collect()
}

#[test]
fn usage_is_written_once_at_the_end_whatever_the_end_is() {
    for end in ["settle", "release", "expire"] {
        let mut ledger = Ledger::new(10_000);
        ledger.hold("h", 6_000);
        ledger.step(total(1_500), &tokens(1, 2), NOW_MS);
        ledger.step(total(2_500), &tokens(1, 4), NOW_MS);
        assert_eq!(seen(&mut ledger), [], "not before the end");
        let (charged, tokens_out) = match end {
            "settle" => {
                let all = |sql: &mut _, account: &mut _| {
                    settle(sql, account, "h", Micro(4_000), &tokens(1, 7), NOW_MS)
                };
                (ledger.run(NOW_MS, all).unwrap().0.charged, 7)
            }
            "release" => (ledger.release("h", NOW_MS).0.charged, 4),
            _ => {
                let change = ledger.expire(NOW_MS + TTL_MS).remove(0);
                assert_eq!((change.unheld, change.charged), (Micro(3_500), Micro::ZERO));
                (Micro(2_500), 4)
            }
        };
        assert_eq!(seen(&mut ledger), [("h".to_owned(), Some(tokens_out), Some(charged.0))], "{end}");
        assert_eq!((ledger.account().settled, ledger.balance().1), (charged, 0));
        let (again, _) = ledger.release("h", NOW_MS);
        assert_eq!((again.charged, again.first), (charged, false));
        assert_eq!((seen(&mut ledger).len(), ledger.verify().problems), (1, Vec::<String>::new()));
    }
}

#[test]
fn work_that_was_never_charged_leaves_no_usage_when_it_comes_to_nothing() {
    let mut ledger = Ledger::new(10_000);
    ledger.hold("h", 6_000);
    ledger.step(total(0), &tokens(1, 2), NOW_MS);
    ledger.release("h", NOW_MS);
    assert_eq!(seen(&mut ledger), []);
}

#[test]
fn what_came_after_a_charged_hold_expired_is_paid_by_the_house() {
    let mut ledger = Ledger::new(10_000);
    ledger.hold("h", 6_000);
    ledger.step(total(2_500), &tokens(1, 4), NOW_MS);
    ledger.expire(NOW_MS + TTL_MS);
    let late = ledger.charge("h", 2_500);
    assert_eq!((late.charged, late.end, ledger.usage().len()), (Micro(2_500), HoldEnd::Expired, 1));
    ledger.charge("h", 4_000);
    assert_eq!(ledger.number("SELECT shortfall_micro FROM holds"), 1_500);
    assert_eq!(ledger.charge("h", 4_000).charged, Micro(2_500));
    assert_eq!(ledger.account().settled, Micro(2_500));
    assert_eq!(ledger.verify().problems, Vec::<String>::new());
}

fn late(ledger: &mut Ledger, charge: i64, usage: &Usage) -> EndedHold {
    ledger
        .run(NOW_MS + 2 * TTL_MS, |sql, account| {
            settle(sql, account, "h", Micro(charge), usage, NOW_MS + 2 * TTL_MS)
        })
        .unwrap()
        .0
}

#[test]
fn what_ended_late_adds_only_what_was_not_reported_before() {
    let mut ledger = Ledger::new(10_000);
    ledger.hold("h", 6_000);
    ledger.step(total(2_500), &tokens(100, 150), NOW_MS);
    ledger.expire(NOW_MS + TTL_MS);
    for _ in 0..2 {
        assert_eq!(late(&mut ledger, 4_000, &tokens(100, 300)).shortfall, Micro(1_500));
    }
    let expected = [("h-late".to_owned(), Some(150), Some(0)), ("h".to_owned(), Some(150), Some(2_500))];
    assert_eq!(seen(&mut ledger), expected);
    let sums = "SELECT json_array(SUM(tokens_in), SUM(tokens_out), SUM(cost_micro)) FROM usage_events";
    assert_eq!(ledger.sql.text(sums, &[]).unwrap().unwrap(), "[100,300,2500]");
    assert_eq!(ledger.account().settled, Micro(2_500));
    assert_eq!(ledger.verify().problems, Vec::<String>::new());
}

#[test]
fn what_ended_late_and_was_never_charged_is_one_event_with_all_it_used() {
    let mut ledger = Ledger::new(10_000);
    ledger.hold("h", 6_000);
    ledger.step(total(0), &tokens(100, 150), NOW_MS);
    ledger.expire(NOW_MS + TTL_MS);
    late(&mut ledger, 4_000, &tokens(100, 300));
    assert_eq!(seen(&mut ledger), [("h".to_owned(), Some(300), Some(0))]);
}
