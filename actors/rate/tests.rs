use proptest::prelude::*;

use super::window::Window;
use super::*;
use crate::sqlite::Sqlite;

fn database() -> Sqlite {
    let mut sql = Sqlite::in_memory().unwrap();
    sql.execute(SCHEMA, &[]).unwrap();
    sql
}

#[test]
fn the_limit_is_admitted_and_then_refused_with_a_true_wait() {
    let mut sql = database();
    for n in 0..5 {
        let left = admit(&mut sql, 5, 10_000 + n).unwrap().unwrap();
        assert_eq!(i64::from(left.remaining), 4 - n);
    }
    let Err(Refusal::RateLimited { retry_after_ms, .. }) = admit(&mut sql, 5, 10_900) else {
        panic!("the sixth request was admitted");
    };
    assert!(admit(&mut sql, 5, 10_900 + retry_after_ms - 1).is_err(), "the wait is no longer than needed");
    assert!(admit(&mut sql, 5, 10_900 + retry_after_ms).is_ok());
}

#[test]
fn zero_switches_the_budget_off() {
    let mut sql = database();
    for _ in 0..100 {
        assert_eq!(admit(&mut sql, 0, 1), Ok(None));
    }
}

#[test]
fn a_clock_that_steps_back_gives_nothing_away() {
    let mut sql = database();
    for _ in 0..3 {
        admit(&mut sql, 3, 500_000).unwrap();
    }
    assert!(admit(&mut sql, 3, 100_000).is_err());
    assert!(admit(&mut sql, 3, 500_500).is_err());
}

/// Steps of the clock, some of them backwards.
fn steps() -> impl Strategy<Value = Vec<i64>> {
    prop::collection::vec(prop_oneof![4 => 0_i64..3_000, 2 => 0_i64..40_000, 1 => -90_000_i64..0], 1..200)
}

proptest! {
    #[test]
    fn no_sliding_minute_holds_more_than_the_limit(limit in 1_u32..8, steps in steps()) {
        let mut window = Window::default();
        let (mut now_ms, mut latest_ms, mut admitted) = (1_000_000_i64, 0_i64, Vec::new());
        for step in steps {
            now_ms += step;
            latest_ms = latest_ms.max(now_ms);
            if let Ok((next, _)) = window.admit(limit, now_ms) {
                window = next;
                // What counts is the real order: the latest time seen, which never steps back.
                admitted.push(latest_ms);
            }
            prop_assert!(window.buckets().len() <= 62);
        }
        for (first, start_ms) in admitted.iter().enumerate() {
            let inside = admitted[first..].iter().filter(|at| **at < start_ms + WINDOW_MS).count();
            prop_assert!(inside <= limit as usize, "{inside} in the minute from {start_ms}");
        }
    }

    #[test]
    fn waiting_as_told_always_succeeds(limit in 1_u32..8, steps in steps()) {
        let mut window = Window::default();
        let mut now_ms = 1_000_000_i64;
        for step in steps {
            now_ms += step;
            match window.admit(limit, now_ms) {
                Ok((next, _)) => window = next,
                Err(wait_ms) => prop_assert!(window.admit(limit, now_ms + wait_ms).is_ok()),
            }
        }
    }
}
