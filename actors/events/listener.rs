//! One listener: how far it was told, how far it says that it has come, and when it is no longer served. The shell
//! keeps this beside the socket, where it outlives the actor's memory.

use serde::{Deserialize, Serialize};

use super::Position;
use crate::shared::TenantId;

/// Sockets of one tenant at one time: a few pages, a phone, a server.
pub const SOCKETS_MAX: u32 = 16;
/// Events a listener may be sent without saying that it has them; what comes then waits in the books until it does. The
/// largest is some 6 KB (a client's own `meta` is 4 KB of it), so what waits for a client that does not read is 3 MB, and
/// 48 MB for all sockets of a tenant.
pub const UNACKNOWLEDGED_EVENTS_MAX: i64 = 512;
/// How long something may wait for a client that acknowledges nothing: one ping that it is asked for, and half of another.
pub const ACK_WAIT_MS_MAX: i64 = 90_000;
/// The longest message a client may send: an acknowledgement is below 200 bytes.
pub const MESSAGE_BYTES_MAX: usize = 1_024;
/// Messages a client may send in a minute. Pings are not counted: the runtime answers them alone.
pub const MESSAGES_PER_MINUTE_MAX: u32 = 120;
/// How long a client may be silent: four of the pings that it is asked for, and more.
pub const IDLE_MS_MAX: i64 = 300_000;
/// How long a socket may be open, whatever opened it. A day.
pub const SOCKET_MS_MAX: i64 = 86_400_000;
const MINUTE_MS: i64 = 60_000;

/// Why a socket is closed by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// More messages than may be sent in a minute.
    TooManyMessages,
    MessageTooLarge,
    /// The tenant's actor cannot go on now.
    Unavailable,
    /// What opened it is over: its token or key ended or was revoked, or a day is over.
    CredentialEnded,
    Idle,
    /// As many events as may be are on their way, others wait, and for long the client did not say that it has any.
    Unacknowledged,
}

impl Ending {
    /// The code of the closing frame.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::TooManyMessages => 1008,
            Self::MessageTooLarge => 1009,
            Self::Unavailable => 1011,
            Self::CredentialEnded => 4401,
            Self::Idle => 4408,
            Self::Unacknowledged => 4429,
        }
    }

    /// Its reason, for programs.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::TooManyMessages => "too_many_messages",
            Self::MessageTooLarge => "message_too_large",
            Self::Unavailable => "unavailable",
            Self::CredentialEnded => "credential_ended",
            Self::Idle => "idle",
            Self::Unacknowledged => "unacknowledged",
        }
    }
}

/// What comes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    Fine,
    /// There is room for what was held back.
    GoesOn,
    /// It is no message that is known here; the client is told so.
    Unknown,
    Ended(Ending),
}

/// The state of one socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// The key that opened it, when a key did.
    pub api_key: Option<String>,
    pub ends_at_ms: i64,
    /// How far it was told.
    pub position: Position,
    /// How many events it said that it has, counted as [`Position::count`] does.
    acknowledged: i64,
    /// Since when something waits for which it has no room.
    #[serde(default)]
    held_back_ms: Option<i64>,
    /// When anything was heard last; pings aside, which the runtime counts.
    heard_ms: i64,
    minute_began_ms: i64,
    messages: u32,
}

/// What clients send.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Message {
    /// Everything up to the event of this id has come.
    Ack { id: String },
}

impl Listener {
    /// One that is told everything after `position`, opened with a credential that ends at `ends_at_ms`.
    #[must_use]
    pub fn new(api_key: Option<String>, ends_at_ms: Option<i64>, position: Position, now_ms: i64) -> Self {
        let latest_ms = now_ms.saturating_add(SOCKET_MS_MAX);
        Self {
            api_key,
            ends_at_ms: ends_at_ms.unwrap_or(latest_ms).min(latest_ms),
            position,
            acknowledged: position.count(),
            held_back_ms: None,
            heard_ms: now_ms,
            minute_began_ms: now_ms,
            messages: 0,
        }
    }

    /// How many events it may be sent now.
    #[must_use]
    pub fn room(&self) -> usize {
        let waiting = self.position.count().saturating_sub(self.acknowledged);
        usize::try_from(UNACKNOWLEDGED_EVENTS_MAX.saturating_sub(waiting)).unwrap_or(0)
    }

    /// It is told up to `position`.
    pub(super) fn told(&mut self, position: Position) {
        self.position = position;
    }

    /// It begins anew at `position`, because what came before can no longer be told.
    pub(super) fn restart(&mut self, position: Position) {
        self.position = position;
        self.acknowledged = position.count();
        self.held_back_ms = None;
    }

    /// Something waits from now on until it says that it has some of what it was sent.
    pub(super) fn hold_back(&mut self, now_ms: i64) {
        self.held_back_ms = self.held_back_ms.or(Some(now_ms));
    }

    #[must_use]
    pub const fn is_held_back(&self) -> bool {
        self.held_back_ms.is_some()
    }

    /// A message of its client: `None` for one that is no text.
    pub fn hear(&mut self, message: Option<&str>, bytes: usize, tenant: &TenantId, now_ms: i64) -> Heard {
        self.heard_ms = self.heard_ms.max(now_ms);
        if now_ms.saturating_sub(self.minute_began_ms) >= MINUTE_MS {
            self.minute_began_ms = now_ms;
            self.messages = 0;
        }
        self.messages = self.messages.saturating_add(1);
        if bytes > MESSAGE_BYTES_MAX {
            return Heard::Ended(Ending::MessageTooLarge);
        }
        if self.messages > MESSAGES_PER_MINUTE_MAX {
            return Heard::Ended(Ending::TooManyMessages);
        }
        let parsed = message.and_then(|text| serde_json::from_str(text).ok());
        let Some(Message::Ack { id }) = parsed else {
            return Heard::Unknown;
        };
        let known = Position::decode(&id, tenant).ok().filter(|to| to.is_within(self.position));
        let Some(to) = known else {
            return Heard::Unknown;
        };
        if to.count() <= self.acknowledged {
            return Heard::Fine;
        }
        self.acknowledged = to.count();
        if self.held_back_ms.take().is_some() { Heard::GoesOn } else { Heard::Fine }
    }

    /// Whether it is over at `now_ms`; `pinged_ms` is when the runtime last answered a ping of it.
    #[must_use]
    pub fn ending(&self, pinged_ms: Option<i64>, now_ms: i64) -> Option<Ending> {
        if now_ms >= self.ends_at_ms {
            return Some(Ending::CredentialEnded);
        }
        if self.held_back_until_ms().is_some_and(|at_ms| now_ms >= at_ms) {
            return Some(Ending::Unacknowledged);
        }
        (now_ms >= self.idle_at_ms(pinged_ms)).then_some(Ending::Idle)
    }

    /// When to look again.
    #[must_use]
    pub fn due_at_ms(&self, pinged_ms: Option<i64>) -> i64 {
        let until_ms = self.held_back_until_ms().unwrap_or(i64::MAX);
        self.ends_at_ms.min(self.idle_at_ms(pinged_ms)).min(until_ms)
    }

    fn held_back_until_ms(&self) -> Option<i64> {
        self.held_back_ms.map(|since_ms| since_ms.saturating_add(ACK_WAIT_MS_MAX))
    }

    fn idle_at_ms(&self, pinged_ms: Option<i64>) -> i64 {
        self.heard_ms.max(pinged_ms.unwrap_or(0)).saturating_add(IDLE_MS_MAX)
    }
}
