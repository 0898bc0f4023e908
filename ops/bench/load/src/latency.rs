//! Times of requests, kept one by one: a run has few enough, and then nothing is rounded.

use std::time::Duration;

#[derive(Default)]
pub struct Latencies {
    micros: Vec<u64>,
}

impl Latencies {
    pub fn record(&mut self, took: Duration) {
        self.micros.push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    pub const fn count(&self) -> usize {
        self.micros.len()
    }

    pub fn sort(&mut self) {
        self.micros.sort_unstable();
    }

    /// The smallest time that `percent` of all requests did not pass, in milliseconds. Sorted before.
    pub fn percentile_ms(&self, percent: usize) -> f64 {
        let rank = self.micros.len().saturating_mul(percent).div_ceil(100).saturating_sub(1);
        self.micros.get(rank).map_or(0.0, |micros| ms(*micros))
    }

    pub fn mean_ms(&self) -> f64 {
        let count = u64::try_from(self.micros.len()).unwrap_or(u64::MAX);
        let sum = self.micros.iter().fold(0_u64, |sum, micros| sum.saturating_add(*micros));
        sum.checked_div(count).map_or(0.0, ms)
    }
}

#[allow(clippy::cast_precision_loss)]
fn ms(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_seen() {
        let mut latencies = Latencies::default();
        assert!(latencies.percentile_ms(50).abs() < f64::EPSILON);
        for ms in (1..=200).rev() {
            latencies.record(Duration::from_millis(ms));
        }
        latencies.sort();
        assert!((latencies.percentile_ms(50) - 100.0).abs() < 1e-9);
        assert!((latencies.percentile_ms(99) - 198.0).abs() < 1e-9);
        assert!((latencies.mean_ms() - 100.5).abs() < 1e-9);
    }
}
