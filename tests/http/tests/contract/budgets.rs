//! Budgets beside that of requests: tokens in a minute, credits in a day, requests in flight. And that a wait
//! which was told is enough.

use http_tests::client::{Reply, unique_marker};
use http_tests::poll::eventually;
use http_tests::provider_script::{Behaviour, Usage};
use http_tests::rate_limit::{self, Budget};
use http_tests::world::{Tenant, World, assert_credits, number, text};
use serde_json::{Value, json};
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(10);
const ANSWER_DELAY: Duration = Duration::from_millis(1_200);
const DAY_S: i64 = 86_400;

/// A tenant with credit and these limits.
async fn limited(world: &World, name: &str, limits: Value) -> Tenant {
    let tenant = world.tenant(name, 50.0).await;
    tenant.put_limits(json!({"limits": limits})).await.expect(200);
    tenant
}

fn retry_after_s(reply: &Reply) -> u64 {
    reply.must_header("retry-after").parse().expect("whole seconds")
}

/// A refusal of the budget `policy`, which says so in its body and in both headers.
fn assert_refused_by(reply: Reply, policy: &str) -> Reply {
    let reply = reply.expect_error(429, "rate_limited");
    assert_eq!(text(&reply.json(), "policy"), policy);
    let budgets = rate_limit::budgets_of(&reply);
    let Budget { remaining, quota, .. } = &budgets[policy];
    assert!((0..*quota).contains(remaining), "{budgets:?}");
    assert!(retry_after_s(&reply) >= 1);
    reply
}

async fn a_hold_is_open(tenant: &Tenant) {
    eventually(BOUND, "the first request is under way", || async {
        let holds = tenant.open_holds().await;
        if holds.is_empty() { Err("none") } else { Ok(()) }
    })
    .await;
}

#[tokio::test]
async fn tokens_count_as_estimated_until_it_is_known_what_they_were() {
    let world = World::verified().await;
    let limits = json!({"tokens_per_minute": 2_000, "tokens_burst": 1_000});
    let tenant = limited(world, "tokens", limits).await;
    let (slow, quick) = (unique_marker(), unique_marker());
    let small = Behaviour::answer("a small answer", Usage::new(10, 10));
    world.groq.script(&slow, [Behaviour::late(ANSWER_DELAY, small)]);
    // Estimated at more than half of what may come at once, so two at one time do not fit.
    let body = |marker: &str| json!({"input": marker, "max_tokens": 700});
    let (slow_body, quick_body) = (body(&slow), body(&quick));
    let (first, second) = futures::future::join(tenant.ask(&slow_body).send(), async {
        a_hold_is_open(&tenant).await;
        tenant.ask(&quick_body).send().await
    })
    .await;
    assert_refused_by(second, "tokens");
    assert_eq!(world.calls_anywhere(&quick), 0, "nobody is asked for what is refused");
    let first = first.expect(200);
    assert!(rate_limit::budgets_of(&first)["tokens"].remaining < 300, "{first:?}");
    // It had 20 tokens, so there is room again at once.
    let third = tenant.ask(&quick_body).send().await.expect(200);
    assert_eq!(rate_limit::budgets_of(&third)["tokens"].unit.as_deref(), Some("tokens"));
}

#[tokio::test]
async fn credits_of_a_day_are_a_budget_too() {
    let world = World::verified().await;
    let limits = json!({"credits_per_day": 0.08, "credits_burst": 0.04});
    let tenant = limited(world, "daily", limits).await;
    // A hold of about 0.019, and a charge of 0.012.
    let body = json!({"input": "hi", "max_tokens": 300});
    for left in [0.04 - 0.02, 0.04 - 0.012 - 0.02] {
        let reply = tenant.ask(&body).send().await.expect(200);
        let budget = rate_limit::budgets_of(&reply).remove("credits-per-day").expect("the budget");
        assert_eq!((budget.quota, budget.window_s), (80, Some(DAY_S)), "{budget:?}");
        assert_eq!(budget.unit.as_deref(), Some("millicredits"));
        #[allow(clippy::cast_precision_loss)]
        let remaining = budget.remaining as f64 / 1_000.0;
        assert!((left - 0.001..left + 0.005).contains(&remaining), "{budget:?}, expected about {left}");
    }
    // 0.024 are spent, and with another hold it would be more than 0.040 at once.
    let reply = assert_refused_by(tenant.ask(&body).send().await, "credits-per-day");
    assert!(retry_after_s(&reply) > 60, "three thousandths come back in an hour and more: {reply:?}");
    assert_credits(tenant.settled_balance().await, 50.0 - 0.024, "two were charged");
}

#[tokio::test]
async fn exactly_as_many_run_at_one_time_as_may() {
    let world = World::verified().await;
    let tenant = limited(world, "in-flight", json!({"in_flight": 3})).await;
    let marker = unique_marker();
    let answer = Behaviour::answer("in time", Usage::new(52, 192));
    world.groq.script(&marker, [Behaviour::late(ANSWER_DELAY, answer)]);
    let body = json!({"input": marker});
    let replies = futures::future::join_all((0..12).map(|_| tenant.ask(&body).send())).await;
    let (served, refused): (Vec<Reply>, Vec<Reply>) =
        replies.into_iter().partition(|reply| reply.status == 200);
    assert_eq!((served.len(), refused.len()), (3, 9));
    let mut left: Vec<i64> =
        served.iter().map(|reply| rate_limit::budgets_of(reply)["in-flight"].remaining).collect();
    left.sort_unstable();
    assert_eq!(left, [0, 1, 2], "each was told how many more may run beside it");
    for reply in refused {
        let reply = assert_refused_by(reply, "in-flight");
        let budget = rate_limit::budgets_of(&reply).remove("in-flight").expect("the budget");
        assert_eq!((budget.quota, budget.window_s), (3, None));
        assert_eq!(budget.unit.as_deref(), Some("concurrent-requests"));
    }
    assert_eq!(world.calls_anywhere(&marker), 3);
    tenant.ask(&json!({"input": "hi"})).send().await.expect(200);
    assert_credits(tenant.settled_balance().await, 50.0 - 4.0 * 0.012, "four were charged");
}

#[tokio::test]
async fn a_request_that_never_fits_is_told_so_and_not_to_wait() {
    let world = World::verified().await;
    let rows = [
        ("tokens", json!({"tokens_per_minute": 1_000, "tokens_burst": 500})),
        ("credits-per-day", json!({"credits_per_day": 0.02, "credits_burst": 0.01})),
    ];
    for (policy, limits) in rows {
        let tenant = limited(world, "too-large", limits).await;
        let marker = unique_marker();
        let body = json!({"input": marker, "max_tokens": 600});
        let reply = tenant.ask(&body).send().await.expect_error(400, "exceeds_budget");
        assert_eq!(text(&reply.json(), "policy"), policy);
        assert_eq!(reply.header("retry-after"), None);
        assert_eq!(world.calls_anywhere(&marker), 0);
        tenant.ask(&json!({"input": "hi", "max_tokens": 50})).send().await.expect(200);
    }
}

/// Asks until refused, waits as long as the refusal says, and asks again.
async fn waits_as_told(
    tenant: &Tenant,
    body: &Value,
    policy: &str,
    expected_s: std::ops::RangeInclusive<u64>,
) {
    let refused = assert_refused_by(tenant.ask(body).send().await, policy);
    let wait_s = retry_after_s(&refused);
    assert!(expected_s.contains(&wait_s), "{policy}: {wait_s} s");
    let told = rate_limit::budgets_of(&refused)[policy].reset_s;
    assert_eq!(told, i64::try_from(wait_s).ok(), "both headers say the same");
    assert_refused_by(tenant.ask(body).send().await, policy);
    tokio::time::sleep(Duration::from_secs(wait_s)).await;
    tenant.ask(body).send().await.expect(200);
}

#[tokio::test]
async fn waiting_as_long_as_told_is_enough_for_requests() {
    let world = World::verified().await;
    // One request comes back in three seconds.
    let limits = json!({"requests_per_minute": 20, "requests_burst": 1});
    let tenant = limited(world, "wait-requests", limits).await;
    let body = json!({"input": "hi"});
    tenant.ask(&body).send().await.expect(200);
    waits_as_told(&tenant, &body, "requests", 1..=3).await;
}

#[tokio::test]
async fn waiting_as_long_as_told_is_enough_for_tokens() {
    let world = World::verified().await;
    // About seventeen tokens come back in a second.
    let limits = json!({"tokens_per_minute": 2_000, "tokens_burst": 1_000});
    let tenant = limited(world, "wait-tokens", limits).await;
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::answer("much", Usage::new(50, 700))]);
    let body = json!({"input": marker, "max_tokens": 800});
    let estimated = tenant.ask(&body).send().await.expect(200);
    let left = rate_limit::budgets_of(&estimated)["tokens"].remaining;
    // 750 were used, and the next estimate is to be about 60 more than what is left.
    let tokens_beyond_prompt = 800 - (1_000 - left);
    let next = json!({"input": marker, "max_tokens": 1_000 - 750 + tokens_beyond_prompt + 60});
    waits_as_told(&tenant, &next, "tokens", 1..=4).await;
}

#[tokio::test]
async fn what_is_left_is_told_by_the_limits_route_too() {
    let world = World::verified().await;
    let limits = json!({"requests_per_minute": 100, "requests_burst": 10, "credits_per_day": 8});
    let tenant = limited(world, "left", limits).await;
    for _ in 0..3 {
        tenant.ask(&json!({"input": "hi"})).send().await.expect(200);
    }
    let report = tenant.limits().await;
    let budgets = report["budgets"].as_array().cloned().unwrap_or_default();
    let of = |policy: &str| budgets.iter().find(|budget| text(budget, "policy") == policy).cloned();
    let requests = of("requests").expect("the budget of requests");
    assert_eq!((number(&requests, "limit"), number(&requests, "window_ms")), (100.0, 60_000.0));
    assert!((7.0..10.0).contains(&number(&requests, "remaining")), "{requests}");
    let credits = of("credits-per-day").expect("the budget of credits");
    assert_credits(number(&credits, "limit"), 8.0, "in credits, not thousandths");
    // Half of the limit may be spent at once; 0.036 were.
    assert!((3.963..=3.965).contains(&number(&credits, "remaining")), "{credits}");
    assert_eq!(budgets.len(), 2, "{budgets:?}");
}
