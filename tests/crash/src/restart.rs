//! One kill, and how long it takes until everybody is served again.
//!
//! The starter notices by itself that workerd is gone and brings up another one on the same port and storage, as
//! a supervisor in production would. What is measured is therefore the runtime's own start with the bundle, its
//! storage and its actors, from the SIGKILL on; the start of the local runner is not in it.

use crate::bounds::{RESTART_PATIENCE, RESTART_POLL};
use crate::heard::Heard;
use crate::load::{Quiet, Shared};
use crate::mixture;
use crate::violation::{Fault, Violation};
use http_tests::client::Client;
use http_tests::world::World;
use std::time::{Duration, Instant};

/// When everybody was served again, after the SIGKILL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// Attempts that the kill met under way.
    pub under_way: usize,
    /// The first 200 of `/ready`.
    pub ready: Duration,
    /// The first metered request that succeeded anywhere.
    pub first_served: Duration,
    /// The same for the last tenant that was served.
    pub all_served: Duration,
}

impl Restart {
    /// What is held against the bound.
    pub fn whole(&self) -> Duration {
        self.ready.max(self.all_served)
    }
}

/// Kills workerd in the middle of whatever runs. The clients stay quiet until the books were compared, so that
/// these hold what the kill left and nothing newer but the probes.
pub async fn kill<'a>(world: &mut World, shared: &'a Shared) -> (Option<Restart>, Quiet<'a>) {
    let under_way = shared.under_way();
    let killed = Instant::now();
    world.stack.crash_workerd();
    let quiet = shared.quiet().await;
    let client = world.client();
    let probed = shared.parties.iter().enumerate().filter(|(_, party)| party.probed);
    let served = futures::future::join_all(probed.map(|(tenant, _)| served(shared, tenant, killed)));
    let back = async {
        let (ready, served, ()) =
            tokio::join!(ready(&client, killed), served, world.stack.restarted(RESTART_PATIENCE * 2));
        Restart {
            under_way,
            ready,
            first_served: served.iter().min().copied().unwrap_or_default(),
            all_served: served.iter().max().copied().unwrap_or_default(),
        }
    };
    let restart = tokio::time::timeout(RESTART_PATIENCE, back).await.ok();
    if restart.is_none() {
        let detail = format!("not served again within {RESTART_PATIENCE:?}");
        shared.journal.accuse(Violation::new(Fault::SlowRestart, detail));
    }
    (restart, quiet)
}

async fn ready(client: &Client, killed: Instant) -> Duration {
    loop {
        if client.get("/ready").try_send().await.is_ok_and(|reply| reply.status == 200) {
            return killed.elapsed();
        }
        tokio::time::sleep(RESTART_POLL).await;
    }
}

/// Asks for `tenant` until one ask is answered and charged.
async fn served(shared: &Shared, tenant: usize, killed: Instant) -> Duration {
    let mut id = shared.journal.begin(tenant, mixture::probe());
    loop {
        let heard = shared.attempt(id).await;
        let acknowledged = matches!(heard, Heard::Whole(_));
        let ended = shared.note(id, heard);
        if acknowledged {
            return killed.elapsed();
        }
        if ended {
            // It was sent and is not to be sent twice.
            id = shared.journal.begin(tenant, mixture::probe());
        }
        tokio::time::sleep(RESTART_POLL).await;
    }
}
