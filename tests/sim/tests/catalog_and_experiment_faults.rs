//! The same exhaustive faults for the actors of the catalog and of experiments: whatever fails, nothing half-done
//! remains, and the same command works right after.

use actors::catalog::{self, Change, SkillTerms};
use actors::experiment::directory::Entry;
use actors::experiment::{
    self, Answered, Arm, Ask, By, Call, Definition, FEEDBACK_WINDOW_MS, Feedback, Page, Steering, Turn,
};
use actors::shared::{Micro, ModelPrice, PriceTable, Refusal};
use actors::sql::Sql;
use actors::sqlite::Sqlite;
use sim::check::dump::dump_all;
use sim::exhaust::exhaust;
use sim::fault::Faulty;

const NOW_MS: i64 = 1_700_000_000_000;
const SKILL: &str = "summary";

fn change(reason: &str) -> Change {
    Change { expected_version: None, by: "first".to_owned(), reason: reason.to_owned() }
}

fn prices(micro: i64) -> PriceTable {
    PriceTable {
        default: ModelPrice::flat(micro),
        models: [("m".to_owned(), ModelPrice::flat(micro))].into(),
    }
}

fn put_skill(system: &str) -> catalog::Command {
    let terms = Box::new(SkillTerms { system: system.to_owned(), ..SkillTerms::default() });
    catalog::Command::PutSkill { name: SKILL.to_owned(), terms, change: change(system) }
}

fn sell(sql: &mut impl Sql, command: catalog::Command) -> Result<String, Refusal> {
    catalog::open(sql)?;
    catalog::handle(sql, command, NOW_MS).map(|reply| format!("{reply:?}"))
}

/// Every command of the catalog, with what it is called.
fn catalog_commands() -> Vec<(&'static str, catalog::Command)> {
    use catalog::Command;
    let name = || SKILL.to_owned();
    vec![
        ("read", Command::Read { known_revision: None, configured: Some(prices(7)) }),
        ("read what is known", Command::Read { known_revision: Some(0), configured: None }),
        ("prices", Command::Prices { version: "1".parse().expect("a version") }),
        ("list prices", Command::ListPrices { limit: 2, cursor: None }),
        ("put prices", Command::PutPrices { prices: prices(900), change: change("dearer") }),
        ("list skills", Command::ListSkills),
        ("skill", Command::Skill { name: name(), version: None }),
        ("a version of a skill", Command::Skill { name: name(), version: Some(1) }),
        ("list versions", Command::ListSkillVersions { name: name(), limit: 2, cursor: None }),
        ("put a skill", put_skill("Be another.")),
        ("delete a skill", Command::DeleteSkill { name: name(), change: change("gone") }),
        ("roll back", Command::RollBackSkill { name: name(), version: 1, change: change("as it was") }),
    ]
}

#[test]
fn every_statement_of_every_command_of_the_catalog_may_fail() {
    let mut faults = 0;
    let states: [(&str, Vec<catalog::Command>); 3] = [
        ("never opened", vec![]),
        (
            "in use",
            vec![
                catalog::Command::PutPrices { prices: prices(5), change: change("first") },
                put_skill("Be brief."),
                put_skill("Be long."),
            ],
        ),
        (
            "a deleted skill",
            vec![
                put_skill("Be brief."),
                catalog::Command::DeleteSkill { name: SKILL.to_owned(), change: change("gone") },
            ],
        ),
    ];
    for (state, before) in states {
        for (name, command) in catalog_commands() {
            let mut database = Sqlite::in_memory().expect("a database");
            for done in &before {
                database.transaction(|sql| sell(sql, done.clone())).expect("what makes the state");
            }
            let run = |sql: &mut Faulty<'_, Sqlite>| sell(sql, command.clone());
            faults += exhaust(&format!("{name}, {state}"), database, dump_all, &run);
        }
    }
    println!("{faults} faults");
    assert!(faults > 300, "{faults}");
}

fn arm(name: &str) -> Arm {
    Arm { name: name.to_owned(), skill_version: Some(1), system: None, model: None }
}

fn define(names: &[&str]) -> experiment::Command {
    let definition = Definition {
        arms: names.iter().map(|name| arm(name)).collect(),
        control: (*names.first().expect("an arm")).to_owned(),
        sticky_ms: 60_000,
    };
    experiment::Command::Define { definition, reason: Some("r".to_owned()), operator: "first".to_owned() }
}

fn answered(request_id: &str, arm: &str) -> experiment::Command {
    experiment::Command::Answered(Answered {
        request_id: request_id.to_owned(),
        tenant: "t".to_owned(),
        unit: "u".to_owned(),
        arm: arm.to_owned(),
        by: By::Chance,
        round: 1,
        cost: Micro(5),
        latency_ms: 7,
    })
}

fn score(score_ppm: i64) -> experiment::Command {
    let (request_id, tenant) = ("request-1".to_owned(), "t".to_owned());
    experiment::Command::Feedback(Feedback { request_id, tenant, score_ppm })
}

fn steer(turn: Turn) -> experiment::Command {
    experiment::Command::Steer(Steering { turn, reason: "r".to_owned(), operator: "first".to_owned() })
}

fn conduct(sql: &mut impl Sql, command: &experiment::Command, now_ms: i64) -> Result<String, Refusal> {
    let call = Call { request_id: "r".to_owned(), skill: SKILL.to_owned(), command: command.clone() };
    experiment::handle(sql, &call, 5, now_ms).map(|reply| format!("{reply:?}"))
}

/// Every command of an experiment, and of the list of them.
fn experiment_commands() -> Vec<(&'static str, experiment::Command)> {
    use experiment::Command;
    let ask = |wanted: Option<&str>| {
        Command::Assign(Ask { unit: "u".to_owned(), wanted: wanted.map(str::to_owned) })
    };
    vec![
        ("define", define(&["a", "b"])),
        ("define others", define(&["b", "c", "d"])),
        ("assign", ask(None)),
        ("assign what is wanted", ask(Some("b"))),
        ("an answer", answered("request-2", "b")),
        ("an answer once more", answered("request-1", "a")),
        ("a score", score(1_000_000)),
        ("pause", steer(Turn::Pause)),
        ("resume", steer(Turn::Resume)),
        ("pin", steer(Turn::Pin { arm: "b".to_owned() })),
        ("promote", steer(Turn::Promote { arm: "b".to_owned() })),
        ("withdraw", steer(Turn::Withdraw)),
        ("report", Command::Report),
        ("a page of a report", Command::ReportPage(Page { limit: Some(1), cursor: None })),
        ("enter", Command::Directory(Entry::Enter("other".to_owned()))),
        ("strike", Command::Directory(Entry::Strike(SKILL.to_owned()))),
        ("list", Command::Directory(Entry::List)),
    ]
}

#[test]
fn every_statement_of_every_command_of_an_experiment_may_fail() {
    let mut faults = 0;
    let enter = || experiment::Command::Directory(Entry::Enter(SKILL.to_owned()));
    let running = || vec![enter(), define(&["a", "b"]), answered("request-1", "a"), score(250_000)];
    let promoted = || [running(), vec![steer(Turn::Promote { arm: "a".to_owned() })]].concat();
    let states = [
        ("never opened", vec![], NOW_MS),
        ("running", running(), NOW_MS),
        // The next answer has old ones forgotten.
        ("running for long", running(), NOW_MS + FEEDBACK_WINDOW_MS),
        ("paused", [running(), vec![steer(Turn::Pause)]].concat(), NOW_MS),
        ("promoted", promoted(), NOW_MS),
        ("withdrawn", [promoted(), vec![steer(Turn::Withdraw)]].concat(), NOW_MS),
    ];
    for (state, before, now_ms) in states {
        for (name, command) in experiment_commands() {
            let mut database = Sqlite::in_memory().expect("a database");
            for done in &before {
                database.transaction(|sql| conduct(sql, done, NOW_MS)).expect("what makes the state");
            }
            let run = |sql: &mut Faulty<'_, Sqlite>| conduct(sql, &command, now_ms);
            faults += exhaust(&format!("{name}, {state}"), database, dump_all, &run);
        }
    }
    println!("{faults} faults");
    assert!(faults > 500, "{faults}");
}
