//! A refusal for too many requests stays true until its wait is over, without the tenant's actor being asked again.

use http_tests::client::unique_marker;
use http_tests::world::{Tenant, World};
use serde_json::json;
use std::time::Duration;

/// One request comes back in three seconds.
const TIGHT: &str = r#"{"requests_per_minute": 20, "requests_burst": 1}"#;

async fn refused_tenant(world: &World, name: &str) -> (Tenant, Duration) {
    let tenant = world.tenant(name, 5.0).await;
    let limits: serde_json::Value = serde_json::from_str(TIGHT).expect("limits");
    tenant.put_limits(json!({"limits": limits})).await.expect(200);
    tenant.ask(&json!({"input": "hi"})).send().await.expect(200);
    let refused = tenant.ask(&json!({"input": "hi"})).send().await.expect_error(429, "rate_limited");
    let wait_s = refused.must_header("retry-after").parse().expect("whole seconds");
    (tenant, Duration::from_secs(wait_s))
}

/// A larger plan would admit at once, so only who remembers the refusal still refuses: documented, and bounded by
/// the wait that was told.
#[tokio::test]
async fn a_larger_plan_takes_effect_when_the_wait_that_was_told_is_over() {
    let world = World::verified().await;
    let (tenant, wait) = refused_tenant(world, "remembered").await;
    tenant.put_limits(json!({})).await.expect(200);
    let marker = unique_marker();
    let body = json!({"input": marker});
    let again = tenant.ask(&body).send().await.expect_error(429, "rate_limited");
    let left_s: u64 = again.must_header("retry-after").parse().expect("whole seconds");
    assert!(Duration::from_secs(left_s) <= wait, "the wait does not begin anew: {left_s} s");
    assert_eq!(world.calls_anywhere(&marker), 0);
    // Nobody else is refused for it.
    let other = world.tenant("remembered-other", 5.0).await;
    other.ask(&body).send().await.expect(200);
    tokio::time::sleep(wait).await;
    for _ in 0..3 {
        tenant.ask(&body).send().await.expect(200);
    }
}

#[tokio::test]
async fn a_flood_does_not_make_the_wait_longer() {
    let world = World::verified().await;
    let (tenant, wait) = refused_tenant(world, "flood").await;
    let body = json!({"input": "hi"});
    let refused_until = tokio::time::Instant::now() + wait;
    let flood = futures::future::join_all((0..100).map(|_| tenant.ask(&body).send())).await;
    assert!(flood.iter().all(|reply| reply.status == 429), "{flood:?}");
    tokio::time::sleep_until(refused_until).await;
    tenant.ask(&body).send().await.expect(200);
}

#[tokio::test]
async fn a_kept_answer_is_given_also_while_requests_are_refused() {
    let world = World::verified().await;
    let tenant = world.tenant("kept-refused", 5.0).await;
    let marker = unique_marker();
    let body = json!({"input": marker});
    let limits: serde_json::Value = serde_json::from_str(TIGHT).expect("limits");
    tenant.put_limits(json!({"limits": limits})).await.expect(200);
    let keyed = || tenant.ask(&body).idempotency_key("kept").send();
    keyed().await.expect(200);
    tenant.ask(&body).send().await.expect_error(429, "rate_limited");
    for _ in 0..3 {
        assert_eq!(keyed().await.expect(200).must_header("idempotency-replayed"), "true");
    }
    assert_eq!(world.calls_anywhere(&marker), 1);
}
