use proptest::prelude::*;

use super::*;
use crate::shared::{DAY_MS, Micro, Refusal};

const NOW_MS: i64 = 1_000_000;

fn five() -> Allowance {
    Allowance { limit: 5, window_ms: MINUTE_MS, burst: 3 }
}

#[test]
fn the_burst_is_admitted_at_once_and_then_one_each_interval() {
    let mut meter = Meter::default();
    for remaining in [2, 1, 0] {
        assert_eq!(meter.admit(five(), 1, NOW_MS).unwrap().remaining, remaining);
    }
    // Three come back in a minute, so that no minute holds more than five.
    assert_eq!(meter.admit(five(), 1, NOW_MS), Err(Denied::After(20_000)));
    assert_eq!(meter.admit(five(), 1, NOW_MS + 19_999), Err(Denied::After(1)));
    let left = meter.admit(five(), 1, NOW_MS + 20_000).unwrap();
    assert_eq!(left, Left { remaining: 0, reset_ms: 60_000 });
}

#[test]
fn what_never_fits_is_told_apart() {
    let mut meter = Meter::default();
    assert_eq!(meter.admit(five(), 4, NOW_MS), Err(Denied::Never));
    assert_eq!(meter.admit(five(), 3, NOW_MS).unwrap().remaining, 0);
}

#[test]
fn a_limit_of_one_is_one_in_any_minute() {
    let one = Allowance { limit: 1, window_ms: MINUTE_MS, burst: 1 };
    let mut meter = Meter::default();
    meter.admit(one, 1, NOW_MS).unwrap();
    assert_eq!(meter.admit(one, 1, NOW_MS), Err(Denied::After(MINUTE_MS)));
    meter.admit(one, 1, NOW_MS + MINUTE_MS).unwrap();
}

#[test]
fn a_clock_that_steps_back_gives_nothing_away() {
    let mut meter = Meter::default();
    meter.admit(five(), 3, NOW_MS).unwrap();
    assert_eq!(meter.admit(five(), 1, NOW_MS - 90_000), Err(Denied::After(110_000)));
    assert_eq!(meter.left(five(), NOW_MS - 90_000).remaining, 0);
}

#[test]
fn what_was_estimated_too_high_comes_back_and_too_low_is_added() {
    let tokens = Allowance { limit: 1_000, window_ms: MINUTE_MS, burst: 500 };
    let mut meter = Meter::default();
    meter.admit(tokens, 500, NOW_MS).unwrap();
    meter.reconcile(tokens, 500, 100, NOW_MS, NOW_MS);
    assert_eq!(meter.left(tokens, NOW_MS).remaining, 400);
    meter.admit(tokens, 400, NOW_MS).unwrap();
    meter.reconcile(tokens, 400, 700, NOW_MS, NOW_MS);
    assert_eq!(meter.left(tokens, NOW_MS), Left { remaining: 0, reset_ms: 95_809 });
}

#[test]
fn what_has_leaked_does_not_come_back() {
    let tokens = Allowance { limit: 1_000, window_ms: MINUTE_MS, burst: 500 };
    let mut meter = Meter::default();
    meter.admit(tokens, 500, NOW_MS).unwrap();
    // All of it has leaked when the next comes; giving back the first would make room twice.
    let later = NOW_MS + MINUTE_MS;
    meter.admit(tokens, 500, later).unwrap();
    meter.reconcile(tokens, 500, 0, NOW_MS, later);
    assert_eq!(meter.left(tokens, later).remaining, 0);
}

#[test]
fn what_is_added_late_costs_one_window_at_most() {
    let credits = Allowance { limit: 1_000, window_ms: DAY_MS, burst: 500 };
    let mut meter = Meter::default();
    meter.admit(credits, 500, NOW_MS).unwrap();
    meter.reconcile(credits, 500, 40_000, NOW_MS, NOW_MS);
    meter.reconcile(credits, 0, i64::MAX, NOW_MS, NOW_MS);
    // A day until the level is down to the burst, and as much as a full burst needs after that.
    assert_eq!(meter.left(credits, NOW_MS + DAY_MS).remaining, 0);
    assert!(meter.left(credits, NOW_MS).reset_ms <= 2 * DAY_MS, "{:?}", meter.left(credits, NOW_MS));
    let Err(Denied::After(wait_ms)) = meter.admit(credits, 1, NOW_MS) else { panic!("the day is used up") };
    assert!((DAY_MS..DAY_MS + DAY_MS / 400).contains(&wait_ms), "{wait_ms}");
    meter.admit(credits, 1, NOW_MS + wait_ms).unwrap();
}

#[test]
fn a_smaller_limit_does_not_lock_out_for_what_a_larger_one_counted() {
    let large = Allowance { limit: 1_000_000, window_ms: DAY_MS, burst: 500_000 };
    let small = Allowance { limit: 1_000, window_ms: DAY_MS, burst: 500 };
    let mut meter = Meter::default();
    meter.admit(large, 500_000, NOW_MS).unwrap();
    assert!(matches!(meter.admit(small, 500, NOW_MS), Err(Denied::After(ms)) if ms <= 2 * DAY_MS));
}

fn plan() -> Limits {
    Limits {
        requests_per_minute: Some(40),
        tokens_per_minute: Some(1_000),
        credits_per_day: Some(Micro(10_000)),
        in_flight: Some(3),
        ..Limits::default()
    }
}

fn weight(requests: i64, tokens: i64, micro: i64) -> Weight {
    Weight { requests, tokens, micro: Micro(micro) }
}

#[test]
fn all_budgets_are_asked_and_each_refuses_by_its_name() {
    let mut meters = Meters::new();
    let left = admit(&mut meters, &plan(), None, weight(1, 100, 1_000), 0, NOW_MS).unwrap();
    let shown: Vec<_> = left.iter().map(|left| (left.policy.as_str(), left.limit, left.remaining)).collect();
    let expected = [
        ("requests", 40, 9),
        ("tokens", 1_000, 400),
        ("credits-per-day", 10_000, 4_000),
        ("in-flight", 3, 2),
    ];
    assert_eq!(shown, expected);
    for (weight, in_flight, policy) in [
        (weight(10, 1, 1), 0, "requests"),
        (weight(1, 500, 1), 0, "tokens"),
        (weight(1, 1, 5_000), 0, "credits-per-day"),
        (weight(1, 1, 1), 3, "in-flight"),
    ] {
        let refused = admit(&mut meters.clone(), &plan(), None, weight, in_flight, NOW_MS);
        assert!(
            matches!(&refused, Err(Refusal::RateLimited { policy: by, .. }) if by == policy),
            "{policy}: {refused:?}"
        );
    }
    let never = admit(&mut meters, &plan(), None, weight(1, 501, 1), 0, NOW_MS);
    assert_eq!(never, Err(Refusal::ExceedsBudget { policy: "tokens".to_owned(), limit: 500 }));
}

#[test]
fn of_several_refusals_the_longest_wait_is_told() {
    let limits = |requests, tokens| Limits {
        requests_per_minute: Some(requests),
        requests_burst: Some(1),
        tokens_per_minute: Some(tokens),
        tokens_burst: Some(1),
        ..Limits::default()
    };
    // The burst is used up, and each minute gives as many back as the limit says.
    for (limits, by, wait_ms) in [
        (limits(10, 60), "requests", 6_000),
        (limits(60, 10), "tokens", 6_000),
        (limits(20, 20), "requests", 3_000),
    ] {
        let mut meters = Meters::new();
        admit(&mut meters, &limits, None, weight(1, 1, 0), 0, NOW_MS).unwrap();
        let refused = admit(&mut meters, &limits, None, weight(1, 1, 0), 0, NOW_MS);
        let Err(Refusal::RateLimited { policy, window_ms, retry_after_ms, .. }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!((policy.as_str(), window_ms, retry_after_ms), (by, MINUTE_MS, wait_ms));
        admit(&mut meters, &limits, None, weight(1, 1, 0), 0, NOW_MS + wait_ms).unwrap();
    }
}

#[test]
fn a_key_has_meters_of_its_own() {
    let mut meters = Meters::new();
    admit(&mut meters, &plan(), Some("k"), weight(10, 1, 1), 0, NOW_MS).unwrap();
    let refused = admit(&mut meters.clone(), &plan(), Some("k"), weight(1, 1, 1), 0, NOW_MS);
    assert!(matches!(refused, Err(Refusal::RateLimited { policy, .. }) if policy == "requests@k"));
    admit(&mut meters, &plan(), None, weight(10, 1, 1), 0, NOW_MS).unwrap();
}

#[test]
fn zero_and_absent_switch_a_budget_off() {
    let off = Limits { requests_per_minute: Some(0), in_flight: Some(0), ..Limits::default() };
    let mut meters = Meters::new();
    for _ in 0..100 {
        assert_eq!(admit(&mut meters, &off, None, weight(1, 9_999, 9_999), 500, 1), Ok(Vec::new()));
    }
    assert_eq!(left(&meters, &off, None, 500, 1), Vec::new(), "nor are they shown");
}

#[test]
fn limits_of_credits_are_shown_as_credits() {
    for policy in ["credits-per-day", "credits-per-day@k", "cap:c", "cap:requests"] {
        assert_eq!(shown_limit(policy, 10_000), "0.010 credits");
    }
    for policy in ["requests", "tokens@credits-per-day", "in-flight"] {
        assert_eq!(shown_limit(policy, 10_000), "10000");
    }
}

#[test]
fn reconciling_leaves_the_requests() {
    let mut meters = Meters::new();
    let (before, after) = (weight(4, 300, 2_000), weight(0, 100, 500));
    admit(&mut meters, &plan(), None, before, 0, NOW_MS).unwrap();
    reconcile(&mut meters, &plan(), None, before, after, NOW_MS, NOW_MS);
    let left = admit(&mut meters, &plan(), None, weight(1, 0, 0), 0, NOW_MS).unwrap();
    let remaining: Vec<_> = left.iter().map(|left| left.remaining).collect();
    assert_eq!(remaining, [5, 400, 4_500, 2]);
}

#[test]
fn overrides_replace_what_they_name_and_bursts_have_defaults() {
    let over =
        Limits { requests_per_minute: Some(7), tiers: Some(vec!["high".to_owned()]), ..Limits::default() };
    let limits = plan().overridden_by(&over);
    let bursts: Vec<_> = limits.budgets().iter().map(|b| (b.allowance.limit, b.allowance.burst)).collect();
    assert_eq!(bursts, [(7, 2), (1_000, 500), (10_000, 5_000)]);
    assert!(limits.allow_tier("high").is_ok());
    assert_eq!(limits.allow_tier("low"), Err(Refusal::TierNotAllowed { tier: "low".to_owned() }));
    assert!(plan().allow_tier("low").is_ok());
    let wide = Limits { requests_per_minute: Some(7), requests_burst: Some(99), ..Limits::default() };
    assert_eq!(wide.budgets()[0].allowance.burst, 7);
}

#[test]
fn absurd_limits_are_refused() {
    assert_eq!(plan().check(), Ok(()));
    assert_eq!(Limits { tiers: Some(vec![String::new(); TIERS_MAX]), ..plan() }.check(), Ok(()));
    for (limits, field) in [
        (Limits { requests_per_minute: Some(-1), ..plan() }, "requests_per_minute"),
        (Limits { requests_burst: Some(0), ..plan() }, "requests_burst"),
        (Limits { tokens_per_minute: Some(i64::MAX), ..plan() }, "tokens_per_minute"),
        (Limits { tiers: Some(vec![String::new(); TIERS_MAX + 1]), ..plan() }, "tiers"),
    ] {
        let refused = limits.check();
        assert!(
            matches!(&refused, Err(Refusal::InvalidSetting { field: by, .. }) if by == field),
            "{refused:?}"
        );
    }
}

/// Steps of the clock, some of them backwards, and a weight each.
fn steps() -> impl Strategy<Value = Vec<(i64, i64)>> {
    let step = prop_oneof![4 => 0_i64..3_000, 2 => 0_i64..40_000, 1 => -90_000_i64..0];
    prop::collection::vec((step, 1_i64..4), 1..200)
}

fn allowance() -> impl Strategy<Value = Allowance> {
    (1_i64..12, 1_i64..12).prop_map(|(limit, burst)| Allowance {
        limit,
        window_ms: MINUTE_MS,
        burst: burst.min(limit),
    })
}

proptest! {
    #[test]
    fn no_sliding_minute_holds_more_than_the_limit(allowance in allowance(), steps in steps()) {
        let mut meter = Meter::default();
        // What counts is the time that truly passed. A clock that steps back takes none of it.
        let (mut now_ms, mut passed_ms, mut admitted) = (NOW_MS, 0_i64, Vec::new());
        for (step, weight) in steps {
            now_ms += step;
            passed_ms += step.max(0);
            if meter.admit(allowance, weight, now_ms).is_ok() {
                admitted.push((passed_ms, weight));
            }
        }
        for (first, (start_ms, _)) in admitted.iter().enumerate() {
            let inside = admitted[first..].iter().filter(|(at, _)| *at < start_ms + MINUTE_MS);
            let sum: i64 = inside.map(|(_, weight)| weight).sum();
            prop_assert!(sum <= allowance.limit, "{sum} in the minute from {start_ms}");
        }
    }

    #[test]
    fn waiting_as_told_always_succeeds_and_less_never_does(allowance in allowance(), steps in steps()) {
        let mut meter = Meter::default();
        let mut now_ms = NOW_MS;
        for (step, weight) in steps {
            now_ms += step;
            let before = meter;
            match meter.admit(allowance, weight, now_ms) {
                Ok(_) => {}
                Err(Denied::Never) => prop_assert!(weight > allowance.burst),
                Err(Denied::After(wait_ms)) => {
                    prop_assert_eq!(before, meter);
                    prop_assert!(wait_ms > 0);
                    prop_assert!(before.clone().admit(allowance, weight, now_ms + wait_ms).is_ok());
                    prop_assert!(before.clone().admit(allowance, weight, now_ms + wait_ms - 1).is_err());
                }
            }
        }
    }

    /// Weights that turn out larger or smaller: what was admitted, less what came back, stays within the limit, and
    /// nobody waits for more than a window and what a full burst needs.
    #[test]
    fn late_additions_neither_make_room_nor_lock_out(
        burst in 40_i64..200,
        steps in prop::collection::vec((0_i64..30_000, 1_i64..40, 0_i64..1_000, 0_i64..90_000), 1..80),
    ) {
        let allowance = Allowance { limit: 200, window_ms: MINUTE_MS, burst };
        let mut meter = Meter::default();
        let (mut now_ms, mut used, mut open) = (NOW_MS, Vec::new(), Vec::<(i64, i64, i64, i64)>::new());
        for (step, estimated, share, runs_ms) in steps {
            now_ms += step;
            for (_, estimated, actual, at_ms) in open.extract_if(.., |(due_ms, ..)| *due_ms <= now_ms) {
                meter.reconcile(allowance, estimated, actual, at_ms, now_ms);
            }
            match meter.admit(allowance, estimated, now_ms) {
                Ok(_) => {
                    let actual = estimated * share / 100;
                    used.push((now_ms, actual.min(estimated)));
                    open.push((now_ms + runs_ms, estimated, actual, now_ms));
                }
                Err(Denied::After(wait_ms)) => {
                    let units = allowance.limit - burst + 1 + estimated;
                    let most_ms = units * MINUTE_MS / (allowance.limit - burst + 1) + 1;
                    prop_assert!(wait_ms <= most_ms, "{wait_ms} of {most_ms}");
                }
                Err(Denied::Never) => prop_assert!(false),
            }
        }
        for (first, (start_ms, _)) in used.iter().enumerate() {
            let inside = used[first..].iter().filter(|(at, _)| *at < start_ms + MINUTE_MS);
            prop_assert!(inside.map(|(_, weight)| weight).sum::<i64>() <= allowance.limit);
        }
    }

    /// Estimates that are given back late: what was truly used stays within the limit of any window.
    #[test]
    fn reconciled_weights_keep_the_promise(
        steps in prop::collection::vec((0_i64..30_000, 1_i64..100, 0_i64..100, 0_i64..90_000), 1..80),
    ) {
        let allowance = Allowance { limit: 200, window_ms: MINUTE_MS, burst: 100 };
        let mut meter = Meter::default();
        let (mut now_ms, mut used, mut open) = (NOW_MS, Vec::new(), Vec::<(i64, i64, i64, i64)>::new());
        for (step, estimated, share, runs_ms) in steps {
            now_ms += step;
            for (_, estimated, actual, at_ms) in open.extract_if(.., |(due_ms, ..)| *due_ms <= now_ms) {
                meter.reconcile(allowance, estimated, actual, at_ms, now_ms);
            }
            if meter.admit(allowance, estimated, now_ms).is_ok() {
                let actual = estimated * share / 100;
                used.push((now_ms, actual));
                open.push((now_ms + runs_ms, estimated, actual, now_ms));
            }
        }
        for (first, (start_ms, _)) in used.iter().enumerate() {
            let inside = used[first..].iter().filter(|(at, _)| *at < start_ms + MINUTE_MS);
            prop_assert!(inside.map(|(_, weight)| weight).sum::<i64>() <= allowance.limit);
        }
    }
}

#[test]
fn a_refusal_tells_what_is_left_for_lighter_requests() {
    let mut meters = Meters::new();
    admit(&mut meters, &plan(), None, weight(1, 100, 1_000), 0, NOW_MS).unwrap();
    for (weight, in_flight, left) in [
        (weight(10, 1, 1), 0, 9),
        (weight(1, 401, 1), 0, 400),
        (weight(1, 1, 4_001), 0, 4_000),
        (weight(1, 1, 1), 3, 0),
    ] {
        let refused = admit(&mut meters.clone(), &plan(), None, weight, in_flight, NOW_MS);
        let Err(Refusal::RateLimited { remaining, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(remaining, left, "{weight:?}");
    }
    // An older actor does not say.
    let older = r#"{"rate_limited":{"policy":"tokens","limit":5,"window_ms":60000,"retry_after_ms":7}}"#;
    let Refusal::RateLimited { remaining, .. } = serde_json::from_str(older).unwrap() else { panic!() };
    assert_eq!(remaining, 0);
}

#[test]
fn growth_is_held_to_the_burst_of_credits_that_was_set() {
    let limits = Limits { credits_burst: Some(Micro(300)), ..plan() };
    let grown = admit_more(&mut Meters::new(), &limits, None, Micro(301), NOW_MS);
    assert_eq!(grown, Err(Refusal::ExceedsBudget { policy: "credits-per-day".to_owned(), limit: 300 }));
    assert!(admit_more(&mut Meters::new(), &limits, None, Micro(300), NOW_MS).is_ok());
}

#[test]
fn of_two_budgets_the_longer_wait_is_told_and_before_any_wait_what_never_fits() {
    let waits = |policy: &str, retry_after_ms| {
        let policy = policy.to_owned();
        Err(Refusal::RateLimited { policy, limit: 1, window_ms: 1, retry_after_ms, remaining: 0 })
    };
    let never = Err(Refusal::ExceedsBudget { policy: "tokens".to_owned(), limit: 1 });
    for (own, of_key, told) in [
        (waits("own", 9), waits("key", 5), waits("own", 9)),
        (waits("own", 5), waits("key", 9), waits("key", 9)),
        (waits("own", 5), waits("key", 5), waits("own", 5)),
        (never.clone(), waits("key", i64::MAX - 1), never.clone()),
        (waits("own", i64::MAX - 1), never.clone(), never.clone()),
        (Ok(Vec::new()), waits("key", 5), waits("key", 5)),
        (waits("own", 5), Ok(Vec::new()), waits("own", 5)),
    ] {
        assert_eq!(both(own, of_key), told);
    }
}
