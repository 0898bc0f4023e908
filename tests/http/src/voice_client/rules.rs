//! What a server may say, and when. Whatever else it says is a deviation, and the test's end.

use super::Heard;
use super::line::Phase;
use crate::voice_wire::close;
use serde_json::Value;

/// States of a turn, in their order; the last three end it.
pub const STATES: [&str; 8] =
    ["listening", "committed", "stt", "thinking", "speaking", "done", "interrupted", "failed"];
pub const FINAL: [&str; 3] = ["done", "interrupted", "failed"];
/// Events that have a number, so that they are said again after a resume.
const NUMBERED: [&str; 4] = ["turn", "transcript", "interrupted", "low_balance"];
const OF_ONE_SOCKET: [&str; 8] =
    ["welcome", "resumed", "replayed", "resume_failed", "ack", "goaway", "ended", "transcript"];

#[track_caller]
pub fn number(event: &Value, member: &str) -> u32 {
    let number = event.get(member).and_then(Value::as_u64);
    number.and_then(|number| u32::try_from(number).ok()).unwrap_or_else(|| panic!("no {member} in {event}"))
}

#[track_caller]
pub fn word<'a>(event: &'a Value, member: &str) -> &'a str {
    event.get(member).and_then(Value::as_str).unwrap_or_else(|| panic!("no {member} in {event}"))
}

/// Its number, if it is part of the sequence.
pub fn seq_of(event: &Value) -> Option<u32> {
    let is_ack = event.get("type").and_then(Value::as_str) == Some("ack");
    (!is_ack && event.get("seq").is_some()).then(|| number(event, "seq"))
}

/// An event came: it must be one that may come now.
#[track_caller]
pub fn may_come(event: &Value, phase: Phase, heard: &Heard, token: Option<&str>) {
    let kind = word(event, "type");
    let known = if seq_of(event).is_some() { &NUMBERED[..] } else { &OF_ONE_SOCKET[..] };
    assert!(known.contains(&kind), "an event that the protocol does not have so: {event}");
    let partial = kind == "transcript" && seq_of(event).is_none();
    assert!(!partial || event["final"] == false, "a final transcript without a number: {event}");
    match (phase, kind) {
        (Phase::Welcome, "welcome") => may_welcome(event),
        (Phase::Resuming, "resumed") => may_resume(event, heard, token),
        (Phase::Welcome | Phase::Resuming, "resume_failed") => {
            let reason = word(event, "reason");
            let known = ["expired", "evicted", "bad_token", "superseded"];
            assert!(known.contains(&reason), "an unknown reason: {event}");
        }
        (Phase::Welcome | Phase::Resuming, _) => panic!("too early: {event}"),
        (Phase::Replaying, "replayed") => {}
        (_, "welcome" | "resumed" | "resume_failed" | "replayed") => panic!("out of place: {event}"),
        (_, "turn") => may_turn(event, heard),
        _ => {}
    }
}

fn may_welcome(event: &Value) {
    assert_eq!((number(event, "up_next"), number(event, "down_next")), (1, 1), "{event}");
    assert_eq!(number(event, "epoch"), 1, "{event}");
    assert!(word(event, "resume_token").len() >= 32, "a token that could be guessed");
    assert!(number(event, "heartbeat_ms") > 0 && number(event, "window_ms") > 0, "{event}");
}

#[track_caller]
fn may_resume(event: &Value, heard: &Heard, token: Option<&str>) {
    assert_eq!(number(event, "replay_from"), heard.last_down + 1, "{event}");
    assert_ne!(Some(word(event, "resume_token")), token, "the token did not change");
    assert!(number(event, "epoch") > heard.epoch, "epoch {} before {event}", heard.epoch);
    assert!(event["gap"].is_boolean(), "{event}");
}

/// Each state of a turn comes once, and in order, but that a provider that was lost may bring it back to thinking.
#[track_caller]
fn may_turn(event: &Value, heard: &Heard) {
    let state = word(event, "state");
    let place = STATES.iter().position(|known| *known == state);
    let place = place.unwrap_or_else(|| panic!("an unknown state: {event}"));
    let Some(turn) = event.get("turn").and_then(Value::as_str) else {
        assert!(matches!(state, "listening" | "failed"), "a turn without a name: {event}");
        return;
    };
    let before = heard.states(turn);
    assert!(!before.iter().any(|state| FINAL.contains(state)), "{turn} was over: {event}");
    let last = before.last().and_then(|last| STATES.iter().position(|known| known == last));
    let goes_back = state == "thinking" && before.last() == Some(&"speaking");
    assert!(goes_back || last.is_none_or(|last| last < place), "{turn} was {before:?}: {event}");
}

/// A socket ended: with a code that a server may give to a client that makes no mistakes.
#[track_caller]
pub fn may_close(code: Option<u16>, heard: &Heard) {
    let Some(code) = code else { return };
    match code {
        close::ENDED => assert!(heard.ended.is_some(), "closed as ended without a word"),
        // Without a reason where the session ended before the client had said who it is: it is told when it comes again.
        close::NOT_RESUMED | close::TAKEN_OVER | close::BEHIND | close::DEAD | 1001 | 1006 | 1013 => {}
        other => panic!("closed with {other}"),
    }
}
