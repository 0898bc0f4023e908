//! Cases about credits and budgets: many requests at once.

use crate::aliases::ASK;
use crate::many::tally;
use crate::stage::Stage;
use crate::table::Seen;
use http_tests::client::{Reply, unique_marker};
use http_tests::provider_script::{Behaviour, Usage};
use http_tests::vars::CREDIT_PER_1K;
use http_tests::world::{Tenant, number};
use serde_json::{Value, json};
use std::time::Duration;

const ASKS: usize = 100;
const TWINS: usize = 20;
/// The provider takes its time, so that requests meet the open hold and not only the charge.
const ANSWER_DELAY: Duration = Duration::from_millis(500);

pub async fn run(stage: &Stage<'_>, seen: &Seen) {
    for path in ASK {
        credit_for_one(stage, seen, path).await;
        one_key_many_times(stage, seen, path).await;
        budgets(stage, seen, path).await;
    }
}

async fn at_once(count: usize, ask: impl Fn() -> http_tests::client::Call) -> Vec<Reply> {
    futures::future::join_all((0..count).map(|_| ask().send())).await
}

async fn credit_for_one(stage: &Stage<'_>, seen: &Seen, path: &str) {
    let tenant = stage.world.tenant("race", 0.0).await;
    let marker = unique_marker();
    let body = json!({"input": marker, "max_tokens": 256});
    let credit = number(&tenant.post(path).json(&body).send().await.expect(402).json(), "needed");
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let tokens = (credit / CREDIT_PER_1K * 1_000.0).round() as u64;
    let answer = Behaviour::answer("the only one", Usage::new(tokens / 2, tokens - tokens / 2));
    stage.world.groq.script(&marker, [Behaviour::late(ANSWER_DELAY, answer)]);
    tenant.set_balance(credit).await;
    let replies = at_once(ASKS, || tenant.post(path).json(&body)).await;
    let balance = tenant.settled_balance().await;
    let observed = format!("{}, balance {balance}", tally(&replies));
    let expected = "1 × 200, 99 × 402 insufficient_credits, balance 0";
    let what = (18, "credit for one, 100 asks at once");
    seen.note(what, stage.mode, &format!("POST {path}"), expected, &observed, observed == expected);
}

async fn one_key_many_times(stage: &Stage<'_>, seen: &Seen, path: &str) {
    let tenant = stage.world.tenant("twins", 5.0).await;
    let body = json!({"input": unique_marker()});
    let replies = at_once(TWINS, || tenant.post(path).idempotency_key("order-7").json(&body)).await;
    let mut answers: Vec<String> = replies.iter().map(Reply::text).collect();
    answers.dedup();
    tenant.settled_balance().await;
    let charges = tenant.usage().await.len();
    let other = tenant.post(path).idempotency_key("order-7").json(&json!({"input": "another"})).send().await;
    let observed = format!(
        "{}, {} answer, {charges} charge; then {} {}",
        tally(&replies),
        answers.len(),
        other.status,
        other.error()
    );
    let expected = "20 × 200, 1 answer, 1 charge; then 409 idempotency_conflict";
    let what = (19, "the same Idempotency-Key 20 times at once; then with another body");
    seen.note(what, stage.mode, &format!("POST {path}"), expected, &observed, observed == expected);
}

/// Asks until a budget refuses, waits as long as it says, and asks again.
async fn budgets(stage: &Stage<'_>, seen: &Seen, path: &str) {
    let rows = [
        ("requests", json!({"requests_per_minute": 30, "requests_burst": 2})),
        ("tokens", json!({"tokens_per_minute": 20_000, "tokens_burst": 1_000})),
        ("credits-per-day", json!({"credits_per_day": 1_000, "credits_burst": 0.04})),
        ("in-flight", json!({"in_flight": 1})),
    ];
    let tried = rows.map(|(policy, limits)| async move {
        let tenant = stage.world.tenant("over-budget", 50.0).await;
        tenant.put_limits(json!({"limits": limits})).await.expect(200);
        (policy, over(stage, &tenant, path, policy).await)
    });
    for (policy, observed) in futures::future::join_all(tried).await {
        let expected = format!("429 rate_limited by {policy}; after Retry-After 200");
        let what = (20, &*format!("over the budget of {policy}"));
        seen.note(what, stage.mode, &format!("POST {path}"), &expected, &observed, observed == expected);
    }
}

async fn over(stage: &Stage<'_>, tenant: &Tenant, path: &str, policy: &str) -> String {
    let marker = unique_marker();
    let answer = Behaviour::answer("an answer", Usage::new(300, 300));
    stage.world.groq.script(&marker, [Behaviour::late(ANSWER_DELAY, answer)]);
    let body = json!({"input": marker, "max_tokens": 600});
    let replies = at_once(6, || tenant.post(path).json(&body)).await;
    let Some(refused) = replies.iter().find(|reply| reply.status == 429) else {
        return tally(&replies);
    };
    let named = refused.json().get("policy").and_then(Value::as_str).unwrap_or_default().to_owned();
    let wait_s: u64 = refused.header("retry-after").and_then(|wait| wait.parse().ok()).unwrap_or(0);
    assert!((1..=90).contains(&wait_s), "{policy}: {refused:?}");
    tokio::time::sleep(Duration::from_secs(wait_s)).await;
    let again = tenant.post(path).json(&body).send().await;
    format!("{} {} by {named}; after Retry-After {}", refused.status, refused.error(), again.status)
}
