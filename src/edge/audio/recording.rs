//! The form of `POST /v1/audio/transcriptions`: a recording, whose bytes stay with the runtime, and what is wanted of it.

use super::super::context::Context;
use super::super::error::ApiError;
use super::super::limits::{
    FORM_FIELDS_MAX, FORM_TEXT_LENGTH_MAX, RECORDING_BYTES_MAX, RECORDING_FORM_BYTES_MAX,
};
use super::charge::Recorded;
use super::wish::{Wish, wrong};
use crate::platform::config::Config;
use crate::platform::uploads::{self, Field, Form};
use crate::providers::{HEAD_BYTES_MAX, SoundLength, TranscriptionRequest};
use serde_json::json;

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
    let length = length(&context.config, "file", &head, bytes)?;
    let digest = uploads::sha256(file).await.ok_or(ApiError::InvalidForm)?;
    let canonical = canonical(&texts, &digest);
    let recorded = Recorded::new(length, wish.prompt.as_deref());
    let Wish { model, format, language, prompt, streams } = wish;
    let fields = texts.into_iter().filter(|(name, _)| name != "model").collect();
    let request = TranscriptionRequest {
        file: file.clone().into(),
        file_name: file_name(&file.name(), length),
        file_bytes: bytes,
        media: media(file.type_()),
        fields,
        format,
        language,
        prompt,
        request_id: context.request_id.clone(),
    };
    Ok(Recording { model, request, recorded, streams, canonical })
}

/// How long a recording of `bytes` is that begins with `head`, and stands in `field`.
///
/// # Errors
/// `InvalidField` for one that says itself that it is longer than any may be.
pub fn length(
    config: &Config,
    field: &'static str,
    head: &[u8],
    bytes: u64,
) -> Result<SoundLength, ApiError> {
    let cap_ms = u64::from(config.audio_seconds_max).saturating_mul(1_000);
    let length = SoundLength::of(head, bytes, cap_ms);
    if length.exact_ms.is_some_and(|exact_ms| exact_ms > cap_ms) {
        return Err(wrong(field, "no longer than this deployment's AUDIO_SECONDS_MAX"));
    }
    Ok(length)
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

/// Fields in the order of their names, those of one name in their own, and the digest of the bytes: neither the boundary
/// nor the file's name makes another request.
fn canonical(texts: &[(String, String)], digest: &str) -> String {
    let mut sorted: Vec<&(String, String)> = texts.iter().collect();
    sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
    json!([sorted, digest]).to_string()
}

/// Servers go by the ending of a file's name. Nothing else of it is passed on: it may say more than the client means to.
pub fn file_name(name: &str, length: SoundLength) -> String {
    let own = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    let own = own.filter(|ending| {
        (1..=EXTENSION_BYTES_MAX).contains(&ending.len())
            && ending.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    format!("audio.{}", own.as_deref().unwrap_or(length.container.extension()))
}

/// What a provider is told that the file is.
pub fn media(media: String) -> String {
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
