use proptest::prelude::*;

use super::*;
use crate::providers::failure::Deadline;

const RULES: BreakerRules = BreakerRules { failures: 3, error_percent: 50, open_ms: 100, open_max_ms: 1_000 };
const DOWN: Option<Failure> = Some(Failure::Unreachable);

fn end(breaker: &mut Breaker, permit: Permit, at_ms: i64, failure: Option<Failure>) -> bool {
    breaker.record(&RULES, permit, Seen { at_ms, duration_ms: 1, failure }, 0.0)
}

/// Asks and ends at once.
fn ask(breaker: &mut Breaker, at_ms: i64, failure: Option<Failure>) -> Result<bool, i64> {
    let permit = breaker.admit(&RULES, at_ms)?;
    Ok(end(breaker, permit, at_ms, failure))
}

fn opened() -> Breaker {
    let mut breaker = Breaker::default();
    assert_eq!([0, 0, 0].map(|at_ms| ask(&mut breaker, at_ms, DOWN)), [Ok(false), Ok(false), Ok(true)]);
    breaker
}

#[test]
fn failures_one_after_the_other_open_it_and_a_success_between_does_not() {
    let mut breaker = opened();
    assert_eq!(breaker.shown(0), Shown::Open { until_ms: 100 });
    assert_eq!(ask(&mut breaker, 99, None), Err(100));
    let mut steady = Breaker::default();
    for at_ms in 0..9 {
        let failure = if at_ms % 3 == 2 { None } else { DOWN };
        assert_eq!(ask(&mut steady, at_ms, failure), Ok(false), "two of three, and too few for a share");
    }
}

#[test]
fn a_share_of_failures_opens_it_too() {
    let mut breaker = Breaker::default();
    let opens: Vec<i64> = (0..40)
        .filter(|at_ms| ask(&mut breaker, *at_ms, if at_ms % 2 == 0 { None } else { DOWN }) == Ok(true))
        .collect();
    assert_eq!(opens, [9], "five of ten");
    let mut good = Breaker::default();
    for at_ms in 0..100 {
        assert_eq!(ask(&mut good, at_ms, if at_ms % 3 == 0 { DOWN } else { None }), Ok(false), "a third");
    }
}

#[test]
fn old_failures_are_no_share_of_today() {
    let mut breaker = Breaker::default();
    for at_ms in 0..9 {
        ask(&mut breaker, at_ms, if at_ms % 2 == 0 { DOWN } else { None }).unwrap();
    }
    assert_eq!(ask(&mut breaker, RATE_WINDOW_MS + 9, DOWN), Ok(false));
}

#[test]
fn one_probe_at_a_time_tries_and_closes_it() {
    let mut breaker = opened();
    let probe = breaker.admit(&RULES, 100).unwrap();
    assert_eq!(breaker.admit(&RULES, 100), Err(100), "another waits for the first");
    assert_eq!(breaker.shown(100), Shown::HalfOpen);
    assert!(!end(&mut breaker, probe, 110, None));
    assert_eq!(breaker.shown(110), Shown::Closed);
    assert_eq!([111, 112].map(|at_ms| ask(&mut breaker, at_ms, DOWN)), [Ok(false); 2], "it begins anew");
}

#[test]
fn a_probe_that_fails_opens_it_for_twice_as_long_up_to_a_maximum() {
    let mut breaker = opened();
    let mut now_ms = 100;
    for cool_down_ms in [200, 400, 800, 1_000, 1_000] {
        assert_eq!(ask(&mut breaker, now_ms, DOWN), Ok(true));
        assert_eq!(breaker.shown(now_ms), Shown::Open { until_ms: now_ms + cool_down_ms });
        now_ms += cool_down_ms;
    }
    ask(&mut breaker, now_ms, None).unwrap();
    for _ in 0..3 {
        ask(&mut breaker, now_ms, DOWN).unwrap();
    }
    assert_eq!(breaker.shown(now_ms), Shown::Open { until_ms: now_ms + 100 }, "short again after a success");
}

#[test]
fn a_probe_nobody_waits_for_leaves_its_place_to_another() {
    let mut breaker = opened();
    let probe = breaker.admit(&RULES, 100).unwrap();
    breaker.give_up(probe);
    assert!(breaker.admit(&RULES, 101).is_ok());
}

#[test]
fn what_began_before_it_opened_changes_nothing_after() {
    let mut breaker = Breaker::default();
    let early: Vec<Permit> = (0..8).map(|_| breaker.admit(&RULES, 0).unwrap()).collect();
    let mut opens = 0;
    for permit in &early[..6] {
        opens += usize::from(end(&mut breaker, *permit, 5, DOWN));
    }
    assert_eq!(opens, 1, "a crowd that fails together opens it once");
    assert_eq!(breaker.shown(5), Shown::Open { until_ms: 105 });
    end(&mut breaker, early[6], 6, None);
    assert_eq!(breaker.shown(6), Shown::Open { until_ms: 105 }, "an answer from before is old news");
    ask(&mut breaker, 105, None).unwrap();
    for _ in 0..3 {
        assert!(!end(&mut breaker, early[7], 106, DOWN), "and so is a failure");
    }
}

#[test]
fn who_has_nobody_else_finds_out_for_all() {
    let mut breaker = opened();
    let forced = breaker.force();
    assert!(!end(&mut breaker, forced, 1, DOWN));
    assert_eq!(breaker.shown(1), Shown::Open { until_ms: 100 }, "it is left alone no longer for that");
    let forced = breaker.force();
    end(&mut breaker, forced, 2, None);
    assert_eq!(breaker.shown(2), Shown::Closed);
}

#[test]
fn what_is_no_fault_of_the_provider_neither_opens_nor_closes_it() {
    let mut breaker = Breaker::default();
    for failure in [Failure::Status(400), Failure::Status(404), Failure::Timeout(Deadline::Budget)] {
        for at_ms in 0..20 {
            assert_eq!(ask(&mut breaker, at_ms, Some(failure)), Ok(false));
        }
    }
    let mut breaker = opened();
    ask(&mut breaker, 100, Some(Failure::Status(422))).unwrap();
    assert_eq!(breaker.shown(100), Shown::HalfOpen);
    assert!(breaker.admit(&RULES, 100).is_ok(), "its place is free again");
}

#[test]
fn a_provider_says_itself_when_it_is_back_within_bounds() {
    for (after_ms, until_ms) in [(10, 100), (700, 700), (90_000, 1_000)] {
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            ask(&mut breaker, 0, Some(Failure::Later { status: 429, after_ms })).unwrap();
        }
        assert_eq!(breaker.shown(0), Shown::Open { until_ms });
    }
}

#[test]
fn answers_that_break_off_open_it() {
    let mut breaker = Breaker::default();
    let mut opened_at = None;
    for at_ms in 0..20 {
        let Ok(false) = ask(&mut breaker, at_ms, None) else { break };
        if breaker.record_break(&RULES, Failure::Interrupted, at_ms, 0.0) {
            opened_at = Some(at_ms);
        }
    }
    assert_eq!(opened_at, Some(9), "ten of ten");
}

#[test]
fn chance_prolongs_by_a_tenth_at_most() {
    assert_eq!(
        [0.0, 0.5, 1.0, 9.0, -1.0, f64::NAN].map(|chance| part_of(1_000, chance)),
        [0, 50, 100, 100, 0, 0]
    );
}

#[test]
fn without_a_rule_everything_is_let_through() {
    let rules = BreakerRules { failures: 0, ..RULES };
    let mut breaker = Breaker::default();
    for at_ms in 0..100 {
        let permit = breaker.admit(&rules, at_ms).unwrap();
        let seen = Seen { at_ms, duration_ms: 1, failure: DOWN };
        assert!(!breaker.record(&rules, permit, seen, 0.0));
    }
}

#[derive(Debug, Clone)]
enum Deed {
    Pass(i64),
    Admit,
    Force,
    End(usize, Option<Failure>),
    GiveUp(usize),
    Break,
}

fn failures() -> impl Strategy<Value = Option<Failure>> {
    prop_oneof![
        Just(None),
        Just(DOWN),
        Just(Some(Failure::Status(400))),
        (0_u32..5_000).prop_map(|after_ms| Some(Failure::Later { status: 429, after_ms })),
    ]
}

fn deeds() -> impl Strategy<Value = Deed> {
    prop_oneof![
        // Now and then the clock is set back.
        (-50_i64..400).prop_map(Deed::Pass),
        Just(Deed::Admit),
        Just(Deed::Admit),
        Just(Deed::Force),
        (0_usize..8, failures()).prop_map(|(which, failure)| Deed::End(which, failure)),
        (0_usize..8, failures()).prop_map(|(which, failure)| Deed::End(which, failure)),
        (0_usize..8).prop_map(Deed::GiveUp),
        Just(Deed::Break),
    ]
}

proptest! {
    /// Whatever happens in whatever order: an open breaker lets nobody in, no more probes are out than may be, no
    /// cool-down is longer than allowed, and when all have ended and time has passed somebody is let in.
    #[test]
    fn it_holds_what_it_promises(deeds in prop::collection::vec(deeds(), 0..120), chance in 0.0_f64..=1.0) {
        let mut breaker = Breaker::default();
        let (mut now_ms, mut out) = (0_i64, Vec::<Permit>::new());
        // A cool-down that began before the clock was set back ends by the clock of then.
        let mut latest_ms = now_ms;
        for deed in deeds {
            match deed {
                Deed::Pass(ms) => {
                    now_ms += ms;
                    latest_ms = latest_ms.max(now_ms);
                }
                Deed::Admit => {
                    let before = breaker.shown(now_ms);
                    let admitted = breaker.admit(&RULES, now_ms);
                    match before {
                        Shown::Closed => prop_assert!(admitted.is_ok()),
                        Shown::Open { until_ms } => prop_assert_eq!(admitted, Err(until_ms)),
                        Shown::HalfOpen => {}
                    }
                    out.extend(admitted.ok());
                }
                Deed::Force => out.push(breaker.force()),
                Deed::End(which, failure) if which < out.len() => {
                    let permit = out.swap_remove(which);
                    let seen = Seen { at_ms: now_ms, duration_ms: 1, failure };
                    let opened = breaker.record(&RULES, permit, seen, chance);
                    prop_assert!(!opened || failure.is_some_and(|failure| failure.blame() == Blame::Provider));
                }
                Deed::GiveUp(which) if which < out.len() => breaker.give_up(out.swap_remove(which)),
                Deed::End(..) | Deed::GiveUp(_) => {}
                Deed::Break => {
                    breaker.record_break(&RULES, Failure::Interrupted, now_ms, chance);
                }
            }
            let probes = out.iter().filter(|permit| breaker.is_probe(**permit)).count();
            prop_assert!(probes <= PROBES_MAX as usize);
            if let State::HalfOpen { probes: counted } = breaker.state {
                prop_assert_eq!(counted as usize, probes, "a place is taken by nobody");
            }
            if let Shown::Open { until_ms } = breaker.shown(now_ms) {
                prop_assert!(until_ms - now_ms <= RULES.open_max_ms * 11 / 10);
            }
        }
        for permit in out {
            breaker.give_up(permit);
        }
        prop_assert!(breaker.admit(&RULES, latest_ms + RULES.open_max_ms * 11 / 10).is_ok());
    }
}
