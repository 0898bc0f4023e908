//! What a question may look like, and what of it reaches the provider.

use http_tests::client::unique_marker;
use http_tests::vars::{GROQ_MODEL, LOCAL_MODEL};
use http_tests::world::World;
use serde_json::{Value, json};

/// The messages of the one call that held `marker`, as (role, content).
fn messages(world: &World, marker: &str) -> Vec<(String, String)> {
    let calls = world.groq.calls(marker);
    assert_eq!(calls.len(), 1, "one call expected: {calls:?}");
    let body = calls[0].json();
    let list = body.get("messages").and_then(Value::as_array).cloned().unwrap_or_default();
    let member = |message: &Value, name: &str| {
        message.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    list.iter().map(|message| (member(message, "role"), member(message, "content"))).collect()
}

#[tokio::test]
async fn a_text_is_the_users_message() {
    let world = World::verified().await;
    let tenant = world.tenant("text", 1.0).await;
    let marker = unique_marker();
    let input = format!("{marker}: 1 + 1 = ? \"quoted\" \\ \n é 🙂");
    tenant.ask(&json!({"input": input})).send().await.expect(200);
    let messages = messages(world, &marker);
    assert_eq!(messages.last(), Some(&("user".to_owned(), input)));
}

#[tokio::test]
async fn an_object_reaches_the_provider_whole() {
    let world = World::verified().await;
    let tenant = world.tenant("object", 1.0).await;
    let marker = unique_marker();
    let input = json!({"question": marker, "facts": [1, {"a": null}], "text": "é"});
    tenant.ask(&json!({"input": input})).send().await.expect(200);
    let (role, content) = messages(world, &marker).pop().expect("a message");
    assert_eq!(role, "user");
    assert_eq!(serde_json::from_str::<Value>(&content).ok(), Some(input), "{content}");
}

#[tokio::test]
async fn the_system_prompt_goes_first() {
    let world = World::verified().await;
    let tenant = world.tenant("system", 1.0).await;
    let marker = unique_marker();
    let body = json!({"skill": "general", "system": "Answer in verse.", "input": marker});
    tenant.ask(&body).send().await.expect(200);
    let messages = messages(world, &marker);
    assert_eq!(messages.first(), Some(&("system".to_owned(), "Answer in verse.".to_owned())));
}

#[tokio::test]
async fn the_answers_length_is_bounded_for_the_provider() {
    let world = World::verified().await;
    let tenant = world.tenant("length", 10.0).await;
    for (asked, expected) in [
        (json!(null), 256),
        (json!(77), 77),
        (json!(4_096), 4_096),
        (json!(4_097), 4_096),
        (json!(1_000_000_000_000_u64), 4_096),
    ] {
        let marker = unique_marker();
        let body = json!({"input": marker, "max_tokens": asked});
        tenant.ask(&body).send().await.expect(200);
        let call = world.groq.calls(&marker).remove(0);
        assert_eq!(call.json().get("max_tokens"), Some(&json!(expected)), "max_tokens {asked}");
    }
}

#[tokio::test]
async fn each_provider_is_asked_for_its_own_model() {
    let world = World::private(json!({"PREFERRED_PROVIDER": "local,groq"})).await;
    let tenant = world.tenant("models", 1.0).await;
    let marker = unique_marker();
    world.local.script(&marker, [http_tests::provider_script::Behaviour::status(500)]);
    tenant.ask(&json!({"input": marker, "model": "the-clients-wish"})).send().await.expect(200);
    for (provider, model) in [(&world.local, LOCAL_MODEL), (&world.groq, GROQ_MODEL)] {
        let call = provider.calls(&marker).remove(0);
        assert_eq!(call.json().get("model"), Some(&json!(model)));
        assert_eq!(call.path, "/v1/chat/completions");
    }
}

/// Fields nobody knows are ignored; JSON may come under other names of its type, or without one.
#[tokio::test]
async fn what_is_unknown_does_not_matter() {
    let world = World::verified().await;
    let tenant = world.tenant("unknown", 1.0).await;
    let body = json!({"input": "hi", "temperature": "hot", "x": {"y": [1]}, "attachments": []});
    tenant.ask(&body).send().await.expect(200);
    for content_type in
        ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/vnd.x+json"]
    {
        let call = tenant.post("/api/si/ask").typed_body(content_type, r#"{"input":"hi"}"#);
        call.send().await.expect(200);
    }
    for skill in ["general", "Translate-2", "a.b_c"] {
        tenant.ask(&json!({"skill": skill, "input": "hi"})).send().await.expect(200);
    }
}
