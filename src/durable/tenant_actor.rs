//! The shell of the Tenant actor. It holds no truth: everything in memory can be lost at any time.

use std::cell::{Cell, RefCell};

use actors::shared::Refusal;
use actors::tenant::{self, Actor, Call, Effect, Outcome, Policy, Reply};
use worker::{
    DurableObject, Env, Request, Response, State, WebSocket, WebSocketIncomingMessage, durable_object,
};

use crate::platform::tenant_stub::Answer;
use crate::platform::{config, log, now_ms, sql::Storage};

#[durable_object]
pub struct TenantActor {
    storage: RefCell<Storage>,
    policy: Policy,
    /// Who this is, once known; read from the database after every wake.
    actor: RefCell<Option<Actor>>,
    /// When the alarm is set for, as far as this instance knows.
    armed_at_ms: Cell<Option<i64>>,
}

/// What waking an actor gave.
enum Woken {
    Opened(Actor),
    /// Nothing was ever done here, and the question needs no database.
    Unopened(Reply),
}

impl TenantActor {
    /// One command, one transaction. Nothing is awaited, so nothing can come between.
    fn answer(&self, call: &[u8]) -> Answer {
        let call: Call = serde_json::from_slice(call)
            .map_err(|error| Refusal::Storage { detail: format!("undecodable command: {error}") })?;
        let mut storage = self.storage.try_borrow_mut().map_err(|_| busy())?;
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
        let now_ms = now_ms();
        let mut waiting = Some(call);
        let outcome = storage.transaction(|sql| {
            let call = waiting.take().ok_or_else(busy)?;
            tenant::handle(sql, &actor, self.policy, call, now_ms)
        });
        match outcome {
            Ok(Outcome { reply, effects }) => {
                for effect in effects {
                    let Effect::WakeBy { at_ms } = effect;
                    self.arm(&storage, at_ms)?;
                }
                Ok(reply)
            }
            Err(refusal) => {
                self.note(&mut storage, &refusal);
                Err(refusal)
            }
        }
    }

    /// Who this actor is: from memory, or from the database, which the first change makes.
    fn wake(&self, storage: &mut Storage, call: &Call) -> Result<Woken, Refusal> {
        if let Some(actor) = self.actor.borrow().as_ref() {
            return Ok(Woken::Opened(actor.clone()));
        }
        let now_ms = now_ms();
        let (woken, due_at_ms) = storage.transaction(|sql| {
            let actor = match tenant::reopen(sql)? {
                Some(actor) => actor,
                None => match tenant::unopened(call, self.policy, now_ms)? {
                    Some(reply) => return Ok((Woken::Unopened(reply), None)),
                    None => tenant::open(sql, &call.tenant, self.policy, now_ms)?,
                },
            };
            Ok((Woken::Opened(actor), tenant::due_at_ms(sql)?))
        })?;
        if let Some(at_ms) = due_at_ms {
            self.arm(storage, at_ms)?;
        }
        if let Woken::Opened(actor) = &woken {
            self.actor.replace(Some(actor.clone()));
        }
        Ok(woken)
    }

    /// Has the alarm ring at `at_ms` or before. Deadlines mostly come in order, so most calls write nothing.
    fn arm(&self, storage: &Storage, at_ms: i64) -> Result<(), Refusal> {
        if self.armed_at_ms.get().is_some_and(|armed| armed <= at_ms) {
            return Ok(());
        }
        storage.set_alarm(at_ms)?;
        self.armed_at_ms.set(Some(at_ms));
        Ok(())
    }

    /// A broken invariant stops the actor from changing anything until an operator has looked.
    fn note(&self, storage: &mut Storage, refusal: &Refusal) {
        match refusal {
            Refusal::Broken { detail } => {
                log::fault("actor_quarantined", detail);
                let noted = storage.transaction(|sql| tenant::quarantine(sql, detail));
                if let Err(error) = noted {
                    log::fault("quarantine_failed", &error.to_string());
                }
                self.actor.replace(None);
            }
            Refusal::Storage { detail } => log::fault("storage_refused", detail),
            _ => {}
        }
    }

    fn ring(&self) -> Result<(), Refusal> {
        let mut storage = self.storage.try_borrow_mut().map_err(|_| busy())?;
        // The alarm that rang is gone, whatever comes of it.
        self.armed_at_ms.set(None);
        let now_ms = now_ms();
        let next = storage.transaction(|sql| match tenant::reopen(sql)? {
            Some(actor) if !actor.quarantined => tenant::alarm(sql, now_ms),
            _ => Ok(None),
        });
        match next {
            Ok(Some(at_ms)) => self.arm(&storage, at_ms),
            Ok(None) => Ok(()),
            Err(refusal) => {
                self.note(&mut storage, &refusal);
                Err(refusal)
            }
        }
    }
}

fn busy() -> Refusal {
    Refusal::Storage { detail: "storage is in use within this turn".to_owned() }
}

/// How long after a failed alarm the next one rings: the runtime gives up after six tries, this does not.
const ALARM_RETRY_MS: i64 = 30_000;

impl DurableObject for TenantActor {
    fn new(state: State, env: Env) -> Self {
        Self {
            storage: RefCell::new(Storage::new(&state.storage())),
            policy: config::policy(&env),
            actor: RefCell::new(None),
            armed_at_ms: Cell::new(None),
        }
    }

    /// A command as bytes in, its answer as bytes out. Only the front door can reach this.
    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let call = request.bytes().await?;
        let answer = serde_json::to_vec(&self.answer(&call))?;
        Response::from_bytes(answer)
    }

    async fn alarm(&self) -> worker::Result<Response> {
        if let Err(refusal) = self.ring() {
            log::fault("alarm_failed", &refusal.to_string());
            if let Ok(storage) = self.storage.try_borrow() {
                let _logged_above = self.arm(&storage, now_ms().saturating_add(ALARM_RETRY_MS));
            }
        }
        Response::empty()
    }

    // The trait's own socket handlers panic, and a panic takes the memory of every actor beside this one.
    async fn websocket_message(&self, ws: WebSocket, _: WebSocketIncomingMessage) -> worker::Result<()> {
        ws.close(Some(1008), Some("no sockets here"))
    }

    async fn websocket_close(&self, _: WebSocket, _: usize, _: String, _: bool) -> worker::Result<()> {
        Ok(())
    }

    async fn websocket_error(&self, _: WebSocket, _: worker::Error) -> worker::Result<()> {
        Ok(())
    }
}
