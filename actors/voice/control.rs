//! Control frames: JSON objects with a `type`. Those with a `seq` are part of the sequence; the others are of one socket.

use serde::{Deserialize, Serialize};

use super::frame::{BadFrame, Frame};
use super::limits::{CONTROL_BYTES_MAX, FRAME_BYTES_MAX, TEXT_BYTES_MAX, TURN_ID_BYTES_MAX};

/// One message as it came from a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    Text(String),
    Binary(Vec<u8>),
}

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Up {
    Audio(Frame),
    Control(Control),
}

/// A client that comes back. `last_down` is the last number that it has without a gap, zero for none; `up_next` is the
/// number that its next new frame would have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    pub session: String,
    pub token: String,
    pub last_down: u32,
    pub up_next: u32,
}

/// Control frames of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Control {
    Resume(Resume),
    /// The utterance is over. Without `turn` the turn is named by this frame's number.
    Commit {
        seq: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        turn: Option<String>,
    },
    /// A turn that is written instead of spoken.
    Say {
        seq: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        turn: Option<String>,
        text: String,
    },
    /// Be silent: of this turn, so much was heard.
    Interrupt {
        seq: u32,
        turn: String,
        played_ms: u32,
    },
    /// All frames up to this number arrived.
    Ack {
        seq: u32,
    },
    /// So many samples of a turn were played.
    Played {
        turn: String,
        media_offset: u32,
    },
    Bye,
}

impl Control {
    const fn number(&mut self) -> Option<&mut u32> {
        match self {
            Self::Commit { seq, .. } | Self::Say { seq, .. } | Self::Interrupt { seq, .. } => Some(seq),
            Self::Resume(_) | Self::Ack { .. } | Self::Played { .. } | Self::Bye => None,
        }
    }
}

/// Why a message was not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    TooLarge,
    /// No JSON of the protocol, or a text or a name that is not allowed.
    Malformed,
    Frame(BadFrame),
}

impl Up {
    /// Its number, if it is part of the sequence.
    pub(super) const fn number(&mut self) -> Option<&mut u32> {
        match self {
            Self::Audio(frame) => Some(&mut frame.seq),
            Self::Control(control) => control.number(),
        }
    }

    /// # Errors
    /// Why it was not understood.
    pub fn read(message: &Message) -> Result<Self, Unread> {
        match message {
            Message::Binary(bytes) if bytes.len() > FRAME_BYTES_MAX => Err(Unread::TooLarge),
            Message::Binary(bytes) => Frame::decode(bytes).map(Self::Audio).map_err(Unread::Frame),
            Message::Text(text) if text.len() > CONTROL_BYTES_MAX => Err(Unread::TooLarge),
            Message::Text(text) => {
                let control: Control = serde_json::from_str(text).map_err(|_| Unread::Malformed)?;
                if !is_within(&control) {
                    return Err(Unread::Malformed);
                }
                Ok(Self::Control(control))
            }
        }
    }
}

fn is_within(control: &Control) -> bool {
    match control {
        Control::Commit { turn, .. } => turn.as_deref().is_none_or(is_turn_id),
        Control::Say { turn, text, .. } => {
            turn.as_deref().is_none_or(is_turn_id) && !text.trim().is_empty() && text.len() <= TEXT_BYTES_MAX
        }
        Control::Interrupt { turn, .. } | Control::Played { turn, .. } => is_turn_id(turn),
        Control::Resume(_) | Control::Ack { .. } | Control::Bye => true,
    }
}

/// Letters, digits, `-` and `_`.
#[must_use]
pub fn is_turn_id(id: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=TURN_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(known)
}
