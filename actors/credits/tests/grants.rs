//! Where credit comes from, in which order it is spent, and how it ends.

use super::*;
use GrantKind::{Paid, Promotional};

fn ids(ledger: &mut Ledger) -> Vec<i64> {
    ledger.grants().into_iter().map(|(id, ..)| id).collect()
}

#[test]
fn credit_is_spent_by_priority_then_expiry_then_promotional() {
    let mut ledger = Ledger::new(0);
    let late = ledger.grant(1_000, until(NOW_MS + 900));
    let never = ledger.grant(1_000, terms(Paid, PRIORITY_DEFAULT, None));
    let soon_paid = ledger.grant(1_000, until(NOW_MS + 500));
    let soon_free = ledger.grant(1_000, terms(Promotional, PRIORITY_DEFAULT, Some(NOW_MS + 499)));
    let next_free = ledger.grant(1_000, terms(Promotional, PRIORITY_DEFAULT, Some(NOW_MS + 500)));
    let first = ledger.grant(1_000, terms(Paid, PRIORITY_DEFAULT - 1, None));
    let last = ledger.grant(1_000, terms(Promotional, PRIORITY_DEFAULT + 1, Some(NOW_MS + 1)));
    let never_free = ledger.grant(1_000, terms(Promotional, PRIORITY_DEFAULT, None));
    let order = [first, soon_free, next_free, soon_paid, late, never_free, never, last];
    assert_eq!(ids(&mut ledger), order);
    // A hold and a correction take them in that order.
    ledger.hold("h", 2_500);
    assert_eq!(ledger.grants()[..3], [(first, 0, 1_000), (soon_free, 0, 1_000), (next_free, 500, 500)]);
    ledger.adjust(Adjustment::Delta(Micro(-700)), NOW_MS).unwrap();
    assert_eq!(ledger.grants()[2..4], [(next_free, 0, 500), (soon_paid, 800, 0)]);
    let entry = ledger.entries().pop().unwrap();
    assert_eq!(entry.grants, [Part(next_free, Micro(500)), Part(soon_paid, Micro(200))]);
}

#[test]
fn credit_joins_what_is_alike() {
    let mut ledger = Ledger::new(1_000);
    let again = ledger.adjust(Adjustment::Grant(Micro(500), GrantTerms::default()), NOW_MS).unwrap();
    assert_eq!(again.account.live_grants().count(), 1);
    assert_eq!(ledger.grants(), [(OPENING_SEQ, 1_500, 0)]);
    let entry = ledger.entries().pop().unwrap();
    assert_eq!(entry.grants, [Part(OPENING_SEQ, Micro(500))], "the grant that was filled");
    for unlike in [
        terms(Promotional, PRIORITY_DEFAULT, None),
        terms(Paid, PRIORITY_DEFAULT + 1, None),
        until(NOW_MS + 5_000),
        until(NOW_MS + 5_000),
    ] {
        ledger.grant(100, unlike);
    }
    assert_eq!(ledger.grants().len(), 4, "the last two expire at one time");
    // Also when all of it is held.
    ledger.adjust(Adjustment::Set(Micro::ZERO), NOW_MS).unwrap();
    ledger.grant(700, GrantTerms::default());
    ledger.hold("h", 700);
    let before = ledger.grants();
    ledger.grant(50, GrantTerms::default());
    assert_eq!((before[0].1, ledger.grants()), (0, vec![(before[0].0, 50, 700)]));
}

#[test]
fn a_grant_that_is_used_up_is_gone() {
    let mut ledger = Ledger::new(1_000);
    ledger.hold("h", 1_000);
    assert_eq!(ledger.grants(), [(OPENING_SEQ, 0, 1_000)], "it stays for its hold");
    ledger.charge("h", 1_000);
    assert_eq!(ledger.grants(), []);
    ledger.adjust(Adjustment::Set(Micro(300)), NOW_MS).unwrap();
    ledger.adjust(Adjustment::Delta(Micro(-300)), NOW_MS).unwrap();
    assert_eq!(ledger.grants(), []);
}

#[test]
fn a_grant_that_is_over_leaves_with_an_entry() {
    let mut ledger = Ledger::new(1_000);
    let grant = ledger.grant(400, until(NOW_MS + 100));
    assert_eq!(ledger.account().grants.next_expiry_ms(), Some(NOW_MS + 100));
    let early = Account::view_at(&mut ledger.sql, NOW_MS + 99).unwrap();
    assert_eq!((early.available, early.granted), (Micro(1_400), Micro(1_400)));
    let seen = Account::view_at(&mut ledger.sql, NOW_MS + 100).unwrap();
    assert_eq!((seen.available, seen.granted), (Micro(1_000), Micro(1_000)), "a reader sees it gone");
    assert_eq!(ledger.entries().len(), 2, "a reader writes nothing");
    ledger.run(NOW_MS + 100, |_, _| Ok(())).unwrap();
    let account = ledger.account();
    assert_eq!((account.available, account.granted), (Micro(1_000), Micro(1_000)));
    assert_eq!((account.grants.next_expiry_ms(), account.updated_at_ms), (None, NOW_MS + 100));
    let entry = ledger.entries().pop().unwrap();
    assert_eq!(
        (entry.kind, entry.operation.as_str()),
        (Kind::Expire, format!("expiry-of-{grant}-{}", entry.seq).as_str())
    );
    let books = Books { owned: Micro(-400), expired: Micro(400), ..Books::default() };
    assert_eq!((entry.books, entry.grants), (books, vec![Part(grant, Micro(400))]));
    assert_eq!(
        (entry.available_micro, entry.held_micro, entry.at_ms),
        (Micro(1_000), Micro::ZERO, NOW_MS + 100)
    );
    ledger.run(NOW_MS + 200, |_, _| Ok(())).unwrap();
    assert_eq!(ledger.entries().len(), 3, "once");
    assert_eq!(ledger.verify().problems, Vec::<String>::new());
}

#[test]
fn what_is_held_of_a_grant_that_is_over_is_spent_or_leaves_when_it_comes_back() {
    let mut ledger = Ledger::new(0);
    let grant = ledger.grant(1_000, until(NOW_MS + 100));
    ledger.hold("h", 600);
    ledger.run(NOW_MS + 100, |_, _| Ok(())).unwrap();
    assert_eq!(ledger.balance(), (0, 600), "what was left of it is gone, what is held stays");
    assert_eq!(ledger.account().grants.next_expiry_ms(), None, "nothing is left to expire");
    let ended = ledger.settle("h", 250, NOW_MS + 200).0;
    assert_eq!((ended.charged, ended.available), (Micro(250), Micro::ZERO), "the rest left at once");
    assert_eq!((ledger.balance(), ledger.grants()), ((0, 0), vec![]));
    let entries = ledger.entries();
    let expired: Vec<_> = entries
        .iter()
        .filter(|entry| entry.kind == Kind::Expire)
        .map(|entry| entry.books.expired.0)
        .collect();
    assert_eq!(expired, [400, 350]);
    assert!(entries.iter().skip(1).all(|entry| entry.grants.iter().all(|part| part.0 == grant)));
    assert_eq!(ledger.verify().problems, Vec::<String>::new());
}

#[test]
fn released_and_expired_holds_give_nothing_back_to_a_grant_that_is_over() {
    for released in [true, false] {
        let mut ledger = Ledger::new(0);
        ledger.grant(1_000, until(NOW_MS + 100));
        ledger.hold("h", 600);
        if released {
            assert_eq!(ledger.release("h", NOW_MS + 100).0.available, Micro::ZERO);
        } else {
            assert_eq!(ledger.expire(NOW_MS + TTL_MS).len(), 1);
        }
        assert_eq!((ledger.balance(), ledger.account().granted), ((0, 0), Micro::ZERO));
    }
}

#[test]
fn live_grants_are_limited() {
    let mut ledger = Ledger::new(0);
    for n in 0..i64::from(GRANTS_LIVE_MAX) {
        ledger.grant(100, until(NOW_MS + 100 + n));
    }
    let more = |ledger: &mut Ledger, now_ms| {
        ledger.adjust(Adjustment::Grant(Micro(100), until(NOW_MS + 9_000)), now_ms).map(|_| ())
    };
    let full = Err(Refusal::TooManyGrants { limit: GRANTS_LIVE_MAX });
    assert_eq!(more(&mut ledger, NOW_MS), full);
    let positive = ledger.adjust(Adjustment::Delta(Micro(1)), NOW_MS).map(|_| ());
    assert_eq!(positive, full, "credit of another kind needs a place too");
    ledger.adjust(Adjustment::Delta(Micro(-1)), NOW_MS).unwrap();
    assert_eq!(more(&mut ledger, NOW_MS + 100), Ok(()), "one is over");
    assert_eq!(ledger.grants().len(), 64);
}

#[test]
fn terms_have_bounds() {
    let mut ledger = Ledger::new(0);
    let mut give = |amount, terms| {
        ledger
            .adjust(Adjustment::Grant(Micro(amount), terms), NOW_MS)
            .map(|adjusted| adjusted.account.available.0)
    };
    for (terms, field) in [
        (terms(Paid, -1, None), "priority"),
        (terms(Paid, PRIORITY_MAX + 1, None), "priority"),
        (until(NOW_MS), "expires_at"),
        (until(NOW_MS - 1), "expires_at"),
    ] {
        let refused = give(5, terms);
        assert!(
            matches!(&refused, Err(Refusal::InvalidSetting { field: by, .. }) if by == field),
            "{refused:?}"
        );
    }
    assert_eq!(give(0, GrantTerms::default()), Err(Refusal::InvalidAmount));
    assert_eq!(give(-5, GrantTerms::default()), Err(Refusal::InvalidAmount));
    assert_eq!(give(Micro::MAX.0 + 1, GrantTerms::default()), Err(Refusal::InvalidAmount));
    assert_eq!(give(5, terms(Paid, 0, None)), Ok(5));
    assert_eq!(give(5, terms(Paid, PRIORITY_MAX, Some(NOW_MS + 1))), Ok(10));
}

#[test]
fn grants_that_do_not_add_up_are_broken() {
    let broken = |grants: &str| {
        let mut ledger = Ledger::new(1_000);
        ledger.tamper(&format!("UPDATE account SET grants = '{grants}'"));
        matches!(Account::load(&mut ledger.sql), Err(Refusal::Broken { .. }))
    };
    let grant = |left: i64, held: i64| {
        format!(
            r#"{{"id":1,"kind":"paid","priority":100,"expires_at_ms":null,"left_micro":{left},"held_micro":{held}}}"#
        )
    };
    assert!(!broken(&format!("[{}]", grant(1_000, 0))));
    assert!(broken("[]"));
    assert!(broken(&format!("[{}]", grant(999, 1))), "sums by what is left and what is held");
    assert!(broken(&format!("[{},{}]", grant(1_100, 0), grant(-100, 0))));
    assert!(broken(&format!("[{},{}]", grant(1_000, 100), grant(0, -100))));
    assert!(!broken(r#"{"not":"a list"}"#), "what cannot be read may be of a newer version");
}

#[test]
fn a_hold_of_a_grant_that_is_not_there_is_broken() {
    for parts in ["[[77, 600]]", "[[1, 601]]"] {
        let mut ledger = Ledger::new(1_000);
        ledger.hold("h", 600);
        ledger.tamper(&format!("UPDATE holds SET parts = '{parts}'"));
        let refused = ledger.run(NOW_MS, |sql, account| release(sql, account, "h", NOW_MS));
        assert!(matches!(refused, Err(Refusal::Broken { .. })), "{refused:?}");
        assert_eq!(ledger.balance(), (400, 600), "nothing changed");
    }
}

#[test]
fn grants_alike_in_everything_are_one() {
    let mut ledger = Ledger::new(0);
    let first = ledger.grant(500, until(NOW_MS + 50));
    for _ in 0..GRANTS_LIVE_MAX {
        ledger.grant(1, until(NOW_MS + 50));
    }
    assert_eq!(ledger.grants(), [(first, 500 + i64::from(GRANTS_LIVE_MAX), 0)]);
    let later = ledger.grant(7, until(NOW_MS + 51));
    assert_eq!(ledger.grants()[1..], [(later, 7, 0)], "another expiry");
    assert_eq!(ledger.verify().problems, Vec::<String>::new());
    ledger.run(NOW_MS + 50, |_, _| Ok(())).unwrap();
    assert_eq!(ledger.grants(), [(later, 7, 0)]);
    assert_eq!(ledger.verify().problems, Vec::<String>::new());
}
