//! `voice.v1` as its document says it, written anew: what the Worker's own code gets wrong is not repeated here.

use serde_json::{Value, json};

/// `type u8 | flags u8 | stream u16 | seq u32 | media_offset u32`, little-endian, before the sound.
pub const HEADER_BYTES: usize = 12;
const AUDIO: u8 = 1;
/// Its sound was dropped by an interruption; only its number is left.
const DROPPED: u8 = 1;
/// The longest sound of one frame, in milliseconds.
const FRAME_MS_MAX: usize = 200;

/// The protocol's name as a WebSocket subprotocol.
pub const PROTOCOL: &str = "cog.voice.v1";
/// What a client says to hear whether the other side lives, and what it hears then: the runtime answers, not the actor.
pub const PING: &str = "ping";
pub const PONG: &str = "pong";

/// Why a server closes a socket.
pub mod close {
    pub const TAKEN_OVER: u16 = 4001;
    pub const ENDED: u16 = 4002;
    pub const NOT_RESUMED: u16 = 4004;
    pub const BEHIND: u16 = 4009;
    pub const DEAD: u16 = 4010;
}

/// One frame of sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sound {
    pub dropped: bool,
    /// The turn's number, modulo 65,536.
    pub stream: u16,
    pub seq: u32,
    /// Samples of the turn before this frame.
    pub media_offset: u32,
    pub pcm: Vec<u8>,
}

impl Sound {
    /// A frame upwards.
    pub fn up(seq: u32, media_offset: u32, pcm: Vec<u8>) -> Self {
        Self { dropped: false, stream: 0, seq, media_offset, pcm }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![AUDIO, u8::from(self.dropped)];
        bytes.extend(self.stream.to_le_bytes());
        bytes.extend(self.seq.to_le_bytes());
        bytes.extend(self.media_offset.to_le_bytes());
        bytes.extend(&self.pcm);
        bytes
    }

    /// A frame downwards, which must be right in every byte.
    #[track_caller]
    pub fn decode(bytes: &[u8], rate_hz: usize) -> Self {
        assert!(bytes.len() >= HEADER_BYTES, "a frame of {} bytes", bytes.len());
        let (header, pcm) = bytes.split_at(HEADER_BYTES);
        assert_eq!(header[0], AUDIO, "a frame of an unknown type");
        assert!(header[1] & !DROPPED == 0, "a frame with unknown flags {}", header[1]);
        assert!(pcm.len().is_multiple_of(2), "half a sample in a frame of {} bytes", pcm.len());
        assert!(pcm.len() / 2 * 1_000 <= FRAME_MS_MAX * rate_hz, "a frame of {} bytes of sound", pcm.len());
        let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let dropped = header[1] & DROPPED != 0;
        assert_eq!(dropped, pcm.is_empty(), "a frame is either dropped or has sound");
        Self {
            dropped,
            stream: u16::from_le_bytes([header[2], header[3]]),
            seq: word(4),
            media_offset: word(8),
            pcm: pcm.to_vec(),
        }
    }
}

/// The end of an utterance, of a turn that is named by its client.
pub fn commit(seq: u32, turn: &str) -> Value {
    json!({"type": "commit", "seq": seq, "turn": turn})
}

pub fn say(seq: u32, turn: &str, text: &str) -> Value {
    json!({"type": "say", "seq": seq, "turn": turn, "text": text})
}

pub fn interrupt(seq: u32, turn: &str, played_ms: u32) -> Value {
    json!({"type": "interrupt", "seq": seq, "turn": turn, "played_ms": played_ms})
}

pub fn ack(seq: u32) -> Value {
    json!({"type": "ack", "seq": seq})
}

pub fn played(turn: &str, media_offset: u32) -> Value {
    json!({"type": "played", "turn": turn, "media_offset": media_offset})
}

pub fn resume(session: &str, token: &str, last_down: u32, up_next: u32) -> Value {
    json!({"type": "resume", "session": session, "token": token, "last_down": last_down, "up_next": up_next})
}
