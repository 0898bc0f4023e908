//! Each planted mistake is found, and soon: a simulator that finds none of them proves nothing.
#![cfg(feature = "planted")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use actors::planted::{Bug, plant};
use sim::run::{Failure, run};
use sim::scenario::scenario;
use sim::shrink::shrink;

/// Seeds that are tried for each mistake; the first ones find most of them.
const SEEDS_MAX: u64 = 2_000;
const STEPS: u32 = 200;

struct Found {
    bug: Bug,
    seed: u64,
    step: usize,
    shrunk_steps: usize,
    shrunk: Failure,
}

/// The first seed that finds the mistake, and the shortest list of steps that still does.
fn find(bug: Bug) -> Option<Found> {
    plant(Some(bug));
    let found = (0..SEEDS_MAX).find_map(|seed| {
        let scenario = scenario(seed, STEPS);
        let (_, failure) = run(&scenario, &scenario.steps, false);
        let failure = failure?;
        let (short, shrunk) = shrink(&scenario, &failure);
        Some(Found { bug, seed, step: failure.step, shrunk_steps: short.len(), shrunk })
    });
    plant(None);
    found
}

#[test]
fn every_planted_mistake_is_found() {
    // A mistake may make the rules panic, which is found too.
    std::panic::set_hook(Box::new(|_| {}));
    let (next, all) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(bug) = Bug::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = find(*bug);
                    all.lock().unwrap().push((*bug, found));
                }
            });
        }
    });
    let _default = std::panic::take_hook();
    let mut all = all.into_inner().unwrap();
    all.sort_by_key(|(bug, _)| Bug::ALL.iter().position(|known| known == bug));
    println!("| mistake | seed | step | steps when shrunk | what was found |\n|---|---|---|---|---|");
    for Found { bug, seed, step, shrunk_steps, shrunk } in all.iter().filter_map(|(_, found)| found.as_ref())
    {
        let what: String = shrunk.what.chars().take(110).collect();
        println!("| `{bug:?}` | {seed} | {step} | {shrunk_steps} | {} |", what.replace('|', "/"));
    }
    let missed: Vec<Bug> = all.iter().filter(|(_, found)| found.is_none()).map(|(bug, _)| *bug).collect();
    assert!(missed.is_empty(), "not found in {SEEDS_MAX} seeds: {missed:?}");
}
