//! The breakers of this isolate, one for each model of each provider.
//!
//! They are a cache: another isolate finds out for itself, and one that begins anew believes the best of everybody.

use std::cell::RefCell;
use std::rc::Rc;

use super::breaker::{Breaker, Permit, Shown};
use super::failure::Failure;
use super::recent::{Seen, Summary};
use super::reported::Flag;
use crate::platform::config::{BreakerRules, Provider};
use crate::platform::{chance, log, now_ms};

/// Breakers at one time. Some 5 KB each when all their attempts are remembered.
const BREAKERS_MAX: usize = 128;

struct Entry {
    provider: Rc<str>,
    model: String,
    since_ms: i64,
    used_ms: i64,
    breaker: Breaker,
    flagged: Flagged,
}

/// Answers since the beginning whose usage could not be true.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flagged {
    pub absurd: u32,
    pub inflated: u32,
}

impl Flagged {
    const fn add(&mut self, flag: Flag) {
        let count = match flag {
            Flag::Absurd => &mut self.absurd,
            Flag::Inflated => &mut self.inflated,
        };
        *count = count.saturating_add(1);
    }
}

#[derive(Default)]
struct Table {
    entries: Vec<Entry>,
}

impl Table {
    fn position(&self, provider: &str, model: &str) -> Option<usize> {
        self.entries.iter().position(|entry| *entry.provider == *provider && entry.model == model)
    }

    /// Its breaker, a new one when there is none. The one that was not used for longest makes room.
    fn entry(&mut self, provider: &Rc<str>, model: &str, now_ms: i64) -> Option<&mut Entry> {
        let at = match self.position(provider, model) {
            Some(at) => at,
            None => {
                let oldest = self.entries.iter().enumerate().min_by_key(|(_, entry)| entry.used_ms);
                if let (true, Some((at, _))) = (self.entries.len() >= BREAKERS_MAX, oldest) {
                    self.entries.swap_remove(at);
                }
                let (provider, model) = (Rc::clone(provider), model.to_owned());
                let breaker = Breaker::default();
                let flagged = Flagged::default();
                self.entries.push(Entry {
                    provider,
                    model,
                    since_ms: now_ms,
                    used_ms: now_ms,
                    breaker,
                    flagged,
                });
                self.entries.len().saturating_sub(1)
            }
        };
        let entry = self.entries.get_mut(at)?;
        entry.used_ms = now_ms;
        Some(entry)
    }
}

thread_local! {
    static TABLE: RefCell<Table> = RefCell::default();
}

fn with<T>(provider: &Rc<str>, model: &str, work: impl FnOnce(&mut Breaker) -> T) -> Option<T> {
    let now_ms = now_ms();
    TABLE.with_borrow_mut(|table| table.entry(provider, model, now_ms).map(|entry| work(&mut entry.breaker)))
}

/// Leave to ask a provider. Dropped without a word of what came of it, it makes room for another to try.
pub struct Pass {
    provider: Rc<str>,
    model: String,
    permit: Option<Permit>,
}

impl Pass {
    /// # Errors
    /// When there will be leave again.
    pub fn ask(rules: &BreakerRules, provider: &Provider) -> Result<Self, i64> {
        let now_ms = now_ms();
        let admitted = with(&provider.name, &provider.model, |breaker| breaker.admit(rules, now_ms));
        admitted.transpose().map(|permit| Self::new(provider, permit))
    }

    /// Whatever the breaker says.
    pub fn force(provider: &Provider) -> Self {
        let permit = with(&provider.name, &provider.model, |breaker| breaker.force());
        Self::new(provider, permit)
    }

    fn new(provider: &Provider, permit: Option<Permit>) -> Self {
        Self { provider: Rc::clone(&provider.name), model: provider.model.clone(), permit }
    }

    /// What came of it after `duration_ms`.
    pub fn end(mut self, rules: &BreakerRules, failure: Option<Failure>, duration_ms: i64) {
        let Some(permit) = self.permit.take() else {
            return;
        };
        let seen = Seen { at_ms: now_ms(), duration_ms, failure };
        note_opening(&self.provider, &self.model, |breaker| {
            // Chance is only needed where something is about to open.
            breaker.record(rules, permit, seen, failure.map_or(0.0, |_| chance()))
        });
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            with(&self.provider, &self.model, |breaker| breaker.give_up(permit));
        }
    }
}

/// A stream that had begun broke off.
pub fn broke_off(rules: &BreakerRules, provider: &Provider, failure: Failure) {
    note_opening(&provider.name, &provider.model, |breaker| {
        breaker.record_break(rules, failure, now_ms(), chance())
    });
}

/// A provider said of an answer what cannot be true. It goes on answering: nobody pays for what it says.
pub fn usage_flagged(request_id: &str, provider: &str, model: &str, flag: Flag) {
    TABLE.with_borrow_mut(|table| {
        let entry = table.position(provider, model).and_then(|at| table.entries.get_mut(at));
        if let Some(entry) = entry {
            entry.flagged.add(flag);
        }
    });
    log::usage_flagged(request_id, provider, model, flag.name());
}

fn note_opening(provider: &Rc<str>, model: &str, work: impl FnOnce(&mut Breaker) -> bool) {
    let opened = with(provider, model, |breaker| {
        let opened = work(breaker);
        match breaker.shown(now_ms()) {
            Shown::Open { until_ms } if opened => Some(until_ms),
            _ => None,
        }
    });
    if let Some(until_ms) = opened.flatten() {
        log::breaker_opened(provider, model, until_ms.saturating_sub(now_ms()));
    }
}

/// What is known here of one model of one provider.
pub struct Health {
    pub shown: Shown,
    /// Since when attempts are remembered.
    pub since_ms: i64,
    pub summary: Summary,
    /// Since then.
    pub flagged: Flagged,
}

/// `None` when it was not asked yet.
pub fn health(provider: &str, model: &str) -> Option<Health> {
    let now_ms = now_ms();
    TABLE.with_borrow(|table| {
        let entry = table.entries.get(table.position(provider, model)?)?;
        Some(Health {
            shown: entry.breaker.shown(now_ms),
            since_ms: entry.since_ms,
            summary: entry.breaker.recent.summary(now_ms),
            flagged: entry.flagged,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_bounded_and_forgets_who_was_used_least_lately() {
        let (mut table, provider) = (Table::default(), Rc::from("p"));
        for now_ms in 0_i64..BREAKERS_MAX as i64 {
            table.entry(&provider, &now_ms.to_string(), now_ms).unwrap();
        }
        table.entry(&provider, "0", 1_000).unwrap();
        table.entry(&provider, "another", 1_001).unwrap();
        assert_eq!(table.entries.len(), BREAKERS_MAX);
        assert!(table.position("p", "0").is_some() && table.position("p", "another").is_some());
        assert_eq!(table.position("p", "1"), None);
        assert_eq!(table.position("q", "0"), None, "another provider's");
    }
}
