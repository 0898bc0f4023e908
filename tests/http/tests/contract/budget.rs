//! The requests-per-minute budget of a plan, as configuration gives it. That waiting as long as told is enough is
//! shown in `budgets`, with limits that come back in seconds; here the wait is held against the policy.

use http_tests::client::{Reply, unique_marker};
use http_tests::rate_limit::{self, Budget};
use http_tests::world::{World, assert_credits};
use serde_json::json;

const WINDOW_S: i64 = 60;

fn requests(reply: &Reply) -> Budget {
    rate_limit::budgets_of(reply).remove("requests").expect("the budget of requests")
}

fn assert_refusal(reply: Reply, limit: i64) {
    let reply = reply.expect_error(429, "rate_limited");
    let retry_after_s: i64 = reply.must_header("retry-after").parse().expect("whole seconds");
    // Three at once, and one back in a minute: so no minute holds more than three.
    assert!((WINDOW_S / 2..=WINDOW_S).contains(&retry_after_s), "{reply:?}");
    let budget = requests(&reply);
    assert_eq!((budget.quota, budget.window_s), (limit, Some(WINDOW_S)), "{budget:?}");
    assert_eq!((budget.remaining, budget.reset_s), (0, Some(retry_after_s)), "{budget:?}");
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
        assert_eq!((requests(&reply).remaining, requests(&reply).quota), (left, 3));
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
