//! Two requests alike within a window are one, also without a key, for tenants that want it.

use http_tests::client::{Reply, unique_marker};
use http_tests::provider_script::{Behaviour, Usage};
use http_tests::world::{Tenant, World, assert_credits};
use serde_json::{Value, json};
use std::time::Duration;

const REPLAYED: &str = "idempotency-replayed";

async fn with_window(world: &World, name: &str, window_ms: u64) -> Tenant {
    let tenant = world.tenant(name, 5.0).await;
    tenant.put_limits(json!({"fingerprint_window_ms": window_ms})).await.expect(200);
    tenant
}

fn charged(reply: &Reply) -> Value {
    let headers = ["x-credits-used", "x-credits-balance", "x-tokens-in", "x-tokens-out", "x-model"];
    json!({"body": reply.json(), "headers": headers.map(|name| reply.header(name))})
}

#[tokio::test]
async fn the_same_question_again_is_the_first_answer_again() {
    let world = World::verified().await;
    let tenant = with_window(world, "alike", 60_000).await;
    let marker = unique_marker();
    let answers = ["first", "second"].map(|text| Behaviour::answer(text, Usage::new(52, 192)));
    world.groq.script(&marker, answers);
    let body = json!({"input": marker});
    let first = tenant.ask(&body).send().await.expect(200);
    assert_eq!(first.header(REPLAYED), None);
    let again = tenant.ask(&body).send().await.expect(200);
    assert_eq!(again.must_header(REPLAYED), "true");
    assert_eq!(charged(&again), charged(&first));
    let stream = tenant.ask(&body).open().await.expect_stream().await;
    assert_eq!(stream.header(REPLAYED), Some("true"));
    assert_eq!(stream.drain().await.text(), "first");
    assert_credits(tenant.settled_balance().await, 5.0 - 0.012, "one charge");
    assert_eq!(world.calls_anywhere(&marker), 1);
    assert_eq!(tenant.usage().await.len(), 1);
}

#[tokio::test]
async fn the_same_question_many_times_at_once_is_asked_once() {
    let world = World::verified().await;
    let tenant = with_window(world, "alike-at-once", 60_000).await;
    let marker = unique_marker();
    let answer = Behaviour::answer("one answer", Usage::new(52, 192));
    world.groq.script(&marker, [Behaviour::late(Duration::from_millis(500), answer)]);
    let body = json!({"input": marker});
    let replies = futures::future::join_all((0..12).map(|_| tenant.ask(&body).send())).await;
    let first = charged(&replies[0]);
    assert!(replies.iter().all(|reply| reply.status == 200 && charged(reply) == first), "{replies:?}");
    assert_eq!(replies.iter().filter(|reply| reply.header(REPLAYED).is_none()).count(), 1);
    assert_eq!(world.calls_anywhere(&marker), 1);
    assert_credits(tenant.settled_balance().await, 5.0 - 0.012, "one charge");
}

#[tokio::test]
async fn another_question_tier_or_key_is_another_request() {
    let world = World::verified().await;
    let tenant = with_window(world, "unlike", 60_000).await;
    let marker = unique_marker();
    let body = json!({"input": marker});
    let longer = json!({"input": marker, "max_tokens": 20});
    let asks = [
        tenant.ask(&body),
        tenant.ask(&longer),
        tenant.ask(&json!({"input": format!("{marker} and more")})),
        tenant.ask(&body).header("x-intelligence-tier", "standard"),
        tenant.ask(&body).header("x-intelligence-tier", "high"),
        // A key says better than a digest what is the same request.
        tenant.ask(&body).idempotency_key("one"),
        tenant.ask(&body).idempotency_key("two"),
    ];
    let count = asks.len();
    for ask in asks {
        assert_eq!(ask.send().await.expect(200).header(REPLAYED), None);
    }
    assert_eq!(world.calls_anywhere(&marker), count);
    // And another tenant's question is its own.
    let other = with_window(world, "unlike-other", 60_000).await;
    assert_eq!(other.ask(&body).send().await.expect(200).header(REPLAYED), None);
}

#[tokio::test]
async fn after_the_window_it_is_asked_anew() {
    let world = World::verified().await;
    let tenant = with_window(world, "window", 800).await;
    let marker = unique_marker();
    let body = json!({"input": marker});
    tenant.ask(&body).send().await.expect(200);
    tokio::time::sleep(Duration::from_millis(900)).await;
    let later = tenant.ask(&body).send().await.expect(200);
    assert_eq!(later.header(REPLAYED), None);
    assert_credits(tenant.settled_balance().await, 5.0 - 0.024, "two charges");
}

#[tokio::test]
async fn a_question_that_failed_may_be_asked_again_at_once() {
    let world = World::verified().await;
    let tenant = with_window(world, "alike-failed", 60_000).await;
    let marker = unique_marker();
    for provider in world.providers() {
        let good = Behaviour::answer("at last", Usage::new(52, 192));
        provider.script(&marker, [Behaviour::status(500), good]);
    }
    let body = json!({"input": marker});
    tenant.ask(&body).send().await.expect_error(502, "si_ask_failed");
    assert_eq!(tenant.ask(&body).send().await.expect(200).header(REPLAYED), None);
}

#[tokio::test]
async fn it_is_off_unless_it_is_set() {
    let world = World::verified().await;
    let tenant = world.tenant("alike-off", 5.0).await;
    let marker = unique_marker();
    for _ in 0..2 {
        let reply = tenant.ask(&json!({"input": marker})).send().await.expect(200);
        assert_eq!(reply.header(REPLAYED), None);
    }
    assert_eq!(world.calls_anywhere(&marker), 2);
    assert_credits(tenant.settled_balance().await, 5.0 - 0.024, "two charges");
}
