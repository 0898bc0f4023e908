//! Everything at once on one tenant: a thousand asks on credit for some of them, clients that leave, providers that
//! fail. A binary of its own, so that its load disturbs no test that watches the clock.
//!
//! `cargo test -p http-tests --test storm -- --nocapture` prints what became of the asks.
//! `STORM_SEED` chooses another course of events; the seed is part of every failure.

mod asks;
mod books;
mod providers;
mod seeded;

use asks::{Fate, Planned};
use http_tests::world::World;
use seeded::Seeded;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const ASKS: usize = 1_000;
const SEED: u64 = 20_261_123;
const HOLD_TTL: Duration = Duration::from_secs(40);
/// An alarm may be late on a busy machine.
const ALARM_LATENESS: Duration = Duration::from_secs(10);

fn seed() -> u64 {
    let chosen = std::env::var("STORM_SEED").ok();
    chosen.map_or(SEED, |text| text.parse().expect("STORM_SEED is a whole number"))
}

/// Deadlines that a machine under this load keeps, except for providers that are meant to miss them.
async fn stack() -> World {
    World::private(json!({
        "FIRST_BYTE_TIMEOUT_MS": "12000",
        "ANSWER_TIMEOUT_MS": "12000",
        "IDLE_TIMEOUT_MS": "8000",
        "ASK_TIMEOUT_MS": "30000",
        "HOLD_TTL_MS": HOLD_TTL.as_millis().to_string(),
        "DEFAULT_MAX_TOKENS": "256",
    }))
    .await
}

fn print_table(credit: f64, fates: &BTreeMap<Fate, usize>, seed: u64, lasted: Duration) {
    println!("\n{ASKS} asks on {credit} credits in {lasted:.1?}, seed {seed}");
    for (fate, count) in fates {
        println!("  {count:>5}  {fate}");
    }
}

/// Runs it on `credit`; every end of `must_meet` must have been met, or it was no storm.
async fn storm(credit: f64, must_meet: &[Fate]) {
    let seed = seed();
    let world = stack().await;
    let tenant = world.tenant("storm", credit).await;
    let run = providers::script(&world);
    let mut random = Seeded::new(seed);
    let planned: Vec<Planned> = (0..ASKS).map(|index| asks::plan(&mut random, &run, index)).collect();
    let started = Instant::now();
    let outcomes = futures::future::join_all(planned.iter().map(|ask| asks::perform(&tenant, ask))).await;
    let mut fates: BTreeMap<Fate, usize> = BTreeMap::new();
    outcomes.iter().for_each(|outcome| *fates.entry(outcome.fate.clone()).or_default() += 1);
    print_table(credit, &fates, seed, started.elapsed());
    for fate in fates.keys() {
        assert!(!matches!(fate, Fate::Unexpected(_)), "seed {seed}: {fate}");
    }
    for fate in must_meet {
        assert!(fates.contains_key(fate), "seed {seed}: nothing ended like this: {fate}");
    }
    books::no_hold_is_left(&tenant, HOLD_TTL + ALARM_LATENESS).await;
    println!("  no hold was open {:.1?} after the first ask", started.elapsed());
    books::agree(&tenant, credit, &outcomes, seed).await;
    // And it serves on.
    tenant.set_balance(1.0).await;
    tenant.ask(&json!({"input": "after the storm"})).send().await.expect(200);
}

/// Credit for about six hundred of them at a time: every kind of end is met.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_asks_at_once_never_cost_more_than_was_given() {
    let ends = [Fate::Answered, Fate::Streamed, Fate::Replayed, Fate::Cut, Fate::Interrupted];
    let none = [Fate::Refused, Fate::Failed, Fate::Left];
    storm(10.0, &[&ends[..], &none[..]].concat()).await;
}

/// Credit for ten of them at a time: nearly all are refused, and what a failure gives back pays for others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_asks_at_once_on_credit_for_ten_of_them() {
    storm(0.17, &[Fate::Refused]).await;
}
