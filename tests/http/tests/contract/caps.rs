//! Spending caps: of a tenant and of a model, never passed, and told once.

use http_tests::client::{Reply, unique_marker};
use http_tests::provider_script::{Behaviour, Usage};
use http_tests::vars::{CF_AI_MODEL, GROQ_MODEL, LOCAL_MODEL, OPENAI_MODEL};
use http_tests::world::{Tenant, World, assert_credits, number, text, whole};
use serde_json::{Value, json};
use std::time::Duration;

const DAY_S: i64 = 86_400;

fn day_cap(limit: f64) -> Value {
    json!({"id": "daily", "period": "day", "limit": limit})
}

fn model_cap(model: &str, limit: f64) -> Value {
    json!({"id": format!("of-{model}"), "period": "day", "limit": limit, "model": model})
}

async fn capped(world: &World, name: &str, caps: Value) -> Tenant {
    let tenant = world.tenant(name, 50.0).await;
    tenant.put_limits(json!({"caps": caps})).await.expect(200);
    tenant
}

/// A hold of 0.018, and a charge of 0.012.
async fn ask(tenant: &Tenant) -> Reply {
    tenant.ask(&json!({"input": "hi", "max_tokens": 300})).send().await
}

fn assert_cap_reached(reply: Reply, cap: &str) {
    let reply = reply.expect_error(429, "cap_reached");
    let body = reply.json();
    assert_eq!((text(&body, "cap"), text(&body, "period")), (cap, "day"));
    // The day's cap is whole again at midnight UTC.
    let retry_after_s: i64 = reply.must_header("retry-after").parse().expect("whole seconds");
    let left_of_day_s = DAY_S - chrono::Utc::now().timestamp().rem_euclid(DAY_S);
    let off_s = (retry_after_s - left_of_day_s).rem_euclid(DAY_S);
    assert!(
        off_s <= 30 || off_s >= DAY_S - 30,
        "{retry_after_s} s, and {left_of_day_s} s are left of the day"
    );
}

#[tokio::test]
async fn a_days_cap_refuses_what_would_pass_it() {
    let world = World::verified().await;
    let tenant = capped(world, "day-cap", json!([day_cap(0.04)])).await;
    for _ in 0..2 {
        ask(&tenant).await.expect(200);
    }
    // 0.024 are spent; another hold of 0.018 would pass 0.040.
    assert_cap_reached(ask(&tenant).await, "daily");
    let streamed = tenant.ask(&json!({"input": "hi", "max_tokens": 300})).open().await;
    assert_cap_reached(streamed.into_reply().await, "daily");
    let cap = tenant.limits().await["caps"][0].clone();
    assert_credits(number(&cap, "spent"), 0.024, "spent");
    assert_credits(number(&cap, "held"), 0.0, "held");
    assert_credits(tenant.settled_balance().await, 50.0 - 0.024, "the balance");
    // What still fits is served.
    tenant.ask(&json!({"input": "hi", "max_tokens": 100})).send().await.expect(200);
    tenant.verified().await;
}

#[tokio::test]
async fn a_request_larger_than_its_cap_is_not_told_to_wait() {
    let world = World::verified().await;
    let tenant = capped(world, "small-cap", json!([day_cap(0.01)])).await;
    let reply = ask(&tenant).await.expect_error(400, "exceeds_budget");
    assert_eq!(text(&reply.json(), "policy"), "cap:daily");
    assert_eq!(reply.header("retry-after"), None);
}

#[tokio::test]
async fn a_model_whose_cap_is_used_up_is_passed_over() {
    let world = World::verified().await;
    let tenant = capped(world, "model-cap", json!([model_cap(GROQ_MODEL, 0.03)])).await;
    let first = ask(&tenant).await.expect(200);
    assert_eq!(first.must_header("x-model"), GROQ_MODEL);
    let marker = unique_marker();
    let body = json!({"input": marker, "max_tokens": 300});
    let second = tenant.ask(&body).send().await.expect(200);
    assert_eq!((second.must_header("x-provider"), second.must_header("x-model")), ("cfai", CF_AI_MODEL));
    assert!(world.groq.calls(&marker).is_empty(), "a model that may not answer is not asked");
    let stream = tenant.ask(&body).open().await.expect_stream().await;
    assert_eq!(stream.header("x-model"), Some(CF_AI_MODEL));
    stream.drain().await;
    tenant.settled_balance().await;
    let cap = tenant.limits().await["caps"][0].clone();
    assert_credits(number(&cap, "spent"), 0.012, "what others answered is not counted here");
    tenant.verified().await;
}

#[tokio::test]
async fn when_no_model_is_left_the_request_is_refused() {
    let world = World::verified().await;
    let models = [GROQ_MODEL, CF_AI_MODEL, OPENAI_MODEL, LOCAL_MODEL];
    let caps: Vec<Value> = models.iter().map(|model| model_cap(model, 0.025)).collect();
    let tenant = capped(world, "all-capped", json!(caps)).await;
    let mut answered = Vec::new();
    for _ in models {
        answered.push(ask(&tenant).await.expect(200).must_header("x-model").to_owned());
    }
    assert_eq!(answered, models, "one after the other");
    assert_cap_reached(ask(&tenant).await, &format!("of-{GROQ_MODEL}"));
}

#[tokio::test]
async fn a_soft_limit_is_told_once_and_requests_go_on() {
    let world = World::verified().await;
    let cap = json!({"id": "daily", "period": "day", "limit": 0.07, "soft": 0.02});
    let tenant = capped(world, "soft", json!([cap])).await;
    let kinds = async || {
        let notices = tenant.notices().await;
        notices.iter().map(|notice| text(notice, "type").to_owned()).collect::<Vec<_>>()
    };
    ask(&tenant).await.expect(200);
    assert!(kinds().await.is_empty(), "0.012 of 0.020");
    for _ in 0..3 {
        ask(&tenant).await.expect(200);
        assert_eq!(kinds().await, ["cap.soft"]);
    }
    let notice = tenant.notices().await.remove(0);
    let data = &notice["data"];
    assert_eq!(text(data, "cap"), "daily");
    let amounts = ["spent_micro", "soft_micro", "limit_micro"].map(|member| whole(data, member));
    assert_eq!(amounts, [24_000, 20_000, 70_000]);
    assert_eq!(text(&notice, "state"), "recorded", "there is nobody to deliver it to");
    // A charge that reaches the limit itself: 0.022 after 0.048.
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::answer("much", Usage::new(150, 290))]);
    tenant.ask(&json!({"input": marker, "max_tokens": 290})).send().await.expect(200);
    assert_eq!(kinds().await, ["cap.reached", "cap.soft"], "newest first");
}

#[tokio::test]
async fn requests_at_once_never_pass_a_cap() {
    let world = World::verified().await;
    let tenant = capped(world, "cap-race", json!([day_cap(0.1)])).await;
    let marker = unique_marker();
    // The dearest answer that was asked for, so that the charge is nearly the hold.
    let answer = Behaviour::answer("one of some", Usage::new(60, 300));
    world.groq.script(&marker, [Behaviour::late(Duration::from_millis(300), answer)]);
    let body = json!({"input": marker, "max_tokens": 300});
    let replies = futures::future::join_all((0..40).map(|_| tenant.ask(&body).send())).await;
    let served = replies.iter().filter(|reply| reply.status == 200).count();
    assert!((4..=5).contains(&served), "{served} of 0.018 each were served");
    for reply in replies.into_iter().filter(|reply| reply.status != 200) {
        // What is held comes back soon: no reason to wait for midnight.
        reply.expect_error(429, "cap_reached");
    }
    let left = tenant.settled_balance().await;
    let spent = number(&tenant.limits().await["caps"][0], "spent");
    assert!(spent <= 0.1, "{spent} of 0.100");
    assert_credits((left * 1e3).round(), ((50.0 - spent) * 1e3).round(), "all that was spent was counted");
    tenant.verified().await;
}

#[tokio::test]
async fn a_new_cap_counts_what_was_spent_before_it() {
    let world = World::verified().await;
    let tenant = world.tenant("late-cap", 50.0).await;
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::status(503)]);
    tenant.ask(&json!({"input": marker})).send().await.expect(200);
    ask(&tenant).await.expect(200);
    // Usage that a client reports of itself is no spending.
    tenant.post("/usage").json(&json!({"cost_credits": 5})).send().await.expect(200);
    let caps = json!([day_cap(0.04), model_cap(GROQ_MODEL, 1.0), {"id": "m", "period": "month", "limit": 9}]);
    let set = tenant.put_limits(json!({"caps": caps})).await.expect(200).json();
    let spent: Vec<f64> =
        set["caps"].as_array().into_iter().flatten().map(|cap| number(cap, "spent")).collect();
    assert_eq!(spent, [0.024, 0.012, 0.024], "all of it, the model's part, the month's");
    assert_cap_reached(ask(&tenant).await, "daily");
    // Setting them again forgets nothing, and a higher limit lets go on.
    let set = tenant.put_limits(json!({"caps": [day_cap(0.05)]})).await.expect(200).json();
    assert_credits(number(&set["caps"][0], "spent"), 0.024, "still counted");
    ask(&tenant).await.expect(200);
}
