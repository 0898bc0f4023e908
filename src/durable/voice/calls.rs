//! Calls of providers that are under way in this memory: what is fed to each, and how each is ended.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Poll, Waker};

use actors::shared::Units;
use actors::voice::{CallEnd, CallId, Command, Input, Open, Stage};
use futures::future::{AbortHandle, Abortable, FutureExt, LocalBoxFuture};
use serde_json::Value;

use super::{Voice, hearing, speaking, thinking};
use crate::platform::log;
use crate::providers::voice::{Ended, TextFeed};

/// What a model has used so far, for when it is cut short.
pub(super) type SoFar = Rc<RefCell<Units>>;

struct Running {
    abort: AbortHandle,
    so_far: SoFar,
    gate: Gate,
    /// Of speech, what is to be spoken.
    feed: Option<TextFeed>,
}

impl Running {
    fn used(&self) -> Units {
        self.feed.as_ref().map_or_else(|| *self.so_far.borrow(), TextFeed::units)
    }
}

#[derive(Default)]
pub(super) struct Calls {
    running: RefCell<BTreeMap<CallId, Running>>,
}

impl Calls {
    pub fn feed(&self, call: CallId, part: i64, text: String) {
        self.fed(call, |feed| {
            // A turn may say less than a feed takes.
            if !feed.push(part, text) {
                log::fault("voice_feed_full", "a sentence was not taken");
            }
        });
    }

    pub fn end_feed(&self, call: CallId) {
        self.fed(call, TextFeed::finish);
    }

    fn fed(&self, call: CallId, tell: impl FnOnce(&TextFeed)) {
        if let Some(feed) = self.running.borrow().get(&call).and_then(|running| running.feed.as_ref()) {
            tell(feed);
        }
    }

    /// What a call has used so far.
    pub fn used(&self, call: CallId) -> Units {
        self.running.borrow().get(&call).map(Running::used).unwrap_or_default()
    }

    /// Ends a call; what it used. Dropping its work closes its sockets.
    pub fn cancel(&self, call: CallId) -> Units {
        let running = self.running.borrow_mut().remove(&call);
        let Some(running) = running else { return Units::default() };
        running.abort.abort();
        running.used()
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
        for running in std::mem::take(&mut *self.running.borrow_mut()).into_values() {
            running.abort.abort();
        }
    }
}

impl Voice {
    /// Asks a provider, as a task of this actor.
    pub(super) fn begin_call(self: &Rc<Self>, call: CallId, input: Input, prefs: &Value) {
        let Some(opened) = self.opened() else { return };
        let (so_far, gate) = (SoFar::default(), Gate::default());
        let (voice, prefs) = (Rc::clone(self), prefs.clone());
        let mut feed = None;
        let work: LocalBoxFuture<'static, CallEnd> = match input {
            Input::Sound(pcm) => async move { hearing::hear(&voice, call, pcm, &prefs).await }.boxed_local(),
            Input::Messages { messages, tokens_out_max } => {
                let so_far = Rc::clone(&so_far);
                async move { thinking::think(&voice, call, (messages, tokens_out_max), &prefs, &so_far).await }
                    .boxed_local()
            }
            Input::Parts => {
                let (parts, events) = speaking::started(self, &opened, call, &prefs);
                feed = Some(parts);
                let gate = gate.clone();
                async move { speaking::speak(&voice, call, events, &gate).await }.boxed_local()
            }
        };
        let (abort, registration) = AbortHandle::new_pair();
        self.calls.running.borrow_mut().insert(call, Running { abort, so_far, gate, feed });
        let voice = Rc::clone(self);
        self.keep(async move {
            // One that was cancelled has said so already.
            if let Ok(ended) = Abortable::new(work, registration).await {
                voice.calls.running.borrow_mut().remove(&call);
                voice.report(Command::CallEnded { call, ended });
            }
        });
    }
}

/// What providers are told that this call is, and what the log calls it.
pub(super) fn request_id(opened: &Open, call: CallId) -> String {
    format!("{}-t{}", opened.session, call.turn)
}

/// How a call ended that came to nothing. The code is for the client, the rest for the log.
pub(super) fn ended(code: &str, why: &Ended) -> CallEnd {
    let attempts: Vec<String> = why
        .attempts
        .iter()
        .map(|attempt| format!("{}: {}", attempt.provider, attempt.outcome.code()))
        .collect();
    log::fault("voice_call_failed", &format!("{code}: {} ({})", why.code, attempts.join("; ")));
    if why.broke_off { CallEnd::Broken } else { CallEnd::Failed { code: code.to_owned() } }
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
            if !at.shut {
                return Poll::Ready(());
            }
            at.waits = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
