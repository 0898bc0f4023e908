//! The state of a tenant, cheap to copy, and the logs that only grow, cheap to cut.

use std::rc::Rc;

use actors::tenant::Settings;

use super::{
    Account, CapCount, Charge, Entry, Given, Grant, Hold, Job, JobNews, KeyRow, Meter, Notice, UsageRow,
};
use crate::command::API_KEYS;

#[derive(Clone)]
pub struct State {
    pub opened: bool,
    pub account: Account,
    /// In no order: who spends looks for the first to spend.
    pub grants: Vec<Grant>,
    /// Open ones, and ended ones that are not forgotten.
    pub holds: Vec<Hold>,
    pub keys: Vec<KeyRow>,
    /// Of the tenant, then of each API key: requests, tokens, credits.
    pub meters: [[Meter; 3]; 1 + API_KEYS.len()],
    pub caps: Vec<CapCount>,
    pub settings: Rc<Settings>,
    /// Requests admitted until then may not be counted by the budgets there are now.
    pub set_at_ms: i64,
    pub low_told: bool,
    /// When a top-up was asked for, and the lowest balance since.
    pub top_up: Option<(i64, i64)>,
    pub notices: Vec<Notice>,
    /// Those that are not forgotten, in the order in which they were made.
    pub jobs: Vec<Job>,
    /// There was a job once, or the tables of another run's.
    pub job_tables: bool,
    /// Messages that the command under way sends.
    pub nudges: Vec<u32>,
    /// Notices there ever were: a number is never given twice.
    pub told: i64,
    /// Client events that are known: id, and place in the log of usage.
    pub client_events: Vec<(u32, usize)>,
    /// Marks for the history: what was admitted, and true weights that became known.
    pub admitted: Vec<super::Admission>,
    pub weighed: Vec<(u32, i64, i64)>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            opened: false,
            account: Account::default(),
            grants: Vec::new(),
            holds: Vec::new(),
            keys: Vec::new(),
            meters: Default::default(),
            caps: Vec::new(),
            settings: Rc::new(Settings::default()),
            set_at_ms: 0,
            low_told: false,
            top_up: None,
            notices: Vec::new(),
            jobs: Vec::new(),
            job_tables: false,
            nudges: Vec::new(),
            told: 0,
            client_events: Vec::new(),
            admitted: Vec::new(),
            weighed: Vec::new(),
        }
    }
}

impl State {
    pub fn open_holds(&self) -> impl Iterator<Item = &Hold> {
        self.holds.iter().filter(|hold| hold.end.is_none())
    }

    pub fn hold(&self, id: u32) -> Option<usize> {
        self.holds.iter().rposition(|hold| hold.id == id)
    }
}

/// What only grows. A command that does not land is cut off again.
#[derive(Default)]
pub struct Logs {
    pub entries: Vec<Entry>,
    pub usage: Vec<UsageRow>,
    pub charges: Vec<Charge>,
    /// Replies that were given and are given again.
    pub given: Vec<Given>,
    /// What clients are told of jobs.
    pub job_news: Vec<JobNews>,
}

impl Logs {
    pub fn marks(&self) -> [usize; 5] {
        let given = self.given.len();
        [self.entries.len(), self.usage.len(), self.charges.len(), given, self.job_news.len()]
    }

    pub fn cut(&mut self, [entries, usage, charges, given, job_news]: [usize; 5]) {
        self.entries.truncate(entries);
        self.usage.truncate(usage);
        self.charges.truncate(charges);
        self.given.truncate(given);
        self.job_news.truncate(job_news);
    }
}
