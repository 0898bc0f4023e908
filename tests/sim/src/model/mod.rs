//! What must come of a command, worked out from what was asked and nothing else: no database, no code of the
//! rules. Where the architecture leaves a choice, this says which one was made.

mod admission;
mod answer;
mod caps;
mod history;
mod hold;
mod jobs;
mod keys;
mod meter;
mod money;
mod notices;
mod settings;
mod state;

use std::rc::Rc;

use actors::shared::{Refusal, TenantId};
use actors::tenant::Policy;

use crate::command::{Cmd, Question};

pub use answer::{Answer, BudgetShown, Ended};
pub use caps::{CapCount, counts as caps_count};
pub use history::{Admission, Charge, History};
pub use hold::{Hold, HoldEnd};
pub use jobs::{Job, JobNews, JobView, REDRIVE};
pub use keys::{Given, KeyRow};
pub use meter::{Budget, Meter, budgets};
pub use money::{Account, Entry, EntryKind, Grant, Operation, UsageRow};
pub use notices::{Notice, NoticeState, delivery_wait_ms};
pub use state::{Logs, State};

pub const DAY_MS: i64 = 86_400_000;
pub const MINUTE_MS: i64 = 60_000;
/// How long a key, an ended hold, an expired one and a notice are remembered.
pub const KEY_TTL_MS: i64 = DAY_MS;
pub const HOLD_HISTORY_MS: i64 = 600_000;
pub const EXPIRED_HISTORY_MS: i64 = 7 * DAY_MS;
/// While the balance stays low, a top-up is asked for again after this.
pub const TOP_UP_AGAIN_MS: i64 = 6 * 3_600_000;
pub const NOTICE_HISTORY_MS: i64 = 30 * DAY_MS;

/// A tenant as the model has it.
pub struct Model {
    pub tenant: TenantId,
    pub policy: Rc<Policy>,
    pub state: State,
    pub logs: Logs,
    pub history: History,
    /// It is a job that is counted.
    counting_job: bool,
}

/// What a command would do. It becomes true with [`Model::commit`] and is dropped with [`Model::undo`].
pub struct Predicted {
    pub answer: Result<Answer, Refusal>,
    next: State,
    marks: [usize; 5],
}

impl Model {
    pub fn new(tenant: TenantId, policy: Rc<Policy>) -> Self {
        let (state, logs, history) = (State::default(), Logs::default(), History::default());
        let mut model = Self { tenant, policy, state, logs, history, counting_job: false };
        model.note_budgets();
        model
    }

    /// The command at `now_ms`. A refusal leaves the state as it is.
    pub fn predict(&mut self, cmd: &Cmd, now_ms: i64) -> Predicted {
        self.attempt(|model| model.run(cmd, now_ms))
    }

    /// The alarm at `now_ms`.
    pub fn predict_ring(&mut self, now_ms: i64) -> Predicted {
        self.attempt(|model| {
            model.ring(now_ms);
            Ok(Answer::Rung)
        })
    }

    /// The jobs that the last command that landed sends messages for.
    pub fn nudges(&self) -> Vec<String> {
        self.state.nudges.iter().map(|job| crate::job_command::job_id(*job)).collect()
    }

    fn attempt(&mut self, run: impl FnOnce(&mut Self) -> Result<Answer, Refusal>) -> Predicted {
        self.state.nudges.clear();
        let before = self.state.clone();
        let marks = self.logs.marks();
        let answer = run(self);
        let next = std::mem::replace(&mut self.state, before);
        Predicted { answer, next, marks }
    }

    pub fn commit(&mut self, predicted: Predicted) {
        if predicted.answer.is_ok() {
            let changed = !Rc::ptr_eq(&self.state.settings, &predicted.next.settings);
            self.state = predicted.next;
            self.history.follow(&mut self.state);
            if changed {
                self.note_budgets();
            }
        } else {
            self.logs.cut(predicted.marks);
        }
    }

    pub fn undo(&mut self, predicted: &Predicted) {
        self.logs.cut(predicted.marks);
    }

    fn run(&mut self, cmd: &Cmd, now_ms: i64) -> Result<Answer, Refusal> {
        match cmd {
            Cmd::Ask(question) => self.ask(*question, now_ms),
            _ => self.change(cmd, now_ms),
        }
    }

    /// What the first change makes of an actor that was never opened, before it is carried out itself.
    pub fn predict_open(&mut self, cmd: &Cmd, now_ms: i64) -> Predicted {
        self.attempt(|model| model.open(cmd, now_ms).map(|()| Answer::Rung))
    }

    fn change(&mut self, cmd: &Cmd, now_ms: i64) -> Result<Answer, Refusal> {
        match cmd {
            Cmd::Admit(asked) => self.admit(asked, now_ms),
            Cmd::Progress(asked) => self.progress(asked, now_ms),
            Cmd::Settle(asked) => self.settle(asked, now_ms),
            Cmd::Release(hold) => self.release(*hold, now_ms),
            Cmd::Adjust(asked) => self.adjust(asked, now_ms),
            Cmd::Record(asked) => self.record(asked, now_ms),
            Cmd::SetLimits { settings, secret } => self.set_limits(settings, *secret, now_ms),
            Cmd::Job(asked) => self.job(asked, now_ms),
            Cmd::Ask(_) => unreachable!("questions change nothing"),
        }
    }

    fn ask(&mut self, question: Question, now_ms: i64) -> Result<Answer, Refusal> {
        let entries = i64::try_from(self.logs.entries.len()).unwrap();
        match question {
            Question::Balance => {
                let mut seen = self.state.clone();
                if !seen.opened {
                    let (amount, expires_at_ms) = self.opening(now_ms);
                    seen.account.available = amount;
                    seen.account.granted = amount;
                    let expiry = Grant {
                        id: 1,
                        promotional: true,
                        priority: 100,
                        expires_at_ms,
                        left: amount,
                        held: 0,
                    };
                    seen.grants.extend((amount > 0).then_some(expiry));
                    (seen.account.next_seq, seen.account.updated_at_ms) = (1, now_ms);
                }
                let over = |grant: &Grant| grant.expires_at_ms.is_some_and(|at| at <= now_ms);
                let expired: i64 =
                    seen.grants.iter().filter(|grant| over(grant)).map(|grant| grant.left).sum();
                seen.account.available -= expired;
                seen.account.granted -= expired;
                Ok(Answer::Balance(seen.account))
            }
            Question::BalanceAt(entry) => {
                let found = self.logs.entries.iter().find(|known| known.seq == entry);
                found.map(|known| Answer::Entry(known.clone())).ok_or(Refusal::UnknownEntry)
            }
            Question::Usage => Ok(Answer::Count(self.logs.usage.len().min(100))),
            Question::Entries => Ok(Answer::Count(self.logs.entries.len().min(100))),
            Question::OpenHolds => Ok(Answer::Count(self.state.open_holds().count().min(100))),
            Question::ExpiredHolds => {
                let expired = self.state.holds.iter().filter(|hold| hold.end == Some(HoldEnd::Expired));
                Ok(Answer::Count(expired.count().min(100)))
            }
            Question::Notices => Ok(Answer::Count(self.state.notices.len().min(100))),
            Question::Limits => Ok(Answer::Limits(self.shown(now_ms))),
            Question::Verify => Ok(Answer::Verified { entries }),
        }
    }
}
