//! How an experiment conducts itself: who gets what, what counts, and what operators can do.

use proptest::prelude::*;

use super::stage::{NOW_MS, SKILL, Stage, arm, definition};
use crate::experiment::directory::{EXPERIMENTS_MAX, Entry, Listed};
use crate::experiment::{Arm, By, Call, Command, Definition, State, Turn, handle};
use crate::shared::{Micro, Refusal};
use crate::sql::Sql;

#[test]
fn a_skill_without_an_experiment_has_no_arm_and_stores_nothing() {
    let mut stage = Stage::empty();
    assert_eq!(stage.assign("unit"), None);
    assert_eq!(stage.score("request", "me", 1.0), Err(Refusal::UnknownExperiment));
    assert_eq!(stage.steer(Turn::Pause), Err(Refusal::UnknownExperiment));
    assert_eq!(stage.directory(Entry::List).unwrap(), Listed::default());
    assert_eq!(stage.number("SELECT COUNT(*) FROM sqlite_master"), 0);
}

#[test]
fn an_actor_answers_for_its_own_skill_alone() {
    let mut stage = Stage::running(&["a", "b"]);
    let call = Call { request_id: "r".to_owned(), skill: "other".to_owned(), command: Command::Report };
    assert!(matches!(handle(&mut stage.sql, &call, 1, NOW_MS), Err(Refusal::Storage { .. })));
    assert_eq!(stage.report().skill, SKILL);
}

#[test]
fn a_unit_keeps_its_arm_for_its_time_and_no_longer() {
    let mut stage = Stage::empty();
    stage.define(Definition { sticky_ms: 1_000, ..definition(&["a", "b", "c", "d"]) }).unwrap();
    let units: Vec<String> = (0..40).map(|n| format!("unit-{n}")).collect();
    let first: Vec<String> = units
        .iter()
        .map(|unit| {
            let (arm, by) = stage.arm_of(unit);
            assert_eq!(by, By::Chance);
            arm
        })
        .collect();
    stage.now_ms = NOW_MS + 999;
    for (unit, arm) in units.iter().zip(&first) {
        assert_eq!(stage.arm_of(unit), (arm.clone(), By::Kept));
    }
    stage.now_ms = NOW_MS + 1_000;
    let second: Vec<(String, By)> = units.iter().map(|unit| stage.arm_of(unit)).collect();
    assert!(second.iter().all(|(_, by)| *by == By::Chance));
    let moved = second.iter().zip(&first).filter(|((now, _), before)| now != *before).count();
    assert!(moved > 10, "{moved} of 40 were given another one of four");
    assert_eq!(stage.number("SELECT COUNT(*) FROM units"), 40);
}

#[test]
fn a_unit_that_asks_several_things_at_once_gets_one_arm_and_nothing_is_kept_of_what_is_refused() {
    let mut stage = Stage::empty();
    stage.define(Definition { sticky_ms: 1_000, ..definition(&["a", "b", "c", "d"]) }).unwrap();
    let mut given = std::collections::BTreeSet::new();
    for unit in 0..40 {
        let unit = format!("unit-{unit}");
        let arms: Vec<_> = (0..5).map(|_| stage.assign(&unit).unwrap().arm.name).collect();
        assert!(arms.iter().all(|arm| *arm == arms[0]), "{unit}: {arms:?}");
        given.extend(arms);
    }
    assert_eq!(given.len(), 4, "each unit has a draw of its own");
    assert_eq!(stage.number("SELECT COUNT(*) FROM units"), 0);
    // The first answer is what is kept, whatever comes after it.
    let assigned = stage.assign("unit-0").unwrap();
    let other = if assigned.arm.name == "a" { "b" } else { "a" };
    stage.note("first", "unit-0", &assigned);
    stage.note("second", "unit-0", &crate::experiment::Assigned { arm: arm(other), ..assigned.clone() });
    assert_eq!(stage.arm_of("unit-0"), (assigned.arm.name, By::Kept));
}

#[test]
fn without_a_time_to_keep_it_nothing_is_kept() {
    let mut stage = Stage::running(&["a", "b"]);
    let arms: Vec<_> = (0..40).map(|_| stage.arm_of("unit")).collect();
    assert!(arms.iter().all(|(_, by)| *by == By::Chance) && arms.iter().any(|arm| *arm != arms[0]));
    assert_eq!(stage.number("SELECT COUNT(*) FROM units"), 0);
}

#[test]
fn a_client_may_choose_and_the_odds_do_not_follow_it() {
    let mut stage = Stage::empty();
    stage.define(Definition { sticky_ms: 1_000, ..definition(&["a", "b"]) }).unwrap();
    let kept = stage.arm_of("unit").0;
    let other = if kept == "a" { "b" } else { "a" };
    let wanted = stage.assign_wanting("unit", Some(other)).unwrap();
    assert_eq!((wanted.arm.name.as_str(), wanted.by), (other, By::Requested));
    assert_eq!(stage.arm_of("unit"), (kept.clone(), By::Kept), "what it wanted once it does not keep");
    assert_eq!(stage.assign_wanting("unit", Some("none")).unwrap().arm.name, kept, "no such arm");

    let id = stage.answer("unit", Some(other));
    let scored = stage.score(&id, "unit", 1.0).unwrap();
    assert!(scored.first && !scored.counted && scored.arm == other);
    let report = stage.report();
    let chosen = report.arms.iter().find(|arm| arm.name == other).unwrap();
    assert_eq!((chosen.answers, chosen.requested, chosen.sums.outcomes), (1, 1, 0));
    assert_eq!((chosen.requested_sums.outcomes, chosen.requested_sums.score_ppm), (1, 1_000_000));
    assert_eq!(report.uplift, None);
    stage.check_sums();
}

#[test]
fn an_answer_is_scored_once_and_the_last_word_counts() {
    let mut stage = Stage::running(&["a", "b"]);
    let id = stage.answer("me", None);
    let first = stage.score(&id, "me", 1.0).unwrap();
    assert!(first.first && first.counted);
    assert!(!stage.score(&id, "me", 1.0).unwrap().first);
    let changed = stage.score(&id, "me", 0.25).unwrap();
    assert!(!changed.first && changed.counted);
    let report = stage.report();
    let arm = report.arms.iter().find(|arm| arm.name == first.arm).unwrap();
    assert_eq!((arm.sums.outcomes, arm.sums.score_ppm, arm.answers), (1, 250_000, 1));
    assert_eq!((arm.cost, arm.latency_ms), (Micro(1_500), 40));
    stage.check_sums();
}

#[test]
fn only_the_own_answers_can_be_scored() {
    let mut stage = Stage::running(&["a", "b"]);
    let id = stage.answer("me", None);
    assert_eq!(stage.score(&id, "you", 1.0), Err(Refusal::UnknownRequest));
    assert_eq!(stage.score("another", "me", 1.0), Err(Refusal::UnknownRequest));
    for score in [-0.000_001, 1.000_001] {
        assert!(matches!(stage.score(&id, "me", score), Err(Refusal::InvalidSetting { .. })), "{score}");
    }
    assert_eq!(stage.report().uplift, None);
}

#[test]
fn an_answer_that_is_noted_twice_is_one() {
    let mut stage = Stage::running(&["a", "b"]);
    let assigned = stage.assign("me").unwrap();
    stage.note("request", "me", &assigned);
    stage.note("request", "me", &assigned);
    stage.note("request", "you", &assigned);
    assert_eq!(stage.report().arms.iter().map(|arm| arm.answers).sum::<i64>(), 1);
    assert_eq!(stage.score("request", "you", 1.0), Err(Refusal::UnknownRequest), "the first one's it stays");
    stage.check_sums();
}

#[test]
fn paused_everybody_gets_the_control_arm_and_resumed_what_they_kept() {
    let mut stage = Stage::empty();
    stage.define(Definition { sticky_ms: 10_000, ..definition(&["a", "b"]) }).unwrap();
    let before: Vec<_> = (0..20).map(|n| stage.arm_of(&format!("unit-{n}")).0).collect();
    assert_eq!(stage.steer(Turn::Pause).unwrap().state, State::Paused);
    for n in 0..20 {
        let assigned = stage.assign_wanting(&format!("unit-{n}"), Some("b")).unwrap();
        assert_eq!((assigned.arm.name.as_str(), assigned.by), ("a", By::Operator));
    }
    stage.steer(Turn::Resume).unwrap();
    for (n, arm) in before.into_iter().enumerate() {
        assert_eq!(stage.arm_of(&format!("unit-{n}")), (arm, By::Kept));
    }
}

#[test]
fn pinned_or_promoted_everybody_gets_that_arm() {
    let mut stage = Stage::running(&["a", "b", "c"]);
    stage.steer(Turn::Pin { arm: "b".to_owned() }).unwrap();
    assert_eq!(stage.arm_of("unit"), ("b".to_owned(), By::Operator));
    stage.steer(Turn::Pin { arm: "c".to_owned() }).unwrap();
    let report = stage.steer(Turn::Promote { arm: "c".to_owned() }).unwrap();
    assert_eq!((report.state, report.arm.as_deref()), (State::Promoted, Some("c")));
    let assigned = stage.assign_wanting("unit", Some("a")).unwrap();
    assert_eq!((assigned.arm.name.as_str(), assigned.by), ("c", By::Operator));
    // What everybody gets is still measured.
    let id = stage.answer("me", None);
    assert!(stage.score(&id, "me", 1.0).unwrap().counted);
    for turn in [Turn::Pause, Turn::Resume, Turn::Pin { arm: "a".to_owned() }] {
        assert_eq!(stage.steer(turn), Err(Refusal::ExperimentEnded));
    }
    assert_eq!(stage.steer(Turn::Withdraw).unwrap().state, State::Withdrawn);
    assert_eq!(stage.assign("unit"), None);
}

#[test]
fn what_operators_do_is_listed_once_each_with_its_reason() {
    let mut stage = Stage::running(&["a", "b"]);
    stage.now_ms = NOW_MS + 5;
    stage.steer(Turn::Pause).unwrap();
    stage.steer(Turn::Pause).unwrap();
    stage.steer(Turn::Resume).unwrap();
    stage.steer(Turn::Pin { arm: "b".to_owned() }).unwrap();
    let report = stage.steer(Turn::Promote { arm: "b".to_owned() }).unwrap();
    let done: Vec<_> =
        report.transitions.iter().map(|done| (done.kind.as_str(), done.arm.as_deref())).collect();
    let expected = [
        ("promoted", Some("b")),
        ("pinned", Some("b")),
        ("resumed", None),
        ("paused", None),
        ("defined", None),
    ];
    assert_eq!(done, expected);
    let paused = &report.transitions[3];
    assert_eq!(
        (paused.reason.as_deref(), paused.operator.as_str(), paused.at_ms),
        (Some("because"), "first", NOW_MS + 5)
    );
    let changed = "UPDATE transitions SET reason = 'another'";
    assert!(crate::sql::Sql::execute(&mut stage.sql, changed, &[]).is_err(), "nothing done is changed");
}

#[test]
fn an_arm_that_is_none_cannot_be_pinned_or_promoted_and_a_reason_is_needed() {
    let mut stage = Stage::running(&["a", "b", "c"]);
    stage.define(definition(&["a", "b"])).unwrap();
    for name in ["c", "d", ""] {
        let pin = stage.steer(Turn::Pin { arm: name.to_owned() });
        assert!(matches!(pin, Err(Refusal::InvalidSetting { .. })), "{name}");
    }
    for reason in ["", " ", &"r".repeat(501)] {
        let steering = crate::experiment::Steering {
            turn: Turn::Pause,
            reason: reason.to_owned(),
            operator: "first".to_owned(),
        };
        assert!(matches!(stage.send(Command::Steer(steering)), Err(Refusal::InvalidSetting { .. })));
    }
    assert_eq!(stage.report().state, State::Running);
}

#[test]
fn a_definition_can_be_repeated_and_arms_come_and_go() {
    let mut stage = Stage::empty();
    stage.define(Definition { sticky_ms: 10_000, ..definition(&["a", "b"]) }).unwrap();
    let ids: Vec<_> = (0..30).map(|n| (format!("t{n}"), stage.answer(&format!("t{n}"), None))).collect();
    for (tenant, id) in &ids {
        stage.score(id, tenant, 1.0).unwrap();
    }
    let before = stage.report();
    let again = stage.define(Definition { sticky_ms: 10_000, ..definition(&["a", "b"]) }).unwrap();
    assert_eq!(again, before, "once more changes nothing, and nothing is listed");

    let changed = Definition {
        arms: vec![arm("a"), Arm { system: Some("Be another.".to_owned()), ..arm("b") }],
        ..definition(&["a", "b"])
    };
    assert_eq!(stage.define(changed), Err(Refusal::ArmChanged { arm: "b".to_owned() }));

    let report = stage.define(Definition { sticky_ms: 10_000, ..definition(&["a", "c"]) }).unwrap();
    let live: Vec<_> = report.arms.iter().map(|arm| (arm.name.as_str(), arm.live)).collect();
    assert_eq!(live, [("a", true), ("b", false), ("c", true)]);
    assert_eq!(report.arms[0].sums, before.arms[0].sums, "what was learned of it is kept");
    assert_eq!(report.arms[1].best, 0.0);
    let best = report.arms[0].best + report.arms[2].best;
    assert!((best - 1.0).abs() < 1e-9, "one of those that are left is the best: {best}");
    for (tenant, _) in &ids {
        assert_ne!(stage.arm_of(tenant).0, "b", "nobody keeps an arm that is gone");
    }
    let (tenant, id) = &ids[0];
    assert!(!stage.score(id, tenant, 0.5).unwrap().first, "its answers can still be scored");
    stage.check_sums();
}

#[test]
fn another_control_or_another_time_alone_is_a_change() {
    let mut stage = Stage::running(&["a", "b"]);
    stage.now_ms = NOW_MS + 5;
    let control = Definition { control: "b".to_owned(), ..definition(&["a", "b"]) };
    let report = stage.define(control.clone()).unwrap();
    assert_eq!((report.control.as_str(), report.updated_at_ms), ("b", NOW_MS + 5));
    stage.now_ms = NOW_MS + 6;
    let report = stage.define(Definition { sticky_ms: 7, ..control }).unwrap();
    assert_eq!((report.sticky_ms, report.updated_at_ms, report.transitions.len()), (7, NOW_MS + 6, 3));
}

#[test]
fn arms_beside_the_pinned_one_may_come_and_go() {
    let mut stage = Stage::running(&["a", "b"]);
    stage.steer(Turn::Pin { arm: "b".to_owned() }).unwrap();
    let report = stage.define(Definition { control: "b".to_owned(), ..definition(&["b", "c"]) }).unwrap();
    assert_eq!((report.state, report.arm.as_deref()), (State::Pinned, Some("b")));
}

#[test]
fn the_version_of_an_arm_is_what_it_means_too() {
    let mut stage = Stage::empty();
    let of = |version: Option<i64>| Definition {
        arms: vec![arm("a"), Arm { skill_version: version, ..arm("b") }],
        ..definition(&["a", "b"])
    };
    let report = stage.define(of(Some(2))).unwrap();
    let versions: Vec<_> = report.arms.iter().map(|arm| arm.terms.skill_version).collect();
    assert_eq!(versions, [None, Some(2)]);
    assert_eq!(stage.assign_wanting("unit", Some("b")).unwrap().arm.skill_version, Some(2));
    for other in [None, Some(3)] {
        assert_eq!(stage.define(of(other)), Err(Refusal::ArmChanged { arm: "b".to_owned() }), "{other:?}");
    }
    // As arms were stored when a version was any text.
    stage
        .sql
        .execute("UPDATE arms SET terms = replace(terms, ':2', ':\"v2\"') WHERE name = 'b'", &[])
        .unwrap();
    assert_eq!(stage.assign_wanting("unit", Some("b")).unwrap().arm.skill_version, None, "it named nothing");
    stage.define(of(None)).unwrap();
}

#[test]
fn the_pinned_arm_cannot_be_taken_away() {
    let mut stage = Stage::running(&["a", "b"]);
    stage.steer(Turn::Pin { arm: "b".to_owned() }).unwrap();
    let without = Definition { control: "a".to_owned(), ..definition(&["a", "c"]) };
    assert!(matches!(stage.define(without), Err(Refusal::InvalidSetting { .. })));
    assert_eq!(stage.arm_of("unit").0, "b");
}

#[test]
fn what_is_over_can_be_begun_anew_and_counts_from_nothing() {
    let mut stage = Stage::running(&["a", "b"]);
    let late = stage.assign("late").unwrap();
    let id = stage.answer("me", None);
    stage.score(&id, "me", 1.0).unwrap();
    stage.steer(Turn::Promote { arm: "b".to_owned() }).unwrap();
    let report = stage.define(definition(&["b", "c"])).unwrap();
    assert_eq!((report.state, report.round, report.uplift), (State::Running, 2, None));
    assert_eq!(stage.score(&id, "me", 1.0), Err(Refusal::UnknownRequest));
    stage.note("late", "late", &late);
    assert_eq!(stage.number("SELECT COUNT(*) FROM requests"), 0, "what began before is no part of it");
    let detail = report.transitions[0].detail.as_ref().unwrap();
    assert_eq!(detail["before"]["state"], "promoted");
    assert_eq!(detail["before"]["arms"].as_array().unwrap().len(), 2, "how it ended is kept: {detail}");
}

#[test]
fn definitions_that_cannot_be_are_refused() {
    let many: Vec<String> = (0..17).map(|n| format!("arm-{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let good = || definition(&["a", "b"]);
    let with = |arm: Arm| Definition { arms: vec![super::stage::arm("a"), arm], ..good() };
    let long = |bytes: usize| Some("x".repeat(bytes));
    for (bad, why) in [
        (definition(&["a"]), "one arm"),
        (definition(&many), "seventeen"),
        (definition(&["a", "a"]), "two of one name"),
        (definition(&["a", "B"]), "an upper-case name"),
        (definition(&["a", ""]), "no name"),
        (definition(&["a", &"n".repeat(65)]), "a long name"),
        (Definition { control: "c".to_owned(), ..good() }, "no such control"),
        (Definition { sticky_ms: -1, ..good() }, "a negative time"),
        (Definition { sticky_ms: 30 * 86_400_000 + 1, ..good() }, "a long time"),
        (with(Arm { system: long(16_385), ..arm("b") }), "a long prompt"),
        (with(Arm { system: long(0), ..arm("b") }), "an empty prompt"),
        (with(Arm { model: long(129), ..arm("b") }), "a long model"),
        (with(Arm { skill_version: Some(-1), ..arm("b") }), "a version below all"),
        (with(Arm { skill_version: Some(20_001), ..arm("b") }), "a version beyond all"),
    ] {
        let refused = Stage::empty().define(bad);
        assert!(matches!(refused, Err(Refusal::InvalidSetting { .. })), "{why}: {refused:?}");
    }
}

#[test]
fn the_directory_lists_each_skill_once_and_has_an_end() {
    let mut stage = Stage::empty();
    let enter = |skill: &str| Entry::Enter(skill.to_owned());
    let strike = |skill: &str| Entry::Strike(skill.to_owned());
    let mut last = 0;
    for (entry, skills) in [
        (enter("b"), &["b"][..]),
        (enter("a"), &["a", "b"]),
        (enter("a"), &["a", "b"]),
        (strike("b"), &["a"]),
        (strike("b"), &["a"]),
    ] {
        let listed = stage.directory(entry.clone()).unwrap();
        assert!(listed.version > last, "{entry:?}: a later list has a later version");
        assert_eq!(listed.skills, skills, "{entry:?}");
        assert_eq!(stage.directory(Entry::List).unwrap(), listed);
        last = listed.version;
    }
    for n in 1..EXPERIMENTS_MAX {
        stage.directory(enter(&format!("skill-{n}"))).unwrap();
    }
    let limit = EXPERIMENTS_MAX;
    let over = stage.directory(enter("more"));
    assert_eq!(over, Err(Refusal::TooManyExperiments { limit }));
    let again = stage.directory(enter("a")).unwrap();
    assert_eq!(again.skills.len(), usize::try_from(limit).unwrap(), "one that is there needs no room");
}

/// What a client does, in any order.
#[derive(Debug, Clone)]
enum Step {
    Answer { tenant: u8, wanted: Option<u8> },
    Score { request: u8, tenant: u8, ppm: u32 },
    Steer(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_u8..4, prop::option::weighted(0.2, 0_u8..4))
            .prop_map(|(tenant, wanted)| Step::Answer { tenant, wanted }),
        (0_u8..20, 0_u8..4, 0_u32..=1_000_000).prop_map(|(request, tenant, ppm)| Step::Score {
            request,
            tenant,
            ppm
        }),
        (0_u8..5).prop_map(Step::Steer),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes: the sums are those of the rows, an answer has one score, and only its owner gave it.
    #[test]
    fn the_sums_are_those_of_the_rows(steps in prop::collection::vec(step(), 1..60)) {
        const NAMES: [&str; 4] = ["a", "b", "c", "none"];
        let mut stage = Stage::running(&["a", "b", "c"]);
        let (mut owners, mut last) = (Vec::new(), std::collections::BTreeMap::new());
        for step in steps {
            match step {
                Step::Answer { tenant, wanted } => {
                    let wanted = wanted.map(|at| NAMES[usize::from(at)]);
                    let id = stage.answer(&tenant.to_string(), wanted);
                    owners.push((id, tenant));
                }
                Step::Score { request, tenant, ppm } => {
                    let Some((id, owner)) = owners.get(usize::from(request)).cloned() else { continue };
                    let scored = stage.score(&id, &tenant.to_string(), f64::from(ppm) / 1e6);
                    if owner == tenant {
                        prop_assert_eq!(scored.unwrap().first, last.insert(id, ppm).is_none());
                    } else {
                        prop_assert_eq!(scored, Err(Refusal::UnknownRequest));
                    }
                }
                Step::Steer(turn) => {
                    let arm = || "b".to_owned();
                    let turns = [Turn::Pause, Turn::Resume, Turn::Pin { arm: arm() }, Turn::Resume, Turn::Pause];
                    stage.steer(turns[usize::from(turn)].clone()).unwrap();
                }
            }
            stage.check_sums();
        }
        let stored = stage.number("SELECT COALESCE(SUM(score_ppm), 0) FROM requests");
        prop_assert_eq!(stored, last.values().map(|ppm| i64::from(*ppm)).sum::<i64>());
        prop_assert_eq!(stage.number("SELECT COUNT(*) FROM requests"), i64::try_from(owners.len()).unwrap());
    }
}
