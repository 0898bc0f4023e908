//! Whatever happens in whatever order, the books balance and the audit finds nothing.

use proptest::prelude::*;

use super::*;
use GrantKind::{Paid, Promotional};

/// Steps between two audits, which read the whole ledger.
const AUDIT_EVERY: usize = 8;

#[derive(Debug, Clone)]
enum Step {
    Admit(u8, i64),
    Progress(u8, i64, i64, i64),
    Settle(u8, i64),
    Release(u8),
    Adjust(i64),
    Set(i64),
    Grant(i64, GrantKind, i64, Option<i64>),
    Report(u8),
    /// Time passes, some of it backwards, and the alarm rings or is late.
    Wait(i64, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![Just(Promotional), Just(Paid)];
    prop_oneof![
        4 => (0_u8..12, 0_i64..9_000).prop_map(|(id, amount)| Step::Admit(id, amount)),
        3 => (0_u8..12, 0_i64..9_000, 0_i64..12_000, -300_i64..900)
            .prop_map(|(id, charge, hold, ms)| Step::Progress(id, charge, hold, ms)),
        4 => (0_u8..12, 0_i64..14_000).prop_map(|(id, amount)| Step::Settle(id, amount)),
        2 => (0_u8..12).prop_map(Step::Release),
        1 => (-9_000_i64..9_000).prop_map(Step::Adjust),
        1 => (0_i64..20_000).prop_map(Step::Set),
        3 => (1_i64..6_000, kind, 0_i64..3, prop::option::of(1_i64..1_500))
            .prop_map(|(amount, kind, priority, ms)| Step::Grant(amount, kind, priority, ms)),
        1 => (0_u8..9).prop_map(Step::Report),
        3 => (-50_i64..700, any::<bool>()).prop_map(|(ms, rings)| Step::Wait(ms, rings)),
    ]
}

fn take(ledger: &mut Ledger, step: &Step, now_ms: i64) {
    let name = |id: &u8| id.to_string();
    let owner = Owner::default();
    let outcome = match step {
        Step::Admit(id, amount) => ledger.run(now_ms, |sql, account| {
            admit(sql, account, &name(id), Micro(*amount), &owner, now_ms + 500, now_ms)
        }),
        Step::Progress(id, charge, hold, ms) => {
            let deadline_ms = now_ms + ms;
            let asked = Progress { charge_total: Micro(*charge), hold_total: Micro(*hold), deadline_ms };
            ledger.progress(&name(id), asked, &tokens(1, *charge), now_ms).map(|_| ())
        }
        Step::Settle(id, amount) => ledger
            .run(now_ms, |sql, account| {
                settle(sql, account, &name(id), Micro(*amount), &Usage::default(), now_ms)
            })
            .map(|_| ()),
        Step::Release(id) => {
            ledger.run(now_ms, |sql, account| release(sql, account, &name(id), now_ms)).map(|_| ())
        }
        Step::Adjust(delta) => ledger.adjust(Adjustment::Delta(Micro(*delta)), now_ms).map(|_| ()),
        Step::Set(balance) => ledger.adjust(Adjustment::Set(Micro(*balance)), now_ms).map(|_| ()),
        Step::Grant(amount, kind, priority, ms) => {
            let terms = terms(*kind, *priority, ms.map(|ms| now_ms + ms));
            ledger.adjust(Adjustment::Grant(Micro(*amount), terms), now_ms).map(|_| ())
        }
        Step::Report(id) => {
            let cost = Some(Micro(5));
            record_client(&mut ledger.sql, &format!("mine{id}"), &Usage::default(), cost, now_ms).map(|_| ())
        }
        Step::Wait(_, rings) => {
            if *rings {
                ledger.expire(now_ms);
            }
            Ok(())
        }
    };
    if let Err(refusal) = outcome {
        assert!(!matches!(refusal, Refusal::Broken { .. } | Refusal::Storage { .. }), "{refusal}");
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_books_balance_and_the_audit_is_green(steps in prop::collection::vec(step(), 1..100)) {
        let mut ledger = Ledger::new(10_000);
        let mut now_ms = NOW_MS;
        for (nth, step) in steps.iter().enumerate() {
            if let Step::Wait(ms, _) = step {
                now_ms += ms;
            }
            take(&mut ledger, step, now_ms);
            // `load` itself checks conservation and signs; the audit compares with holds, entries and usage.
            let account = ledger.account();
            let open: Vec<_> = open_amounts(&mut ledger.sql).unwrap().into_iter().map(|hold| hold.held().unwrap().0).collect();
            prop_assert_eq!(account.held.0, open.iter().sum::<i64>(), "held is the sum of open holds");
            if nth % AUDIT_EVERY == 0 {
                let owned = ledger.number("SELECT COALESCE(SUM(owned_micro), 0) FROM entries");
                prop_assert_eq!(owned, account.available.0 + account.held.0, "entries sum to what is owned");
                let charged = ledger.number("SELECT COALESCE(SUM(charged_micro), 0) FROM holds");
                prop_assert_eq!(charged, account.settled.0);
                prop_assert_eq!(ledger.verify().problems, Vec::<String>::new());
            }
        }
        // When nobody asks any more, every hold ends, and the usage explains every charge.
        ledger.expire(now_ms + 100_000);
        let account = ledger.account();
        let usage = ledger.number("SELECT COALESCE(SUM(cost_micro), 0) FROM usage_events WHERE by_client = 0");
        prop_assert_eq!((account.holds_open, account.held.0, usage), (0, 0, account.settled.0));
        prop_assert_eq!(ledger.verify().problems, Vec::<String>::new());
    }

    #[test]
    fn credit_is_drawn_in_the_order_of_spending(
        grants in prop::collection::vec((1_i64..500, 0_i64..3, prop::option::of(1_i64..4), any::<bool>()), 1..20),
        amount in 0_i64..6_000,
        hold in any::<bool>(),
    ) {
        let mut live = Grants::default();
        for (id, (amount, priority, expires, promotional)) in (1_i64..).zip(grants) {
            let kind = if promotional { Promotional } else { Paid };
            live.add(id, terms(kind, priority, expires), Micro(amount)).unwrap();
        }
        let before: Vec<_> = live.iter().cloned().collect();
        let order = |grant: &Grant| {
            (grant.terms.priority, grant.terms.expires_at_ms.unwrap_or(i64::MAX), grant.terms.kind, grant.id)
        };
        prop_assert!(before.is_sorted_by_key(order));
        let parts = if hold { live.hold(Micro(amount)).unwrap() } else { live.draw(Micro(amount)).unwrap() };
        let there: i64 = before.iter().map(|grant| grant.left.0).sum();
        prop_assert_eq!(parts.iter().map(|part| part.1.0).sum::<i64>(), amount.min(there));
        // All parts but the last are all of their grant, and none was passed over.
        for (nth, (part, grant)) in parts.iter().zip(&before).enumerate() {
            prop_assert_eq!(part.0, grant.id);
            prop_assert!(part.1 == grant.left || nth + 1 == parts.len());
        }
    }
}
