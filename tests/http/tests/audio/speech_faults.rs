//! Providers that fail before their first byte or after it, and clients that go away.

use crate::stage::{SPEECH, all_speak, noise, opened, settled, sha256, sound, speak, speech};
use http_tests::client::unique_marker;
use http_tests::poll::eventually;
use http_tests::provider_script::{Behaviour, Ending};
use http_tests::raw_http;
use http_tests::tokens;
use http_tests::vars::TTS_MODELS;
use http_tests::world::{SETTLE_BOUND, Tenant, World, text};
use serde_json::json;
use std::time::{Duration, Instant};

/// The one charged request's `outcome`, once the books are closed.
async fn outcome(tenant: &Tenant) -> String {
    text(&settled(tenant, 1).await[0]["meta"], "outcome").to_owned()
}

#[tokio::test]
async fn whoever_fails_before_a_byte_is_followed_by_the_next() {
    let world = World::verified().await;
    for (name, fault) in [
        ("500", Behaviour::status(500)),
        ("429", Behaviour::busy(429, "1")),
        ("html", Behaviour::html()),
        ("an error in JSON", Behaviour::page(200, "application/json", r#"{"error":{"message":"no"}}"#)),
        ("no bytes", sound("audio/mpeg", &[], 0, Ending::Proper)),
        ("a reset", sound("audio/mpeg", &[], 0, Ending::Broken)),
        ("silence after the headers", sound("audio/mpeg", &[], 0, Ending::Stalled)),
        ("silence", Behaviour::silent()),
        (
            "a redirect",
            Behaviour::Redirect { status: 307, to: format!("{}/audio/speech", world.local.base()) },
        ),
    ] {
        let tenant = world.tenant("speech-fallback", 1.0).await;
        let marker = unique_marker();
        world.openai.script(&marker, [fault]);
        let piece = noise(9, 7_000);
        world.groq.script(&marker, [sound("audio/mpeg", std::slice::from_ref(&piece), 0, Ending::Proper)]);
        let started = Instant::now();
        let reply = speak(&tenant, &speech(&marker, json!({}))).send().await.expect(200);
        assert!(started.elapsed() < Duration::from_secs(5), "{name} took {:?}", started.elapsed());
        assert_eq!(
            (reply.must_header("x-provider"), sha256(&reply.body)),
            ("groq", sha256(&piece)),
            "{name}"
        );
        assert_eq!(world.local.calls(&marker).len(), 0, "{name}: redirects are not followed");
        let rows = settled(&tenant, 1).await;
        assert_eq!(rows[0]["meta"]["attempts"].as_array().map(Vec::len), Some(2), "{name}");
    }
}

#[tokio::test]
async fn when_nobody_answers_nothing_is_charged() {
    let world = World::verified().await;
    let tenant = world.tenant("speech-nobody", 1.0).await;
    for (fault, status, code) in [
        (Behaviour::status(500), 502, "si_ask_failed"),
        (Behaviour::html(), 502, "si_ask_failed"),
        (Behaviour::status(400), 400, "request_refused"),
    ] {
        let marker = unique_marker();
        all_speak(world, &marker, &fault);
        // The binding has no status of its own to tell.
        let body = speech(&marker, json!({"model": TTS_MODELS[0]}));
        speak(&tenant, &body).send().await.expect_error(status, code);
    }
    let balance = tenant.settled_balance().await;
    assert!((balance - 1.0).abs() < 1e-9, "{balance}");
    settled(&tenant, 0).await;
}

/// Reads to the end; whether that was a proper one, and how much came.
async fn drained(mut reply: reqwest::Response) -> (bool, usize) {
    let mut bytes = 0;
    loop {
        match reply.chunk().await {
            Ok(Some(chunk)) => bytes += chunk.len(),
            Ok(None) => return (true, bytes),
            Err(_) => return (false, bytes),
        }
    }
}

#[tokio::test]
async fn one_that_breaks_off_is_seen_to_and_charged_once() {
    let world = World::verified().await;
    for (name, ending) in [("a reset", Ending::Broken), ("silence", Ending::Stalled)] {
        let tenant = world.tenant("speech-broken", 1.0).await;
        let marker = unique_marker();
        let piece = noise(2, 5_000);
        world.openai.script(&marker, [sound("audio/mpeg", &[piece], 0, ending)]);
        let reply = opened(world, &tenant, &speech(&marker, json!({})), None).await;
        assert_eq!(reply.status(), 200);
        assert_eq!(drained(reply).await, (false, 5_000), "{name}: the client must see that it is not whole");
        assert_eq!(outcome(&tenant).await, "interrupted", "{name}");
        assert_eq!(world.calls_anywhere(&marker), 1, "{name}: nobody else is asked after the first byte");
    }
}

#[tokio::test]
async fn speech_without_an_end_is_cut_at_its_limit() {
    // So much takes its time on a busy machine, and it must not be a deadline that ends it.
    let world = &World::private(json!({"ASK_TIMEOUT_MS": "50000"})).await;
    let tenant = world.tenant("speech-endless", 1.0).await;
    let marker = unique_marker();
    world.openai.script(&marker, [sound("audio/mpeg", &vec![noise(4, 1_048_576); 4], 0, Ending::Endless)]);
    let reply = opened(world, &tenant, &speech(&marker, json!({})), None).await;
    let (whole, bytes) = drained(reply).await;
    assert!(!whole && bytes <= 67_108_864 && bytes > 60_000_000, "{whole} {bytes}");
    assert_eq!(outcome(&tenant).await, "interrupted");
    eventually(SETTLE_BOUND, "the provider was told to stop", || async {
        if world.openai.calls(&marker)[0].abandoned() { Ok(()) } else { Err("it goes on") }
    })
    .await;
}

#[tokio::test]
async fn one_that_drips_is_cut_when_its_time_is_over() {
    let world = World::verified().await;
    let tenant = world.tenant("speech-drips", 1.0).await;
    let marker = unique_marker();
    world.openai.script(&marker, [sound("audio/mpeg", &vec![noise(4, 10); 100], 500, Ending::Endless)]);
    let started = Instant::now();
    let reply = opened(world, &tenant, &speech(&marker, json!({})), None).await;
    assert!(!drained(reply).await.0);
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
    assert_eq!(outcome(&tenant).await, "interrupted");
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_call_and_pays_for_what_was_submitted() {
    let world = World::verified().await;
    let tenant = world.tenant("speech-gone", 1.0).await;
    let marker = unique_marker();
    world.openai.script(&marker, [sound("audio/mpeg", &vec![noise(8, 2_000); 200], 50, Ending::Endless)]);
    let input = format!("{marker} {}", "x".repeat(2_000));
    let mut reply = opened(world, &tenant, &speech(&input, json!({})), None).await;
    let used: f64 =
        reply.headers()["x-credits-used"].to_str().ok().and_then(|used| used.parse().ok()).expect("credits");
    reply.chunk().await.expect("bytes").expect("the first piece");
    drop(reply);
    assert_eq!(outcome(&tenant).await, "client_gone");
    let cost = tenant.usage().await[0]["cost_credits"].as_f64();
    assert_eq!(cost, Some(used));
    assert!(used > 0.02, "{used}");
    eventually(SETTLE_BOUND, "the provider was told to stop", || async {
        if world.openai.calls(&marker)[0].abandoned() { Ok(()) } else { Err("it goes on") }
    })
    .await;
}

#[tokio::test]
async fn a_client_that_goes_away_before_the_first_byte_pays_nothing() {
    let world = World::verified().await;
    let tenant = world.tenant("speech-early", 1.0).await;
    let marker = unique_marker();
    all_speak(world, &marker, &Behaviour::silent());
    let body = speech(&marker, json!({})).to_string();
    let token = tokens::user_token(&tenant.email);
    let extra = format!(
        "Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
        body.len()
    );
    let called = async {
        eventually(SETTLE_BOUND, "the provider was asked", || async {
            if world.calls_anywhere(&marker) > 0 { Ok(()) } else { Err("not yet") }
        })
        .await;
    };
    raw_http::leave(world.client().target(), SPEECH, &extra, body.as_bytes(), called).await;
    settled(&tenant, 0).await;
    assert_eq!(world.calls_anywhere(&marker), 1, "nobody else is asked for a client that left");
    assert!((tenant.balance().await - 1.0).abs() < 1e-9);
}
