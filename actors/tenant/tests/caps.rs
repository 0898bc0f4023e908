//! Caps as they are set and as they count over commands.

use super::*;
use crate::credits::caps::CapTerms;
use crate::shared::{DAY_MS, Period};

fn cap(id: &str, limit: i64) -> CapTerms {
    CapTerms {
        id: id.to_owned(),
        period: Period::Day,
        limit: Micro(limit),
        soft: None,
        api_key: None,
        model: None,
    }
}

fn with(caps: &[CapTerms]) -> Settings {
    Settings { caps: caps.to_vec(), ..Settings::default() }
}

fn by_model(model: &str) -> Usage {
    Usage { model: Some(model.to_owned()), ..Usage::default() }
}

fn may_answer(models: &[&str], asked: Admission) -> Admission {
    let models = models.iter().map(|name| (*name).to_owned()).collect();
    Admission { owner: Owner { models, ..asked.owner }, ..asked }
}

impl Shell {
    /// Spent and held of each cap.
    fn counted(&mut self, now_ms: i64) -> Vec<(i64, i64)> {
        self.limits(now_ms).caps.iter().map(|cap| (cap.spent.0, cap.held.0)).collect()
    }
}

#[test]
fn a_cap_counts_holds_and_charges_and_refuses_what_it_does_not_cover() {
    let mut shell = Shell::with_settings(100_000, with(&[cap("all", 1_000)]));
    shell.admit(request("h", 700), NOW_MS).unwrap();
    assert_eq!(shell.counted(NOW_MS), [(0, 700)]);
    let refused = shell.admit(request("i", 301), NOW_MS);
    assert!(matches!(refused, Err(Refusal::CapReached { cap, .. }) if cap == "all"));
    shell.settle("h", 500, NOW_MS);
    assert_eq!(shell.counted(NOW_MS), [(500, 0)]);
    shell.admit(request("i", 500), NOW_MS).unwrap();
    shell.release("i", NOW_MS);
    shell.admit(request("j", 500), NOW_MS).unwrap();
    // One that is over is no reason to refuse.
    shell.admit(request("k", 500), NOW_MS + TTL_MS).unwrap();
    assert_eq!(shell.counted(NOW_MS), [(500, 500)]);
    assert_eq!(shell.verified().0.problems, Vec::<String>::new());
}

#[test]
fn parts_are_counted_as_they_are_charged() {
    let mut shell = Shell::with_settings(
        100_000,
        with(&[cap("all", 1_000), CapTerms { model: Some("small".to_owned()), ..cap("small", 1_000) }]),
    );
    shell.admit(may_answer(&["small", "large"], request("h", 600)), NOW_MS).unwrap();
    shell.run(progress("h", 200, 0, by_model("small")), NOW_MS).unwrap();
    assert_eq!(shell.counted(NOW_MS), [(200, 400), (200, 400)]);
    shell.run(progress("h", 200, 700, by_model("small")), NOW_MS).unwrap();
    assert_eq!(shell.counted(NOW_MS), [(200, 500), (200, 500)]);
    shell.run(settle_with("h", 650, by_model("small")), NOW_MS).unwrap();
    assert_eq!(shell.counted(NOW_MS), [(650, 0), (650, 0)]);
    assert_eq!(shell.verified().0.problems, Vec::<String>::new());
}

#[test]
fn models_whose_cap_is_full_are_left_out_of_the_admission() {
    let mut shell = Shell::with_settings(
        100_000,
        with(&[CapTerms { model: Some("small".to_owned()), ..cap("small", 100) }]),
    );
    shell.admit(may_answer(&["small"], request("h", 100)), NOW_MS).unwrap();
    let admitted = shell.admit(may_answer(&["small", "large"], request("i", 50)), NOW_MS).unwrap();
    assert_eq!(admitted.models, ["large"]);
    assert_eq!(shell.counted(NOW_MS), [(0, 100)]);
    shell.run(settle_with("i", 40, by_model("large")), NOW_MS).unwrap();
    assert_eq!(shell.counted(NOW_MS), [(0, 100)]);
    assert_eq!(shell.verified().0.problems, Vec::<String>::new());
}

#[test]
fn a_new_cap_counts_what_was_spent_in_its_period_and_what_is_held() {
    let mut shell = Shell::with_balance(100_000);
    let day_ms = 3 * DAY_MS;
    for (id, key, model, at_ms) in [
        ("before", "k", "small", day_ms - 1),
        ("a", "k", "small", day_ms),
        ("b", "other", "large", day_ms + 1),
    ] {
        shell.admit(of_key(key, request(id, 1_000)), at_ms).unwrap();
        shell.run(settle_with(id, 100, by_model(model)), at_ms).unwrap();
    }
    shell.admit(of_key("k", may_answer(&["small"], request("open", 1_000))), day_ms + 2).unwrap();
    shell.admit(may_answer(&["large"], request("other", 300)), day_ms + 2).unwrap();
    let caps = [
        cap("all", 9_000),
        CapTerms { period: Period::Month, ..cap("month", 9_000) },
        CapTerms { api_key: Some("k".to_owned()), ..cap("key", 9_000) },
        CapTerms { model: Some("large".to_owned()), ..cap("model", 9_000) },
    ];
    shell.set_limits(with(&caps), day_ms + 3).unwrap();
    assert_eq!(shell.counted(day_ms + 3), [(200, 1_300), (300, 1_300), (100, 1_000), (100, 300)]);
    assert_eq!(shell.verified().0.problems, Vec::<String>::new());
}

#[test]
fn a_cap_that_is_kept_goes_on_counting_and_one_that_counts_something_else_begins_anew() {
    let soft = CapTerms { soft: Some(Micro(100)), ..cap("all", 1_000) };
    let mut shell = Shell::with_settings(100_000, with(&[soft]));
    shell.admit(request("h", 500), NOW_MS).unwrap();
    shell.settle("h", 200, NOW_MS);
    // Counted by the cap, but no longer in the feed: what is kept is the count.
    shell.tamper("UPDATE usage_events SET cost_micro = 0");
    shell.set_limits(with(&[cap("all", 5_000)]), NOW_MS).unwrap();
    assert_eq!(shell.counted(NOW_MS), [(200, 0)]);
    assert_eq!(shell.limits(NOW_MS).caps[0].terms.limit, Micro(5_000));
    for other in [
        CapTerms { period: Period::Month, ..cap("all", 5_000) },
        cap("another", 5_000),
        CapTerms { api_key: Some("k".to_owned()), ..cap("all", 5_000) },
        CapTerms { model: Some("small".to_owned()), ..cap("all", 5_000) },
    ] {
        shell.set_limits(with(&[cap("all", 5_000)]), NOW_MS).unwrap();
        shell.set_limits(with(&[other]), NOW_MS).unwrap();
        assert_eq!(shell.counted(NOW_MS), [(0, 0)]);
    }
    shell.set_limits(with(&[]), NOW_MS).unwrap();
    assert_eq!(shell.counted(NOW_MS), []);
}

#[test]
fn soft_limit_and_limit_are_told_once_with_what_was_spent() {
    let soft = CapTerms { soft: Some(Micro(300)), ..cap("all", 1_000) };
    let mut shell = Shell::with_settings(100_000, with(&[soft]));
    for n in 0..5 {
        let id = n.to_string();
        shell.admit(request(&id, 200), NOW_MS).unwrap();
        shell.settle(&id, 200, NOW_MS);
    }
    assert_eq!(shell.told(), ["cap.soft", "cap.reached"]);
    let bodies: Vec<serde_json::Value> =
        shell.notices().iter().map(|notice| serde_json::from_str(notice.body.get()).unwrap()).collect();
    let body = |spent: i64| {
        serde_json::json!({
            "cap": "all", "period": "day", "limit_micro": 1_000, "soft_micro": 300, "spent_micro": spent,
            "limit": 0.001, "soft": 0.0, "spent": Micro(spent).credits(),
        })
    };
    assert_eq!(bodies, [body(400), body(1_000)]);
}

#[test]
fn a_cap_that_is_set_again_as_it_was_tells_nothing_twice() {
    let soft = |limit| CapTerms { soft: Some(Micro(300)), ..cap("all", limit) };
    let mut shell = Shell::with_settings(100_000, with(&[soft(1_000)]));
    let spend = |shell: &mut Shell, id: &str| {
        shell.admit(request(id, 300), NOW_MS).unwrap();
        shell.settle(id, 300, NOW_MS);
        shell.told().len()
    };
    assert_eq!(spend(&mut shell, "a"), 1);
    shell.set_limits(with(&[soft(1_000)]), NOW_MS).unwrap();
    assert_eq!(spend(&mut shell, "b"), 1);
    shell.set_limits(with(&[soft(2_000)]), NOW_MS).unwrap();
    assert_eq!(spend(&mut shell, "c"), 2, "another limit");
    shell.set_limits(Settings { webhook: hook("s"), ..with(&[soft(2_000)]) }, NOW_MS).unwrap();
    assert_eq!(spend(&mut shell, "d"), 3, "nobody was told before");
}

#[test]
fn a_new_day_is_seen_as_one_without_a_charge_in_it() {
    let mut shell = Shell::with_settings(100_000, with(&[cap("all", 1_000)]));
    shell.admit(request("h", 1_000), NOW_MS).unwrap();
    shell.settle("h", 1_000, NOW_MS);
    assert_eq!(shell.counted(DAY_MS - 1), [(1_000, 0)]);
    assert_eq!(shell.counted(DAY_MS), [(0, 0)]);
    assert_eq!(shell.limits(DAY_MS).caps[0].period_start_ms, DAY_MS);
}

#[test]
fn a_new_cap_counts_what_open_holds_were_charged_in_parts() {
    let mut shell = Shell::with_balance(100_000);
    shell.admit(of_key("k", may_answer(&["small"], request("h", 1_000))), NOW_MS).unwrap();
    shell.run(progress("h", 300, 0, by_model("small")), NOW_MS).unwrap();
    let caps = [
        cap("all", 9_000),
        CapTerms { api_key: Some("k".to_owned()), ..cap("key", 9_000) },
        CapTerms { model: Some("small".to_owned()), ..cap("model", 9_000) },
        CapTerms { api_key: Some("other".to_owned()), ..cap("other key", 9_000) },
        CapTerms { model: Some("large".to_owned()), ..cap("other model", 9_000) },
    ];
    shell.set_limits(with(&caps), NOW_MS).unwrap();
    assert_eq!(shell.counted(NOW_MS), [(300, 700), (300, 700), (300, 700), (0, 0), (0, 0)]);
    shell.run(settle_with("h", 800, by_model("small")), NOW_MS).unwrap();
    assert_eq!(shell.counted(NOW_MS), [(800, 0), (800, 0), (800, 0), (0, 0), (0, 0)]);
}

#[test]
fn a_hold_is_not_topped_up_beyond_a_cap() {
    let of_model = |model: &str, limit| CapTerms { model: Some(model.to_owned()), ..cap(model, limit) };
    let caps = [cap("all", 1_000), of_model("small", 800), of_model("large", 500)];
    let mut shell = Shell::with_settings(100_000, with(&caps));
    shell.admit(may_answer(&["small", "large"], request("h", 400)), NOW_MS).unwrap();
    let mut top_up = |charge, hold, model: &str, now_ms| {
        let outcome = shell.run(progress("h", charge, hold, by_model(model)), now_ms);
        outcome.map(|_| shell.counted(now_ms).iter().map(|(spent, held)| spent + held).collect::<Vec<_>>())
    };
    let refused = top_up(100, 501, "large", NOW_MS);
    assert!(
        matches!(refused, Err(Refusal::CapReached { cap, .. }) if cap == "large"),
        "of the one that answers"
    );
    assert_eq!(
        top_up(100, 801, "small", NOW_MS).map_err(|refusal| refusal.to_string()),
        Err("the cap `small` of 0.000 does not cover the hold".to_owned())
    );
    assert_eq!(top_up(100, 800, "small", NOW_MS), Ok(vec![800, 800, 700]));
    assert_eq!(
        top_up(800, 800, "small", NOW_MS),
        Ok(vec![800, 800, 0]),
        "no more is set aside, so none refuses"
    );
    let refused = top_up(800, 1_001, "free", NOW_MS);
    assert!(matches!(refused, Err(Refusal::CapReached { cap, .. }) if cap == "all"));
    let never = top_up(800, 1_801, "free", NOW_MS);
    assert!(matches!(never, Err(Refusal::ExceedsBudget { policy, .. }) if policy == "cap:all"));
    assert_eq!(top_up(800, 1_800, "free", DAY_MS), Ok(vec![1_000, 1_000, 1_000]), "a new day");
    // The end is charged whatever the caps say: the work was done.
    assert_eq!(shell.settle("h", 5_000, DAY_MS).charged, Micro(5_000));
    assert_eq!(shell.verified().0.problems, Vec::<String>::new());
}

#[test]
fn a_hold_that_wants_no_more_goes_on_although_its_cap_was_passed() {
    let mut shell = Shell::with_settings(100_000, with(&[cap("all", 1_000)]));
    shell.admit(request("h", 400), NOW_MS).unwrap();
    shell.admit(request("i", 400), NOW_MS).unwrap();
    shell.settle("i", 5_000, NOW_MS);
    shell.run(progress("h", 300, 400, Usage::default()), NOW_MS).unwrap();
    assert_eq!(shell.counted(NOW_MS), [(5_300, 100)]);
}
