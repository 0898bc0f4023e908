//! What a client does next, drawn from its seeded generator.

use crate::operation::{Ask, Form, Request};
use crate::party::Party;
use crate::scenario;
use fastrand::Rng;
use std::ops::Range;

/// The weights of the mixture; they need not add up to anything.
const ASK: u64 = 20;
const STREAM: u64 = 12;
const KEYED_ASK: u64 = 18;
const KEYED_STREAM: u64 = 12;
const LEFT_ASK: u64 = 4;
const LEFT_STREAM: u64 = 4;
const ADJUST: u64 = 14;
const USAGE_EVENT: u64 = 16;

/// One unkeyed ask of this many meets no provider that answers.
const NOBODY_ONE_IN: u64 = 10;
/// One keyed ask of this many is left by its client and then asked again while the first may still run.
const IMPATIENT_ONE_IN: u64 = 6;
const PATIENCE_MS: Range<u64> = 5..150;

/// An index into `parties` and what to ask.
pub fn draw(rng: &mut Rng, parties: &[Party]) -> (usize, Request) {
    let tenant = weighted(rng, &parties.iter().map(|party| party.weight).collect::<Vec<_>>());
    let weights = [ASK, STREAM, KEYED_ASK, KEYED_STREAM, LEFT_ASK, LEFT_STREAM, ADJUST, USAGE_EVENT];
    let request = match weighted(rng, &weights) {
        0 => unkeyed(rng, Form::Json),
        1 => unkeyed(rng, Form::Stream),
        2 => keyed(rng, Form::Json),
        3 => keyed(rng, Form::Stream),
        4 => left(rng, Form::Json),
        5 => left(rng, Form::Stream),
        6 => Request::Adjust { delta_milli: rng.i64(parties[tenant].deltas_milli.clone()) },
        _ => Request::UsageEvent { tokens_in: rng.u64(1..500), cost_milli: rng.i64(0..50) },
    };
    (tenant, request)
}

fn unkeyed(rng: &mut Rng, form: Form) -> Request {
    let scenario = if one_in(rng, NOBODY_ONE_IN) { scenario::NOBODY } else { answered(rng) };
    Request::Ask(Ask { scenario, form, keyed: false, patience_ms: None, probe: false })
}

fn keyed(rng: &mut Rng, form: Form) -> Request {
    let patience_ms = one_in(rng, IMPATIENT_ONE_IN).then(|| rng.u64(PATIENCE_MS));
    Request::Ask(Ask { scenario: answered(rng), form, keyed: true, patience_ms, probe: false })
}

fn left(rng: &mut Rng, form: Form) -> Request {
    let scenario = match form {
        Form::Json => scenario::SLOW,
        Form::Stream => scenario::ENDLESS,
    };
    let patience_ms = Some(rng.u64(PATIENCE_MS));
    Request::Ask(Ask { scenario, form, keyed: false, patience_ms, probe: false })
}

/// The ask that shows that the runtime is back.
pub const fn probe() -> Request {
    Request::Ask(Ask {
        scenario: scenario::BRIEF,
        form: Form::Json,
        keyed: false,
        patience_ms: None,
        probe: true,
    })
}

fn answered(rng: &mut Rng) -> &'static str {
    let index = weighted(rng, &scenario::ANSWERED.map(|(_, weight)| weight));
    scenario::ANSWERED[index].0
}

fn one_in(rng: &mut Rng, count: u64) -> bool {
    rng.u64(..count) == 0
}

/// An index, each as likely as its weight.
fn weighted(rng: &mut Rng, weights: &[u64]) -> usize {
    let mut drawn = rng.u64(..weights.iter().sum::<u64>());
    for (index, weight) in weights.iter().enumerate() {
        if drawn < *weight {
            return index;
        }
        drawn -= weight;
    }
    unreachable!("what is drawn is less than the sum")
}
