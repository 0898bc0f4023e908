//! What the matrix runs on: the Worker on workerd, or the rules in process.

use crate::voice_provider::VoiceProvider;
use serde_json::Value;
use std::future::Future;
use std::net::SocketAddr;

/// A session that was opened.
#[derive(Clone, Debug)]
pub struct Opened {
    pub session: String,
    pub ticket: String,
    /// Of its socket, from the server's root.
    pub path: String,
    pub headers: Vec<(String, String)>,
}

pub trait Stage: Sync + Send + 'static {
    /// Where it listens; the same after it was killed.
    fn address(&self) -> SocketAddr;
    fn provider(&self) -> &VoiceProvider;
    /// A kill is of all sessions: such cells run one at a time.
    fn dies_whole(&self) -> bool;
    fn open(&self) -> impl Future<Output = Opened> + Send;
    fn kill(&self, session: &str) -> impl Future<Output = ()> + Send;
    fn account(&self, session: &str) -> impl Future<Output = Account> + Send;
}

/// What was used of providers and charged for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Units {
    pub listened_ms: u64,
    pub tokens_in: u64,
    pub tokens_out: u64,
    pub characters: u64,
}

impl Units {
    /// What is here beyond `other`, all kinds together.
    pub const fn beyond(&self, other: &Self) -> u64 {
        self.listened_ms.saturating_sub(other.listened_ms)
            + self.tokens_in.saturating_sub(other.tokens_in)
            + self.tokens_out.saturating_sub(other.tokens_out)
            + self.characters.saturating_sub(other.characters)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnAccount {
    pub turn: String,
    pub state: String,
    pub user_text: Option<String>,
    pub heard: String,
    pub gap: bool,
    pub code: Option<String>,
    /// None while it is not settled.
    pub units: Option<Units>,
}

/// A session as its server tells it.
#[derive(Clone, Debug)]
pub struct Account {
    pub why: Option<String>,
    pub ring_bytes: u64,
    /// Calls that were made again because the actor or a provider's connection was lost.
    pub retries: usize,
    /// Credit is set aside for it.
    pub is_held: bool,
    pub attached_ms: u64,
    pub turns: Vec<TurnAccount>,
}

impl Account {
    /// From the documents of a session and of its turns, as the API has them or as the rules do.
    pub fn read(session: &Value, turns: &[Value]) -> Self {
        let text = |value: &Value, member: &str| value[member].as_str().map(ToOwned::to_owned);
        let count = |value: &Value, member: &str| value[member].as_u64().unwrap_or_default();
        let units = |used: &Value| Units {
            listened_ms: count(used, "listened_ms"),
            tokens_in: count(used, "tokens_in"),
            tokens_out: count(used, "tokens_out"),
            characters: count(used, "characters"),
        };
        let turn = |turn: &Value| TurnAccount {
            turn: text(turn, "turn").unwrap_or_default(),
            state: text(turn, "state").unwrap_or_default(),
            user_text: text(turn, "transcript").or_else(|| text(turn, "user_text")),
            heard: text(turn, "heard").unwrap_or_default(),
            gap: turn["gap"] == true,
            code: text(turn, "code"),
            units: turn.get("used").filter(|used| !used.is_null()).map(units),
        };
        let retries = count(session, "crash_retries") + count(session, "broken_retries");
        Self {
            why: text(session, "why"),
            ring_bytes: count(session, "waiting_bytes").max(count(session, "ring_bytes")),
            retries: usize::try_from(retries).unwrap_or(usize::MAX),
            is_held: ["held", "held_micro"]
                .iter()
                .any(|held| session[held].as_f64().unwrap_or_default() > 0.0),
            attached_ms: count(session, "attached_ms"),
            turns: turns.iter().map(turn).collect(),
        }
    }

    /// Nothing is open any more.
    pub fn is_settled(&self) -> bool {
        self.why.is_some() && !self.is_held && self.turns.iter().all(|turn| turn.units.is_some())
    }
}
