//! The sockets of one tenant: opening them, telling them what was committed, and ending them.
//!
//! Beside each socket stands how far it was told, so nothing is lost between an event and its telling: whenever the
//! actor has changed, or a client says that it has room again, each is told what comes after its own place.

use std::rc::Rc;

use actors::events::{Ending, Heard, Listener, SOCKETS_MAX, Telling, ToSend};
use actors::shared::Refusal;
use actors::tenant::{self, Actor, Begins, Opened, Reply};
use wasm_bindgen::JsValue;

use super::event_frames as frames;
use super::tenant::{Tenant, busy};
use crate::platform::sockets::{self, Socket};
use crate::platform::{log, now_ms};

/// Events as they are sent, shared by all listeners that are told them.
type Frames = Telling<Rc<str>>;

impl Tenant {
    /// Opens a socket with the command `call`: the response for its client, or why not.
    ///
    /// # Errors
    /// `TooManySockets`, and every refusal of the command.
    pub(super) fn open_socket(&self, call: &str) -> Result<JsValue, Refusal> {
        let listening = self.end_those_over(now_ms());
        if listening >= usize::try_from(SOCKETS_MAX).unwrap_or(usize::MAX) {
            return Err(Refusal::TooManySockets { limit: SOCKETS_MAX });
        }
        let Reply::Opened(opened) = self.answer(call).answer? else {
            return Err(Refusal::Storage { detail: "a socket was opened by another command".to_owned() });
        };
        let (socket, response) = sockets::open(&self.state).map_err(|detail| {
            log::fault("socket_not_opened", &detail);
            Refusal::Storage { detail: "the runtime opened no socket".to_owned() }
        })?;
        self.greet(&socket, *opened);
        Ok(response)
    }

    fn greet(&self, socket: &Socket, opened: Opened) {
        let now_ms = now_ms();
        socket.send(&frames::hello(&opened, now_ms));
        let Opened { tenant, mut listener, account, begins } = opened;
        if begins == Begins::WindowPassed {
            socket.send(&frames::window_passed(&tenant, &account, &listener, now_ms));
        }
        match self.tell_one(socket, &mut listener, &mut Frames::new(now_ms), now_ms) {
            Ok(_) => {
                socket.keep(&listener);
                self.arm_for(listener.due_at_ms(None));
            }
            Err(ending) => socket.end(ending),
        }
    }

    /// Tells every listener what it was not told yet. Called when something may have changed.
    pub(super) fn tell(&self) {
        let listening = sockets::listening(&self.state);
        if listening.is_empty() {
            return;
        }
        let now_ms = now_ms();
        let mut telling = Frames::new(now_ms);
        for (socket, listener) in listening {
            match listener.ending(sockets::pinged_ms(&self.state, &socket), now_ms) {
                Some(ending) => socket.end(ending),
                None => self.tell_and_keep(&socket, listener, &mut telling, now_ms),
            }
        }
    }

    fn tell_and_keep(&self, socket: &Socket, mut listener: Listener, telling: &mut Frames, now_ms: i64) {
        match self.tell_one(socket, &mut listener, telling, now_ms) {
            Ok(true) => {
                socket.keep(&listener);
                // It may have to be looked at sooner than before.
                if listener.is_held_back() {
                    self.arm_for(listener.due_at_ms(None));
                }
            }
            Ok(false) => {}
            Err(ending) => socket.end(ending),
        }
    }

    /// Whether the listener is not as it was.
    fn tell_one(
        &self,
        socket: &Socket,
        listener: &mut Listener,
        telling: &mut Frames,
        now_ms: i64,
    ) -> Result<bool, Ending> {
        let unread = |refusal: Refusal| {
            log::fault("events_not_read", &refusal.to_string());
            Ending::Unavailable
        };
        let actor = self.known().map_err(unread)?;
        // Nothing is awaited between the reads, so they are of one state of the books.
        let told = self.storage.try_borrow_mut().map_err(|_| busy()).and_then(|mut storage| {
            telling.tell(&mut *storage, listener, |event| Rc::from(frames::event(&actor.tenant, event)))
        });
        let ToSend { messages, passed, changed } = told.map_err(unread)?;
        for message in messages {
            if !socket.send(&message) {
                return Err(Ending::Unavailable);
            }
        }
        if let Some(account) = passed {
            socket.send(&frames::window_passed(&actor.tenant, &account, listener, now_ms));
        }
        Ok(changed)
    }

    /// Has the alarm ring at `at_ms` or before. Who just woke for a message of a client knows nothing of the alarm that is
    /// set, and setting one takes its place: then it is set for all that is due.
    fn arm_for(&self, at_ms: i64) {
        if self.actor.borrow().is_some() {
            return self.arm_later(at_ms);
        }
        let due = self.storage.try_borrow_mut().map_err(|_| busy());
        match due.and_then(|mut storage| tenant::due_at_ms(&mut *storage)) {
            Ok(due_at_ms) => {
                let all = due_at_ms.into_iter().chain(self.sockets_due_at_ms());
                self.arm_later(all.fold(at_ms, i64::min));
            }
            Err(refusal) => log::fault("alarm_not_set", &refusal.to_string()),
        }
    }

    /// Who this is. Unlike a command, this sets no alarm, so what it finds is not remembered.
    fn known(&self) -> Result<Rc<Actor>, Refusal> {
        if let Some(actor) = self.actor.borrow().as_ref() {
            return Ok(Rc::clone(actor));
        }
        let mut storage = self.storage.try_borrow_mut().map_err(|_| busy())?;
        let found = storage.transaction(tenant::reopen)?;
        let unopened = || Refusal::Storage { detail: "nobody ever opened this actor".to_owned() };
        found.map(Rc::new).ok_or_else(unopened)
    }

    /// A message of a client: `None` for one that is no text, or too long to be looked at.
    pub(super) fn heard(&self, socket: &Socket, message: Option<&str>, bytes: usize) {
        let Some(mut listener) = socket.listener() else { return };
        let Ok(actor) = self.known() else {
            socket.end(Ending::Unavailable);
            return;
        };
        let now_ms = now_ms();
        match listener.hear(message, bytes, &actor.tenant, now_ms) {
            Heard::Ended(ending) => socket.end(ending),
            Heard::GoesOn => {
                socket.keep(&listener);
                self.tell_and_keep(socket, listener, &mut Frames::new(now_ms), now_ms);
            }
            Heard::Unknown => {
                socket.send(&frames::unknown_message());
                socket.keep(&listener);
            }
            Heard::Fine => socket.keep(&listener),
        }
    }

    /// Ends what a key opened that opens nothing any more.
    pub(super) fn end_sockets_of(&self, api_key: &str) {
        for (socket, listener) in sockets::listening(&self.state) {
            if listener.api_key.as_deref() == Some(api_key) {
                socket.end(Ending::CredentialEnded);
            }
        }
    }

    /// Ends those whose time is over; how many listen on.
    pub(super) fn end_those_over(&self, now_ms: i64) -> usize {
        let mut listening = 0_usize;
        for (socket, listener) in sockets::listening(&self.state) {
            match listener.ending(sockets::pinged_ms(&self.state, &socket), now_ms) {
                Some(ending) => socket.end(ending),
                None => listening = listening.saturating_add(1),
            }
        }
        listening
    }

    /// When a socket has to be looked at again.
    pub(super) fn sockets_due_at_ms(&self) -> Option<i64> {
        let listening = sockets::listening(&self.state);
        let due = listening
            .iter()
            .map(|(socket, listener)| listener.due_at_ms(sockets::pinged_ms(&self.state, socket)));
        due.min()
    }
}
