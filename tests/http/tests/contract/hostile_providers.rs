//! Providers that mean harm: header tricks, giant bodies, drips, streams without an end.

use http_tests::client::unique_marker;
use http_tests::poll::eventually;
use http_tests::provider_script::{Behaviour, Completion, Ending};
use http_tests::vars::{ASK_TIMEOUT_MS, FIRST_BYTE_TIMEOUT_MS};
use http_tests::world::{World, assert_credits};
use serde_json::json;
use std::time::{Duration, Instant};

const MIB: u64 = 1024 * 1024;
/// What the machine's sockets may swallow beyond what the Worker reads.
const SOCKET_SLACK_BYTES: u64 = 16 * MIB;
/// How long after a deadline the reply may come on a busy machine.
const LATENESS: Duration = Duration::from_secs(3);

const ODD_MODELS: [&str; 5] =
    ["m\r\nX-Injected: yes", "m\nSet-Cookie: a=b", "m\r\n\r\n<html>", "m\u{0}\u{202e}é", ""];

#[tokio::test]
async fn a_model_name_cannot_write_headers() {
    let world = World::verified().await;
    let tenant = world.tenant("crlf", 1.0).await;
    for model in ODD_MODELS {
        for stream in [false, true] {
            let marker = unique_marker();
            let answer = Completion::of(&["fine"]).model(model);
            world.groq.script(&marker, [Behaviour::Complete(answer)]);
            let call = tenant.ask(&json!({"input": marker}));
            let headers = if stream {
                let stream = call.open().await.expect_stream().await;
                let headers = stream.headers.clone();
                assert_eq!(stream.drain().await.text(), "fine");
                headers
            } else {
                call.send().await.expect(200).headers
            };
            for injected in ["x-injected", "set-cookie"] {
                assert!(headers.get(injected).is_none(), "{model:?} wrote {injected}");
            }
            let told = headers.get("x-model").map(|value| value.as_bytes().to_vec()).unwrap_or_default();
            let clean = !told.is_empty() && told.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
            assert!(clean, "{model:?} became {:?}", String::from_utf8_lossy(&told));
        }
    }
}

#[tokio::test]
async fn a_giant_body_is_cut_and_left_for_the_next() {
    let world = World::verified().await;
    let tenant = world.tenant("giant", 1.0).await;
    for stream in [false, true] {
        let marker = unique_marker();
        let body_bytes = 256 * MIB;
        world.groq.script(&marker, [Behaviour::Giant { body_bytes }]);
        let call = tenant.ask(&json!({"input": marker}));
        if stream {
            let stream = call.open().await.expect_stream().await;
            assert_eq!(stream.header("x-provider"), Some("cfai"));
            stream.drain().await;
        } else {
            assert_eq!(call.send().await.expect(200).must_header("x-provider"), "cfai");
        }
        let sent = eventually(Duration::from_secs(5), "the giant is cancelled", || async {
            let call = world.groq.calls(&marker).remove(0);
            if call.abandoned() { Ok(call.bytes_sent()) } else { Err(call.bytes_sent()) }
        })
        .await;
        assert!(sent < SOCKET_SLACK_BYTES, "{sent} bytes were read");
    }
    assert_credits(tenant.settled_balance().await, 1.0 - 0.024, "two plain answers");
}

/// A single event without an end, and an answer of many small ones: both are cut.
#[tokio::test]
async fn a_giant_stream_is_cut_and_settled() {
    let world = World::verified().await;
    let tenant = world.tenant("giant-stream", 100.0).await;
    let marker = unique_marker();
    let piece = "many words in one piece ".repeat(400);
    let flood = Completion::of(&[&piece]).ending(Ending::Endless);
    world.groq.script(&marker, [Behaviour::Complete(flood)]);
    let stream = tenant.ask(&json!({"input": marker})).open().await.expect_stream().await;
    let transcript = stream.drain().await;
    assert!(transcript.event("error").is_some(), "the stream ends with its error");
    assert!(transcript.text().len() < 64 * 1024 * 1024, "{} bytes", transcript.text().len());
    tenant.settled_balance().await;
    assert_eq!(tenant.usage_of(1).await.len(), 1);
    eventually(Duration::from_secs(5), "the flood is cancelled", || async {
        let call = world.groq.calls(&marker).remove(0);
        if call.abandoned() { Ok(()) } else { Err(call.bytes_sent()) }
    })
    .await;
}

#[tokio::test]
async fn one_byte_a_second_does_not_outlive_the_deadline() {
    let world = World::verified().await;
    let tenant = world.tenant("drip", 1.0).await;
    let marker = unique_marker();
    let gap = Duration::from_secs(1);
    world.groq.script(&marker, [Behaviour::Dripping { gap }]);
    let started = Instant::now();
    let reply = tenant.ask(&json!({"input": marker})).send().await;
    let waited = started.elapsed();
    assert!(waited < Duration::from_millis(ASK_TIMEOUT_MS) + LATENESS, "{waited:?}");
    let charged = match reply.status {
        200 => 0.012,
        502 => 0.0,
        _ => panic!("{reply:?}"),
    };
    assert_credits(tenant.settled_balance().await, 1.0 - charged, "another provider's answer or nothing");
}

/// Every piece comes in time and the whole never ends.
#[tokio::test]
async fn an_endless_stream_ends_with_the_asks_deadline() {
    let world = World::verified().await;
    let tenant = world.tenant("endless", 10.0).await;
    let marker = unique_marker();
    let endless = Completion::numbered(50, Duration::from_millis(100)).ending(Ending::Endless);
    world.groq.script(&marker, [Behaviour::Complete(endless)]);
    let started = Instant::now();
    let input = format!("{marker} {}", "and on ".repeat(2_000));
    let stream = tenant.ask(&json!({"input": input})).open().await.expect_stream().await;
    let transcript = stream.drain().await;
    let lasted = started.elapsed();
    assert!(lasted < Duration::from_millis(ASK_TIMEOUT_MS) + LATENESS, "{lasted:?}");
    assert!(lasted > Duration::from_millis(FIRST_BYTE_TIMEOUT_MS), "cut too early: {lasted:?}");
    assert!(transcript.event("error").is_some(), "{transcript:?}");
    let balance = tenant.settled_balance().await;
    assert!(balance < 10.0, "what was delivered is charged");
}
