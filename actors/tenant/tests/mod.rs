//! The commands of the Tenant actor on the SQL that ships, each topic in its file.

mod actor;
mod admission;
mod alarm;
mod api_keys;
mod caps;
mod growth;
mod key_schedules;
mod keys;
mod settings;
mod standing;
mod thresholds;
mod tickets;
mod unopened;
mod voice;

use serde_json::value::RawValue;

use super::*;
use crate::credits::{Adjustment, EndedHold, HoldEnd, Owner, Usage, Verified};
use crate::notices::{Notice, Webhook};
use crate::rate::{Limits, Weight};
use crate::shared::{Micro, Refusal, TenantId};
use crate::sql::Sql;
use crate::sqlite::Sqlite;

const NOW_MS: i64 = 5_000_000;
const TTL_MS: i64 = 1_000;
const GUEST_GRANT: Micro = Micro(7_000);
const GUEST_GRANT_TTL_MS: i64 = 2_592_000_000;

fn policy() -> Policy {
    let plan = |requests| Limits { requests_per_minute: Some(requests), ..Limits::default() };
    Policy {
        plans: [
            ("free".to_owned(), plan(50)),
            ("guest".to_owned(), plan(20)),
            ("large".to_owned(), plan(400)),
        ]
        .into(),
        default_plan: "free".to_owned(),
        guest_plan: "guest".to_owned(),
        guest_grant: GUEST_GRANT,
        guest_grant_ttl_ms: GUEST_GRANT_TTL_MS,
    }
}

fn me() -> TenantId {
    TenantId::Email("me@x.io".to_owned())
}

fn guest() -> TenantId {
    TenantId::Guest("guest:1".to_owned())
}

/// An actor as its shell keeps it: the database, and what waking it told.
struct Shell {
    sql: Sqlite,
    actor: Actor,
    policy: Policy,
}

impl Shell {
    fn new(tenant: &TenantId) -> Self {
        Self::opened(tenant, NOW_MS)
    }

    fn opened(tenant: &TenantId, at_ms: i64) -> Self {
        let mut sql = Sqlite::in_memory().unwrap();
        let actor = sql.transaction(|sql| open(sql, tenant, &policy(), at_ms)).unwrap();
        Self { sql, actor, policy: policy() }
    }

    fn with_balance(micro: i64) -> Self {
        let mut shell = Self::new(&me());
        shell.run(set(micro), NOW_MS).unwrap();
        shell
    }

    /// Set up before any request: budgets give nothing back to what came in the same moment.
    fn with_settings(micro: i64, settings: Settings) -> Self {
        let mut shell = Self::opened(&me(), NOW_MS - 1);
        shell.run(set(micro), NOW_MS - 1).unwrap();
        shell.set_limits(settings, NOW_MS - 1).unwrap();
        shell
    }

    fn run(&mut self, command: Command, now_ms: i64) -> Result<Outcome, Refusal> {
        let call = Call { tenant: self.actor.tenant.clone(), api_key: None, request_id: None, command };
        // Through bytes, as across the stub.
        let call: Call = serde_json::from_slice(&serde_json::to_vec(&call).unwrap()).unwrap();
        let (sql, actor, policy) = (&mut self.sql, &self.actor, &self.policy);
        let outcome = sql.transaction(|sql| handle(sql, actor, policy, call, now_ms))?;
        Ok(serde_json::from_slice(&serde_json::to_vec(&outcome).unwrap()).unwrap())
    }

    fn admit(&mut self, asked: Admission, now_ms: i64) -> Result<Admitted, Refusal> {
        match self.run(Command::Admit(Box::new(asked)), now_ms)?.reply {
            Reply::Admitted(admitted) => Ok(admitted),
            Reply::Refused(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    fn settle(&mut self, hold: &str, charge: i64, now_ms: i64) -> EndedHold {
        match self.run(settle(hold, charge), now_ms).unwrap().reply {
            Reply::Ended(ended) => ended,
            other => panic!("{other:?}"),
        }
    }

    fn release(&mut self, hold: &str, now_ms: i64) -> EndedHold {
        match self.run(Command::Release { hold: hold.to_owned() }, now_ms).unwrap().reply {
            Reply::Ended(ended) => ended,
            other => panic!("{other:?}"),
        }
    }

    fn set_limits(&mut self, settings: Settings, now_ms: i64) -> Result<LimitsReport, Refusal> {
        let command =
            Command::SetLimits { settings: Box::new(settings), fresh_secret: "whsec_fresh".to_owned() };
        match self.run(command, now_ms)?.reply {
            Reply::Limits(report) => Ok(*report),
            other => panic!("{other:?}"),
        }
    }

    fn limits(&mut self, now_ms: i64) -> LimitsReport {
        match self.run(Command::Limits, now_ms).unwrap().reply {
            Reply::Limits(report) => *report,
            other => panic!("{other:?}"),
        }
    }

    fn available_at(&mut self, now_ms: i64) -> i64 {
        match self.run(Command::Balance, now_ms).unwrap().reply {
            Reply::Balance(account) => account.available.0,
            other => panic!("{other:?}"),
        }
    }

    fn available(&mut self) -> i64 {
        self.available_at(NOW_MS)
    }

    /// Oldest first.
    fn notices(&mut self) -> Vec<Notice> {
        match self.run(Command::ListNotices { limit: 100, cursor: None }, NOW_MS).unwrap().reply {
            Reply::Notices(page) => page.items.into_iter().rev().collect(),
            other => panic!("{other:?}"),
        }
    }

    /// The kinds of the notices so far, oldest first.
    fn told(&mut self) -> Vec<String> {
        let name = |notice: Notice| serde_json::to_value(notice.kind).unwrap().as_str().unwrap().to_owned();
        self.notices().into_iter().map(name).collect()
    }

    fn verified(&mut self) -> (Verified, Vec<Effect>) {
        let outcome = self.run(Command::Verify { from: 0, limit: 1_000 }, NOW_MS).unwrap();
        match outcome.reply {
            Reply::Verified(found) => (found, outcome.effects),
            other => panic!("{other:?}"),
        }
    }

    fn ring(&mut self, now_ms: i64) -> Rung {
        let (actor, policy) = (&self.actor, &self.policy);
        self.sql.transaction(|sql| alarm(sql, actor, policy, now_ms)).unwrap()
    }

    fn tamper(&mut self, statement: &str) {
        self.sql.execute(&format!("PRAGMA ignore_check_constraints = ON; {statement}"), &[]).unwrap();
    }
}

fn key(body: &str) -> Option<Idempotency> {
    Some(Idempotency { key: "k".to_owned(), body_hash: body.to_owned() })
}

fn adjust(adjustment: Adjustment, idempotency: Option<Idempotency>) -> Command {
    let (operation, reason) = ("op".to_owned(), Some("why".to_owned()));
    Command::Adjust { operation, adjustment, reason, reference: Some("ticket-1".to_owned()), idempotency }
}

fn set(micro: i64) -> Command {
    adjust(Adjustment::Set(Micro(micro)), None)
}

fn delta(micro: i64) -> Command {
    adjust(Adjustment::Delta(Micro(micro)), None)
}

/// A request that may cost `amount`.
fn request(hold: &str, amount: i64) -> Admission {
    let weight = Weight { requests: 1, tokens: 0, micro: Micro(amount) };
    Admission {
        hold: hold.to_owned(),
        amount: Micro(amount),
        ttl_ms: TTL_MS,
        owner: Owner { route: "/api/si/ask".to_owned(), weight, ..Owner::default() },
        tier: None,
        idempotency: None,
        fingerprint: None,
    }
}

fn admit(hold: &str, amount: i64, idempotency: Option<Idempotency>) -> Command {
    Command::Admit(Box::new(Admission { idempotency, ..request(hold, amount) }))
}

fn of_key(key: &str, asked: Admission) -> Admission {
    Admission { owner: Owner { api_key: Some(key.to_owned()), ..asked.owner }, ..asked }
}

fn settle_with(hold: &str, charge: i64, usage: Usage) -> Command {
    let reply = Some(RawValue::from_string(format!("\"reply of {hold}\"")).unwrap());
    Command::Settle { hold: hold.to_owned(), charge: Micro(charge), usage, reply }
}

fn settle(hold: &str, charge: i64) -> Command {
    settle_with(hold, charge, Usage::default())
}

/// Charges `charge` in all and has `hold_total` set aside in all.
fn progress(hold: &str, charge: i64, hold_total: i64, usage: Usage) -> Command {
    let (charge_total, hold_total) = (Micro(charge), Micro(hold_total));
    Command::Progress { hold: hold.to_owned(), charge_total, hold_total, ttl_ms: TTL_MS, usage }
}

fn hook(secret: &str) -> Option<Webhook> {
    Some(Webhook { url: "https://owner.example/hook".to_owned(), secret: secret.to_owned() })
}

fn wake(outcome: &Outcome) -> Option<i64> {
    let at = |effect: &Effect| match effect {
        Effect::WakeBy { at_ms } => Some(*at_ms),
        _ => None,
    };
    outcome.effects.iter().find_map(at)
}
