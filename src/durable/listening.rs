//! The sockets of one tenant: opening them, telling them what was committed, and ending them.
//!
//! Beside each socket stands how far it was told, so nothing is lost between an event and its telling: whenever the
//! actor has changed, each is told what comes after its own place.

use std::rc::Rc;

use actors::credits::Account;
use actors::events::{self, After, Ending, Heard, Listener, Position, SOCKETS_MAX};
use actors::shared::Refusal;
use actors::tenant::{self, Actor, Opened, Reply};
use wasm_bindgen::JsValue;

use super::event_frames as frames;
use super::tenant::{Tenant, busy};
use crate::platform::sockets::{self, Socket};
use crate::platform::{log, now_ms};

/// What comes after a place, ready to be sent.
enum Page {
    Events { frames: Vec<(Position, String)>, more: bool },
    Passed { now: Position, account: Box<Account> },
}

/// Pages that were read in one telling, by the place they begin at: most listeners are at the same one.
type Pages = Vec<(Position, Rc<Page>)>;

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
        let begins = match &opened.missed {
            None => "new",
            Some(After::Events { .. }) => "resumed",
            Some(After::Passed { .. }) => "window_passed",
        };
        socket.send(&frames::hello(&opened, begins, now_ms));
        let Opened { tenant, mut listener, account, missed } = opened;
        match missed {
            None => {}
            Some(After::Passed { .. }) => {
                socket.send(&frames::window_passed(&tenant, &account, &listener, now_ms));
            }
            Some(After::Events { events, .. }) => {
                for event in events {
                    socket.send(&frames::event(&tenant, &event));
                    listener.told(event.position);
                }
            }
        }
        socket.keep(&listener);
        self.arm_later(listener.due_at_ms(None));
    }

    /// Tells every listener what it was not told yet. Called when something may have changed.
    pub(super) fn tell(&self) {
        let listening = sockets::listening(&self.state);
        if listening.is_empty() {
            return;
        }
        let now_ms = now_ms();
        let mut pages = Pages::new();
        for (socket, mut listener) in listening {
            let told = match listener.ending(sockets::pinged_ms(&self.state, &socket), now_ms) {
                Some(ending) => Err(ending),
                None => self.tell_one(&socket, &mut listener, &mut pages, now_ms),
            };
            match told {
                Ok(true) => socket.keep(&listener),
                Ok(false) => {}
                Err(ending) => socket.end(ending),
            }
        }
    }

    /// Whether there was anything to tell.
    fn tell_one(
        &self,
        socket: &Socket,
        listener: &mut Listener,
        pages: &mut Pages,
        now_ms: i64,
    ) -> Result<bool, Ending> {
        let mut anything = false;
        loop {
            let page = self.page(listener.position, pages, now_ms).map_err(|refusal| {
                log::fault("events_not_read", &refusal.to_string());
                Ending::Unavailable
            })?;
            match &*page {
                Page::Passed { now, account } => {
                    listener.restart(*now);
                    let actor = self.known().map_err(|_| Ending::Unavailable)?;
                    socket.send(&frames::window_passed(&actor.tenant, account, listener, now_ms));
                    return Ok(true);
                }
                Page::Events { frames, more } => {
                    for (position, frame) in frames {
                        if !socket.send(frame) {
                            return Err(Ending::Unavailable);
                        }
                        anything = true;
                        if let Some(ending) = listener.told(*position) {
                            return Err(ending);
                        }
                    }
                    if !more {
                        return Ok(anything);
                    }
                }
            }
        }
    }

    fn page(&self, from: Position, pages: &mut Pages, now_ms: i64) -> Result<Rc<Page>, Refusal> {
        if let Some((_, page)) = pages.iter().find(|(at, _)| *at == from) {
            return Ok(Rc::clone(page));
        }
        let actor = self.known()?;
        let mut storage = self.storage.try_borrow_mut().map_err(|_| busy())?;
        let page = storage.transaction(|sql| {
            Ok(match events::after(sql, from, now_ms)? {
                After::Passed { now } => {
                    Page::Passed { now, account: Box::new(Account::view_at(sql, now_ms)?) }
                }
                After::Events { events, more } => {
                    let framed =
                        |event: &events::Event| (event.position, frames::event(&actor.tenant, event));
                    Page::Events { frames: events.iter().map(framed).collect(), more }
                }
            })
        })?;
        let page = Rc::new(page);
        pages.push((from, Rc::clone(&page)));
        Ok(page)
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
        match listener.hear(message, bytes, &actor.tenant, now_ms()) {
            Heard::Ended(ending) => socket.end(ending),
            heard => {
                if heard == Heard::Unknown {
                    socket.send(&frames::unknown_message());
                }
                socket.keep(&listener);
            }
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
