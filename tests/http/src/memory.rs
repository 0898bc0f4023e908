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

/// The addresses that a Worker's own linear memory may have: all that 32 bits can say. The runtime sets that many aside, and
/// lets those be used that the memory has grown to.
const ADDRESSES_BYTES: u64 = 1 << 32;
/// The runtime keeps some more beside them that nobody may touch.
const GUARD_BYTES_MAX: u64 = 1 << 24;

/// How far the linear memories of the Workers in `pid` have grown, in bytes: all that our Rust code ever had at one time.
/// Unlike the rest of the process it has nothing of the runtime's own, of JavaScript, or of what stands in for queues and
/// buckets on this machine. It never shrinks.
pub fn linear_bytes(pid: Pid) -> u64 {
    let path = format!("/proc/{}/maps", pid.as_raw_nonzero());
    let maps = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let all: Vec<(u64, u64, &str)> = maps.lines().filter_map(mapping).collect();
    let of_two = all.windows(2).filter_map(|pair| {
        let ((from, to, used), (next, end, kept)) = (pair[0], pair[1]);
        let whole = (ADDRESSES_BYTES..ADDRESSES_BYTES + GUARD_BYTES_MAX).contains(&(end - from));
        (used == "rw-p" && kept == "---p" && to == next && whole).then_some(to - from)
    });
    of_two.sum()
}

/// Where it is, and what may be done with it.
fn mapping(line: &str) -> Option<(u64, u64, &str)> {
    let (range, rest) = line.split_once(' ')?;
    let (from, to) = range.split_once('-')?;
    let address = |digits: &str| u64::from_str_radix(digits, 16).ok();
    Some((address(from)?, address(to)?, rest.get(..4)?))
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
