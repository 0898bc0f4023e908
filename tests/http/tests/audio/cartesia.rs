//! Cartesia among those that speak and hear, and the route that is its own.

use crate::stage::{recording, settled, speak, speech, transcribe};
use http_tests::cartesia::script::{Play, Trouble};
use http_tests::cartesia::sound::sound_of;
use http_tests::client::unique_marker;
use http_tests::world::{Tenant, World, assert_credits, number, text};
use serde_json::{Value, json};
use std::time::Duration;

const BATCH: &str = "/api/tts/cartesia/batch";
const VOICE: &str = "6ccbfb76-1fc6-48f7-b71d-91ac6298247b";

/// A world in which Cartesia is asked before all others.
async fn first() -> World {
    World::private(json!({
        "TTS_PROVIDERS": "cartesia=sonic-3,openai=tts-1",
        "STT_PROVIDERS": "cartesia=ink-whisper,openai=whisper-1",
        "MODEL_PRICES": json!({
            "sonic-3": {"per_1k_characters": 0.5}, "ink-whisper": {"per_minute": 0.6},
        }).to_string(),
    }))
    .await
}

fn batch(tenant: &Tenant, body: &Value) -> http_tests::client::Call {
    tenant.post(BATCH).json(body)
}

#[tokio::test]
async fn cartesia_speaks_and_hears_in_its_place() {
    let world = &first().await;
    whole(world).await;
    formats(world).await;
    faults(world).await;
    what_it_cannot(world).await;
    heard(world).await;
    batches(world).await;
    assert_eq!(world.cartesia.ledger().refusals(), Vec::<String>::new());
}

async fn whole(world: &World) {
    let tenant = world.tenant("cartesia", 1.0).await;
    let marker = unique_marker();
    let input = format!("{marker} Grüße, 世界!");
    let body = speech(&input, json!({"response_format": "pcm", "speed": 1.25, "voice": VOICE}));
    let reply = speak(&tenant, &body).send().await.expect(200);
    assert_eq!(reply.body, sound_of(&input, 24_000));
    let told = |name: &str| reply.must_header(name).to_owned();
    assert_eq!(
        [told("content-type"), told("x-provider"), told("x-model")],
        ["audio/pcm", "cartesia", "sonic-3"].map(str::to_owned)
    );
    let entries = world.cartesia.ledger().with(&marker);
    assert_eq!(entries.len(), 1);
    let characters = input.chars().count() as u64;
    assert_eq!((entries[0].path, entries[0].characters), ("/tts/bytes", characters));
    assert_eq!(entries[0].voice.as_deref(), Some(VOICE));
    let rows = settled(&tenant, 1).await;
    assert_eq!(rows[0]["meta"]["units"], json!({"characters": characters, "tokens_in": 0, "tokens_out": 0}));
    let credits = (characters as f64 * 0.5).round() / 1_000.0;
    assert_credits(number(&rows[0], "cost_credits"), credits, "by characters");
}

async fn formats(world: &World) {
    let tenant = world.tenant("cartesia-formats", 1.0).await;
    for (format, media, begins) in [("mp3", "audio/mpeg", "ID3"), ("wav", "audio/wav", "RIFF")] {
        let marker = unique_marker();
        let reply =
            speak(&tenant, &speech(&marker, json!({"response_format": format}))).send().await.expect(200);
        assert_eq!((reply.must_header("content-type"), reply.must_header("x-provider")), (media, "cartesia"));
        assert!(reply.body.starts_with(begins.as_bytes()), "{format}");
        // OpenAI's names are none of its voices.
        let voice = world.cartesia.ledger().with(&marker).remove(0).voice;
        assert_eq!(voice.as_deref(), Some("a0e99841-438c-4a64-b679-ae501e7d6091"));
    }
}

async fn faults(world: &World) {
    for (trouble, why) in [
        (Trouble::Error(500), "http_500"),
        (Trouble::Error(429), "http_429"),
        (Trouble::Malformed, "bad_content_type"),
        (Trouble::Reset, "unreachable"),
        (Trouble::Silence, "timeout_first_token"),
    ] {
        let tenant = world.tenant("cartesia-faults", 1.0).await;
        let marker = unique_marker();
        world.cartesia.script(&marker, [Play::trouble(0, trouble)]);
        let reply = speak(&tenant, &speech(&marker, json!({}))).send().await.expect(200);
        assert_eq!(reply.must_header("x-provider"), "openai", "{why}");
        let rows = settled(&tenant, 1).await;
        assert_eq!(text(&rows[0]["meta"]["attempts"][0], "outcome"), why);
    }
    let tenant = world.tenant("cartesia-broken", 1.0).await;
    let marker = unique_marker();
    world.cartesia.script(
        &marker,
        [Play { trouble: Some((2, Trouble::Reset)), ..Play::paced(Duration::from_millis(50)) }],
    );
    let broken =
        crate::stage::opened(world, &tenant, &speech(&marker, json!({"response_format": "pcm"})), None).await;
    assert_eq!(broken.headers()["x-provider"], "cartesia");
    broken.bytes().await.expect_err("a sound that breaks off is not taken for whole");
    let rows = settled(&tenant, 1).await;
    assert_eq!(text(&rows[0]["meta"], "outcome"), "interrupted");
    assert_eq!(world.openai.calls(&marker).len(), 0, "who has begun is charged, and nobody else asked");
}

/// Its part of the list is passed over, and where it is the whole list the client is told.
async fn what_it_cannot(world: &World) {
    let tenant = world.tenant("cartesia-cannot", 1.0).await;
    for more in [json!({"response_format": "opus"}), json!({"speed": 2.0}), json!({"stream_format": "sse"})] {
        let marker = unique_marker();
        let mut body = speech(&marker, more);
        if body.get("stream_format").is_some() {
            world.openai.script(
                &marker,
                [crate::stage::sound(
                    "text/event-stream",
                    &["data: x\n\n".into()],
                    0,
                    http_tests::provider_script::Ending::Proper,
                )],
            );
        }
        let reply = speak(&tenant, &body).send().await.expect(200);
        assert_eq!(reply.must_header("x-provider"), "openai", "{body}");
        assert!(world.cartesia.ledger().with(&marker).is_empty());
        body["model"] = json!("sonic-3");
        speak(&tenant, &body).send().await.expect_error(400, "invalid_field");
    }
}

async fn heard(world: &World) {
    let tenant = world.tenant("cartesia-hears", 1.0).await;
    let said = format!("{} What is the time?", unique_marker());
    let wav = wav_of(&said);
    let reply = transcribe(&tenant, "x", &[("language", "en")], recording(&wav)).send().await.expect(200);
    assert_eq!(text(&reply.json(), "text"), said);
    let reply =
        transcribe(&tenant, "x", &[("response_format", "srt")], recording(&wav)).send().await.expect(200);
    assert!(String::from_utf8_lossy(&reply.body).contains("00:00:00,000 -->"), "{reply:?}");
    let entries = world.cartesia.ledger().with(&said);
    assert_eq!(entries.iter().map(|entry| entry.path).collect::<Vec<_>>(), ["/stt", "/stt"]);
    assert_eq!(entries[0].language.as_deref(), Some("en"));
    let rows = settled(&tenant, 2).await;
    let ms = said.chars().count() as u64 * 40;
    for row in &rows {
        assert_eq!(text(&row["meta"], "basis"), "reported");
        assert_eq!(row["meta"]["units"]["milliseconds"], json!(ms));
    }
    let marker = unique_marker();
    world.cartesia.script(&marker, [Play::trouble(0, Trouble::Error(503))]);
    let wav = wav_of(&format!("{marker} again"));
    transcribe(&tenant, "x", &[], recording(&wav)).send().await.expect(200);
    let attempts = &settled(&tenant, 3).await[0]["meta"]["attempts"];
    assert_eq!((text(&attempts[0], "outcome"), text(&attempts[1], "provider")), ("http_503", "openai"));
}

fn wav_of(said: &str) -> Vec<u8> {
    let sound = sound_of(said, 16_000);
    // The harness makes silent ones of 16,000 samples a second; its head is that of ours too.
    let mut wav = http_tests::recording::wav(u32::try_from(sound.len() / 32).expect("short"));
    let head = wav.len() - sound.len();
    wav[head..].copy_from_slice(&sound);
    wav
}

async fn batches(world: &World) {
    let tenant = world.tenant("cartesia-batch", 1.0).await;
    let marker = unique_marker();
    let reply =
        batch(&tenant, &json!({"text": marker, "voice": VOICE, "format": "pcm"})).send().await.expect(200);
    assert_eq!(reply.body, sound_of(&marker, 24_000));
    assert_eq!(
        (reply.must_header("x-provider"), reply.must_header("content-type")),
        ("cartesia", "audio/pcm")
    );
    let rows = settled(&tenant, 1).await;
    assert_eq!(text(&rows[0], "route"), BATCH);
    assert_eq!(rows[0]["meta"]["units"]["characters"], json!(marker.len()));
    let reply = batch(&tenant, &json!({"text": marker})).send().await.expect(200);
    assert_eq!(reply.must_header("content-type"), "audio/mpeg");
    batch(&tenant, &json!({"voice": VOICE})).send().await.expect_error(400, "missing_text");
    batch(&tenant, &json!({"text": " "})).send().await.expect_error(400, "missing_text");
    batch(&tenant, &json!({"text": "Hi", "format": "opus"})).send().await.expect_error(400, "invalid_field");
    // Nobody else speaks in its place, and nothing is charged.
    let failing = unique_marker();
    world.cartesia.script(&failing, [Play::trouble(0, Trouble::Error(500))]);
    batch(&tenant, &json!({"text": failing})).send().await.expect_error(502, "si_ask_failed");
    assert_eq!(world.calls_anywhere(&failing), 0);
    settled(&tenant, 2).await;
    let poor = world.tenant("cartesia-poor", 0.0).await;
    batch(&poor, &json!({"text": marker})).send().await.expect_error(402, "insufficient_credits");
}

#[tokio::test]
async fn the_key_alone_lets_cartesia_speak_where_it_is_named() {
    let world = World::verified().await;
    let tenant = world.tenant("cartesia-usual", 1.0).await;
    let marker = unique_marker();
    let reply = batch(&tenant, &json!({"text": marker})).send().await.expect(200);
    assert_eq!((reply.must_header("x-provider"), reply.must_header("x-model")), ("cartesia", "sonic-3"));
    let other = unique_marker();
    speak(&tenant, &speech(&other, json!({}))).send().await.expect(200);
    assert!(world.cartesia.ledger().with(&other).is_empty(), "the list of who speaks does not name it");
}

#[tokio::test]
async fn without_a_key_there_is_no_cartesia() {
    let world = &World::private(json!({"CARTESIA_API_KEY": null})).await;
    let tenant = world.tenant("cartesia-none", 1.0).await;
    batch(&tenant, &json!({"text": "Hi"})).send().await.expect_error(501, "cartesia_unconfigured");
}
