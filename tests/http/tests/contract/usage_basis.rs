//! Where token counts come from: the provider's report when it can be believed, else our own count.

use http_tests::client::unique_marker;
use http_tests::provider_script::{Behaviour, Completion};
use http_tests::vars::CREDIT_PER_1K;
use http_tests::world::{Tenant, World, assert_credits, number};
use serde_json::{Value, json};

const ANSWER: &str = "Seven words stand in this short answer, counted by us and nobody else. ";

fn header_count(value: &str) -> u64 {
    value.parse().unwrap_or_else(|_| panic!("{value} is no count"))
}

/// Half up to 0.001.
fn charge(tokens: u64) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let thousandths = tokens as f64 * CREDIT_PER_1K;
    (thousandths + 0.5 + 1e-9).floor() / 1_000.0
}

/// Asks with `completion` scripted; gives the counts after checking that they are ours and were charged.
async fn counted(world: &World, tenant: &Tenant, completion: Completion) -> (u64, u64) {
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::Complete(completion)]);
    let before = tenant.balance().await;
    let input = format!("{marker} {}", "some words to count ".repeat(20));
    let reply = tenant.ask(&json!({"input": input})).send().await.expect(200);
    let tokens_in = header_count(reply.must_header("x-tokens-in"));
    let tokens_out = header_count(reply.must_header("x-tokens-out"));
    let expected = charge(tokens_in + tokens_out);
    assert_eq!(reply.must_header("x-credits-used"), format!("{expected:.3}"));
    assert_credits(tenant.settled_balance().await, before - expected, "the balance");
    let item = tenant.usage().await.remove(0);
    assert_eq!(item.pointer("/meta/basis").and_then(Value::as_str), Some("counted"), "{item}");
    assert_eq!(item.get("tokens_in"), Some(&json!(tokens_in)));
    assert_eq!(item.get("tokens_out"), Some(&json!(tokens_out)));
    assert_credits(number(&item, "cost_credits"), expected, "cost_credits");
    (tokens_in, tokens_out)
}

#[tokio::test]
async fn a_provider_that_says_nothing_is_counted() {
    let world = World::verified().await;
    let tenant = world.tenant("counted", 10.0).await;
    let (tokens_in, tokens_out) = counted(world, &tenant, Completion::of(&[&ANSWER.repeat(20)])).await;
    // 80 words went in, 260 came out; any tokenizer makes between a half and three tokens of a word.
    assert!((40..600).contains(&tokens_in), "{tokens_in} tokens in");
    assert!((130..800).contains(&tokens_out), "{tokens_out} tokens out");
}

#[tokio::test]
async fn a_longer_answer_counts_for_more() {
    let world = World::verified().await;
    let tenant = world.tenant("longer", 10.0).await;
    let (_, short) = counted(world, &tenant, Completion::of(&[ANSWER])).await;
    let (_, long) = counted(world, &tenant, Completion::of(&[&ANSWER.repeat(10)])).await;
    assert!(long > short * 5, "{short} and {long} tokens");
}

#[tokio::test]
async fn a_report_that_cannot_be_is_not_believed() {
    let world = World::verified().await;
    let tenant = world.tenant("liar", 10.0).await;
    let reports = [
        json!(null),
        json!({}),
        json!("many"),
        json!([1, 2]),
        json!({"prompt_tokens": 5}),
        json!({"completion_tokens": 5}),
        json!({"prompt_tokens": -5, "completion_tokens": 5}),
        json!({"prompt_tokens": 5, "completion_tokens": "5"}),
        json!({"prompt_tokens": 1e30, "completion_tokens": 5}),
        json!({"prompt_tokens": 5, "completion_tokens": 999_999_999_999_u64}),
        json!({"prompt_tokens": null, "completion_tokens": null}),
    ];
    for report in reports {
        let completion = Completion::of(&[&ANSWER.repeat(5)]).raw_usage(report);
        let (tokens_in, tokens_out) = counted(world, &tenant, completion).await;
        assert!(tokens_in > 10 && tokens_out > 10, "{tokens_in} in, {tokens_out} out");
    }
}

#[tokio::test]
async fn the_binding_is_counted_too_when_it_says_nothing() {
    let world = World::verified().await;
    let tenant = world.tenant("counted-ai", 10.0).await;
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::status(500)]);
    world.workers_ai.script(&marker, [Behaviour::answer_without_usage(&ANSWER.repeat(20))]);
    let reply = tenant.ask(&json!({"input": marker})).send().await.expect(200);
    assert_eq!(reply.must_header("x-provider"), "cfai");
    assert!(header_count(reply.must_header("x-tokens-out")) > 100);
    let item = tenant.usage().await.remove(0);
    assert_eq!(item.pointer("/meta/basis").and_then(Value::as_str), Some("counted"));
}
