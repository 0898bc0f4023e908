//! All that a client heard.

use super::rules::{FINAL, number, word};
use crate::voice_wire::Sound;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The sound of one turn.
#[derive(Clone, Default)]
pub struct Stream {
    pub pcm: Vec<u8>,
    pub frames: usize,
    /// Frames of which only the number came.
    pub dropped: usize,
}

#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// The last number, without a gap before it.
    pub last_down: u32,
    pub epoch: u32,
    pub streams: BTreeMap<u16, Stream>,
    /// Turns by the number that their sound has.
    names: BTreeMap<u16, String>,
    pub events: Vec<Value>,
    /// How often speech was said to be cut.
    pub gaps: usize,
    /// Why it may not come back.
    pub failed: Option<String>,
    /// Why the session is over.
    pub ended: Option<String>,
    pub closes: Vec<Option<u16>>,
    pub dials: usize,
    /// Connections that were lost, and of those the ones that only fell silent.
    pub losses: usize,
    pub silences: usize,
    /// From each dial that came back to the end of what was said again.
    pub resumed_in: Vec<Duration>,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes in {} frames, {} dropped", self.pcm.len(), self.frames, self.dropped)
    }
}

impl Heard {
    pub(super) fn take(&mut self, event: &Value) {
        match word(event, "type") {
            "welcome" => self.epoch = number(event, "epoch"),
            "resumed" => {
                self.epoch = number(event, "epoch");
                self.gaps += usize::from(event["gap"] == true);
            }
            "turn" => {
                let stream = u16::try_from(number(event, "stream")).expect("a stream has 16 bits");
                if let Some(turn) = event.get("turn").and_then(Value::as_str) {
                    let known = self.names.insert(stream, turn.to_owned());
                    assert!(known.is_none_or(|known| known == turn), "another turn in its stream: {event}");
                }
            }
            "resume_failed" => self.failed = Some(word(event, "reason").to_owned()),
            "ended" => self.ended = Some(word(event, "why").to_owned()),
            _ => {}
        }
        self.events.push(event.clone());
    }

    #[track_caller]
    pub(super) fn take_sound(&mut self, sound: &Sound) {
        let turn = self.turn_of(sound.stream);
        let turn = turn.unwrap_or_else(|| panic!("sound of the unknown turn {}", sound.stream));
        // What was on its way when the turn ended is before that in the sequence.
        assert!(!self.has_ended(&turn) || sound.dropped, "sound of {turn}, which is over");
        let stream = self.streams.entry(sound.stream).or_default();
        if sound.dropped {
            stream.dropped += 1;
            return;
        }
        let before = usize::try_from(sound.media_offset).expect("it fits") * 2;
        assert!(before == stream.pcm.len() || stream.dropped > 0, "{turn}: at {before}, heard {stream:?}");
        stream.pcm.extend(&sound.pcm);
        stream.frames += 1;
    }

    /// There is nothing more to come.
    pub fn is_over(&self) -> bool {
        self.failed.is_some() || self.ended.is_some()
    }

    pub fn turn_of(&self, stream: u16) -> Option<String> {
        self.names.get(&stream).cloned()
    }

    pub fn stream_of(&self, turn: &str) -> Option<&Stream> {
        let stream = self.names.iter().find(|(_, name)| *name == turn)?.0;
        self.streams.get(stream)
    }

    /// Samples that were heard of each turn.
    pub fn samples(&self) -> Vec<(u16, u32)> {
        let samples = |stream: &Stream| u32::try_from(stream.pcm.len() / 2).unwrap_or(u32::MAX);
        self.streams.iter().map(|(number, stream)| (*number, samples(stream))).collect()
    }

    /// The states that a turn was told to be in, in their order.
    pub fn states(&self, turn: &str) -> Vec<&str> {
        let of = |event: &&Value| event["type"] == "turn" && event["turn"] == turn;
        self.events.iter().filter(of).filter_map(|event| event["state"].as_str()).collect()
    }

    pub fn is_in(&self, turn: &str, state: &str) -> bool {
        self.states(turn).contains(&state)
    }

    pub fn has_ended(&self, turn: &str) -> bool {
        self.states(turn).iter().any(|state| FINAL.contains(state)) || self.was_interrupted(turn)
    }

    pub fn was_interrupted(&self, turn: &str) -> bool {
        self.events.iter().any(|event| event["type"] == "interrupted" && event["turn"] == turn)
    }

    /// What was understood of a turn, once it is final; or the sentences of its answer. A model that has to think again
    /// makes void what was told of its answer.
    pub fn transcripts(&self, turn: &str, role: &str) -> Vec<&str> {
        let mut texts = Vec::new();
        for event in self.events.iter().filter(|event| event["turn"] == turn) {
            if event["type"] == "turn" && event["state"] == "thinking" && role == "assistant" {
                texts.clear();
            }
            if event["type"] == "transcript" && event["role"] == role && event["final"] == true {
                texts.extend(event["text"].as_str());
            }
        }
        texts
    }

    pub fn pcm_of(&self, turn: &str) -> &[u8] {
        self.stream_of(turn).map_or(&[], |stream| &stream.pcm)
    }

    /// SHA-256 of the sound of these turns, one after the other.
    pub fn sha256(&self, turns: &[&str]) -> String {
        let mut hash = Sha256::new();
        turns.iter().for_each(|turn| hash.update(self.pcm_of(turn)));
        format!("{:x}", hash.finalize())
    }
}
