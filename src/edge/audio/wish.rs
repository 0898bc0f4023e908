//! What is wanted of a recording: the model, the language, the form of the transcript. A form says it, or a job's params.

use super::super::error::ApiError;
use super::super::limits::{MODEL_BYTES_MAX, SPEECH_CHARACTERS_MAX};
use crate::providers::TranscriptFormat;

/// A language's code, such as `en` or `zh-Hant`, in bytes.
const LANGUAGE_BYTES_MAX: usize = 16;

pub fn wrong(field: &'static str, expected: &'static str) -> ApiError {
    ApiError::InvalidField { field, expected }
}

/// What is wanted of a recording.
#[derive(Debug, PartialEq, Eq)]
pub struct Wish {
    pub model: String,
    pub format: TranscriptFormat,
    pub language: Option<String>,
    pub prompt: Option<String>,
    /// The client wants events as they come.
    pub streams: bool,
}

impl Wish {
    /// Reads the fields of the form that are texts.
    ///
    /// # Errors
    /// `InvalidField`.
    pub fn read(texts: &[(String, String)]) -> Result<Self, ApiError> {
        let text = |name: &str| texts.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str());
        let model = text("model").filter(|model| (1..=MODEL_BYTES_MAX).contains(&model.len()));
        let model = model.ok_or(wrong("model", "the name of a model of GET /v1/models, or `auto`"))?;
        let format = text("response_format").map_or(Some(TranscriptFormat::Json), TranscriptFormat::named);
        let expected = "`json`, `text`, `srt`, `verbose_json` or `vtt`";
        let format = format.ok_or(wrong("response_format", expected))?;
        let is_code = |code: &str| {
            (1..=LANGUAGE_BYTES_MAX).contains(&code.len())
                && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let language = text("language");
        if language.is_some_and(|code| !is_code(code)) {
            return Err(wrong("language", "a language's code, such as `en`"));
        }
        let prompt = text("prompt");
        if prompt.is_some_and(|prompt| prompt.chars().count() > SPEECH_CHARACTERS_MAX) {
            return Err(wrong("prompt", "a text of at most 4,096 characters"));
        }
        let warm = |text: &str| text.trim().parse::<f64>().is_ok_and(|number| (0.0..=1.0).contains(&number));
        if text("temperature").is_some_and(|temperature| !warm(temperature)) {
            return Err(wrong("temperature", "a number from 0 to 1"));
        }
        if !matches!(text("service_tier"), None | Some("auto" | "default")) {
            return Err(wrong("service_tier", "`auto` or `default`"));
        }
        // Further recordings, which nobody would pay for.
        if texts.iter().any(|(name, _)| name.starts_with("known_speaker")) {
            return Err(wrong("known_speaker_references", "nothing: speakers are not told apart by samples"));
        }
        let streams = match text("stream") {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(wrong("stream", "`true` or `false`")),
        };
        if streams && !matches!(format, TranscriptFormat::Json | TranscriptFormat::Text) {
            return Err(wrong("response_format", "`json` or `text` where `stream` is true"));
        }
        granularities(texts, format)?;
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Ok(Self {
            model: model.to_owned(),
            format,
            language: owned(language),
            prompt: owned(prompt),
            streams,
        })
    }
}

fn granularities(texts: &[(String, String)], format: TranscriptFormat) -> Result<(), ApiError> {
    let named = |name: &str| matches!(name, "timestamp_granularities[]" | "timestamp_granularities");
    let mut asked = texts.iter().filter(|(name, _)| named(name)).peekable();
    if asked.peek().is_some() && format != TranscriptFormat::VerboseJson {
        let expected = "left out unless `response_format` is `verbose_json`";
        return Err(wrong("timestamp_granularities[]", expected));
    }
    if asked.all(|(_, kind)| matches!(kind.as_str(), "word" | "segment")) {
        Ok(())
    } else {
        Err(wrong("timestamp_granularities[]", "`word` or `segment`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts_of(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn wishes_are_read_and_wrong_ones_named() {
        let read = |more: &[(&str, &str)]| {
            let mut pairs = vec![("model", "whisper-1")];
            pairs.extend(more);
            Wish::read(&texts_of(&pairs))
        };
        let usual = read(&[]).unwrap();
        assert_eq!((usual.format, usual.streams), (TranscriptFormat::Json, false));
        assert!(read(&[("response_format", "text"), ("stream", "true")]).unwrap().streams);
        let verbose = ("response_format", "verbose_json");
        let (word, segment) =
            (("timestamp_granularities[]", "word"), ("timestamp_granularities[]", "segment"));
        assert!(read(&[verbose, word, segment, ("language", "zh-Hant"), ("temperature", "0.2")]).is_ok());
        for (more, field) in [
            (&[("response_format", "xml")][..], "response_format"),
            (&[("response_format", "srt"), ("stream", "true")], "response_format"),
            (&[("language", "")], "language"),
            (&[("language", "en\r\n")], "language"),
            (&[("temperature", "2")], "temperature"),
            (&[("temperature", "NaN")], "temperature"),
            (&[("stream", "yes")], "stream"),
            (&[word], "timestamp_granularities[]"),
            (&[verbose, ("timestamp_granularities[]", "day")], "timestamp_granularities[]"),
        ] {
            let error = read(more).unwrap_err();
            assert!(
                matches!(error, ApiError::InvalidField { field: named, .. } if named == field),
                "{more:?}"
            );
        }
        assert!(Wish::read(&[]).is_err());
    }
}
