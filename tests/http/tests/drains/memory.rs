//! Draining jobs takes no memory with it.

use crate::stage::{drain, world};
use http_tests::memory::{Watch, linear_bytes};

/// So many jobs a drain, and so many drains, unless `DRAIN_MEMORY_JOBS` and `DRAIN_MEMORY_DRAINS` say otherwise.
const JOBS: usize = 1_000;
const DRAINS: usize = 3;
/// The most by which our own memory may grow from the second drain on, however many there are. It is as large as what once
/// ran at one time, and on a machine that is busy with something else more piles up: between three and nine MiB.
const OWN_GROWTH_BYTES_MAX: u64 = 8 * MIB;
/// The most by which the whole process may. It has the queue in it that stands in for the platform's, and a dozen more
/// small Workers, whose garbage is left until their heaps are worth a look: that comes to 310 MiB after some ten thousand
/// jobs, and goes no further. So this says something of long runs, and of gross mistakes.
const GROWTH_BYTES_MAX: u64 = 400 * MIB;
const MIB: u64 = 1024 * 1024;

fn said(name: &str, usual: usize) -> usize {
    let said = std::env::var(name).ok().filter(|text| !text.is_empty());
    said.map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn assert_flat(what: &str, peaks: &[u64], growth_bytes_max: u64) {
    let (second, later) = peaks[1..].split_first().expect("three and more");
    for peak in later {
        let growth = peak.saturating_sub(*second);
        assert!(growth <= growth_bytes_max, "{what} grew by {growth} bytes: {peaks:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn drains_leave_no_memory_behind() {
    let (jobs, drains) = (said("DRAIN_MEMORY_JOBS", JOBS), said("DRAIN_MEMORY_DRAINS", DRAINS));
    assert!(drains >= 3, "the first two are what the others are held against");
    let world = world().await;
    let workerd = world.stack.workerd();
    let tenant = world.tenant("drain-memory", 1_000_000.0).await;
    let (mut own, mut whole) = (Vec::new(), Vec::new());
    for number in 1..=drains {
        let watch = Watch::begin(workerd);
        drain(&tenant, jobs).await;
        // It never shrinks, so what it has come to is the most there was.
        own.push(linear_bytes(workerd));
        whole.push(watch.peak_bytes());
        let (own, whole) = (own[number - 1] / 1024, whole[number - 1] / MIB);
        println!("drain {number} of {jobs} jobs: {own} KiB of our own, at most {whole} MiB of the process");
    }
    assert!(own[0] > MIB, "our own memory was not found: {own:?}");
    assert_flat("our own memory", &own, OWN_GROWTH_BYTES_MAX);
    assert_flat("workerd", &whole, GROWTH_BYTES_MAX);
    tenant.verified().await;
    assert!(tenant.open_holds().await.is_empty());
}
