//! Clients that make jobs, one after the other, until all are made.

use super::journal::{Journal, Wanted};
use super::work::Work;
use crate::bounds::{ATTEMPT_BOUND, ATTEMPTS_MAX, RETRY_PAUSE};
use crate::violation::{Fault, Violation};
use fastrand::Rng;
use http_tests::client::Reply;
use http_tests::world::Tenant;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Clients that make jobs at once.
const CLIENTS: usize = 4;
/// One job of this many is made without a key, so it is sent once only.
const UNKEYED_ONE_IN: u64 = 5;
/// The last of the random wait before a client makes another, so that jobs are made until the kill comes.
const THINK_MS_MAX: u64 = 150;

/// What the clients share with the one that kills.
pub struct Shared {
    pub tenants: Vec<Tenant>,
    pub journal: Journal,
    /// How many jobs may still be begun: the one that kills spreads them over the kills.
    pub leave: Semaphore,
}

pub fn start(shared: &Arc<Shared>, rng: &mut Rng) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (shared, mut rng) = (shared.clone(), rng.fork());
        clients.spawn(async move {
            // Closed when all are begun.
            while let Ok(leave) = shared.leave.acquire().await {
                leave.forget();
                tokio::time::sleep(Duration::from_millis(rng.u64(..THINK_MS_MAX))).await;
                let tenant = rng.usize(..shared.tenants.len());
                let keyed = rng.u64(..UNKEYED_ONE_IN) > 0;
                make(&shared, shared.journal.begin(tenant, Work::draw(&mut rng), keyed)).await;
                shared.journal.settle();
            }
        });
    }
    clients
}

async fn make(shared: &Shared, index: usize) {
    for _ in 0..ATTEMPTS_MAX {
        let wanted = shared.journal.wanted(index);
        match tokio::time::timeout(ATTEMPT_BOUND, send(shared, &wanted)).await {
            // There was nobody to connect to.
            Ok(Err(error)) if error.is_connect() => {}
            Ok(Ok(reply)) if reply.status == 200 => {
                shared.journal.sent(index);
                match id_of(&reply) {
                    Some(id) => shared.journal.acknowledge(index, id),
                    None => accuse(shared, Fault::Reply, format!("{reply:?}")),
                }
                return;
            }
            heard => {
                shared.journal.sent(index);
                match heard {
                    Ok(Ok(reply)) if [409, 503].contains(&reply.status) => {
                        shared.journal.note_refusal(&reply.error());
                    }
                    Ok(Ok(reply)) => return accuse(shared, Fault::Reply, format!("{reply:?}")),
                    Ok(Err(_)) => {}
                    Err(_) => {
                        return accuse(shared, Fault::Stuck, format!("no reply in time: {wanted:?}"));
                    }
                }
                if !wanted.keyed {
                    return;
                }
            }
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
    accuse(shared, Fault::Stuck, format!("no answer in {ATTEMPTS_MAX} attempts: {index}"));
}

fn accuse(shared: &Shared, fault: Fault, detail: String) {
    shared.journal.accuse(Violation::new(fault, detail));
}

async fn send(shared: &Shared, wanted: &Wanted) -> Result<Reply, reqwest::Error> {
    let tenant = &shared.tenants[wanted.tenant];
    let call = tenant.post("/api/jobs").json(&wanted.work.body(&wanted.name));
    let call = if wanted.keyed { call.idempotency_key(&wanted.name) } else { call };
    call.try_send().await
}

fn id_of(reply: &Reply) -> Option<String> {
    reply.json().pointer("/job/id").and_then(Value::as_str).map(str::to_owned)
}

/// Sends every acknowledged job with a key once more; how many were answered with the first one again.
pub async fn send_again(shared: &Shared) -> usize {
    let mut same = 0;
    for wanted in shared.journal.all() {
        let Some(id) = wanted.acknowledged.as_ref().filter(|_| wanted.keyed) else {
            continue;
        };
        match send(shared, &wanted).await {
            Ok(reply) if reply.status == 200 && id_of(&reply).as_ref() == Some(id) => same += 1,
            other => accuse(shared, Fault::ReplayDiffers, format!("{wanted:?} again: {other:?}")),
        }
    }
    same
}
