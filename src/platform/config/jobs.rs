//! How jobs are tried, unless their type says otherwise.

use super::reader::Reader;

/// Times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobRules {
    /// How long a worker may be silent before its job is given to another one. It says three times as often that it is
    /// at it.
    pub lease_ms: i64,
    pub attempts_max: u32,
    /// The wait after the first failed attempt, doubled after each, up to the longest.
    pub wait_first_ms: i64,
    pub wait_max_ms: i64,
    /// From its time on a job is done, or it fails, within this.
    pub ttl_ms: i64,
    /// How long its result is kept.
    pub result_ttl_ms: i64,
}

pub(super) fn read(reader: &mut Reader<'_>) -> JobRules {
    let attempts_max = reader.number("JOB_ATTEMPTS", 5, 1, 20);
    JobRules {
        lease_ms: reader.number("JOB_LEASE_MS", 30_000, 1_000, 900_000),
        attempts_max: u32::try_from(attempts_max).unwrap_or(1),
        wait_first_ms: reader.number("JOB_WAIT_FIRST_MS", 2_000, 0, 86_400_000),
        wait_max_ms: reader.number("JOB_WAIT_MAX_MS", 300_000, 0, 86_400_000),
        ttl_ms: reader.number("JOB_TTL_MS", 86_400_000, 1_000, 604_800_000),
        result_ttl_ms: reader.number("JOB_RESULT_TTL_MS", 604_800_000, 0, 2_592_000_000),
    }
}
