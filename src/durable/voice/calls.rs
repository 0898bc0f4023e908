//! Calls of providers that are under way in this memory: what is fed to each, and how each is ended.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::task::Waker;

use actors::shared::Units;
use actors::voice::{CallId, Input, Stage};
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::future::{AbortHandle, Abortable};
use serde_json::Value;

use super::{Voice, hearing, speaking, thinking};

/// What is fed to speech.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub part: i64,
    pub text: String,
}

/// What a call has used so far, for when it is cut short.
pub(super) type SoFar = Rc<RefCell<Units>>;

struct Running {
    abort: AbortHandle,
    so_far: SoFar,
    gate: Gate,
    /// None once all was fed. What is fed is bounded by the turn's characters.
    feed: Option<UnboundedSender<Part>>,
}

#[derive(Default)]
pub(super) struct Calls {
    running: RefCell<HashMap<CallId, Running>>,
}

impl Calls {
    pub fn feed(&self, call: CallId, part: i64, text: String) {
        if let Some(running) = self.running.borrow().get(&call)
            && let Some(feed) = &running.feed
        {
            let _ended = feed.unbounded_send(Part { part, text });
        }
    }

    pub fn end_feed(&self, call: CallId) {
        if let Some(running) = self.running.borrow_mut().get_mut(&call) {
            running.feed = None;
        }
    }

    /// Ends a call; what it used.
    pub fn cancel(&self, call: CallId) -> Units {
        let Some(running) = self.running.borrow_mut().remove(&call) else { return Units::default() };
        running.abort.abort();
        running.so_far.take()
    }

    pub fn pause(&self, turn: i64) {
        self.each_speaking(turn, Gate::shut);
    }

    pub fn go_on(&self, turn: i64) {
        self.each_speaking(turn, Gate::open);
    }

    fn each_speaking(&self, turn: i64, change: impl Fn(&Gate)) {
        let running = self.running.borrow();
        let of_turn = running.iter().filter(|(call, _)| call.turn == turn && call.stage == Stage::Tts);
        of_turn.for_each(|(_, running)| change(&running.gate));
    }

    pub fn drop_all(&self) {
        for (_, running) in self.running.borrow_mut().drain() {
            running.abort.abort();
        }
    }
}

impl Voice {
    /// Asks a provider, as a task of this actor.
    pub(super) fn begin_call(self: &Rc<Self>, call: CallId, input: Input, prefs: &Value) {
        let (so_far, gate) = (SoFar::default(), Gate::default());
        let (feed, parts): (_, UnboundedReceiver<Part>) = unbounded();
        let (abort, registration) = AbortHandle::new_pair();
        let running = Running { abort, so_far: Rc::clone(&so_far), gate: gate.clone(), feed: Some(feed) };
        self.calls.running.borrow_mut().insert(call, running);
        let (voice, prefs) = (Rc::clone(self), prefs.clone());
        let work = async move {
            let ended = match input {
                Input::Sound(pcm) => hearing::hear(&voice, call, pcm, &prefs).await,
                Input::Messages { messages, tokens_out_max } => {
                    thinking::think(&voice, call, (messages, tokens_out_max), &prefs, &so_far).await
                }
                Input::Parts => speaking::speak(&voice, call, parts, &prefs, &gate).await,
            };
            voice.calls.running.borrow_mut().remove(&call);
            voice.report(actors::voice::Command::CallEnded { call, ended });
        };
        self.keep(async move {
            let _cancelled = Abortable::new(work, registration).await;
        });
    }
}

/// Whether sound is taken from a provider.
#[derive(Clone, Default)]
pub(super) struct Gate(Rc<RefCell<Shut>>);

#[derive(Default)]
struct Shut {
    shut: bool,
    waits: Option<Waker>,
}

impl Gate {
    fn shut(&self) {
        self.0.borrow_mut().shut = true;
    }

    fn open(&self) {
        let waits = {
            let mut at = self.0.borrow_mut();
            at.shut = false;
            at.waits.take()
        };
        if let Some(waits) = waits {
            waits.wake();
        }
    }

    /// Waits until it is open.
    pub async fn pass(&self) {
        std::future::poll_fn(|context| {
            let mut at = self.0.borrow_mut();
            if at.shut {
                at.waits = Some(context.waker().clone());
                return std::task::Poll::Pending;
            }
            std::task::Poll::Ready(())
        })
        .await;
    }
}
