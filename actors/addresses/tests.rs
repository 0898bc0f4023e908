use proptest::prelude::*;

use super::*;
use crate::sqlite::Sqlite;

const NOW_MS: i64 = 1_000_000;
const WINDOW_MS: i64 = 60_000;

fn database() -> Sqlite {
    let mut sql = Sqlite::in_memory().unwrap();
    open(&mut sql).unwrap();
    sql
}

fn asked(what: &str, limit: i64, burst: i64) -> Count {
    Count { what: what.to_owned(), allowance: Allowance { limit, window_ms: WINDOW_MS, burst } }
}

fn verdict(sql: &mut Sqlite, asked: &Count, now_ms: i64) -> Verdict {
    sql.transaction(|sql| count(sql, asked, now_ms)).unwrap().verdict
}

fn rows(sql: &mut Sqlite) -> String {
    sql.text("SELECT COUNT(*) FROM meters", &[]).unwrap().unwrap()
}

#[test]
fn each_thing_is_counted_by_itself_and_the_wait_is_true() {
    let mut sql = database();
    let (guests, keys) = (asked("guests", 2, 2), asked("keys", 1, 1));
    assert_eq!(verdict(&mut sql, &guests, NOW_MS), Verdict::Counted);
    assert_eq!(verdict(&mut sql, &guests, NOW_MS), Verdict::Counted);
    let Verdict::Refused { retry_after_ms } = verdict(&mut sql, &guests, NOW_MS) else {
        panic!("a third one was counted")
    };
    assert_eq!(verdict(&mut sql, &keys, NOW_MS), Verdict::Counted);
    assert!((1..=WINDOW_MS).contains(&retry_after_ms), "{retry_after_ms}");
    assert!(matches!(verdict(&mut sql, &guests, NOW_MS + retry_after_ms - 1), Verdict::Refused { .. }));
    assert_eq!(verdict(&mut sql, &guests, NOW_MS + retry_after_ms), Verdict::Counted);
}

#[test]
fn what_is_forgotten_says_nothing_any_more() {
    let mut sql = database();
    let (guests, keys) = (asked("guests", 10, 5), asked("keys", 4, 1));
    let first = count(&mut sql, &guests, NOW_MS).unwrap().wake_by_ms.unwrap();
    let second = count(&mut sql, &keys, NOW_MS).unwrap().wake_by_ms.unwrap();
    assert!(NOW_MS < first && first < second, "{first} {second}");
    assert_eq!(forget(&mut sql, first - 1).unwrap(), Some(first));
    assert_eq!(forget(&mut sql, first).unwrap(), Some(second));
    assert_eq!(rows(&mut sql), "1");
    assert_eq!(forget(&mut sql, second).unwrap(), None);
    assert_eq!(rows(&mut sql), "0");
}

#[test]
fn a_refusal_writes_nothing_and_wakes_nobody() {
    let mut sql = database();
    let never = asked("never", 1, 0);
    let counted = count(&mut sql, &never, NOW_MS).unwrap();
    assert_eq!(
        counted,
        Counted { verdict: Verdict::Refused { retry_after_ms: WINDOW_MS }, wake_by_ms: None }
    );
    assert_eq!(rows(&mut sql), "0");
}

#[test]
fn an_address_has_so_many_meters_and_no_more() {
    let mut sql = database();
    for n in 0..METERS_MAX {
        assert_eq!(verdict(&mut sql, &asked(&n.to_string(), 2, 2), NOW_MS), Verdict::Counted);
    }
    assert!(count(&mut sql, &asked("one more", 2, 2), NOW_MS).is_err());
    assert_eq!(verdict(&mut sql, &asked("0", 2, 2), NOW_MS), Verdict::Counted, "a known one goes on");
}

#[test]
fn a_clock_that_steps_back_forgets_nothing_early() {
    let mut sql = database();
    let guests = asked("guests", 4, 4);
    let first = count(&mut sql, &guests, NOW_MS).unwrap().wake_by_ms.unwrap();
    count(&mut sql, &guests, NOW_MS - 50_000).unwrap();
    assert!(forget(&mut sql, first - 1).unwrap() >= Some(first));
    assert_eq!(rows(&mut sql), "1");
}

proptest! {
    /// Whatever the times, and however often what is quiet is forgotten in between: no window holds more than the
    /// limit.
    #[test]
    fn no_window_holds_more_than_the_limit(
        limit in 1_i64..12,
        share in 1_i64..4,
        steps in prop::collection::vec((0_i64..30_000, any::<bool>()), 1..80),
    ) {
        let mut sql = database();
        let asked = asked("guests", limit, (limit / share).max(1));
        let (mut now_ms, mut counted) = (NOW_MS, Vec::new());
        for (wait_ms, forgets) in steps {
            now_ms += wait_ms;
            if forgets {
                forget(&mut sql, now_ms).unwrap();
            }
            if verdict(&mut sql, &asked, now_ms) == Verdict::Counted {
                counted.push(now_ms);
            }
        }
        for (at, since) in counted.iter().enumerate() {
            let within = counted[at..].iter().take_while(|at_ms| **at_ms < since + WINDOW_MS).count();
            prop_assert!(i64::try_from(within).unwrap() <= limit, "{within} of {limit} in one window");
        }
    }
}
