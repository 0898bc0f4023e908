//! What a command answers, as the model has it.

use actors::shared::Refusal;

use super::{Account, Entry, Given, JobView};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub end: super::HoldEnd,
    pub charged: i64,
    pub shortfall: i64,
    pub available: i64,
    pub first: bool,
}

/// A budget as headers and reports show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetShown {
    pub policy: String,
    pub limit: i64,
    pub remaining: i64,
    pub window_ms: i64,
    pub reset_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Adjusted {
        account: Account,
        shortfall: i64,
        replayed: bool,
    },
    Admitted {
        available: i64,
        granted: i64,
        deadline_ms: i64,
        models: u8,
        budgets: Vec<BudgetShown>,
    },
    /// A refusal that the owner is told of.
    Refused(Refusal),
    /// A reply that was given before.
    Replay(Given),
    Progressed {
        charged: i64,
        held: i64,
        available: i64,
        deadline_ms: i64,
    },
    Ended(Ended),
    Recorded {
        id: u32,
        created_at_ms: i64,
        seq: i64,
        cost: Option<i64>,
        replayed: bool,
    },
    Balance(Account),
    Entry(Entry),
    /// A list with this many rows.
    Count(usize),
    Limits(Vec<BudgetShown>),
    Verified {
        entries: i64,
    },
    Rung,
    JobMade {
        job: JobView,
        deduped: bool,
        replayed: bool,
    },
    Leased(Option<JobView>),
    Beaten {
        until_ms: i64,
    },
    JobEnded {
        job: JobView,
        first: bool,
    },
    JobChanged(JobView),
    Redriven {
        jobs: Vec<u32>,
        more: bool,
        refused: Vec<(Refusal, u32)>,
    },
}
