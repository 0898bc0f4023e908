//! Cartesia: a text as sound and a recording as text in one request each, and the sockets for turns of speech.
//!
//! The key and the version go in headers, on sockets too: their request is ours, not a page's.

mod hearing_line;
mod socket;
mod speech_line;
mod wire;

pub use hearing_line::HearingLine;
pub use speech_line::SpeechLine;
pub use wire::{Manner, SPEED_MAX, SPEED_MIN, VERSION};

use wasm_bindgen::JsValue;
use web_sys::{FormData, Response};

use super::failure::Failure;
use super::heard::Heard;
use super::openai_compatible::{self, Content};
use super::speech::SpeechRequest;
use super::transcription::{TRANSCRIPT_BYTES_MAX, Transcript, TranscriptionRequest};
use crate::platform::abort::AbortGuard;
use crate::platform::config::{Config, Provider, is_cartesia_voice};

/// The voice that is asked for by `name`: one of Cartesia's own by its id, else the usual one.
pub fn voice_of(config: &Config, name: &str) -> String {
    if is_cartesia_voice(name) { name.to_owned() } else { config.offers.cartesia_voice.clone() }
}

/// Asks for a whole text as sound, until its headers.
///
/// # Errors
/// As of any call; `Status(422)` for sound that it does not pack so, as a server would say it: others may.
pub async fn speak(
    config: &Config,
    provider: &Provider,
    request: &SpeechRequest,
    guard: &AbortGuard,
) -> Result<Response, Failure> {
    let manner = Manner {
        model: provider.model.clone(),
        voice: voice_of(config, &request.voice),
        language: request.language.clone(),
        speed: request.speed,
    };
    let body = manner.whole(&request.input, request.format).ok_or(Failure::Status(422))?;
    openai_compatible::post(provider, "/tts/bytes", &request.request_id, Content::Json(body), guard).await
}

/// Asks for a whole recording as text.
///
/// # Errors
/// As of any call.
pub async fn transcribe(provider: &Provider, request: &TranscriptionRequest) -> Result<Transcript, Failure> {
    let guard = AbortGuard::new();
    let content = Content::Form(form(provider, request).map_err(|_| Failure::Malformed)?);
    let response = openai_compatible::post(provider, "/stt", &request.request_id, content, &guard).await?;
    if !openai_compatible::type_of(&response).contains("json") {
        return Err(Failure::ContentType);
    }
    let body = openai_compatible::body(&response, TRANSCRIPT_BYTES_MAX).await?;
    guard.let_go();
    let answer = serde_json::from_slice(&body).map_err(|_| Failure::Malformed)?;
    let heard = Heard::by_cartesia(&answer).ok_or(Failure::Malformed)?;
    Ok(Transcript::of(&heard, request))
}

fn form(provider: &Provider, request: &TranscriptionRequest) -> Result<FormData, JsValue> {
    let form = FormData::new()?;
    form.append_with_str("model", &provider.model)?;
    if let Some(language) = &request.language {
        form.append_with_str("language", language)?;
    }
    form.append_with_str("timestamp_granularities[]", "word")?;
    form.append_with_blob_and_filename("file", &request.file, &request.file_name)?;
    Ok(form)
}
