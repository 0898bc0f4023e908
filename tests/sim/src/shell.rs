//! The shell of one actor, as the platform has it: its database, what it keeps in memory, and its alarm. Faults
//! come in here.

use std::rc::Rc;

use actors::shared::{Refusal, TenantId};
use actors::sqlite::Sqlite;
use actors::tenant::{self, Actor, Call, Command, Effect, Outcome, Policy, Reply, Rung};

use crate::fault::{Faulty, INJECTED, StatementFault};
use crate::pool;
use crate::step::Fault;

/// How long after a failed alarm the next one rings.
const ALARM_RETRY_MS: i64 = 30_000;

pub struct Shell {
    pub database: Sqlite,
    /// It has tables of an earlier run, which the rules are not to see before they made them.
    hides_tables: bool,
    /// No run used the database before.
    new: bool,
    /// The rules made their tables.
    opened: bool,
    policy: Rc<Policy>,
    /// In memory: lost by a crash and by an eviction.
    actor: Option<Actor>,
    armed_at_ms: Option<i64>,
    /// The platform's: survives both.
    pub alarm_at_ms: Option<i64>,
    /// The last alarm failed or died: the next one is a retry, later than what is due.
    pub retries: bool,
}

/// What waking an actor gave.
pub enum Woken {
    Opened,
    /// Answered without a database.
    Unopened(Result<Reply, Refusal>),
    /// The injected fault was met.
    Failed,
}

/// What became of a transaction.
pub struct Done<T> {
    /// What the rules said; `None` when a fault kept them from saying anything.
    pub said: Option<Result<T, Refusal>>,
    /// The commit landed.
    pub landed: bool,
    /// Whoever asked heard what was said.
    pub heard: bool,
    /// The injected fault was met.
    pub hit: bool,
}

impl Shell {
    /// `new`: over a database that was never used, not even by another run.
    pub fn new(policy: Rc<Policy>, new: bool) -> Self {
        let (database, hides_tables) = pool::take(new);
        let (actor, armed_at_ms, alarm_at_ms) = (None, None, None);
        Self {
            database,
            hides_tables,
            new,
            opened: false,
            policy,
            actor,
            armed_at_ms,
            alarm_at_ms,
            retries: false,
        }
    }

    /// The end of the run: the database may be used again, if it has its tables. One that was to be new is dropped: those
    /// in use have prepared all their statements.
    pub fn close(self) {
        if self.opened && !self.new {
            pool::give_back(self.database);
        }
    }

    /// Whether the database has tables of jobs, of another run perhaps.
    pub fn has_job_tables(&mut self) -> bool {
        let found = actors::sql::Sql::text(
            &mut self.database,
            "SELECT name FROM sqlite_master WHERE name = 'jobs'",
            &[],
        );
        matches!(found, Ok(Some(_)))
    }

    pub fn evict(&mut self) {
        self.actor = None;
        self.armed_at_ms = None;
    }

    pub const fn is_awake(&self) -> bool {
        self.actor.is_some()
    }

    /// Wakes the actor for `call`; `fault` counts down over its statements.
    pub fn wake(&mut self, call: &Call, now_ms: i64, fault: &mut Fault) -> Result<Woken, Refusal> {
        let policy = self.policy.clone();
        let (statement, mut unopened) = (statement_of(*fault), None);
        let (mut hit, mut statements) = (false, 0);
        let hides_tables = self.hides_tables;
        let woken = self.database.transaction(|sql| {
            let mut sql = Faulty::hiding_tables(sql, statement, hides_tables);
            let woken = wake(&mut sql, call, &policy, now_ms, &mut unopened);
            (hit, statements) = (sql.hit, sql.statements);
            woken
        });
        if let (Fault::Statement(left), false) = (&mut *fault, hit) {
            left.nth -= statements;
        }
        match woken {
            Err(Refusal::Storage { detail }) if hit && detail == INJECTED => Ok(Woken::Failed),
            Ok(Some((actor, due_at_ms))) if !hit => {
                self.actor = Some(actor);
                (self.hides_tables, self.opened) = (false, true);
                self.retries = false;
                due_at_ms.into_iter().for_each(|at_ms| self.arm(at_ms));
                Ok(Woken::Opened)
            }
            Ok(None) if !hit => unopened.map(Woken::Unopened).ok_or(storage("nothing was said")),
            Ok(_) => Err(storage("an injected fault was swallowed while waking")),
            Err(refusal) => Err(refusal),
        }
    }

    /// Carries `command` out on an actor that is awake.
    pub fn handle(
        &mut self,
        tenant: &TenantId,
        command: Command,
        now_ms: i64,
        fault: Fault,
    ) -> Done<Outcome> {
        let (actor, policy) = (self.actor.clone().expect("awake"), self.policy.clone());
        let call = Call { tenant: tenant.clone(), api_key: None, request_id: None, command };
        let done = self.run(fault, |sql| tenant::handle(sql, &actor, &policy, call, now_ms));
        if let (Some(Ok(outcome)), true) = (&done.said, effects_happen(fault)) {
            for effect in &outcome.effects {
                if let Effect::WakeBy { at_ms } = effect {
                    self.arm(*at_ms);
                }
            }
        }
        self.crash_if(fault);
        done
    }

    /// What `command` would be answered: carried out, and undone.
    pub fn try_out(&mut self, tenant: &TenantId, command: Command, now_ms: i64) -> Result<Reply, Refusal> {
        let (actor, policy) = (self.actor.clone().expect("awake"), self.policy.clone());
        let call = Call { tenant: tenant.clone(), api_key: None, request_id: None, command };
        let mut said = Err(storage("nothing was said"));
        let _undone = self.database.transaction(|sql| {
            said = tenant::handle(sql, &actor, &policy, call, now_ms).map(|outcome| outcome.reply);
            Err::<(), Refusal>(storage("undone"))
        });
        said
    }

    /// The alarm rings. What it hands out is to be delivered, unless it is lost.
    pub fn ring(&mut self, now_ms: i64, fault: Fault) -> Done<Option<Rung>> {
        (self.armed_at_ms, self.alarm_at_ms) = (None, None);
        let policy = self.policy.clone();
        let done = self.run(fault, |sql| match tenant::reopen(sql)? {
            Some(actor) if !actor.quarantined => tenant::alarm(sql, &actor, &policy, now_ms).map(Some),
            _ => Ok(None),
        });
        self.retries = !(matches!(done.said, Some(Ok(_))) && effects_happen(fault));
        match &done.said {
            Some(Ok(rung)) if !self.retries => {
                let next = rung.as_ref().and_then(|rung| rung.next_at_ms);
                next.into_iter().for_each(|at_ms| self.arm(at_ms));
            }
            // The platform rings again for an alarm that failed or died.
            _ => self.arm(now_ms + ALARM_RETRY_MS),
        }
        self.crash_if(fault);
        done
    }

    /// Reports how a delivery went.
    pub fn note_attempt(
        &mut self,
        seq: i64,
        attempt: u32,
        delivered: bool,
        now_ms: i64,
        fault: Fault,
    ) -> Done<Option<i64>> {
        let outcome = if delivered { "204" } else { "503" };
        let done = self.run(fault, |sql| tenant::note_attempt(sql, seq, attempt, delivered, outcome, now_ms));
        if let (Some(Ok(Some(at_ms))), true) = (&done.said, effects_happen(fault)) {
            self.arm(*at_ms);
        }
        self.crash_if(fault);
        done
    }

    fn run<T>(
        &mut self,
        fault: Fault,
        command: impl FnOnce(&mut Faulty<'_, Sqlite>) -> Result<T, Refusal>,
    ) -> Done<T> {
        let (statement, mut hit) = (statement_of(fault), false);
        let before_commit = fault == Fault::CrashBeforeCommit;
        let hides_tables = self.hides_tables;
        let said = self.database.transaction(|sql| {
            let mut sql = Faulty::hiding_tables(sql, statement, hides_tables);
            let said = command(&mut sql);
            hit = sql.hit;
            if before_commit { Err(storage(INJECTED)) } else { said }
        });
        let injected = matches!(&said, Err(Refusal::Storage { detail }) if detail == INJECTED);
        if injected && (hit || before_commit) {
            return Done { said: None, landed: false, heard: false, hit };
        }
        let landed = said.is_ok();
        let heard = matches!(fault, Fault::None | Fault::Statement(_));
        Done { said: Some(said), landed, heard, hit }
    }

    /// Has the alarm ring at `at_ms` or before.
    fn arm(&mut self, at_ms: i64) {
        if self.armed_at_ms.is_none_or(|armed| armed > at_ms) {
            self.armed_at_ms = Some(at_ms);
            self.alarm_at_ms = Some(at_ms);
        }
    }

    fn crash_if(&mut self, fault: Fault) {
        if matches!(fault, Fault::CrashAfterCommit | Fault::CrashBeforeCommit) {
            self.evict();
        }
    }
}

/// What a refusal says before the first change is an answer, and no fault of waking.
fn wake(
    sql: &mut Faulty<'_, Sqlite>,
    call: &Call,
    policy: &Policy,
    now_ms: i64,
    unopened: &mut Option<Result<Reply, Refusal>>,
) -> Result<Option<(Actor, Option<i64>)>, Refusal> {
    match tenant::wake(sql, call, policy, now_ms) {
        Ok(tenant::Woken::Opened { actor, due_at_ms }) => Ok(Some((actor, due_at_ms))),
        Ok(tenant::Woken::Unopened(reply)) => {
            *unopened = Some(Ok(reply));
            Ok(None)
        }
        Err(refusal @ (Refusal::Storage { .. } | Refusal::Broken { .. })) => Err(refusal),
        Err(refusal) => {
            *unopened = Some(Err(refusal));
            Ok(None)
        }
    }
}

const fn statement_of(fault: Fault) -> Option<StatementFault> {
    match fault {
        Fault::Statement(statement) => Some(statement),
        _ => None,
    }
}

/// A commit that is reported as failed stops the shell before its effects, and so does a crash.
pub const fn effects_happen(fault: Fault) -> bool {
    matches!(fault, Fault::None | Fault::Statement(_) | Fault::ReplyLost)
}

fn storage(detail: &str) -> Refusal {
    Refusal::Storage { detail: detail.to_owned() }
}
