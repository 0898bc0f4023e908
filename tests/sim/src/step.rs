//! Steps of a schedule. They name what they act on loosely, by a number that is taken modulo what there is, so
//! that a list stays a list when some of it is left out.

use std::fmt;
use std::rc::Rc;

use actors::tenant::Settings;

use crate::command::{Change, Question};
use crate::fault::StatementFault;

/// One step: the clock moves, then something happens to one tenant.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its place in the list as it was made. Ids of holds and operations come of it.
    pub serial: u32,
    pub tenant: u8,
    /// Below zero the clock steps back.
    pub clock_ms: i64,
    pub action: Action,
    pub fault: Fault,
}

/// What goes wrong with the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// The n-th statement fails, and the transaction is undone.
    Statement(StatementFault),
    /// The commit landed, but was reported as failed: whoever asked hears of a failure.
    CommitReportedFailed,
    /// The command was carried out with its effects; the reply never arrives.
    ReplyLost,
    /// A crash after the commit and before its effects: memory, reply and effects are gone.
    CrashAfterCommit,
    /// A crash before the commit.
    CrashBeforeCommit,
}

/// Which key a client gives, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyPick {
    pub key: u32,
    /// A few clients reuse a key for another body.
    pub body: u32,
}

#[derive(Debug, Clone)]
pub enum Action {
    Admit(AdmitPick),
    /// The provider goes on: a share of the hold is charged, more is asked for.
    Progress {
        request: u32,
        charge_percent: i64,
        more: i64,
        ttl_ms: i64,
        tokens_percent: i64,
    },
    /// The provider is done, with this share of what was estimated.
    Settle {
        request: u32,
        charge_percent: i64,
        tokens_percent: i64,
        reply: bool,
    },
    /// The provider failed.
    Release {
        request: u32,
    },
    /// The client hears nothing and asks again, exactly as before. Newest first; far back is a late message.
    Retry {
        back: u32,
    },
    Adjust {
        change: Change,
        key: Option<KeyPick>,
        expires_in_ms: Option<i64>,
    },
    Record {
        id: u32,
        cost: Option<i64>,
        created_ago_ms: Option<i64>,
        key: Option<KeyPick>,
    },
    SetLimits {
        settings: Rc<Settings>,
        secret: u32,
    },
    Ask(Question),
    Job(JobAction),
    Ring(Ring),
    /// The shell reports how a delivery went.
    Deliver {
        delivery: u32,
        delivered: bool,
        again: bool,
    },
    Evict,
    /// A command of another tenant arrives here.
    WrongTenant {
        request: u32,
    },
    /// Nothing: time passes.
    Wait,
}

/// Short, for traces: what comes of it is said by the world.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = format!("{:?}", self.action);
        let name = action.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        write!(f, "step {} of tenant {}: {name}", self.serial, self.tenant)?;
        if self.clock_ms != 0 {
            write!(f, ", clock {:+} ms", self.clock_ms)?;
        }
        if self.fault != Fault::None {
            write!(f, ", {:?}", self.fault)?;
        }
        match &self.action {
            Action::Admit(_) | Action::SetLimits { .. } | Action::Ask(_) => Ok(()),
            _ => write!(f, " {}", action.strip_prefix(name).unwrap_or_default()),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct AdmitPick {
    pub amount: i64,
    pub ttl_ms: i64,
    pub api_key: Option<u8>,
    pub models: u8,
    pub requests: i64,
    pub tokens: i64,
    pub tier: Option<u8>,
    pub key: Option<KeyPick>,
    pub fingerprint: Option<u32>,
}

/// What happens to jobs. Workers and messages are named by a number that is taken modulo what there is.
#[derive(Debug, Clone)]
pub enum JobAction {
    Create(JobPick),
    /// A message arrives, and a worker comes for it.
    Work {
        message: u32,
        /// It will arrive again.
        keep: bool,
        /// The worker does not say which message called it.
        blind: bool,
    },
    LoseMessage {
        message: u32,
    },
    Beat {
        worker: u32,
        mark: Option<u32>,
    },
    Complete {
        worker: u32,
        charge_percent: i64,
        tokens_percent: i64,
    },
    Fail {
        worker: u32,
        fatal: bool,
        seed: u32,
    },
    /// A worker is gone, before or after its provider did the work.
    Die {
        worker: u32,
        answered: bool,
    },
    Patch {
        job: u32,
        status: u8,
    },
    RedriveAll {
        limit: u32,
    },
}

#[derive(Debug, Clone, Copy)]
pub struct JobPick {
    pub kind: u8,
    pub priority: i64,
    pub delay_ms: Option<i64>,
    pub amount: i64,
    pub ttl_ms: i64,
    pub lease_ms: i64,
    pub attempts_max: u32,
    pub wait_ms: i64,
    pub dedupe: Option<u8>,
    pub api_key: Option<u8>,
    pub models: u8,
    pub tokens: i64,
    pub key: Option<KeyPick>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ring {
    /// When the actor asked for it: the clock goes there.
    Due,
    /// Now, whatever was asked for.
    Now,
    /// Now, and again.
    Twice,
}
