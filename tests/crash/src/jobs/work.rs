//! What jobs are to do, and what the scripted provider makes of it.

use fastrand::Rng;
use http_tests::provider_script::{Behaviour, Usage};
use http_tests::world::World;
use serde_json::{Value, json};
use std::time::Duration;

/// How many asks a batch has.
pub const BATCH_ASKS: usize = 3;
/// What one answered ask costs, in thousandths of a credit: 244 tokens at 0.05 a thousand, cut to three decimals.
const ASK_MILLI: i64 = 12;
const USAGE: Usage = Usage::new(52, 192);
/// Long enough that kills meet jobs in the middle, short enough that hundreds are done in a minute.
const LATE_DELAY: Duration = Duration::from_millis(120);
const SLOW_DELAY: Duration = Duration::from_millis(600);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// One ask, answered after a moment.
    Late,
    /// One ask, answered so late that most kills meet it.
    Slow,
    /// Some asks in one job, each answered after a moment.
    Batch,
    /// An ask that every provider refuses for good.
    Refused,
}

impl Work {
    pub const ALL: [Self; 4] = [Self::Late, Self::Slow, Self::Batch, Self::Refused];
    /// The weights of the mixture.
    const WEIGHTS: [u64; 4] = [5, 3, 2, 1];

    pub fn draw(rng: &mut Rng) -> Self {
        let mut drawn = rng.u64(..Self::WEIGHTS.iter().sum::<u64>());
        for (work, weight) in Self::ALL.into_iter().zip(Self::WEIGHTS) {
            if drawn < weight {
                return work;
            }
            drawn -= weight;
        }
        unreachable!("what is drawn is less than the sum")
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Late => "si, answered after 120 ms",
            Self::Slow => "si, answered after 600 ms",
            Self::Batch => "batch of three asks",
            Self::Refused => "si, refused for good",
        }
    }

    /// In the prompt, for the provider. No marker is part of another.
    const fn marker(self) -> &'static str {
        match self {
            Self::Late => "work-late",
            Self::Slow => "work-slow",
            Self::Batch => "work-in-a-batch",
            Self::Refused => "work-refused",
        }
    }

    /// What is sent. Every ask has the job's own `name` in it, by which it is known again.
    pub fn body(self, name: &str) -> Value {
        let input = format!("{} {name}", self.marker());
        match self {
            Self::Batch => json!({"type": "batch", "params": {"inputs": vec![input; BATCH_ASKS]}}),
            _ => json!({"type": "si", "params": {"input": input}}),
        }
    }

    /// What it costs when it succeeds, in thousandths of a credit.
    pub const fn cost_milli(self) -> i64 {
        match self {
            Self::Batch => ASK_MILLI * 3,
            Self::Late | Self::Slow | Self::Refused => ASK_MILLI,
        }
    }

    /// Whether it may end as `failed` with this reason. What is answered fails only when kills met each attempt.
    pub fn may_fail_for(self, reason: &str) -> bool {
        match self {
            Self::Refused => ["final_error", "attempts_exhausted"].contains(&reason),
            _ => reason == "attempts_exhausted",
        }
    }
}

/// Teaches the providers of `world` all of it.
pub fn script(world: &World) {
    let after = |delay| Behaviour::late(delay, Behaviour::answer("An answer.", USAGE));
    world.groq.script(Work::Late.marker(), [after(LATE_DELAY)]);
    world.groq.script(Work::Slow.marker(), [after(SLOW_DELAY)]);
    world.groq.script(Work::Batch.marker(), [after(LATE_DELAY)]);
    for provider in world.providers() {
        provider.script(Work::Refused.marker(), [Behaviour::status(400)]);
    }
}

/// How often providers were asked for jobs.
pub fn provider_calls(world: &World) -> usize {
    Work::ALL.into_iter().map(|work| world.calls_anywhere(work.marker())).sum()
}
