//! What is spoken: forms, formats, who is asked, and what it costs.

use crate::stage::{SPEECH, first_tts, noise, opened, settled, sha256, sound, speak, speech};
use http_tests::client::unique_marker;
use http_tests::provider_script::Ending;
use http_tests::vars::TTS_MODELS;
use http_tests::world::{World, assert_credits, number, text};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn text_becomes_sound_and_its_characters_are_charged() {
    let world = World::verified().await;
    let tenant = world.tenant("speech", 1.0).await;
    let marker = unique_marker();
    let pieces: Vec<_> = (0..20).map(|n| noise(n, 40_000)).collect();
    world.openai.script(&marker, [sound("audio/mpeg", &pieces, 2, Ending::Proper)]);
    // Scalar values, not bytes and not what looks like one character.
    let input = format!("{marker} {}", "ü👋🏽".repeat(300));
    let characters = input.chars().count();
    let body =
        speech(&input, json!({"response_format": "mp3", "speed": 1.25, "instructions": "warmly", "seed": 7}));
    let reply = speak(&tenant, &body).send().await.expect(200);
    assert_eq!(sha256(&reply.body), sha256(&pieces.concat()));
    let told = |name: &str| reply.must_header(name).to_owned();
    assert_eq!((told("content-type"), told("cache-control")), ("audio/mpeg".into(), "no-store".into()));
    assert_eq!((told("x-provider"), told("x-model")), ("openai".into(), first_tts().into()));
    // A quarter of the characters, as tokens at 0.05 for a thousand.
    let tokens = (characters + "warmly".len()).div_ceil(4);
    #[allow(clippy::cast_precision_loss)]
    let credits = (tokens as f64 * 0.05).round() / 1_000.0;
    assert_eq!(
        (told("x-credits-used"), told("x-credits-balance")),
        (format!("{credits:.3}"), format!("{:.3}", 1.0 - credits))
    );
    reply.must_header("ratelimit");
    let call = world.openai.calls(&marker).remove(0);
    let mut expected = body;
    expected["model"] = json!(first_tts());
    assert_eq!((call.path.as_str(), call.json()), (SPEECH, expected));
    let rows = settled(&tenant, 1).await;
    let (row, meta) = (&rows[0], &rows[0]["meta"]);
    assert_credits(number(row, "cost_credits"), credits, "by characters");
    assert_eq!(
        (text(row, "route"), text(meta, "basis"), text(meta, "outcome")),
        (SPEECH, "counted", "complete")
    );
    assert_eq!(meta["units"], json!({"characters": characters + 6, "tokens_in": tokens, "tokens_out": 0}));
    assert_credits(tenant.balance().await, 1.0 - credits, "charged once");
}

#[tokio::test]
async fn every_format_has_its_type_and_the_provider_s_own_word_goes_first() {
    let world = World::verified().await;
    let tenant = world.tenant("speech-formats", 1.0).await;
    for (format, says, media) in [
        ("mp3", "application/octet-stream", "audio/mpeg"),
        ("opus", "audio/opus", "audio/ogg"),
        ("aac", "audio/aac", "audio/aac"),
        ("flac", "audio/x-flac", "audio/flac"),
        ("wav", "audio/x-wav", "audio/wav"),
        ("pcm", "application/octet-stream", "audio/pcm"),
        ("mp3", "audio/wav", "audio/wav"),
    ] {
        let marker = unique_marker();
        world.openai.script(&marker, [sound(says, &[noise(1, 500)], 0, Ending::Proper)]);
        let body = speech(&marker, json!({"response_format": format}));
        let reply = speak(&tenant, &body).send().await.expect(200);
        assert_eq!((reply.must_header("content-type"), reply.body.len()), (media, 500), "{format} {says}");
    }
}

#[tokio::test]
async fn the_first_bytes_are_there_before_the_last_are_made() {
    let world = World::verified().await;
    let tenant = world.tenant("speech-streams", 1.0).await;
    let marker = unique_marker();
    let pieces: Vec<_> = (0..4).map(|n| noise(n, 1_000)).collect();
    world.openai.script(&marker, [sound("audio/mpeg", &pieces, 400, Ending::Proper)]);
    let mut reply = opened(world, &tenant, &speech(&marker, json!({})), None).await;
    let first = reply.chunk().await.expect("bytes").expect("the first piece");
    assert_eq!(sha256(&first), sha256(&pieces[0]));
    assert!(!world.openai.calls(&marker)[0].finished(), "the first piece waited for the last");
    let mut all = first.to_vec();
    while let Some(more) = reply.chunk().await.expect("bytes") {
        all.extend_from_slice(&more);
    }
    assert_eq!(sha256(&all), sha256(&pieces.concat()));
    settled(&tenant, 1).await;
}

#[tokio::test]
async fn a_slow_client_slows_its_provider() {
    // So much takes its time on a busy machine.
    let world = &World::private(json!({"ASK_TIMEOUT_MS": "50000"})).await;
    let tenant = world.tenant("speech-slow", 1.0).await;
    let marker = unique_marker();
    let pieces = vec![noise(3, 262_144); 128];
    world.openai.script(&marker, [sound("audio/mpeg", &pieces, 0, Ending::Proper)]);
    let mut reply = opened(world, &tenant, &speech(&marker, json!({})), None).await;
    reply.chunk().await.expect("bytes").expect("the first piece");
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    let sent = world.openai.calls(&marker)[0].bytes_sent();
    assert!(
        sent < 16_000_000,
        "{sent} of 33 million bytes were taken from the provider for a client that took none"
    );
    let mut left = 0;
    while let Some(more) = reply.chunk().await.expect("bytes") {
        left += more.len();
    }
    assert!(left > 30_000_000, "{left}");
    settled(&tenant, 1).await;
}

#[tokio::test]
async fn the_binding_speaks_too() {
    let world = World::verified().await;
    let tenant = world.tenant("speech-binding", 1.0).await;
    let marker = unique_marker();
    let pieces = [noise(5, 3_000), noise(6, 3_000)];
    world.workers_ai.script(&marker, [sound("audio/wav", &pieces, 5, Ending::Proper)]);
    let body =
        speech(&marker, json!({"model": TTS_MODELS[2], "voice": {"id": "luna"}, "response_format": "wav"}));
    let reply = speak(&tenant, &body).send().await.expect(200);
    assert_eq!(sha256(&reply.body), sha256(&pieces.concat()));
    assert_eq!((reply.must_header("x-provider"), reply.must_header("content-type")), ("cfai", "audio/wav"));
    let asked = world.workers_ai.calls(&marker).remove(0).json();
    assert_eq!(asked, json!({"input": marker, "voice": "luna", "response_format": "wav"}));
    // A voice of OpenAI's is the usual one there.
    let body = speech(&marker, json!({"model": TTS_MODELS[2]}));
    speak(&tenant, &body).send().await.expect(200);
    assert_eq!(world.workers_ai.calls(&marker)[1].json()["voice"], "angus");
    // What it cannot do is said, where nobody else is asked.
    for (more, param) in [(json!({"speed": 2}), "speed"), (json!({"stream_format": "sse"}), "stream_format")]
    {
        let mut body = speech(&marker, more);
        body["model"] = json!(TTS_MODELS[2]);
        let error = speak(&tenant, &body).send().await.expect_error(400, "invalid_field").json();
        assert_eq!(error["error"]["param"], param);
    }
    settled(&tenant, 2).await;
}

#[tokio::test]
async fn events_are_passed_on_where_the_provider_sends_them() {
    let world = World::verified().await;
    let tenant = world.tenant("speech-events", 1.0).await;
    let marker = unique_marker();
    let events = "data: {\"type\":\"speech.audio.delta\",\"audio\":\"AAAA\"}\n\ndata: {\"type\":\"speech.audio.done\"}\n\n";
    world.openai.script(&marker, [sound("text/event-stream", &[events.into()], 0, Ending::Proper)]);
    let body = speech(&marker, json!({"stream_format": "sse"}));
    let reply = speak(&tenant, &body).send().await.expect(200);
    assert_eq!(
        (reply.text().as_str(), reply.must_header("content-type")),
        (events, "text/event-stream; charset=utf-8")
    );
    // One that sends sound all the same does not do it: the next one is asked.
    let marker = unique_marker();
    world.groq.script(&marker, [sound("text/event-stream", &[events.into()], 0, Ending::Proper)]);
    let reply = speak(&tenant, &speech(&marker, json!({"stream_format": "sse"}))).send().await.expect(200);
    assert_eq!(reply.must_header("x-provider"), "groq");
    settled(&tenant, 2).await;
}

#[tokio::test]
async fn prices_of_every_kind_have_their_unit() {
    let prices = json!({
        TTS_MODELS[0]: {"per_1k_characters": 0.3}, TTS_MODELS[1]: {"per_minute": 0.6}, TTS_MODELS[2]: 0,
    });
    let world = World::private(json!({"MODEL_PRICES": prices.to_string()})).await;
    let tenant = world.tenant("speech-prices", 5.0).await;
    let input = "x".repeat(1_500);
    for (model, credits, units) in [
        (TTS_MODELS[0], 0.45, json!({"tokens_in": 0, "tokens_out": 0, "characters": 1_500})),
        // A hundred seconds, at fifteen characters each.
        (
            TTS_MODELS[1],
            1.0,
            json!({"tokens_in": 0, "tokens_out": 0, "characters": 1_500, "milliseconds": 100_000}),
        ),
        (TTS_MODELS[2], 0.0, json!({"tokens_in": 0, "tokens_out": 0, "characters": 1_500})),
    ] {
        speak(&tenant, &speech(&input, json!({"model": model}))).send().await.expect(200);
        tenant.settled_balance().await;
        let row = &tenant.usage().await[0];
        assert_credits(number(row, "cost_credits"), credits, model);
        assert_eq!(row["meta"]["units"], units, "{model}");
    }
    settled(&tenant, 3).await;
}

#[tokio::test]
async fn who_cannot_pay_or_asks_wrongly_reaches_no_provider() {
    let world = World::verified().await;
    let poor = world.tenant("speech-poor", 0.001).await;
    let marker = unique_marker();
    let long = format!("{marker} {}", "x".repeat(4_000));
    let reply = speak(&poor, &speech(&long, json!({}))).send().await;
    reply.expect_error(402, "insufficient_credits");
    let tenant = world.tenant("speech-wrong", 1.0).await;
    for (member, value) in [
        ("model", Value::Null),
        ("input", json!("")),
        ("input", json!(format!("{marker}{}", "x".repeat(4_096)))),
        ("voice", Value::Null),
        ("voice", json!({"name": "alloy"})),
        ("response_format", json!("ogg")),
        ("speed", json!(5)),
        ("stream_format", json!("raw")),
        ("instructions", json!(1)),
    ] {
        let mut body = speech(&marker, json!({}));
        body[member] = value;
        let error = speak(&tenant, &body).send().await.expect_error(400, "invalid_field").json();
        assert_eq!(error["error"]["param"], member);
    }
    let unknown = speech(&marker, json!({"model": "gpt-4o-mini"}));
    speak(&tenant, &unknown).send().await.expect_error(404, "model_not_found");
    let typed = tenant.post(SPEECH).typed_body("text/plain", speech(&marker, json!({})).to_string());
    typed.send().await.expect_error(400, "unsupported_content_type");
    assert_eq!(world.calls_anywhere(&marker), 0);
    assert!(tenant.usage().await.is_empty() && poor.usage().await.is_empty());
    settled(&tenant, 0).await;
}

#[tokio::test]
async fn without_a_provider_it_is_said() {
    let world = World::private(json!({"TTS_PROVIDERS": null, "STT_PROVIDERS": null})).await;
    let tenant = world.tenant("speech-nobody", 1.0).await;
    speak(&tenant, &speech("a", json!({}))).send().await.expect_error(502, "si_ask_failed");
    let named = speech("a", json!({"model": first_tts()}));
    speak(&tenant, &named).send().await.expect_error(404, "model_not_found");
    let wav = crate::stage::wav(100);
    let asked = crate::stage::transcribe(&tenant, "x", &[], crate::stage::recording(&wav));
    asked.send().await.expect_error(502, "si_ask_failed");
}
