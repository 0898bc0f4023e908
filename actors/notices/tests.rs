use serde_json::json;

use super::*;
use crate::sqlite::Sqlite;

const NOW_MS: i64 = 1_000_000;

fn database() -> Sqlite {
    let mut sql = Sqlite::in_memory().unwrap();
    sql.execute(&format!("{}{SCHEMA}", crate::credits::SCHEMA), &[]).unwrap();
    sql
}

fn due_at_ms(sql: &mut Sqlite) -> Result<Option<i64>, Refusal> {
    row(sql, DUE_AT_MS, &[])
}

fn me() -> TenantId {
    TenantId::Email("me@x.io".to_owned())
}

fn hook() -> Webhook {
    Webhook { url: "https://owner.example/hook".to_owned(), secret: "whsec_x".to_owned() }
}

fn take(sql: &mut Sqlite, now_ms: i64) -> Vec<Delivery> {
    take_due(sql, &me(), Some(&hook()), now_ms).unwrap()
}

fn only(sql: &mut Sqlite) -> Notice {
    let mut page = list(sql, &me(), 10, None).unwrap();
    assert_eq!(page.items.len(), 1);
    page.items.remove(0)
}

fn logged(notice: &Notice) -> Vec<(u32, i64, &str)> {
    notice.attempt_log.iter().map(|made| (made.attempt, made.at_ms, made.outcome.as_str())).collect()
}

#[test]
fn a_notice_is_tried_until_it_is_delivered() {
    let mut sql = database();
    record(&mut sql, NoticeKind::BalanceLow, &json!({"balance": 1}), true, NOW_MS).unwrap();
    assert_eq!(due_at_ms(&mut sql).unwrap(), Some(NOW_MS));
    let first = take(&mut sql, NOW_MS).remove(0);
    let sent: Value = serde_json::from_str(&first.body).unwrap();
    assert_eq!((&sent["type"], &sent["data"]), (&json!("balance.low"), &json!({"balance": 1})));
    assert_eq!((&sent["id"], &sent["timestamp_ms"]), (&json!(first.id), &json!(NOW_MS)));
    assert!(take(&mut sql, NOW_MS + LEASE_MS - 1).is_empty(), "leased");
    note_attempt(&mut sql, first.seq, 1, false, "503", NOW_MS + 5).unwrap();
    let due_ms = due_at_ms(&mut sql).unwrap().unwrap();
    let wait_ms = due_ms - NOW_MS - 5;
    assert!((WAIT_FIRST_MS..WAIT_FIRST_MS * 5 / 4).contains(&wait_ms), "{wait_ms}");
    let second = take(&mut sql, due_ms).remove(0);
    assert_eq!((second.attempt, &second.id), (2, &first.id));
    note_attempt(&mut sql, second.seq, 2, true, "204", due_ms).unwrap();
    let notice = only(&mut sql);
    assert_eq!(
        (notice.state.as_str(), notice.attempts, notice.delivered_at_ms),
        ("delivered", 2, Some(due_ms))
    );
    assert_eq!(logged(&notice), [(1, NOW_MS + 5, "503"), (2, due_ms, "204")], "one line an attempt");
    assert_eq!(due_at_ms(&mut sql).unwrap(), None);
}

#[test]
fn an_attempt_nobody_heard_of_is_made_again_and_its_late_report_is_harmless() {
    let mut sql = database();
    record(&mut sql, NoticeKind::CapSoft, &json!({}), true, NOW_MS).unwrap();
    let seq = take(&mut sql, NOW_MS).remove(0).seq;
    assert_eq!(take(&mut sql, NOW_MS + LEASE_MS).remove(0).attempt, 2);
    note_attempt(&mut sql, seq, 1, false, "timeout", NOW_MS + LEASE_MS).unwrap();
    assert_eq!(
        due_at_ms(&mut sql).unwrap(),
        Some(NOW_MS + 2 * LEASE_MS),
        "the second attempt's lease stands"
    );
    note_attempt(&mut sql, seq, 1, true, "200", NOW_MS + LEASE_MS + 1).unwrap();
    note_attempt(&mut sql, seq, 2, false, "500", NOW_MS + LEASE_MS + 2).unwrap();
    let notice = only(&mut sql);
    assert_eq!(notice.state, "delivered");
    assert_eq!(
        logged(&notice),
        [(1, NOW_MS + LEASE_MS + 1, "200")],
        "what came too late to matter is no line"
    );
}

#[test]
fn attempts_end_and_waits_are_bounded() {
    let mut sql = database();
    record(&mut sql, NoticeKind::TopUpRequested, &json!({}), true, NOW_MS).unwrap();
    let mut now_ms = NOW_MS;
    for attempt in 1..=ATTEMPTS_MAX {
        assert_eq!(take(&mut sql, now_ms).remove(0).attempt, attempt);
        note_attempt(&mut sql, 1, attempt, false, "refused", now_ms).unwrap();
        match due_at_ms(&mut sql).unwrap() {
            Some(due_ms) => {
                assert!(due_ms - now_ms <= WAIT_MAX_MS * 5 / 4);
                now_ms = due_ms;
            }
            None => assert_eq!(attempt, ATTEMPTS_MAX),
        }
    }
    let notice = only(&mut sql);
    assert_eq!((notice.state.as_str(), notice.attempt_log.len()), ("failed", ATTEMPTS_MAX as usize));
    let hours = (now_ms - NOW_MS) / 3_600_000;
    assert!((20..30).contains(&hours), "the attempts span about a day: {hours} h");
}

#[test]
fn attempts_end_also_when_nobody_reports_them() {
    let mut sql = database();
    record(&mut sql, NoticeKind::BalanceLow, &json!({}), true, NOW_MS).unwrap();
    let mut now_ms = NOW_MS;
    for attempt in 1..=ATTEMPTS_MAX {
        assert_eq!(take(&mut sql, now_ms).remove(0).attempt, attempt);
        now_ms += LEASE_MS;
    }
    assert!(take(&mut sql, now_ms - 1).is_empty());
    assert_eq!(only(&mut sql).state, "pending", "the last one may still be reported");
    assert!(take(&mut sql, now_ms).is_empty());
    let notice = only(&mut sql);
    assert_eq!((notice.state.as_str(), notice.attempts, notice.next_at_ms), ("failed", ATTEMPTS_MAX, None));
    note_attempt(&mut sql, 1, ATTEMPTS_MAX, true, "200", now_ms).unwrap();
    assert_eq!(only(&mut sql).state, "delivered", "a late report of success counts");
}

#[test]
fn without_a_webhook_notices_are_only_recorded() {
    let mut sql = database();
    record(&mut sql, NoticeKind::CapReached, &json!({}), false, NOW_MS).unwrap();
    assert_eq!(only(&mut sql).state, "recorded");
    record(&mut sql, NoticeKind::CapReached, &json!({}), true, NOW_MS).unwrap();
    assert!(take_due(&mut sql, &me(), None, NOW_MS).unwrap().is_empty());
    assert_eq!(due_at_ms(&mut sql).unwrap(), None, "the webhook was taken away");
}

#[test]
fn few_are_under_way_at_once_and_old_ones_are_forgotten() {
    let mut sql = database();
    for n in 0..10 {
        record(&mut sql, NoticeKind::CapSoft, &json!({"n": n}), true, NOW_MS + n).unwrap();
    }
    assert_eq!(take(&mut sql, NOW_MS + 100).len(), DELIVERIES_MAX as usize);
    let page = list(&mut sql, &me(), 6, None).unwrap();
    let rest = list(&mut sql, &me(), 6, page.next_cursor.as_deref()).unwrap();
    let seqs: Vec<_> = page.items.iter().chain(&rest.items).map(|notice| notice.seq).collect();
    assert_eq!(seqs, [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(row(&mut sql, OLDEST_AT_MS, &[]).unwrap(), Some(NOW_MS));
    assert_eq!(any_old(&mut sql, NOW_MS + HISTORY_MS - 1), Ok(false));
    assert_eq!(any_old(&mut sql, NOW_MS + HISTORY_MS), Ok(true));
    forget_old(&mut sql, NOW_MS + 4 + HISTORY_MS).unwrap();
    assert_eq!(list(&mut sql, &me(), 10, None).unwrap().items.len(), 5);
}

#[test]
fn waits_are_doubled_and_spread_by_up_to_a_quarter() {
    for (attempt, wait) in [(1, 10_000), (2, 20_000), (3, 40_000), (11, 10_240_000), (13, WAIT_MAX_MS)] {
        let waits: Vec<_> = (0..400).map(|seq| wait_ms(seq, attempt)).collect();
        let (min, max) = (*waits.iter().min().unwrap(), *waits.iter().max().unwrap());
        assert!(min >= wait && min < wait + wait / 40, "{min} for {wait}");
        assert!(max < wait + wait / 4 && max > wait + wait / 5, "{max} for {wait}");
    }
    assert_eq!(wait_ms(7, 60), wait_ms(7, 60), "always the same");
    assert!(wait_ms(7, u32::MAX) < WAIT_MAX_MS * 5 / 4);
    assert_ne!(wait_ms(7, 13) % 1_000, wait_ms(7, 14) % 1_000, "attempts are spread too");
}

#[test]
fn a_delivery_says_whose_it_is_and_tells_amounts_in_credits_too() {
    let mut sql = database();
    let body = json!({"balance_micro": 993_900, "soft_micro": null, "cap": "day"});
    record(&mut sql, NoticeKind::CapSoft, &body, true, NOW_MS).unwrap();
    let sent: Value = serde_json::from_str(&take(&mut sql, NOW_MS).remove(0).body).unwrap();
    assert_eq!(sent["email"], json!("me@x.io"));
    let told = json!({"balance": 0.993, "balance_micro": 993_900, "soft_micro": null, "cap": "day"});
    assert_eq!(sent["data"], told);
    let listed: Value = serde_json::from_str(only(&mut sql).body.get()).unwrap();
    assert_eq!(listed, told, "the log tells the same");
}
