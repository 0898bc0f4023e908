//! What the promise forbids.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Acknowledged, and not in the books.
    Lost,
    /// In the books more often than once.
    Doubled,
    /// In the books with another amount or content than was acknowledged.
    Altered,
    /// In the books although its client was told that it was not done.
    RefusedButDone,
    /// In the books although nobody asked for it.
    Unasked,
    /// Entries, balance and holds contradict each other.
    Unbalanced,
    /// A hold that outlived its deadline.
    HoldLeft,
    /// The same request again did not get the first reply again.
    ReplayDiffers,
    /// A reply that no client should ever see.
    Reply,
    /// An operation that could not be brought to its end.
    Stuck,
    /// Not served again within the bound.
    SlowRestart,
    /// Watched live, an event was missing, doubled or false.
    Feed,
    /// The tenant's own audit found something.
    OwnAudit,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub fault: Fault,
    pub detail: String,
}

impl Violation {
    pub fn new(fault: Fault, detail: impl Into<String>) -> Self {
        Self { fault, detail: detail.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.fault, self.detail)
    }
}
