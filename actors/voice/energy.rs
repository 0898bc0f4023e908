//! Whether somebody speaks: the energy of each frame, with hysteresis. What begins is louder than what goes on, and both
//! take a while.

use serde::{Deserialize, Serialize};

/// Mean square of a frame that begins speech: an amplitude of 400 of 32,768, which is −38 dB.
const BEGINS_SQUARE: u64 = 400 * 400;
/// Mean square that keeps it going: −44 dB.
const GOES_ON_SQUARE: u64 = 200 * 200;
/// Loud for so long, with no quiet frame between, it is speech and no click.
pub const BEGINS_AFTER_MS: u32 = 100;

/// What a frame changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    Began,
    Ended,
}

/// What is remembered between two frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detector {
    speaks: bool,
    /// How long it has been the other way.
    other_ms: u32,
}

impl Detector {
    /// Hears one frame. Speech ends after `silence_ms` of quiet.
    pub fn hear(&mut self, pcm: &[u8], sample_rate_hz: u32, silence_ms: u32) -> Option<Edge> {
        let square = mean_square(pcm);
        let (turned, after_ms) = if self.speaks {
            (square < GOES_ON_SQUARE, silence_ms)
        } else {
            (square >= BEGINS_SQUARE, BEGINS_AFTER_MS)
        };
        if !turned {
            self.other_ms = 0;
            return None;
        }
        self.other_ms = self.other_ms.saturating_add(milliseconds_in(pcm, sample_rate_hz));
        if self.other_ms < after_ms {
            return None;
        }
        *self = Self { speaks: !self.speaks, other_ms: 0 };
        Some(if self.speaks { Edge::Began } else { Edge::Ended })
    }
}

/// The energy of samples of 16 bits, little-endian; zero for none.
fn mean_square(pcm: &[u8]) -> u64 {
    let (pairs, _) = pcm.as_chunks::<2>();
    let sum = pairs.iter().fold(0_u64, |sum, pair| {
        let size = u64::from(i16::from_le_bytes(*pair).unsigned_abs());
        sum.saturating_add(size.saturating_mul(size))
    });
    let count = u64::try_from(pairs.len()).unwrap_or(u64::MAX);
    sum.checked_div(count).unwrap_or(0)
}

fn milliseconds_in(pcm: &[u8], sample_rate_hz: u32) -> u32 {
    super::settings::milliseconds(super::frame::samples_in(pcm), sample_rate_hz)
}
