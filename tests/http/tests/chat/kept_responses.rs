//! Answers that are given again to the same request, where the deployment keeps them.

use crate::stage::{at, chat, post};
use http_tests::client::{Reply, unique_marker};
use http_tests::provider_script::{Behaviour, Usage};
use http_tests::world::{Tenant, World, assert_credits, number, text};
use serde_json::{Value, json};

fn said(reply: &Reply) -> (&str, &str) {
    (reply.must_header("x-cache"), reply.must_header("x-credits-used"))
}

async fn asked(tenant: &Tenant, body: &Value) -> Reply {
    post(tenant, body).send().await.expect(200)
}

#[tokio::test]
async fn the_same_request_of_the_same_tenant_is_answered_again_for_a_part_of_the_price() {
    let world =
        World::private(json!({"RESPONSE_CACHE_TTL_SEC": "60", "RESPONSE_CACHE_PRICE_PERCENT": "25"})).await;
    let (mine, other) = (world.tenant("kept", 1.0).await, world.tenant("kept-other", 1.0).await);
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::answer("Once.", Usage::new(52, 192))]);
    let body = chat(&marker, json!({"max_tokens": 300}));
    let first = asked(&mine, &body).await;
    assert_eq!(said(&first), ("miss", "0.012"));
    let again = asked(&mine, &body).await;
    assert_eq!((said(&again), again.json()), (("hit", "0.003"), first.json()));
    assert_eq!(world.calls_anywhere(&marker), 1);
    // Another request, another tenant, and who wants a new one.
    assert_eq!(said(&asked(&mine, &chat(&marker, json!({"max_tokens": 299}))).await), ("miss", "0.012"));
    assert_eq!(said(&asked(&other, &body).await), ("miss", "0.012"));
    let fresh = post(&mine, &body).header("cache-control", "no-cache").send().await.expect(200);
    assert_eq!(said(&fresh), ("miss", "0.012"));
    assert_eq!(world.calls_anywhere(&marker), 4);
    let row = &mine.usage().await[2];
    assert_eq!((text(at(row, "/meta"), "cache"), number(at(row, "/meta"), "price_percent")), ("hit", 25.0));
    assert_credits(mine.settled_balance().await, 1.0 - 0.039, "all of it charged");
    // An ask is kept too, and a streamed one is made anew.
    let ask = json!({"input": marker, "max_tokens": 300});
    for expected in ["miss", "hit"] {
        assert_eq!(mine.ask(&ask).send().await.expect(200).must_header("x-cache"), expected);
    }
    let stream = mine.ask(&ask).open().await.expect_stream().await;
    assert_eq!(stream.header("x-cache"), None);
    stream.drain().await;
    // A refused request is no answer, and without credit there is none either.
    let poor = world.tenant("kept-poor", 0.0).await;
    post(&poor, &body).send().await.expect_error(402, "insufficient_credits");
    for tenant in [&mine, &other] {
        tenant.verified().await;
    }
}

#[tokio::test]
async fn nothing_is_kept_unless_it_is_said_for_how_long() {
    let world = World::verified().await;
    let tenant = world.tenant("not-kept", 1.0).await;
    let marker = unique_marker();
    for _ in 0..2 {
        let reply = asked(&tenant, &chat(&marker, json!({"max_tokens": 300}))).await;
        assert_eq!(reply.header("x-cache"), None);
    }
    assert_eq!(world.calls_anywhere(&marker), 2);
}
