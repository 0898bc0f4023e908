//! `RateLimit` and `RateLimit-Policy` on everything that is metered, as structured fields, credits among them.

use http_tests::client::unique_marker;
use http_tests::provider_script::{Behaviour, Usage};
use http_tests::rate_limit::{self, Budget};
use http_tests::world::{Tenant, World};
use serde_json::json;

const EVERY_BUDGET: [&str; 5] = ["requests", "tokens", "credits-per-day", "in-flight", "credits"];

async fn with_every_budget(world: &World, name: &str) -> Tenant {
    let tenant = world.tenant(name, 5.0).await;
    let limits = json!({
        "requests_per_minute": 120, "requests_burst": 30, "tokens_per_minute": 50_000,
        "credits_per_day": 2, "in_flight": 7,
    });
    tenant.put_limits(json!({"limits": limits})).await.expect(200);
    tenant
}

fn assert_budgets(budgets: &[Budget], what: &str) {
    let names: Vec<&str> = budgets.iter().map(|budget| budget.policy.as_str()).collect();
    assert_eq!(names, EVERY_BUDGET, "{what}");
    let seen: Vec<(i64, Option<i64>, Option<&str>)> =
        budgets.iter().map(|budget| (budget.quota, budget.window_s, budget.unit.as_deref())).collect();
    let expected = [
        (120, Some(60), None),
        (50_000, Some(60), Some("tokens")),
        (2_000, Some(86_400), Some("millicredits")),
        (7, None, Some("concurrent-requests")),
        (5_000, None, Some("millicredits")),
    ];
    assert_eq!(seen, expected, "{what}");
    for budget in budgets {
        assert!(budget.remaining <= budget.quota, "{what}: {budget:?}");
        // What has no window has no time at which it is whole again.
        assert_eq!(budget.window_s.is_some(), budget.reset_s.is_some(), "{what}: {budget:?}");
        assert!(budget.reset_s <= budget.window_s, "{what}: {budget:?}");
    }
}

#[tokio::test]
async fn a_whole_answer_tells_every_budget() {
    let world = World::verified().await;
    let tenant = with_every_budget(world, "told").await;
    for spent in [12, 24] {
        let reply = tenant.ask(&json!({"input": "hi"})).send().await.expect(200);
        assert_budgets(&rate_limit::budgets(&reply.headers), "a whole answer");
        let budgets = rate_limit::budgets_of(&reply);
        assert_eq!(budgets["credits"].remaining, 5_000 - spent, "what is left after the charge");
        assert_eq!(budgets["in-flight"].remaining, 6);
    }
}

#[tokio::test]
async fn a_stream_tells_every_budget_before_its_first_piece() {
    let world = World::verified().await;
    let tenant = with_every_budget(world, "told-stream").await;
    let stream = tenant.ask(&json!({"input": "hi"})).open().await.expect_stream().await;
    let budgets = rate_limit::budgets(&stream.headers);
    assert_budgets(&budgets, "a stream");
    let held: f64 = stream.header("x-credits-held").expect("what is held").parse().expect("credits");
    #[allow(clippy::cast_precision_loss)]
    let left = budgets[4].remaining as f64;
    assert!((left - (5_000.0 - held * 1_000.0)).abs() < 0.5, "without what is set aside: {budgets:?}");
    stream.drain().await;
}

#[tokio::test]
async fn a_tenant_without_other_budgets_is_told_its_requests_and_credits() {
    let world = World::verified().await;
    let tenant = world.tenant("told-few", 1.0).await;
    tenant.adjust(json!({"delta": 2})).await.expect(200);
    let reply = tenant.ask(&json!({"input": "hi"})).send().await.expect(200);
    let budgets = rate_limit::budgets_of(&reply);
    assert_eq!(budgets.keys().collect::<Vec<_>>(), ["credits", "requests"]);
    assert_eq!((budgets["credits"].quota, budgets["credits"].remaining), (3_000, 2_988));
}

#[tokio::test]
async fn every_refusal_for_a_budget_tells_which_one_and_when() {
    let world = World::verified().await;
    let body = json!({"input": "hi", "max_tokens": 500});
    let rows = [
        // The first request used one of one, 500 of 650 tokens, and 0.025 of 0.030.
        ("requests", json!({"requests_per_minute": 2, "requests_burst": 1}), 0..1),
        ("tokens", json!({"tokens_per_minute": 1_300, "tokens_burst": 650}), 150..400),
        ("credits-per-day", json!({"credits_per_day": 0.06, "credits_burst": 0.03}), 5..8),
    ];
    for (policy, limits, left) in rows {
        let tenant = world.tenant("told-429", 1.0).await;
        tenant.put_limits(json!({"limits": limits})).await.expect(200);
        let marker = unique_marker();
        world.groq.script(&marker, [Behaviour::answer("much", Usage::new(20, 480))]);
        let first = json!({"input": marker, "max_tokens": 500});
        tenant.ask(&first).send().await.expect(200);
        for stream in [false, true] {
            let call = tenant.ask(&body);
            let reply = if stream { call.open().await.into_reply().await } else { call.send().await };
            let reply = reply.expect_error(429, "rate_limited");
            let budgets = rate_limit::budgets(&reply.headers);
            assert_eq!(budgets[0].policy, policy, "what refuses leads");
            // What the front door repeats by itself knows no more than what it was told.
            let repeated = stream && policy == "requests";
            assert_eq!(budgets.iter().any(|other| other.policy == "credits"), !repeated, "{budgets:?}");
            assert!(left.contains(&budgets[0].remaining), "what is really left: {budgets:?}");
            let retry_after_s: i64 = reply.must_header("retry-after").parse().expect("whole seconds");
            assert_eq!(budgets[0].reset_s, Some(retry_after_s), "{policy}");
            assert!(retry_after_s >= 1, "{policy}");
        }
    }
}

#[tokio::test]
async fn what_admits_nothing_tells_every_budget_too() {
    let world = World::verified().await;
    let tenant = with_every_budget(world, "told-otherwise").await;
    let ask = |body: serde_json::Value| tenant.ask(&body);
    let key = unique_marker();
    ask(json!({"input": "hi"})).idempotency_key(&key).send().await.expect(200);
    let replay = ask(json!({"input": "hi"})).idempotency_key(&key).send().await.expect(200);
    assert_eq!(replay.must_header("idempotency-replayed"), "true");
    assert_budgets(&rate_limit::budgets(&replay.headers), "a replay");
    let other = ask(json!({"input": "other"})).idempotency_key(&key).send().await;
    let other = other.expect_error(409, "idempotency_conflict");
    assert_budgets(&rate_limit::budgets(&other.headers), "another body");
    let usage = tenant.post("/api/usage").json(&json!({"route": "own"})).send().await.expect(200);
    assert_budgets(&rate_limit::budgets(&usage.headers), "reported usage");
    tenant.adjust(json!({"delta": -4.98})).await.expect(200);
    let short = ask(json!({"input": "hi", "max_tokens": 4_000})).send().await;
    let short = short.expect_error(402, "insufficient_credits");
    let budgets = rate_limit::budgets_of(&short);
    assert!(budgets["credits"].remaining < 10, "{budgets:?}");
    assert_eq!(budgets["in-flight"].remaining, 7, "none is under way");
    assert_eq!(budgets.len(), EVERY_BUDGET.len());
    // Nobody ever opened this account; its opening would bring nothing.
    let unseen = Tenant { email: http_tests::client::unique_email("unseen"), client: world.client() };
    let unseen = unseen.ask(&json!({"input": "hi"})).send().await.expect_error(402, "insufficient_credits");
    assert_eq!(rate_limit::budgets_of(&unseen)["credits"].remaining, 0);
}
