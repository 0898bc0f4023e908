//! One tenant's actor on the platform. It holds no truth: everything in memory can be lost at any time.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use actors::jobs::ScheduleDue;
use actors::notices::Delivery;
use actors::shared::{Refusal, TenantId};
use actors::tenant::{self, Actor, Call, Command, Effect, Outcome, Reply, Standing};
use futures::future::{join, join_all};
use worker::Env;

use super::alarm::Alarm;
use crate::platform::config::Config;
use crate::platform::sockets::ObjectState;
use crate::platform::tenant_stub::{Answer, Answered, name_of};
use crate::platform::{log, now_ms, queue, sql::Storage, webhook, with_jobs};

pub struct Tenant {
    pub(super) state: ObjectState,
    pub(super) storage: RefCell<Storage>,
    pub(super) env: Env,
    pub(super) config: Rc<Config>,
    /// Who this is, once known; read from the database after every wake.
    pub(super) actor: RefCell<Option<Rc<Actor>>>,
    alarm: Cell<Alarm>,
    /// When its name was written last among those that have jobs; zero when this instance did not.
    noted_at_ms: Cell<i64>,
}

/// What an alarm leaves to be done outside of its transaction.
#[derive(Default)]
pub(super) struct AfterRing {
    deliveries: Vec<Delivery>,
    runs: Option<(TenantId, Vec<ScheduleDue>)>,
}

/// What waking an actor gave.
enum Woken {
    Opened(Rc<Actor>),
    /// Nothing was ever done here, and the question needs no database.
    Unopened(Reply),
}

impl Tenant {
    pub fn new(state: ObjectState, env: Env, config: Rc<Config>) -> Self {
        let (storage, actor) = (RefCell::new(Storage::new(state.storage())), RefCell::new(None));
        Self { state, storage, env, config, actor, alarm: Cell::default(), noted_at_ms: Cell::new(0) }
    }

    /// One command, one transaction; and where the tenant stands, when a metered one does not say so itself. Nothing is
    /// awaited, so nothing can come between.
    pub(super) fn answer(&self, call: &str) -> Answered {
        let mut call: Call = match serde_json::from_str(call) {
            Ok(call) => call,
            Err(error) => {
                let answer = Err(Refusal::Storage { detail: format!("undecodable command: {error}") });
                return Answered { answer, standing: None };
            }
        };
        log::within(call.request_id.take(), || self.answer_call(call))
    }

    fn answer_call(&self, call: Call) -> Answered {
        let noted = self.config.logs_commands.then(|| (name_of(&call.tenant), call.command.name()));
        let (tenant, api_key) = (call.tenant.clone(), call.api_key.clone());
        let is_metered = call.command.is_metered();
        let answer = self.run(call);
        if let Some((actor, command)) = noted {
            log::command(self.config.log_names.name(&actor).as_deref(), command, answer.is_err());
        }
        let standing = tenant::wants_standing(is_metered, &answer);
        let standing = standing.then(|| self.standing(&tenant, api_key.as_deref()).ok()).flatten();
        Answered { answer, standing }
    }

    fn standing(&self, tenant: &TenantId, api_key: Option<&str>) -> Result<Standing, Refusal> {
        let (now_ms, policy) = (now_ms(), &self.config.policy);
        let Some(actor) = self.actor.borrow().clone() else {
            return Ok(tenant::standing_unopened(tenant, policy, now_ms));
        };
        let mut storage = self.storage.try_borrow_mut().map_err(|_| busy())?;
        tenant::standing(&mut *storage, &actor, policy, api_key, now_ms)
    }

    pub(super) fn run(&self, call: Call) -> Answer {
        let mut storage = self.storage.try_borrow_mut().map_err(|_| busy())?;
        if self.alarm.get().is_overdue(now_ms()) {
            self.actor.replace(None);
            self.alarm.set(Alarm::default());
        }
        let makes_jobs = matches!(&call.command, Command::Jobs(asked) if asked.changes());
        let woken = self.wake(&mut storage, &call);
        let woken = woken.inspect_err(|refusal| {
            if matches!(refusal, Refusal::Broken { .. } | Refusal::Storage { .. }) {
                log::fault("actor_did_not_wake", &refusal.to_string());
            }
        })?;
        let actor = match woken {
            Woken::Opened(actor) => actor,
            Woken::Unopened(reply) => return Ok(reply),
        };
        self.arm_owed(&storage);
        let now_ms = now_ms();
        let mut waiting = Some(call);
        let outcome = storage.transaction(|sql| {
            let call = waiting.take().ok_or_else(busy)?;
            tenant::handle(sql, &actor, &self.config.policy, call, now_ms)
        });
        match outcome {
            Ok(Outcome { reply, effects }) => {
                let mut nudges = Vec::new();
                for effect in effects {
                    match effect {
                        Effect::WakeBy { at_ms } => self.arm_or_owe(&storage, at_ms),
                        Effect::Quarantine { detail } => self.quarantine(&mut storage, &detail),
                        Effect::EndSocketsOf { api_key } => self.end_sockets_of(&api_key),
                        // Only the alarm hands out deliveries, and runs of schedules.
                        Effect::Deliver(_) | Effect::RunSchedule(_) => self.arm_or_owe(&storage, now_ms),
                        Effect::Nudge(nudge) => nudges.push(nudge),
                    }
                }
                queue::send(&self.env, &self.state, &actor.tenant, nudges);
                if makes_jobs {
                    self.note_jobs(&actor, now_ms);
                }
                Ok(reply)
            }
            Err(refusal) => {
                self.note(&mut storage, &refusal);
                Err(refusal)
            }
        }
    }

    /// Has the sweep know that there are jobs here.
    fn note_jobs(&self, actor: &Actor, now_ms: i64) {
        if now_ms.saturating_sub(self.noted_at_ms.get()) >= with_jobs::BETWEEN_MS {
            self.noted_at_ms.set(now_ms);
            with_jobs::note(&self.env, &self.state, &name_of(&actor.tenant));
        }
    }

    /// Who this actor is: from memory, or from the database, which the first change makes.
    fn wake(&self, storage: &mut Storage, call: &Call) -> Result<Woken, Refusal> {
        if let Some(actor) = self.actor.borrow().as_ref() {
            return Ok(Woken::Opened(Rc::clone(actor)));
        }
        let (now_ms, policy) = (now_ms(), &self.config.policy);
        let woken = storage.transaction(|sql| tenant::wake(sql, call, policy, now_ms))?;
        let (actor, due_at_ms) = match woken {
            tenant::Woken::Opened { actor, due_at_ms } => (Rc::new(actor), due_at_ms),
            tenant::Woken::Unopened(reply) => return Ok(Woken::Unopened(reply)),
        };
        // There is one alarm: whoever sets it sets it for all that is due.
        if let Some(at_ms) = due_at_ms.into_iter().chain(self.sockets_due_at_ms()).min() {
            self.arm(storage, at_ms)?;
        }
        self.actor.replace(Some(Rc::clone(&actor)));
        Ok(Woken::Opened(actor))
    }

    /// Has the alarm ring at `at_ms` or before. Deadlines mostly come in order, so most calls write nothing.
    fn arm(&self, storage: &Storage, at_ms: i64) -> Result<(), Refusal> {
        let mut alarm = self.alarm.get();
        if let Some(at_ms) = alarm.wants(at_ms) {
            storage.set_alarm(at_ms)?;
            alarm.armed(at_ms);
            self.alarm.set(alarm);
        }
        Ok(())
    }

    /// The same after a command that is done: what it did stands, and its caller must hear so. An alarm that could not
    /// be set is owed, and the next command sets it.
    fn arm_or_owe(&self, storage: &Storage, at_ms: i64) {
        if let Err(refusal) = self.arm(storage, at_ms) {
            log::fault("alarm_not_set", &refusal.to_string());
            let mut alarm = self.alarm.get();
            alarm.owes(at_ms);
            self.alarm.set(alarm);
        }
    }

    fn arm_owed(&self, storage: &Storage) {
        if let Some(at_ms) = self.alarm.get().owed() {
            self.arm_or_owe(storage, at_ms);
        }
    }

    /// The same from outside a command; a failure is logged, because nobody waits for it.
    pub(super) fn arm_later(&self, at_ms: i64) {
        let armed = self.storage.try_borrow().map_err(|_| busy()).and_then(|sql| self.arm(&sql, at_ms));
        if let Err(refusal) = armed {
            log::fault("alarm_not_set", &refusal.to_string());
        }
    }

    /// A broken invariant stops the actor from changing anything until an operator has looked.
    fn note(&self, storage: &mut Storage, refusal: &Refusal) {
        match refusal {
            Refusal::Broken { detail } => self.quarantine(storage, detail),
            Refusal::Storage { detail } => {
                log::fault("storage_refused", detail);
                // What failed may have landed: the next command wakes the actor anew, and asks what is due.
                self.actor.replace(None);
                self.alarm.set(Alarm::default());
            }
            _ => {}
        }
    }

    fn quarantine(&self, storage: &mut Storage, detail: &str) {
        log::fault("actor_quarantined", detail);
        let noted = storage.transaction(|sql| tenant::quarantine(sql, detail));
        if let Err(error) = noted {
            log::fault("quarantine_failed", &error.to_string());
        }
        self.actor.replace(None);
    }

    /// The alarm: what is due, and what is then to be done with others.
    pub(super) fn ring(&self) -> Result<AfterRing, Refusal> {
        let mut storage = self.storage.try_borrow_mut().map_err(|_| busy())?;
        // The alarm that rang is gone, whatever comes of it.
        self.alarm.set(Alarm::default());
        let (now_ms, policy) = (now_ms(), &self.config.policy);
        self.end_those_over(now_ms);
        let rung = storage.transaction(|sql| match tenant::reopen(sql)? {
            Some(actor) if !actor.quarantined => {
                let rung = tenant::alarm(sql, &actor, policy, now_ms)?;
                Ok(Some((actor, rung)))
            }
            _ => Ok(None),
        });
        let rung = rung.inspect_err(|refusal| self.note(&mut storage, refusal))?;
        let next_at_ms = rung.as_ref().and_then(|(_, rung)| rung.next_at_ms);
        if let Some(at_ms) = next_at_ms.into_iter().chain(self.sockets_due_at_ms()).min() {
            self.arm(&storage, at_ms)?;
        }
        let Some((actor, rung)) = rung else {
            return Ok(AfterRing::default());
        };
        let (mut deliveries, mut nudges, mut runs) = (Vec::new(), Vec::new(), Vec::new());
        for effect in rung.effects {
            match effect {
                Effect::Deliver(delivery) => deliveries.push(delivery),
                Effect::Nudge(nudge) => nudges.push(nudge),
                Effect::RunSchedule(due) => runs.push(*due),
                _ => {}
            }
        }
        if !nudges.is_empty() || !runs.is_empty() {
            self.note_jobs(&actor, now_ms);
        }
        queue::send(&self.env, &self.state, &actor.tenant, nudges);
        Ok(AfterRing { deliveries, runs: Some((actor.tenant, runs)) })
    }

    /// Does what an alarm left to do: deliveries and runs, all at once.
    pub(super) async fn attend(&self, after: AfterRing) {
        let AfterRing { deliveries, runs } = after;
        let run_all = async {
            if let Some((tenant, runs)) = runs {
                self.run_schedules(&tenant, runs).await;
            }
        };
        join(self.deliver_all(deliveries), run_all).await;
    }

    /// Calls the owner's webhook for each, all at once, and notes how each went. Between the transaction that
    /// leased them and the one that notes it nothing is held: if this is lost, the lease ends.
    async fn deliver_all(&self, deliveries: Vec<Delivery>) {
        join_all(deliveries.iter().map(|delivery| self.deliver(delivery))).await;
    }

    async fn deliver(&self, delivery: &Delivery) {
        let sent = webhook::send(webhook::Call::of(delivery), self.config.environment, now_ms()).await;
        let (delivered, outcome) = match sent {
            Ok(status) => (true, status.to_string()),
            Err(failure) => (false, failure.outcome()),
        };
        let actor = self.actor.borrow().as_ref().map(|actor| name_of(&actor.tenant));
        let actor = actor.and_then(|actor| self.config.log_names.name(&actor));
        log::delivery(actor.as_deref(), delivery.seq, delivery.attempt, &outcome);
        let Ok(mut storage) = self.storage.try_borrow_mut() else { return };
        let (now_ms, Delivery { seq, attempt, .. }) = (now_ms(), delivery);
        let noted =
            storage.transaction(|sql| tenant::note_attempt(sql, *seq, *attempt, delivered, &outcome, now_ms));
        match noted {
            Ok(Some(at_ms)) => self.arm_or_owe(&storage, at_ms),
            Ok(None) => {}
            Err(refusal) => log::fault("delivery_not_noted", &refusal.to_string()),
        }
    }
}

pub(super) fn busy() -> Refusal {
    Refusal::Storage { detail: "storage is in use within this turn".to_owned() }
}
