//! Ten thousand seeds hold, and everything that is meant to happen in them happens, and often.

use std::time::Instant;

use sim::run::run;
use sim::runner::{all_cores, explain, keep_seed, kept_seeds, run_seeds};
use sim::scenario::scenario;
use sim::tally::Tally;

const SEEDS: u64 = 10_000;
const STEPS: u32 = 200;

/// What must have happened at least once in so many steps: else the schedules leave a corner out.
fn assert_varied(tally: &Tally) {
    let least = tally.steps / 40_000;
    let outcomes = [
        ("admit", "admitted"),
        ("admit", "replayed"),
        ("admit", "insufficient credits"),
        ("admit", "rate limited"),
        ("admit", "too many in flight"),
        ("admit", "exceeds budget"),
        ("admit", "cap reached"),
        ("admit", "tier not allowed"),
        ("admit", "key in progress"),
        ("admit", "key with another body"),
        ("admit", "duplicate operation"),
        ("progress", "done"),
        ("progress", "insufficient credits"),
        ("progress", "rate limited"),
        ("progress", "exceeds budget"),
        ("progress", "cap reached"),
        ("settle", "done"),
        ("settle", "done, short"),
        ("settle", "had ended"),
        ("settle", "unknown hold"),
        ("release", "done"),
        ("release", "had ended"),
        ("adjust", "done"),
        ("adjust", "replayed"),
        ("adjust", "invalid amount"),
        ("adjust", "invalid setting"),
        ("record usage", "done"),
        ("record usage", "replayed"),
        ("record usage", "rate limited"),
        ("set limits", "done"),
        ("set limits", "invalid setting"),
        ("report of a delivery", "delivered"),
        ("report of a delivery", "failed"),
        ("create job", "done"),
        ("create job", "replayed"),
        ("create job", "known already"),
        ("create job", "insufficient credits"),
        ("create job", "rate limited"),
        ("create job", "cap reached"),
        ("create job", "duplicate operation"),
        ("lease job", "done"),
        ("lease job", "nothing to do"),
        ("beat", "done"),
        ("beat", "stale lease"),
        ("complete job", "done"),
        ("complete job", "had ended"),
        ("complete job", "stale lease"),
        ("fail job", "done"),
        ("fail job", "had ended"),
        ("fail job", "stale lease"),
        ("patch job", "done"),
        ("patch job", "invalid transition"),
        ("redrive jobs", "done"),
        ("redrive jobs", "done in part"),
    ];
    for outcome in outcomes {
        let count = tally.commands.get(&outcome).copied().unwrap_or(0);
        assert!(count > least, "{outcome:?} happened {count} times in {} steps", tally.steps);
    }
    let faults = [
        "alarm early",
        "alarm in time",
        "alarm late",
        "alarm twice",
        "clock leapt ahead",
        "clock stepped back",
        "commit landed, reported as failed",
        "crash after the commit",
        "crash before the commit",
        "evicted",
        "message delivered again",
        "message in order",
        "message lost",
        "message out of order",
        "message sent again",
        "reply lost",
        "statement failed",
        "statement failed after it landed",
        "worker died",
        "worker died after its provider had answered",
    ];
    for fault in faults {
        let count = tally.faults.get(fault).copied().unwrap_or(0);
        assert!(count > least, "{fault} happened {count} times in {} steps", tally.steps);
    }
}

#[test]
fn ten_thousand_seeds_hold() {
    std::panic::set_hook(Box::new(|_| {}));
    for (seed, steps) in kept_seeds() {
        let scenario = scenario(seed, steps);
        if let (_, Some(failure)) = run(&scenario, &scenario.steps, false) {
            explain(seed, steps, &failure);
            let _default = std::panic::take_hook();
            panic!("the kept seed {seed} fails again");
        }
    }
    let started = Instant::now();
    let (tally, failure) = run_seeds(0..SEEDS, STEPS, all_cores());
    let _default = std::panic::take_hook();
    println!("{tally}  time: {:.1} s", started.elapsed().as_secs_f64());
    if let Some((seed, failure)) = failure {
        keep_seed(seed, STEPS);
        explain(seed, STEPS, &failure);
        panic!("seed {seed} fails");
    }
    assert_varied(&tally);
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    for seed in [3, 77, 4_711] {
        let of_seed = || {
            let scenario = scenario(seed, STEPS);
            let (tally, failure) = run(&scenario, &scenario.steps, false);
            (format!("{:?}", scenario.steps), tally.to_string(), failure.map(|failure| failure.what))
        };
        assert_eq!(of_seed(), of_seed(), "seed {seed}");
    }
}
