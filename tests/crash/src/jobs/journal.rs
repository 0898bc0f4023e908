//! What the clients know: every job, written down before it is sent, and what was heard of it.

use super::work::Work;
use crate::violation::Violation;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

/// A job that a client wanted made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub tenant: usize,
    pub work: Work,
    /// Its idempotency key too, when it has one.
    pub name: String,
    /// With a key it is sent until it is acknowledged; without one, once.
    pub keyed: bool,
    /// Attempts that reached the runtime.
    pub attempts: usize,
    /// The id that it was acknowledged with.
    pub acknowledged: Option<String>,
}

#[derive(Default)]
pub struct Journal {
    pages: Mutex<Pages>,
}

#[derive(Default)]
struct Pages {
    wanted: Vec<Wanted>,
    settled: usize,
    refusals: BTreeMap<String, usize>,
    violations: Vec<Violation>,
}

impl Journal {
    pub fn begin(&self, tenant: usize, work: Work, keyed: bool) -> usize {
        let mut pages = self.pages();
        let index = pages.wanted.len();
        let name = format!("job-{index}-end");
        pages.wanted.push(Wanted { tenant, work, name, keyed, attempts: 0, acknowledged: None });
        index
    }

    pub fn wanted(&self, index: usize) -> Wanted {
        self.pages().wanted[index].clone()
    }

    pub fn all(&self) -> Vec<Wanted> {
        self.pages().wanted.clone()
    }

    /// One attempt reached the runtime, or may have.
    pub fn sent(&self, index: usize) {
        self.pages().wanted[index].attempts += 1;
    }

    pub fn acknowledge(&self, index: usize, id: String) {
        self.pages().wanted[index].acknowledged = Some(id);
    }

    /// Nothing more is sent for one job.
    pub fn settle(&self) {
        self.pages().settled += 1;
    }

    pub fn settled(&self) -> usize {
        self.pages().settled
    }

    pub fn note_refusal(&self, code: &str) {
        *self.pages().refusals.entry(code.to_owned()).or_default() += 1;
    }

    pub fn refusals(&self) -> BTreeMap<String, usize> {
        self.pages().refusals.clone()
    }

    pub fn accuse(&self, violation: Violation) {
        self.pages().violations.push(violation);
    }

    pub fn violations(&self) -> Vec<Violation> {
        self.pages().violations.clone()
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().expect("nobody panics while writing")
    }
}
