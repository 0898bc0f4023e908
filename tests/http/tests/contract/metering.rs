//! What an answer costs: the vectors that clients know, the headers, and the usage item that remembers it.

use crate::aliases::ASK;
use http_tests::client::{Reply, unique_marker};
use http_tests::provider_script::{Behaviour, Usage};
use http_tests::vars::{CF_AI_MODEL, GROQ_MODEL, LOCAL_MODEL, OPENAI_MODEL};
use http_tests::world::{World, assert_credits, number, text};
use serde_json::{Value, json};

/// Tokens in, tokens out, and the charge at 0.05 credits per 1,000.
const VECTORS: [(u64, u64, &str); 9] = [
    (52, 192, "0.012"),
    (73, 26, "0.005"),
    (57, 167, "0.011"),
    (52, 34, "0.004"),
    (52, 338, "0.020"),
    (5, 5, "0.001"),
    (5, 4, "0.000"),
    (15, 15, "0.002"),
    (20_000, 4_000, "1.200"),
];

fn content(reply: &Reply) -> String {
    let body = reply.json();
    let content = body.pointer("/result/content").and_then(Value::as_str);
    content.unwrap_or_else(|| panic!("no result.content in {reply:?}")).to_owned()
}

/// A prompt that can have so many tokens: a report of more tokens than bytes is not believed.
fn asked(marker: &str, tokens_in: u64) -> String {
    format!("{marker} {}", "x".repeat(usize::try_from(tokens_in).expect("a small number")))
}

#[tokio::test]
async fn the_price_vectors_hold_on_every_alias() {
    let world = World::verified().await;
    for path in ASK {
        let tenant = world.tenant("vectors", 100.0).await;
        let mut thousandths_left = 100_000_i64;
        for (tokens_in, tokens_out, charge) in VECTORS {
            let marker = unique_marker();
            world.groq.script(&marker, [Behaviour::answer(&marker, Usage::new(tokens_in, tokens_out))]);
            let body = json!({"skill": "general", "input": asked(&marker, tokens_in), "max_tokens": 4_096});
            let reply = tenant.post(path).json(&body).send().await.expect(200);
            assert_eq!(content(&reply), marker);
            assert_eq!(reply.must_header("x-provider"), "groq");
            assert_eq!(reply.must_header("x-model"), GROQ_MODEL);
            assert_eq!(reply.must_header("x-tokens-in"), tokens_in.to_string());
            assert_eq!(reply.must_header("x-tokens-out"), tokens_out.to_string());
            assert_eq!(reply.must_header("x-credits-used"), charge, "{tokens_in}+{tokens_out}");
            thousandths_left -= charge.replace('.', "").parse::<i64>().expect("three decimals");
            #[allow(clippy::cast_precision_loss)]
            let left = thousandths_left as f64 / 1_000.0;
            assert_eq!(reply.must_header("x-credits-balance"), format!("{left:.3}"));
            assert_credits(tenant.balance().await, left, "the balance after the reply");
        }
        assert_eq!(tenant.usage().await.len(), VECTORS.len(), "one event each");
        assert!(tenant.open_holds().await.is_empty());
    }
}

#[tokio::test]
async fn the_usage_item_says_what_was_charged_for_what() {
    let world = World::verified().await;
    let tenant = world.tenant("item", 1.0).await;
    let reply = tenant.ask(&json!({"input": "hi"})).send().await.expect(200);
    let items = tenant.usage().await;
    assert_eq!(items.len(), 1, "{items:?}");
    let item = &items[0];
    assert_eq!(text(item, "email"), tenant.email);
    assert_eq!(text(item, "route"), "/api/si/ask");
    assert_eq!(item.get("tokens_in"), Some(&json!(52)));
    assert_eq!(item.get("tokens_out"), Some(&json!(192)));
    assert_credits(number(item, "cost_credits"), 0.012, "cost_credits");
    assert!(!text(item, "id").is_empty());
    assert!(chrono::DateTime::parse_from_rfc3339(text(item, "created_at")).is_ok());
    let meta = item.get("meta").cloned().unwrap_or_default();
    assert_eq!(text(&meta, "basis"), "reported");
    assert_eq!(text(&meta, "provider"), "groq");
    assert_eq!(text(&meta, "model"), GROQ_MODEL);
    assert_eq!(text(&meta, "request_id"), reply.must_header("x-request-id"));
    assert!(!text(&meta, "outcome").is_empty());
}

#[tokio::test]
async fn every_provider_is_metered_alike() {
    let world = World::verified().await;
    let tenant = world.tenant("each", 10.0).await;
    let in_order = [
        (&world.groq, "groq", GROQ_MODEL),
        (&world.workers_ai, "cfai", CF_AI_MODEL),
        (&world.openai, "openai", OPENAI_MODEL),
        (&world.local, "local", LOCAL_MODEL),
    ];
    for (index, (_, name, model)) in in_order.iter().enumerate() {
        let marker = unique_marker();
        for (provider, ..) in in_order.iter().take(index) {
            provider.script(&marker, [Behaviour::status(503)]);
        }
        let reply = tenant.ask(&json!({"input": marker})).send().await.expect(200);
        assert_eq!(reply.must_header("x-provider"), *name);
        assert_eq!(reply.must_header("x-model"), *model);
        assert_eq!(reply.must_header("x-credits-used"), "0.012", "{name}");
        assert_eq!(world.calls_anywhere(&marker), index + 1, "{name}: each asked once");
    }
    let names: Vec<String> = tenant
        .usage()
        .await
        .iter()
        .filter_map(|item| item.pointer("/meta/provider").and_then(Value::as_str).map(str::to_owned))
        .collect();
    assert_eq!(names, ["local", "openai", "cfai", "groq"]);
}

#[tokio::test]
async fn a_model_can_have_a_price_of_its_own() {
    let prices = json!({GROQ_MODEL: 1, OPENAI_MODEL: 0.002}).to_string();
    let world =
        World::private(json!({"MODEL_PRICES": prices, "PREFERRED_PROVIDER": "groq,openai,local"})).await;
    let tenant = world.tenant("priced", 10.0).await;
    let (marker, other, third) = (unique_marker(), unique_marker(), unique_marker());
    world.groq.script(&other, [Behaviour::status(500)]);
    world.openai.script(&other, [Behaviour::answer("cheap", Usage::new(1_000, 1_000))]);
    world.groq.script(&third, [Behaviour::status(500)]);
    world.openai.script(&third, [Behaviour::status(500)]);
    for (marker, provider, charge) in
        [(&marker, "groq", "0.244"), (&other, "openai", "0.004"), (&third, "local", "0.012")]
    {
        let body = json!({"input": asked(marker, 1_000), "max_tokens": 1_000});
        let reply = tenant.ask(&body).send().await.expect(200);
        assert_eq!(reply.must_header("x-provider"), provider);
        assert_eq!(reply.must_header("x-credits-used"), charge, "{provider}");
    }
    assert_credits(tenant.settled_balance().await, 10.0 - 0.26, "after the three");
}

#[tokio::test]
async fn more_than_the_hold_is_drawn_from_the_balance_and_never_below_zero() {
    let world = World::verified().await;
    let tenant = world.tenant("over", 0.035).await;
    let (within, beyond) = (unique_marker(), unique_marker());
    // More than any estimate of so short a prompt, and still what a template could make of it.
    for marker in [&within, &beyond] {
        world.groq.script(marker, [Behaviour::answer("x", Usage::new(500, 1))]);
    }
    let reply = tenant.ask(&json!({"input": within, "max_tokens": 1})).send().await.expect(200);
    assert_eq!(reply.must_header("x-credits-used"), "0.025");
    assert_eq!(reply.must_header("x-credits-balance"), "0.010");
    let reply = tenant.ask(&json!({"input": beyond, "max_tokens": 1})).send().await.expect(200);
    assert_eq!(reply.must_header("x-credits-used"), "0.010");
    assert_eq!(reply.must_header("x-credits-balance"), "0.000");
    assert_credits(tenant.settled_balance().await, 0.0, "the end");
    let charges = tenant.items("/api/credits/ledger").await;
    assert_credits(number(&charges[0], "amount"), -0.01, "what was there to take");
    assert_credits(number(&charges[0], "shortfall"), 0.015, "what was not");
}
