//! The one alarm: it rings for whatever is due first, and is safe early, late and twice.

use super::*;
use crate::credits::{EXPIRED_HISTORY_MS, GrantTerms, HOLD_HISTORY_MS};
use crate::notices::{HISTORY_MS, LEASE_MS, NoticeKind};
use crate::sql::{SqlError, SqlValue};

const MINUTE_MS: i64 = 60_000;

/// The end of the minute that holds `at_ms`.
fn minute_after(at_ms: i64) -> i64 {
    (at_ms / MINUTE_MS + 1) * MINUTE_MS
}

#[test]
fn the_alarm_is_safe_early_late_and_twice() {
    let mut shell = Shell::with_balance(10_000);
    shell.admit(request("h", 6_000), NOW_MS).unwrap();
    let early = shell.ring(NOW_MS - 50);
    assert_eq!(early, Rung { next_at_ms: Some(NOW_MS + TTL_MS), effects: Vec::new() });
    assert_eq!(shell.available(), 4_000);
    let after = shell.ring(NOW_MS + 9_000).next_at_ms.unwrap();
    assert_eq!(after, minute_after(NOW_MS + 9_000 + EXPIRED_HISTORY_MS));
    assert_eq!(shell.ring(NOW_MS + 9_000).next_at_ms, Some(after));
    assert_eq!(shell.available(), 10_000);
    assert_eq!(shell.ring(after).next_at_ms, None);
}

#[test]
fn the_next_thing_due_is_the_first_of_all() {
    let mut shell = Shell::with_balance(10_000);
    let due = |shell: &mut Shell| due_at_ms(&mut shell.sql).unwrap();
    assert_eq!(due(&mut shell), None);
    // Each that follows is due before the ones so far.
    crate::notices::record(&mut shell.sql, NoticeKind::CapSoft, &serde_json::json!({}), false, NOW_MS)
        .unwrap();
    assert_eq!(due(&mut shell), Some(minute_after(NOW_MS + HISTORY_MS)), "to forget a notice");
    shell.run(adjust(Adjustment::Delta(Micro(1)), key("a")), NOW_MS).unwrap();
    assert_eq!(due(&mut shell), Some(minute_after(NOW_MS + KEY_TTL_MS)), "to forget a key");
    shell.admit(request("h", 10), NOW_MS).unwrap();
    let outcome = shell.run(settle("h", 10), NOW_MS).unwrap();
    assert_eq!(wake(&outcome), Some(NOW_MS + HOLD_HISTORY_MS));
    assert_eq!(due(&mut shell), Some(minute_after(NOW_MS + HOLD_HISTORY_MS)), "to forget a hold");
    let terms = GrantTerms { expires_at_ms: Some(NOW_MS + 5_000), ..GrantTerms::default() };
    shell.run(adjust(Adjustment::Grant(Micro(5), terms), None), NOW_MS).unwrap();
    assert_eq!(due(&mut shell), Some(NOW_MS + 5_000), "a grant that ends");
    shell.admit(request("i", 10), NOW_MS).unwrap();
    assert_eq!(due(&mut shell), Some(NOW_MS + TTL_MS), "a hold that expires");
    crate::notices::record(&mut shell.sql, NoticeKind::CapSoft, &serde_json::json!({}), true, NOW_MS + 7)
        .unwrap();
    assert_eq!(due(&mut shell), Some(NOW_MS + 7), "a notice to deliver");
    // Rung for each in turn, it comes to rest.
    shell.set_limits(Settings { webhook: hook("s"), ..Settings::default() }, NOW_MS).unwrap();
    let mut rings = Vec::new();
    let mut next = due(&mut shell);
    while let Some(at_ms) = next {
        let rung = shell.ring(at_ms);
        rings.push((at_ms - NOW_MS, rung.effects.len()));
        next = rung.next_at_ms;
        assert!(next.is_none_or(|next_ms| next_ms > at_ms), "it moves on");
        if rung.effects.len() == 1 {
            next = note_attempt(&mut shell.sql, 2, 1, true, "200", at_ms).unwrap();
        }
    }
    let minutes = |at_ms: i64| minute_after(NOW_MS + at_ms) - NOW_MS;
    let expected = [
        (7, 1),
        (TTL_MS, 0),
        (5_000, 0),
        (minutes(HOLD_HISTORY_MS), 0),
        (minutes(KEY_TTL_MS), 0),
        (minutes(TTL_MS + EXPIRED_HISTORY_MS), 0),
        (minutes(HISTORY_MS), 0),
    ];
    assert_eq!(rings, expected);
    assert_eq!((shell.available(), shell.notices().len()), (9_991, 0));
    assert_eq!(shell.verified().0.problems, Vec::<String>::new());
}

#[test]
fn a_delivery_nobody_heard_of_is_due_when_its_lease_ends() {
    let mut shell = Shell::with_settings(0, Settings { webhook: hook("s"), ..Settings::default() });
    crate::notices::record(&mut shell.sql, NoticeKind::CapSoft, &serde_json::json!({}), true, NOW_MS)
        .unwrap();
    assert_eq!(shell.ring(NOW_MS).next_at_ms, Some(NOW_MS + LEASE_MS));
    let next = note_attempt(&mut shell.sql, 1, 1, false, "500", NOW_MS + 1).unwrap().unwrap();
    assert!((NOW_MS + 10_001..NOW_MS + LEASE_MS).contains(&next), "tried again after its wait: {next}");
}

#[test]
fn what_is_only_forgotten_waits_for_the_end_of_its_minute() {
    for at_ms in [NOW_MS, NOW_MS + 40_000] {
        let mut shell = Shell::with_balance(10);
        shell.run(adjust(Adjustment::Delta(Micro(1)), key("a")), at_ms).unwrap();
        let due_ms = due_at_ms(&mut shell.sql).unwrap().unwrap();
        assert_eq!(due_ms, minute_after(at_ms + KEY_TTL_MS));
        assert_eq!(shell.ring(due_ms).next_at_ms, None);
    }
}

#[test]
fn how_a_delivery_went_is_not_noted_in_quarantine() {
    let settings = Settings { low_balance: Some(Micro(500)), webhook: hook("s"), ..Settings::default() };
    let mut shell = Shell::with_settings(100, settings);
    assert_eq!(shell.ring(NOW_MS).effects.len(), 1);
    shell.sql.transaction(|sql| quarantine(sql, "looked at")).unwrap();
    let before = shell.notices().remove(0);
    for delivered in [true, false] {
        assert_eq!(note_attempt(&mut shell.sql, 1, 1, delivered, "200", NOW_MS + 1), Ok(None));
        let after = shell.notices().remove(0);
        assert_eq!((after.state, after.next_at_ms), (before.state.clone(), before.next_at_ms));
    }
}

/// Rows written are what the platform counts, and charges for.
#[test]
fn where_nothing_changes_nothing_is_written() {
    let mut shell = Shell::with_settings(1_000, Settings { webhook: hook("s"), ..Settings::default() });
    shell.admit(request("h", 100), NOW_MS).unwrap();
    shell.settle("h", 60, NOW_MS + 1);
    shell.admit(request("open", 100), NOW_MS + 2).unwrap();
    let written = shell.sql.rows_changed();
    shell.ring(NOW_MS + 3);
    assert_eq!(shell.sql.rows_changed(), written, "an early alarm");
    assert!(!shell.settle("h", 60, NOW_MS + 4).first);
    assert!(!shell.release("h", NOW_MS + 4).first);
    assert_eq!(shell.sql.rows_changed(), written, "the end of a hold that had ended");
    shell.settle("open", 100, NOW_MS + 5);
    assert!(shell.sql.rows_changed() > written);
    assert_eq!(shell.verified().0.problems, Vec::<String>::new());
}

#[test]
fn what_waits_for_a_delivery_waits_no_longer_when_there_are_none() {
    let mut shell = Shell::with_settings(0, Settings { webhook: hook("s"), ..Settings::default() });
    crate::notices::record(&mut shell.sql, NoticeKind::CapSoft, &serde_json::json!({}), true, NOW_MS)
        .unwrap();
    assert_eq!(shell.ring(NOW_MS).effects.len(), 1);
    shell.set_limits(Settings::default(), NOW_MS + 1).unwrap();
    assert_eq!(shell.ring(NOW_MS + 1).next_at_ms, Some(minute_after(NOW_MS + HISTORY_MS)));
    let left = shell.notices().remove(0);
    assert_eq!((left.state.as_str(), left.next_at_ms), ("recorded", None));
}

/// A database that remembers what it was asked.
struct Watched<'a> {
    sql: &'a mut Sqlite,
    asked: Vec<String>,
}

impl Sql for Watched<'_> {
    fn execute(&mut self, sql: &str, args: &[SqlValue]) -> Result<(), SqlError> {
        self.asked.push(sql.to_owned());
        self.sql.execute(sql, args)
    }

    fn text(&mut self, sql: &str, args: &[SqlValue]) -> Result<Option<String>, SqlError> {
        self.asked.push(sql.to_owned());
        self.sql.text(sql, args)
    }
}

/// What is asked crosses to the platform, and alarms ring early as often as holds end in time.
#[test]
fn an_alarm_with_nothing_to_do_asks_once_what_is_due_and_nothing_else() {
    let mut shell = Shell::with_settings(1_000, Settings { webhook: hook("s"), ..Settings::default() });
    shell.run(adjust(Adjustment::Delta(Micro(1)), key("a")), NOW_MS).unwrap();
    shell.admit(request("ended", 100), NOW_MS).unwrap();
    shell.settle("ended", 60, NOW_MS + 1);
    shell.admit(request("open", 100), NOW_MS + 1).unwrap();
    crate::notices::record(&mut shell.sql, NoticeKind::CapSoft, &serde_json::json!({}), true, NOW_MS + 9)
        .unwrap();
    let mut watched = Watched { sql: &mut shell.sql, asked: Vec::new() };
    let rung = alarm(&mut watched, &shell.actor, &shell.policy, NOW_MS + 8).unwrap();
    assert_eq!(rung, Rung { next_at_ms: Some(NOW_MS + 9), effects: Vec::new() });
    let asked = watched.asked;
    assert!(asked.iter().all(|asked| asked.starts_with("SELECT ")), "{asked:#?}");
    let of_keys = asked.iter().filter(|asked| asked.contains("FROM idempotency")).count();
    let of_notices = asked.iter().filter(|asked| asked.contains("FROM notices")).count();
    assert_eq!((of_keys, of_notices), (1, 2), "what is due, and whether a notice is old: {asked:#?}");
}
