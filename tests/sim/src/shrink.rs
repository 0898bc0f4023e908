//! Makes a failing list of steps short: leaves parts out, halves first, single steps last, as long as it fails.

use crate::run::{Failure, run};
use crate::scenario::Scenario;
use crate::step::{Fault, Step};

/// Runs that one shrinking may take: it ends in seconds.
const RUNS_MAX: u32 = 10_000;

/// The shortest list that was found to fail in the same way, and how it fails.
pub fn shrink(scenario: &Scenario, failure: &Failure) -> (Vec<Step>, Failure) {
    let mut runs = 0;
    let mut fails = |steps: &[Step]| {
        runs += 1;
        if runs > RUNS_MAX {
            return None;
        }
        run(scenario, steps, false).1.filter(|other| other.kind() == failure.kind())
    };
    let mut steps: Vec<Step> = scenario.steps.iter().take(failure.step + 1).cloned().collect();
    let mut found = failure.clone();
    let mut size = steps.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        let mut shorter = false;
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + size).min(steps.len()));
            match fails(&fewer) {
                Some(other) => {
                    fewer.truncate(other.step + 1);
                    (steps, found, shorter) = (fewer, other, true);
                }
                None => at += size,
            }
        }
        // Once more over single steps when some could go: others may have become needless.
        size = if size == 1 { usize::from(shorter) } else { size.div_ceil(2) };
    }
    for at in 0..steps.len() {
        for simpler in simpler(&steps[at]) {
            let mut plain = steps.clone();
            plain[at] = simpler;
            if let Some(other) = fails(&plain) {
                (steps, found) = (plain, other);
            }
        }
    }
    (steps, found)
}

/// The same step without its fault, and without its clock.
fn simpler(step: &Step) -> Vec<Step> {
    let without_fault = Step { fault: Fault::None, ..step.clone() };
    let without_clock = Step { clock_ms: 0, ..step.clone() };
    let mut simpler = Vec::new();
    simpler.extend((step.fault != Fault::None).then_some(without_fault));
    simpler.extend((step.clock_ms != 0).then_some(without_clock));
    simpler
}
