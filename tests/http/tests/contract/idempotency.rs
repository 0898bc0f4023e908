//! `Idempotency-Key`: the same request twice is one request; another one with the same key is refused.

use crate::aliases::{ASK, USAGE};
use http_tests::client::{Reply, unique_marker};
use http_tests::provider_script::{Behaviour, Completion, Usage};
use http_tests::world::{Tenant, World, assert_credits, number};
use serde_json::{Value, json};
use std::time::Duration;

const REPLAYED: &str = "idempotency-replayed";
/// Headers that are part of the answer, so a replay must repeat them.
const ANSWER_HEADERS: [&str; 6] =
    ["x-provider", "x-model", "x-tokens-in", "x-tokens-out", "x-credits-used", "x-credits-balance"];

fn answer_of(reply: &Reply) -> (u16, Value, Vec<Option<&str>>) {
    let headers = ANSWER_HEADERS.iter().map(|name| reply.header(name)).collect();
    (reply.status, reply.json(), headers)
}

async fn keyed(tenant: &Tenant, path: &str, key: &str, body: &Value) -> Reply {
    tenant.post(path).idempotency_key(key).json(body).send().await
}

#[tokio::test]
async fn the_same_ask_again_is_the_first_reply_again() {
    let world = World::verified().await;
    let tenant = world.tenant("again", 1.0).await;
    let marker = unique_marker();
    let body = json!({"input": marker});
    let answers = ["first", "second"].map(|text| Behaviour::answer(text, Usage::new(52, 192)));
    world.groq.script(&marker, answers);
    let first = keyed(&tenant, ASK[0], "key-1", &body).await.expect(200);
    assert_eq!(first.header(REPLAYED), None);
    tenant.adjust(json!({"delta": 5})).await.expect(200);
    for path in ASK {
        let again = keyed(&tenant, path, "key-1", &body).await.expect(200);
        assert_eq!(again.must_header(REPLAYED), "true", "{path}");
        assert_eq!(answer_of(&again), answer_of(&first), "{path}");
        assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
    }
    assert_eq!(world.calls_anywhere(&marker), 1);
    assert_credits(tenant.settled_balance().await, 6.0 - 0.012, "charged once");
    assert_eq!(tenant.usage().await.len(), 1);
    // Another key is another request.
    let other = keyed(&tenant, ASK[0], "key-2", &body).await.expect(200);
    assert_eq!(other.json().pointer("/result/content"), Some(&json!("second")));
    assert_eq!(tenant.usage_of(2).await.len(), 2);
}

#[tokio::test]
async fn another_body_with_the_same_key_is_a_conflict() {
    let world = World::verified().await;
    let tenant = world.tenant("conflict", 1.0).await;
    let marker = unique_marker();
    keyed(&tenant, ASK[0], "key", &json!({"input": marker})).await.expect(200);
    for body in [json!({"input": format!("{marker}!")}), json!({"input": marker, "max_tokens": 5})] {
        for path in ASK {
            keyed(&tenant, path, "key", &body).await.expect_error(409, "idempotency_conflict");
        }
    }
    // The same key on another route is another body too.
    let usage = keyed(&tenant, USAGE[0], "key", &json!({"input": marker})).await;
    usage.expect_error(409, "idempotency_conflict");
    assert_eq!(world.calls_anywhere(&marker), 1);
    assert_credits(tenant.settled_balance().await, 1.0 - 0.012, "charged once");
}

#[tokio::test]
async fn twenty_at_once_are_one_charge_and_twenty_equal_replies() {
    let world = World::verified().await;
    let tenant = world.tenant("at-once", 1.0).await;
    let marker = unique_marker();
    let answer = Behaviour::answer("one answer", Usage::new(52, 192));
    world.groq.script(&marker, [Behaviour::late(Duration::from_millis(600), answer)]);
    let body = json!({"input": marker});
    let calls = (0..20).map(|_| keyed(&tenant, ASK[0], "burst", &body));
    let replies = futures::future::join_all(calls).await;
    let first = answer_of(&replies[0]);
    assert_eq!(first.0, 200, "{:?}", replies[0]);
    assert!(replies.iter().all(|reply| answer_of(reply) == first), "{replies:?}");
    let fresh = replies.iter().filter(|reply| reply.header(REPLAYED).is_none()).count();
    assert_eq!(fresh, 1, "one ran, the others are told that they did not");
    assert_eq!(world.calls_anywhere(&marker), 1);
    assert_credits(tenant.settled_balance().await, 1.0 - 0.012, "one charge");
    assert_eq!(tenant.usage().await.len(), 1);
    let other = keyed(&tenant, ASK[0], "burst", &json!({"input": "another"})).await;
    other.expect_error(409, "idempotency_conflict");
}

/// Who waits for the first one asks its actor now and then. Beyond some dozens they are told so at once.
#[tokio::test]
async fn a_crowd_with_one_key_is_one_charge_and_not_all_of_it_waits() {
    const CROWD: usize = 150;
    const WAITERS_MAX: usize = 64;
    let world = World::verified().await;
    let tenant = world.tenant("crowd", 1.0).await;
    let marker = unique_marker();
    let answer = Behaviour::answer("one answer", Usage::new(52, 192));
    world.groq.script(&marker, [Behaviour::late(Duration::from_millis(1_200), answer)]);
    let body = json!({"input": marker});
    let calls = (0..CROWD).map(|_| keyed(&tenant, ASK[0], "crowd", &body));
    let replies = futures::future::join_all(calls).await;
    let (answered, told): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 200);
    assert_eq!(answered.iter().filter(|reply| reply.header(REPLAYED).is_none()).count(), 1, "one ran");
    assert!(answered.len() > WAITERS_MAX, "{} were answered", answered.len());
    assert!(!told.is_empty(), "all of them waited");
    for reply in told {
        let reply = reply.expect_error(409, "idempotency_in_progress");
        assert!(reply.must_header("retry-after").parse::<u64>().is_ok_and(|wait_s| wait_s >= 1));
    }
    assert_eq!(world.calls_anywhere(&marker), 1);
    assert_credits(tenant.settled_balance().await, 1.0 - 0.012, "one charge");
}

/// A tier is a header, but another tier is another question: its answer has other models behind it.
#[tokio::test]
async fn another_tier_with_the_same_key_is_a_conflict() {
    let world = World::verified().await;
    let tenant = world.tenant("tier-key", 1.0).await;
    let body = json!({"input": unique_marker()});
    let ask = |tier: &'static str| {
        let call = tenant.ask(&body).idempotency_key("tier");
        if tier.is_empty() { call.send() } else { call.header("x-intelligence-tier", tier).send() }
    };
    ask("high").await.expect(200);
    for other in ["", "standard"] {
        ask(other).await.expect_error(409, "idempotency_conflict");
    }
    for same in ["high", "HIGH"] {
        assert_eq!(ask(same).await.expect(200).must_header(REPLAYED), "true", "{same}");
    }
    assert_eq!(tenant.usage().await.len(), 1);
}

/// A request that came to nothing leaves its key free: the client may try again with it.
#[tokio::test]
async fn a_failed_ask_can_be_tried_again_with_its_key() {
    let world = World::verified().await;
    let tenant = world.tenant("retry", 0.0).await;
    let marker = unique_marker();
    let body = json!({"input": marker});
    keyed(&tenant, ASK[0], "retry", &body).await.expect_error(402, "insufficient_credits");
    tenant.set_balance(1.0).await;
    for provider in world.providers() {
        let recovered = Behaviour::answer("recovered", Usage::new(52, 192));
        provider.script(&marker, [Behaviour::status(500), recovered]);
    }
    keyed(&tenant, ASK[0], "retry", &body).await.expect_error(502, "si_ask_failed");
    let third = keyed(&tenant, ASK[0], "retry", &body).await.expect(200);
    assert_eq!(third.header(REPLAYED), None);
    let fourth = keyed(&tenant, ASK[0], "retry", &body).await.expect(200);
    assert_eq!(fourth.must_header(REPLAYED), "true");
    assert_credits(tenant.settled_balance().await, 1.0 - 0.012, "charged once");
}

#[tokio::test]
async fn a_kept_answer_comes_in_either_form() {
    let world = World::verified().await;
    let tenant = world.tenant("forms", 1.0).await;
    let marker = unique_marker();
    let completion = Completion::of(&["two\n", "lines"]).usage(Usage::new(52, 192));
    world.groq.script(&marker, [Behaviour::Complete(completion)]);
    let body = json!({"input": marker});
    let open = || tenant.post("/api/si/ask?events=1").idempotency_key("forms").json(&body).open();
    let first = open().await.expect_stream().await.drain().await;
    assert_eq!(first.text(), "two\nlines");
    let again = open().await.expect_stream().await;
    assert_eq!(again.header(REPLAYED), Some("true"));
    let again = again.drain().await;
    assert_eq!(again.text(), first.text());
    assert_eq!(again.event_json("usage"), first.event_json("usage"));
    let plain = keyed(&tenant, ASK[0], "forms", &body).await.expect(200);
    assert_eq!(plain.must_header(REPLAYED), "true");
    assert_eq!(plain.json().pointer("/result/content"), Some(&json!("two\nlines")));
    assert_eq!(plain.must_header("x-credits-used"), "0.012");
    assert_eq!(world.calls_anywhere(&marker), 1);
}

#[tokio::test]
async fn adjust_is_done_once_for_a_key() {
    let world = World::verified().await;
    let tenant = world.tenant("adjust-key", 1.0).await;
    let adjust = |key: &'static str, delta: f64| {
        let body = json!({"email": tenant.email, "delta": delta});
        tenant.client.post("/api/credits/adjust").admin().idempotency_key(key).json(&body).send()
    };
    let first = adjust("gift", 2.0).await.expect(200);
    assert_credits(number(&first.json(), "balance"), 3.0, "the gift");
    let replies = futures::future::join_all((0..10).map(|_| adjust("gift", 2.0))).await;
    for reply in replies {
        let reply = reply.expect(200);
        assert_eq!(reply.must_header(REPLAYED), "true");
        assert_eq!(reply.json(), first.json());
    }
    adjust("gift", 2.5).await.expect_error(409, "idempotency_conflict");
    assert_credits(tenant.balance().await, 3.0, "one gift");
    adjust("another", 2.0).await.expect(200);
    assert_credits(tenant.balance().await, 5.0, "another gift");
}

#[tokio::test]
async fn usage_is_recorded_once_for_a_key() {
    let world = World::verified().await;
    let tenant = world.tenant("usage-key", 0.0).await;
    let body = json!({"route": "/client", "tokens_in": 3});
    let first = keyed(&tenant, USAGE[0], "event", &body).await.expect(200);
    for path in USAGE {
        let again = keyed(&tenant, path, "event", &body).await.expect(200);
        assert_eq!(again.must_header(REPLAYED), "true", "{path}");
        assert_eq!(again.json(), first.json(), "{path}");
    }
    let other = keyed(&tenant, USAGE[0], "event", &json!({"route": "/other"})).await;
    other.expect_error(409, "idempotency_conflict");
    assert_eq!(tenant.usage().await.len(), 1);
}

#[tokio::test]
async fn keys_are_a_tenants_own() {
    let world = World::verified().await;
    let (one, other) = (world.tenant("own-key", 1.0).await, world.tenant("own-key-other", 1.0).await);
    let marker = unique_marker();
    for tenant in [&one, &other] {
        let reply = keyed(tenant, ASK[0], "shared", &json!({"input": marker})).await.expect(200);
        assert_eq!(reply.header(REPLAYED), None);
    }
    assert_eq!(world.calls_anywhere(&marker), 2);
}

#[tokio::test]
async fn odd_keys_are_refused() {
    let world = World::verified().await;
    let tenant = world.tenant("odd-key", 1.0).await;
    let long = "k".repeat(256);
    for key in ["", " ", "two words", &long] {
        for path in [ASK[0], USAGE[0]] {
            let reply = keyed(&tenant, path, key, &json!({"input": "hi"})).await;
            assert_eq!(
                (reply.status, reply.error().as_str()),
                (400, "invalid_idempotency_key"),
                "{path}: {key:?}"
            );
        }
    }
    let call = tenant.post("/api/si/ask").header_bytes("idempotency-key", "é".as_bytes());
    call.json(&json!({"input": "hi"})).send().await.expect_error(400, "invalid_idempotency_key");
    assert!(tenant.usage().await.is_empty());
    keyed(&tenant, ASK[0], &"k".repeat(255), &json!({"input": "hi"})).await.expect(200);
}
