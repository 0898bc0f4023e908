//! Cartesia's messages: what is sent as JSON, and what comes back read with distrust. No words of the provider's survive.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::super::failure::Failure;
use super::super::speech::SpeechFormat;

/// The version of the interface that is spoken here; every request says it.
pub const VERSION: &str = "2026-03-01";
/// One message of a socket, in bytes: 30 s at 48 kHz in base64.
const MESSAGE_BYTES_MAX: usize = 4_194_304;
/// The speeds that it speaks at.
pub const SPEED_MIN: f64 = 0.6;
pub const SPEED_MAX: f64 = 1.5;

/// Who speaks, and how. All inputs of a context must say the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Manner {
    pub model: String,
    /// The id of a voice.
    pub voice: String,
    /// By its two letters; the provider's usual one where nothing is said.
    pub language: Option<String>,
    /// 1 is the usual.
    pub speed: f64,
}

/// What comes after an input of a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// More of the same part.
    More,
    /// Nothing of this part: what waits is to be spoken.
    Flush,
    /// Nothing at all.
    End,
}

impl Manner {
    /// The members that every request has.
    fn members(&self, output: &Value) -> Map<String, Value> {
        let mut members = Map::new();
        members.insert("model_id".to_owned(), json!(self.model));
        members.insert("voice".to_owned(), json!({ "mode": "id", "id": self.voice }));
        members.insert("output_format".to_owned(), output.clone());
        if let Some(language) = &self.language {
            members.insert("language".to_owned(), json!(language));
        }
        #[allow(clippy::float_cmp)]
        if self.speed != 1.0 {
            let speed = self.speed.clamp(SPEED_MIN, SPEED_MAX);
            members.insert("generation_config".to_owned(), json!({ "speed": speed }));
        }
        members
    }

    /// The body of `/tts/bytes`; `None` where sound is not packed so.
    pub fn whole(&self, transcript: &str, format: SpeechFormat) -> Option<String> {
        let mut members = self.members(&packed(format)?);
        members.insert("transcript".to_owned(), json!(transcript));
        Some(Value::Object(members).to_string())
    }

    /// An input of a context, answered in samples of 16 bits, `sample_rate_hz` a second.
    pub fn input(&self, context: &str, transcript: &str, after: After, sample_rate_hz: u32) -> String {
        let mut members = self.members(&samples(sample_rate_hz));
        members.insert("context_id".to_owned(), json!(context));
        members.insert("transcript".to_owned(), json!(transcript));
        members.insert("continue".to_owned(), json!(after != After::End));
        // Whole sentences come: there is nothing to gather first.
        members.insert("max_buffer_delay_ms".to_owned(), json!(0));
        if after == After::Flush {
            members.insert("flush".to_owned(), json!(true));
        }
        Value::Object(members).to_string()
    }
}

/// Says that nobody wants the rest of a context.
pub fn cancel(context: &str) -> String {
    json!({ "context_id": context, "cancel": true }).to_string()
}

fn samples(sample_rate_hz: u32) -> Value {
    json!({ "container": "raw", "encoding": "pcm_s16le", "sample_rate": sample_rate_hz })
}

fn packed(format: SpeechFormat) -> Option<Value> {
    Some(match format {
        SpeechFormat::Mp3 => json!({ "container": "mp3", "sample_rate": 44_100, "bit_rate": 128_000 }),
        SpeechFormat::Wav => json!({ "container": "wav", "encoding": "pcm_s16le", "sample_rate": 24_000 }),
        SpeechFormat::Pcm => samples(24_000),
        SpeechFormat::Opus | SpeechFormat::Aac | SpeechFormat::Flac => return None,
    })
}

/// What a message of `/tts/websocket` says.
#[derive(Debug, Clone, PartialEq)]
pub enum Spoken {
    /// Samples of 16 bits, possibly cut in the middle of one.
    Chunk(Vec<u8>),
    /// All that was sent before the flush of that number, counted from 1, was spoken.
    Flushed(u64),
    /// The context is over.
    Done,
    Failed(Failure),
    /// Timestamps, and whatever is added one day.
    Other,
}

/// Reads a message of `/tts/websocket`, with the context that it is of.
///
/// # Errors
/// `Malformed`, `TooLarge`.
pub fn spoken(text: &str) -> Result<(Option<String>, Spoken), Failure> {
    let message = message(text)?;
    let context = message.get("context_id").and_then(Value::as_str).map(str::to_owned);
    let what = match kind(&message)? {
        "chunk" => {
            let data = message.get("data").and_then(Value::as_str).ok_or(Failure::Malformed)?;
            Spoken::Chunk(STANDARD.decode(data).map_err(|_| Failure::Malformed)?)
        }
        "flush_done" => {
            Spoken::Flushed(message.get("flush_id").and_then(Value::as_u64).ok_or(Failure::Malformed)?)
        }
        "done" => Spoken::Done,
        "error" => Spoken::Failed(failure(&message)),
        _ => Spoken::Other,
    };
    Ok((context, what))
}

/// What a message of `/stt/websocket` says.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// Text since the last final one.
    Text {
        text: String,
        is_final: bool,
    },
    /// All sound before `finalize` was heard.
    Flushed,
    /// The same, and nothing follows.
    Done,
    Failed(Failure),
    Other,
}

/// Reads a message of `/stt/websocket`.
///
/// # Errors
/// `Malformed`, `TooLarge`.
pub fn heard(text: &str) -> Result<Heard, Failure> {
    let message = message(text)?;
    Ok(match kind(&message)? {
        "transcript" => {
            let text = message.get("text").and_then(Value::as_str).ok_or(Failure::Malformed)?.to_owned();
            let is_final = message.get("is_final").and_then(Value::as_bool).ok_or(Failure::Malformed)?;
            Heard::Text { text, is_final }
        }
        "flush_done" => Heard::Flushed,
        "done" => Heard::Done,
        "error" => Heard::Failed(failure(&message)),
        _ => Heard::Other,
    })
}

fn message(text: &str) -> Result<Value, Failure> {
    if text.len() > MESSAGE_BYTES_MAX {
        return Err(Failure::TooLarge);
    }
    serde_json::from_str(text).map_err(|_| Failure::Malformed)
}

fn kind(message: &Value) -> Result<&str, Failure> {
    message.get("type").and_then(Value::as_str).ok_or(Failure::Malformed)
}

/// Its status alone: whatever else it says is not ours to pass on.
fn failure(message: &Value) -> Failure {
    let status = message.get("status_code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    match status {
        Some(status @ 400..=599) => Failure::Status(status),
        _ => Failure::Malformed,
    }
}

/// The text of an utterance as it comes: final pieces one after the other, with nothing put between, and behind them what
/// is believed for now.
#[derive(Debug, Default)]
pub struct Transcript {
    finals: String,
    believed: String,
}

impl Transcript {
    /// # Errors
    /// `TooLarge` when it has more than `bytes_max`.
    pub fn push(&mut self, text: &str, is_final: bool, bytes_max: usize) -> Result<(), Failure> {
        self.believed.clear();
        let into = if is_final { &mut self.finals } else { &mut self.believed };
        into.push_str(text);
        let all = self.finals.len().saturating_add(self.believed.len());
        if all > bytes_max { Err(Failure::TooLarge) } else { Ok(()) }
    }

    /// All of it so far.
    pub fn text(&self) -> String {
        format!("{}{}", self.finals, self.believed)
    }

    /// What is certain; at the end that is all.
    pub fn into_text(self) -> String {
        self.finals
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn manner() -> Manner {
        let (model, voice) = ("sonic-3".to_owned(), "v".to_owned());
        Manner { model, voice, language: None, speed: 1.0 }
    }

    #[test]
    fn all_inputs_of_a_context_say_the_same_but_for_what_may_change() {
        let manner = Manner { language: Some("de".to_owned()), speed: 2.0, ..manner() };
        let read = |text: String| serde_json::from_str::<Map<String, Value>>(&text).unwrap();
        let inputs = [
            read(manner.input("c", "Hallo. ", After::More, 16_000)),
            read(manner.input("c", "", After::Flush, 16_000)),
            read(manner.input("c", "", After::End, 16_000)),
        ];
        let expected = json!({
            "model_id": "sonic-3", "voice": { "mode": "id", "id": "v" }, "language": "de",
            "output_format": { "container": "raw", "encoding": "pcm_s16le", "sample_rate": 16_000 },
            "generation_config": { "speed": 1.5 }, "max_buffer_delay_ms": 0, "context_id": "c",
        });
        for input in &inputs {
            let mut same = input.clone();
            for name in ["transcript", "continue", "flush"] {
                same.remove(name);
            }
            assert_eq!(Value::Object(same), expected);
        }
        let said = |input: &Map<String, Value>| (input.get("continue").cloned(), input.get("flush").cloned());
        assert_eq!(said(&inputs[0]), (Some(json!(true)), None));
        assert_eq!(said(&inputs[1]), (Some(json!(true)), Some(json!(true))));
        assert_eq!(said(&inputs[2]), (Some(json!(false)), None));
        assert_eq!(read(cancel("c")), read(json!({ "context_id": "c", "cancel": true }).to_string()));
    }

    #[test]
    fn sound_is_packed_as_it_can_be_and_not_otherwise() {
        let whole =
            |format| manner().whole("Hi", format).map(|text| serde_json::from_str::<Value>(&text).unwrap());
        let mp3 = whole(SpeechFormat::Mp3).unwrap();
        let expected = json!({
            "model_id": "sonic-3", "voice": { "mode": "id", "id": "v" }, "transcript": "Hi",
            "output_format": { "container": "mp3", "sample_rate": 44_100, "bit_rate": 128_000 },
        });
        assert_eq!(mp3, expected);
        let encoding =
            |format| whole(format).and_then(|body| body.pointer("/output_format/container").cloned());
        assert_eq!(encoding(SpeechFormat::Wav), Some(json!("wav")));
        assert_eq!(encoding(SpeechFormat::Pcm), Some(json!("raw")));
        for format in [SpeechFormat::Opus, SpeechFormat::Aac, SpeechFormat::Flac] {
            assert_eq!(encoding(format), None, "{format:?}");
        }
    }

    #[test]
    fn messages_of_speech_are_read() {
        for (text, expected) in [
            (
                r#"{"type":"chunk","context_id":"c","data":"AAEC","done":false}"#,
                Ok(Spoken::Chunk(vec![0, 1, 2])),
            ),
            (
                r#"{"type":"flush_done","context_id":"c","flush_done":true,"flush_id":2}"#,
                Ok(Spoken::Flushed(2)),
            ),
            (r#"{"type":"done","context_id":"c","done":true}"#, Ok(Spoken::Done)),
            (r#"{"type":"timestamps","context_id":"c"}"#, Ok(Spoken::Other)),
            (r#"{"type":"new_one_day","context_id":"c"}"#, Ok(Spoken::Other)),
            (
                r#"{"type":"error","context_id":"c","status_code":429}"#,
                Ok(Spoken::Failed(Failure::Status(429))),
            ),
            (
                r#"{"type":"error","context_id":"c","status_code":200}"#,
                Ok(Spoken::Failed(Failure::Malformed)),
            ),
            (r#"{"type":"error","context_id":"c"}"#, Ok(Spoken::Failed(Failure::Malformed))),
            (r#"{"type":"chunk","context_id":"c","data":"A*EC"}"#, Err(Failure::Malformed)),
            (r#"{"type":"chunk","context_id":"c","data":"AAE"}"#, Err(Failure::Malformed)),
            (r#"{"type":"chunk","context_id":"c"}"#, Err(Failure::Malformed)),
            (r#"{"type":"flush_done","context_id":"c"}"#, Err(Failure::Malformed)),
            (r#"{"type":"chunk","context_id":"c","da"#, Err(Failure::Malformed)),
            (r#"{"context_id":"c"}"#, Err(Failure::Malformed)),
            ("<html>", Err(Failure::Malformed)),
            ("[]", Err(Failure::Malformed)),
        ] {
            let read = spoken(text);
            if let Ok((context, _)) = &read {
                assert_eq!(context.as_deref(), Some("c"), "{text}");
            }
            assert_eq!(read.map(|(_, what)| what), expected, "{text}");
        }
        let long = format!(r#"{{"type":"other","data":"{}"}}"#, "A".repeat(MESSAGE_BYTES_MAX));
        assert_eq!(spoken(&long), Err(Failure::TooLarge));
    }

    #[test]
    fn messages_of_hearing_are_read() {
        let text = |text: &str, is_final| Heard::Text { text: text.to_owned(), is_final };
        for (message, expected) in [
            (r#"{"type":"transcript","text":" you","is_final":true}"#, Ok(text(" you", true))),
            (r#"{"type":"transcript","text":"","is_final":false}"#, Ok(text("", false))),
            (r#"{"type":"flush_done","request_id":"r"}"#, Ok(Heard::Flushed)),
            (r#"{"type":"done","request_id":"r"}"#, Ok(Heard::Done)),
            (r#"{"type":"error","status_code":500}"#, Ok(Heard::Failed(Failure::Status(500)))),
            (r#"{"type":"turn.start"}"#, Ok(Heard::Other)),
            (r#"{"type":"transcript","text":"a"}"#, Err(Failure::Malformed)),
            (r#"{"type":"transcript","is_final":true}"#, Err(Failure::Malformed)),
            (r#"{"type":7}"#, Err(Failure::Malformed)),
            ("done", Err(Failure::Malformed)),
        ] {
            assert_eq!(heard(message), expected, "{message}");
        }
    }

    #[test]
    fn a_transcript_is_its_final_pieces_as_they_are() {
        let mut transcript = Transcript::default();
        for (text, is_final, all) in [
            ("Ho", false, "Ho"),
            ("How are", true, "How are"),
            (" yo", false, "How are yo"),
            (" you?", true, "How are you?"),
        ] {
            assert_eq!(transcript.push(text, is_final, 12), Ok(()));
            assert_eq!(transcript.text(), all);
        }
        assert_eq!(transcript.push("!", false, 12), Err(Failure::TooLarge));
        assert_eq!(transcript.into_text(), "How are you?");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(text in ".{0,200}") {
            let _ = (spoken(&text), heard(&text));
        }

        #[test]
        fn sound_comes_out_as_it_was_put_in(sound: Vec<u8>) {
            let text = json!({ "type": "chunk", "context_id": "c", "data": STANDARD.encode(&sound) }).to_string();
            prop_assert_eq!(spoken(&text), Ok((Some("c".to_owned()), Spoken::Chunk(sound))));
        }
    }
}
