//! What an operator sets for one tenant: its plan, what differs from it, caps, and whom to tell.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::credits::caps::{CAPS_MAX, CapTerms};
use crate::jobs::JobLimits;
use crate::notices::Webhook;
use crate::rate::Limits;
use crate::shared::{Micro, Refusal};

/// API keys that may have limits of their own.
pub const KEY_LIMITS_MAX: usize = 64;
/// The longest window in which a repeated request counts as an accident: ten minutes.
pub const FINGERPRINT_WINDOW_MS_MAX: i64 = 600_000;
/// Names of plans, caps, keys, models and tiers, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// The longest address of a webhook, in bytes.
pub const WEBHOOK_URL_BYTES_MAX: usize = 2_048;

/// When the owner's billing is asked for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopUp {
    /// Below this balance.
    #[serde(rename = "below_micro")]
    pub below: Micro,
    /// For this much.
    #[serde(rename = "amount_micro")]
    pub amount: Micro,
}

/// What is stored may have fields of a newer version, which are left out: a version that is rolled back goes on. What
/// an operator sends is the front door's to read, and is refused there for a field that is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The plan's name; the default plan when absent.
    pub plan: Option<String>,
    /// What differs from the plan.
    pub limits: Limits,
    /// Limits of single API keys, beside those of the tenant.
    pub keys: BTreeMap<String, Limits>,
    pub caps: Vec<CapTerms>,
    /// Two requests alike within this time are one, also without a key; zero switches it off.
    pub fingerprint_window_ms: i64,
    /// Below this balance there is a notice.
    #[serde(rename = "low_balance_micro")]
    pub low_balance: Option<Micro>,
    pub top_up: Option<TopUp>,
    pub webhook: Option<Webhook>,
    /// How many jobs may run at one time.
    pub jobs: JobLimits,
}

impl Settings {
    /// # Errors
    /// `InvalidSetting`, naming the field.
    pub fn check(&self) -> Result<(), Refusal> {
        self.limits.check()?;
        self.jobs.check()?;
        for limits in self.keys.values() {
            limits.check()?;
        }
        let name = |text: &str| (1..=NAME_BYTES_MAX).contains(&text.len());
        let keys = self.keys.len() <= KEY_LIMITS_MAX && self.keys.keys().all(|key| name(key));
        expect(keys, "keys", "at most 64 API keys, each with limits")?;
        expect(self.plan.as_deref().is_none_or(name), "plan", "the name of a plan")?;
        expect(self.caps.len() <= CAPS_MAX, "caps", "at most 32 caps")?;
        for (at, cap) in self.caps.iter().enumerate() {
            let others = self.caps.iter().take(at);
            let scoped = [&cap.api_key, &cap.model].into_iter().flatten().all(|text| name(text));
            expect(name(&cap.id) && scoped, "caps", "names of 1 to 128 bytes")?;
            expect(others.into_iter().all(|other| other.id != cap.id), "caps", "a list of unlike ids")?;
            let soft = cap.soft.is_none_or(|soft| soft > Micro::ZERO && soft <= cap.limit);
            expect(cap.limit >= Micro::ZERO && soft, "caps", "a limit, and a soft one at most as high")?;
        }
        let window = (0..=FINGERPRINT_WINDOW_MS_MAX).contains(&self.fingerprint_window_ms);
        expect(window, "fingerprint_window_ms", "0 to 600000")?;
        let low = self.low_balance.is_none_or(|low| low >= Micro::ZERO);
        expect(low, "low_balance", "credits, zero or more")?;
        let top_up = self.top_up.is_none_or(|asked| asked.below > Micro::ZERO && asked.amount > Micro::ZERO);
        expect(top_up, "top_up", "two amounts above zero")?;
        let hook = self
            .webhook
            .as_ref()
            .is_none_or(|hook| hook.url.len() <= WEBHOOK_URL_BYTES_MAX && name(&hook.secret));
        expect(hook, "webhook", "an address of at most 2048 bytes, and a secret")
    }
}

fn expect(holds: bool, field: &str, expected: &str) -> Result<(), Refusal> {
    if holds {
        return Ok(());
    }
    Err(Refusal::InvalidSetting { field: field.to_owned(), expected: expected.to_owned() })
}
