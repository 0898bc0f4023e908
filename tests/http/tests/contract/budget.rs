//! The requests-per-minute budget of a tenant. That waiting `Retry-After` is enough is proven by the native
//! property tests of the meter, where a minute costs nothing; here its value is held against the policy.

use http_tests::client::{Reply, unique_marker};
use http_tests::world::{World, assert_credits};
use serde_json::json;

const WINDOW_S: u64 = 60;

/// `name=value` members of the first item of a structured header, such as `"requests";q=3;w=60`.
fn member(header: &str, name: &str) -> Option<u64> {
    let wanted = format!("{name}=");
    header.split(';').find_map(|part| part.trim().strip_prefix(&wanted)?.parse().ok())
}

fn assert_refusal(reply: Reply, limit: u64) {
    let reply = reply.expect_error(429, "rate_limited");
    let retry_after_s: u64 = reply.must_header("retry-after").parse().expect("whole seconds");
    // Three at once, and one back in a minute: so no minute holds more than three.
    assert!((WINDOW_S / 2..=WINDOW_S).contains(&retry_after_s), "{reply:?}");
    let policy = reply.must_header("ratelimit-policy");
    assert_eq!((member(policy, "q"), member(policy, "w")), (Some(limit), Some(WINDOW_S)), "{policy}");
    assert_eq!(member(reply.must_header("ratelimit"), "r"), Some(0));
}

#[tokio::test]
async fn the_budget_refuses_before_anything_is_held_or_asked() {
    let world = World::private(json!({
        "PLANS": r#"{"free":{"requests_per_minute":3,"requests_burst":3}}"#,
        "PREFERRED_PROVIDER": "local",
    }))
    .await;
    let tenant = world.tenant("budget", 1.0).await;
    for left in [2, 1, 0] {
        let reply = tenant.ask(&json!({"input": "hi"})).send().await.expect(200);
        assert_eq!(member(reply.must_header("ratelimit"), "r"), Some(left));
        assert_eq!(member(reply.must_header("ratelimit-policy"), "q"), Some(3));
    }
    let marker = unique_marker();
    for _ in 0..2 {
        assert_refusal(tenant.ask(&json!({"input": marker})).send().await, 3);
    }
    let streamed = tenant.ask(&json!({"input": marker})).open().await;
    assert_refusal(streamed.into_reply().await, 3);
    assert_refusal(tenant.post("/usage").json(&json!({"route": "/spam"})).send().await, 3);
    assert_eq!(world.calls_anywhere(&marker), 0);
    assert!(tenant.open_holds().await.is_empty());
    assert_credits(tenant.balance().await, 1.0 - 0.036, "three were charged");
    assert_eq!(tenant.usage().await.len(), 3);
    // Reading is not metered, and another tenant has a budget of its own.
    for _ in 0..6 {
        tenant.get("/api/credits").send().await.expect(200);
    }
    let other = world.tenant("budget-other", 1.0).await;
    other.ask(&json!({"input": "hi"})).send().await.expect(200);
    // A replay of a served request costs nothing, also when the budget is used up.
    let keyed = |tenant: &http_tests::world::Tenant| {
        tenant.ask(&json!({"input": "again"})).idempotency_key("again").send()
    };
    keyed(&other).await.expect(200);
    other.ask(&json!({"input": "last"})).send().await.expect(200);
    assert_refusal(other.ask(&json!({"input": "over"})).send().await, 3);
    let replay = keyed(&other).await.expect(200);
    assert_eq!(replay.must_header("idempotency-replayed"), "true");
}
