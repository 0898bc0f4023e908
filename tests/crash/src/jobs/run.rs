//! A run: jobs are made, workerd is killed in the middle of some, and again; at the end everything is compared.

use super::audit::audit;
use super::maker::{self, Shared};
use super::report::Report;
use super::settings::Settings;
use super::watcher::{self, Record};
use super::{shown, work};
use crate::bounds::{ALARM_LATENESS_MS, POLL, RESTART_BOUND_MS, RESTART_PATIENCE, RESTART_POLL};
use crate::violation::{Fault, Violation};
use crate::{reader, worker_log};
use fastrand::Rng;
use http_tests::world::World;
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// A job of a worker that was killed is another's after this.
const LEASE_MS: u64 = 1_500;
/// The most that there may be, so that kills alone end no job.
const ATTEMPTS: u64 = 20;
const TENANTS: [&str; 2] = ["jobs-one", "jobs-two"];
const START_CREDITS: f64 = 1_000.0;
/// How long the clients may take for the jobs of one round.
const ROUND_BOUND: Duration = Duration::from_secs(60);
/// The last of the random wait before a kill: while jobs are still made, and while the last ones run.
const KILL_JITTER_MS_MAX: u64 = 500;
/// How long the jobs may take to be over once no kill comes any more. A message that was lost is sent again after
/// fifteen seconds, and one that was lost again and again after five minutes at most.
const END_BOUND: Duration = Duration::from_secs(360);
/// Between two looks whether all are over.
const END_POLL: Duration = Duration::from_millis(250);
/// How long what was done last may take to be seen.
const SEEN_BOUND: Duration = Duration::from_secs(10);

/// Runs as `settings` say.
pub async fn run(settings: Settings) -> Report {
    let started = Instant::now();
    println!("seed {}, {} kills, {} jobs", settings.seed, settings.kills, settings.jobs);
    let mut world = start_world().await;
    let mut rng = Rng::with_seed(settings.seed);
    let mut tenants = Vec::new();
    for name in TENANTS {
        tenants.push(world.tenant(name, START_CREDITS).await);
    }
    let shared = Arc::new(Shared { tenants, journal: Default::default(), leave: Semaphore::new(0) });
    let records: Vec<watcher::Shared> = TENANTS.iter().map(|_| Arc::new(Mutex::default())).collect();
    let mut watchers = JoinSet::new();
    for (tenant, record) in shared.tenants.iter().zip(&records) {
        watchers.spawn(watcher::watch(tenant.clone(), record.clone()));
    }
    while records.iter().any(|record| copy(record).start.is_none()) {
        tokio::time::sleep(POLL).await;
    }
    let mut clients = maker::start(&shared, &mut rng);
    let (mut begun, mut restarts_ms, mut running) = (0, Vec::new(), Vec::new());
    for kill in 1..=settings.kills {
        // Half of a round's jobs are still to be made when the kill comes.
        let upto = settings.jobs * kill / settings.kills;
        let made = begun + (upto - begun) / 2;
        shared.leave.add_permits(upto - begun);
        begun = upto;
        settled(&shared, made).await;
        tokio::time::sleep(Duration::from_millis(rng.u64(..KILL_JITTER_MS_MAX))).await;
        running.push(records.iter().map(|record| copy(record).running()).sum());
        restarts_ms.push(kill_and_restart(&mut world, &shared).await);
    }
    shared.leave.add_permits(settings.jobs - begun);
    settled(&shared, settings.jobs).await;
    shared.leave.close();
    while let Some(ended) = clients.join_next().await {
        ended.expect("a client panicked");
    }
    let drain = all_over(&shared).await;
    let replays = maker::send_again(&shared).await;
    let (jobs, records) = compare(&shared, &records).await;
    let own_audits = audit_themselves(&shared).await;
    watchers.shutdown().await;
    let calls = work::provider_calls(&world);
    let logged_faults = worker_log::faults(&world.stack.log().text());
    let World { stack, .. } = world;
    stack.stop();
    Report {
        settings,
        wanted: shared.journal.all(),
        jobs,
        events: records.iter().map(|record| record.events.len()).sum(),
        opened: records.iter().map(|record| record.opened).sum(),
        refusals: shared.journal.refusals(),
        violations: shared.journal.violations(),
        restarts_ms,
        running,
        drain,
        replays,
        own_audits,
        calls,
        logged_faults,
        wall_time: started.elapsed(),
    }
}

async fn start_world() -> World {
    let world = World::private(json!({
        "JOB_LEASE_MS": LEASE_MS.to_string(),
        "JOB_ATTEMPTS": ATTEMPTS.to_string(),
        "PREFERRED_PROVIDER": "groq,local",
    }))
    .await;
    work::script(&world);
    world
}

fn copy(record: &watcher::Shared) -> Record {
    record.lock().expect("nobody panics while writing").clone()
}

/// Waits until nothing more is sent for so many jobs.
async fn settled(shared: &Shared, wanted: usize) {
    let began = Instant::now();
    while shared.journal.settled() < wanted {
        if began.elapsed() > ROUND_BOUND {
            let detail = format!("{} of {wanted} jobs within {ROUND_BOUND:?}", shared.journal.settled());
            return shared.journal.accuse(Violation::new(Fault::Stuck, detail));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Kills workerd in the middle of whatever runs; how long it takes until it is ready again.
async fn kill_and_restart(world: &mut World, shared: &Shared) -> u128 {
    let killed = Instant::now();
    world.stack.crash_workerd();
    let client = world.client();
    let ready = async {
        while !client.get("/ready").try_send().await.is_ok_and(|reply| reply.status == 200) {
            tokio::time::sleep(RESTART_POLL).await;
        }
        killed.elapsed()
    };
    let (ready, ()) = tokio::join!(
        tokio::time::timeout(RESTART_PATIENCE, ready),
        world.stack.restarted(RESTART_PATIENCE * 2)
    );
    let took = ready.unwrap_or(RESTART_PATIENCE);
    if took > Duration::from_millis(RESTART_BOUND_MS) {
        shared.journal.accuse(Violation::new(Fault::SlowRestart, format!("{took:?}")));
    }
    took.as_millis()
}

/// Waits until every job is over.
async fn all_over(shared: &Shared) -> Duration {
    let began = Instant::now();
    for tenant in &shared.tenants {
        loop {
            let open = shown::open(tenant).await;
            if open == 0 {
                break;
            }
            if began.elapsed() > END_BOUND {
                let detail = format!("{open} jobs are not over after {END_BOUND:?} without a kill");
                shared.journal.accuse(Violation::new(Fault::Stuck, detail));
                break;
            }
            tokio::time::sleep(END_POLL).await;
        }
    }
    began.elapsed()
}

/// Reads everything and writes down what is wrong. What the watchers are still to see is waited for, not longer.
async fn compare(shared: &Shared, records: &[watcher::Shared]) -> (Vec<shown::Shown>, Vec<Record>) {
    let wanted = shared.journal.all();
    let (mut all_jobs, mut all_records) = (Vec::new(), Vec::new());
    for (index, (tenant, record)) in shared.tenants.iter().zip(records).enumerate() {
        let wanted: Vec<_> = wanted.iter().filter(|wanted| wanted.tenant == index).cloned().collect();
        let jobs = shown::read(tenant).await;
        let books = reader::read(tenant).await;
        let began = Instant::now();
        let (found, record) = loop {
            let record = copy(record);
            let found = audit(&wanted, &jobs, &books, &record);
            let may_come = found.iter().any(|violation| violation.fault == Fault::Feed);
            if !may_come || began.elapsed() > SEEN_BOUND {
                break (found, record);
            }
            tokio::time::sleep(END_POLL).await;
        };
        for violation in found {
            shared.journal.accuse(violation);
        }
        all_jobs.extend(jobs);
        all_records.push(record);
    }
    (all_jobs, all_records)
}

/// How many tenants' own audits found nothing. The alarm may still have something to clear away.
async fn audit_themselves(shared: &Shared) -> usize {
    let began = Instant::now();
    let mut sound = 0;
    for tenant in &shared.tenants {
        loop {
            match reader::own_audit(tenant).await {
                Some(Ok(())) => {
                    sound += 1;
                    break;
                }
                other if began.elapsed() > Duration::from_millis(ALARM_LATENESS_MS) => {
                    shared.journal.accuse(Violation::new(Fault::OwnAudit, format!("{other:?}")));
                    break;
                }
                _ => tokio::time::sleep(END_POLL).await,
            }
        }
    }
    sound
}
