//! What only a stream can do wrong, before its first piece and after it.

use crate::fault_table::{Does, Fault, Stage, Told, hung_up};
use crate::faults::{CONNECT_MS, IDLE_MS};
use crate::raw_provider::{RawReply, Then};
use http_tests::client::unique_marker;
use http_tests::provider_script::{Behaviour, Completion, Ending};
use http_tests::vars::{ASK_TIMEOUT_MS, FIRST_BYTE_TIMEOUT_MS, IDLE_TIMEOUT_MS};
use http_tests::world::text;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const FIRST: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"w0 \"},\"finish_reason\":null}]}\n\n";
const GAP: Duration = Duration::from_millis(100);

fn fault(what: &'static str, does: Does, told: Told, deadline_ms: u64) -> Fault {
    Fault { what, streams: true, does, told, deadline_ms }
}

fn events(body: &'static str) -> Does {
    Does::Scripted(Behaviour::page(200, "text/event-stream", body))
}

fn raw(body: &str, then: Then) -> Does {
    Does::Raw(RawReply::begun("text/event-stream", body, then))
}

fn numbered(pieces: usize, ending: Ending) -> Does {
    let gap = Duration::from_millis(20);
    Does::Scripted(Behaviour::Complete(Completion::numbered(pieces, gap).ending(ending)))
}

pub fn all() -> Vec<Fault> {
    let mut all = before_the_first_piece();
    all.extend(after_it());
    all
}

fn before_the_first_piece() -> Vec<Fault> {
    vec![
        fault("an empty stream", events(""), Told::Next("interrupted"), 0),
        fault("nothing but comments", events(": a\n\n: b\n\n"), Told::Next("interrupted"), 0),
        fault("events that are no JSON", events("data: <html>\n\n"), Told::Next("malformed"), 0),
        fault("an event that is an error", events("data: {\"error\":{}}\n\n"), Told::Next("malformed"), 0),
        fault("a reset after the headers", raw("", Then::Reset), Told::Next("interrupted"), 0),
        fault(
            "1 GB without the end of a line",
            raw("data: ", Then::Repeat(vec![b'a'; 65_536], Duration::ZERO)),
            Told::Next("malformed"),
            0,
        ),
        fault("silence", Does::Raw(RawReply::of("", Then::Hold)), Told::Next("timeout_connect"), CONNECT_MS),
        fault(
            "headers and then silence",
            raw("", Then::Hold),
            Told::Next("timeout_first_token"),
            FIRST_BYTE_TIMEOUT_MS,
        ),
        fault(
            "headers and then pings without an end",
            raw("", Then::Repeat(b": ping\n\n".to_vec(), GAP)),
            Told::Next("timeout_first_token"),
            FIRST_BYTE_TIMEOUT_MS,
        ),
        fault(
            "one byte a second",
            raw("", Then::Repeat(b"d".to_vec(), Duration::from_secs(1))),
            Told::Next("timeout_first_token"),
            FIRST_BYTE_TIMEOUT_MS,
        ),
    ]
}

fn after_it() -> Vec<Fault> {
    vec![
        fault("a reset after four pieces", numbered(4, Ending::Broken), Told::Cut("interrupted"), 0),
        fault("an end without its mark", raw(FIRST, Then::Close), Told::Cut("interrupted"), 0),
        fault(
            "silence after a piece",
            numbered(3, Ending::Stalled),
            Told::Cut("interrupted"),
            IDLE_TIMEOUT_MS,
        ),
        fault(
            "silence after a piece, with a deadline of its own",
            raw(FIRST, Then::Hold),
            Told::Cut("interrupted"),
            IDLE_MS,
        ),
        fault(
            "pings without an end after a piece",
            raw(FIRST, Then::Repeat(b": ping\n\n".to_vec(), GAP)),
            Told::Cut("interrupted"),
            IDLE_MS,
        ),
        fault(
            "garbage after a piece",
            raw(FIRST, Then::Repeat(b"data: <html>\n\n".to_vec(), GAP)),
            Told::Cut("interrupted"),
            0,
        ),
        fault(
            "pieces without an end, fast",
            numbered(100, Ending::Endless),
            Told::Cut("hold_used_up"),
            ASK_TIMEOUT_MS,
        ),
        fault(
            "pieces without an end, slow",
            raw(FIRST, Then::Repeat(FIRST.as_bytes().to_vec(), Duration::from_millis(300))),
            Told::Cut("interrupted"),
            ASK_TIMEOUT_MS,
        ),
    ]
}

/// The same silence at three points, by the clock: each deadline is kept by itself, and the call is ended.
pub async fn deadlines_are_told_apart(stage: &Stage<'_>) {
    for (does, least_ms, most_ms) in [
        (RawReply::of("", Then::Hold), CONNECT_MS, FIRST_BYTE_TIMEOUT_MS),
        (RawReply::begun("text/event-stream", FIRST, Then::Hold), IDLE_MS, IDLE_TIMEOUT_MS),
        (RawReply::begun("text/event-stream", "", Then::Hold), FIRST_BYTE_TIMEOUT_MS, ASK_TIMEOUT_MS),
    ] {
        let marker = unique_marker();
        stage.raw.script(&marker, does);
        let tenant = stage.world.tenant("deadline", 1.0).await;
        let started = Instant::now();
        let call = tenant.ask(&json!({"input": marker})).header("x-intelligence-tier", "raw-first");
        call.open().await.expect_stream().await.drain().await;
        let took = started.elapsed();
        assert!(took >= Duration::from_millis(least_ms - 50), "{took:?} is less than {least_ms} ms");
        assert!(took < Duration::from_millis(most_ms), "{took:?} is the next deadline, {most_ms} ms");
        hung_up(stage.raw, &marker).await;
    }
    let overview = stage.world.client().get("/api/admin/providers").admin().send().await.expect(200).json();
    assert_eq!(overview.get("scope"), Some(&json!("isolate")));
    let items = overview.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    let raw =
        items.iter().find(|item| text(item, "provider") == "raw").expect("the further server is listed");
    for code in ["timeout_connect", "timeout_first_token", "timeout_idle", "unreachable", "interrupted"] {
        let count = raw.pointer(&format!("/failures/{code}")).and_then(Value::as_u64);
        assert!(count.is_some_and(|count| count > 0), "{code} is not counted: {raw}");
    }
    assert_eq!(text(raw, "state"), "closed", "without a rule no breaker opens");
}
