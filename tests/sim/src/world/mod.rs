//! The world of one run: tenants with their actors and models, the clock, the clients, and what is on its way.

mod alarm;
mod clients;
mod jobs;
mod quarantine;
mod send;

use std::collections::HashMap;

use actors::shared::TenantId;

use crate::check;
use crate::check::entries::Walked;
use crate::command::{Cmd, Question};
use crate::model::Model;
use crate::scenario::Scenario;
use crate::shell::Shell;
use crate::step::{Action, Fault, Step};
use crate::tally::Tally;

pub use alarm::Handed;
pub use clients::Request;
pub use jobs::Worker;

/// Steps between two looks at every row.
const FULL_CHECK_STEPS: u32 = 100;
/// Of the steps that committed nothing, so that the database is what it was, one in this many is looked at too.
const IDLE_CHECK_STEPS: u32 = 8;
/// Of how many seeds one begins with a database that no run used before.
const NEW_DATABASE_EVERY: u64 = 16;
/// Of how many seeds one ends in quarantine.
const QUARANTINE_EVERY: u64 = 16;

pub struct Tenant {
    pub id: TenantId,
    pub model: Model,
    pub shell: Shell,
    walked: Walked,
    /// Requests whose clients do not know that they ended.
    pub live: Vec<Request>,
    /// Commands that nobody heard an answer to, and all that were sent, with their steps.
    pub unanswered: Vec<Cmd>,
    pub sent: Vec<(u32, Cmd)>,
    /// Deliveries that were handed out, and which notice each id stands for.
    pub handed: Vec<Handed>,
    pub message_bodies: HashMap<String, String>,
    /// Messages that say of which job there is something to do, on their way.
    pub messages: Vec<u32>,
    /// Workers that believe that they have a lease, and who was ever given which.
    pub workers: Vec<Worker>,
    pub leases: HashMap<(u32, i64), u32>,
}

pub struct World<'a> {
    scenario: &'a Scenario,
    pub now_ms: i64,
    pub tenants: Vec<Tenant>,
    pub tally: Tally,
    trace: bool,
    /// The step under way: ids come of it.
    serial: u32,
    /// A transaction of it landed.
    committed: bool,
    /// How many workers there ever were: each has a name of its own.
    workers: u32,
}

impl<'a> World<'a> {
    pub fn new(scenario: &'a Scenario, trace: bool) -> Self {
        let tenants = scenario.tenants.iter().map(|id| {
            let mut model = Model::new(id.clone(), scenario.policy.clone());
            let mut shell =
                Shell::new(scenario.policy.clone(), scenario.seed.is_multiple_of(NEW_DATABASE_EVERY));
            model.state.job_tables = shell.has_job_tables();
            Tenant {
                id: id.clone(),
                walked: Walked::start(&model),
                model,
                shell,
                live: Vec::new(),
                unanswered: Vec::new(),
                sent: Vec::new(),
                handed: Vec::new(),
                message_bodies: HashMap::new(),
                messages: Vec::new(),
                workers: Vec::new(),
                leases: HashMap::new(),
            }
        });
        let tenants = tenants.collect();
        Self {
            scenario,
            now_ms: scenario.start_ms,
            tenants,
            tally: Tally::default(),
            trace,
            serial: 0,
            committed: false,
            workers: 0,
        }
    }

    /// The run is over, and nothing broke: its databases may be used again.
    pub fn close(self) -> Tally {
        self.tenants.into_iter().for_each(|tenant| tenant.shell.close());
        self.tally
    }

    /// One step, and every invariant after it.
    pub fn carry_out(&mut self, step: &Step) -> Result<(), String> {
        self.serial = step.serial;
        // No time before the year in which the calendar of the model begins.
        self.now_ms = (self.now_ms + step.clock_ms).max(self.scenario.start_ms - 400 * crate::model::DAY_MS);
        if step.clock_ms < 0 {
            self.tally.fault("clock stepped back");
        } else if step.clock_ms >= 60_000 {
            self.tally.fault("clock leapt ahead");
        }
        let at = usize::from(step.tenant);
        self.say(|| step.to_string());
        self.committed = false;
        self.act(at, step)?;
        // By the step's own number: a shrunk list is looked at as the whole one was.
        let fully = step.serial.is_multiple_of(FULL_CHECK_STEPS);
        if self.committed || step.serial.is_multiple_of(IDLE_CHECK_STEPS) {
            self.check(at, fully)
        } else {
            Ok(())
        }
    }

    fn act(&mut self, at: usize, step: &Step) -> Result<(), String> {
        let fault = step.fault;
        match &step.action {
            Action::Admit(pick) => self.ask_admission(at, pick, fault),
            Action::Progress { request, charge_percent, more, ttl_ms, tokens_percent } => {
                self.report_progress(at, *request, (*charge_percent, *tokens_percent), *more, *ttl_ms, fault)
            }
            Action::Settle { request, charge_percent, tokens_percent, reply } => {
                self.report_end(at, *request, (*charge_percent, *tokens_percent), *reply, fault)
            }
            Action::Release { request } => self.report_failure(at, *request, fault),
            Action::Retry { back } => self.ask_again(at, *back, fault),
            Action::Adjust { change, key, expires_in_ms } => {
                self.ask_adjustment(at, *change, *key, *expires_in_ms, fault)
            }
            Action::Record { id, cost, created_ago_ms, key } => {
                self.report_usage(at, *id, *cost, *created_ago_ms, *key, fault)
            }
            Action::SetLimits { settings, secret } => {
                let (settings, secret) = (settings.clone(), *secret);
                self.send(at, Cmd::SetLimits { settings, secret }, fault).map(drop)
            }
            Action::Ask(question) => self.send(at, Cmd::Ask(*question), fault).map(drop),
            Action::Ring(ring) => self.ring_as(at, *ring, fault),
            Action::Deliver { delivery, delivered, again } => {
                self.deliver(at, *delivery, *delivered, *again, fault)
            }
            Action::Evict => {
                self.tenants[at].shell.evict();
                self.tally.fault("evicted");
                Ok(())
            }
            Action::WrongTenant { request } => self.ask_as_stranger(at, *request),
            Action::Job(action) => self.act_on_jobs(at, action, fault),
            Action::Wait => Ok(()),
        }
    }

    /// The invariants, in the database of the tenant that was touched.
    fn check(&mut self, at: usize, fully: bool) -> Result<(), String> {
        let tenant = &mut self.tenants[at];
        if !tenant.model.state.opened {
            return Ok(());
        }
        let database = &mut tenant.shell.database;
        check::sums::check(database, &tenant.model, &mut tenant.walked, fully)?;
        check::jobs::check(database, &tenant.model)?;
        self.tally.check("sums and new entries");
        if fully {
            check::full::check(database, &tenant.model)?;
            self.tally.check("every row");
        }
        if tenant.shell.is_awake() && !tenant.shell.retries {
            let (armed_ms, due_ms) = (tenant.shell.alarm_at_ms, tenant.model.happens_at_ms());
            let in_time = due_ms.is_none_or(|due_ms| armed_ms.is_some_and(|armed_ms| armed_ms <= due_ms));
            check::holds(in_time, || format!("due at {due_ms:?}, but the alarm is at {armed_ms:?}"))?;
        }
        Ok(())
    }

    /// Faults are over: every actor wakes once, then only its alarm rings, when it asked for it. By then, every
    /// hold ends by its deadline, and every notice is delivered.
    pub fn end(&mut self) -> Result<(), String> {
        for at in 0..self.tenants.len() {
            if !self.tenants[at].model.state.opened {
                continue;
            }
            self.tenants[at].shell.evict();
            self.send(at, Cmd::Ask(Question::Balance), Fault::None)?;
            // The whole chain once more, from its beginning.
            self.tenants[at].walked = Walked::start(&self.tenants[at].model);
            self.drain(at)?;
            self.verify(at)?;
            self.check(at, true)?;
            let tenant = &mut self.tenants[at];
            check::full::check_unique(&mut tenant.shell.database, &tenant.model)?;
            check::jobs::check_charges(&mut tenant.shell.database, &tenant.model)?;
            if self.scenario.seed.is_multiple_of(QUARANTINE_EVERY) {
                self.quarantine(at)?;
            }
        }
        Ok(())
    }

    fn verify(&mut self, at: usize) -> Result<(), String> {
        self.send(at, Cmd::Ask(Question::Verify), Fault::None).map(drop)
    }

    fn say(&self, line: impl FnOnce() -> String) {
        if self.trace {
            println!("{}", line());
        }
    }
}
