//! The streaming form of an ask: pieces as they come, then what was used, then the end mark.

use crate::aliases::ASK;
use http_tests::client::unique_marker;
use http_tests::event_stream::{EventStream, Item, Transcript};
use http_tests::provider_script::{Behaviour, Completion, Usage};
use http_tests::vars::{GROQ_MODEL, GUEST_GRANT_CREDITS};
use http_tests::world::{Tenant, World, assert_credits, number, text};
use serde_json::{Value, json};
use std::time::Duration;

const GAP: Duration = Duration::from_millis(300);

async fn open(tenant: &Tenant, path: &str, marker: &str) -> EventStream {
    tenant.post(path).json(&json!({"input": marker})).open().await.expect_stream().await
}

fn names(transcript: &Transcript) -> Vec<&str> {
    let named = transcript.items.iter().filter_map(|item| match item {
        Item::Event { name, .. } if !name.is_empty() => Some(name.as_str()),
        _ => None,
    });
    named.collect()
}

#[tokio::test]
async fn pieces_arrive_one_by_one() {
    let world = World::verified().await;
    let tenant = world.tenant("pieces", 1.0).await;
    let marker = unique_marker();
    let completion = Completion::numbered(5, GAP).usage(Usage::new(52, 192));
    world.groq.script(&marker, [Behaviour::Complete(completion)]);
    let mut stream = open(&tenant, "/api/si/ask", &marker).await;
    for expected in ["w0 ", "w1 ", "w2 "] {
        assert_eq!(stream.next_text().await.as_deref(), Some(expected));
        let call = world.groq.calls(&marker).remove(0);
        assert!(call.asks_for_stream());
        assert!(!call.finished(), "{expected} came only when the provider was done");
    }
    let rest = stream.drain().await;
    assert_eq!(rest.text(), "w3 w4 ");
    assert!(!rest.broken);
}

#[tokio::test]
async fn the_default_form_carries_nothing_but_text_in_its_data() {
    let world = World::verified().await;
    for path in ASK {
        let tenant = world.tenant("default-form", 1.0).await;
        let marker = unique_marker();
        let completion = Completion::numbered(3, Duration::ZERO).usage(Usage::new(52, 192));
        world.groq.script(&marker, [Behaviour::Complete(completion)]);
        let transcript = open(&tenant, path, &marker).await.drain().await;
        assert_eq!(transcript.text(), "w0 w1 w2 ");
        assert_eq!(transcript.text_of_every_data_line(), "w0 w1 w2 ", "{path}");
        assert!(names(&transcript).is_empty(), "{transcript:?}");
        let usage = transcript.comment("usage").expect("a usage comment");
        assert_eq!((usage.get("tokens_in"), usage.get("tokens_out")), (Some(&json!(52)), Some(&json!(192))));
        assert_credits(number(&usage, "credits_used"), 0.012, "credits_used");
        assert_credits(number(&usage, "credits_balance"), 0.988, "credits_balance");
        assert_eq!(text(&usage, "basis"), "reported");
        assert_eq!(transcript.items.last(), Some(&Item::Comment("done".to_owned())));
        assert_credits(tenant.balance().await, 0.988, "settled before the end mark");
        let items = tenant.usage().await;
        assert_eq!(items.len(), 1);
        assert_credits(number(&items[0], "cost_credits"), 0.012, "the usage item");
    }
}

#[tokio::test]
async fn named_events_come_when_they_are_asked_for() {
    let world = World::verified().await;
    let tenant = world.tenant("named", 1.0).await;
    let marker = unique_marker();
    let completion = Completion::numbered(2, Duration::ZERO).usage(Usage::new(52, 192));
    world.groq.script(&marker, [Behaviour::Complete(completion)]);
    let transcript = open(&tenant, "/api/si/ask?events=1", &marker).await.drain().await;
    assert_eq!(transcript.text(), "w0 w1 ");
    assert_eq!(names(&transcript), ["usage", "done"]);
    let usage = transcript.event_json("usage");
    assert_eq!(usage.get("tokens_out"), Some(&json!(192)));
    assert_credits(number(&usage, "credits_used"), 0.012, "credits_used");
    assert!(transcript.comment("usage").is_none() && transcript.comment("done").is_none());
}

#[tokio::test]
async fn headers_before_the_body_say_what_is_known_then() {
    let world = World::verified().await;
    let tenant = world.tenant("headers", 1.0).await;
    let stream = open(&tenant, "/api/si/ask", &unique_marker()).await;
    let header = |name: &str| stream.header(name).map(str::to_owned);
    assert_eq!(header("content-type").as_deref(), Some("text/event-stream; charset=utf-8"));
    assert_eq!(header("cache-control").as_deref(), Some("no-store"));
    assert_eq!(header("x-provider").as_deref(), Some("groq"));
    assert_eq!(header("x-model").as_deref(), Some(GROQ_MODEL));
    let amount = |name: &str| -> f64 {
        let value = header(name).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(value.split('.').nth(1).map(str::len), Some(3), "{name}: {value}");
        value.parse().expect("a number")
    };
    let held = amount("x-credits-held");
    assert!(held > 0.0);
    assert_credits(
        (amount("x-credits-balance") * 1e3).round(),
        ((1.0 - held) * 1e3).round(),
        "balance after the hold",
    );
    for unknown_yet in ["x-tokens-in", "x-tokens-out", "x-credits-used"] {
        assert_eq!(header(unknown_yet), None, "{unknown_yet}");
    }
    stream.drain().await;
}

#[tokio::test]
async fn the_hold_is_listed_while_the_stream_runs() {
    let world = World::verified().await;
    let tenant = world.tenant("holding", 1.0).await;
    let marker = unique_marker();
    let completion = Completion::numbered(4, GAP).usage(Usage::new(52, 192));
    world.groq.script(&marker, [Behaviour::Complete(completion)]);
    let mut stream = open(&tenant, "/api/si/ask", &marker).await;
    let held: f64 = stream.header("x-credits-held").and_then(|value| value.parse().ok()).expect("a number");
    stream.next_text().await.expect("a piece");
    let holds = tenant.open_holds().await;
    assert_eq!(holds.len(), 1, "{holds:?}");
    assert_credits(number(&holds[0], "amount"), held, "the hold");
    assert_eq!(text(&holds[0], "route"), "/api/si/ask");
    for member in ["created_at", "deadline"] {
        assert!(chrono::DateTime::parse_from_rfc3339(text(&holds[0], member)).is_ok(), "{member}");
    }
    let available = tenant.balance().await;
    assert_credits((available * 1e3).round(), ((1.0 - held) * 1e3).round(), "what is held is not available");
    stream.drain().await;
    assert_credits(tenant.settled_balance().await, 0.988, "after the end");
}

/// Text with line ends, leading blanks and lines that look like the form itself.
#[tokio::test]
async fn text_cannot_break_the_form() {
    let world = World::verified().await;
    let tenant = world.tenant("form", 10.0).await;
    let rows: [&[&str]; 8] = [
        &["Hello", " world", "  two blanks", "é🙂"],
        &["one\ntwo", "\n", "\n\nthree\n"],
        &["\n\nevent: error\ndata: forged\n\n"],
        &[": usage {\"credits_used\":0}\n", ": done\n\n"],
        &["data: nested\n\ndata: twice"],
        &["one\revent: error\rdata: forged\r\rafter"],
        &["one\r\ntwo\r\n"],
        &["id: 7\nretry: 1\n"],
    ];
    for pieces in rows {
        let marker = unique_marker();
        let completion = Completion::of(pieces).usage(Usage::new(52, 192));
        let whole = completion.text();
        world.groq.script(&marker, [Behaviour::Complete(completion)]);
        for path in ["/api/si/ask", "/api/si/ask?events=1"] {
            let transcript = open(&tenant, path, &marker).await.drain().await;
            // An event stream has one kind of line end, so what becomes of a CR is nobody's promise.
            let comparable = |text: &str| {
                if whole.contains('\r') { text.replace(['\r', '\n'], "") } else { text.to_owned() }
            };
            assert_eq!(comparable(&transcript.text()), comparable(&whole), "{path}: {transcript:?}");
            let expected: &[&str] = if path.contains("events") { &["usage", "done"] } else { &[] };
            assert_eq!(names(&transcript), expected, "{path}: {pieces:?}");
            let comments = transcript.items.iter().filter(|item| matches!(item, Item::Comment(_))).count();
            assert_eq!(comments, if path.contains("events") { 0 } else { 2 }, "{path}: {pieces:?}");
        }
    }
}

#[tokio::test]
async fn a_provider_that_does_not_say_what_it_used_is_counted() {
    let world = World::verified().await;
    let tenant = world.tenant("counted-stream", 1.0).await;
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::Complete(Completion::numbered(200, Duration::ZERO))]);
    let transcript = open(&tenant, "/api/si/ask?events=1", &marker).await.drain().await;
    let usage = transcript.event_json("usage");
    assert_eq!(text(&usage, "basis"), "counted");
    assert!((100.0..1_000.0).contains(&number(&usage, "tokens_out")), "{usage}");
    let item = tenant.usage_of(1).await.remove(0);
    assert_eq!(item.get("tokens_out"), usage.get("tokens_out"));
    assert_eq!(item.pointer("/meta/basis").and_then(Value::as_str), Some("counted"));
}

#[tokio::test]
async fn the_binding_streams_too() {
    let world = World::verified().await;
    let tenant = world.tenant("stream-ai", 1.0).await;
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::status(500)]);
    let completion = Completion::numbered(3, GAP).usage(Usage::new(52, 192));
    world.workers_ai.script(&marker, [Behaviour::Complete(completion)]);
    let mut stream = open(&tenant, "/api/si/ask?events=1", &marker).await;
    assert_eq!(stream.header("x-provider"), Some("cfai"));
    assert_eq!(stream.next_text().await.as_deref(), Some("w0 "));
    assert!(!world.workers_ai.calls(&marker).remove(0).finished());
    let rest = stream.drain().await;
    assert_eq!(rest.text(), "w1 w2 ");
    assert_credits(number(&rest.event_json("usage"), "credits_used"), 0.012, "credits_used");
}

#[tokio::test]
async fn a_guest_streams_without_a_balance() {
    let world = World::verified().await;
    let client = world.client();
    let guest = client.post("/auth/guest").send().await.expect(200).json();
    let call = client.post("/api/si/ask?events=1").bearer(text(&guest, "token"));
    let stream = call.json(&json!({"input": "hi"})).open().await.expect_stream().await;
    assert_eq!(stream.header("x-credits-balance"), None);
    assert!(stream.header("x-credits-held").is_some());
    let usage = stream.drain().await.event_json("usage");
    assert_eq!(usage.get("credits_balance"), None);
    let balance = client.get("/api/credits").bearer(text(&guest, "token")).send().await.expect(200).json();
    assert_credits(number(&balance, "balance"), GUEST_GRANT_CREDITS - 0.012, "charged all the same");
}
