//! A client that goes away: settled for what it got, the provider told to stop, no hold left.

use http_tests::client::unique_marker;
use http_tests::poll::eventually;
use http_tests::provider::Provider;
use http_tests::provider_script::{Behaviour, Completion, Ending, Usage};
use http_tests::raw_http;
use http_tests::tokens::user_token;
use http_tests::world::{Tenant, World, assert_credits, number, text};
use serde_json::{Value, json};
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(6);
/// Much longer than the client waits, and below every deadline.
const ANSWER_DELAY: Duration = Duration::from_millis(1_200);
const PIECE_GAP: Duration = Duration::from_millis(100);

fn prompt(marker: &str) -> Value {
    json!({"input": format!("{marker} {}", "word ".repeat(2_000))})
}

async fn cancelled(provider: &Provider, marker: &str) {
    eventually(BOUND, "the provider's call is cancelled", || async {
        let calls = provider.calls(marker);
        if calls.iter().any(|call| call.abandoned()) { Ok(()) } else { Err(calls) }
    })
    .await;
}

/// Sends a request with `extra` header lines and goes away as soon as the provider has been asked.
async fn ask_and_leave(world: &World, tenant: &Tenant, marker: &str, extra: &str) {
    let body = json!({"input": marker}).to_string();
    let head = format!(
        "Authorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{extra}",
        user_token(&tenant.email),
        body.len(),
    );
    let asked = eventually(BOUND, "the provider is asked", || async {
        let calls = world.groq.calls(marker);
        if calls.is_empty() { Err("no call yet") } else { Ok(()) }
    });
    raw_http::leave(&world.stack.target(), "/api/si/ask", &head, body.as_bytes(), asked).await;
}

#[tokio::test]
async fn a_stream_that_is_left_is_settled_for_what_was_delivered() {
    let world = World::verified().await;
    let tenant = world.tenant("leaver", 5.0).await;
    let marker = unique_marker();
    let endless = Completion::numbered(500, PIECE_GAP).ending(Ending::Endless);
    world.groq.script(&marker, [Behaviour::Complete(endless)]);
    let mut stream = tenant.ask(&prompt(&marker)).open().await.expect_stream().await;
    for expected in ["w0 ", "w1 ", "w2 "] {
        assert_eq!(stream.next_text().await.as_deref(), Some(expected));
    }
    drop(stream);
    cancelled(&world.groq, &marker).await;
    let balance = tenant.settled_balance().await;
    let item = tenant.usage_of(1).await.remove(0);
    let meta = item.get("meta").cloned().unwrap_or_default();
    assert_eq!(text(&meta, "basis"), "counted");
    assert_ne!(text(&meta, "outcome"), "complete");
    let tokens_out = number(&item, "tokens_out");
    #[allow(clippy::cast_precision_loss)]
    let sent = world.groq.calls(&marker)[0].pieces_sent() as f64;
    assert!(tokens_out >= 3.0, "it got three pieces: {item}");
    assert!(tokens_out <= sent * 3.0, "more than the {sent} pieces there were: {item}");
    let cost = number(&item, "cost_credits");
    assert!(cost > 0.0, "the prompt alone costs something");
    assert_credits((balance * 1e3).round(), ((5.0 - cost) * 1e3).round(), "the balance");
}

#[tokio::test]
async fn a_stream_that_is_left_before_its_first_piece_costs_nothing() {
    let world = World::verified().await;
    let tenant = world.tenant("early-leaver", 5.0).await;
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::silent()]);
    ask_and_leave(world, &tenant, &marker, "Accept: text/event-stream\r\n").await;
    cancelled(&world.groq, &marker).await;
    assert_credits(tenant.settled_balance().await, 5.0, "nothing was delivered");
    assert!(tenant.usage().await.is_empty());
    let elsewhere = [&world.workers_ai, &world.openai, &world.local];
    assert!(
        elsewhere.iter().all(|provider| provider.calls(&marker).is_empty()),
        "nobody else is asked for it"
    );
}

#[tokio::test]
async fn an_answer_nobody_waits_for_is_released() {
    let world = World::verified().await;
    let tenant = world.tenant("gone", 5.0).await;
    let marker = unique_marker();
    let answer = Behaviour::answer("too late", Usage::new(52, 192));
    world.groq.script(&marker, [Behaviour::late(ANSWER_DELAY, answer)]);
    ask_and_leave(world, &tenant, &marker, "").await;
    cancelled(&world.groq, &marker).await;
    assert_credits(tenant.settled_balance().await, 5.0, "nothing was delivered");
    assert!(tenant.usage().await.is_empty());
    assert_eq!(world.calls_anywhere(&marker), 1, "nobody else is asked for it");
}

#[tokio::test]
async fn with_a_key_the_answer_is_made_charged_and_kept() {
    let world = World::verified().await;
    let tenant = world.tenant("keyed-gone", 5.0).await;
    let marker = unique_marker();
    let answer = Behaviour::answer("kept for you", Usage::new(52, 192));
    world.groq.script(&marker, [Behaviour::late(ANSWER_DELAY, answer)]);
    ask_and_leave(world, &tenant, &marker, "Idempotency-Key: come-back\r\n").await;
    let items = tenant.usage_of(1).await;
    assert_credits(number(&items[0], "cost_credits"), 0.012, "charged once");
    let again = tenant.ask(&json!({"input": marker})).idempotency_key("come-back").send().await.expect(200);
    assert_eq!(again.must_header("idempotency-replayed"), "true");
    assert_eq!(again.json().pointer("/result/content"), Some(&json!("kept for you")));
    assert_credits(tenant.settled_balance().await, 5.0 - 0.012, "charged once");
    assert_eq!(world.calls_anywhere(&marker), 1);
}

#[tokio::test]
async fn with_a_key_a_stream_that_is_left_is_finished_and_given_whole() {
    let world = World::verified().await;
    let tenant = world.tenant("keyed-leaver", 5.0).await;
    let marker = unique_marker();
    let completion = Completion::numbered(20, PIECE_GAP);
    let whole = completion.text();
    world.groq.script(&marker, [Behaviour::Complete(completion.usage(Usage::new(52, 192)))]);
    let body = json!({"input": marker});
    let mut stream = tenant.ask(&body).idempotency_key("cable").open().await.expect_stream().await;
    assert_eq!(stream.next_text().await.as_deref(), Some("w0 "));
    drop(stream);
    let again = tenant.ask(&body).idempotency_key("cable").send().await.expect(200);
    assert_eq!(again.must_header("idempotency-replayed"), "true");
    assert_eq!(again.json().pointer("/result/content"), Some(&json!(whole)));
    assert_credits(tenant.settled_balance().await, 5.0 - 0.012, "charged once");
    assert_eq!(world.calls_anywhere(&marker), 1, "the model was asked once");
    assert_eq!(tenant.usage().await.len(), 1);
}

/// A client that takes nothing for as long as a provider may be idle is not waited for. It must not take what it
/// got for the whole.
#[tokio::test]
async fn a_reader_that_is_too_slow_sees_that_its_stream_is_not_whole() {
    let world = World::verified().await;
    for (name, key) in [("slow", ""), ("slow-keyed", "Idempotency-Key: slow\r\n")] {
        let tenant = world.tenant(name, 5.0).await;
        let marker = unique_marker();
        let pieces: Vec<&str> = std::iter::repeat_n(" ", 60_000).chain(["THE-END"]).collect();
        let completion = Completion::of(&pieces).usage(Usage::new(40, 4_000));
        // All of them: on a machine so busy that the first is passed over, the next one's short answer would
        // be taken whole.
        for provider in world.providers() {
            provider.script(&marker, [Behaviour::Complete(completion.clone())]);
        }
        let body = json!({"input": marker, "max_tokens": 4_096}).to_string();
        let head = format!(
            "Authorization: Bearer {}\r\nAccept: text/event-stream\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n{key}",
            user_token(&tenant.email),
            body.len(),
        );
        let settled = async {
            tenant.usage_of(1).await;
        };
        let target = world.stack.target();
        let text = raw_http::read_late(&target, "/api/si/ask", &head, body.as_bytes(), settled).await;
        assert!(text.contains("data:"), "{name}: it got a part: {text}");
        assert!(!text.contains("THE-END"), "{name}: the test is to be slower than that");
        assert!(!text.contains(": done") && !text.contains(": usage"), "{name}: a part ended like a whole");
    }
}

/// Many leave at once: none of their holds may stay.
#[tokio::test]
async fn a_crowd_that_leaves_leaves_no_hold() {
    let world = World::verified().await;
    let tenant = world.tenant("crowd-gone", 50.0).await;
    let marker = unique_marker();
    let endless = Completion::numbered(100, PIECE_GAP).ending(Ending::Endless);
    world.groq.script(&marker, [Behaviour::Complete(endless)]);
    let streams = (0..20).map(|_| async {
        let mut stream = tenant.ask(&json!({"input": marker})).open().await.expect_stream().await;
        stream.next_text().await.expect("a piece");
    });
    futures::future::join_all(streams).await;
    tenant.settled_balance().await;
    assert_eq!(tenant.usage_of(20).await.len(), 20);
}
