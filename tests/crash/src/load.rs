//! The load: clients that ask until they are told to stop, and try again where a client safely can.

use crate::bounds::{ATTEMPTS_MAX, CLIENTS, DRAIN_BOUND, RETRY_PAUSE};
use crate::heard::Heard;
use crate::journal::{Journal, OperationId};
use crate::operation::{Operation, Request};
use crate::party::Party;
use crate::violation::{Fault, Violation};
use crate::{adjust, ask, mixture, usage_event};
use fastrand::Rng;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::{RwLock, RwLockWriteGuard};
use tokio::task::JoinSet;

/// What the clients share with the one that kills.
pub struct Shared {
    pub parties: Vec<Party>,
    pub journal: Journal,
    /// Each attempt holds it for reading.
    gate: RwLock<()>,
    /// Attempts that hold the gate.
    under_way: AtomicUsize,
    stopping: AtomicBool,
}

/// The clients of a run. Dropping it ends them.
pub struct Load {
    clients: JoinSet<()>,
}

/// While it lives no client sends anything.
pub struct Quiet<'a> {
    _gate: RwLockWriteGuard<'a, ()>,
}

impl Shared {
    pub fn new(parties: Vec<Party>, seed: u64) -> Self {
        Self {
            parties,
            journal: Journal::new(seed),
            gate: RwLock::new(()),
            under_way: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
        }
    }

    pub fn under_way(&self) -> usize {
        self.under_way.load(Ordering::SeqCst)
    }

    /// Waits until what is under way has ended, and lets nothing new begin.
    pub async fn quiet(&self) -> Quiet<'_> {
        Quiet { _gate: self.gate.write().await }
    }

    /// Carries an operation to its end: its answer, or for what must not be sent twice, its only attempt.
    pub async fn perform(&self, tenant: usize, request: Request) {
        let id = self.journal.begin(tenant, request);
        for _ in 0..ATTEMPTS_MAX {
            let heard = {
                let _open = self.gate.read().await;
                self.under_way.fetch_add(1, Ordering::SeqCst);
                let heard = self.attempt(id).await;
                self.under_way.fetch_sub(1, Ordering::SeqCst);
                heard
            };
            if self.note(id, heard) {
                return;
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        let detail = format!("no answer in {ATTEMPTS_MAX} attempts: {:?}", self.journal.attempt(id));
        self.journal.accuse(Violation::new(Fault::Stuck, detail));
    }

    /// One attempt, whether the gate is open or not.
    pub async fn attempt(&self, id: OperationId) -> Heard {
        let Operation { tenant, request, name, request_ids, .. } = self.journal.attempt(id);
        let tenant = &self.parties[tenant].tenant;
        let request_id = request_ids.last().map(String::as_str).unwrap_or_default();
        match &request {
            Request::Ask(asked) => {
                ask::attempt(tenant, asked, &name, request_id, request_ids.len() == 1).await
            }
            Request::Adjust { delta_milli } => adjust::attempt(tenant, *delta_milli, &name).await,
            Request::UsageEvent { tokens_in, cost_milli } => {
                usage_event::attempt(tenant, *tokens_in, *cost_milli, &name).await
            }
        }
    }

    /// Writes down what was heard; whether that was the end of the operation.
    pub fn note(&self, id: OperationId, heard: Heard) -> bool {
        match heard {
            Heard::Unsent => {
                self.journal.take_back(id);
                return false;
            }
            Heard::Whole(receipt) => self.journal.acknowledge(id, receipt),
            Heard::Refused { code, again } => {
                self.journal.note_refusal(&code);
                if again && self.journal.is_repeatable(id) {
                    self.journal.lose_sight(id);
                    return false;
                }
                self.journal.refuse(id, &code);
            }
            Heard::Nothing { code } => {
                if let Some(code) = code {
                    self.journal.note_refusal(&code);
                }
                self.journal.lose_sight(id);
                return !self.journal.is_repeatable(id);
            }
            Heard::Wrong(why) => {
                self.journal.lose_sight(id);
                self.journal.accuse(Violation::new(Fault::Reply, why));
            }
        }
        true
    }
}

impl Load {
    /// Clients that differ by their part of `seed` alone.
    pub fn start(shared: &Arc<Shared>, seed: u64) -> Self {
        let mut seeds = Rng::with_seed(seed);
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let shared = shared.clone();
            let mut rng = seeds.fork();
            clients.spawn(async move {
                while !shared.stopping.load(Ordering::SeqCst) {
                    let (tenant, request) = mixture::draw(&mut rng, &shared.parties);
                    shared.perform(tenant, request).await;
                }
            });
        }
        Self { clients }
    }

    /// Panics when a client has: it met a reply that breaks a rule which holds for every reply.
    pub fn must_be_well(&mut self) {
        while let Some(ended) = self.clients.try_join_next() {
            ended.expect("a client panicked");
        }
    }

    /// Lets the clients end what they began.
    pub async fn drain(mut self, shared: &Shared) {
        shared.stopping.store(true, Ordering::SeqCst);
        let ended = tokio::time::timeout(DRAIN_BOUND, async {
            while let Some(ended) = self.clients.join_next().await {
                ended.expect("a client panicked");
            }
        });
        if ended.await.is_err() {
            let detail = format!("{} clients did not end within {DRAIN_BOUND:?}", self.clients.len());
            shared.journal.accuse(Violation::new(Fault::Stuck, detail));
        }
    }
}
