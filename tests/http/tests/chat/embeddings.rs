//! `/v1/embeddings`.

use crate::stage::{at, body};
use http_tests::client::unique_marker;
use http_tests::provider_script::Behaviour;
use http_tests::vars::{CF_AI_EMBEDDING_MODEL, EMBEDDING_MODEL};
use http_tests::world::{World, assert_credits, number, text};
use serde_json::{Value, json};

const PATH: &str = "/v1/embeddings";

#[tokio::test]
async fn texts_become_vectors_and_are_charged_by_what_is_read() {
    let world = World::verified().await;
    let tenant = world.tenant("embed", 1.0).await;
    let marker = unique_marker();
    let asked = json!({"model": "auto", "input": [marker, "b"], "dimensions": 3, "encoding_format": "float"});
    let reply = tenant.post(PATH).json(&asked).send().await.expect(200);
    let told = reply.json();
    assert_eq!(at(&told, "/data/1/embedding"), &json!([0.5, -1.0, 1]));
    assert_eq!(number(at(&told, "/usage"), "prompt_tokens"), 7.0);
    assert_eq!((reply.must_header("x-provider"), reply.must_header("x-model")), ("openai", EMBEDDING_MODEL));
    let call = world.openai.calls(&marker).remove(0);
    assert_eq!(call.path, "/v1/embeddings");
    let mut expected = asked;
    expected["model"] = json!(EMBEDDING_MODEL);
    assert_eq!(call.json(), expected);
    let row = &tenant.usage().await[0];
    assert_eq!((text(row, "route"), number(row, "tokens_in"), number(row, "tokens_out")), (PATH, 7.0, 0.0));
    assert_credits(number(row, "cost_credits"), 0.0, "seven tokens at 0.05 for a thousand");
    let many = json!({"model": "auto", "input": vec!["word word word word word word word word"; 200]});
    let answer = json!({"data": vec![json!({"embedding": [1]}); 200]});
    world.openai.script("word word word word", [body(&answer)]);
    let reply = tenant.post(PATH).json(&many).send().await.expect(200);
    // Nothing reported: eight tokens are counted of each.
    assert_eq!((reply.must_header("x-tokens-in"), reply.must_header("x-credits-used")), ("1600", "0.080"));
    assert_eq!(text(at(&tenant.usage().await[0], "/meta"), "basis"), "counted");
    tenant.verified().await;
}

#[tokio::test]
async fn workers_ai_gives_them_in_openai_s_format_in_both_encodings() {
    let world = World::verified().await;
    let tenant = world.tenant("embed-cfai", 1.0).await;
    let ask = |encoding: &str| {
        let asked = json!({"model": CF_AI_EMBEDDING_MODEL, "input": ["a", "b"], "encoding_format": encoding});
        tenant.post(PATH).json(&asked).send()
    };
    let told = ask("float").await.expect(200).json();
    assert_eq!(told["data"][1], json!({"object": "embedding", "index": 1, "embedding": [0.5, -1.0, 1.0]}));
    assert_eq!((text(&told, "object"), text(&told, "model")), ("list", CF_AI_EMBEDDING_MODEL));
    let told = ask("base64").await.expect(200).json();
    assert_eq!(told["data"][1]["embedding"], "AAAAPwAAgL8AAIA/");
}

#[tokio::test]
async fn the_next_one_is_asked_when_vectors_are_missing() {
    let world = World::verified().await;
    let tenant = world.tenant("embed-fallback", 1.0).await;
    let marker = unique_marker();
    world.openai.script(&marker, [body(&json!({"data": [{"embedding": [1]}]}))]);
    let asked = json!({"model": "auto", "input": [marker, "b"]});
    let reply = tenant.post(PATH).json(&asked).send().await.expect(200);
    assert_eq!(reply.must_header("x-provider"), "cfai");
    let asked = json!({"model": EMBEDDING_MODEL, "input": [marker, "b"]});
    tenant.post(PATH).json(&asked).send().await.expect_error(502, "si_ask_failed");
    world.openai.script(&marker, [Behaviour::status(400)]);
    tenant.post(PATH).json(&asked).send().await.expect_error(400, "request_refused");
    assert!(tenant.open_holds().await.is_empty());
}

#[tokio::test]
async fn wrong_requests_are_told_apart() {
    let world = World::verified().await;
    let tenant = world.tenant("embed-wrong", 1.0).await;
    for (member, value) in [
        ("model", Value::Null),
        ("input", Value::Null),
        ("input", json!([])),
        ("input", json!(["a", ""])),
        ("input", json!([1.5])),
        ("encoding_format", json!("hex")),
    ] {
        let mut asked = json!({"model": "auto", "input": "a"});
        asked[member] = value;
        let error = tenant.post(PATH).json(&asked).send().await.expect_error(400, "invalid_field").json();
        assert_eq!(at(&error, "/error/param"), member);
    }
    let chat_model = json!({"model": "gpt-4o-mini", "input": "a"});
    tenant.post(PATH).json(&chat_model).send().await.expect_error(404, "model_not_found");
    let poor = world.tenant("embed-poor", 0.0).await;
    let asked = json!({"model": "auto", "input": "word ".repeat(100)});
    poor.post(PATH).json(&asked).send().await.expect_error(402, "insufficient_credits");
}
