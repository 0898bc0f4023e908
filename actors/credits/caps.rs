//! Spending caps: of the tenant, of one of its keys, of a model; a day or a month.
//!
//! A cap counts what was charged in the period of the charge, and what is set aside at this moment: so it is
//! never passed by requests that run at the same time, and a hold over midnight counts in the new period too.
//!
//! A soft limit looks at what is spent. The limit is told when it first refuses: what is held never passes it, so
//! what is spent seldom comes to it exactly. A refusal that only holds in flight cause is none of the period.

use serde::{Deserialize, Serialize};

use super::account::{broken, within};
use super::hold::{HoldChange, Owner};
use crate::planted::{self, Bug};
use crate::rate::IN_FLIGHT_WAIT_MS;
use crate::shared::{Micro, Period, Refusal};

/// Caps of one tenant. All are looked at for every request.
pub const CAPS_MAX: usize = 32;

/// A cap as it is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapTerms {
    /// Its name, unique for the tenant.
    pub id: String,
    pub period: Period,
    #[serde(rename = "limit_micro")]
    pub limit: Micro,
    /// From here on, spent, there is an event, and the requests go on.
    #[serde(rename = "soft_micro", skip_serializing_if = "Option::is_none")]
    pub soft: Option<Micro>,
    /// Only what this API key asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<String>,
    /// Only what this model answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// A cap and what it has counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredCap")]
pub struct Cap {
    #[serde(flatten)]
    pub terms: CapTerms,
    pub period_start_ms: i64,
    /// Charged in this period.
    #[serde(rename = "spent_micro")]
    pub spent: Micro,
    /// Set aside now.
    #[serde(rename = "held_micro")]
    pub held: Micro,
    /// How far this period's events went: nothing said, soft limit, limit.
    pub told: Told,
}

/// A cap as it is stored. Spelled out, because every command reads all caps, and what is flattened is read slowly: each
/// field is kept until it is known whose it is.
#[derive(Deserialize)]
struct StoredCap {
    id: String,
    period: Period,
    limit_micro: Micro,
    soft_micro: Option<Micro>,
    api_key: Option<String>,
    model: Option<String>,
    period_start_ms: i64,
    spent_micro: Micro,
    held_micro: Micro,
    told: Told,
}

impl From<StoredCap> for Cap {
    fn from(stored: StoredCap) -> Self {
        let StoredCap { id, period, limit_micro, soft_micro, api_key, model, .. } = stored;
        let terms = CapTerms { id, period, limit: limit_micro, soft: soft_micro, api_key, model };
        let StoredCap { period_start_ms, spent_micro, held_micro, told, .. } = stored;
        Self { terms, period_start_ms, spent: spent_micro, held: held_micro, told }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    #[default]
    Nothing,
    Soft,
    Limit,
}

impl Cap {
    #[must_use]
    pub const fn new(terms: CapTerms, spent: Micro, held: Micro, now_ms: i64) -> Self {
        let period_start_ms = terms.period.start_ms(now_ms);
        Self { terms, period_start_ms, spent, held, told: Told::Nothing }
    }

    /// The cap as a reader sees it at `now_ms`.
    #[must_use]
    pub fn at(mut self, now_ms: i64) -> Self {
        self.turn(now_ms);
        self
    }

    /// Begins a new period when `now_ms` is in one. A clock that steps back stays in the period it was in.
    fn turn(&mut self, now_ms: i64) {
        let start_ms = self.terms.period.start_ms(now_ms);
        let back = planted::on(Bug::CapResetByStepBack) && start_ms < self.period_start_ms;
        if (start_ms > self.period_start_ms && !planted::on(Bug::CapNotReset)) || back {
            self.period_start_ms = start_ms;
            self.spent = Micro::ZERO;
            self.told = Told::Nothing;
        }
    }

    fn is_of_key(&self, api_key: Option<&str>) -> bool {
        self.terms.api_key.is_none() || self.terms.api_key.as_deref() == api_key
    }

    fn is_of_model(&self, model: &str) -> bool {
        self.terms.model.as_deref().is_none_or(|own| own == model)
    }

    /// Whether a hold of these models counts here.
    #[must_use]
    pub fn counts(&self, api_key: Option<&str>, models: &[String]) -> bool {
        let of_model = self.terms.model.as_ref().is_none_or(|own| models.contains(own));
        self.is_of_key(api_key) && of_model
    }

    /// Whether a charge that this model caused counts here.
    #[must_use]
    pub fn counts_charge(&self, api_key: Option<&str>, model: Option<&str>) -> bool {
        self.is_of_key(api_key) && (self.terms.model.is_none() || self.terms.model.as_deref() == model)
    }

    fn covers(&self, amount: Micro) -> bool {
        let held = if planted::on(Bug::CapIgnoresHeld) { Micro::ZERO } else { self.held };
        let taken = self.spent.plus(held).and_then(|taken| taken.plus(amount));
        taken.is_some_and(|taken| taken <= self.terms.limit)
    }

    /// What is spent leaves no room for `amount`, whatever becomes of what is held; on another day it would.
    fn is_used_up(&self, amount: Micro) -> bool {
        let spent = self.spent.plus(amount);
        amount <= self.terms.limit && spent.is_none_or(|spent| spent > self.terms.limit)
    }

    fn refuse(&self, amount: Micro, now_ms: i64) -> Refusal {
        if amount > self.terms.limit {
            let policy = format!("cap:{}", self.terms.id);
            return Refusal::ExceedsBudget { policy, limit: self.terms.limit.0 };
        }
        let over_ms = self.terms.period.next_start_ms(self.period_start_ms.max(now_ms));
        let wait_ms = over_ms.saturating_sub(now_ms).max(1);
        // What is held in the way comes back soon, in part at least: nobody knows when, so this is a hint.
        let retry_after_ms = if self.is_used_up(amount) { wait_ms } else { wait_ms.min(IN_FLIGHT_WAIT_MS) };
        Refusal::CapReached {
            cap: self.terms.id.clone(),
            period: self.terms.period,
            limit: self.terms.limit,
            retry_after_ms,
        }
    }
}

/// For how long the refusal of a cap stands.
const fn wait_ms(refusal: &Refusal) -> i64 {
    match refusal {
        Refusal::CapReached { retry_after_ms, .. } => *retry_after_ms,
        _ => i64::MAX,
    }
}

/// Of two refusals that both stand in the way, the one that does longer.
fn longer(one: Refusal, other: Refusal) -> Refusal {
    if wait_ms(&other) > wait_ms(&one) { other } else { one }
}

/// Counts a hold of `amount` in all caps it belongs to. Models whose cap does not cover it are left out; those
/// that may still answer are returned.
///
/// # Errors
/// `CapReached` when a cap of the tenant or the key does not cover it, or none of the models may answer;
/// `ExceedsBudget` when it never could. Of several caps the longest wait is told, of several models the shortest.
pub fn admit(
    caps: &mut [Cap],
    amount: Micro,
    api_key: Option<&str>,
    models: &[String],
    now_ms: i64,
) -> Result<Vec<String>, Refusal> {
    for cap in caps.iter_mut() {
        cap.turn(now_ms);
    }
    let ours = || caps.iter().filter(|cap| cap.is_of_key(api_key));
    let full = ours().filter(|cap| !cap.covers(amount));
    let refuse = |cap: &Cap| cap.refuse(amount, now_ms);
    if let Some(refusal) = full.clone().filter(|cap| cap.terms.model.is_none()).map(refuse).reduce(longer) {
        return Err(refusal);
    }
    let mut refused: Option<Refusal> = None;
    let mut allowed = Vec::with_capacity(models.len());
    for model in models {
        match full.clone().filter(|cap| cap.is_of_model(model)).map(refuse).reduce(longer) {
            Some(refusal) if refused.as_ref().is_none_or(|known| wait_ms(known) > wait_ms(&refusal)) => {
                refused = Some(refusal);
            }
            Some(_) => {}
            None => allowed.push(model.clone()),
        }
    }
    if let (Some(refusal), true) = (refused, allowed.is_empty()) {
        return Err(refusal);
    }
    for cap in caps.iter_mut().filter(|cap| cap.counts(api_key, &allowed)) {
        cap.held = within(cap.held.plus(amount))?;
    }
    Ok(allowed)
}

/// Caps that are used up for a request of `amount`, and were not told so in their period. They are, from now on.
pub fn tell_used_up(
    caps: &mut [Cap],
    amount: Micro,
    api_key: Option<&str>,
    models: &[String],
    now_ms: i64,
) -> Vec<CapTold> {
    let mut told = Vec::new();
    for cap in caps.iter_mut().filter(|cap| cap.counts(api_key, models)) {
        cap.turn(now_ms);
        if cap.told < Told::Limit && cap.is_used_up(amount) {
            cap.told = Told::Limit;
            told.push(CapTold { told: Told::Limit, cap: cap.clone() });
        }
    }
    told
}

/// Whether an open hold may have `more` set aside; `model` is the one that answers, when that is known.
///
/// # Errors
/// `CapReached`, `ExceedsBudget`, as for a hold of this amount.
pub fn allow_more(
    caps: &[Cap],
    owner: &Owner,
    more: Micro,
    model: Option<&str>,
    now_ms: i64,
) -> Result<(), Refusal> {
    let ours = caps.iter().filter(|cap| cap.counts(owner.api_key.as_deref(), &owner.models));
    let answering = ours.filter(|cap| model.is_none_or(|model| cap.is_of_model(model)));
    let full = answering.map(|cap| cap.clone().at(now_ms)).filter(|cap| !cap.covers(more));
    full.map(|cap| cap.refuse(more, now_ms)).reduce(longer).map_or(Ok(()), Err)
}

/// A cap that came to its soft limit, or to its limit, or refused, for the first time in its period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapTold {
    pub told: Told,
    pub cap: Cap,
}

/// Counts what a command did to a hold. `model` is the one that answered.
///
/// # Errors
/// `Broken` when more is given back than was counted.
pub fn apply(
    caps: &mut [Cap],
    change: &HoldChange,
    model: Option<&str>,
    now_ms: i64,
) -> Result<Vec<CapTold>, Refusal> {
    let api_key = change.owner.api_key.as_deref();
    let mut told = Vec::new();
    for cap in caps.iter_mut().filter(|cap| cap.is_of_key(api_key)) {
        cap.turn(now_ms);
        if cap.counts(api_key, &change.owner.models) {
            cap.held = within(cap.held.minus(change.unheld))?;
            if cap.held < Micro::ZERO {
                return Err(broken("a cap counted less than is given back to it"));
            }
        }
        if cap.counts_charge(api_key, model) {
            cap.spent = within(cap.spent.plus(change.charged))?;
        }
        let reached = if cap.spent >= cap.terms.limit {
            Told::Limit
        } else if cap.terms.soft.is_some_and(|soft| cap.spent >= soft) {
            Told::Soft
        } else {
            Told::Nothing
        };
        if reached > cap.told {
            cap.told = reached;
            told.push(CapTold { told: reached, cap: cap.clone() });
        }
    }
    Ok(told)
}
