//! What a session says. Events with a number are part of the sequence and are said again after a resume; the others are
//! of one socket.

use serde::{Deserialize, Serialize};

use super::frame::Frame;
use super::turn::State;

/// Why a socket was not let in again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotResumed {
    /// The session is over.
    Expired,
    /// What the client lacks is no longer kept, or it is not the client that was here.
    Evicted,
    BadToken,
    /// The token was good before another socket took over.
    Superseded,
}

/// Where the time of a turn went, in milliseconds, as far as it went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latencies {
    /// From the end of the utterance to its text.
    pub stt_ms: Option<i64>,
    /// From asking the model to its first text.
    pub llm_first_ms: Option<i64>,
    /// From the first sentence to its first sound.
    pub tts_first_ms: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    Welcome {
        session: String,
        epoch: u32,
        resume_token: String,
        window_ms: i64,
        up_next: u32,
        down_next: u32,
        heartbeat_ms: i64,
    },
    /// What comes next is said again, from `replay_from` on.
    Resumed {
        epoch: u32,
        resume_token: String,
        up_next: u32,
        replay_from: u32,
        /// Speech was cut, because more was unacknowledged than is kept.
        gap: bool,
    },
    Replayed,
    ResumeFailed {
        reason: NotResumed,
    },
    /// All frames up to this number are kept.
    Ack {
        seq: u32,
    },
    Error {
        code: String,
    },
    Goaway {
        ms: i64,
    },
    /// The session is over.
    Ended {
        why: String,
    },
    Turn {
        /// None while it is listened to.
        turn: Option<String>,
        stream: u16,
        state: State,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        gap: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        latencies: Option<Latencies>,
    },
    /// What was understood, or is about to be said. Partial ones have no number.
    Transcript {
        turn: String,
        role: super::command::Role,
        text: String,
        #[serde(rename = "final")]
        is_final: bool,
    },
    /// Frames of the turn up to `at_seq` are not to be played.
    Interrupted {
        turn: String,
        at_seq: u32,
    },
    /// The balance does not cover another turn; or, with `ends_in_ms`, the session ends then.
    LowBalance {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ends_in_ms: Option<i64>,
    },
}

/// One downward frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Down {
    Audio(Frame),
    /// With its number, if it is part of the sequence.
    Event(Option<u32>, Event),
}

/// A frame as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wire {
    Text(String),
    Binary(Vec<u8>),
}

#[derive(Serialize)]
struct Numbered<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u32>,
    #[serde(flatten)]
    event: &'a Event,
}

impl Down {
    #[must_use]
    pub fn encode(&self) -> Wire {
        match self {
            Self::Audio(frame) => Wire::Binary(frame.encode()),
            // Plain values have no way to fail.
            Self::Event(seq, event) => {
                Wire::Text(serde_json::to_string(&Numbered { seq: *seq, event }).unwrap_or_default())
            }
        }
    }

    /// Its number, if it is part of the sequence.
    #[must_use]
    pub const fn seq(&self) -> Option<u32> {
        match self {
            Self::Audio(frame) => Some(frame.seq),
            Self::Event(seq, _) => *seq,
        }
    }
}
