//! The sockets of a session: which is whose, and what is kept beside each, which is all that outlives this memory.

use std::cell::RefCell;

use actors::voice::limits::close;
use actors::voice::{self, Down, Wire};
use serde::{Deserialize, Serialize};

use crate::platform::sockets::{self, ObjectState, Socket};
use crate::platform::{log, now_ms};

/// Sockets of one session whose clients have not said who they are. One more takes the place of an older one: they cost
/// nothing while they are silent, and who opens many shuts out nobody but others that are silent.
const ASKING_MAX: usize = 4;

/// What a socket is to the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    /// Nobody's yet.
    Asking,
    Client,
    /// It was told to end.
    Gone,
}

/// What is kept beside a socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attached {
    session: String,
    /// Zero while it is nobody's.
    pub epoch: u32,
    pub role: Role,
    /// While it is nobody's, since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since_ms: Option<i64>,
}

pub(super) fn attached(socket: &Socket) -> Option<Attached> {
    socket.kept()
}

/// The newest socket, once it was looked for.
#[derive(Default)]
pub(super) struct Lines {
    known: RefCell<Option<(u32, Socket)>>,
}

/// A socket as an action names it, and the one that asks.
type Named<'a> = (voice::Socket, Option<&'a Socket>);

impl Lines {
    fn find(&self, state: &ObjectState, (named, asking): Named<'_>) -> Option<Socket> {
        let epoch = match named {
            voice::Socket::Asking => return asking.cloned(),
            voice::Socket::Epoch(epoch) => epoch,
        };
        if let Some((known, socket)) = self.known.borrow().as_ref()
            && *known == epoch
        {
            return Some(socket.clone());
        }
        let found = clients(state).find(|(known, _)| *known == epoch)?;
        self.known.replace(Some(found.clone()));
        Some(found.1)
    }

    /// The epoch of the newest socket that the runtime has open.
    pub fn newest(&self, state: &ObjectState) -> Option<u32> {
        clients(state).map(|(epoch, _)| epoch).max()
    }

    /// When the runtime last answered a ping of that one.
    pub fn pinged_ms(&self, state: &ObjectState) -> Option<i64> {
        let (_, socket) = clients(state).max_by_key(|(epoch, _)| *epoch)?;
        sockets::pinged_ms(state, &socket)
    }

    /// Has no more than a few sockets be nobody's, with the one to come.
    pub fn make_room(&self, state: &ObjectState) {
        let mut asking: Vec<(Attached, Socket)> = of_role(state, Role::Asking).collect();
        asking.sort_by_key(|(attached, _)| attached.since_ms);
        let over = asking.len().saturating_add(1).saturating_sub(ASKING_MAX);
        for (_, socket) in asking.iter().take(over) {
            end(socket, close::POLICY);
        }
    }

    /// It is nobody's yet.
    pub fn asks(&self, socket: &Socket, session: &str) {
        let since_ms = Some(now_ms());
        keep(socket, &Attached { session: session.to_owned(), epoch: 0, role: Role::Asking, since_ms });
    }

    pub fn bind(&self, asking: Option<&Socket>, epoch: u32) {
        let Some(socket) = asking else { return };
        if let Some(attached) = attached(socket) {
            keep(socket, &Attached { epoch, role: Role::Client, since_ms: None, ..attached });
            self.known.replace(Some((epoch, socket.clone())));
        }
    }

    /// What cannot be sent is of a socket that is closing: its client comes back for it.
    pub fn send(&self, state: &ObjectState, named: Named<'_>, down: &Down) {
        let Some(socket) = self.find(state, named) else { return };
        let _closing = match down.encode() {
            Wire::Text(text) => socket.send(&text),
            Wire::Binary(bytes) => socket.send_bytes(&bytes),
        };
    }

    pub fn close(&self, state: &ObjectState, named: Named<'_>, code: u16) {
        if let Some(socket) = self.find(state, named) {
            self.forget(&socket);
            end(&socket, code);
        }
    }

    /// Ends those that are nobody's.
    pub fn close_asking(&self, state: &ObjectState) {
        for (_, socket) in of_role(state, Role::Asking) {
            end(&socket, close::NOT_RESUMED);
        }
    }

    /// Something went wrong here: its client is to come back.
    pub fn lose(&self, socket: &Socket) {
        socket.end_with(UNAVAILABLE, "the session could not be reached, come back");
    }

    /// It is gone.
    pub fn forget(&self, socket: &Socket) {
        let is_known = |(_, known): &(u32, Socket)| js_sys::Object::is(known, socket);
        if self.known.borrow().as_ref().is_some_and(is_known) {
            self.known.replace(None);
        }
    }
}

/// The code of a server that is to be tried again.
const UNAVAILABLE: u16 = 1013;

fn of_role(state: &ObjectState, role: Role) -> impl Iterator<Item = (Attached, Socket)> {
    sockets::all(state).filter_map(move |socket| {
        let attached = attached(&socket).filter(|attached| attached.role == role)?;
        Some((attached, socket))
    })
}

fn clients(state: &ObjectState) -> impl Iterator<Item = (u32, Socket)> {
    of_role(state, Role::Client).map(|(attached, socket)| (attached.epoch, socket))
}

fn keep(socket: &Socket, attached: &Attached) {
    if !socket.keep_beside(attached) {
        log::fault("socket_state_not_kept", "what is kept beside a socket could not be written");
        socket.end_with(UNAVAILABLE, "the session could not be reached, come back");
    }
}

fn end(socket: &Socket, code: u16) {
    if let Some(attached) = attached(socket) {
        keep(socket, &Attached { role: Role::Gone, ..attached });
    }
    socket.end_with(code, reason(code));
}

const fn reason(code: u16) -> &'static str {
    match code {
        close::TAKEN_OVER => "another socket took the session over",
        close::ENDED => "the session is over",
        close::NOT_RESUMED => "not resumed",
        close::GAP => "a sequence number was skipped",
        close::BEHIND => "too much is unacknowledged",
        close::DEAD => "silent for two heartbeats",
        close::TOO_LARGE => "the message is too long",
        _ => "not of the protocol, or too many",
    }
}
