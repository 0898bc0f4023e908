//! The form of `POST /v1/audio/transcriptions`: a recording, whose bytes stay with the runtime, and what is wanted of it.

use serde_json::json;
use web_sys::File;

use super::super::context::Context;
use super::super::error::ApiError;
use super::super::limits::{
    FORM_FIELDS_MAX, FORM_TEXT_LENGTH_MAX, MODEL_BYTES_MAX, RECORDING_BYTES_MAX, RECORDING_FORM_BYTES_MAX,
    SPEECH_CHARACTERS_MAX,
};
use super::charge::Recorded;
use crate::platform::uploads::{self, Field, Form};
use crate::providers::{HEAD_BYTES_MAX, SoundLength, TranscriptFormat, TranscriptionRequest};

/// A language's code, such as `en` or `zh-Hant`, in bytes.
const LANGUAGE_BYTES_MAX: usize = 16;
/// The longest ending of a file's name that is passed on, in bytes.
const EXTENSION_BYTES_MAX: usize = 5;
/// The longest type of a file, in bytes.
const MEDIA_BYTES_MAX: usize = 128;

/// A recording that was understood.
pub struct Recording {
    pub model: String,
    pub request: TranscriptionRequest,
    pub recorded: Recorded,
    /// The client wants events as they come.
    pub streams: bool,
    /// Its fields and its bytes, in a form that is the same however a client packs them.
    pub canonical: String,
}

fn wrong(field: &'static str, expected: &'static str) -> ApiError {
    ApiError::InvalidField { field, expected }
}

/// # Errors
/// One code for each mistake; nothing was changed then.
pub async fn read(context: &Context) -> Result<Recording, ApiError> {
    let form = context.inbound.form(RECORDING_FORM_BYTES_MAX, FORM_TEXT_LENGTH_MAX).await?;
    let texts = texts(&form)?;
    let [file] = form.files.as_slice() else {
        return Err(wrong("file", "the one recording, as a file"));
    };
    let wish = Wish::read(&texts)?;
    let bytes = uploads::size(file);
    if bytes == 0 {
        return Err(wrong("file", "a recording, which has bytes"));
    }
    if bytes > u64::from(RECORDING_BYTES_MAX) {
        let max_bytes = usize::try_from(RECORDING_BYTES_MAX).unwrap_or(usize::MAX);
        return Err(ApiError::PayloadTooLarge { max_bytes });
    }
    let head = uploads::head(file, HEAD_BYTES_MAX).await.ok_or(ApiError::InvalidForm)?;
    let cap_ms = u64::from(context.config.audio_seconds_max).saturating_mul(1_000);
    let length = SoundLength::of(&head, bytes, cap_ms);
    if length.exact_ms.is_some_and(|exact_ms| exact_ms > cap_ms) {
        return Err(wrong("file", "no longer than this deployment's AUDIO_SECONDS_MAX"));
    }
    let digest = uploads::sha256(file).await.ok_or(ApiError::InvalidForm)?;
    let canonical = canonical(&texts, &digest);
    let prompt_bytes = wish.prompt.as_ref().map_or(0, |prompt| prompt.len());
    let Wish { model, format, language, prompt, streams } = wish;
    let fields = texts.into_iter().filter(|(name, _)| name != "model").collect();
    let request = TranscriptionRequest {
        file: file.clone().into(),
        file_name: file_name(file, length),
        file_bytes: bytes,
        media: media(file),
        fields,
        format,
        language,
        prompt,
        request_id: context.request_id.clone(),
    };
    let prompt_bytes = u64::try_from(prompt_bytes).unwrap_or(u64::MAX);
    Ok(Recording { model, request, recorded: Recorded { length, prompt_bytes }, streams, canonical })
}

/// The fields that are texts. Only `file` is a file, and only lists are there several times.
fn texts(form: &Form) -> Result<Vec<(String, String)>, ApiError> {
    if form.fields.len() > FORM_FIELDS_MAX {
        return Err(wrong("file", "beside 31 other fields at most"));
    }
    let mut texts: Vec<(String, String)> = Vec::new();
    for (name, value) in &form.fields {
        match value {
            Field::File if name == "file" => {}
            Field::File => return Err(wrong(known(name), "a text: only `file` is a file")),
            Field::Text(_) | Field::TooLong if name == "file" => {
                return Err(wrong("file", "the one recording, as a file"));
            }
            Field::TooLong => return Err(wrong(known(name), "a text of at most 8,192 characters")),
            Field::Text(text) => {
                if !name.ends_with("[]") && texts.iter().any(|(before, _)| before == name) {
                    return Err(wrong(known(name), "there once"));
                }
                texts.push((name.clone(), text.clone()));
            }
        }
    }
    Ok(texts)
}

/// A field's name, for a client; `form` for one that is not known here.
fn known(name: &str) -> &'static str {
    const NAMES: [&str; 8] = [
        "file",
        "model",
        "language",
        "prompt",
        "response_format",
        "temperature",
        "timestamp_granularities[]",
        "stream",
    ];
    NAMES.into_iter().find(|known| *known == name).unwrap_or("form")
}

/// What is wanted of a recording.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    model: String,
    format: TranscriptFormat,
    language: Option<String>,
    prompt: Option<String>,
    streams: bool,
}

impl Wish {
    fn read(texts: &[(String, String)]) -> Result<Self, ApiError> {
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

/// Fields in the order of their names, those of one name in their own, and the digest of the bytes: neither the boundary
/// nor the file's name makes another request.
fn canonical(texts: &[(String, String)], digest: &str) -> String {
    let mut sorted: Vec<&(String, String)> = texts.iter().collect();
    sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
    json!([sorted, digest]).to_string()
}

/// Servers go by the ending of a file's name. Nothing else of it is passed on: it may say more than the client means to.
fn file_name(file: &File, length: SoundLength) -> String {
    let name = file.name();
    let own = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    let own = own.filter(|ending| {
        (1..=EXTENSION_BYTES_MAX).contains(&ending.len())
            && ending.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    format!("audio.{}", own.as_deref().unwrap_or(length.container.extension()))
}

fn media(file: &File) -> String {
    let media = file.type_();
    let is_type =
        (1..=MEDIA_BYTES_MAX).contains(&media.len()) && media.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if is_type { media } else { "application/octet-stream".to_owned() }
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

    #[test]
    fn the_same_fields_in_another_order_are_the_same_request() {
        let one = texts_of(&[("model", "m"), ("a[]", "2"), ("a[]", "1"), ("prompt", "p")]);
        let other = texts_of(&[("a[]", "2"), ("prompt", "p"), ("a[]", "1"), ("model", "m")]);
        assert_eq!(canonical(&one, "d"), canonical(&other, "d"));
        assert_ne!(canonical(&one, "d"), canonical(&one, "e"));
        let swapped = texts_of(&[("model", "m"), ("a[]", "1"), ("a[]", "2"), ("prompt", "p")]);
        assert_ne!(canonical(&one, "d"), canonical(&swapped, "d"));
    }

    #[test]
    fn only_the_file_is_a_file_and_only_lists_are_there_twice() {
        let form = |fields: &[(&str, Field)]| {
            let fields = fields.iter().map(|(name, field)| ((*name).to_owned(), field.clone())).collect();
            texts(&Form { fields, files: Vec::new() })
        };
        let text = || Field::Text("x".to_owned());
        assert!(form(&[("file", Field::File), ("model", text()), ("b[]", text()), ("b[]", text())]).is_ok());
        for (fields, named) in [
            (&[("file", text())][..], "file"),
            (&[("model", Field::File)], "model"),
            (&[("model", text()), ("model", text())], "model"),
            (&[("prompt", Field::TooLong)], "prompt"),
            (&[("other", Field::File)], "form"),
            (&vec![("b[]", text()); 33], "file"),
        ] {
            let error = form(fields).unwrap_err();
            assert!(matches!(error, ApiError::InvalidField { field, .. } if field == named), "{named}");
        }
    }
}
