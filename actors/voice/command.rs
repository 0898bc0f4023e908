//! What a session can be told, and what its host does after the commit. A command is one transaction; its actions are
//! done in their order, and none of them is done if the transaction was not.
//!
//! The host keeps `{session, epoch, role}` beside each socket, and nothing else. Whatever it loses, it says [`Command::Woke`]
//! when it comes back, and is told again what still has to be done.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::control::{Message, Up};
use super::event::Down;
use super::money::Used;
use super::read::{SessionView, TurnPage};
use super::settings::{Costs, Settings};
use crate::shared::{Micro, TenantId, Units};

/// A session to be. Whoever opens it has proven who the tenant is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Open {
    pub session: String,
    pub tenant: TenantId,
    /// The API key that asked, by its id: its caps are those of the session.
    #[serde(default)]
    pub api_key: Option<String>,
    /// The page that asked, when a page did.
    pub origin: Option<String>,
    pub settings: Settings,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Makes the session; the same again changes nothing.
    Open(Box<Open>),
    /// Its first socket, whose ticket was good. `ticket_digest` lets a client that lost the welcome resume with its
    /// ticket; `token` is 256 random bits as text.
    Attach {
        ticket_digest: String,
        token: String,
    },
    /// The first message of a socket that came without a ticket.
    First {
        message: Message,
        token: String,
    },
    /// A message of the socket that was bound to `epoch`.
    Message {
        epoch: u32,
        message: Message,
    },
    /// The same of a protocol without numbers of its own: each is the next.
    Unnumbered {
        epoch: u32,
        up: Up,
    },
    /// That socket is gone.
    Detached {
        epoch: u32,
    },
    /// What a provider believes it hears so far.
    Hears {
        call: CallId,
        text: String,
    },
    /// More text of the answer.
    Says {
        call: CallId,
        text: String,
    },
    /// Sound of a part, in the order that parts were fed.
    Sounds {
        call: CallId,
        part: i64,
        pcm: Vec<u8>,
    },
    /// All sound of a part was there.
    Spoken {
        call: CallId,
        part: i64,
    },
    CallEnded {
        call: CallId,
        ended: CallEnd,
    },
    TenantAnswered {
        hold: String,
        answer: TenantAnswer,
    },
    /// The host will restart after so long.
    GoAway {
        ms: i64,
    },
    /// The tenant ends it.
    End {
        tenant: TenantId,
    },
    /// The alarm rang. `pinged_ms` is when the runtime last answered a ping of the newest socket.
    Alarm {
        pinged_ms: Option<i64>,
    },
    /// The actor's memory is new: what was under way in the old one is lost. `live` is the epoch of the socket that the
    /// runtime has kept open; none when it lost that too.
    Woke {
        live: Option<u32>,
    },
    Read {
        tenant: TenantId,
    },
    /// Turns after the `after`-th, the oldest first.
    Turns {
        tenant: TenantId,
        after: i64,
        limit: i64,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    Done,
    /// There is no session here, or it was forgotten.
    Unknown,
    Session(Box<SessionView>),
    Turns(TurnPage),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub reply: Reply,
    pub actions: Vec<Action>,
}

/// Which socket is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Socket {
    /// The one that this command came from, which has no epoch yet.
    Asking,
    Epoch(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Stt,
    Llm,
    Tts,
}

/// One attempt of one stage of one turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CallId {
    pub turn: i64,
    pub stage: Stage,
    pub attempt: i64,
}

/// What a provider is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// An utterance, all of it.
    Sound(Vec<u8>),
    /// What was said so far, the newest last.
    Messages { messages: Vec<Said>, tokens_out_max: u64 },
    /// Text follows with [`Action::Feed`].
    Parts,
}

/// One line of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    pub role: Role,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    System,
    User,
    Assistant,
}

#[derive(Debug, Clone, PartialEq)]
pub enum CallEnd {
    /// `text` is what was heard; only of the first stage.
    Done { text: Option<String>, units: Units },
    /// No provider could; there is no use in asking again.
    Failed { code: String },
    /// The provider's socket was lost.
    Broken,
    /// It ended because it was told to.
    Cancelled { units: Units },
}

/// What the tenant's actor said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantAnswer {
    /// The hold is there. `DuplicateOperation` means the same: the first answer was lost.
    Granted {
        available: Micro,
    },
    Refused {
        code: String,
    },
    /// The hold has ended, now or before.
    Ended,
}

/// What is to be asked of the tenant's actor.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    pub hold: String,
    pub tenant: TenantId,
    pub api_key: Option<String>,
    /// The turn that it is for, by its number; none for attached time.
    pub turn: Option<i64>,
    pub what: Asked,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// Set `need` aside.
    Admit { need: Costs, ttl_ms: i64 },
    /// Charge this, and let go of the rest.
    Settle { charge: Micro, used: Used },
    /// Nothing was used.
    Release,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// The asking socket has this epoch from now on.
    Bind {
        epoch: u32,
    },
    Send {
        to: Socket,
        down: Down,
    },
    Close {
        socket: Socket,
        code: u16,
    },
    /// Ask a provider of the stage, and report all that comes of it under `call`.
    Call {
        call: CallId,
        input: Input,
        prefs: Value,
    },
    /// More text to be spoken.
    Feed {
        call: CallId,
        part: i64,
        text: String,
    },
    /// All text was fed.
    FeedEnd {
        call: CallId,
    },
    /// End the call; say what it used.
    Cancel {
        call: CallId,
    },
    /// Take no more from the provider until [`Action::GoOn`].
    Pause {
        turn: i64,
    },
    GoOn {
        turn: i64,
    },
    Ask(Ask),
    /// Something is due then: have the alarm ring by then.
    WakeBy {
        at_ms: i64,
    },
    /// The session is over: its tenant may have another one. Said again to a new memory.
    Over,
    /// All rows are gone: so may the object be.
    Forget,
}
