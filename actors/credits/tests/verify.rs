//! The tenant's own audit finds what was changed behind the rules' back.

use super::caps::{cap, of};
use super::*;
use crate::credits::caps::Cap;

/// A ledger with something of everything, and a cap that counts its open holds.
fn lived_in() -> (Ledger, Vec<Cap>) {
    let mut ledger = Ledger::new(10_000);
    ledger.grant(500, until(NOW_MS + 50));
    ledger.adjust(Adjustment::Delta(Micro(-300)), NOW_MS).unwrap();
    let owner = Owner { api_key: Some("k".to_owned()), ..Owner::default() };
    for id in ["settled", "partly", "open"] {
        ledger.admit_as(id, 1_000, &owner, NOW_MS).unwrap();
    }
    ledger.settle("settled", 600, NOW_MS);
    ledger.progress("partly", total(250), &tokens(1, 2), NOW_MS).unwrap().unwrap();
    ledger.run(NOW_MS + 50, |_, _| Ok(())).unwrap();
    record_client(&mut ledger.sql, "mine", &Usage::default(), Some(Micro(9)), NOW_MS).unwrap();
    let cap = cap(of("k"), 5_000, 850, 1_750);
    assert_eq!(found(&mut ledger, std::slice::from_ref(&cap)), Vec::<String>::new());
    (ledger, vec![cap])
}

fn found(ledger: &mut Ledger, caps: &[Cap]) -> Vec<String> {
    verify(&mut ledger.sql, GENESIS, 0, VERIFY_ENTRIES_MAX, caps).unwrap().problems
}

#[test]
fn a_change_of_any_column_of_any_entry_is_found() {
    let (mut ledger, _) = lived_in();
    let columns = [
        "seq = seq + 100",
        "at_ms = at_ms + 1",
        "kind = CASE kind WHEN 'set' THEN 'delta' ELSE 'set' END",
        "owned_micro = owned_micro + 1",
        "issued_micro = issued_micro + 1",
        "charged_micro = charged_micro + 1",
        "expired_micro = expired_micro + 1",
        "owned_micro = owned_micro + 1, issued_micro = issued_micro - 1",
        "charged_micro = charged_micro + 1, expired_micro = expired_micro - 1",
        "available_micro = available_micro + 1",
        "held_micro = held_micro + 1",
        "available_micro = available_micro + 1, held_micro = held_micro - 1",
        "shortfall_micro = shortfall_micro + 1",
        "operation = operation || 'x'",
        "reason = COALESCE(reason, '') || 'x'",
        "reference = COALESCE(reference, '') || 'x'",
        "grants = '[[1,2]]'",
        r#"terms = '{"kind":"paid","priority":1,"expires_at_ms":null}'"#,
        "hash = replace(replace(hash, 'a', 'b'), '1', '2') || '0'",
    ];
    let declared = ledger.number("SELECT COUNT(*) FROM pragma_table_info('entries')");
    let mut named: Vec<_> = columns.iter().filter_map(|change| change.split(' ').next()).collect();
    named.sort_unstable();
    named.dedup();
    assert_eq!(i64::try_from(named.len()).unwrap(), declared, "each column");
    for seq in ledger.entries().into_iter().map(|entry| entry.seq) {
        for change in columns {
            let (mut ledger, caps) = lived_in();
            ledger.tamper(&format!("UPDATE entries SET {change} WHERE seq = {seq}"));
            assert!(!found(&mut ledger, &caps).is_empty(), "{change} of {seq}");
        }
        let (mut ledger, caps) = lived_in();
        ledger.tamper(&format!("DELETE FROM entries WHERE seq = {seq}"));
        assert!(!found(&mut ledger, &caps).is_empty(), "{seq} deleted");
    }
}

#[test]
fn a_change_of_the_account_its_holds_or_its_usage_is_found() {
    let mut unseen = Vec::new();
    for change in [
        "UPDATE account SET available_micro = available_micro + 1",
        "UPDATE account SET available_micro = available_micro + 1, granted_micro = granted_micro + 1",
        "UPDATE account SET granted_micro = granted_micro + 1, settled_micro = settled_micro + 1",
        "UPDATE account SET available_micro = available_micro - 1, held_micro = held_micro + 1",
        "UPDATE account SET head = 'x'",
        "UPDATE account SET holds_open = holds_open + 1",
        "UPDATE account SET next_seq = 2",
        "UPDATE account SET grants = '[]'",
        "UPDATE account SET grants = replace(grants, '1750', '1749')",
        "DELETE FROM account",
        "UPDATE holds SET state = 'released' WHERE id = 'open'",
        "UPDATE holds SET state = 'open' WHERE id = 'settled'",
        "UPDATE holds SET parts = '[[1,999]]' WHERE id = 'open'",
        "UPDATE holds SET parts = '[[2,1000]]' WHERE id = 'open'",
        "UPDATE holds SET charged_micro = charged_micro + 1 WHERE id = 'partly'",
        "UPDATE holds SET amount_micro = amount_micro + 1 WHERE id = 'open'",
        "UPDATE holds SET owner = '{\"route\":\"\",\"api_key\":\"other\"}' WHERE id = 'open'",
        "DELETE FROM holds WHERE id = 'open'",
        "UPDATE usage_events SET cost_micro = cost_micro + 1 WHERE by_client = 0",
        "UPDATE usage_events SET by_client = 1",
        "UPDATE usage_events SET by_client = 0",
        "DELETE FROM usage_events WHERE by_client = 0",
    ] {
        let (mut ledger, caps) = lived_in();
        ledger.tamper(change);
        if found(&mut ledger, &caps).is_empty() {
            unseen.push(change);
        }
    }
    assert_eq!(unseen, Vec::<&str>::new());
}

#[test]
fn an_amount_beyond_all_bounds_is_found_and_a_row_of_another_shape_is_not_read() {
    let (mut ledger, caps) = lived_in();
    ledger.tamper("UPDATE holds SET charged_micro = 2000000000000000 WHERE id = 'open'");
    assert_eq!(found(&mut ledger, &caps).len(), 1);
    for change in ["UPDATE holds SET parts = '{}' WHERE id = 'open'", "UPDATE account SET grants = '{}'"] {
        let (mut ledger, caps) = lived_in();
        ledger.tamper(change);
        let refused = verify(&mut ledger.sql, GENESIS, 0, VERIFY_ENTRIES_MAX, &caps);
        assert!(matches!(refused, Err(Refusal::Storage { .. })), "{change}: it may be of a newer version");
    }
}

#[test]
fn a_balance_that_does_not_follow_from_the_posting_is_named() {
    for change in [
        "available_micro = available_micro + 1",
        "held_micro = held_micro + 1",
        "owned_micro = owned_micro + 1",
        // Beyond the bounds of money, both the balance and what it should be.
        "available_micro = 2000000000000000, owned_micro = 2000000000000000",
    ] {
        let (mut ledger, caps) = lived_in();
        ledger.tamper(&format!("UPDATE entries SET {change} WHERE seq = 3"));
        let problems = found(&mut ledger, &caps);
        assert!(
            problems.iter().any(|problem| problem.starts_with("entry 3: the balance")),
            "{change}: {problems:?}"
        );
    }
}

#[test]
fn a_cap_that_counts_other_holds_than_are_open_is_found() {
    let (mut ledger, caps) = lived_in();
    let miscounted = Cap { held: Micro(1_749), ..caps[0].clone() };
    assert_eq!(found(&mut ledger, &[miscounted]).len(), 1);
    let of_another = cap(of("other"), 5_000, 0, 0);
    assert_eq!(found(&mut ledger, &[of_another]), Vec::<String>::new());
}

#[test]
fn a_ledger_of_another_tenant_is_found() {
    let (mut ledger, caps) = lived_in();
    let other = verify(&mut ledger.sql, "another genesis", 0, VERIFY_ENTRIES_MAX, &caps).unwrap();
    assert_eq!(other.problems.len(), 1);
}

#[test]
fn a_long_ledger_is_walked_in_several_calls() {
    let (mut ledger, caps) = lived_in();
    let whole = verify(&mut ledger.sql, GENESIS, 0, VERIFY_ENTRIES_MAX, &caps).unwrap();
    let entries = ledger.entries();
    let expected = Verified {
        entries: i64::try_from(entries.len()).unwrap(),
        last_seq: entries.last().unwrap().seq,
        last_hash: ledger.account().head,
        complete: true,
        problems: Vec::new(),
    };
    assert_eq!(whole, expected);
    for limit in [0, 1, 2, 4] {
        let (mut from, mut walked) = (0, 0);
        loop {
            let part = verify(&mut ledger.sql, GENESIS, from, limit, &caps).unwrap();
            assert!(part.entries <= i64::from(limit.max(1)) && part.problems.is_empty());
            (walked, from) = (walked + part.entries, part.last_seq);
            if part.complete {
                assert_eq!(
                    (walked, part.last_seq, part.last_hash),
                    (whole.entries, whole.last_seq, whole.last_hash.clone())
                );
                break;
            }
            let last = entry_at(&mut ledger.sql, part.last_seq).unwrap();
            assert_eq!(part.last_hash, last.hash);
        }
    }
    assert_eq!(verify(&mut ledger.sql, GENESIS, 77, 10, &caps), Err(Refusal::UnknownEntry));
    // Only the call that comes to the end compares the account.
    ledger.tamper("UPDATE account SET head = 'x'");
    let part = verify(&mut ledger.sql, GENESIS, 0, 2, &caps).unwrap();
    assert_eq!((part.complete, part.problems), (false, Vec::new()));
}

#[test]
fn each_problem_is_named_and_the_list_is_bounded() {
    let (mut ledger, caps) = lived_in();
    ledger.tamper("UPDATE entries SET issued_micro = issued_micro + 1 WHERE seq = 3");
    let problems = found(&mut ledger, &caps);
    assert!(problems[0].starts_with("entry 3: its hash"), "{problems:?}");
    assert!(problems[1].starts_with("entry 3: its postings"), "{problems:?}");
    for _ in 0..30 {
        ledger.adjust(Adjustment::Delta(Micro(1)), NOW_MS + 60).unwrap();
    }
    ledger.tamper("UPDATE entries SET reason = 'x'");
    assert_eq!(found(&mut ledger, &caps).len(), 20);
}

/// What an intruder would do: everything adds up, but the tenant has other credit than it was given.
#[test]
fn credit_that_moved_to_another_grant_or_changed_its_terms_is_found() {
    let mut unseen = Vec::new();
    for change in [
        // The last grant does not expire.
        "'$[0].left_micro', 300, '$[#-1].left_micro', (grants ->> '$[#-1].left_micro') + 600",
        "'$[0].kind', 'paid'",
        "'$[0].priority', 1",
        "'$[0].expires_at_ms', NULL",
        "'$[0].expires_at_ms', 999999999999",
        "'$[0].id', 2",
    ] {
        let (mut ledger, caps) = lived_in();
        let terms = terms(GrantKind::Promotional, 100, Some(NOW_MS + 9_000));
        ledger.grant(900, terms);
        assert_eq!(found(&mut ledger, &caps), Vec::<String>::new());
        ledger.tamper(&format!("UPDATE account SET grants = json_set(grants, {change})"));
        if found(&mut ledger, &caps).is_empty() {
            unseen.push(change);
        }
    }
    assert_eq!(unseen, Vec::<&str>::new());
}

#[test]
fn a_number_that_is_given_twice_or_left_out_is_found() {
    for change in ["next_seq + 1", "next_seq - 1", "next_seq + 1000"] {
        let (mut ledger, caps) = lived_in();
        ledger.tamper(&format!("UPDATE account SET next_seq = {change}"));
        assert!(!found(&mut ledger, &caps).is_empty(), "{change}");
    }
}

#[test]
fn a_cap_of_the_tenant_that_forgot_what_was_spent_is_found() {
    let (mut ledger, caps) = lived_in();
    let all = cap(super::caps::ALL, 5_000, 850, 1_750);
    let of_period = |spent| Cap { spent: Micro(spent), period_start_ms: 0, ..all.clone() };
    assert_eq!(found(&mut ledger, &[of_period(850)]), Vec::<String>::new());
    assert_eq!(found(&mut ledger, &[of_period(849)]).len(), 1);
    assert_eq!(found(&mut ledger, &[of_period(0)]).len(), 1);
    assert_eq!(found(&mut ledger, &[of_period(851)]).len(), 1, "more than was ever charged");
    let later = Cap { spent: Micro::ZERO, period_start_ms: NOW_MS + 1, ..all };
    assert_eq!(found(&mut ledger, &[later]), Vec::<String>::new(), "charged before its period");
    assert_eq!(found(&mut ledger, &caps), Vec::<String>::new());
}
