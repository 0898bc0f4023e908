//! Sentences as sound, one after the other, as fast as the client takes it.

use std::rc::Rc;

use actors::voice::limits::TTS_MS_MAX;
use actors::voice::{CallEnd, CallId, Command, Open};
use serde_json::Value;

use super::Voice;
use super::asking::{named, serving};
use super::calls::{Gate, ended, request_id};
use crate::platform::now_ms;
use crate::providers::voice::{Events, Speaking, SpeechEvent, TextFeed, speak as begin};

/// Begins the speech of a turn: nobody is asked before it is waited for.
pub(super) fn started(
    voice: &Voice,
    opened: &Open,
    call: CallId,
    prefs: &Value,
) -> (TextFeed, Events<SpeechEvent>) {
    let turn = Speaking {
        providers: serving(&voice.config.offers.speech, prefs, "tts_model"),
        voice: named(prefs, "voice"),
        language: named(prefs, "language"),
        speed: prefs.pointer("/speed").and_then(Value::as_f64).unwrap_or(1.0),
        sample_rate_hz: opened.settings.sample_rate_hz,
        request_id: request_id(opened, call),
        end_ms: now_ms().saturating_add(TTS_MS_MAX),
    };
    begin(&voice.env, &voice.config, turn)
}

pub(super) async fn speak(
    voice: &Rc<Voice>,
    call: CallId,
    mut events: Events<SpeechEvent>,
    gate: &Gate,
) -> CallEnd {
    let units = || voice.calls.used(call);
    loop {
        // Not waiting for what comes next is what slows a provider down.
        gate.pass().await;
        match events.next().await {
            Some(SpeechEvent::Sound { part, pcm }) => voice.report(Command::Sounds { call, part, pcm }),
            Some(SpeechEvent::PartDone { part }) => voice.report(Command::Spoken { call, part }),
            Some(SpeechEvent::Done) => return CallEnd::Done { text: None, units: units() },
            Some(SpeechEvent::Failed(why)) => return ended("tts_failed", &why),
            None => return CallEnd::Broken,
        }
    }
}
