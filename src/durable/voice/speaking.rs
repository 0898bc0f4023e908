//! Sentences as sound, one after the other, as fast as the client takes it.

use std::rc::Rc;

use actors::shared::Units;
use actors::voice::limits::TTS_MS_MAX;
use actors::voice::{CallEnd, CallId, Command};
use futures::StreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use serde_json::{Value, json};

use super::Voice;
use super::asking::{failed, named, serving};
use super::calls::{Gate, Part};
use crate::platform::{log, now_ms};
use crate::providers::{self, Answered, Members, SpeechFormat, SpeechRequest};

/// The voice of those who never chose one: the first of OpenAI's, for which every provider has one of its own.
const VOICE: &str = "alloy";

pub(super) async fn speak(
    voice: &Rc<Voice>,
    call: CallId,
    mut parts: UnboundedReceiver<Part>,
    prefs: &Value,
    gate: &Gate,
) -> CallEnd {
    let Some(opened) = voice.opened() else { return CallEnd::Broken };
    let providers = serving(&voice.config.offers.speech, prefs, "tts_model");
    let end_ms = now_ms().saturating_add(TTS_MS_MAX);
    let mut units = Units::default();
    while let Some(Part { part, text }) = parts.next().await {
        let request_id = format!("{}-t{}", opened.session, call.turn);
        units.characters =
            units.characters.saturating_add(u64::try_from(text.chars().count()).unwrap_or(u64::MAX));
        let request = request(text, prefs, request_id);
        let opening = providers::speak(&voice.env, &voice.config, &providers, &request, end_ms).await;
        let Answered { provider, value: mut stream, .. } = match opening {
            Ok(answered) => answered,
            Err(why) => return failed("tts_failed", &why),
        };
        loop {
            gate.pass().await;
            let wait_ms = provider.deadlines.idle_ms.min(end_ms.saturating_sub(now_ms()));
            match stream.next(wait_ms).await {
                Ok(Some(chunk)) => voice.report(Command::Sounds { call, part, pcm: chunk.to_vec() }),
                Ok(None) => break,
                Err(failure) => {
                    log::fault_of(&request.request_id, "voice_speech_broke_off", &failure.code());
                    return CallEnd::Broken;
                }
            }
        }
        voice.report(Command::Spoken { call, part });
    }
    CallEnd::Done { text: None, units }
}

fn request(text: String, prefs: &Value, request_id: String) -> SpeechRequest {
    let voice = named(prefs, "voice").unwrap_or_else(|| VOICE.to_owned());
    let mut members = Members::default();
    members.set("input", &json!(text));
    members.set("voice", &json!(voice));
    members.set("response_format", &json!("pcm"));
    if let Some(speed) = prefs.pointer("/speed").filter(|speed| speed.is_number()) {
        members.set("speed", speed);
    }
    SpeechRequest { members, input: text, voice, format: SpeechFormat::Pcm, as_events: false, request_id }
}
