//! Requests that are wrong: each mistake with its code, in OpenAI's form, and nothing asked of anybody.

use crate::stage::{CHAT, at, chat, post};
use http_tests::client::unique_marker;
use http_tests::raw_http;
use http_tests::tokens::user_token;
use http_tests::world::World;
use serde_json::{Value, json};

#[tokio::test]
async fn wrong_members_are_named() {
    let world = World::verified().await;
    let tenant = world.tenant("chat-wrong", 1.0).await;
    let marker = unique_marker();
    for (member, value) in [
        ("model", Value::Null),
        ("model", json!("")),
        ("model", json!(7)),
        ("messages", json!([])),
        ("messages", json!("Hello")),
        ("messages", json!([{"content": "no role"}])),
        ("stream", json!("yes")),
        ("stream_options", json!({"include_usage": 1})),
        ("n", json!(0)),
        ("n", json!(9)),
        ("max_tokens", json!(0)),
        ("max_completion_tokens", json!(-1)),
        ("service_tier", json!("priority")),
        ("store", json!(true)),
        ("web_search_options", json!({})),
        ("search_settings", json!({"include_domains": ["x.io"]})),
        ("plugins", json!([{"id": "web"}])),
        ("models", json!(["big"])),
        ("route", json!("fallback")),
        ("prediction", json!({"type": "content", "content": "x"})),
        ("tools", json!([{"type": "browser_search"}])),
        ("tools", json!([{"type": "function", "function": {"name": "f"}}, {"type": "code_interpreter"}])),
        ("tools", json!("all")),
        (
            "messages",
            json!([{"role": "user", "content": [{"type": "video_url", "video_url": {"url": "https://x.io/v"}}]}]),
        ),
        ("messages", json!([{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}])),
        ("modalities", json!(["text", "audio"])),
        ("max_credits", json!(-1)),
        ("on_hold_used", json!("maybe")),
    ] {
        let reply = post(&tenant, &chat(&marker, json!({member: value}))).send().await;
        let error = reply.expect_error(400, "invalid_field").json();
        assert_eq!(at(&error, "/error/param"), member, "{member}: {value}");
        assert_eq!(at(&error, "/error/type"), "invalid_request_error");
    }
    let unknown = post(&tenant, &chat(&marker, json!({"model": "gpt-99"}))).send().await;
    assert_eq!(at(&unknown.expect_error(404, "model_not_found").json(), "/error/param"), "model");
    assert_eq!(world.calls_anywhere(&marker), 0);
}

#[tokio::test]
async fn a_member_that_is_there_twice_has_no_meaning() {
    let world = World::verified().await;
    let tenant = world.tenant("chat-twice", 1.0).await;
    let marker = unique_marker();
    let body = format!(
        r#"{{"model":"auto","messages":[{{"role":"user","content":"short"}}],"messages":[{{"role":"user","content":"{marker}"}}]}}"#
    );
    tenant.post(CHAT).raw_json(body).send().await.expect_error(400, "invalid_json");
    assert_eq!(world.calls_anywhere(&marker), 0);
}

#[tokio::test]
async fn pictures_fit_and_what_is_larger_does_not() {
    let world = World::verified().await;
    let tenant = world.tenant("chat-large", 1.0).await;
    let marker = unique_marker();
    let with_picture = |bytes: usize| {
        let url = format!("data:image/png;base64,{}", "A".repeat(bytes));
        let parts =
            json!([{"type": "text", "text": marker}, {"type": "image_url", "image_url": {"url": url}}]);
        chat(&marker, json!({"messages": [{"role": "user", "content": parts}], "max_tokens": 300}))
    };
    let reply = post(&tenant, &with_picture(3_000_000)).send().await.expect(200);
    assert_eq!(reply.must_header("x-tokens-in"), "52", "reported, and believed");
    assert_eq!(world.groq.calls(&marker).len(), 1);
    // Refused by its length, before any of it is read: nobody need send it.
    let token = user_token(&tenant.email);
    let head = format!(
        "authorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: 9000000\r\n"
    );
    let refused = raw_http::send(&world.stack.target(), "POST", CHAT, &head, b"").await;
    assert!(refused.status == 413 && refused.text.contains("payload_too_large"), "{refused:?}");
    assert!(tenant.balance().await > 0.9, "its base64 is no text");
}

#[tokio::test]
async fn without_credit_nobody_is_asked() {
    let world = World::verified().await;
    let tenant = world.tenant("chat-poor", 0.0).await;
    let marker = unique_marker();
    let reply = post(&tenant, &chat(&marker, json!({}))).send().await;
    let error = reply.expect_error(402, "insufficient_credits").json();
    assert_eq!(at(&error, "/error/type"), "insufficient_quota");
    world.client().post(CHAT).json(&chat(&marker, json!({}))).send().await.expect(400);
    assert_eq!(world.calls_anywhere(&marker), 0);
}
