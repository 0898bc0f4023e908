//! Commands as the simulator speaks of them: small numbers for names, so that they are cheap to keep and compare.

use std::rc::Rc;

use actors::credits::{
    Adjustment, GrantKind, GrantTerms, HoldState, Owner, Usage as UsageReport, UsageFilter,
    VERIFY_ENTRIES_MAX,
};
use actors::rate::Weight;
use actors::shared::Micro;
use actors::tenant::{Admission, Command, Idempotency, Settings};
use serde_json::value::RawValue;

use crate::job_command::JobCmd;
use crate::model::REDRIVE;

/// Models that may answer, API keys and tiers there are.
pub const MODELS: [&str; 3] = ["m0", "m1", "m2"];
pub const API_KEYS: [&str; 2] = ["key-0", "key-1"];
pub const TIERS: [&str; 2] = ["basic", "pro"];

/// A client's key and the digest of the body that came with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    pub key: u32,
    pub body: u32,
}

#[derive(Debug, Clone, Copy)]
pub struct Admit {
    pub hold: u32,
    pub amount: i64,
    pub ttl_ms: i64,
    pub api_key: Option<u8>,
    /// A bit for each of [`MODELS`].
    pub models: u8,
    pub requests: i64,
    pub tokens: i64,
    pub tier: Option<u8>,
    pub key: Option<Key>,
    pub fingerprint: Option<u32>,
    /// The job whose hold it is to be.
    pub job: Option<u32>,
}

/// What was used, as the edge reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    pub tokens_in: i64,
    pub tokens_out: i64,
    pub model: Option<u8>,
}

impl Used {
    pub const fn tokens(self) -> i64 {
        self.tokens_in + self.tokens_out
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Progress {
    pub hold: u32,
    pub charge_total: i64,
    pub hold_total: i64,
    pub ttl_ms: i64,
    pub used: Used,
}

#[derive(Debug, Clone, Copy)]
pub struct Settle {
    pub hold: u32,
    pub charge: i64,
    pub used: Used,
    /// With a reply to give again.
    pub reply: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Set(i64),
    Delta(i64),
    Grant { amount: i64, promotional: bool, priority: i64, expires_at_ms: Option<i64> },
}

#[derive(Debug, Clone, Copy)]
pub struct Adjust {
    pub operation: u32,
    pub change: Change,
    pub key: Option<Key>,
}

#[derive(Debug, Clone, Copy)]
pub struct Record {
    pub id: u32,
    pub cost: Option<i64>,
    pub created_at_ms: Option<i64>,
    pub key: Option<Key>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    Balance,
    BalanceAt(i64),
    Usage,
    Entries,
    OpenHolds,
    ExpiredHolds,
    Notices,
    Limits,
    Verify,
}

#[derive(Debug, Clone)]
pub enum Cmd {
    Admit(Admit),
    Progress(Progress),
    Settle(Settle),
    Release(u32),
    Adjust(Adjust),
    Record(Record),
    SetLimits { settings: Rc<Settings>, secret: u32 },
    Job(JobCmd),
    Ask(Question),
}

pub fn hold_id(hold: u32) -> String {
    // Of one length, so that they sort as numbers do; what a job took when it began anew sorts right behind the first.
    match hold / REDRIVE {
        0 => format!("h{hold:06}"),
        times => format!("h{:06}-r{times}", hold % REDRIVE),
    }
}

pub fn operation_id(operation: u32) -> String {
    format!("o{operation:06}")
}

pub fn usage_id(id: u32) -> String {
    format!("u{id:06}")
}

/// The reply that a settle brings to be given again.
pub fn reply_text(hold: u32) -> String {
    format!("{{\"answer\":{hold}}}")
}

pub fn idempotency(key: Option<Key>) -> Option<Idempotency> {
    key.map(|Key { key, body }| Idempotency { key: format!("k{key}"), body_hash: format!("b{body}") })
}

fn usage(used: Used, route: &str) -> UsageReport {
    UsageReport {
        route: Some(route.to_owned()),
        tokens_in: Some(used.tokens_in),
        tokens_out: Some(used.tokens_out),
        model: used.model.map(|model| MODELS[usize::from(model)].to_owned()),
        meta: None,
    }
}

impl Cmd {
    /// The command that crosses to the actor.
    pub fn build(&self) -> Command {
        match self {
            Self::Admit(asked) => Command::Admit(Box::new(admission(asked))),
            Self::Progress(asked) => Command::Progress {
                hold: hold_id(asked.hold),
                charge_total: Micro(asked.charge_total),
                hold_total: Micro(asked.hold_total),
                ttl_ms: asked.ttl_ms,
                usage: usage(asked.used, "ask"),
            },
            Self::Settle(asked) => Command::Settle {
                hold: hold_id(asked.hold),
                charge: Micro(asked.charge),
                usage: usage(asked.used, "ask"),
                reply: asked.reply.then(|| RawValue::from_string(reply_text(asked.hold)).unwrap()),
            },
            Self::Release(hold) => Command::Release { hold: hold_id(*hold) },
            Self::Adjust(asked) => Command::Adjust {
                operation: operation_id(asked.operation),
                adjustment: adjustment(asked.change),
                reason: Some("simulated".to_owned()),
                reference: None,
                idempotency: idempotency(asked.key),
            },
            Self::Record(asked) => Command::RecordUsage {
                id: usage_id(asked.id),
                usage: UsageReport { route: Some("client".to_owned()), ..UsageReport::default() },
                cost: asked.cost.map(Micro),
                created_at_ms: asked.created_at_ms,
                idempotency: idempotency(asked.key),
            },
            Self::SetLimits { settings, secret } => Command::SetLimits {
                settings: Box::new(Settings::clone(settings)),
                fresh_secret: format!("secret-{secret}"),
            },
            Self::Job(asked) => asked.build(),
            Self::Ask(question) => ask(*question),
        }
    }
}

fn admission(asked: &Admit) -> Admission {
    let models = MODELS.iter().enumerate().filter(|(at, _)| asked.models & (1 << at) != 0);
    Admission {
        hold: hold_id(asked.hold),
        amount: Micro(asked.amount),
        ttl_ms: asked.ttl_ms,
        owner: Owner {
            route: "ask".to_owned(),
            request_id: None,
            api_key: asked.api_key.map(|key| API_KEYS[usize::from(key)].to_owned()),
            models: models.map(|(_, name)| (*name).to_owned()).collect(),
            weight: Weight { requests: asked.requests, tokens: asked.tokens, micro: Micro(asked.amount) },
            idempotency_key: None,
            job: asked.job.map(hold_id),
        },
        tier: asked.tier.map(|tier| TIERS[usize::from(tier)].to_owned()),
        idempotency: idempotency(asked.key),
        fingerprint: asked.fingerprint.map(|digest| format!("f{digest}")),
    }
}

fn adjustment(change: Change) -> Adjustment {
    match change {
        Change::Set(amount) => Adjustment::Set(Micro(amount)),
        Change::Delta(amount) => Adjustment::Delta(Micro(amount)),
        Change::Grant { amount, promotional, priority, expires_at_ms } => {
            let kind = if promotional { GrantKind::Promotional } else { GrantKind::Paid };
            Adjustment::Grant(Micro(amount), GrantTerms { kind, priority, expires_at_ms })
        }
    }
}

fn ask(question: Question) -> Command {
    let (limit, cursor) = (100, None);
    match question {
        Question::Balance => Command::Balance,
        Question::BalanceAt(entry) => Command::BalanceAt { entry },
        Question::Usage => Command::ListUsage(UsageFilter { limit, ..UsageFilter::default() }),
        Question::Entries => Command::ListEntries { limit, cursor },
        Question::OpenHolds => Command::ListHolds { state: HoldState::Open, limit, cursor },
        Question::ExpiredHolds => Command::ListHolds { state: HoldState::Expired, limit, cursor },
        Question::Notices => Command::ListNotices { limit, cursor },
        Question::Limits => Command::Limits,
        Question::Verify => Command::Verify { from: 0, limit: VERIFY_ENTRIES_MAX },
    }
}
