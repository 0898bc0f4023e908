//! An utterance as text.

use std::rc::Rc;

use actors::voice::limits::STT_MS_MAX;
use actors::voice::{CallEnd, CallId, Command};
use serde_json::Value;

use super::Voice;
use super::asking::{named, serving};
use super::calls::{ended, request_id};
use crate::platform::now_ms;
use crate::providers::voice::{Hearing, HearingEvent, hear as listen};

pub(super) async fn hear(voice: &Rc<Voice>, call: CallId, pcm: Vec<u8>, prefs: &Value) -> CallEnd {
    let Some(opened) = voice.opened() else { return CallEnd::Broken };
    let turn = Hearing {
        providers: serving(&voice.config.offers.transcription, prefs, "stt_model"),
        language: named(prefs, "language"),
        sample_rate_hz: opened.settings.sample_rate_hz,
        request_id: request_id(&opened, call),
        end_ms: now_ms().saturating_add(STT_MS_MAX),
    };
    let (feed, mut events) = listen(&voice.env, &voice.config, turn);
    if !feed.push(pcm) {
        return CallEnd::Failed { code: "stt_failed".to_owned() };
    }
    feed.finalize();
    while let Some(event) = events.next().await {
        match event {
            HearingEvent::Partial(text) => voice.report(Command::Hears { call, text }),
            HearingEvent::Final(text) => return CallEnd::Done { text: Some(text), units: feed.units() },
            HearingEvent::Failed(why) => return ended("stt_failed", &why),
        }
    }
    CallEnd::Broken
}
