//! Draining jobs takes no memory with it.

use crate::stage::{drain, world};
use http_tests::memory::Watch;

/// So many jobs a drain, and so many drains, unless `DRAIN_MEMORY_JOBS` and `DRAIN_MEMORY_DRAINS` say otherwise.
const JOBS: usize = 1_000;
const DRAINS: usize = 3;
/// The most by which the peak of a later drain may be above the second one's. The first is not looked at: the runtime
/// gives its heap more room than it needs, and most of that until then.
const GROWTH_BYTES_MAX: u64 = 48 * 1024 * 1024;
const MIB: u64 = 1024 * 1024;

fn said(name: &str, usual: usize) -> usize {
    let said = std::env::var(name).ok().filter(|text| !text.is_empty());
    said.map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[tokio::test(flavor = "multi_thread")]
async fn drains_leave_no_memory_behind() {
    let (jobs, drains) = (said("DRAIN_MEMORY_JOBS", JOBS), said("DRAIN_MEMORY_DRAINS", DRAINS));
    assert!(drains >= 3, "the first two are what the others are held against");
    let world = world().await;
    let tenant = world.tenant("drain-memory", 1_000_000.0).await;
    let mut peaks = Vec::new();
    for number in 1..=drains {
        let watch = Watch::begin(world.stack.workerd());
        drain(&tenant, jobs).await;
        let peak = watch.peak_bytes();
        println!("drain {number} of {jobs} jobs: at most {} MiB", peak / MIB);
        peaks.push(peak);
    }
    let (warm, later) = peaks[1..].split_first().expect("three and more");
    for peak in later {
        let growth = peak.saturating_sub(*warm);
        assert!(growth <= GROWTH_BYTES_MAX, "workerd grew by {} MiB: {peaks:?}", growth / MIB);
    }
    tenant.verified().await;
    assert!(tenant.open_holds().await.is_empty());
}
