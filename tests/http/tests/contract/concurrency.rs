//! Many requests at once on credit for one.

use http_tests::client::unique_marker;
use http_tests::provider_script::{Behaviour, Usage};
use http_tests::vars::CREDIT_PER_1K;
use http_tests::world::{Tenant, World, assert_credits, number};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const ASKS: usize = 100;
/// The provider takes its time, so that requests meet the open hold and not only the charge.
const ANSWER_DELAY: Duration = Duration::from_millis(500);

/// What the Worker wants to set aside for `body`, told by its refusal.
async fn needed(tenant: &Tenant, body: &Value) -> f64 {
    number(&tenant.ask(body).send().await.expect(402).json(), "needed")
}

/// A usage whose charge is exactly `credits`.
fn usage_worth(credits: f64) -> Usage {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let tokens = (credits / CREDIT_PER_1K * 1_000.0).round() as u64;
    Usage::new(tokens / 2, tokens - tokens / 2)
}

/// Reads the balance until told to stop; the lowest it ever was.
async fn lowest_balance(tenant: &Tenant, stop: &AtomicBool) -> f64 {
    let mut lowest = f64::INFINITY;
    while !stop.load(Ordering::SeqCst) {
        lowest = lowest.min(tenant.balance().await);
    }
    lowest
}

async fn statuses_of_asks_at_once(tenant: &Tenant, body: &Value) -> Vec<u16> {
    let asks = (0..ASKS).map(|_| tenant.ask(body).send());
    let mut statuses: Vec<u16> =
        futures::future::join_all(asks).await.iter().map(|reply| reply.status).collect();
    statuses.sort_unstable();
    statuses
}

#[tokio::test]
async fn credit_for_one_pays_for_exactly_one() {
    let world = World::verified().await;
    let tenant = world.tenant("race", 0.0).await;
    let marker = unique_marker();
    let body = json!({"input": marker, "max_tokens": 256});
    let credit = needed(&tenant, &body).await;
    let answer = Behaviour::answer("the only one", usage_worth(credit));
    world.groq.script(&marker, [Behaviour::late(ANSWER_DELAY, answer)]);
    tenant.set_balance(credit).await;
    let stop = AtomicBool::new(false);
    let asks = async {
        let statuses = statuses_of_asks_at_once(&tenant, &body).await;
        stop.store(true, Ordering::SeqCst);
        statuses
    };
    let (statuses, lowest) = futures::future::join(asks, lowest_balance(&tenant, &stop)).await;
    let expected: Vec<u16> = std::iter::once(200).chain(std::iter::repeat_n(402, ASKS - 1)).collect();
    assert_eq!(statuses, expected);
    assert!(lowest >= 0.0, "the balance was {lowest}");
    assert_credits(tenant.settled_balance().await, 0.0, "all of it was spent");
    assert_eq!(world.calls_anywhere(&marker), 1, "one provider call");
    assert_eq!(tenant.usage().await.len(), 1, "one event");
    let charges = tenant.items("/api/credits/ledger").await;
    assert_eq!(charges.iter().filter(|entry| entry.get("kind") == Some(&json!("charge"))).count(), 1);
}

#[tokio::test]
async fn credit_for_some_pays_for_no_more_than_it_can() {
    let world = World::verified().await;
    let tenant = world.tenant("race-some", 0.0).await;
    let marker = unique_marker();
    let body = json!({"input": marker, "max_tokens": 256});
    let credit = needed(&tenant, &body).await * 7.0;
    let answer = Behaviour::answer("one of some", Usage::new(40, 60));
    world.groq.script(&marker, [Behaviour::late(ANSWER_DELAY, answer)]);
    tenant.set_balance(credit).await;
    let statuses = statuses_of_asks_at_once(&tenant, &body).await;
    let served = statuses.iter().filter(|status| **status == 200).count();
    assert!(statuses.iter().all(|status| matches!(status, 200 | 402)), "{statuses:?}");
    // Charges are smaller than holds, so what is given back may pay for later ones; never for fewer than 7.
    assert!(served >= 7, "{served} served");
    #[allow(clippy::cast_precision_loss)]
    let left = credit - served as f64 * 0.005;
    assert_credits(
        (tenant.settled_balance().await * 1_000.0).round() / 1_000.0,
        (left * 1_000.0).round() / 1_000.0,
        "charged once for each served",
    );
    assert_eq!(tenant.usage_of(served.min(100)).await.len(), served.min(100));
    assert_eq!(world.calls_anywhere(&marker), served);
}

/// Without a scarce balance all are served, and each is charged once.
#[tokio::test]
async fn credit_for_all_pays_for_all() {
    let world = World::verified().await;
    let tenant = world.tenant("race-all", 100.0).await;
    let body = json!({"input": unique_marker(), "max_tokens": 256});
    assert_eq!(statuses_of_asks_at_once(&tenant, &body).await, [200; ASKS]);
    assert_credits(tenant.settled_balance().await, 100.0 - 1.2, "100 times 0.012");
    assert_eq!(tenant.usage().await.len(), ASKS);
}
