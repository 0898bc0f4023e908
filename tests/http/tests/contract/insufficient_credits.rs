//! A balance that does not cover the hold: 402 with the balance object, and nobody was asked.

use crate::aliases::ASK;
use http_tests::client::{Reply, unique_marker};
use http_tests::world::{Tenant, World, assert_credits, number, text};
use serde_json::{Value, json};

fn assert_refusal(reply: Reply, tenant: &Tenant, balance: f64) -> f64 {
    let reply = reply.expect_error(402, "insufficient_credits");
    let body: Value = reply.json();
    assert_eq!(text(&body, "email"), tenant.email);
    for member in ["balance", "balance_credits", "credits"] {
        assert_credits(number(&body, member), balance, member);
    }
    assert_eq!(text(&body, "updated_at"), text(&body, "updated"));
    assert!(chrono::DateTime::parse_from_rfc3339(text(&body, "updated")).is_ok());
    number(&body, "needed")
}

#[tokio::test]
async fn without_credit_nobody_is_asked() {
    let world = World::verified().await;
    let tenant = world.tenant("poor", 0.0).await;
    for path in ASK {
        let marker = unique_marker();
        let call = || tenant.post(path).json(&json!({"input": marker}));
        assert_refusal(call().send().await, &tenant, 0.0);
        let streamed = call().open().await;
        assert_refusal(streamed.into_reply().await, &tenant, 0.0);
        assert_eq!(world.calls_anywhere(&marker), 0, "{path}");
    }
    assert!(tenant.usage().await.is_empty());
    assert!(tenant.open_holds().await.is_empty());
}

#[tokio::test]
async fn what_is_needed_is_said_and_is_enough() {
    let world = World::verified().await;
    let tenant = world.tenant("exact", 0.001).await;
    let body = json!({"input": unique_marker(), "max_tokens": 300});
    let needed = assert_refusal(tenant.ask(&body).send().await, &tenant, 0.001);
    tenant.set_balance(needed - 0.001).await;
    assert_refusal(tenant.ask(&body).send().await, &tenant, needed - 0.001);
    tenant.set_balance(needed).await;
    tenant.ask(&body).send().await.expect(200);
    assert_credits(tenant.settled_balance().await, needed - 0.012, "after the one");
}

/// The hold grows with what the answer may become, so that the charge is covered.
#[tokio::test]
async fn more_is_needed_for_more_tokens() {
    let world = World::verified().await;
    let tenant = world.tenant("needs", 0.0).await;
    let mut needed = Vec::new();
    for body in [
        json!({"input": "hi", "max_tokens": 10}),
        json!({"input": "hi", "max_tokens": 500}),
        json!({"input": "hi ".repeat(2_000), "max_tokens": 500}),
    ] {
        needed.push(assert_refusal(tenant.ask(&body).send().await, &tenant, 0.0));
    }
    assert!(needed.windows(2).all(|pair| pair[0] < pair[1]), "{needed:?}");
    // 500 tokens of answer at 0.05 per 1,000 are 0.025.
    assert!(needed[1] >= 0.025, "{needed:?}");
}
