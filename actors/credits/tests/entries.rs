//! The ledger: every change as postings that sum to zero, with the balance after it, in a chain of hashes.

use super::*;

#[test]
fn adjustments_set_and_move_and_stop_at_zero() {
    let mut ledger = Ledger::new(0);
    let mut apply = |adjustment| ledger.adjust(adjustment, NOW_MS);
    assert_eq!(apply(Adjustment::Set(Micro(5_000))).unwrap().account.available, Micro(5_000));
    let below = apply(Adjustment::Delta(Micro(-7_000))).unwrap();
    assert_eq!((below.account.available, below.shortfall), (Micro::ZERO, Micro(2_000)));
    let same = apply(Adjustment::Set(Micro::ZERO)).unwrap();
    assert_eq!((same.account.live_grants().count(), same.shortfall), (0, Micro::ZERO), "nothing is no grant");
    assert_eq!(apply(Adjustment::Set(Micro(-1))), Err(Refusal::InvalidAmount));
    assert_eq!(apply(Adjustment::Set(Micro(0))).unwrap().account.available, Micro(0));
    assert_eq!(apply(Adjustment::Set(Micro::MAX)).unwrap().account.available, Micro::MAX);
    assert_eq!(apply(Adjustment::Delta(Micro(1))), Err(Refusal::InvalidAmount));
    assert_eq!(
        apply(Adjustment::Grant(Micro(1), GrantTerms::default())).map(|_| ()),
        Err(Refusal::InvalidAmount)
    );
}

#[test]
fn a_correction_that_finds_too_little_says_in_the_ledger_what_was_missing() {
    let mut ledger = Ledger::new(500);
    ledger.adjust(Adjustment::Delta(Micro(-700)), NOW_MS).unwrap();
    ledger.adjust(Adjustment::Set(Micro::ZERO), NOW_MS).unwrap();
    let entries = ledger.entries();
    let shown: Vec<_> = entries.iter().map(|entry| (entry.books.owned.0, entry.shortfall_micro.0)).collect();
    assert_eq!(shown, [(500, 0), (-500, 200), (0, 0)]);
    assert_eq!((entries[2].terms, entries[2].grants.len()), (None, 0));
}

#[test]
fn what_is_held_stays_held_when_the_balance_is_set() {
    let mut ledger = Ledger::new(10_000);
    ledger.hold("h", 6_000);
    ledger.adjust(Adjustment::Set(Micro(500)), NOW_MS).unwrap();
    assert_eq!(ledger.balance(), (500, 6_000));
    // What is owned stays within the bounds of money, held and all.
    assert_eq!(ledger.adjust(Adjustment::Set(Micro::MAX), NOW_MS).map(|_| ()), Err(Refusal::InvalidAmount));
    assert_eq!(ledger.charge("h", 6_500).charged, Micro(6_500));
    assert_eq!(ledger.balance(), (0, 0));
}

#[test]
fn every_kind_of_entry_posts_to_its_books_and_says_the_balance_after_it() {
    let mut ledger = Ledger::new(10_000);
    let promotional =
        GrantTerms { kind: GrantKind::Promotional, priority: 7, expires_at_ms: Some(NOW_MS + 50) };
    ledger.adjust(Adjustment::Grant(Micro(500), promotional), NOW_MS + 1).unwrap();
    ledger.adjust(Adjustment::Delta(Micro(-300)), NOW_MS + 2).unwrap();
    ledger.adjust(Adjustment::Delta(Micro(40)), NOW_MS + 3).unwrap();
    ledger.adjust(Adjustment::Set(Micro(8_000)), NOW_MS + 4).unwrap();
    ledger.admit("h", 1_000, NOW_MS + 5).unwrap();
    ledger.settle("h", 600, NOW_MS + 6);
    let shown: Vec<_> = ledger
        .entries()
        .into_iter()
        .map(|entry| {
            let Books { owned, issued, charged, expired } = entry.books;
            let books = [owned.0, issued.0, charged.0, expired.0];
            (entry.kind, entry.at_ms - NOW_MS, books, entry.available_micro.0, entry.operation, entry.terms)
        })
        .collect();
    let op = || "op".to_owned();
    let default = Some(GrantTerms::default());
    assert_eq!(
        shown,
        [
            (Kind::Grant, 0, [10_000, -10_000, 0, 0], 10_000, "opening".to_owned(), default),
            (Kind::Grant, 1, [500, -500, 0, 0], 10_500, op(), Some(promotional)),
            (Kind::Delta, 2, [-300, 300, 0, 0], 10_200, op(), None),
            (Kind::Delta, 3, [40, -40, 0, 0], 10_240, op(), default),
            (Kind::Set, 4, [-2_240, 2_240, 0, 0], 8_000, op(), None),
            (Kind::Charge, 6, [-600, 0, 600, 0], 7_400, "h".to_owned(), None),
        ]
    );
    let entries = ledger.entries();
    let causes: Vec<_> =
        entries.iter().map(|entry| (entry.reason.as_deref(), entry.reference.as_deref())).collect();
    assert_eq!(causes[0], (Some("opening grant"), None));
    assert_eq!(entries[0].grants, [Part(OPENING_SEQ, Micro(10_000))]);
    assert_eq!(causes[1], (Some("why"), Some("invoice-7")));
    assert_eq!(causes[5], (None, None));
    assert_eq!(ledger.account().head, entries[5].hash);
    assert_eq!(ledger.account().updated_at_ms, NOW_MS + 6);
    assert_eq!(ledger.verify().problems, Vec::<String>::new());
}

#[test]
fn the_balance_after_any_entry_can_be_asked() {
    let mut ledger = Ledger::new(10_000);
    ledger.hold("h", 4_000);
    ledger.adjust(Adjustment::Delta(Micro(-1_000)), NOW_MS).unwrap();
    for entry in ledger.entries() {
        assert_eq!(entry_at(&mut ledger.sql, entry.seq), Ok(entry));
    }
    let entry = entry_at(&mut ledger.sql, 2).unwrap();
    assert_eq!((entry.available_micro, entry.held_micro), (Micro(5_000), Micro(4_000)));
    assert_eq!(entry_at(&mut ledger.sql, 3), Err(Refusal::UnknownEntry));
    assert_eq!(entry_at(&mut ledger.sql, 0), Err(Refusal::UnknownEntry));
}

#[test]
fn the_ledger_is_walked_without_gap_or_duplicate() {
    let mut ledger = Ledger::new(10_000);
    for n in 0..10 {
        ledger.adjust(Adjustment::Delta(Micro(1)), NOW_MS - n).unwrap();
    }
    for limit in [1, 3, 11, 12] {
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let page = list_entries(&mut ledger.sql, &me(), limit, cursor.as_deref()).unwrap();
            seen.extend(page.items.into_iter().map(|entry| entry.seq));
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, (1..=11).rev().collect::<Vec<_>>(), "by {limit}");
    }
    assert_eq!(ledger.account().updated_at_ms, NOW_MS, "the shown time does not step back");
    let forged = list_entries(&mut ledger.sql, &me(), 5, Some("1-1-x"));
    assert_eq!(forged, Err(Refusal::InvalidCursor));
}

#[test]
fn an_account_changed_behind_our_back_is_broken_and_untouched() {
    let mut ledger = Ledger::new(10_000);
    ledger.tamper("UPDATE account SET available_micro = 99999");
    assert!(matches!(ledger.admit("h", 1_000, NOW_MS), Err(Refusal::Broken { .. })));
    ledger.tamper("DELETE FROM account");
    assert!(matches!(ledger.admit("h", 1_000, NOW_MS), Err(Refusal::Broken { .. })));
}

#[test]
fn an_account_that_does_not_balance_is_broken() {
    let terms = GrantTerms::default();
    let grant = |left: i64, held: i64| {
        let mut grants = Grants::default();
        grants.add(1, terms, Micro(left)).unwrap();
        let parts = grants.hold(Micro(held)).unwrap();
        assert_eq!(parts.len(), usize::from(held > 0));
        grants
    };
    let balanced = || Account {
        available: Micro(700),
        held: Micro(300),
        granted: Micro(1_500),
        settled: Micro(500),
        grants: grant(1_000, 300),
        ..unopened(GENESIS, NOW_MS)
    };
    let mut ledger = Ledger::new(0);
    assert_eq!(balanced().store(&mut ledger.sql), Ok(()));
    // The rules see it before the checks of the schema do.
    ledger.tamper("");
    for mut wrong in [
        Account { available: Micro(701), ..balanced() },
        Account { held: Micro(301), ..balanced() },
        Account { granted: Micro(1_501), ..balanced() },
        Account { settled: Micro(501), ..balanced() },
        Account { available: Micro(1_300), held: Micro(-300), ..balanced() },
        Account { available: Micro(-300), held: Micro(1_300), ..balanced() },
        Account { available: Micro::MAX, held: Micro::MAX, ..balanced() },
        Account {
            available: Micro::MAX,
            held: Micro(1),
            granted: Micro::MAX,
            settled: Micro(-1),
            grants: {
                let mut grants = grant(1, 1);
                grants.add(2, terms, Micro::MAX).unwrap();
                grants
            },
            ..balanced()
        },
        Account { grants: grant(1_000, 299), ..balanced() },
        Account { grants: Grants::default(), ..balanced() },
    ] {
        assert!(matches!(wrong.store(&mut ledger.sql), Err(Refusal::Broken { .. })), "{wrong:?}");
    }
    assert_eq!(ledger.account(), balanced());
}

#[test]
fn the_schema_itself_refuses_a_negative_balance() {
    let mut ledger = Ledger::new(10_000);
    let refused = ledger.sql.execute("UPDATE account SET available_micro = -1, granted_micro = -1", &[]);
    assert!(matches!(refused, Err(crate::sql::SqlError::Check(_))), "{refused:?}");
    let unbalanced =
        "INSERT INTO entries SELECT 99, at_ms, kind, owned_micro + 1, issued_micro, charged_micro,
      expired_micro, available_micro, held_micro, 0, operation, NULL, NULL, grants, terms, hash FROM entries";
    assert!(matches!(ledger.sql.execute(unbalanced, &[]), Err(crate::sql::SqlError::Check(_))));
}

#[test]
fn an_account_without_an_opening_grant_is_as_one_never_opened() {
    let mut ledger = Ledger::with_tables();
    let opening = Opening { amount: Micro::ZERO, terms: GrantTerms::default() };
    open(&mut ledger.sql, GENESIS, opening, NOW_MS).unwrap();
    assert_eq!(ledger.account(), unopened(GENESIS, NOW_MS));
    assert_eq!(ledger.entries(), []);
}

#[test]
fn every_operation_has_an_id_of_its_own() {
    let mut ledger = Ledger::new(1_000);
    ledger.grant(500, until(NOW_MS + 50));
    ledger.hold("h", 400);
    // Twice something is left of the grant when its time is over: at once, and when the hold gives back.
    ledger.run(NOW_MS + 50, |_, _| Ok(())).unwrap();
    for charge in [100, 200] {
        ledger.progress("h", total(charge), &Usage::default(), NOW_MS).unwrap().unwrap();
    }
    ledger.settle("h", 300, NOW_MS + 60);
    let ids: Vec<_> = ledger.entries().into_iter().map(|entry| entry.operation).collect();
    let expected =
        ["opening", "op", "expiry-of-2-3", "h-part-4", "h-part-5", "h", "expiry-of-2-8"].map(str::to_owned);
    assert_eq!(ids, expected);
    assert_eq!(ledger.verify().problems, Vec::<String>::new());
}
