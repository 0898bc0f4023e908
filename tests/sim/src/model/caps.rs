//! Spending caps: what was charged in a period, and what is held now.

use actors::credits::caps::CapTerms;
use actors::shared::{Period, Refusal};

use super::money::day;
use super::{DAY_MS, Hold, Model};
use crate::command::{API_KEYS, MODELS};

/// What a cap has counted; its terms are those of the settings at the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapCount {
    pub period_start_ms: i64,
    pub spent: i64,
    pub held: i64,
    /// 0: nothing said in this period; 1: the soft limit; 2: the limit.
    pub told: u8,
}

/// When months begin, from 2020 to 2040: counted out, so that nothing is shared with the rules' calendar.
fn month_starts() -> Vec<i64> {
    // 2020-01-01 is day 18262.
    let (mut at, mut starts) = (18_262 * DAY_MS, Vec::with_capacity(252));
    for year in 2020..2041 {
        let february = if year % 4 == 0 { 29 } else { 28 };
        for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
            starts.push(at);
            at += days * DAY_MS;
        }
    }
    starts
}

thread_local! {
    static MONTHS: Vec<i64> = month_starts();
}

/// When the period that holds `at_ms` began, and when the next one begins.
pub fn period_bounds(period: Period, at_ms: i64) -> (i64, i64) {
    match period {
        Period::Day => (day(at_ms) * DAY_MS, (day(at_ms) + 1) * DAY_MS),
        Period::Month => MONTHS.with(|starts| {
            let next = starts.partition_point(|start| *start <= at_ms);
            (starts[next - 1], starts[next])
        }),
    }
}

pub fn is_of_key(terms: &CapTerms, api_key: Option<u8>) -> bool {
    let named = api_key.map(|key| API_KEYS[usize::from(key)]);
    terms.api_key.is_none() || terms.api_key.as_deref() == named
}

fn model_bit(terms: &CapTerms) -> Option<u8> {
    let model = terms.model.as_deref()?;
    Some(MODELS.iter().position(|name| *name == model).map_or(0, |at| 1 << at))
}

/// Whether a hold of these models counts in the cap.
pub fn counts(terms: &CapTerms, api_key: Option<u8>, models: u8) -> bool {
    is_of_key(terms, api_key) && model_bit(terms).is_none_or(|bit| models & bit != 0)
}

/// Whether a charge that this model caused counts in the cap.
pub fn charges(terms: &CapTerms, api_key: Option<u8>, model: Option<u8>) -> bool {
    is_of_key(terms, api_key) && model_bit(terms).is_none_or(|bit| model.is_some_and(|at| bit == 1 << at))
}

fn refuse(terms: &CapTerms, count: &CapCount, amount: i64, now_ms: i64) -> Refusal {
    if amount > terms.limit.0 {
        return Refusal::ExceedsBudget { policy: format!("cap:{}", terms.id), limit: terms.limit.0 };
    }
    let (_, over_ms) = period_bounds(terms.period, count.period_start_ms.max(now_ms));
    let (cap, period, limit) = (terms.id.clone(), terms.period, terms.limit);
    let mut retry_after_ms = (over_ms - now_ms).max(1);
    if count.spent + amount <= limit.0 {
        // Only what is held is in the way.
        retry_after_ms = retry_after_ms.min(1_000);
    }
    Refusal::CapReached { cap, period, limit, retry_after_ms }
}

fn wait_ms(refusal: &Refusal) -> i64 {
    match refusal {
        Refusal::CapReached { retry_after_ms, .. } => *retry_after_ms,
        _ => i64::MAX,
    }
}

/// The first of those that stand longest.
fn longest(refusals: impl Iterator<Item = Refusal>) -> Option<Refusal> {
    refusals.reduce(|a, b| if wait_ms(&b) > wait_ms(&a) { b } else { a })
}

impl CapCount {
    /// A new period begins; an old one never comes back.
    fn turn(&mut self, period: Period, now_ms: i64) {
        let (start_ms, _) = period_bounds(period, now_ms);
        if start_ms > self.period_start_ms {
            *self = Self { period_start_ms: start_ms, spent: 0, told: 0, ..*self };
        }
    }
}

impl Model {
    /// Whether an open hold may have more set aside, for the model that answers when that is known.
    pub(super) fn allow_more(
        &self,
        hold: &Hold,
        more: i64,
        model: Option<u8>,
        now_ms: i64,
    ) -> Result<(), Refusal> {
        let settings = &self.state.settings;
        let mut refusals = Vec::new();
        for (terms, count) in settings.caps.iter().zip(&self.state.caps) {
            let of_model = model.is_none_or(|at| model_bit(terms).is_none_or(|bit| bit == 1 << at));
            let mut count = *count;
            count.turn(terms.period, now_ms);
            let full = count.spent + count.held + more > terms.limit.0;
            if counts(terms, hold.api_key, hold.models) && of_model && full {
                refusals.push(refuse(terms, &count, more, now_ms));
            }
        }
        longest(refusals.into_iter()).map_or(Ok(()), Err)
    }

    /// Tells the owner of caps that refuse for what was spent, once in a period; whether there was one.
    pub(super) fn tell_used_up(&mut self, amount: i64, api_key: Option<u8>, models: u8, now_ms: i64) -> bool {
        let settings = self.state.settings.clone();
        let mut told = 0;
        for (cap, terms) in self.state.caps.iter_mut().zip(&settings.caps) {
            if !counts(terms, api_key, models) {
                continue;
            }
            cap.turn(terms.period, now_ms);
            if cap.told < 2 && amount <= terms.limit.0 && cap.spent + amount > terms.limit.0 {
                cap.told = 2;
                told += 1;
            }
        }
        (0..told).for_each(|_| self.tell("cap.reached", now_ms));
        told > 0
    }

    /// Counts a hold in the caps; the models that may answer, as bits.
    pub(super) fn admit_caps(
        &mut self,
        amount: i64,
        api_key: Option<u8>,
        models: u8,
        now_ms: i64,
    ) -> Result<u8, Refusal> {
        let settings = self.state.settings.clone();
        let caps = &mut self.state.caps;
        for (cap, terms) in caps.iter_mut().zip(&settings.caps) {
            cap.turn(terms.period, now_ms);
        }
        let full = |at: usize| caps[at].spent + caps[at].held + amount > settings.caps[at].limit.0;
        let ours = || settings.caps.iter().enumerate().filter(|(_, terms)| is_of_key(terms, api_key));
        let of_bit = |bit: Option<u8>| {
            let full = ours().filter(|(at, terms)| model_bit(terms) == bit && full(*at));
            longest(full.map(|(at, terms)| refuse(terms, &caps[at], amount, now_ms)))
        };
        if let Some(refusal) = of_bit(None) {
            return Err(refusal);
        }
        let (mut allowed, mut refused) = (0, Vec::new());
        for bit in (0..MODELS.len()).map(|at| 1 << at).filter(|bit| models & bit != 0) {
            match of_bit(Some(bit)) {
                Some(refusal) => refused.push(refusal),
                None => allowed |= bit,
            }
        }
        if let (Some(refusal), 0) = (refused.into_iter().min_by_key(wait_ms), allowed) {
            return Err(refusal);
        }
        for (cap, terms) in caps.iter_mut().zip(&settings.caps) {
            cap.held += if counts(terms, api_key, allowed) { amount } else { 0 };
        }
        Ok(allowed)
    }

    /// Counts what became of a hold, and tells the owner of limits that were passed.
    pub(super) fn count_caps(
        &mut self,
        hold: &Hold,
        unheld: i64,
        charged: i64,
        model: Option<u8>,
        now_ms: i64,
    ) {
        let settings = self.state.settings.clone();
        let mut told = Vec::new();
        for (cap, terms) in self.state.caps.iter_mut().zip(&settings.caps) {
            if !is_of_key(terms, hold.api_key) {
                continue;
            }
            cap.turn(terms.period, now_ms);
            cap.held -= if counts(terms, hold.api_key, hold.models) { unheld } else { 0 };
            cap.spent += if charges(terms, hold.api_key, model) { charged } else { 0 };
            let soft = terms.soft.is_some_and(|soft| cap.spent >= soft.0);
            let reached = if cap.spent >= terms.limit.0 { 2 } else { u8::from(soft) };
            if reached > cap.told {
                cap.told = reached;
                told.push(if reached == 2 { "cap.reached" } else { "cap.soft" });
            }
        }
        for kind in told {
            self.tell(kind, now_ms);
        }
    }
}
