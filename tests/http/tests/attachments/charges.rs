//! What attachments cost: the hold is made for them, and the charge can be computed again.

use crate::stage::{ask, picture, uploaded};
use http_tests::client::unique_marker;
use http_tests::provider_script::{Behaviour, Completion, Usage};
use http_tests::vars::GROQ_MODEL;
use http_tests::world::{Tenant, World, assert_credits, number, text};
use serde_json::{Value, json};
use std::time::Duration;

/// What a hold has for a picture, and for the rest of a prompt: a token for three bytes, and 32.
const IMAGE_TOKENS_HELD: u64 = 3_000;
const IMAGE_TOKENS_COUNTED: u64 = 1_000;
const PER_1K: f64 = 0.05;
const PER_IMAGE: f64 = 0.02;
const MAX_TOKENS: u64 = 100;

/// To the next thousandth, as a hold is rounded; but for what floating point adds.
fn up(credits: f64) -> f64 {
    (credits * 1e3 - 1e-6).ceil() / 1e3
}

fn thousandths(credits: f64) -> f64 {
    (credits * 1e3 + 1e-9).round() / 1e3
}

async fn world() -> World {
    let price = json!({"input": PER_1K, "output": PER_1K, "per_image": PER_IMAGE});
    World::private(json!({"MODEL_PRICES": json!({GROQ_MODEL: price}).to_string()})).await
}

/// Two pictures and a text, and how long the prompt is as text.
async fn attached(tenant: &Tenant) -> (Value, String) {
    let content = "word ".repeat(400);
    let keys = json!([
        uploaded(tenant, "a.png", "image/png", picture(300)).await,
        uploaded(tenant, "b.txt", "text/plain", content.clone()).await,
        uploaded(tenant, "c.png", "image/png", picture(40_000)).await,
    ]);
    let framed = format!(
        "\n\nAttachment 1: a.png (image/png), image 1\n\nAttachment 2: b.txt (text/plain)\n```\n{content}\n```\
         \n\nAttachment 3: c.png (image/png), image 2"
    );
    (keys, framed)
}

fn units(item: &Value) -> &Value {
    &item["meta"]["units"]
}

/// The charge by the row and the price, in thousandths of a credit.
fn recomputed(item: &Value) -> f64 {
    let count = |name: &str| units(item)[name].as_f64().unwrap_or(0.0);
    let tokens = (count("tokens_in") + count("tokens_out")) / 1e3 * PER_1K;
    thousandths(tokens + count("images") * PER_IMAGE)
}

#[tokio::test]
async fn the_hold_covers_texts_and_pictures() {
    let world = world().await;
    let tenant = world.tenant("held", 10.0).await;
    let (keys, framed) = attached(&tenant).await;
    let marker = unique_marker();
    let slow = Completion::numbered(3, Duration::from_millis(150));
    world.groq.script(&marker, [Behaviour::Complete(slow.usage(Usage::new(2_900, 6)))]);
    let limit = json!({"max_tokens": MAX_TOKENS, "system": ""});
    let stream = ask(&tenant, &marker, keys.clone(), limit.clone()).open().await.expect_stream().await;
    let bytes = (marker.len() + framed.len()) as u64;
    let prompt = bytes.div_ceil(3) + 32 + 2 * IMAGE_TOKENS_HELD;
    let held = up((prompt + MAX_TOKENS) as f64 / 1e3 * PER_1K + 2.0 * PER_IMAGE);
    let said: f64 = stream.header("x-credits-held").expect("what is held").parse().expect("a number");
    assert_credits(said, held, "the hold");
    stream.drain().await;
    let item = tenant.usage_of(1).await.remove(0);
    assert_eq!(units(&item), &json!({"tokens_in": 2_900, "tokens_out": 6, "images": 2}));
    assert_credits(number(&item, "cost_credits"), recomputed(&item), "the charge");
    assert_credits(recomputed(&item), 0.185, "2.906 thousand tokens and two pictures");
    assert_credits(tenant.settled_balance().await, 10.0 - 0.185, "the balance");
    tenant.verified().await;
    // Who cannot pay the hold is refused before anybody is asked, whole or as a stream.
    let poor = world.tenant("poor", held - 0.001).await;
    let (keys, _) = attached(&poor).await;
    let marker = unique_marker();
    for stream in [false, true] {
        let call = ask(&poor, &marker, keys.clone(), limit.clone());
        let reply = if stream { call.open().await.into_reply().await } else { call.send().await };
        let refused = reply.expect_error(402, "insufficient_credits").json();
        assert_credits(number(&refused, "needed"), held, "what is needed");
    }
    assert_eq!(world.calls_anywhere(&marker), 0);
    poor.set_balance(held).await;
    ask(&poor, &marker, keys, limit).send().await.expect(200);
}

#[tokio::test]
async fn what_nobody_reports_is_counted_with_its_pictures() {
    let world = world().await;
    let tenant = world.tenant("counted", 10.0).await;
    let (keys, _) = attached(&tenant).await;
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::Complete(Completion::of(&["An answer."]))]);
    ask(&tenant, &marker, keys.clone(), json!({})).send().await.expect(200);
    // Too much to be true of such a prompt is counted instead.
    let absurd = Behaviour::answer("An answer.", Usage::new(500_000, 3));
    world.groq.script(&marker, [absurd]);
    ask(&tenant, &marker, keys, json!({})).send().await.expect(200);
    let items = tenant.usage_of(2).await;
    for item in &items {
        assert_eq!(text(&item["meta"], "basis"), "counted", "{item}");
        assert_eq!(units(item)["images"], 2);
        let tokens = units(item)["tokens_in"].as_u64().expect("tokens");
        // Two pictures, 400 words and what stands around them.
        assert!((2 * IMAGE_TOKENS_COUNTED + 400..2 * IMAGE_TOKENS_COUNTED + 600).contains(&tokens), "{item}");
        assert_credits(number(item, "cost_credits"), recomputed(item), "the charge");
    }
    tenant.settled_balance().await;
    tenant.verified().await;
}

/// A limit of credits pays for the pictures first.
#[tokio::test]
async fn a_limit_of_credits_holds_with_pictures() {
    let world = world().await;
    let tenant = world.tenant("limited", 10.0).await;
    let (keys, framed) = attached(&tenant).await;
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::answer("An answer.", Usage::new(2_500, 50))]);
    let prompt = ((marker.len() + framed.len()) as u64).div_ceil(3) + 32 + 2 * IMAGE_TOKENS_HELD;
    let prompt_credits = prompt as f64 / 1e3 * PER_1K + 2.0 * PER_IMAGE;
    let limited =
        |credits: f64| ask(&tenant, &marker, keys.clone(), json!({"max_credits": credits, "system": ""}));
    let refused =
        limited(thousandths(prompt_credits - 0.002)).send().await.expect_error(400, "invalid_field");
    assert_eq!(refused.json()["field"], "max_credits");
    limited(up(prompt_credits) + 0.005).send().await.expect(200);
    let asked = world.groq.calls(&marker).remove(0).json();
    let tokens = asked["max_tokens"].as_u64().expect("a limit of tokens");
    assert!((100..=120).contains(&tokens), "0.005 credits are a hundred tokens: {tokens}");
    tenant.settled_balance().await;
    tenant.verified().await;
}
