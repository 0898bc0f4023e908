//! `sim`: many seeds, or one with a trace. `SEEDS` and `STEPS` say how many, `FROM` where they begin, `SEED`
//! replays one; `THREADS` leaves cores to others.

use std::process::ExitCode;
use std::time::Instant;

use sim::run::run;
use sim::runner::{all_cores, explain, keep_seed, kept_seeds, run_seeds};
use sim::scenario::scenario;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let steps = u32::try_from(number("STEPS").unwrap_or(200)).expect("a number of steps");
    if let Some(seed) = number("SEED") {
        return replay(seed, steps);
    }
    for (seed, steps) in kept_seeds() {
        let scenario = scenario(seed, steps);
        if let (_, Some(failure)) = run(&scenario, &scenario.steps, false) {
            explain(seed, steps, &failure);
            return ExitCode::FAILURE;
        }
    }
    let (from, seeds) = (number("FROM").unwrap_or(0), number("SEEDS").unwrap_or(10_000));
    let started = Instant::now();
    let threads =
        number("THREADS").map_or_else(all_cores, |threads| usize::try_from(threads).unwrap().max(1));
    let (tally, failure) = run_seeds(from..from + seeds, steps, threads);
    print!("{tally}");
    println!("  time: {:.1} s", started.elapsed().as_secs_f64());
    if let Some((seed, failure)) = failure {
        keep_seed(seed, steps);
        explain(seed, steps, &failure);
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn replay(seed: u64, steps: u32) -> ExitCode {
    let scenario = scenario(seed, steps);
    let (_, failure) = run(&scenario, &scenario.steps, true);
    match failure {
        Some(failure) => {
            explain(seed, steps, &failure);
            ExitCode::FAILURE
        }
        None => {
            println!("seed {seed} with {steps} steps holds");
            ExitCode::SUCCESS
        }
    }
}
