//! How long a client waits: heartbeats, and the time before it dials again.

use std::time::Duration;

/// The longest that it does not look at its clocks.
pub const TICK: Duration = Duration::from_millis(20);

/// How a client behaves.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Samples a second.
    pub rate_hz: usize,
    /// How often it pings; a line that is silent for two of these is dead.
    pub heartbeat: Duration,
    /// How long a dial may take.
    pub dial_max: Duration,
    /// The least and the most of the waits before it dials again, which double.
    pub wait_first: Duration,
    pub wait_max: Duration,
    /// Of its chance: the same one waits the same.
    pub seed: u64,
}

impl Manner {
    /// Short waits, for tests.
    pub const fn quick(seed: u64) -> Self {
        Self {
            rate_hz: 24_000,
            heartbeat: Duration::from_millis(1_000),
            dial_max: Duration::from_secs(4),
            wait_first: Duration::from_millis(20),
            wait_max: Duration::from_millis(200),
            seed,
        }
    }

    pub const fn dead_after(&self) -> Duration {
        self.heartbeat.saturating_mul(2)
    }
}

/// Numbers that look random, and are the same for the same seed.
pub struct Chance(u64);

impl Chance {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub const fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Between half and all of a wait that doubles with every try.
    pub fn wait(&mut self, manner: &Manner, tries: u32) -> Duration {
        let whole = manner.wait_first.saturating_mul(1 << tries.min(16)).min(manner.wait_max);
        let half = whole / 2;
        let parts = u32::try_from(self.next() % 1_001).expect("a small number");
        half + half * parts / 1_000
    }
}
