//! Speech with an `Idempotency-Key`: the same sound again, charged once.

use crate::stage::{all_speak, noise, opened, settled, sha256, sound, speak, speech};
use http_tests::client::unique_marker;
use http_tests::provider_script::{Behaviour, Ending};
use http_tests::world::World;
use serde_json::json;

#[tokio::test]
async fn a_key_brings_the_same_sound_again() {
    let world = World::verified().await;
    let tenant = world.tenant("speech-key", 1.0).await;
    let marker = unique_marker();
    let pieces: Vec<_> = (0..30).map(|n| noise(n, 100_000)).collect();
    let first = sound("audio/flac", &pieces, 0, Ending::Proper);
    world.openai.script(&marker, [first, Behaviour::speech()]);
    let body = speech(&format!("{marker} {}", "x".repeat(1_000)), json!({"response_format": "flac"}));
    let asked = || speak(&tenant, &body).idempotency_key("key-1").send();
    let told = asked().await.expect(200);
    assert_eq!((sha256(&told.body), told.header("idempotency-replayed")), (sha256(&pieces.concat()), None));
    for _ in 0..2 {
        let again = asked().await.expect(200);
        assert_eq!(sha256(&again.body), sha256(&told.body));
        assert_eq!(again.must_header("idempotency-replayed"), "true");
        for name in ["content-type", "x-provider", "x-model", "x-credits-used", "x-credits-balance"] {
            assert_eq!(again.must_header(name), told.must_header(name), "{name}");
        }
    }
    let other = speech(&format!("{marker} y"), json!({}));
    speak(&tenant, &other).idempotency_key("key-1").send().await.expect_error(409, "idempotency_conflict");
    assert_eq!(world.calls_anywhere(&marker), 1);
    settled(&tenant, 1).await;
}

#[tokio::test]
async fn many_with_one_key_are_one_call_and_one_charge() {
    let world = World::verified().await;
    let tenant = world.tenant("speech-many", 1.0).await;
    let marker = unique_marker();
    let pieces: Vec<_> = (0..10).map(|n| noise(n, 10_000)).collect();
    world.openai.script(&marker, [sound("audio/mpeg", &pieces, 40, Ending::Proper)]);
    let body = speech(&marker, json!({}));
    let all = (0..6).map(|_| speak(&tenant, &body).idempotency_key("many").send());
    for reply in futures::future::join_all(all).await {
        assert_eq!(sha256(&reply.expect(200).body), sha256(&pieces.concat()));
    }
    assert_eq!(world.calls_anywhere(&marker), 1);
    settled(&tenant, 1).await;
}

#[tokio::test]
async fn with_a_key_a_client_may_go_away_and_come_back() {
    let world = World::verified().await;
    let tenant = world.tenant("speech-back", 1.0).await;
    let marker = unique_marker();
    let pieces: Vec<_> = (0..20).map(|n| noise(n, 3_000)).collect();
    world.openai.script(&marker, [sound("audio/mpeg", &pieces, 50, Ending::Proper)]);
    let body = speech(&marker, json!({}));
    let mut reply = opened(world, &tenant, &body, Some("back")).await;
    reply.chunk().await.expect("bytes").expect("the first piece");
    drop(reply);
    let again = speak(&tenant, &body).idempotency_key("back").send().await.expect(200);
    assert_eq!(sha256(&again.body), sha256(&pieces.concat()));
    assert_eq!(world.calls_anywhere(&marker), 1);
    settled(&tenant, 1).await;
}

#[tokio::test]
async fn what_broke_off_or_is_too_long_to_keep_is_charged_and_said_so() {
    let world = World::verified().await;
    for (name, behaviour) in [
        ("broken", sound("audio/mpeg", &[noise(1, 3_000)], 0, Ending::Broken)),
        ("long", sound("audio/wav", &vec![noise(2, 1_048_576); 17], 0, Ending::Proper)),
    ] {
        let tenant = world.tenant("speech-unkept", 1.0).await;
        let marker = unique_marker();
        world.openai.script(&marker, [behaviour]);
        let body = speech(&marker, json!({}));
        let mut reply = opened(world, &tenant, &body, Some(name)).await;
        let mut bytes = 0;
        while let Ok(Some(chunk)) = reply.chunk().await {
            bytes += chunk.len();
        }
        assert_eq!(bytes, if name == "long" { 17 * 1_048_576 } else { 3_000 }, "{name}");
        settled(&tenant, 1).await;
        let again = speak(&tenant, &body).idempotency_key(name).send().await;
        again.expect_error(409, "charged_without_reply");
        assert_eq!(world.calls_anywhere(&marker), 1, "{name}");
    }
}

#[tokio::test]
async fn a_key_whose_request_nobody_answered_is_free_again() {
    let world = World::verified().await;
    let tenant = world.tenant("speech-free", 1.0).await;
    let marker = unique_marker();
    all_speak(world, &marker, &Behaviour::status(500));
    let body = speech(&marker, json!({}));
    speak(&tenant, &body).idempotency_key("again").send().await.expect_error(502, "si_ask_failed");
    world.openai.script(&marker, [Behaviour::speech()]);
    speak(&tenant, &body).idempotency_key("again").send().await.expect(200);
    settled(&tenant, 1).await;
}

#[tokio::test]
async fn without_a_bucket_speech_is_given_once() {
    let world = World::private(json!({"R2": null})).await;
    let tenant = world.tenant("speech-bucket", 1.0).await;
    let body = speech("Hello", json!({}));
    let told = speak(&tenant, &body).idempotency_key("once").send().await.expect(200);
    assert_eq!(told.body.len(), 20_000);
    settled(&tenant, 1).await;
    let again = speak(&tenant, &body).idempotency_key("once").send().await;
    again.expect_error(409, "charged_without_reply");
    settled(&tenant, 1).await;
}
