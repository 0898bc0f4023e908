//! How long each step of an attempt may take, and what is done when one fails.

use super::reader::Reader;
use super::{Deadlines, parse::small};

/// Deadlines of one attempt at one provider, in milliseconds from its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptDeadlines {
    /// Until the headers of a stream. An answer that comes whole has its headers when it is made, so for it this says
    /// nothing.
    pub connect_ms: i64,
    /// Until the first piece of a stream.
    pub first_token_ms: i64,
    /// Between two pieces of a stream.
    pub idle_ms: i64,
    /// Until the end of an answer that comes whole.
    pub answer_ms: i64,
    /// Until the end of a stream.
    pub stream_ms: i64,
}

impl AttemptDeadlines {
    pub(super) const fn of(usual: Deadlines) -> Self {
        Self {
            connect_ms: usual.connect_ms,
            first_token_ms: usual.first_byte_ms,
            idle_ms: usual.idle_ms,
            answer_ms: usual.answer_ms,
            stream_ms: usual.total_ms,
        }
    }
}

/// When a provider is left alone for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerRules {
    /// Failures one after the other that are too many; zero lets everything through.
    pub failures: u32,
    /// Failures in a hundred of the recent attempts that are too many.
    pub error_percent: u32,
    /// How long it is left alone at first; twice as long each time it fails again.
    pub open_ms: i64,
    pub open_max_ms: i64,
}

/// What is done when an attempt fails or is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fallback {
    /// Rounds after the first, over those providers whose failure may pass.
    pub retries: u32,
    /// How long a stream's first piece may take until the next provider is asked beside the first; zero is for ever.
    pub hedge_after_ms: i64,
    pub breaker: BreakerRules,
}

pub(super) fn read(reader: &mut Reader<'_>) -> Fallback {
    let open_ms = reader.number("BREAKER_OPEN_MS", 5_000, 10, 600_000);
    let open_max_ms = reader.number("BREAKER_OPEN_MAX_MS", 120_000, 10, 3_600_000);
    if open_max_ms < open_ms {
        reader.problem("BREAKER_OPEN_MAX_MS", "give no less than BREAKER_OPEN_MS");
    }
    Fallback {
        retries: small(reader.number("PROVIDER_RETRIES", 1, 0, 5)),
        hedge_after_ms: reader.number("HEDGE_AFTER_MS", 0, 0, 600_000),
        breaker: BreakerRules {
            failures: small(reader.number("BREAKER_FAILURES", 5, 0, 1_000)),
            error_percent: small(reader.number("BREAKER_ERROR_PERCENT", 50, 1, 100)),
            open_ms,
            open_max_ms,
        },
    }
}
