//! A hold is set aside, ends exactly once, and is listed with its owner.

use super::*;

#[test]
fn a_hold_is_set_aside_and_the_rest_comes_back() {
    let mut ledger = Ledger::new(10_000);
    ledger.hold("h", 6_000);
    assert_eq!(ledger.balance(), (4_000, 6_000));
    assert_eq!(ledger.account().holds_open, 1);
    let (ended, change) = ledger.settle("h", 2_000, NOW_MS + 5);
    let expected = EndedHold {
        end: HoldEnd::Settled,
        charged: Micro(2_000),
        shortfall: Micro::ZERO,
        available: Micro(8_000),
        first: true,
    };
    assert_eq!(ended, expected);
    assert_eq!((ledger.balance(), ledger.account().holds_open), ((8_000, 0), 0));
    let change = change.unwrap();
    assert_eq!((change.id.as_str(), change.owner.route.as_str()), ("h", "/api/si/ask"));
    assert_eq!((change.created_at_ms, change.end), (NOW_MS, Some(HoldEnd::Settled)));
    assert_eq!((change.unheld, change.charged), (Micro(6_000), Micro(2_000)));
}

#[test]
fn what_is_not_available_is_not_held() {
    let mut ledger = Ledger::new(10_000);
    ledger.hold("a", 6_000);
    let refused = ledger.admit("b", 4_001, NOW_MS);
    let (available, needed) = (Micro(4_000), Micro(4_001));
    assert_eq!(refused, Err(Refusal::InsufficientCredits { available, needed, updated_at_ms: NOW_MS }));
    assert_eq!(ledger.balance(), (4_000, 6_000));
    ledger.hold("b", 4_000);
    assert_eq!(ledger.balance(), (0, 10_000));
}

#[test]
fn a_charge_above_its_hold_is_drawn_from_the_balance_and_the_rest_is_shortfall() {
    let mut ledger = Ledger::new(10_000);
    ledger.hold("h", 6_000);
    let ended = ledger.charge("h", 13_000);
    assert_eq!((ended.charged, ended.shortfall), (Micro(10_000), Micro(3_000)));
    assert_eq!(ledger.balance(), (0, 0));
    let entry = ledger.entries().pop().unwrap();
    assert_eq!((entry.books.owned, entry.shortfall_micro), (Micro(-10_000), Micro(3_000)));
    let listed = ledger.number("SELECT shortfall_micro FROM holds");
    assert_eq!(listed, 3_000, "a repeated settle hears of it too");
    assert_eq!(ledger.charge("h", 13_000).shortfall, Micro(3_000));
}

#[test]
fn what_others_hold_is_not_drawn() {
    let mut ledger = Ledger::new(10_000);
    ledger.hold("h", 2_000);
    ledger.hold("other", 7_000);
    let (ended, change) = ledger.settle("h", 4_000, NOW_MS);
    assert_eq!((ended.charged, ended.shortfall), (Micro(3_000), Micro(1_000)));
    assert_eq!(change.map(|change| (change.unheld, change.charged)), Some((Micro(2_000), Micro(3_000))));
    assert_eq!(ledger.balance(), (0, 7_000));
    let entry = ledger.entries().pop().unwrap();
    assert_eq!((entry.available_micro, entry.held_micro), (Micro::ZERO, Micro(7_000)));
    assert_eq!(entry.grants, [Part(OPENING_SEQ, Micro(2_000)), Part(OPENING_SEQ, Micro(1_000))]);
}

#[test]
fn a_charge_of_nothing_is_no_entry_but_a_shortfall_is() {
    let mut ledger = Ledger::new(1_000);
    ledger.hold("free", 500);
    ledger.charge("free", 0);
    assert_eq!((ledger.entries().len(), ledger.usage().len()), (1, 1), "its usage is seen");
    ledger.hold("nothing", 0);
    ledger.adjust(Adjustment::Set(Micro::ZERO), NOW_MS).unwrap();
    let ended = ledger.charge("nothing", 300);
    assert_eq!((ended.charged, ended.shortfall), (Micro::ZERO, Micro(300)));
    let entry = ledger.entries().pop().unwrap();
    assert_eq!(
        (entry.kind, entry.books, entry.shortfall_micro),
        (Kind::Charge, Books::default(), Micro(300))
    );
    assert_eq!(ledger.balance(), (0, 0));
}

#[test]
fn a_negative_charge_gives_nothing() {
    let mut ledger = Ledger::new(1_000);
    ledger.hold("h", 500);
    assert_eq!(ledger.charge("h", -400).charged, Micro::ZERO);
    assert_eq!(ledger.balance(), (1_000, 0));
}

#[test]
fn a_hold_ends_once_whatever_comes_later() {
    let mut ledger = Ledger::new(10_000);
    ledger.hold("h", 6_000);
    let first = ledger.charge("h", 2_000);
    let (again, change) = ledger.settle("h", 5_000, NOW_MS + 5);
    assert!(first.first && !again.first && change.is_none());
    assert_eq!((again.end, again.charged), (first.end, first.charged));
    let (released, change) = ledger.release("h", NOW_MS);
    assert_eq!((released.end, released.first, change), (HoldEnd::Settled, false, None));
    let progressed = ledger.progress("h", total(6_000), &Usage::default(), NOW_MS).unwrap();
    assert_eq!(progressed.unwrap_err().end, HoldEnd::Settled);
    assert!(ledger.expire(NOW_MS + 9 * TTL_MS).is_empty());
    assert_eq!(ledger.balance(), (8_000, 0));
    assert_eq!(ledger.admit("h", 1_000, NOW_MS), Err(Refusal::DuplicateOperation));
    assert_eq!(ledger.usage().len(), 1);
}

#[test]
fn a_released_hold_gives_all_back_and_stays_released() {
    let mut ledger = Ledger::new(10_000);
    ledger.hold("h", 6_000);
    let (ended, change) = ledger.release("h", NOW_MS + 1);
    assert_eq!(
        (ended.end, ended.charged, ended.available, ended.first),
        (HoldEnd::Released, Micro::ZERO, Micro(10_000), true)
    );
    let change = change.unwrap();
    assert_eq!(
        (change.unheld, change.charged, change.end),
        (Micro(6_000), Micro::ZERO, Some(HoldEnd::Released))
    );
    let late = ledger.charge("h", 2_000);
    assert_eq!((late.end, late.charged, late.first), (HoldEnd::Released, Micro::ZERO, false));
    assert_eq!(
        ledger.number("SELECT shortfall_micro FROM holds"),
        0,
        "the house did not pay: nothing was done"
    );
    assert_eq!((ledger.balance(), ledger.usage().len()), ((10_000, 0), 0));
}

#[test]
fn a_hold_nobody_settles_ends_at_its_deadline_and_the_house_pays() {
    let mut ledger = Ledger::new(10_000);
    ledger.hold("h", 6_000);
    assert_eq!(due_at_ms(&mut ledger.sql).unwrap(), Some(NOW_MS + 1_000));
    assert!(ledger.expire(NOW_MS + 999).is_empty());
    let ended = ledger.expire(NOW_MS + 1_000);
    assert_eq!(ended.iter().map(|change| change.id.as_str()).collect::<Vec<_>>(), ["h"]);
    assert_eq!(
        (ended[0].unheld, ended[0].charged, ended[0].end),
        (Micro(6_000), Micro::ZERO, Some(HoldEnd::Expired))
    );
    assert_eq!(due_at_ms(&mut ledger.sql).unwrap(), None);
    assert_eq!(ledger.balance(), (10_000, 0));
    let late = ledger.charge("h", 2_000);
    assert_eq!((late.end, late.charged), (HoldEnd::Expired, Micro::ZERO));
    let again = ledger.charge("h", 2_500);
    assert_eq!(again.shortfall, Micro(2_000), "what the house paid, as it was first told");
    let costs: Vec<_> = ledger.usage().iter().map(|event| event.cost_micro).collect();
    assert_eq!(costs, [Some(Micro::ZERO)], "the work is seen, once, and costs nothing");
}

#[test]
fn late_work_that_cost_nothing_is_not_noted() {
    let mut ledger = Ledger::new(10_000);
    ledger.hold("h", 6_000);
    ledger.expire(NOW_MS + TTL_MS);
    ledger.charge("h", 0);
    assert_eq!((ledger.usage().len(), ledger.number("SELECT shortfall_micro FROM holds")), (0, 0));
}

#[test]
fn many_open_holds_are_listed_and_ended_in_parts() {
    let mut ledger = Ledger::new(10_000_000);
    for n in 0..HOLDS_OPEN_MAX {
        ledger.hold(&n.to_string(), 1_000);
    }
    assert_eq!(open_amounts(&mut ledger.sql).unwrap().len(), 1_000, "read in pages");
    let page = list_holds(&mut ledger.sql, &me(), HoldState::Open, 10, None).unwrap();
    assert_eq!((page.open, page.items.len()), (HOLDS_OPEN_MAX, 10));
    // One alarm ends half of them, the next one the other half.
    assert_eq!(ledger.expire(NOW_MS + TTL_MS).len(), 500);
    assert_eq!(due_at_ms(&mut ledger.sql).unwrap(), Some(NOW_MS + TTL_MS));
    assert_eq!(ledger.expire(NOW_MS + TTL_MS).len(), 500);
    assert_eq!((ledger.balance(), ledger.account().holds_open), ((10_000_000, 0), 0));
}

#[test]
fn an_unknown_hold_is_told_apart_from_an_ended_one() {
    let mut ledger = Ledger::new(10_000);
    let refused = ledger.run(NOW_MS, |sql, account| release(sql, account, "h", NOW_MS));
    assert_eq!(refused, Err(Refusal::UnknownHold));
    let refused = ledger.progress("h", total(0), &Usage::default(), NOW_MS);
    assert_eq!(refused, Err(Refusal::UnknownHold));
    assert!(!is_open(&mut ledger.sql, "h").unwrap());
    ledger.hold("h", 1);
    assert!(is_open(&mut ledger.sql, "h").unwrap());
    ledger.release("h", NOW_MS);
    assert!(!is_open(&mut ledger.sql, "h").unwrap());
}

#[test]
fn ended_holds_are_forgotten_after_their_time_and_expired_ones_much_later() {
    let mut ledger = Ledger::new(10_000);
    for id in ["settled", "released", "expired", "open"] {
        ledger.hold(id, 1_000);
    }
    let ids = |ledger: &mut Ledger| {
        ledger
            .sql
            .text("SELECT group_concat(id) FROM (SELECT id FROM holds ORDER BY id)", &[])
            .unwrap()
            .unwrap()
    };
    assert_eq!(forget_at_ms(&mut ledger.sql).unwrap(), None, "open holds are not forgotten");
    ledger.settle("settled", 500, NOW_MS);
    ledger.release("released", NOW_MS + 1);
    ledger.tamper("UPDATE holds SET deadline_ms = 9e15 WHERE id = 'open'");
    ledger.expire(NOW_MS + TTL_MS);
    let forget = |ledger: &mut Ledger, at_ms| {
        assert_eq!(forget_at_ms(&mut ledger.sql).unwrap(), Some(at_ms));
        forget_ended(&mut ledger.sql, at_ms - 1).unwrap();
        assert_eq!(forget_at_ms(&mut ledger.sql).unwrap(), Some(at_ms), "not before");
        forget_ended(&mut ledger.sql, at_ms).unwrap();
        ids(ledger)
    };
    assert_eq!(forget(&mut ledger, NOW_MS + HOLD_HISTORY_MS), "expired,open,released");
    assert_eq!(forget(&mut ledger, NOW_MS + 1 + HOLD_HISTORY_MS), "expired,open");
    assert_eq!(forget(&mut ledger, NOW_MS + TTL_MS + EXPIRED_HISTORY_MS), "open");
}

fn owned_by(key: &str) -> Owner {
    Owner {
        route: "/api/si/ask".to_owned(),
        request_id: Some(format!("request of {key}")),
        api_key: Some(key.to_owned()),
        models: vec!["small".to_owned(), "large".to_owned()],
        ..Owner::default()
    }
}

#[test]
fn expired_holds_are_listed_with_owner_and_age_and_what_the_house_paid() {
    let mut ledger = Ledger::new(10_000);
    for (n, id) in ["a", "b", "c"].into_iter().enumerate() {
        ledger.admit_as(id, 1_000, &owned_by(id), NOW_MS + i64::try_from(n).unwrap()).unwrap();
    }
    ledger.expire(NOW_MS + TTL_MS + 1);
    ledger.charge("a", 700);
    let expired = list_holds(&mut ledger.sql, &me(), HoldState::Expired, 10, None).unwrap();
    assert_eq!((expired.open, expired.items.len()), (1, 2));
    let ListedHold { id, state, amount_micro, charged_micro, shortfall_micro, owner, .. } = &expired.items[1];
    assert_eq!((id.as_str(), state.as_str(), owner), ("a", "expired", &owned_by("a")));
    assert_eq!((amount_micro, charged_micro, shortfall_micro), (&Micro(1_000), &Micro::ZERO, &Micro(700)));
    let times = (expired.items[0].created_at_ms, expired.items[0].deadline_ms, expired.items[0].ended_at_ms);
    assert_eq!(times, (NOW_MS + 1, NOW_MS + 1 + TTL_MS, Some(NOW_MS + TTL_MS + 1)), "the latest leads");
    let open = list_holds(&mut ledger.sql, &me(), HoldState::Open, 10, None).unwrap();
    assert_eq!((open.items.len(), open.items[0].id.as_str(), open.items[0].ended_at_ms), (1, "c", None));
}

#[test]
fn lists_of_holds_are_walked_without_gap_or_duplicate() {
    let mut ledger = Ledger::new(100_000);
    // Many deadlines are alike, so that pages end amid them.
    for n in 0..23_i64 {
        ledger.admit(&format!("{n:02}"), 1_000, NOW_MS + n / 9).unwrap();
    }
    for state in [HoldState::Open, HoldState::Expired] {
        if state == HoldState::Expired {
            ledger.expire(NOW_MS + 9 * TTL_MS);
        }
        for limit in [1, 2, 4, 9, 22, 23, 100] {
            let (mut seen, mut cursor) = (Vec::new(), None);
            loop {
                let page = list_holds(&mut ledger.sql, &me(), state, limit, cursor.as_deref()).unwrap();
                assert!(page.items.len() <= limit as usize);
                seen.extend(page.items.into_iter().map(|hold| (hold.deadline_ms, hold.id)));
                cursor = page.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
            let mut expected: Vec<_> =
                (0..23_i64).map(|n| (NOW_MS + n / 9 + TTL_MS, format!("{n:02}"))).collect();
            if state == HoldState::Expired {
                expected.sort_by_key(|(deadline_ms, id)| (-deadline_ms, id.clone()));
            }
            assert_eq!(seen, expected, "{state:?} by {limit}");
        }
    }
}

#[test]
fn a_cursor_of_open_holds_is_none_of_expired_ones() {
    let mut ledger = Ledger::new(10_000);
    ledger.hold("a", 1_000);
    ledger.hold("b", 1_000);
    let page = list_holds(&mut ledger.sql, &me(), HoldState::Open, 1, None).unwrap();
    let other = list_holds(&mut ledger.sql, &me(), HoldState::Expired, 1, page.next_cursor.as_deref());
    assert_eq!(other, Err(Refusal::InvalidCursor));
}

#[test]
fn holds_of_a_key_are_counted_and_summed_with_their_owners() {
    let mut ledger = Ledger::new(10_000);
    for (id, key) in [("a", "k"), ("b", "k"), ("c", "other"), ("d", "k")] {
        ledger.admit_as(id, 1_000, &owned_by(key), NOW_MS).unwrap();
    }
    ledger.release("d", NOW_MS);
    assert_eq!(open_of_key(&mut ledger.sql, "k").unwrap(), 2);
    assert_eq!(open_of_key(&mut ledger.sql, "nobody").unwrap(), 0);
    ledger.progress("b", total(300), &Usage::default(), NOW_MS).unwrap().unwrap();
    let mut open: Vec<_> = open_amounts(&mut ledger.sql)
        .unwrap()
        .into_iter()
        .map(|hold| (hold.owner.api_key.clone().unwrap(), hold.held().unwrap().0))
        .collect();
    open.sort();
    assert_eq!(open, [("k".to_owned(), 700), ("k".to_owned(), 1_000), ("other".to_owned(), 1_000)]);
}
