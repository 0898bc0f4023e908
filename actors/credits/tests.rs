use proptest::prelude::*;

use super::*;
use crate::shared::{Micro, Refusal, TenantId};
use crate::sql::Sql;
use crate::sqlite::Sqlite;

const NOW_MS: i64 = 1_000_000;

fn account_with(available: i64) -> Sqlite {
    let mut sql = Sqlite::in_memory().unwrap();
    sql.execute(SCHEMA, &[]).unwrap();
    open(&mut sql, Micro(available), NOW_MS).unwrap();
    sql
}

fn me() -> TenantId {
    TenantId::Email("me@x.io".to_owned())
}

fn balance(sql: &mut Sqlite) -> (i64, i64) {
    let account = Account::load(sql).unwrap();
    (account.available.0, account.held.0)
}

fn hold(sql: &mut Sqlite, id: &str, amount: i64) -> Result<Admitted, Refusal> {
    sql.transaction(|sql| admit(sql, id, Micro(amount), "/api/si/ask", NOW_MS + 1_000, NOW_MS))
}

fn charge(sql: &mut Sqlite, id: &str, amount: i64) -> Result<EndedHold, Refusal> {
    sql.transaction(|sql| settle(sql, id, Micro(amount), &Usage::default(), NOW_MS + 5))
}

#[test]
fn a_hold_is_set_aside_and_the_rest_comes_back() {
    let mut sql = account_with(10_000);
    hold(&mut sql, "h", 6_000).unwrap();
    assert_eq!(balance(&mut sql), (4_000, 6_000));
    let ended = charge(&mut sql, "h", 2_000).unwrap();
    assert_eq!((ended.end, ended.charged, ended.shortfall), (HoldEnd::Settled, Micro(2_000), Micro::ZERO));
    assert_eq!(balance(&mut sql), (8_000, 0));
}

#[test]
fn what_is_not_available_is_not_held() {
    let mut sql = account_with(10_000);
    hold(&mut sql, "a", 6_000).unwrap();
    let refused = hold(&mut sql, "b", 6_000);
    assert!(matches!(refused, Err(Refusal::InsufficientCredits { available: Micro(4_000), .. })));
    assert_eq!(balance(&mut sql), (4_000, 6_000));
}

#[test]
fn a_charge_above_its_hold_is_drawn_from_the_balance_and_the_rest_is_shortfall() {
    let mut sql = account_with(10_000);
    hold(&mut sql, "h", 6_000).unwrap();
    let ended = charge(&mut sql, "h", 13_000).unwrap();
    assert_eq!((ended.charged, ended.shortfall), (Micro(10_000), Micro(3_000)));
    assert_eq!(balance(&mut sql), (0, 0));
    let entry = list_entries(&mut sql, &me(), 1, None).unwrap().items.remove(0);
    assert_eq!((entry.amount_micro, entry.shortfall_micro), (Micro(-10_000), Micro(3_000)));
}

#[test]
fn a_hold_ends_once_whatever_comes_later() {
    let mut sql = account_with(10_000);
    hold(&mut sql, "h", 6_000).unwrap();
    let first = charge(&mut sql, "h", 2_000).unwrap();
    let again = charge(&mut sql, "h", 5_000).unwrap();
    assert!(first.first && !again.first);
    assert_eq!((again.end, again.charged), (first.end, first.charged));
    let released = sql.transaction(|sql| release(sql, "h", NOW_MS)).unwrap();
    assert_eq!((released.end, released.first), (HoldEnd::Settled, false));
    assert_eq!(balance(&mut sql), (8_000, 0));
    assert_eq!(hold(&mut sql, "h", 1_000), Err(Refusal::DuplicateOperation));
    let events = list_usage(&mut sql, &me(), &UsageFilter { limit: 10, ..UsageFilter::default() }).unwrap();
    assert_eq!(events.items.len(), 1);
}

#[test]
fn a_hold_nobody_settles_ends_at_its_deadline_and_the_house_pays() {
    let mut sql = account_with(10_000);
    hold(&mut sql, "h", 6_000).unwrap();
    assert_eq!(due_at_ms(&mut sql).unwrap(), Some(NOW_MS + 1_000));
    assert!(expire_due(&mut sql, NOW_MS + 999).unwrap().is_empty());
    assert_eq!(expire_due(&mut sql, NOW_MS + 1_000).unwrap(), ["h"]);
    assert_eq!(balance(&mut sql), (10_000, 0));
    let late = charge(&mut sql, "h", 2_000).unwrap();
    assert_eq!((late.end, late.charged), (HoldEnd::Expired, Micro::ZERO));
    let again = charge(&mut sql, "h", 2_000).unwrap();
    assert_eq!(again.shortfall, Micro(2_000), "what the house paid");
    let events = list_usage(&mut sql, &me(), &UsageFilter { limit: 10, ..UsageFilter::default() }).unwrap();
    let costs: Vec<_> = events.items.iter().map(|event| event.cost_micro).collect();
    assert_eq!(costs, [Some(Micro::ZERO)], "the work is seen, once, and costs nothing");
    forget_ended(&mut sql, NOW_MS + 1_000 + HOLD_HISTORY_MS).unwrap();
    assert_eq!(charge(&mut sql, "h", 2_000), Err(Refusal::UnknownHold));
}

#[test]
fn a_late_alarm_refuses_nobody() {
    let mut sql = account_with(10_000);
    hold(&mut sql, "h", 10_000).unwrap();
    let later = sql.transaction(|sql| admit(sql, "i", Micro(10_000), "r", NOW_MS + 9_000, NOW_MS + 1_000));
    assert!(later.is_ok(), "{later:?}");
}

#[test]
fn open_holds_are_limited() {
    let mut sql = account_with(10_000_000);
    for n in 0..HOLDS_OPEN_MAX {
        hold(&mut sql, &n.to_string(), 1_000).unwrap();
    }
    assert_eq!(hold(&mut sql, "more", 1_000), Err(Refusal::TooManyHolds { limit: HOLDS_OPEN_MAX }));
    assert_eq!(list_open(&mut sql, 10).unwrap().open, HOLDS_OPEN_MAX);
}

#[test]
fn adjustments_set_and_move_and_stop_at_zero() {
    let mut sql = account_with(0);
    let mut apply = |adjustment| sql.transaction(|sql| adjust(sql, adjustment, "op", Some("test"), NOW_MS));
    assert_eq!(apply(Adjustment::Set(Micro(5_000))).unwrap().account.available, Micro(5_000));
    let below = apply(Adjustment::Delta(Micro(-7_000))).unwrap();
    assert_eq!((below.account.available, below.shortfall), (Micro::ZERO, Micro(2_000)));
    assert_eq!(apply(Adjustment::Set(Micro(-1))), Err(Refusal::InvalidAmount));
    assert_eq!(apply(Adjustment::Set(Micro::MAX)).unwrap().account.available, Micro::MAX);
    assert_eq!(apply(Adjustment::Delta(Micro(1))), Err(Refusal::InvalidAmount));
}

#[test]
fn an_account_changed_behind_our_back_is_broken_and_untouched() {
    let mut sql = account_with(10_000);
    sql.execute("PRAGMA ignore_check_constraints = ON; UPDATE account SET available_micro = 99999;", &[])
        .unwrap();
    assert!(matches!(hold(&mut sql, "h", 1_000), Err(Refusal::Broken { .. })));
}

#[test]
fn the_schema_itself_refuses_a_negative_balance() {
    let mut sql = account_with(10_000);
    let refused = sql.execute("UPDATE account SET available_micro = -1, granted_micro = -1", &[]);
    assert!(matches!(refused, Err(crate::sql::SqlError::Check(_))), "{refused:?}");
}

#[test]
fn the_feed_is_walked_without_gap_or_duplicate() {
    let mut sql = account_with(0);
    for n in 0..25_i64 {
        // Client times may repeat and go back.
        record_client(&mut sql, &format!("e{n}"), &Usage::default(), None, NOW_MS + n % 7).unwrap();
    }
    record_client(&mut sql, "e3", &Usage::default(), None, 5).unwrap();
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let filter = UsageFilter { limit: 4, cursor, since_ms: None };
        let page = list_usage(&mut sql, &me(), &filter).unwrap();
        seen.extend(page.items.into_iter().map(|event| (event.created_at_ms, event.seq)));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    let mut sorted = seen.clone();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    sorted.dedup();
    assert_eq!((seen.len(), &seen), (25, &sorted));
    let since = UsageFilter { limit: 100, cursor: None, since_ms: Some(NOW_MS + 5) };
    assert!(list_usage(&mut sql, &me(), &since).unwrap().items.iter().all(|e| e.created_at_ms >= NOW_MS + 5));
}

#[derive(Debug, Clone)]
enum Step {
    Admit(u8, i64),
    Settle(u8, i64),
    Release(u8),
    Adjust(i64),
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_u8..12, 0_i64..9_000).prop_map(|(id, amount)| Step::Admit(id, amount)),
        (0_u8..12, 0_i64..14_000).prop_map(|(id, amount)| Step::Settle(id, amount)),
        (0_u8..12).prop_map(Step::Release),
        (-9_000_i64..9_000).prop_map(Step::Adjust),
        (0_i64..700).prop_map(Step::Wait),
    ]
}

fn take(sql: &mut Sqlite, step: &Step, now_ms: i64) {
    let outcome = sql.transaction(|sql| match step {
        Step::Admit(id, amount) => {
            admit(sql, &id.to_string(), Micro(*amount), "r", now_ms + 500, now_ms).map(|_| ())
        }
        Step::Settle(id, amount) => {
            settle(sql, &id.to_string(), Micro(*amount), &Usage::default(), now_ms).map(|_| ())
        }
        Step::Release(id) => release(sql, &id.to_string(), now_ms).map(|_| ()),
        Step::Adjust(delta) => adjust(sql, Adjustment::Delta(Micro(*delta)), "op", None, now_ms).map(|_| ()),
        Step::Wait(_) => expire_due(sql, now_ms).map(|_| ()),
    });
    if let Err(refusal) = outcome {
        assert!(!matches!(refusal, Refusal::Broken { .. } | Refusal::Storage { .. }), "{refusal}");
    }
}

fn sum(sql: &mut Sqlite, query: &str) -> i64 {
    sql.text(query, &[]).unwrap().unwrap().parse().unwrap()
}

proptest! {
    #[test]
    fn whatever_happens_the_books_balance(steps in prop::collection::vec(step(), 1..120)) {
        let mut sql = account_with(10_000);
        let mut now_ms = NOW_MS;
        for step in &steps {
            if let Step::Wait(ms) = step {
                now_ms += ms;
            }
            take(&mut sql, step, now_ms);
            // `load` itself checks conservation and signs.
            let account = Account::load(&mut sql).unwrap();
            let open = sum(&mut sql, "SELECT COALESCE(SUM(amount_micro), 0) FROM holds WHERE state = 'open'");
            let entries = sum(&mut sql, "SELECT COALESCE(SUM(amount_micro), 0) FROM entries");
            let usage = sum(&mut sql, "SELECT COALESCE(SUM(cost_micro), 0) FROM usage_events");
            let charged = sum(&mut sql, "SELECT COALESCE(SUM(charged_micro), 0) FROM holds");
            prop_assert_eq!(account.held.0, open, "held is the sum of open holds");
            prop_assert_eq!(entries, account.available.0 + account.held.0, "entries sum to what is owned");
            prop_assert_eq!(usage, account.settled.0, "usage rows explain every charge");
            prop_assert_eq!(charged, account.settled.0);
        }
    }
}
