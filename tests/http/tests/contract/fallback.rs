//! A provider that fails before its first byte is left for the next one; when all fail, nothing is charged.

use http_tests::client::unique_marker;
use http_tests::provider::{PLAIN_TEXT, Provider};
use http_tests::provider_script::{Behaviour, Completion, Ending, Usage};
use http_tests::tokens::user_token;
use http_tests::vars::{FIRST_BYTE_TIMEOUT_MS, GROQ_KEY, OPENAI_KEY};
use http_tests::world::{Tenant, World, assert_credits, text};
use serde_json::{Value, json};
use std::time::Duration;

fn page(content_type: &'static str, body: &'static str) -> Behaviour {
    Behaviour::page(200, content_type, body)
}

/// Every way to fail at once; time-outs have tests of their own.
fn failures() -> Vec<(&'static str, Behaviour)> {
    let mut rows: Vec<(&'static str, Behaviour)> = vec![
        ("HTML", Behaviour::html()),
        ("truncated JSON", Behaviour::truncated_json()),
        ("an empty body", page("application/json", "")),
        ("no choices", page("application/json", r#"{"choices":[]}"#)),
        ("no content", page("application/json", r#"{"choices":[{"message":{"content":null}}]}"#)),
        ("content that is no text", page("application/json", r#"{"choices":[{"message":{"content":7}}]}"#)),
        ("an error with status 200", page("application/json", r#"{"error":{"message":"no"}}"#)),
        ("a list", page("application/json", "[]")),
        ("JSON said to be HTML", page("text/html", r#"{"choices":[{"message":{"content":"x"}}]}"#)),
    ];
    for (what, status) in
        [("400", 400), ("401", 401), ("403", 403), ("404", 404), ("429", 429), ("500", 500), ("503", 503)]
    {
        rows.push((what, Behaviour::status(status)));
    }
    rows
}

async fn asks_and_is_answered_by(world: &World, tenant: &Tenant, marker: &str, provider: &str, what: &str) {
    let before = tenant.balance().await;
    let reply = tenant.ask(&json!({"input": marker})).send().await.expect(200);
    assert_eq!(reply.must_header("x-provider"), provider, "{what}");
    assert_eq!(reply.json().pointer("/result/content"), Some(&json!(PLAIN_TEXT)), "{what}");
    assert_credits(tenant.settled_balance().await, before - 0.012, what);
    assert_eq!(world.groq.calls(marker).len(), 1, "{what}: asked once");
}

#[tokio::test]
async fn every_failure_falls_over_to_the_next() {
    let world = World::verified().await;
    let tenant = world.tenant("fallback", 10.0).await;
    let mut rows = failures();
    rows.push(("a broken body", Behaviour::Complete(Completion::of(&["half"]).ending(Ending::Broken))));
    for (what, behaviour) in rows {
        let marker = unique_marker();
        world.groq.script(&marker, [behaviour]);
        asks_and_is_answered_by(world, &tenant, &marker, "cfai", what).await;
    }
}

#[tokio::test]
async fn every_failure_falls_over_in_the_streaming_form() {
    let world = World::verified().await;
    let tenant = world.tenant("fallback-stream", 10.0).await;
    let mut rows = failures();
    rows.push(("an empty stream", page("text/event-stream", "")));
    rows.push(("a stream of nothing but comments", page("text/event-stream", ": hi\n\n: hi\n\n")));
    rows.push(("a stream that is no JSON", page("text/event-stream", "data: <html>\n\n")));
    rows.push((
        "a stream that is an error",
        page("text/event-stream", "data: {\"error\":{\"message\":\"no\"}}\n\n"),
    ));
    rows.push((
        "a stream that breaks before its first piece",
        Behaviour::Complete(Completion::of(&[]).ending(Ending::Broken)),
    ));
    for (what, behaviour) in rows {
        let (marker, before) = (unique_marker(), tenant.balance().await);
        world.groq.script(&marker, [behaviour]);
        let stream = tenant.ask(&json!({"input": marker})).open().await.expect_stream().await;
        assert_eq!(stream.header("x-provider"), Some("cfai"), "{what}");
        let transcript = stream.drain().await;
        assert_eq!(transcript.text(), PLAIN_TEXT, "{what}");
        assert!(transcript.comment("done").is_some(), "{what}: {transcript:?}");
        assert_credits(tenant.settled_balance().await, before - 0.012, what);
    }
}

#[tokio::test]
async fn a_silent_provider_is_left_at_its_deadline() {
    let world = World::verified().await;
    let tenant = world.tenant("silent", 10.0).await;
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::silent()]);
    let started = std::time::Instant::now();
    asks_and_is_answered_by(world, &tenant, &marker, "cfai", "silence").await;
    let waited = started.elapsed();
    assert!(waited >= Duration::from_millis(FIRST_BYTE_TIMEOUT_MS - 100), "left after {waited:?}");
    let stream = tenant.ask(&json!({"input": marker})).open().await.expect_stream().await;
    assert_eq!(stream.header("x-provider"), Some("cfai"));
    stream.drain().await;
    http_tests::poll::eventually(Duration::from_secs(5), "the silent calls are cancelled", || async {
        let calls = world.groq.calls(&marker);
        if calls.len() == 2 && calls.iter().all(|call| call.abandoned()) { Ok(()) } else { Err(calls) }
    })
    .await;
}

#[tokio::test]
async fn when_all_fail_nothing_is_charged() {
    let world = World::verified().await;
    let tenant = world.tenant("all-fail", 1.0).await;
    let marker = unique_marker();
    for provider in world.providers() {
        provider.script(&marker, [Behaviour::status(500)]);
    }
    let json_form = tenant.ask(&json!({"input": marker})).send().await;
    let stream_form = tenant.ask(&json!({"input": marker})).open().await.into_reply().await;
    for reply in [json_form, stream_form] {
        let reply = reply.expect_error(502, "si_ask_failed");
        let body = reply.json();
        let detail = text(&body, "detail");
        for name in ["groq", "cfai", "openai", "local"] {
            assert!(detail.contains(name), "{name} is not in the detail: {detail}");
        }
        for header in ["x-credits-used", "x-credits-held", "x-provider"] {
            assert_eq!(reply.header(header), None, "{header}");
        }
    }
    assert_eq!(world.calls_anywhere(&marker), 8, "each provider once a request");
    assert_credits(tenant.settled_balance().await, 1.0, "nothing is charged");
    assert!(tenant.usage().await.is_empty());
    assert_eq!(tenant.items("/api/credits/ledger").await.len(), 1, "only the first credit");
}

#[tokio::test]
async fn a_key_goes_to_its_own_provider_only() {
    let world = World::verified().await;
    let tenant = world.tenant("keys", 1.0).await;
    let marker = unique_marker();
    for provider in [&world.groq, &world.workers_ai, &world.openai] {
        provider.script(&marker, [Behaviour::status(500)]);
    }
    for stream in [false, true] {
        let call = tenant.ask(&json!({"input": marker}));
        if stream {
            call.open().await.expect_stream().await.drain().await;
        } else {
            call.send().await.expect(200);
        }
    }
    let (groq, openai) = (format!("Bearer {GROQ_KEY}"), format!("Bearer {OPENAI_KEY}"));
    let rows: [(&Provider, Option<&str>); 4] = [
        (&world.groq, Some(&groq)),
        (&world.openai, Some(&openai)),
        (&world.local, None),
        (&world.workers_ai, None),
    ];
    for (provider, expected) in rows {
        let calls = provider.calls(&marker);
        assert_eq!(calls.len(), 2);
        for call in calls {
            assert_eq!(call.header("authorization"), expected);
            let everything = format!("{:?} {}", call.headers, call.body);
            assert!(!everything.contains(&user_token(&tenant.email)), "the caller's token went along");
            assert!(!everything.contains(&tenant.email), "the caller's address went along");
            let foreign = [GROQ_KEY, OPENAI_KEY].into_iter().filter(|key| everything.contains(key)).count();
            assert_eq!(foreign, usize::from(expected.is_some()), "{everything}");
        }
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let world = World::verified().await;
    let tenant = world.tenant("redirect", 1.0).await;
    let lure = Provider::start().await;
    for status in [301, 302, 303, 307, 308] {
        for stream in [false, true] {
            let marker = unique_marker();
            let to = format!("{}/chat/completions", lure.base());
            world.groq.script(&marker, [Behaviour::Redirect { status, to }]);
            let call = tenant.ask(&json!({"input": marker}));
            if stream {
                let stream = call.open().await.expect_stream().await;
                assert_eq!(stream.header("x-provider"), Some("cfai"), "{status}");
                stream.drain().await;
            } else {
                asks_and_is_answered_by(world, &tenant, &marker, "cfai", "a redirect").await;
            }
        }
    }
    assert!(lure.all_calls().is_empty(), "the lure was called: {:?}", lure.all_calls());
}

/// The second provider's own usage is charged, not the first one's.
#[tokio::test]
async fn what_the_failed_provider_said_is_not_charged() {
    let world = World::verified().await;
    let tenant = world.tenant("honest", 1.0).await;
    let marker = unique_marker();
    let usage = json!({"prompt_tokens": 5_000, "completion_tokens": 5_000});
    let body = json!({"usage": usage, "choices": []}).to_string();
    world.groq.script(&marker, [Behaviour::page(200, "application/json", body)]);
    world.workers_ai.script(&marker, [Behaviour::answer("fine", Usage::new(100, 100))]);
    let reply = tenant.ask(&json!({"input": marker})).send().await.expect(200);
    assert_eq!(reply.must_header("x-credits-used"), "0.010");
    let items: Vec<Value> = tenant.usage_of(1).await;
    assert_eq!(items[0].pointer("/meta/provider"), Some(&json!("cfai")));
}
