//! Hedging: when the first provider takes long for its first piece, the next is asked beside it.

use http_tests::client::unique_marker;
use http_tests::poll::eventually;
use http_tests::provider::Provider;
use http_tests::provider_script::{Behaviour, Completion, Usage};
use http_tests::raw_http;
use http_tests::tokens::user_token;
use http_tests::world::{SETTLE_BOUND, Tenant, World, assert_credits, text};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const HEDGE_MS: u64 = 400;

fn after(ms: u64, words: &str) -> Behaviour {
    let answer = Completion::of(&[words, " and more"]).usage(Usage::new(52, 192));
    Behaviour::late(Duration::from_millis(ms), Behaviour::Complete(answer))
}

/// A stream's provider and text, and the attempts of its usage row.
async fn streamed(tenant: &Tenant, marker: &str) -> (String, String, Vec<(String, String)>) {
    let stream = tenant.ask(&json!({"input": marker})).open().await.expect_stream().await;
    let provider = stream.header("x-provider").unwrap_or_default().to_owned();
    let said = stream.drain().await.text();
    assert_credits(tenant.settled_balance().await, 1.0 - 0.012, "charged once");
    let item = tenant.usage_of(1).await.remove(0);
    assert_eq!(item.pointer("/meta/provider"), Some(&json!(provider)));
    let attempts = item.pointer("/meta/attempts").and_then(Value::as_array).cloned().unwrap_or_default();
    let of = |attempt: &Value, member| text(attempt, member).to_owned();
    let attempts = attempts.iter().map(|one| (of(one, "provider"), of(one, "outcome"))).collect();
    (provider, said, attempts)
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(provider, outcome)| ((*provider).to_owned(), (*outcome).to_owned())).collect()
}

async fn is_hung_up_on(provider: &Provider, marker: &str) {
    eventually(SETTLE_BOUND, "the loser's call is ended", || async {
        let calls = provider.calls(marker);
        if calls.len() == 1 && calls[0].abandoned() { Ok(()) } else { Err(calls) }
    })
    .await;
}

async fn the_second_wins(world: &World) {
    let tenant = world.tenant("second-wins", 1.0).await;
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::silent()]);
    world.openai.script(&marker, [after(0, "second")]);
    let started = Instant::now();
    let (provider, said, attempts) = streamed(&tenant, &marker).await;
    assert!(started.elapsed() >= Duration::from_millis(HEDGE_MS));
    assert_eq!((provider.as_str(), said.as_str()), ("openai", "second and more"));
    assert_eq!(attempts, pairs(&[("groq", "outrun"), ("openai", "answered")]));
    is_hung_up_on(&world.groq, &marker).await;
    assert!(world.local.calls(&marker).is_empty(), "only the first is hedged");
}

async fn the_first_wins_after_all(world: &World) {
    let tenant = world.tenant("first-wins", 1.0).await;
    let marker = unique_marker();
    world.groq.script(&marker, [after(HEDGE_MS + 400, "first")]);
    world.openai.script(&marker, [Behaviour::silent()]);
    let (provider, said, attempts) = streamed(&tenant, &marker).await;
    assert_eq!((provider.as_str(), said.as_str()), ("groq", "first and more"));
    assert_eq!(attempts, pairs(&[("openai", "outrun"), ("groq", "answered")]));
    is_hung_up_on(&world.openai, &marker).await;
}

async fn a_quick_first_is_alone(world: &World) {
    let tenant = world.tenant("quick", 1.0).await;
    let marker = unique_marker();
    world.groq.script(&marker, [after(0, "quick")]);
    let (provider, _, attempts) = streamed(&tenant, &marker).await;
    assert_eq!((provider.as_str(), attempts.len()), ("groq", 0));
    assert_eq!(world.calls_anywhere(&marker), 1);
}

/// Either may fail while the other is under way; when both do, the next one's turn comes.
async fn failures_beside_each_other(world: &World) {
    let refuses = |ms| Behaviour::late(Duration::from_millis(ms), Behaviour::status(400));
    for (first, second, expected) in [
        (after(1_200, "first"), refuses(0), vec![("openai", "http_400"), ("groq", "answered")]),
        (refuses(800), after(900, "second"), vec![("groq", "http_400"), ("openai", "answered")]),
        (refuses(900), refuses(0), vec![("openai", "http_400"), ("groq", "http_400"), ("local", "answered")]),
    ] {
        let tenant = world.tenant("beside", 1.0).await;
        let marker = unique_marker();
        world.groq.script(&marker, [first]);
        world.openai.script(&marker, [second]);
        let (_, _, attempts) = streamed(&tenant, &marker).await;
        assert_eq!(attempts, pairs(&expected));
    }
}

/// An answer that comes whole has no first piece to wait for: it is not hedged.
async fn whole_answers_are_not_hedged(world: &World) {
    let tenant = world.tenant("whole", 1.0).await;
    let marker = unique_marker();
    world.groq.script(&marker, [after(HEDGE_MS + 300, "slow")]);
    assert_eq!(
        tenant.ask(&json!({"input": marker})).send().await.expect(200).must_header("x-provider"),
        "groq"
    );
    assert_eq!(world.calls_anywhere(&marker), 1);
}

/// The client goes while both are asked: both calls end, and nothing is charged.
async fn a_client_that_leaves_ends_both(world: &World) {
    let tenant = world.tenant("leaver", 1.0).await;
    let marker = unique_marker();
    for provider in [&world.groq, &world.openai] {
        provider.script(&marker, [Behaviour::silent()]);
    }
    let body = json!({"input": marker}).to_string();
    let head = format!(
        "Authorization: Bearer {}\r\nAccept: text/event-stream\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n",
        user_token(&tenant.email),
        body.len(),
    );
    let both_asked = eventually(SETTLE_BOUND, "both are asked", || async {
        let calls = world.calls_anywhere(&marker);
        if calls == 2 { Ok(()) } else { Err(calls) }
    });
    raw_http::leave(&world.stack.target(), "/api/si/ask", &head, body.as_bytes(), both_asked).await;
    is_hung_up_on(&world.groq, &marker).await;
    is_hung_up_on(&world.openai, &marker).await;
    assert_credits(tenant.settled_balance().await, 1.0, "nothing was delivered");
    assert!(world.local.calls(&marker).is_empty(), "nobody else is asked for it");
}

/// Workers AI is told that nobody wants its answer any more as every other provider is, by the binding's own signal:
/// when another one was first, and when its time is over.
#[tokio::test(flavor = "multi_thread")]
async fn the_binding_s_call_is_ended_too() {
    let world = World::private(json!({
        "HEDGE_AFTER_MS": HEDGE_MS.to_string(),
        "ANSWER_TIMEOUT_MS": "5000",
        "PROVIDERS": json!({"cfai": {"total_ms": 900}}).to_string(),
        "PREFERRED_PROVIDER": "cfai,openai",
    }))
    .await;
    let tenant = world.tenant("binding", 1.0).await;
    // What wins takes its time, so that the end of the request ends nothing.
    let marker = unique_marker();
    world.workers_ai.script(&marker, [Behaviour::silent()]);
    let answer = Completion::numbered(40, Duration::from_millis(75)).usage(Usage::new(52, 192));
    world.openai.script(&marker, [Behaviour::Complete(answer)]);
    let stream = tenant.ask(&json!({"input": marker})).open().await.expect_stream().await;
    let began = Instant::now();
    assert_eq!(stream.header("x-provider"), Some("openai"));
    is_hung_up_on(&world.workers_ai, &marker).await;
    assert!(began.elapsed() < Duration::from_millis(1_500), "only when the request ended");
    stream.drain().await;
    assert!(began.elapsed() > Duration::from_millis(2_500), "the test shows nothing");

    let marker = unique_marker();
    world.workers_ai.script(&marker, [Behaviour::silent()]);
    world.openai.script(&marker, [after(3_000, "late")]);
    let began = Instant::now();
    let ended = async {
        eventually(SETTLE_BOUND, "it is asked", || async {
            if world.workers_ai.calls(&marker).is_empty() { Err(()) } else { Ok(()) }
        })
        .await;
        is_hung_up_on(&world.workers_ai, &marker).await;
        began.elapsed()
    };
    let (reply, ended) = tokio::join!(tenant.ask(&json!({"input": marker})).send(), ended);
    assert_eq!(reply.expect(200).must_header("x-provider"), "openai");
    assert!(ended < Duration::from_millis(2_500), "only when the request ended: {ended:?}");

    // What answers is read to its end, and ended by nobody.
    let marker = unique_marker();
    for streams in [false, true] {
        let ask = tenant.ask(&json!({"input": marker}));
        if streams {
            ask.open().await.expect_stream().await.drain().await;
        } else {
            ask.send().await.expect(200);
        }
    }
    let calls = world.workers_ai.calls(&marker);
    assert!(calls.len() == 2 && calls.iter().all(|call| !call.abandoned()), "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hedging() {
    let world = World::private(json!({
        "HEDGE_AFTER_MS": HEDGE_MS.to_string(),
        "PREFERRED_PROVIDER": "groq,openai,local",
    }))
    .await;
    tokio::join!(
        the_second_wins(&world),
        the_first_wins_after_all(&world),
        a_quick_first_is_alone(&world),
        failures_beside_each_other(&world),
        whole_answers_are_not_hedged(&world),
        a_client_that_leaves_ends_both(&world),
    );
}
