//! The memory that a process has in use, watched while it works.

use rustix::process::Pid;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

const SAMPLE_INTERVAL: Duration = Duration::from_millis(10);
const BYTES_PER_KIB: u64 = 1_024;

/// The resident memory of `pid` now, in bytes, from the kernel's own books.
fn resident_bytes(pid: Pid) -> u64 {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let status = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has memory");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
    kib * BYTES_PER_KIB
}

/// Looks again and again until it is asked for the most there was.
pub struct Watch {
    peak: Arc<AtomicU64>,
    looking: JoinHandle<()>,
}

impl Watch {
    pub fn begin(pid: Pid) -> Self {
        let peak = Arc::new(AtomicU64::new(resident_bytes(pid)));
        let seen = Arc::clone(&peak);
        let looking = tokio::spawn(async move {
            loop {
                seen.fetch_max(resident_bytes(pid), Ordering::SeqCst);
                tokio::time::sleep(SAMPLE_INTERVAL).await;
            }
        });
        Self { peak, looking }
    }

    /// The most there was since the beginning, in bytes.
    pub fn peak_bytes(self) -> u64 {
        self.looking.abort();
        self.peak.load(Ordering::SeqCst)
    }
}
