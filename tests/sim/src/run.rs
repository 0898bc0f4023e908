//! One run: a schedule carried out from its first step to its last, or to the first that breaks something.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::scenario::Scenario;
use crate::step::Step;
use crate::tally::Tally;
use crate::world::World;

/// What broke, and at which step of the list.
#[derive(Debug, Clone)]
pub struct Failure {
    pub step: usize,
    pub what: String,
}

impl Failure {
    /// The words before the numbers: failures of one kind begin alike.
    pub fn kind(&self) -> &str {
        let what = self.what.strip_prefix("at the end: ").unwrap_or(&self.what);
        what.split(|c: char| c.is_ascii_digit() || matches!(c, ':' | '{' | '(')).next().unwrap_or_default()
    }
}

/// Carries `steps` out in the world of `scenario`; when told to, with a line for each step.
pub fn run(scenario: &Scenario, steps: &[Step], trace: bool) -> (Tally, Option<Failure>) {
    let mut world = World::new(scenario, trace);
    let mut failure = None;
    for (at, step) in steps.iter().enumerate() {
        // A panic of the rules is a finding like any other.
        let carried = catch_unwind(AssertUnwindSafe(|| world.carry_out(step)));
        let carried = carried.unwrap_or_else(|panic| Err(said(&*panic)));
        world.tally.steps += 1;
        if let Err(what) = carried {
            failure = Some(Failure { step: at, what });
            break;
        }
    }
    if failure.is_none() {
        let ended = catch_unwind(AssertUnwindSafe(|| world.end()));
        let ended = ended.unwrap_or_else(|panic| Err(said(&*panic)));
        failure = ended.err().map(|what| Failure { step: steps.len(), what: format!("at the end: {what}") });
    }
    world.tally.seeds = 1;
    (world.tally, failure)
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("panicked: {}", text.unwrap_or("without a word"))
}
