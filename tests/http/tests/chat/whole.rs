//! Answers that come whole.

use crate::stage::{CHAT, at, body, chat, post, streamed};
use http_tests::client::unique_marker;
use http_tests::provider_script::{Behaviour, Completion, Usage};
use http_tests::vars::{CF_AI_MODEL, GROQ_MODEL};
use http_tests::world::{World, assert_credits, number, text};
use serde_json::{Value, json};

#[tokio::test]
async fn what_decides_no_price_goes_to_the_provider_and_back_as_it_came() {
    let world = World::verified().await;
    let tenant = world.tenant("chat-whole", 1.0).await;
    let marker = unique_marker();
    let tools =
        json!([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]);
    let picture = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}});
    let asked = json!({
        "model": "auto",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "name": "ann", "content": [{"type": "text", "text": marker}, picture]},
        ],
        "tools": tools, "tool_choice": "auto", "response_format": {"type": "json_object"},
        "temperature": 0.3, "seed": 7, "logit_bias": {"50256": -100}, "x_unknown": {"a": [1, 2]},
        "max_completion_tokens": 100, "user": "somebody", "stop": ["END"],
    });
    let answer = json!({
        "id": "chatcmpl-7", "object": "chat.completion", "created": 1_700_000_123, "model": "their-name",
        "system_fingerprint": "fp_1",
        "choices": [{
            "index": 0, "finish_reason": "stop", "logprobs": null,
            "message": {"role": "assistant", "content": "{\"sky\":\"blue\"}", "annotations": []},
        }],
        "usage": {"prompt_tokens": 52, "completion_tokens": 34, "total_tokens": 86, "queue_time": 0.02},
    });
    world.groq.script(&marker, [body(&answer)]);
    let reply = post(&tenant, &asked).send().await.expect(200);
    assert_eq!(reply.json(), answer, "to the last member");
    assert_eq!((reply.must_header("x-provider"), reply.must_header("x-model")), ("groq", "their-name"));
    assert_eq!(reply.must_header("x-credits-used"), "0.004");
    assert_eq!(reply.must_header("x-credits-balance"), "0.996");
    let sent = world.groq.calls(&marker).remove(0).json();
    let mut expected = asked;
    expected["model"] = json!(GROQ_MODEL);
    assert_eq!(sent, expected);
    let items = tenant.usage().await;
    assert_eq!((items.len(), text(&items[0], "route")), (1, CHAT));
    assert_credits(number(&items[0], "cost_credits"), 0.004, "the usage row");
    assert_eq!(text(at(&items[0], "/meta"), "basis"), "reported");
    tenant.verified().await;
}

#[tokio::test]
async fn calls_of_tools_come_through_and_are_counted() {
    let world = World::verified().await;
    let tenant = world.tenant("chat-tools", 1.0).await;
    let marker = unique_marker();
    let arguments = "{\"city\":\"Paris\",\"days\":\"one two three four five six seven eight nine ten\"}";
    let call =
        json!({"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": arguments}});
    let answer = json!({"choices": [{
        "index": 0, "finish_reason": "tool_calls",
        "message": {"role": "assistant", "content": null, "tool_calls": [call]},
    }]});
    world.groq.script(&marker, [body(&answer)]);
    let reply = post(&tenant, &chat(&marker, json!({}))).send().await.expect(200).json();
    assert_eq!(at(&reply, "/choices/0/message/tool_calls/0"), &call);
    // What the provider left out is there all the same.
    assert!(text(&reply, "id").starts_with("chatcmpl-"), "{reply}");
    assert_eq!((text(&reply, "object"), text(&reply, "model")), ("chat.completion", GROQ_MODEL));
    let counted = number(at(&reply, "/usage"), "completion_tokens");
    assert!((15.0..60.0).contains(&counted), "{reply}");
    assert_eq!(text(at(&tenant.usage().await[0], "/meta"), "basis"), "counted");
}

#[tokio::test]
async fn usage_that_cannot_be_true_is_not_passed_on_either() {
    let world = World::verified().await;
    for usage in [
        json!({"prompt_tokens": 10_000_000, "completion_tokens": 1}),
        json!({"prompt_tokens": 9, "completion_tokens": 1_000_000}),
        json!({"prompt_tokens": -9, "completion_tokens": 1}),
    ] {
        let tenant = world.tenant("chat-absurd", 1.0).await;
        let marker = unique_marker();
        world.groq.script(
            &marker,
            [Behaviour::Complete(Completion::of(&["Four words are here"]).raw_usage(usage))],
        );
        let reply = post(&tenant, &chat(&marker, json!({"max_tokens": 50}))).send().await.expect(200);
        let told = reply.json();
        let sum =
            number(at(&told, "/usage"), "prompt_tokens") + number(at(&told, "/usage"), "completion_tokens");
        assert_eq!(number(at(&told, "/usage"), "completion_tokens"), 4.0, "{told}");
        assert_eq!(number(at(&told, "/usage"), "total_tokens"), sum);
        assert_eq!(text(at(&tenant.usage().await[0], "/meta"), "basis"), "counted");
        assert!(tenant.balance().await > 0.99);
    }
}

#[tokio::test]
async fn several_answers_are_held_for_each() {
    let world = World::verified().await;
    // 0.05 credits for 1,000 tokens: four answers of 100 are 0.02 beside the prompt.
    let tenant = world.tenant("chat-n", 0.02).await;
    let marker = unique_marker();
    let asked = |n: u32| post(&tenant, &chat(&marker, json!({"n": n, "max_tokens": 100})));
    asked(4).send().await.expect_error(402, "insufficient_credits");
    assert_eq!(world.calls_anywhere(&marker), 0);
    let usage = Usage::new(9, 280);
    world.groq.script(&marker, [Behaviour::answer("one of three", usage)]);
    let reply = asked(3).send().await.expect(200);
    assert_eq!(reply.must_header("x-credits-used"), "0.014", "more than one answer may have");
    assert_eq!(world.groq.calls(&marker)[0].json()["n"], 3);
}

#[tokio::test]
async fn a_key_gives_the_first_answer_again() {
    let world = World::verified().await;
    let tenant = world.tenant("chat-key", 1.0).await;
    let marker = unique_marker();
    let asked = chat(&marker, json!({"max_tokens": 300}));
    let call = || post(&tenant, &asked).idempotency_key("order-7");
    let first = call().send().await.expect(200);
    let again = call().send().await.expect(200);
    assert_eq!(first.json(), again.json());
    assert_eq!(again.must_header("idempotency-replayed"), "true");
    assert_eq!(world.calls_anywhere(&marker), 1);
    let other = chat(&marker, json!({"max_tokens": 301}));
    let other = post(&tenant, &other).idempotency_key("order-7").send().await;
    other.expect_error(409, "idempotency_conflict");
    assert_eq!(tenant.usage().await.len(), 1);
}

#[tokio::test]
async fn workers_ai_answers_in_openai_s_format_too() {
    let world = World::verified().await;
    let tenant = world.tenant("chat-cfai", 1.0).await;
    let marker = unique_marker();
    world.workers_ai.script(&marker, [Behaviour::answer("From the edge.", Usage::new(20, 4))]);
    let asked = json!({"model": CF_AI_MODEL, "messages": [{"role": "user", "content": marker}]});
    let reply = post(&tenant, &asked).send().await.expect(200);
    assert_eq!(reply.must_header("x-provider"), "cfai");
    let told = reply.json();
    assert_eq!(at(&told, "/choices/0/message/content"), "From the edge.");
    assert_eq!(at(&told, "/choices/0/finish_reason"), "stop");
    assert_eq!(number(at(&told, "/usage"), "prompt_tokens"), 20.0);
    assert_eq!(world.calls_anywhere(&marker), 1, "nobody else serves that model");
}

/// What a picture, sound or a file is for a model can only be estimated, so a row that has one says so where its
/// provider said nothing; text is counted, and what a provider says is reported, whatever is in the prompt.
#[tokio::test]
async fn a_row_says_whether_its_tokens_were_reported_counted_or_estimated() {
    let world = World::verified().await;
    let tenant = world.tenant("bases", 50.0).await;
    let words = |marker: &str| json!({"type": "text", "text": marker});
    let picture = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}});
    let sound = json!({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}});
    let file = json!({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}});
    for (parts, said, basis) in [
        (vec![], None, "counted"),
        (vec![], Some(Usage::new(30, 2)), "reported"),
        (vec![picture.clone()], None, "estimated"),
        (vec![sound], None, "estimated"),
        (vec![file], None, "estimated"),
        (vec![picture], Some(Usage::new(300, 2)), "reported"),
    ] {
        for streams in [false, true] {
            let marker = unique_marker();
            let completion = Completion::of(&["Hi."]);
            let completion = if let Some(usage) = said { completion.usage(usage) } else { completion };
            world.groq.script(&marker, [Behaviour::Complete(completion)]);
            let content: Vec<Value> = std::iter::once(words(&marker)).chain(parts.iter().cloned()).collect();
            let messages = json!([{"role": "user", "content": content}]);
            let body = json!({"model": "auto", "messages": messages, "stream": streams, "max_tokens": 50});
            if streams {
                streamed(&tenant, &body).await;
            } else {
                post(&tenant, &body).send().await.expect(200);
            }
            let item = tenant.usage().await.remove(0);
            assert_eq!(item["meta"]["basis"], basis, "{parts:?}: {item}");
        }
    }
}
