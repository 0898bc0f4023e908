//! Providers that fail at a recording, and clients that go away or cannot pay.

use crate::stage::{TRANSCRIPTIONS, form, mp3, recording, settled, transcribe, wav};
use http_tests::client::unique_marker;
use http_tests::poll::eventually;
use http_tests::provider_script::Behaviour;
use http_tests::raw_http;
use http_tests::tokens;
use http_tests::vars::STT_MODELS;
use http_tests::world::{SETTLE_BOUND, World};
use std::time::{Duration, Instant};

#[tokio::test]
async fn whoever_fails_is_followed_by_the_next() {
    let world = World::verified().await;
    let file = wav(500);
    for (name, fault) in [
        ("500", Behaviour::status(500)),
        ("html", Behaviour::html()),
        ("half a JSON", Behaviour::page(200, "application/json", r#"{"text":"hal"#)),
        ("no text", Behaviour::page(200, "application/json", r#"{"words":[]}"#)),
        ("an error", Behaviour::page(200, "application/json", r#"{"text":"","error":{"message":"no"}}"#)),
        ("another type", Behaviour::page(200, "text/plain", "words")),
        ("a giant", Behaviour::Giant { body_bytes: 50_000_000 }),
        ("byte by byte", Behaviour::Dripping { gap: Duration::from_millis(300) }),
        ("silence", Behaviour::silent()),
        (
            "a redirect",
            Behaviour::Redirect { status: 308, to: format!("{}/audio/transcriptions", world.local.base()) },
        ),
    ] {
        let tenant = world.tenant("hear-fallback", 1.0).await;
        let marker = unique_marker();
        world.openai.script(&marker, [fault]);
        let started = Instant::now();
        let reply = transcribe(&tenant, &marker, &[], recording(&file)).send().await.expect(200);
        assert_eq!(reply.must_header("x-provider"), "groq", "{name}");
        assert!(started.elapsed() < Duration::from_secs(5), "{name} took {:?}", started.elapsed());
        assert_eq!(world.local.calls(&marker).len(), 0, "{name}: redirects are not followed");
        let rows = settled(&tenant, 1).await;
        assert_eq!(rows[0]["meta"]["attempts"].as_array().map(Vec::len), Some(2), "{name}");
    }
}

#[tokio::test]
async fn when_nobody_answers_nothing_is_charged() {
    let world = World::verified().await;
    let tenant = world.tenant("hear-nobody", 1.0).await;
    let file = wav(500);
    for (fault, status, code) in
        [(Behaviour::status(500), 502, "si_ask_failed"), (Behaviour::status(400), 400, "request_refused")]
    {
        let marker = unique_marker();
        world.openai.script(&marker, [fault]);
        let fields = [("model", STT_MODELS[0])];
        transcribe(&tenant, &marker, &fields, recording(&file)).send().await.expect_error(status, code);
    }
    assert!((tenant.settled_balance().await - 1.0).abs() < 1e-9);
    settled(&tenant, 0).await;
}

#[tokio::test]
async fn what_cannot_be_paid_reaches_no_provider() {
    let world = World::verified().await;
    let poor = world.tenant("hear-poor", 0.01).await;
    let marker = unique_marker();
    // Three minutes of WAV; and an MP3 of which nobody knows how long it is, but that it may be too long.
    let (exact, unknown) = (wav(180_000), mp3(1_000_000));
    for file in [recording(&exact), ("a.mp3", "audio/mpeg", &unknown[..])] {
        transcribe(&poor, &marker, &[], file).send().await.expect_error(402, "insufficient_credits");
    }
    assert_eq!(world.calls_anywhere(&marker), 0);
    settled(&poor, 0).await;
}

#[tokio::test]
async fn a_client_that_goes_away_pays_nothing_unless_it_can_come_back() {
    let world = World::verified().await;
    let file = wav(60_000);
    for key in [None, Some("back")] {
        let tenant = world.tenant("hear-gone", 1.0).await;
        let marker = unique_marker();
        let slow = Behaviour::late(Duration::from_millis(1_500), Behaviour::transcript());
        world.openai.script(&marker, [slow]);
        let fields = [("model", STT_MODELS[0]), ("prompt", marker.as_str())];
        let (content_type, body) = form(&fields, &[("file", recording(&file))]);
        let key_line = key.map(|key| format!("Idempotency-Key: {key}\r\n")).unwrap_or_default();
        let token = tokens::user_token(&tenant.email);
        let extra = format!(
            "Authorization: Bearer {token}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{key_line}",
            body.len()
        );
        let called = async {
            eventually(SETTLE_BOUND, "the provider was asked", || async {
                if world.calls_anywhere(&marker) > 0 { Ok(()) } else { Err("not yet") }
            })
            .await;
        };
        raw_http::leave(world.client().target(), TRANSCRIPTIONS, &extra, &body, called).await;
        let Some(key) = key else {
            settled(&tenant, 0).await;
            continue;
        };
        let again = transcribe(&tenant, &marker, &[("model", STT_MODELS[0])], recording(&file));
        again.idempotency_key(key).send().await.expect(200);
        assert_eq!(world.calls_anywhere(&marker), 1);
        settled(&tenant, 1).await;
    }
}
