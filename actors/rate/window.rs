//! The window itself, without a database: admissions counted in buckets of one second.
//!
//! A bucket counts until all of it has left the minute, so the sum is never less than what a sliding minute
//! holds: the rule errs by at most one second on the strict side, and needs 62 small numbers at most.

pub const WINDOW_MS: i64 = 60_000;
const BUCKET_MS: i64 = 1_000;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Window {
    /// The latest time this window has seen. Time that steps back is read as this.
    clock_ms: i64,
    /// (second, admitted), oldest first.
    buckets: Vec<(i64, u32)>,
}

impl Window {
    pub const fn restore(clock_ms: i64, buckets: Vec<(i64, u32)>) -> Self {
        Self { clock_ms, buckets }
    }

    pub const fn clock_ms(&self) -> i64 {
        self.clock_ms
    }

    pub fn buckets(&self) -> &[(i64, u32)] {
        &self.buckets
    }

    /// Admits one request at `now_ms`: the new window and how many more would fit.
    ///
    /// # Errors
    /// The milliseconds, by the caller's clock, after which one request fits if none comes between.
    pub fn admit(&self, limit: u32, now_ms: i64) -> Result<(Self, u32), i64> {
        let clock_ms = self.clock_ms.max(now_ms);
        let oldest_second = clock_ms.saturating_sub(WINDOW_MS).div_euclid(BUCKET_MS);
        let mut buckets: Vec<(i64, u32)> =
            self.buckets.iter().copied().filter(|(second, _)| *second >= oldest_second).collect();
        let admitted: u64 = buckets.iter().map(|(_, count)| u64::from(*count)).sum();
        if admitted >= u64::from(limit) {
            let free_at_ms = free_at_ms(&buckets, limit, admitted);
            return Err(free_at_ms.saturating_sub(now_ms).max(1));
        }
        let this_second = clock_ms.div_euclid(BUCKET_MS);
        match buckets.last_mut() {
            Some((second, count)) if *second == this_second => *count = count.saturating_add(1),
            _ => buckets.push((this_second, 1)),
        }
        let remaining = u64::from(limit).saturating_sub(admitted).saturating_sub(1);
        let window = Self { clock_ms, buckets };
        Ok((window, u32::try_from(remaining).unwrap_or(u32::MAX)))
    }
}

/// When enough of the oldest buckets have left the window for one more request to fit.
fn free_at_ms(buckets: &[(i64, u32)], limit: u32, admitted: u64) -> i64 {
    let mut left = admitted;
    for (second, count) in buckets {
        left = left.saturating_sub(u64::from(*count));
        if left < u64::from(limit) {
            // The bucket is out once `oldest_second` has passed it.
            return second.saturating_add(1).saturating_mul(BUCKET_MS).saturating_add(WINDOW_MS);
        }
    }
    // Only a limit of zero comes here, and the caller never asks with it.
    i64::MAX
}
