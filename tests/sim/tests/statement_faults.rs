//! Exhaustive fault injection: for every command, in several states, every statement fails, or fails after it
//! landed. The command then says so, the database is what it was, and the same command works right after.

mod states;

use actors::shared::Refusal;
use sim::check::dump::dump;
use sim::exhaust::{Run, exhaust};
use sim::fault::Faulty;
use states::{Op, State, all_operations, states};

/// Every fault of one operation in one state; how many there were.
fn inject(state: &State, name: &str, run: Run<'_>) -> u32 {
    exhaust(&format!("{name} in state {}", state.name), state.build(), dump, run)
}

#[test]
fn every_statement_of_every_command_may_fail() {
    let (mut faults, mut runs) = (0, 0);
    for state in states() {
        for Op { name, run } in all_operations() {
            faults += inject(&state, name, &*run);
            runs += 1;
        }
    }
    println!("{runs} operations in their states, {faults} faults");
    assert!(faults > 3_000, "{faults}");
}

#[test]
fn a_commit_that_was_reported_as_failed_is_asked_for_again() {
    for state in states() {
        for Op { name, run } in all_operations() {
            let mut database = state.build();
            let first = database.transaction(|sql| run(&mut Faulty::new(sql, None)));
            let landed = states::money(&mut database);
            let again = database.transaction(|sql| run(&mut Faulty::new(sql, None)));
            let at = format!("{name} in state {}: first {first:?}, again {again:?}", state.name);
            match name {
                // Without a key each is an operation of its own: its key is what makes it one.
                "set" | "delta" | "grant" => {}
                "create a job" | "set a schedule and make its run" => {
                    assert!(first.is_err() || again == Err(Refusal::DuplicateOperation), "{at}")
                }
                _ if !name.starts_with("admit") || first.is_err() => {
                    assert_eq!(first.is_ok(), again.is_ok(), "{at}")
                }
                // A reply that was stored is given again.
                _ if first.as_ref().is_ok_and(|text| text.contains("Replay")) => {
                    assert_eq!(first, again, "{at}")
                }
                "admit" | "admit what waits for a hold" => {
                    assert_eq!(again, Err(Refusal::DuplicateOperation), "{at}")
                }
                _ => assert_eq!(again, Err(Refusal::IdempotencyInProgress), "{at}"),
            }
            if !matches!(name, "set" | "delta" | "grant") {
                assert_eq!(states::money(&mut database), landed, "{at}: money moved twice");
            }
            if matches!(name, "settle" | "settle with a key" | "settle beyond" | "release" | "late settle") {
                // When to ring is told by the first; a shell that heard of a failure asks anew what is due.
                let alike = |answer: &Result<String, Refusal>| {
                    let reply = |text: String| text.split(", effects").next().unwrap_or_default().to_owned();
                    answer.clone().map(|text| reply(text.replace("first: true", "first: false")))
                };
                assert_eq!(alike(&first), alike(&again), "{at}");
            }
        }
    }
}
