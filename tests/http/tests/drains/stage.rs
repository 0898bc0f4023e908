//! A stack of its own, a tenant that may make any number of jobs, and the end of all of them.

use futures::stream::{self, StreamExt};
use http_tests::poll::eventually;
use http_tests::world::{Tenant, World, whole};
use serde_json::json;
use std::time::Duration;

/// Requests that make jobs, at one time.
const AT_ONCE: usize = 16;
/// Two loaded cores do ten jobs in a second at the very least.
const JOB_BOUND: Duration = Duration::from_millis(100);

/// One where a slow machine loses no lease.
pub async fn world() -> World {
    World::private(json!({"JOB_LEASE_MS": "60000"})).await
}

/// Makes so many jobs, and waits until all of the tenant's are over.
pub async fn drain(tenant: &Tenant, jobs: usize) {
    let made = stream::iter(0..jobs).map(|n| {
        let call = tenant.post("/api/jobs").json(&json!({"params": {"input": format!("job {n}")}}));
        async move { drop(call.send().await.expect(200)) }
    });
    made.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    let bound = JOB_BOUND * u32::try_from(jobs).expect("a number of jobs");
    eventually(bound, "all jobs are over", || async {
        let stats = tenant.get("/api/jobs/stats").send().await.expect(200).json();
        let open: i64 = ["depth", "delayed", "running"].iter().map(|name| whole(&stats, name)).sum();
        if open == 0 { Ok(()) } else { Err(stats) }
    })
    .await;
}
