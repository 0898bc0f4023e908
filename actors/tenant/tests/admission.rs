//! May this request run? Plans, budgets of the tenant and of its keys, tiers, requests in flight.

use super::*;
use crate::credits::HOLDS_OPEN_MAX;

fn limits(limits: Limits) -> Settings {
    Settings { limits, ..Settings::default() }
}

fn weighing(tokens: i64, asked: Admission) -> Admission {
    let weight = Weight { tokens, ..asked.owner.weight };
    Admission { owner: Owner { weight, ..asked.owner }, ..asked }
}

fn used(tokens_in: i64, tokens_out: i64) -> Usage {
    Usage { tokens_in: Some(tokens_in), tokens_out: Some(tokens_out), ..Usage::default() }
}

impl Shell {
    fn remaining(&mut self, policy: &str, now_ms: i64) -> i64 {
        let report = self.limits(now_ms);
        report.budgets.into_iter().find(|budget| budget.policy == policy).unwrap().remaining
    }
}

#[test]
fn an_admitted_request_is_told_what_it_has_and_what_is_left() {
    let mut shell = Shell::with_balance(10_000);
    let asked = Admission {
        owner: Owner { models: vec!["small".to_owned()], ..request("h", 4_000).owner },
        ..request("h", 4_000)
    };
    let admitted = shell.admit(asked, NOW_MS).unwrap();
    assert_eq!(
        (admitted.held, admitted.available, admitted.granted),
        (Micro(4_000), Micro(6_000), Micro(10_000))
    );
    assert_eq!((admitted.deadline_ms, admitted.models), (NOW_MS + TTL_MS, vec!["small".to_owned()]));
    assert_eq!(admitted.budgets.len(), 1);
}

#[test]
fn the_plan_is_the_tenants_own_or_the_usual_one() {
    let limit = |shell: &mut Shell| shell.limits(NOW_MS).effective.requests_per_minute;
    assert_eq!(limit(&mut Shell::with_balance(0)), Some(50));
    assert_eq!(limit(&mut Shell::new(&guest())), Some(20));
    let large = || Settings { plan: Some("large".to_owned()), ..Settings::default() };
    let mut shell = Shell::with_settings(0, large());
    assert_eq!(limit(&mut shell), Some(400));
    shell.policy.plans.remove("large");
    assert_eq!(limit(&mut shell), Some(50), "a plan that is gone counts as the usual one");
    let over = Limits { requests_per_minute: Some(8), ..Limits::default() };
    shell.set_limits(Settings { limits: over, ..Settings::default() }, NOW_MS).unwrap();
    assert_eq!(limit(&mut shell), Some(8));
    shell.policy.plans.clear();
    shell.set_limits(Settings::default(), NOW_MS).unwrap();
    assert_eq!(limit(&mut shell), None);
}

#[test]
fn tokens_are_estimated_first_and_reconciled_at_the_end() {
    let mut shell =
        Shell::with_settings(100_000, limits(Limits { tokens_per_minute: Some(1_000), ..Limits::default() }));
    shell.admit(weighing(400, request("h", 1_000)), NOW_MS).unwrap();
    assert_eq!(shell.remaining("tokens", NOW_MS), 100);
    let refused = shell.admit(weighing(200, request("i", 1_000)), NOW_MS);
    assert!(matches!(refused, Err(Refusal::RateLimited { policy, .. }) if policy == "tokens"));
    shell.run(settle_with("h", 500, used(30, 70)), NOW_MS).unwrap();
    assert_eq!(shell.remaining("tokens", NOW_MS), 400);
    shell.run(settle_with("h", 500, used(0, 0)), NOW_MS).unwrap();
    assert_eq!(shell.remaining("tokens", NOW_MS), 400, "once");
    shell.admit(weighing(200, request("i", 1_000)), NOW_MS).unwrap();
    shell.release("i", NOW_MS);
    assert_eq!(shell.remaining("tokens", NOW_MS), 400, "nothing was used");
    shell.admit(weighing(200, request("j", 1_000)), NOW_MS).unwrap();
    shell.ring(NOW_MS + TTL_MS);
    assert_eq!(
        shell.remaining("tokens", NOW_MS + TTL_MS),
        208,
        "nobody knows what was used: 200, less what leaked"
    );
    assert_eq!(shell.remaining("requests", NOW_MS + TTL_MS), 10, "requests stay counted");
}

#[test]
fn tokens_of_a_stream_that_was_released_stay_counted() {
    let mut shell =
        Shell::with_settings(100_000, limits(Limits { tokens_per_minute: Some(1_000), ..Limits::default() }));
    shell.admit(weighing(400, request("h", 1_000)), NOW_MS).unwrap();
    shell.run(progress("h", 300, 0, used(100, 20)), NOW_MS).unwrap();
    shell.run(progress("h", 400, 0, used(100, 50)), NOW_MS).unwrap();
    assert_eq!(shell.remaining("tokens", NOW_MS), 100, "the estimate stands while it runs");
    shell.release("h", NOW_MS);
    assert_eq!(shell.remaining("tokens", NOW_MS), 350);
}

#[test]
fn credits_a_day_are_held_first_and_counted_as_charged() {
    let per_day = Limits { credits_per_day: Some(Micro(10_000)), ..Limits::default() };
    let mut shell = Shell::with_settings(100_000, limits(per_day));
    shell.admit(request("h", 4_000), NOW_MS).unwrap();
    let refused = shell.admit(request("i", 1_001), NOW_MS);
    assert!(matches!(refused, Err(Refusal::RateLimited { policy, .. }) if policy == "credits-per-day"));
    let never = shell.admit(request("i", 5_001), NOW_MS);
    assert!(
        matches!(never, Err(Refusal::ExceedsBudget { policy, limit: 5_000 }) if policy == "credits-per-day")
    );
    shell.settle("h", 1_500, NOW_MS);
    assert_eq!(shell.remaining("credits-per-day", NOW_MS), 3_500);
    // A part that was charged stays counted when the rest is released.
    shell.admit(request("i", 3_000), NOW_MS).unwrap();
    shell.run(progress("i", 800, 0, Usage::default()), NOW_MS).unwrap();
    assert_eq!(shell.remaining("credits-per-day", NOW_MS), 500);
    shell.release("i", NOW_MS);
    assert_eq!(shell.remaining("credits-per-day", NOW_MS), 2_700);
}

#[test]
fn requests_in_flight_are_limited_for_tenant_and_key() {
    let in_flight = |limit| Limits { in_flight: Some(limit), ..Limits::default() };
    let settings = Settings {
        limits: in_flight(3),
        keys: [("k".to_owned(), in_flight(1)), ("free".to_owned(), Limits::default())].into(),
        ..Settings::default()
    };
    let mut shell = Shell::with_settings(100_000, settings);
    let first = shell.admit(of_key("k", request("a", 10)), NOW_MS).unwrap();
    let left: Vec<_> = first.budgets.iter().map(|left| (left.policy.as_str(), left.remaining)).collect();
    assert_eq!(left, [("requests", 12), ("in-flight", 2), ("in-flight@k", 0)]);
    let refused = shell.admit(of_key("k", request("b", 10)), NOW_MS);
    let Err(Refusal::RateLimited { policy, limit, window_ms, retry_after_ms, remaining: 0 }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!((policy.as_str(), limit, window_ms, retry_after_ms), ("in-flight@k", 1, 0, 1_000));
    shell.admit(of_key("free", request("b", 10)), NOW_MS).unwrap();
    shell.admit(request("c", 10), NOW_MS).unwrap();
    let refused = shell.admit(request("d", 10), NOW_MS);
    assert!(matches!(refused, Err(Refusal::RateLimited { policy, .. }) if policy == "in-flight"));
    shell.settle("a", 5, NOW_MS);
    shell.admit(of_key("k", request("d", 10)), NOW_MS).unwrap();
}

#[test]
fn a_key_has_limits_beside_those_of_its_tenant() {
    let tight = Limits { requests_per_minute: Some(8), tokens_per_minute: Some(100), ..Limits::default() };
    let settings = Settings { keys: [("k".to_owned(), tight)].into(), ..Settings::default() };
    let mut shell = Shell::with_settings(100_000, settings);
    for n in 0..2 {
        shell.admit(of_key("k", request(&format!("k{n}"), 10)), NOW_MS).unwrap();
    }
    let refused = shell.admit(of_key("k", request("more", 10)), NOW_MS);
    assert!(matches!(refused, Err(Refusal::RateLimited { policy, limit: 8, .. }) if policy == "requests@k"));
    assert_eq!(shell.remaining("requests", NOW_MS), 11, "what the key refused is not counted for the tenant");
    shell.admit(of_key("other", request("other", 10)), NOW_MS).unwrap();
    // Reconciled like the tenant's own.
    let later_ms = NOW_MS + 60_000;
    shell.admit(of_key("k", weighing(50, request("h", 10))), later_ms).unwrap();
    let full = shell.admit(of_key("k", weighing(50, request("i", 10))), later_ms);
    assert!(matches!(full, Err(Refusal::RateLimited { policy, .. }) if policy == "tokens@k"));
    shell.run(settle_with("h", 5, used(1, 4)), later_ms).unwrap();
    shell.admit(of_key("k", weighing(45, request("i", 10))), later_ms).unwrap();
}

#[test]
fn a_tier_is_allowed_by_tenant_and_key() {
    let tiers = |names: &[&str]| Limits {
        tiers: Some(names.iter().map(|name| (*name).to_owned()).collect()),
        ..Limits::default()
    };
    let settings = Settings {
        limits: tiers(&["low", "high"]),
        keys: [("k".to_owned(), tiers(&["low"]))].into(),
        ..Settings::default()
    };
    let mut shell = Shell::with_settings(100_000, settings);
    let tier = |tier: &str, hold| Admission { tier: Some(tier.to_owned()), ..request(hold, 10) };
    shell.admit(tier("high", "a"), NOW_MS).unwrap();
    let refused = shell.admit(tier("huge", "b"), NOW_MS);
    assert_eq!(refused, Err(Refusal::TierNotAllowed { tier: "huge".to_owned() }));
    let refused = shell.admit(of_key("k", tier("high", "b")), NOW_MS);
    assert_eq!(refused, Err(Refusal::TierNotAllowed { tier: "high".to_owned() }));
    shell.admit(of_key("k", tier("low", "b")), NOW_MS).unwrap();
    shell.admit(of_key("k", request("c", 10)), NOW_MS).unwrap();
    assert_eq!(shell.remaining("requests", NOW_MS), 10, "what has no tier is not counted");
}

#[test]
fn what_is_past_its_deadline_refuses_nobody_even_when_the_alarm_is_late() {
    let late_ms = NOW_MS + TTL_MS;
    // For credit.
    let mut shell = Shell::with_balance(1_000);
    shell.admit(request("dead", 1_000), NOW_MS).unwrap();
    assert!(matches!(
        shell.admit(request("h", 1_000), late_ms - 1),
        Err(Refusal::InsufficientCredits { .. })
    ));
    let admitted = shell.admit(request("h", 1_000), late_ms).unwrap();
    assert_eq!((admitted.available, admitted.held), (Micro::ZERO, Micro(1_000)));
    assert_eq!(shell.verified().0.problems, Vec::<String>::new());
    // For requests in flight.
    let mut shell = Shell::with_settings(1_000, limits(Limits { in_flight: Some(1), ..Limits::default() }));
    shell.admit(request("dead", 10), NOW_MS).unwrap();
    assert!(matches!(shell.admit(request("h", 10), late_ms - 1), Err(Refusal::RateLimited { .. })));
    shell.admit(request("h", 10), late_ms).unwrap();
    // A budget with a window waits for time, not for holds: what is over stays for the alarm.
    let requests = Limits { requests_per_minute: Some(4), ..Limits::default() };
    let mut shell = Shell::with_settings(1_000, limits(requests));
    shell.admit(request("dead", 10), NOW_MS).unwrap();
    assert!(matches!(shell.admit(request("h", 10), late_ms), Err(Refusal::RateLimited { .. })));
}

#[test]
fn as_many_holds_as_allowed_give_way_to_those_that_are_over() {
    let none = Limits { requests_per_minute: Some(0), ..Limits::default() };
    let mut shell = Shell::with_settings(1_000_000, limits(none));
    for n in 0..HOLDS_OPEN_MAX {
        shell.admit(request(&n.to_string(), 10), NOW_MS).unwrap();
    }
    let full = shell.admit(request("more", 10), NOW_MS + TTL_MS - 1);
    assert_eq!(full, Err(Refusal::TooManyHolds { limit: HOLDS_OPEN_MAX }));
    shell.admit(request("more", 10), NOW_MS + TTL_MS).unwrap();
    assert_eq!(shell.verified().0.problems, Vec::<String>::new());
}

#[test]
fn a_hold_id_is_used_once() {
    let mut shell = Shell::with_balance(10_000);
    shell.admit(request("h", 10), NOW_MS).unwrap();
    assert_eq!(shell.admit(request("h", 10), NOW_MS), Err(Refusal::DuplicateOperation));
}

#[test]
fn a_request_that_goes_on_is_charged_and_has_its_deadline_moved() {
    let mut shell = Shell::with_balance(10_000);
    shell.admit(request("h", 1_000), NOW_MS).unwrap();
    let outcome = shell.run(progress("h", 400, 2_000, used(1, 2)), NOW_MS + 700).unwrap();
    let Reply::Progressed(progressed) = &outcome.reply else { panic!("{outcome:?}") };
    assert_eq!(
        (progressed.charged, progressed.held, progressed.available),
        (Micro(400), Micro(1_600), Micro(8_000))
    );
    assert_eq!(
        (progressed.deadline_ms, wake(&outcome)),
        (NOW_MS + 700 + TTL_MS, Some(NOW_MS + 700 + TTL_MS))
    );
    shell.ring(NOW_MS + TTL_MS);
    let ended = shell.settle("h", 1_900, NOW_MS + TTL_MS);
    assert_eq!((ended.charged, ended.available, ended.first), (Micro(1_900), Micro(8_100), true));
    let outcome = shell.run(progress("h", 2_000, 2_000, used(1, 2)), NOW_MS + TTL_MS).unwrap();
    assert!(matches!(outcome.reply, Reply::Ended(EndedHold { first: false, .. })), "{outcome:?}");
    assert_eq!(shell.verified().0.problems, Vec::<String>::new());
}

#[test]
fn meters_of_keys_without_limits_of_their_own_are_dropped() {
    let with_keys = |names: &[&str]| Settings {
        keys: names
            .iter()
            .map(|name| ((*name).to_owned(), Limits { requests_per_minute: Some(4), ..Limits::default() }))
            .collect(),
        ..Settings::default()
    };
    let mut shell = Shell::with_settings(100_000, with_keys(&["k@1", "k@2"]));
    for key in ["k@1", "k@2"] {
        shell.admit(of_key(key, request(key, 10)), NOW_MS).unwrap();
    }
    shell.set_limits(with_keys(&["k@2"]), NOW_MS).unwrap();
    shell.set_limits(with_keys(&["k@1", "k@2"]), NOW_MS).unwrap();
    shell.admit(of_key("k@1", request("again", 10)), NOW_MS).unwrap();
    let kept = shell.admit(of_key("k@2", request("more", 10)), NOW_MS);
    assert!(matches!(kept, Err(Refusal::RateLimited { policy, .. }) if policy == "requests@k@2"));
    assert_eq!(shell.remaining("requests", NOW_MS), 10, "the tenant's own go on");
}

#[test]
fn a_refusal_that_nobody_is_told_of_undoes_everything() {
    let mut shell = Shell::with_balance(1_000);
    let refused = shell.run(Command::Admit(Box::new(request("h", 2_000))), NOW_MS);
    assert!(matches!(refused, Err(Refusal::InsufficientCredits { .. })), "{refused:?}");
}
