//! Notices: what an owner is told of its balance, once each time, kept as a log.

use http_tests::client::unique_marker;
use http_tests::poll::eventually;
use http_tests::provider_script::Behaviour;
use http_tests::webhook_receiver::WebhookReceiver;
use http_tests::world::{Tenant, World, text, whole};
use serde_json::{Value, json};
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(10);

async fn kinds(tenant: &Tenant) -> Vec<String> {
    tenant.notices().await.iter().map(|notice| text(notice, "type").to_owned()).collect()
}

async fn ask(tenant: &Tenant) {
    tenant.ask(&json!({"input": "hi"})).send().await.expect(200);
}

#[tokio::test]
async fn a_low_balance_is_told_once_until_it_was_high_again() {
    let world = World::verified().await;
    let tenant = world.tenant("low", 1.01).await;
    tenant.put_limits(json!({"low_balance": 1})).await.expect(200);
    assert!(kinds(&tenant).await.is_empty(), "it is not low yet");
    for _ in 0..3 {
        ask(&tenant).await;
        assert_eq!(kinds(&tenant).await, ["balance.low"]);
    }
    let notice = tenant.notices().await.remove(0);
    assert_eq!(whole(&notice["data"], "balance_micro"), 998_000);
    assert_eq!(whole(&notice["data"], "threshold_micro"), 1_000_000);
    assert_eq!(text(&notice, "state"), "recorded", "there is nobody to deliver it to");
    tenant.set_balance(1.005).await;
    assert_eq!(kinds(&tenant).await.len(), 1, "no news is no notice");
    ask(&tenant).await;
    assert_eq!(kinds(&tenant).await, ["balance.low", "balance.low"]);
    // An operator's change is a reason as good as a charge.
    tenant.set_balance(2.0).await;
    tenant.adjust(json!({"delta": -1.5})).await.expect(200);
    assert_eq!(kinds(&tenant).await.len(), 3);
}

/// What is only set aside may come back, so it makes no balance low.
#[tokio::test]
async fn a_hold_alone_is_no_low_balance() {
    let world = World::verified().await;
    let tenant = world.tenant("held-low", 0.11).await;
    tenant.put_limits(json!({"low_balance": 0.1})).await.expect(200);
    let marker = unique_marker();
    for provider in world.providers() {
        provider.script(&marker, [Behaviour::late(Duration::from_millis(300), Behaviour::status(500))]);
    }
    let body = json!({"input": marker, "max_tokens": 1_000});
    tenant.ask(&body).send().await.expect_error(502, "si_ask_failed");
    assert!(kinds(&tenant).await.is_empty(), "0.054 were set aside and came back");
    ask(&tenant).await;
    assert_eq!(kinds(&tenant).await, ["balance.low"]);
}

#[tokio::test]
async fn the_owners_billing_is_asked_to_top_up_with_a_key_of_its_own() {
    let world = World::verified().await;
    let receiver = WebhookReceiver::start([]).await;
    let tenant = world.tenant("top-up", 0.51).await;
    let settings = json!({
        "top_up": {"below": 0.5, "amount": 20}, "webhook": {"url": receiver.url()},
    });
    tenant.put_limits(settings).await.expect(200);
    ask(&tenant).await;
    let first = receiver.calls_of(1, BOUND).await[0].json();
    assert_eq!(text(&first, "type"), "top_up.requested");
    assert_eq!(whole(&first["data"], "amount_micro"), 20_000_000);
    assert_eq!(whole(&first["data"], "balance_micro"), 498_000);
    // Nothing is credited by asking; the owner's billing does that, with the key as its own.
    let key = text(&first["data"], "idempotency_key").to_owned();
    let body = json!({"email": tenant.email, "delta": 20, "reference": key});
    for _ in 0..2 {
        let call = tenant.client.post("/api/credits/adjust").admin().idempotency_key(&key);
        call.json(&body).send().await.expect(200);
    }
    let balance = tenant.settled_balance().await;
    assert!((20.49..20.5).contains(&balance), "topped up once: {balance}");
    tenant.set_balance(0.505).await;
    ask(&tenant).await;
    let second = receiver.calls_of(2, BOUND).await[1].json();
    assert_ne!(text(&second["data"], "idempotency_key"), key, "another request has another key");
}

#[tokio::test]
async fn notices_are_walked_newest_first() {
    let world = World::verified().await;
    let tenant = world.tenant("notice-walk", 2.0).await;
    tenant.put_limits(json!({"low_balance": 1})).await.expect(200);
    for _ in 0..5 {
        tenant.set_balance(0.5).await;
        tenant.set_balance(2.0).await;
    }
    let (mut sequence, mut path) = (Vec::new(), "/api/credits/notices?limit=2".to_owned());
    for _ in 0..5 {
        let page = tenant.get(&path).send().await.expect(200).json();
        let items = page["items"].as_array().cloned().unwrap_or_default();
        sequence.extend(items.iter().map(|notice| whole(notice, "seq")));
        match page.get("next_cursor").and_then(Value::as_str) {
            Some(cursor) => path = format!("/api/credits/notices?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(sequence.len(), 5, "{sequence:?}");
    assert!(sequence.is_sorted_by(|newer, older| newer > older), "{sequence:?}");
    let ledger = tenant.get("/api/credits/ledger?limit=1").send().await.expect(200).json();
    let crossed = tenant.get("/api/credits/notices").query("cursor", text(&ledger, "next_cursor"));
    crossed.send().await.expect_error(400, "invalid_cursor");
}

/// A balance that falls because a gift expired is told too, though nobody asked for anything.
#[tokio::test]
async fn an_expiry_can_make_the_balance_low() {
    let world = World::verified().await;
    let tenant = world.tenant("expired-low", 0.5).await;
    let soon = (chrono::Utc::now() + chrono::Duration::milliseconds(1_200)).to_rfc3339();
    tenant.adjust(json!({"delta": 1, "expires_at": soon})).await.expect(200);
    tenant.put_limits(json!({"low_balance": 1})).await.expect(200);
    assert!(kinds(&tenant).await.is_empty());
    eventually(BOUND, "the expiry is told", || async {
        let kinds = kinds(&tenant).await;
        if kinds == ["balance.low"] { Ok(()) } else { Err(kinds) }
    })
    .await;
}
