//! Answers that come as a stream.

use crate::stage::{at, chat, data, post, streamed};
use http_tests::client::unique_marker;
use http_tests::event_stream::Item;
use http_tests::poll::eventually;
use http_tests::provider_script::{Behaviour, Completion, Ending, Usage};
use http_tests::vars::CF_AI_MODEL;
use http_tests::world::{SETTLE_BOUND, World, assert_credits, number, text};
use serde_json::{Value, json};
use std::time::Duration;

const GAP: Duration = Duration::from_millis(300);

fn contents(data: &[Value]) -> String {
    data.iter().filter_map(|event| event.pointer("/choices/0/delta/content")?.as_str()).collect()
}

#[tokio::test]
async fn events_go_on_as_they_come() {
    let world = World::verified().await;
    let tenant = world.tenant("chat-stream", 1.0).await;
    let marker = unique_marker();
    let completion = Completion::numbered(4, GAP).usage(Usage::new(52, 192));
    world.groq.script(&marker, [Behaviour::Complete(completion)]);
    let asked = chat(&marker, json!({"stream": true, "max_tokens": 300}));
    let mut stream = post(&tenant, &asked).open().await.expect_stream().await;
    for expected in ["w0 ", "w1 "] {
        let event: Value = serde_json::from_str(&stream.next_text().await.unwrap()).unwrap();
        assert_eq!(at(&event, "/choices/0/delta/content"), expected);
        assert_eq!(text(&event, "id"), "chatcmpl-scripted", "as the provider wrote it");
        assert!(!world.groq.calls(&marker).remove(0).finished(), "{expected} came only at the end");
    }
    let rest = stream.drain().await;
    let events = data(&rest);
    assert_eq!(contents(&events), "w2 w3 ");
    let finish = &events[events.len() - 2];
    assert_eq!(at(finish, "/choices/0/finish_reason"), "stop");
    assert_eq!(events.last(), Some(&json!("[DONE]")));
    // Nobody asked for the usage; the provider was asked, because it is charged.
    assert!(events.iter().all(|event| event.get("usage").is_none()), "{events:?}");
    let sent = world.groq.calls(&marker).remove(0).json();
    assert_eq!(at(&sent, "/stream_options/include_usage"), true);
    let charged = rest.comment("usage").expect("what was charged");
    assert_credits(number(&charged, "credits_used"), 0.012, "credits_used");
    assert_credits(tenant.balance().await, 0.988, "settled before the end mark");
}

#[tokio::test]
async fn usage_comes_when_it_is_asked_for_and_is_what_is_charged() {
    let world = World::verified().await;
    for (reported, expected) in [
        (Usage::new(52, 192).to_json(), Some((52.0, 192.0))),
        (json!({"prompt_tokens": 52, "completion_tokens": 99_999_999}), None),
    ] {
        let tenant = world.tenant("chat-usage", 1.0).await;
        let marker = unique_marker();
        let completion = Completion::of(&["One ", "two."]).raw_usage(reported);
        world.groq.script(&marker, [Behaviour::Complete(completion)]);
        let options = json!({"include_usage": true});
        let asked = chat(&marker, json!({"stream": true, "stream_options": options, "max_tokens": 200}));
        let events = data(&streamed(&tenant, &asked).await);
        let with_usage: Vec<&Value> = events.iter().filter(|event| event.get("usage").is_some()).collect();
        assert_eq!(with_usage.len(), 1, "{events:?}");
        assert_eq!(with_usage[0]["choices"], json!([]));
        assert_eq!(events.last(), Some(&json!("[DONE]")));
        let told = &with_usage[0]["usage"];
        let told = (number(told, "prompt_tokens"), number(told, "completion_tokens"));
        let row = &tenant.usage_of(1).await[0];
        assert_eq!(told, (number(row, "tokens_in"), number(row, "tokens_out")));
        assert!(expected.is_none_or(|expected| expected == told), "{told:?}");
        assert!(told.1 < 193.0);
    }
}

#[tokio::test]
async fn what_no_client_should_read_is_left_out() {
    let world = World::verified().await;
    let tenant = world.tenant("chat-manners", 1.0).await;
    let marker = unique_marker();
    let pieces = vec![
        ": ping\n\nretry: 1\nevent: x\nid: 9\ndata: {\"id\":\"a\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"He",
        "llo\"}}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\r\n\r\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1}}\n\ndata: [DONE]\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"more\"}}]}\n\n",
    ];
    world.groq.script(&marker, [Behaviour::RawEvents { pieces, gap: Duration::from_millis(50) }]);
    let transcript = streamed(&tenant, &chat(&marker, json!({"stream": true}))).await;
    let events = data(&transcript);
    assert_eq!(events.len(), 4, "{events:?}");
    assert_eq!(at(&events[0], "/choices/0/delta/role"), "assistant");
    assert_eq!((contents(&events).as_str(), events.last()), ("Hello", Some(&json!("[DONE]"))));
    assert!(!transcript.items.contains(&Item::Comment("ping".to_owned())));
    assert_eq!(text(at(&tenant.usage_of(1).await[0], "/meta"), "basis"), "reported");
}

#[tokio::test]
async fn a_stream_that_uses_up_its_hold_is_cut_with_an_error() {
    let world = World::verified().await;
    let tenant = world.tenant("chat-cut", 1.0).await;
    let marker = unique_marker();
    let endless = Completion::numbered(1_000, Duration::from_millis(1)).ending(Ending::Endless);
    world.groq.script(&marker, [Behaviour::Complete(endless)]);
    let transcript = streamed(&tenant, &chat(&marker, json!({"stream": true, "max_credits": 0.01}))).await;
    assert!(!transcript.broken);
    let events = data(&transcript);
    let last = events.last().unwrap();
    assert_eq!(at(last, "/error/code"), "hold_used_up", "{last}");
    assert_eq!(at(last, "/error/type"), "insufficient_quota");
    assert!(!events.contains(&json!("[DONE]")), "it is not complete");
    let row = &tenant.usage_of(1).await[0];
    assert!(number(row, "cost_credits") <= 0.01, "{row}");
    assert!(contents(&events).len() > 100, "what was paid for was delivered");
    assert!(tenant.open_holds().await.is_empty());
    tenant.verified().await;
}

#[tokio::test]
async fn a_provider_that_breaks_off_is_told_as_an_error() {
    let world = World::verified().await;
    let tenant = world.tenant("chat-broken", 1.0).await;
    let marker = unique_marker();
    let broken = Completion::numbered(5, Duration::ZERO).ending(Ending::Broken);
    world.groq.script(&marker, [Behaviour::Complete(broken)]);
    let events = data(&streamed(&tenant, &chat(&marker, json!({"stream": true}))).await);
    assert_eq!(at(events.last().unwrap(), "/error/code"), "provider_interrupted");
    assert_eq!(contents(&events), "w0 w1 w2 w3 w4 ");
    let row = &tenant.usage_of(1).await[0];
    assert_eq!(
        (text(at(row, "/meta"), "outcome"), text(at(row, "/meta"), "basis")),
        ("interrupted", "counted")
    );
    assert!(number(row, "cost_credits") < 0.005);
}

#[tokio::test]
async fn a_client_that_leaves_pays_for_what_it_got() {
    let world = World::verified().await;
    let tenant = world.tenant("chat-gone", 1.0).await;
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::Complete(Completion::numbered(1_000, Duration::from_millis(20)))]);
    let asked = chat(&marker, json!({"stream": true}));
    let mut stream = post(&tenant, &asked).open().await.expect_stream().await;
    for _ in 0..3 {
        stream.next_text().await.expect("a piece");
    }
    drop(stream);
    let row = &tenant.usage_of(1).await[0];
    assert_eq!(text(at(row, "/meta"), "outcome"), "client_gone");
    assert!((3.0..400.0).contains(&number(row, "tokens_out")), "{row}");
    eventually(SETTLE_BOUND, "the provider is told to stop", || async {
        let call = world.groq.calls(&marker).remove(0);
        if call.abandoned() { Ok(()) } else { Err(call.pieces_sent()) }
    })
    .await;
    assert!(tenant.open_holds().await.is_empty());
}

#[tokio::test]
async fn a_key_gives_the_first_stream_again() {
    let world = World::verified().await;
    let tenant = world.tenant("chat-stream-key", 1.0).await;
    let marker = unique_marker();
    let pieces = vec![
        "data: {\"id\":\"a\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"t\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}}]}\n\n",
        "data: {\"id\":\"a\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{}\"}}]}}]}\n\n",
        "data: {\"id\":\"a\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n",
    ];
    world.groq.script(&marker, [Behaviour::RawEvents { pieces, gap: Duration::ZERO }]);
    let asked = chat(&marker, json!({"stream": true}));
    let call = || async {
        let stream = post(&tenant, &asked).idempotency_key("tools-1").open().await.expect_stream().await;
        let replayed = stream.header("idempotency-replayed").map(str::to_owned);
        (data(&stream.drain().await), replayed)
    };
    let (first, none) = call().await;
    let (again, replayed) = call().await;
    assert_eq!((first.len(), &first), (4, &again));
    assert_eq!((none, replayed.as_deref()), (None, Some("true")));
    assert_eq!((world.calls_anywhere(&marker), tenant.usage().await.len()), (1, 1));
}

#[tokio::test]
async fn workers_ai_streams_in_openai_s_format_too() {
    let world = World::verified().await;
    let tenant = world.tenant("chat-cfai-stream", 1.0).await;
    let marker = unique_marker();
    world
        .workers_ai
        .script(&marker, [Behaviour::Complete(Completion::of(&["a", "b"]).usage(Usage::new(9, 2)))]);
    let asked =
        json!({"model": CF_AI_MODEL, "stream": true, "messages": [{"role": "user", "content": marker}]});
    let events = data(&streamed(&tenant, &asked).await);
    assert_eq!(contents(&events), "ab");
    assert!(text(&events[0], "id").starts_with("chatcmpl-"), "{events:?}");
    assert_eq!(text(&events[0], "object"), "chat.completion.chunk");
    let finish = &events[events.len() - 2];
    assert_eq!(at(finish, "/choices/0/finish_reason"), "stop");
    assert_eq!(events.last(), Some(&json!("[DONE]")));
}

#[tokio::test]
async fn of_several_answers_all_must_end() {
    let world = World::verified().await;
    let tenant = world.tenant("chat-n-broken", 1.0).await;
    let piece = |number: u32, text: &str, reason: Value| {
        let choice = json!({"index": number, "delta": {"content": text}, "finish_reason": reason});
        let event = json!({"id": "c", "object": "chat.completion.chunk", "choices": [choice]});
        &*Box::leak(format!("data: {event}\n\n").into_boxed_str())
    };
    let one = piece(0, "whole.", json!("stop"));
    for (other, outcome) in
        [(piece(1, "broken", Value::Null), "interrupted"), (piece(1, "too.", json!("stop")), "complete")]
    {
        let marker = unique_marker();
        world.groq.script(&marker, [Behaviour::RawEvents { pieces: vec![one, other], gap: Duration::ZERO }]);
        let transcript =
            streamed(&tenant, &chat(&marker, json!({"stream": true, "n": 2, "max_tokens": 50}))).await;
        let ended = data(&transcript).last() == Some(&json!("[DONE]"));
        assert_eq!(ended, outcome == "complete", "{transcript:?}");
        tenant.settled_balance().await;
        assert_eq!(text(&tenant.usage().await[0]["meta"], "outcome"), outcome);
    }
}

#[tokio::test]
async fn members_that_nobody_here_has_heard_of_are_paid_for() {
    let world = World::verified().await;
    let tenant = world.tenant("chat-documents", 9.0).await;
    let marker = unique_marker();
    let completion = Completion::of(&["short"]).usage(Usage::new(60_000, 1));
    world.groq.script(&marker, [Behaviour::Complete(completion)]);
    let document = json!([{"source": {"type": "text", "text": "word ".repeat(48_000)}}]);
    let asked = chat(&marker, json!({"stream": true, "max_tokens": 10, "documents": document}));
    streamed(&tenant, &asked).await;
    tenant.settled_balance().await;
    let row = tenant.usage().await.remove(0);
    assert_eq!((number(&row, "tokens_in"), text(&row["meta"], "basis")), (60_000.0, "reported"));
}
