//! A run: load, a kill, a look at the books, and again; at the end everything once more, at rest.

use crate::audit::{self, audit};
use crate::books::Books;
use crate::bounds::{
    ALARM_LATENESS_MS, ASK_TIMEOUT_MS, HOLD_TTL_MS, KILL_JITTER_MS_MAX, POLL, PROVIDER_TIMEOUT_MS,
    REPLAYS_A_KILL_MAX, RESTART_BOUND_MS, ROUND_BOUND,
};
use crate::load::{Load, Shared};
use crate::report::Report;
use crate::restart::{self, Restart};
use crate::settings::Settings;
use crate::violation::{Fault, Violation};
use crate::{party, reader, replay, scenario, worker_log};
use fastrand::Rng;
use http_tests::world::World;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Runs as `settings` say. It ends at the first kill after which something is wrong.
pub async fn run(settings: Settings) -> Report {
    let started = Instant::now();
    println!("seed {}, {} kills, {} operations", settings.seed, settings.kills, settings.operations);
    let mut world = start_world().await;
    let mut rng = Rng::with_seed(settings.seed);
    let shared = Arc::new(Shared::new(party::gather(&world).await, settings.seed));
    for (tenant, party) in shared.parties.iter().enumerate() {
        shared.perform(tenant, party.opening()).await;
    }
    let mut load = Load::start(&shared, rng.u64(..));
    let mut restarts = Vec::new();
    let mut replays = 0;
    let mut books = Vec::new();
    let mut holds_left = 0;
    for _ in 0..settings.kills {
        let quota = quota(&mut rng, &settings);
        acknowledged(&shared, &mut load, shared.journal.acknowledged() + quota).await;
        tokio::time::sleep(Duration::from_millis(rng.u64(..KILL_JITTER_MS_MAX))).await;
        let (restart, quiet) = restart::kill(&mut world, &shared).await;
        restarts.extend(restart.inspect(|restart| judge(restart, &shared)));
        if restart.is_some() {
            replays += replay_some(&shared, &mut rng).await;
            books = compare_books(&shared).await;
            holds_left += books.iter().map(|books| books.holds.len()).sum::<usize>();
        }
        drop(quiet);
        if !shared.journal.violations().is_empty() {
            break;
        }
    }
    let intact = shared.journal.violations().is_empty();
    if intact {
        acknowledged(&shared, &mut load, settings.operations).await;
    }
    load.drain(&shared).await;
    let mut own_audits = None;
    if intact {
        replays += replay::compare(&shared, &replay::candidates(shared.journal.operations())).await;
        holds_end(&shared).await;
        books = compare_books(&shared).await;
        own_audits = audit_themselves(&shared).await;
    }
    let logged_faults = worker_log::faults(&world.stack.log().text());
    let World { stack, .. } = world;
    stack.stop();
    Report {
        holds_left,
        done_unheard: done_unheard(&shared, &books),
        replays,
        own_audits,
        logged_faults,
        wall_time: started.elapsed(),
        ..Report::new(settings, &shared, restarts)
    }
}

async fn start_world() -> World {
    let world = World::private(json!({
        "ASK_TIMEOUT_MS": ASK_TIMEOUT_MS.to_string(),
        "FIRST_BYTE_TIMEOUT_MS": PROVIDER_TIMEOUT_MS.to_string(),
        "ANSWER_TIMEOUT_MS": PROVIDER_TIMEOUT_MS.to_string(),
        "IDLE_TIMEOUT_MS": PROVIDER_TIMEOUT_MS.to_string(),
        "HOLD_TTL_MS": HOLD_TTL_MS.to_string(),
        "PREFERRED_PROVIDER": "groq,local",
    }))
    .await;
    scenario::script(&world);
    world
}

/// How many acknowledgements the next round brings, twice its share at most. With none, the kill meets the crowd
/// that comes back after the last one.
fn quota(rng: &mut Rng, settings: &Settings) -> usize {
    let share = settings.operations.div_ceil(settings.kills.max(1));
    rng.usize(0..=share * 2)
}

/// Waits until the journal has `wanted` acknowledgements.
async fn acknowledged(shared: &Shared, load: &mut Load, wanted: usize) {
    let began = Instant::now();
    while shared.journal.acknowledged() < wanted {
        load.must_be_well();
        if began.elapsed() > ROUND_BOUND {
            let done = shared.journal.acknowledged();
            let detail = format!("{done} of {wanted} acknowledged within {ROUND_BOUND:?}");
            return shared.journal.accuse(Violation::new(Fault::Stuck, detail));
        }
        tokio::time::sleep(POLL).await;
    }
}

fn judge(restart: &Restart, shared: &Shared) {
    let bound = Duration::from_millis(RESTART_BOUND_MS);
    if restart.whole() > bound {
        shared.journal.accuse(Violation::new(Fault::SlowRestart, format!("{restart:?} is over {bound:?}")));
    }
}

async fn replay_some(shared: &Shared, rng: &mut Rng) -> usize {
    let mut candidates = replay::candidates(shared.journal.operations());
    rng.shuffle(&mut candidates);
    candidates.truncate(REPLAYS_A_KILL_MAX);
    replay::compare(shared, &candidates).await
}

/// Reads the books of every tenant and writes down what is wrong with them.
async fn compare_books(shared: &Shared) -> Vec<Books> {
    let readings = shared.parties.iter().map(|party| reader::read(&party.tenant));
    let books = futures::future::join_all(readings).await;
    for (tenant, books) in books.iter().enumerate() {
        for violation in audit(&shared.journal.of_tenant(tenant), books) {
            shared.journal.accuse(violation);
        }
    }
    books
}

fn done_unheard(shared: &Shared, books: &[Books]) -> usize {
    let tenants = books.iter().enumerate();
    tenants.map(|(tenant, books)| audit::done_unheard(&shared.journal.of_tenant(tenant), books)).sum()
}

/// Nothing is asked any more, so every hold must end by its deadline.
async fn holds_end(shared: &Shared) {
    let bound = Duration::from_millis(HOLD_TTL_MS + ALARM_LATENESS_MS);
    let began = Instant::now();
    for party in &shared.parties {
        loop {
            let holds = party.tenant.open_holds().await;
            if holds.is_empty() {
                break;
            }
            if began.elapsed() > bound {
                let detail = format!("after {bound:?} at rest: {holds:?}");
                shared.journal.accuse(Violation::new(Fault::HoldLeft, detail));
                break;
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// How many tenants' own audits found nothing.
async fn audit_themselves(shared: &Shared) -> Option<usize> {
    let mut sound = None;
    for party in &shared.parties {
        match reader::own_audit(&party.tenant).await {
            None => {}
            Some(Ok(())) => sound = Some(sound.unwrap_or(0) + 1),
            Some(Err(why)) => shared.journal.accuse(Violation::new(Fault::OwnAudit, why)),
        }
    }
    sound
}
