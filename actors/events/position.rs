//! A place in the events of a tenant, as clients hold it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::shared::{Refusal, TenantId};

/// The last entry or usage event, the last notice and the last event of a job that came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// When the last of these happened, as it says itself. For whoever reads an id: nothing is looked for by it.
    pub at_ms: i64,
    pub seq: i64,
    pub notice: i64,
    /// Zero where there was none, as in places from before there were jobs.
    #[serde(default)]
    pub job: i64,
}

/// The longest form of one, in bytes: four numbers of sixteen digits, a check of twelve, four dashes, and some room.
const POSITION_BYTES_MAX: usize = 96;
/// The last whole number that the platform's database takes.
const NUMBER_MAX: i64 = (1 << 53) - 1;

impl Position {
    /// How many events came before: each moves one of the numbers by one.
    #[must_use]
    pub const fn count(self) -> i64 {
        self.seq.saturating_add(self.notice).saturating_add(self.job)
    }

    /// The three numbers that say which events came before.
    #[must_use]
    pub const fn counts(self) -> (i64, i64, i64) {
        (self.seq, self.notice, self.job)
    }

    /// Whether nothing came before this that did not come before `other`.
    #[must_use]
    pub const fn is_within(self, other: Self) -> bool {
        self.seq <= other.seq && self.notice <= other.notice && self.job <= other.job
    }

    /// `<at>-<seq>-<notice>-<check>`, with `<job>` before the check once there was a job; to be handed back as it is.
    #[must_use]
    pub fn encode(self, tenant: &TenantId) -> String {
        // A client says when what it reports happened.
        let at_ms = self.at_ms.clamp(0, NUMBER_MAX);
        let mut numbers = format!("{at_ms}-{}-{}", self.seq, self.notice);
        if self.job > 0 {
            numbers = format!("{numbers}-{}", self.job);
        }
        let check = check(&numbers, tenant);
        format!("{numbers}-{check}")
    }

    /// # Errors
    /// `InvalidCursor` for anything [`Position::encode`] did not make for this tenant.
    pub fn decode(raw: &str, tenant: &TenantId) -> Result<Self, Refusal> {
        let found = Self::parse(raw).filter(|found| found.encode(tenant) == raw);
        found.ok_or(Refusal::InvalidCursor)
    }

    fn parse(raw: &str) -> Option<Self> {
        if raw.len() > POSITION_BYTES_MAX {
            return None;
        }
        let (numbers, _check) = raw.rsplit_once('-')?;
        let mut parts = numbers.splitn(4, '-');
        let mut number =
            || parts.next()?.parse::<i64>().ok().filter(|number| (0..=NUMBER_MAX).contains(number));
        let (at_ms, seq, notice) = (number()?, number()?, number()?);
        // A fourth that is no number is none of ours: what is made of this differs from it.
        Some(Self { at_ms, seq, notice, job: number().unwrap_or(0) })
    }
}

/// Not a secret: a forged place still reads only the forger's own rows. It tells a mistake from a place.
fn check(numbers: &str, tenant: &TenantId) -> String {
    let mut digest = Sha256::new();
    digest.update(tenant.actor_name("events"));
    digest.update(numbers);
    let mut check = format!("{:x}", digest.finalize());
    check.truncate(12);
    check
}
