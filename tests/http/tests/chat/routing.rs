//! Which provider is asked for which model, and what comes after one that fails.

use crate::stage::{chat, post};
use http_tests::client::unique_marker;
use http_tests::provider_script::{Behaviour, Usage};
use http_tests::vars::{GROQ_MODEL, HIGH_TIER_MODEL, OPENAI_MODEL};
use http_tests::world::World;
use serde_json::json;

#[tokio::test]
async fn a_model_is_asked_of_those_who_serve_it() {
    let world = World::verified().await;
    let tenant = world.tenant("chat-models", 5.0).await;
    for (model, provider, named) in [
        (OPENAI_MODEL.to_owned(), "openai", OPENAI_MODEL),
        (format!("openai/{OPENAI_MODEL}"), "openai", OPENAI_MODEL),
        (format!("groq/{GROQ_MODEL}"), "groq", GROQ_MODEL),
        ("auto".to_owned(), "groq", GROQ_MODEL),
    ] {
        let marker = unique_marker();
        let reply = post(&tenant, &chat(&marker, json!({"model": model}))).send().await.expect(200);
        assert_eq!((reply.must_header("x-provider"), reply.must_header("x-model")), (provider, named));
        assert_eq!(world.calls_anywhere(&marker), 1);
    }
}

#[tokio::test]
async fn a_tier_has_models_of_its_own() {
    let world = World::verified().await;
    let tenant = world.tenant("chat-tier", 5.0).await;
    let marker = unique_marker();
    let asked = chat(&marker, json!({"model": HIGH_TIER_MODEL}));
    post(&tenant, &asked).send().await.expect_error(404, "model_not_found");
    let reply = post(&tenant, &asked).header("x-intelligence-tier", "high").send().await.expect(200);
    assert_eq!((reply.must_header("x-model"), reply.must_header("x-provider")), (HIGH_TIER_MODEL, "openai"));
}

#[tokio::test]
async fn the_next_one_is_asked_when_one_fails() {
    let world = World::verified().await;
    let tenant = world.tenant("chat-fallback", 1.0).await;
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::html()]);
    world.workers_ai.script(&marker, [Behaviour::status(500)]);
    world.openai.script(&marker, [Behaviour::answer("fine", Usage::new(9, 1))]);
    let reply = post(&tenant, &chat(&marker, json!({}))).send().await.expect(200);
    assert_eq!(reply.must_header("x-provider"), "openai");
}

#[tokio::test]
async fn a_request_that_all_call_wrong_is_the_client_s_mistake() {
    let world = World::verified().await;
    let tenant = world.tenant("chat-refused", 1.0).await;
    let marker = unique_marker();
    for provider in world.providers() {
        provider.script(&marker, [Behaviour::status(400)]);
    }
    let asked = chat(&marker, json!({"model": GROQ_MODEL}));
    post(&tenant, &asked).send().await.expect_error(400, "request_refused");
    let streams = chat(&marker, json!({"model": GROQ_MODEL, "stream": true}));
    post(&tenant, &streams).send().await.expect_error(400, "request_refused");
    world.groq.script(&marker, [Behaviour::status(500)]);
    post(&tenant, &asked).send().await.expect_error(502, "si_ask_failed");
    assert!(tenant.open_holds().await.is_empty() && tenant.usage().await.is_empty());
}
