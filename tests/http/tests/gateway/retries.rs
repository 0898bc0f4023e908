//! Rounds over the providers: whose failure may pass is asked again, inside the one budget of the request.

use http_tests::client::unique_marker;
use http_tests::provider_script::{Behaviour, Usage};
use http_tests::vars::ASK_TIMEOUT_MS;
use http_tests::world::{Tenant, World, assert_credits, text};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Rounds after the first.
const RETRIES: usize = 2;

fn good() -> Behaviour {
    Behaviour::answer("at last", Usage::new(52, 192))
}

/// Attempts of the tenant's one usage row.
async fn attempts(tenant: &Tenant) -> Vec<(String, String)> {
    let item = tenant.usage_of(1).await.remove(0);
    let attempts = item.pointer("/meta/attempts").and_then(Value::as_array).cloned().unwrap_or_default();
    let of = |attempt: &Value, member| text(attempt, member).to_owned();
    attempts.iter().map(|attempt| (of(attempt, "provider"), of(attempt, "outcome"))).collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(provider, outcome)| ((*provider).to_owned(), (*outcome).to_owned())).collect()
}

async fn the_next_round_is_served(world: &World) {
    for streams in [false, true] {
        let tenant = world.tenant("rounds", 1.0).await;
        let marker = unique_marker();
        world.groq.script(&marker, [Behaviour::status(503), good()]);
        world.openai.script(&marker, [Behaviour::status(400)]);
        let call = tenant.ask(&json!({"input": marker}));
        if streams {
            let stream = call.open().await.expect_stream().await;
            assert_eq!(stream.header("x-provider"), Some("groq"));
            assert_eq!(stream.drain().await.text(), "at last");
        } else {
            assert_eq!(call.send().await.expect(200).must_header("x-provider"), "groq");
        }
        let expected = [("groq", "http_503"), ("openai", "http_400"), ("groq", "answered")];
        assert_eq!(attempts(&tenant).await, pairs(&expected));
        assert_eq!(world.openai.calls(&marker).len(), 1, "what was refused is not asked again");
        assert_credits(tenant.settled_balance().await, 1.0 - 0.012, "charged once");
    }
}

async fn rounds_are_counted(world: &World) {
    let tenant = world.tenant("counted", 1.0).await;
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::status(429)]);
    world.openai.script(&marker, [Behaviour::html()]);
    let started = Instant::now();
    let reply = tenant.ask(&json!({"input": marker})).send().await.expect_error(502, "si_ask_failed");
    assert!(started.elapsed() >= Duration::from_millis(50 + 100), "there are waits between the rounds");
    let body = reply.json();
    assert_eq!(
        text(&body, "detail"),
        "groq: http_429; openai: bad_content_type; groq: http_429; groq: http_429"
    );
    assert_eq!((world.groq.calls(&marker).len(), world.openai.calls(&marker).len()), (1 + RETRIES, 1));
    assert_credits(tenant.settled_balance().await, 1.0, "nothing is charged");
    assert!(tenant.usage().await.is_empty());
}

/// A 500 alone says nothing of the next try; with `Retry-After` it does. It is asked then and not before.
async fn a_provider_that_says_when_is_asked_then(world: &World) {
    for dated in [false, true] {
        // A date has whole seconds: three from now are at least two.
        let date = (chrono::Utc::now() + chrono::Duration::seconds(3)).format("%a, %d %b %Y %H:%M:%S GMT");
        let (after, least_ms) = if dated { (date.to_string(), 1_800) } else { ("1".to_owned(), 1_000) };
        let tenant = world.tenant("later", 1.0).await;
        let marker = unique_marker();
        world.groq.script(&marker, [Behaviour::busy(500, &after), good()]);
        world.openai.script(&marker, [Behaviour::status(500)]);
        let started = Instant::now();
        tenant.ask(&json!({"input": marker})).send().await.expect(200);
        assert!(started.elapsed() >= Duration::from_millis(least_ms), "{after}: {:?}", started.elapsed());
        assert_eq!((world.groq.calls(&marker).len(), world.openai.calls(&marker).len()), (2, 1), "{after}");
    }
}

/// Who would be back after the request's time is over is not waited for.
async fn what_does_not_fit_the_budget_is_not_waited_for(world: &World) {
    for after in ["30", "99999999999999999999", "Fri, 31 Dec 2100 23:59:59 GMT"] {
        let tenant = world.tenant("too-late", 1.0).await;
        let marker = unique_marker();
        for provider in [&world.groq, &world.openai] {
            provider.script(&marker, [Behaviour::busy(503, after)]);
        }
        let started = Instant::now();
        tenant.ask(&json!({"input": marker})).send().await.expect_error(502, "si_ask_failed");
        assert!(
            started.elapsed() < Duration::from_millis(ASK_TIMEOUT_MS / 2),
            "{after}: {:?}",
            started.elapsed()
        );
        assert_eq!(world.calls_anywhere(&marker), 2, "{after}");
    }
}

/// Slow failures in every round: the whole still ends with the request's time.
async fn the_budget_is_one_for_all_rounds(world: &World) {
    let tenant = world.tenant("budget", 1.0).await;
    let marker = unique_marker();
    let slow = Behaviour::late(Duration::from_millis(1_500), Behaviour::status(503));
    for provider in [&world.groq, &world.openai] {
        provider.script(&marker, [slow.clone()]);
    }
    let started = Instant::now();
    tenant.ask(&json!({"input": marker})).send().await.expect_error(502, "si_ask_failed");
    let took = started.elapsed();
    assert!(took < Duration::from_millis(ASK_TIMEOUT_MS + 2_000), "{took:?}");
    let calls = world.calls_anywhere(&marker);
    assert!((4..=5).contains(&calls), "{calls} calls of 1.5 s in {ASK_TIMEOUT_MS} ms");
    assert_credits(tenant.settled_balance().await, 1.0, "nothing is charged");
}

#[tokio::test(flavor = "multi_thread")]
async fn rounds() {
    let changes = json!({"PROVIDER_RETRIES": RETRIES.to_string(), "PREFERRED_PROVIDER": "groq,openai"});
    let world = World::private(changes).await;
    tokio::join!(
        the_next_round_is_served(&world),
        rounds_are_counted(&world),
        a_provider_that_says_when_is_asked_then(&world),
        what_does_not_fit_the_budget_is_not_waited_for(&world),
        the_budget_is_one_for_all_rounds(&world),
    );
}
