//! The scripted provider does what it is told: without that, no other test means anything.

use futures::StreamExt;
use http_tests::client::unique_marker;
use http_tests::poll::eventually;
use http_tests::provider::{PLAIN_TEXT, Provider};
use http_tests::provider_script::{Behaviour, Completion, Ending, Usage};
use reqwest::{Client, Response, redirect};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(5);

fn http() -> Client {
    let builder = Client::builder().redirect(redirect::Policy::none());
    builder.build().expect("an HTTP client")
}

async fn ask(provider: &Provider, marker: &str, stream: bool) -> Response {
    let body = json!({
        "model": "any",
        "stream": stream,
        "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": format!("{marker} hello")}],
    });
    http()
        .post(format!("{}/chat/completions", provider.base()))
        .header("authorization", "Bearer test")
        .json(&body)
        .send()
        .await
        .expect("the provider replies")
}

#[tokio::test]
async fn an_unscripted_request_is_answered_with_usage() {
    let provider = Provider::start().await;
    let marker = unique_marker();
    let reply: Value = ask(&provider, &marker, false).await.json().await.expect("JSON");
    assert_eq!(reply.pointer("/choices/0/message/content"), Some(&json!(PLAIN_TEXT)));
    assert_eq!(reply.pointer("/usage/completion_tokens"), Some(&json!(192)));
    let calls = provider.calls(&marker);
    assert_eq!(calls.len(), 1);
    assert_eq!(calls.first().and_then(|call| call.header("authorization")), Some("Bearer test"));
    assert!(calls.iter().all(|call| call.finished() && !call.abandoned()));
}

#[tokio::test]
async fn behaviours_are_used_in_order_and_the_last_one_stays() {
    let provider = Provider::start().await;
    let marker = unique_marker();
    let script = [Behaviour::status(500), Behaviour::html(), Behaviour::status(429)];
    provider.script(&marker, script);
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(ask(&provider, &marker, false).await.status().as_u16());
    }
    assert_eq!(seen, [500, 200, 429, 429]);
}

#[tokio::test]
async fn a_marker_does_not_touch_another() {
    let provider = Provider::start().await;
    let (one, other) = (unique_marker(), unique_marker());
    provider.script(&one, [Behaviour::status(401)]);
    assert_eq!(ask(&provider, &one, false).await.status(), 401);
    assert_eq!(ask(&provider, &other, false).await.status(), 200);
    assert_eq!(provider.calls(&one).len(), 1);
    assert_eq!(provider.all_calls().len(), 2);
}

#[tokio::test]
async fn a_stream_comes_piece_by_piece_with_usage_at_its_end() {
    let provider = Provider::start().await;
    let marker = unique_marker();
    let completion = Completion::numbered(3, Duration::from_millis(80)).usage(Usage::new(5, 3));
    provider.script(&marker, [Behaviour::Complete(completion)]);
    let started = Instant::now();
    let mut body = ask(&provider, &marker, true).await.bytes_stream();
    let first = body.next().await.expect("a piece").expect("bytes");
    let first_after = started.elapsed();
    let mut text = String::from_utf8_lossy(&first).into_owned();
    while let Some(piece) = body.next().await {
        text.push_str(&String::from_utf8_lossy(&piece.expect("bytes")));
    }
    assert!(started.elapsed() >= Duration::from_millis(160), "gaps are kept");
    assert!(first_after < Duration::from_millis(80), "the first piece does not wait");
    assert!(text.contains("w0 ") && text.contains("w2 "));
    assert!(text.contains(r#""completion_tokens":3"#));
    assert!(text.ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn a_broken_stream_is_an_error_for_its_reader() {
    let provider = Provider::start().await;
    let marker = unique_marker();
    let completion = Completion::numbered(2, Duration::ZERO).ending(Ending::Broken);
    provider.script(&marker, [Behaviour::Complete(completion)]);
    for stream in [true, false] {
        let read = ask(&provider, &marker, stream).await.bytes().await;
        assert!(read.is_err(), "stream={stream}: {read:?}");
    }
    assert!(provider.calls(&marker).iter().all(|call| !call.abandoned()));
}

#[tokio::test]
async fn a_caller_that_hangs_up_is_noticed() {
    let gap = Duration::from_millis(20);
    let endless = Completion::numbered(2, gap).ending(Ending::Endless);
    let stalled = Completion::numbered(2, gap).ending(Ending::Stalled);
    for completion in [endless, stalled] {
        let provider = Provider::start().await;
        let marker = unique_marker();
        provider.script(&marker, [Behaviour::Complete(completion)]);
        let mut body = ask(&provider, &marker, true).await.bytes_stream();
        body.next().await.expect("a piece").expect("bytes");
        drop(body);
        abandoned(&provider, &marker).await;
    }
}

#[tokio::test]
async fn a_caller_that_hangs_up_before_the_first_byte_is_noticed() {
    let provider = Provider::start().await;
    let marker = unique_marker();
    provider.script(&marker, [Behaviour::silent()]);
    let waiting = tokio::time::timeout(Duration::from_millis(200), ask(&provider, &marker, false));
    assert!(waiting.await.is_err(), "a silent provider says nothing");
    abandoned(&provider, &marker).await;
}

async fn abandoned(provider: &Provider, marker: &str) {
    eventually(BOUND, "the provider notices the hang-up", || async {
        let calls = provider.calls(marker);
        if calls.iter().any(|call| call.abandoned()) { Ok(()) } else { Err(calls) }
    })
    .await;
}

#[tokio::test]
async fn the_odd_replies_are_odd() {
    let provider = Provider::start().await;
    let marker = unique_marker();
    let to = "http://127.0.0.1:9/elsewhere".to_owned();
    provider.script(
        &marker,
        [
            Behaviour::truncated_json(),
            Behaviour::Redirect { status: 302, to: to.clone() },
            Behaviour::Giant { body_bytes: 1_000_000 },
            Behaviour::Dripping { gap: Duration::from_millis(1) },
        ],
    );
    let truncated = ask(&provider, &marker, false).await.text().await.expect("a body");
    assert!(serde_json::from_str::<Value>(&truncated).is_err());
    let redirect = ask(&provider, &marker, false).await;
    assert_eq!(redirect.status(), 302);
    assert_eq!(redirect.headers().get("location").and_then(|at| at.to_str().ok()), Some(&*to));
    let giant = ask(&provider, &marker, false).await.bytes().await.expect("a body");
    assert!(giant.len() > 900_000);
    let dripping: Value = ask(&provider, &marker, false).await.json().await.expect("JSON");
    assert_eq!(dripping.pointer("/model"), Some(&json!("any")));
}
