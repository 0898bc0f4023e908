//! Many seeds, on every core, and what is kept of those that fail.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::run::{Failure, run};
use crate::scenario::scenario;
use crate::shrink::shrink;
use crate::tally::Tally;

/// A seed that failed, with the shortest list of steps that still does.
#[derive(Debug, Clone)]
pub struct Found {
    pub seed: u64,
    pub steps: u32,
    pub failure: Failure,
    pub shrunk_steps: usize,
    pub shrunk: Failure,
}

/// A long run says now and then how far it is.
const PROGRESS_EVERY: u64 = 10_000;

/// As many as there are cores.
pub fn all_cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// Carries out `seeds` on so many threads until one fails; what happened in all of them together.
pub fn run_seeds(
    seeds: impl Iterator<Item = u64> + Send,
    steps: u32,
    threads: usize,
) -> (Tally, Option<(u64, Failure)>) {
    let (seeds, total) = (Mutex::new(seeds), Mutex::new(Tally::default()));
    let (failed, first) = (AtomicBool::new(false), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut own = Tally::default();
                while !failed.load(Ordering::Relaxed) {
                    let Some(seed) = seeds.lock().unwrap().next() else { break };
                    if seed > 0 && seed.is_multiple_of(PROGRESS_EVERY) {
                        println!("seed {seed}");
                    }
                    let scenario = scenario(seed, steps);
                    let (tally, failure) = run(&scenario, &scenario.steps, false);
                    own.add(&tally);
                    if let Some(failure) = failure {
                        failed.store(true, Ordering::Relaxed);
                        first.lock().unwrap().get_or_insert((seed, failure));
                    }
                }
                total.lock().unwrap().add(&own);
            });
        }
    });
    (total.into_inner().unwrap(), first.into_inner().unwrap())
}

/// Makes a failing seed short and prints it, step by step, with what was answered.
pub fn explain(seed: u64, steps: u32, failure: &Failure) -> Found {
    let scenario = scenario(seed, steps);
    let (short, shrunk) = shrink(&scenario, failure);
    println!("seed {seed} fails at step {} of {steps}: {}", failure.step, failure.what);
    println!("{} steps are enough:", short.len());
    run(&scenario, &short, true);
    println!("    {}", shrunk.what);
    println!("replay: make sim SEED={seed} STEPS={steps}");
    Found { seed, steps, failure: failure.clone(), shrunk_steps: short.len(), shrunk }
}

/// Seeds that failed once are run first, until somebody takes them out of the file.
pub fn kept_seeds() -> Vec<(u64, u32)> {
    let text = std::fs::read_to_string(kept_path()).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let numbers = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    lines.filter_map(numbers).collect()
}

/// Keeps a seed that failed: the seed, and how many steps it had.
pub fn keep_seed(seed: u64, steps: u32) {
    if kept_seeds().contains(&(seed, steps)) {
        return;
    }
    let text = std::fs::read_to_string(kept_path()).unwrap_or_default();
    std::fs::write(kept_path(), format!("{text}{seed} {steps}\n")).expect("the failing seed is kept");
}

fn kept_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("failing-seeds.txt")
}
