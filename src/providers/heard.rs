//! What Workers AI and Cartesia heard, in the forms of OpenAI's transcripts.

use std::fmt::Write;

use serde_json::{Value, json};

use super::transcription::TranscriptFormat;

/// Words of one subtitle, where a model only tells words.
const CUE_WORDS_MAX: usize = 10;
/// The last moment that a subtitle can name, in milliseconds: 99:59:59,999.
const CUE_MS_MAX: u64 = 359_999_999;

#[derive(Debug, Clone, PartialEq)]
struct Span {
    start: f64,
    end: f64,
    text: String,
}

impl Span {
    /// One of a list, whose text is called `name`.
    fn of(value: &Value, name: &str) -> Option<Self> {
        let second = |name: &str| value.get(name).and_then(Value::as_f64);
        Some(Self {
            start: second("start")?,
            end: second("end")?,
            text: value.get(name)?.as_str()?.trim().to_owned(),
        })
    }

    fn all(list: Option<&Value>, name: &str) -> Vec<Self> {
        let items = list.and_then(Value::as_array).into_iter().flatten();
        items.filter_map(|item| Self::of(item, name)).collect()
    }
}

/// A recording's text, as a model told it whose answer has a form of its own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Heard {
    pub text: String,
    /// In seconds, when it says so. Nothing says yet that it is true.
    pub duration: Option<f64>,
    language: Option<String>,
    segments: Vec<Span>,
    words: Vec<Span>,
}

impl Heard {
    /// `@cf/openai/whisper-large-v3-turbo`.
    pub fn by_whisper(answer: &Value) -> Option<Self> {
        let info = |name: &str| answer.get("transcription_info").and_then(|info| info.get(name));
        let segments = answer.get("segments");
        let words = segments.and_then(Value::as_array).into_iter().flatten();
        Some(Self {
            text: answer.get("text")?.as_str()?.trim().to_owned(),
            duration: info("duration").and_then(Value::as_f64),
            language: info("language").and_then(Value::as_str).map(str::to_owned),
            segments: Span::all(segments, "text"),
            words: words.flat_map(|segment| Span::all(segment.get("words"), "word")).collect(),
        })
    }

    /// `@cf/deepgram/nova-3`.
    pub fn by_deepgram(answer: &Value) -> Option<Self> {
        let channel = answer.pointer("/results/channels/0")?;
        let best = channel.pointer("/alternatives/0")?;
        let mut words = Span::all(best.get("words"), "punctuated_word");
        if words.is_empty() {
            words = Span::all(best.get("words"), "word");
        }
        Some(Self {
            text: best.get("transcript")?.as_str()?.to_owned(),
            duration: answer.pointer("/metadata/duration").and_then(Value::as_f64),
            language: channel.get("detected_language").and_then(Value::as_str).map(str::to_owned),
            segments: segments_of(&words),
            words,
        })
    }

    /// Cartesia's `/stt`.
    pub fn by_cartesia(answer: &Value) -> Option<Self> {
        let words = Span::all(answer.get("words"), "word");
        Some(Self {
            text: answer.get("text")?.as_str()?.trim().to_owned(),
            duration: answer.get("duration").and_then(Value::as_f64),
            language: answer.get("language").and_then(Value::as_str).map(str::to_owned),
            segments: segments_of(&words),
            words,
        })
    }

    /// In the form that was asked for, `language` being the one that the client named.
    pub fn shown(&self, format: TranscriptFormat, language: Option<&str>) -> String {
        match format {
            TranscriptFormat::Json => json!({ "text": self.text }).to_string(),
            TranscriptFormat::Text => format!("{}\n", self.text),
            TranscriptFormat::VerboseJson => self.verbose(language).to_string(),
            TranscriptFormat::Srt => self.subtitles(',', String::new(), true),
            TranscriptFormat::Vtt => self.subtitles('.', "WEBVTT\n\n".to_owned(), false),
        }
    }

    fn verbose(&self, language: Option<&str>) -> Value {
        let segment = |(id, span): (usize, &Span)| json!({ "id": id, "start": span.start, "end": span.end, "text": span.text });
        let word = |span: &Span| json!({ "word": span.text, "start": span.start, "end": span.end });
        let last = self.segments.last().map_or(0.0, |span| span.end);
        json!({
            "task": "transcribe",
            "language": self.language.as_deref().or(language).unwrap_or("unknown"),
            "duration": self.duration.unwrap_or(last),
            "text": self.text,
            "segments": self.segments.iter().enumerate().map(segment).collect::<Vec<_>>(),
            "words": self.words.iter().map(word).collect::<Vec<_>>(),
        })
    }

    fn subtitles(&self, point: char, head: String, numbered: bool) -> String {
        let mut all = head;
        for (at, span) in self.segments.iter().enumerate() {
            if numbered {
                let _never_fails = writeln!(all, "{}", at.saturating_add(1));
            }
            // A line with nothing in it ends a subtitle.
            let text = span.text.split_whitespace().collect::<Vec<_>>().join(" ");
            let (start, end) = (moment(span.start, point), moment(span.end, point));
            let _never_fails = write!(all, "{start} --> {end}\n{text}\n\n");
        }
        all
    }
}

/// Words in groups, where a model tells no more than those.
fn segments_of(words: &[Span]) -> Vec<Span> {
    let segments = words.chunks(CUE_WORDS_MAX).filter_map(|words| {
        let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        let (start, end) = (words.first()?.start, words.last()?.end);
        Some(Span { start, end, text: texts.join(" ") })
    });
    segments.collect()
}

/// `01:02:03,004`; what is no time is the nearest that is one.
fn moment(seconds: f64, point: char) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let ms = ((seconds * 1_000.0).round() as u64).min(CUE_MS_MAX);
    let (s, m, h) = (ms / 1_000, ms / 60_000, ms / 3_600_000);
    format!("{h:02}:{:02}:{:02}{point}{:03}", m % 60, s % 60, ms % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whisper() -> Heard {
        let answer = json!({
            "transcription_info": { "language": "en", "duration": 4.5 },
            "text": " Hello there. Good bye.",
            "segments": [
                { "start": 0, "end": 1.5, "text": " Hello\n\nthere.", "words": [{ "word": " Hello", "start": 0, "end": 0.5 }] },
                { "start": 3661.25, "end": -3, "text": "Good bye." },
                { "start": "x", "text": 7 },
            ],
        });
        Heard::by_whisper(&answer).unwrap()
    }

    #[test]
    fn whisper_s_answer_is_shown_in_every_form() {
        let heard = whisper();
        assert_eq!(heard.duration, Some(4.5));
        assert_eq!(heard.shown(TranscriptFormat::Text, None), "Hello there. Good bye.\n");
        assert_eq!(heard.shown(TranscriptFormat::Json, None), r#"{"text":"Hello there. Good bye."}"#);
        let srt = "1\n00:00:00,000 --> 00:00:01,500\nHello there.\n\n2\n01:01:01,250 --> 00:00:00,000\nGood bye.\n\n";
        assert_eq!(heard.shown(TranscriptFormat::Srt, None), srt);
        assert!(
            heard.shown(TranscriptFormat::Vtt, None).starts_with("WEBVTT\n\n00:00:00.000 --> 00:00:01.500\n")
        );
        let verbose: Value =
            serde_json::from_str(&heard.shown(TranscriptFormat::VerboseJson, Some("de"))).unwrap();
        assert_eq!((verbose["language"].as_str(), verbose["duration"].as_f64()), (Some("en"), Some(4.5)));
        assert_eq!(verbose["words"], json!([{ "word": "Hello", "start": 0.0, "end": 0.5 }]));
        assert_eq!(Heard::by_whisper(&json!({ "text": 7 })), None);
    }

    #[test]
    fn deepgram_s_words_become_subtitles() {
        let words: Vec<Value> = (0..12)
            .map(|n| json!({ "word": "w", "punctuated_word": format!("W{n}"), "start": n, "end": n + 1 }))
            .collect();
        let best = json!({ "transcript": "W0 …", "words": words });
        let answer =
            json!({ "results": { "channels": [{ "alternatives": [best], "detected_language": "de" }] } });
        let heard = Heard::by_deepgram(&answer).unwrap();
        assert_eq!((heard.duration, heard.language.as_deref()), (None, Some("de")));
        assert_eq!(heard.segments.len(), 2);
        let vtt = heard.shown(TranscriptFormat::Vtt, None);
        assert!(vtt.ends_with("00:00:10.000 --> 00:00:12.000\nW10 W11\n\n"), "{vtt}");
        assert_eq!(Heard::by_deepgram(&json!({ "results": { "channels": [] } })), None);
    }

    #[test]
    fn cartesia_s_answer_is_shown_in_every_form() {
        let answer = json!({
            "type": "transcript", "text": "How are you?", "duration": 1.5, "language": "en",
            "words": [
                { "word": "How", "start": 0, "end": 0.25 }, { "word": "are", "start": 0.25, "end": 0.5 },
                { "word": "you?", "start": 0.5, "end": 1.25 },
            ],
        });
        let heard = Heard::by_cartesia(&answer).unwrap();
        assert_eq!(heard.duration, Some(1.5));
        assert_eq!(heard.shown(TranscriptFormat::Text, None), "How are you?\n");
        let srt = "1\n00:00:00,000 --> 00:00:01,250\nHow are you?\n\n";
        assert_eq!(heard.shown(TranscriptFormat::Srt, None), srt);
        assert_eq!(Heard::by_cartesia(&json!({ "text": null })), None);
    }

    #[test]
    fn times_that_are_none_have_a_nearest() {
        for (seconds, expected) in [
            (f64::NAN, "00:00:00.000"),
            (-1.0, "00:00:00.000"),
            (f64::MAX, "99:59:59.999"),
            (59.9996, "00:01:00.000"),
        ] {
            assert_eq!(moment(seconds, '.'), expected, "{seconds}");
        }
    }
}
