//! What the clients know: every operation, written down before it is sent, and what was heard of it.

use crate::operation::{Kind, Operation, Outcome, Receipt, Request};
use crate::violation::Violation;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

/// The number of an operation in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationId(usize);

/// Shared by all clients of a run.
pub struct Journal {
    /// Part of every name, so that runs on one storage would not meet.
    run: String,
    pages: Mutex<Pages>,
}

#[derive(Default)]
struct Pages {
    operations: Vec<Operation>,
    acknowledged: usize,
    /// Replies other than 2xx, by their code.
    refusals: BTreeMap<String, usize>,
    /// What clients saw that they should never see.
    violations: Vec<Violation>,
}

impl Journal {
    pub fn new(seed: u64) -> Self {
        Self { run: format!("{seed:x}"), pages: Mutex::default() }
    }

    /// Writes down an operation that is about to be sent.
    pub fn begin(&self, tenant: usize, request: Request) -> OperationId {
        let mut pages = self.pages();
        let index = pages.operations.len();
        pages.operations.push(Operation {
            tenant,
            request,
            name: format!("op-{}-{index}", self.run),
            request_ids: Vec::new(),
            outcome: Outcome::Unsent,
        });
        OperationId(index)
    }

    /// The operation with the request id of another attempt at its end.
    pub fn attempt(&self, id: OperationId) -> Operation {
        self.change(id, |operation| {
            let request_id = format!("{}-{}", operation.name, operation.request_ids.len());
            operation.request_ids.push(request_id);
            operation.clone()
        })
    }

    /// The attempt found nobody to connect to: it was none.
    pub fn take_back(&self, id: OperationId) {
        self.change(id, |operation| operation.request_ids.pop());
    }

    /// The attempt reached the runtime, and nothing is known of its end.
    pub fn lose_sight(&self, id: OperationId) {
        self.change(id, |operation| operation.outcome = Outcome::Unknown);
    }

    pub fn acknowledge(&self, id: OperationId, receipt: Receipt) {
        let kind = self.change(id, |operation| {
            operation.outcome = Outcome::Acknowledged(receipt);
            operation.request.kind()
        });
        if kind != Kind::Probe {
            self.pages().acknowledged += 1;
        }
    }

    pub fn refuse(&self, id: OperationId, code: &str) {
        self.change(id, |operation| operation.outcome = Outcome::Refused(code.to_owned()));
    }

    pub fn is_repeatable(&self, id: OperationId) -> bool {
        self.change(id, |operation| operation.request.repeatable())
    }

    pub fn note_refusal(&self, code: &str) {
        *self.pages().refusals.entry(code.to_owned()).or_default() += 1;
    }

    pub fn accuse(&self, violation: Violation) {
        self.pages().violations.push(violation);
    }

    /// Acknowledged operations so far, probes not counted.
    pub fn acknowledged(&self) -> usize {
        self.pages().acknowledged
    }

    pub fn operations(&self) -> Vec<Operation> {
        self.pages().operations.clone()
    }

    pub fn of_tenant(&self, tenant: usize) -> Vec<Operation> {
        let pages = self.pages();
        pages.operations.iter().filter(|operation| operation.tenant == tenant).cloned().collect()
    }

    pub fn refusals(&self) -> BTreeMap<String, usize> {
        self.pages().refusals.clone()
    }

    pub fn violations(&self) -> Vec<Violation> {
        self.pages().violations.clone()
    }

    fn change<T>(&self, OperationId(index): OperationId, change: impl FnOnce(&mut Operation) -> T) -> T {
        let mut pages = self.pages();
        change(pages.operations.get_mut(index).expect("ids are given out by this journal"))
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().expect("the journal")
    }
}
