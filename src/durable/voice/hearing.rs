//! An utterance as text: the whole of it, as a recording, at the first provider that can.

use actors::shared::Units;
use actors::voice::limits::STT_MS_MAX;
use actors::voice::{CallEnd, CallId};
use js_sys::{Array, Uint8Array};
use serde_json::Value;
use wasm_bindgen::JsValue;
use web_sys::{Blob, BlobPropertyBag};

use super::Voice;
use super::asking::{failed, named, serving};
use crate::platform::now_ms;
use crate::providers::{self, TranscriptFormat, TranscriptionRequest};

const MEDIA: &str = "audio/wav";
/// All that is before the samples of a WAV.
const WAV_HEADER_BYTES: u32 = 44;

pub(super) async fn hear(voice: &Voice, call: CallId, pcm: Vec<u8>, prefs: &Value) -> CallEnd {
    let Some(opened) = voice.opened() else { return CallEnd::Broken };
    let rate_hz = opened.settings.sample_rate_hz;
    let milliseconds = actors::voice::milliseconds(actors::voice::frame::samples_in(&pcm), rate_hz);
    let Some(file) = wav(&pcm, rate_hz) else { return CallEnd::Failed { code: "stt_failed".to_owned() } };
    let language = named(prefs, "language");
    let mut fields = vec![("response_format".to_owned(), "json".to_owned())];
    fields.extend(language.clone().map(|language| ("language".to_owned(), language)));
    let request = TranscriptionRequest {
        file,
        file_name: "speech.wav".to_owned(),
        file_bytes: u64::try_from(pcm.len()).unwrap_or(u64::MAX).saturating_add(u64::from(WAV_HEADER_BYTES)),
        media: MEDIA.to_owned(),
        fields,
        format: TranscriptFormat::Json,
        language,
        prompt: None,
        request_id: format!("{}-t{}", opened.session, call.turn),
    };
    let providers = serving(&voice.config.offers.transcription, prefs, "stt_model");
    let end_ms = now_ms().saturating_add(STT_MS_MAX);
    match providers::transcribe(&voice.env, &voice.config, &providers, &request, end_ms).await {
        Ok(answered) => {
            let body: Value = serde_json::from_str(&answered.value.body).unwrap_or_default();
            let text = body.pointer("/text").and_then(Value::as_str).unwrap_or_default().to_owned();
            let units = Units { milliseconds: u64::from(milliseconds), ..Units::default() };
            CallEnd::Done { text: Some(text), units }
        }
        Err(why) => failed("stt_failed", &why),
    }
}

/// Samples of 16 bits, one channel, with a header before them; it stays with the runtime.
fn wav(pcm: &[u8], rate_hz: u32) -> Option<Blob> {
    let parts = Array::of2(
        &Uint8Array::from(header(u32::try_from(pcm.len()).ok()?, rate_hz).as_slice()),
        &Uint8Array::from(pcm),
    );
    let options = BlobPropertyBag::new();
    options.set_type(MEDIA);
    Blob::new_with_u8_array_sequence_and_options(&JsValue::from(parts), &options).ok()
}

fn header(bytes: u32, rate_hz: u32) -> Vec<u8> {
    const CHANNELS: u16 = 1;
    const SAMPLE_BYTES: u16 = 2;
    const PCM: u16 = 1;
    let mut header = Vec::with_capacity(WAV_HEADER_BYTES as usize);
    header.extend(b"RIFF");
    // All but these eight bytes.
    header.extend(bytes.saturating_add(WAV_HEADER_BYTES).saturating_sub(8).to_le_bytes());
    header.extend(b"WAVEfmt ");
    header.extend(16_u32.to_le_bytes());
    header.extend(PCM.to_le_bytes());
    header.extend(CHANNELS.to_le_bytes());
    header.extend(rate_hz.to_le_bytes());
    header.extend(rate_hz.saturating_mul(u32::from(SAMPLE_BYTES)).to_le_bytes());
    header.extend(SAMPLE_BYTES.to_le_bytes());
    header.extend(16_u16.to_le_bytes());
    header.extend(b"data");
    header.extend(bytes.to_le_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_how_long_its_sound_is() {
        let header = header(48_000, 24_000);
        assert_eq!(header.len(), WAV_HEADER_BYTES as usize);
        let mut whole = header.clone();
        whole.resize(48_044, 0);
        assert_eq!(providers::SoundLength::of(&header, 48_044, 7_200).exact_ms, Some(1_000));
    }
}
