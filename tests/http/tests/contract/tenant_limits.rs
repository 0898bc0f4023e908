//! `/api/credits/limits`: what a tenant may do, as an operator sets it while the service runs.

use http_tests::client::unique_email;
use http_tests::world::{Tenant, World, assert_credits, number, text};
use reqwest::Method;
use serde_json::{Value, json};

async fn statuses_of_asks(tenant: &Tenant, count: usize) -> Vec<u16> {
    let mut statuses = Vec::with_capacity(count);
    for _ in 0..count {
        statuses.push(tenant.ask(&json!({"input": "hi"})).send().await.status);
    }
    statuses
}

#[tokio::test]
async fn a_plan_takes_effect_at_once_and_is_taken_back_at_once() {
    let world = World::verified().await;
    let tenant = world.tenant("planned", 5.0).await;
    let before = tenant.limits().await;
    assert_eq!((before.get("plan"), before.get("limits")), (Some(&Value::Null), Some(&json!({}))));
    let set = tenant.put_limits(json!({"plan": "few-requests"})).await.expect(200).json();
    assert_eq!(text(&set, "plan"), "few-requests");
    assert_eq!(number(&set["effective"], "requests_per_minute"), 3.0);
    assert_eq!(set, tenant.limits().await, "the tenant sees what the operator saw");
    assert_eq!(statuses_of_asks(&tenant, 4).await, [200, 200, 200, 429]);
    // Another tenant's plan is its own.
    let other = world.tenant("planned-other", 1.0).await;
    assert_eq!(statuses_of_asks(&other, 4).await, [200; 4]);
    tenant.put_limits(json!({})).await.expect(200);
    let after = tenant.limits().await;
    assert_eq!(after.get("effective"), before.get("effective"), "what is not said is not set");
}

#[tokio::test]
async fn what_is_set_for_a_tenant_goes_before_its_plan() {
    let world = World::verified().await;
    let tenant = world.tenant("overridden", 5.0).await;
    let limits = json!({"requests_per_minute": 2, "requests_burst": 2, "in_flight": 9});
    let set = tenant.put_limits(json!({"plan": "few-requests", "limits": limits})).await.expect(200).json();
    assert_eq!(set.get("limits"), Some(&limits));
    assert_eq!(set.get("effective"), Some(&limits), "nothing of the plan is left");
    assert_eq!(statuses_of_asks(&tenant, 3).await, [200, 200, 429]);
    // Zero switches a budget off.
    let off = world.tenant("switched-off", 5.0).await;
    let limits = json!({"requests_per_minute": 0});
    off.put_limits(json!({"plan": "few-requests", "limits": limits})).await.expect(200);
    assert_eq!(statuses_of_asks(&off, 6).await, [200; 6]);
}

#[tokio::test]
async fn wrong_settings_are_refused_and_change_nothing() {
    let world = World::verified().await;
    let tenant = world.tenant("wrong-settings", 1.0).await;
    tenant.put_limits(json!({"plan": "few-requests", "low_balance": 0.5})).await.expect(200);
    let before = tenant.limits().await;
    let cap = |id: &str| json!({"id": id, "period": "day", "limit": 1});
    let rows = [
        ("plan", json!({"plan": "gold"})),
        ("plan", json!({"plan": ""})),
        ("settings", json!({"plan": 7})),
        ("settings", json!({"unknown": 1})),
        ("settings", json!({"caps": [{"id": "a", "period": "year", "limit": 1}]})),
        ("settings", json!({"caps": [{"id": "a", "period": "day"}]})),
        ("settings", json!({"top_up": {"below": 1}})),
        ("limits", json!({"limits": {"requests_per_minute": -1}})),
        ("limits", json!({"limits": {"requests_burst": 0}})),
        ("limits", json!({"limits": {"tokens_per_minute": 1.5}})),
        ("limits", json!({"limits": {"requests_per_hour": 5}})),
        ("limits", json!({"limits": {"credits_per_day": 1e30}})),
        ("limits", json!({"limits": {"requests_per_minute": 5, "requests_burst": 6}})),
        ("limits", json!({"limits": {"tokens_per_minute": 5, "tokens_burst": 6}})),
        ("limits", json!({"limits": {"credits_per_day": 1, "credits_burst": 1.5}})),
        ("limits", json!({"limits": {"tiers": ["standard", "golden"]}})),
        ("limits", json!({"keys": {"k": {"tiers": ["golden"]}}})),
        ("limits", json!({"limits": 5})),
        ("limits", json!({"keys": {"k": {"in_flight": -1}}})),
        ("caps", json!({"caps": [cap("a"), cap("a")]})),
        ("caps", json!({"caps": [cap("")]})),
        ("caps", json!({"caps": [{"id": "a", "period": "day", "limit": -1}]})),
        ("caps", json!({"caps": [{"id": "a", "period": "day", "limit": 1, "soft": 2}]})),
        ("caps", json!({"caps": (0..33).map(|n| cap(&n.to_string())).collect::<Vec<_>>()})),
        ("fingerprint_window_ms", json!({"fingerprint_window_ms": -1})),
        ("fingerprint_window_ms", json!({"fingerprint_window_ms": 600_001})),
        ("low_balance", json!({"low_balance": -1})),
        ("top_up", json!({"top_up": {"below": 0, "amount": 1}})),
        ("top_up", json!({"top_up": {"below": 1, "amount": -1}})),
    ];
    for (field, settings) in rows {
        let reply = tenant.put_limits(settings.clone()).await;
        let seen = (reply.status, reply.error());
        assert_eq!(seen, (400, "invalid_setting".to_owned()), "{settings}: {reply:?}");
        assert_eq!(text(&reply.json(), "field"), field, "{settings}");
        let message = text(&reply.json(), "message").to_lowercase();
        for word in ["expected one of", "invalid type", "unknown field", "unknown variant", "missing field"] {
            assert!(!message.contains(word), "a library's words for {settings}: {message}");
        }
    }
    assert_eq!(tenant.limits().await, before);
}

#[tokio::test]
async fn whose_limits_they_are_must_be_said_in_the_body() {
    let client = World::verified().await.client();
    for (body, code) in [
        (json!({"plan": "free"}), "missing_email"),
        (json!({"email": 7}), "invalid_email"),
        (json!({"email": "nobody"}), "invalid_email"),
        (json!({"email": " "}), "missing_email"),
    ] {
        let call = client.call(Method::PUT, "/api/credits/limits").admin().json(&body);
        let reply = call.send().await;
        assert_eq!((reply.status, reply.error().as_str()), (400, code), "{body}");
    }
    let call = client.call(Method::PUT, "/api/credits/limits").admin();
    call.raw_json("{").send().await.expect_error(400, "invalid_json");
}

#[tokio::test]
async fn only_an_operator_sets_and_the_tenant_itself_may_not() {
    let world = World::verified().await;
    let tenant = world.tenant("self-set", 1.0).await;
    let body = json!({"email": tenant.email, "plan": "few-requests"});
    let put = || tenant.client.call(Method::PUT, "/api/credits/limits").json(&body);
    for call in [put(), put().user(&tenant.email), put().header("x-admin-key", "wrong")] {
        call.send().await.expect_error(401, "unauthorized");
    }
    assert_eq!(tenant.limits().await.get("plan"), Some(&Value::Null));
}

/// What one tenant has behind its balance is shown to nobody else, whatever was done to either.
#[tokio::test]
async fn nothing_of_one_tenant_is_seen_by_another() {
    let world = World::verified().await;
    let tenant = world.tenant("secretive", 0.5).await;
    let cap = json!({"id": "secret-cap", "period": "day", "limit": 1});
    tenant.put_limits(json!({"low_balance": 1, "caps": [cap]})).await.expect(200);
    tenant.ask(&json!({"input": "hi"})).send().await.expect(200);
    assert!(!tenant.notices().await.is_empty() && !tenant.ledger().await.is_empty());
    let stranger = world.tenant("stranger", 0.0).await;
    assert!(stranger.ledger().await.is_empty());
    assert!(stranger.notices().await.is_empty());
    assert!(stranger.items("/api/credits/holds?state=expired").await.is_empty());
    assert_eq!(stranger.limits().await.get("caps"), Some(&json!([])));
    assert_eq!(number(&stranger.verified().await, "entries"), 0.0);
    for path in ["ledger", "holds", "notices", "verify", "limits"] {
        let path = format!("/api/credits/{path}");
        let call = stranger.get(&path).query("email", &tenant.email);
        call.send().await.expect_error(403, "identity_mismatch");
    }
    // A cursor of another one's list is none here.
    tenant.adjust(json!({"delta": 1})).await.expect(200);
    stranger.adjust(json!({"delta": 1})).await.expect(200);
    let page = tenant.get("/api/credits/ledger?limit=1").send().await.expect(200).json();
    let call = stranger.get("/api/credits/ledger").query("cursor", text(&page, "next_cursor"));
    call.send().await.expect_error(400, "invalid_cursor");
}

#[tokio::test]
async fn an_operator_reads_the_limits_of_whom_it_names() {
    let world = World::verified().await;
    let tenant = world.tenant("read-for", 1.0).await;
    tenant.put_limits(json!({"low_balance": 0.25})).await.expect(200);
    let call = world.client().get("/api/credits/limits").admin().claim(&tenant.email);
    let body = call.send().await.expect(200).json();
    assert_credits(number(&body, "low_balance"), 0.25, "its own setting");
    let unknown = unique_email("nobody-yet");
    let call = world.client().get("/api/credits/limits").admin().claim(&unknown);
    assert_eq!(call.send().await.expect(200).json().get("low_balance"), Some(&Value::Null));
}
