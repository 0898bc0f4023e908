//! What is set aside is what an answer may cost: no form of asking gets more work than its hold or its top-ups pay for.

use http_tests::client::unique_marker;
use http_tests::event_stream::Transcript;
use http_tests::provider_script::{Behaviour, Completion, Ending, Usage};
use http_tests::vars::CREDIT_PER_1K;
use http_tests::world::{Tenant, World, assert_credits, number, text, whole};
use serde_json::{Value, json};
use std::time::Duration;

/// What a stream that is topped up begins with at least, beside its prompt, and what each step is at least.
const STEP_TOKENS_MIN: f64 = 256.0;

/// A provider that sends numbered words for ever, whatever it was asked for.
fn endless() -> Behaviour {
    Behaviour::Complete(Completion::numbered(1_000, Duration::from_millis(1)).ending(Ending::Endless))
}

async fn streamed(tenant: &Tenant, body: &Value) -> Transcript {
    tenant.post("/api/si/ask?events=1").json(body).open().await.expect_stream().await.drain().await
}

fn charges(ledger: &[Value]) -> Vec<&Value> {
    ledger.iter().filter(|entry| text(entry, "kind") == "charge").collect()
}

/// Everything that was charged was there to be charged.
async fn assert_nothing_was_short(tenant: &Tenant) {
    let ledger = tenant.ledger().await;
    let short: Vec<&Value> = ledger.iter().filter(|entry| whole(entry, "shortfall_micro") > 0).collect();
    assert!(short.is_empty(), "{short:?}");
    tenant.verified().await;
}

#[tokio::test]
async fn whole_answers_are_never_topped_up() {
    const ASKS: usize = 40;
    const CREDIT: f64 = 0.05;
    let world = World::verified().await;
    let tenant = world.tenant("whole-top-up", CREDIT).await;
    let marker = unique_marker();
    let long = Completion::numbered(4_096, Duration::ZERO);
    world.groq.script(&marker, [Behaviour::late(Duration::from_millis(300), Behaviour::Complete(long))]);
    let ask = |max_credits: f64| {
        let body = json!({
            "input": marker, "max_tokens": 4_096, "max_credits": max_credits, "on_hold_used": "top_up",
        });
        tenant.ask(&body).send()
    };
    for reply in futures::future::join_all((0..ASKS).map(|_| ask(0.001))).await {
        assert_eq!(text(&reply.expect_error(400, "invalid_field").json(), "field"), "max_credits");
    }
    assert_eq!(world.calls_anywhere(&marker), 0, "nobody is asked for what is not paid");
    let replies = futures::future::join_all((0..ASKS).map(|_| ask(0.01))).await;
    let served = replies.iter().filter(|reply| reply.status == 200).count();
    assert!(replies.iter().all(|reply| matches!(reply.status, 200 | 402)), "{replies:?}");
    assert!(served >= 5, "{served} were served");
    let paid_for = 0.01 / CREDIT_PER_1K * 1_000.0;
    for call in world.groq.calls(&marker) {
        let asked = number(&call.json(), "max_tokens");
        assert!(asked < paid_for, "{asked} tokens are asked for where {paid_for} are paid");
    }
    let used: f64 =
        replies.iter().filter_map(|reply| reply.header("x-credits-used")?.parse::<f64>().ok()).sum();
    assert!(used <= CREDIT + 1e-9, "{used} of {CREDIT}");
    let left = tenant.settled_balance().await;
    assert_credits((left * 1e3).round(), ((CREDIT - used) * 1e3).round(), "the balance");
    assert_nothing_was_short(&tenant).await;
}

#[tokio::test]
async fn a_first_step_that_pays_no_beginning_of_an_answer_is_refused() {
    let world = World::verified().await;
    let tenant = world.tenant("small-step", 5.0).await;
    let marker = unique_marker();
    for max_credits in [0.000_001, 0.001, 0.003, 0.006] {
        let body = json!({
            "input": marker, "max_tokens": 4_000, "max_credits": max_credits, "on_hold_used": "top_up",
        });
        let reply = tenant.ask(&body).open().await.into_reply().await.expect_error(400, "invalid_field");
        assert_eq!(text(&reply.json(), "field"), "max_credits", "{max_credits}");
    }
    assert_eq!(world.calls_anywhere(&marker), 0);
}

#[tokio::test]
async fn the_steps_of_a_long_stream_are_few_whatever_the_client_chose() {
    let world = World::verified().await;
    let tenant = world.tenant("few-steps", 5.0).await;
    let marker = unique_marker();
    let answer = Completion::numbered(4_000, Duration::ZERO).usage(Usage::new(60, 4_000));
    world.groq.script(&marker, [Behaviour::Complete(answer.clone())]);
    let body = json!({
        "input": marker, "max_tokens": 4_000, "max_credits": 0.008, "on_hold_used": "top_up",
    });
    let transcript = streamed(&tenant, &body).await;
    assert_eq!(transcript.text(), answer.text());
    assert_credits(number(&transcript.event_json("usage"), "credits_used"), 0.203, "4060 tokens");
    tenant.settled_balance().await;
    let ledger = tenant.ledger().await;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let most = (4_060.0 / STEP_TOKENS_MIN).ceil() as usize + 2;
    let charges = charges(&ledger).len();
    assert!((3..=most).contains(&charges), "{charges} entries of one stream, {most} at most");
    assert_nothing_was_short(&tenant).await;
}

#[tokio::test]
async fn every_stream_is_cut_where_its_hold_ends() {
    let world = World::verified().await;
    let tenant = world.tenant("cut-by-default", 5.0).await;
    let marker = unique_marker();
    world.groq.script(&marker, [endless()]);
    let body = json!({"input": marker, "max_tokens": 500});
    let stream = tenant.post("/api/si/ask?events=1").json(&body).open().await.expect_stream().await;
    let held: f64 = stream.header("x-credits-held").expect("what is held").parse().expect("credits");
    let transcript = stream.drain().await;
    let error = transcript.event_json("error");
    assert_eq!(text(&error, "error"), "hold_used_up");
    let pieces = transcript.text().split_whitespace().count();
    assert!((500..600).contains(&pieces), "{pieces} pieces for 500 tokens");
    let used = number(&error["usage"], "credits_used");
    assert!(used > 0.025 && used <= held, "{used} of {held}");
    let item = tenant.usage_of(1).await.remove(0);
    assert_eq!(text(&item["meta"], "outcome"), "hold_used_up", "{item}");
    let left = tenant.settled_balance().await;
    assert_credits((left * 1e3).round(), ((5.0 - used) * 1e3).round(), "the balance");
}

#[tokio::test]
async fn topping_up_needs_no_limit_of_the_clients_own() {
    let world = World::verified().await;
    // Less than all of the answer could cost, and enough for what it does.
    let tenant = world.tenant("topped-without", 0.05).await;
    let marker = unique_marker();
    let answer = Completion::numbered(600, Duration::from_millis(1)).usage(Usage::new(60, 600));
    world.groq.script(&marker, [Behaviour::Complete(answer.clone())]);
    let body = json!({"input": marker, "max_tokens": 4_000});
    tenant.ask(&body).send().await.expect_error(402, "insufficient_credits");
    let body = json!({"input": marker, "max_tokens": 4_000, "on_hold_used": "top_up"});
    let stream = tenant.post("/api/si/ask?events=1").json(&body).open().await.expect_stream().await;
    let held: f64 = stream.header("x-credits-held").expect("what is held").parse().expect("credits");
    assert!(held > 0.012 && held < 0.03, "{held} at first");
    let transcript = stream.drain().await;
    assert_eq!(transcript.text(), answer.text());
    assert_credits(number(&transcript.event_json("usage"), "credits_used"), 0.033, "660 tokens");
    assert_credits((tenant.settled_balance().await * 1e3).round(), 17.0, "charged once, in parts");
    assert!(charges(&tenant.ledger().await).len() >= 2, "it was topped up");
    assert_nothing_was_short(&tenant).await;
}

#[tokio::test]
async fn topping_up_without_a_limit_ends_at_what_was_asked_for() {
    let world = World::verified().await;
    let tenant = world.tenant("topped-to-the-end", 5.0).await;
    let marker = unique_marker();
    world.groq.script(&marker, [endless()]);
    let body = json!({"input": marker, "max_tokens": 1_000, "on_hold_used": "top_up"});
    let transcript = streamed(&tenant, &body).await;
    let error = transcript.event_json("error");
    assert_eq!(text(&error, "error"), "hold_used_up");
    let pieces = transcript.text().split_whitespace().count();
    assert!((1_000..1_100).contains(&pieces), "{pieces} pieces for 1000 tokens");
    let used = number(&error["usage"], "credits_used");
    assert!((0.05..0.055).contains(&used), "{used}");
    tenant.settled_balance().await;
    assert_nothing_was_short(&tenant).await;
}

#[tokio::test]
async fn pieces_of_many_tokens_are_paid_for_like_single_ones() {
    let world = World::verified().await;
    let tenant = world.tenant("batched", 0.03).await;
    let marker = unique_marker();
    let piece = "word ".repeat(60);
    let pieces = [piece.as_str(); 15];
    world.groq.script(&marker, [Behaviour::Complete(Completion::of(&pieces).usage(Usage::new(20, 900)))]);
    let body = json!({"input": marker, "max_tokens": 900, "on_hold_used": "top_up"});
    let transcript = streamed(&tenant, &body).await;
    let words = transcript.text().split_whitespace().count();
    assert!(words < 700, "{words} words for the credit of some 600 tokens");
    assert_nothing_was_short(&tenant).await;
}
