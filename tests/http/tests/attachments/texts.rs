//! Texts that are attached.

use crate::stage::{ask, in_order, uploaded, user_content};
use http_tests::client::unique_marker;
use http_tests::provider_script::{Behaviour, Usage};
use http_tests::world::World;
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn a_text_follows_the_input_under_its_name() {
    let world = World::verified().await;
    let tenant = world.tenant("attached", 5.0).await;
    let csv = uploaded(&tenant, "my table.csv", "text/csv; charset=utf-8", "a,b\n1,é\n").await;
    let json = uploaded(&tenant, "data.json", "application/json", "\u{feff}{\"a\":\"```\"}").await;
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::answer("Read.", Usage::new(60, 10))]);
    let attachments = json!([csv, {"key": json, "name": "../the data.json"}]);
    let reply = ask(&tenant, &marker, attachments.clone(), json!({})).send().await.expect(200);
    assert_eq!(reply.json()["result"]["content"], "Read.");
    let expected = format!(
        "{marker}\n\nAttachment 1: my_table.csv (text/csv)\n```\na,b\n1,é\n```\
         \n\nAttachment 2: the_data.json (application/json)\n````\n{{\"a\":\"```\"}}\n````"
    );
    assert_eq!(user_content(&world.groq.calls(&marker)[0]), json!(expected));
    // A stream reads the same.
    let stream =
        ask(&tenant, &marker, attachments, json!({})).open().await.expect_stream().await.drain().await;
    assert_eq!(stream.text(), "Read.");
    assert_eq!(user_content(&world.groq.calls(&marker)[1]), json!(expected));
    in_order(&tenant, 5.0 - 2.0 * 0.004).await;
}

#[tokio::test]
async fn the_binding_for_text_models_reads_texts_too() {
    let world = World::verified().await;
    let tenant = world.tenant("attached-binding", 5.0).await;
    let key = uploaded(&tenant, "a.md", "text/markdown", "# Title").await;
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::status(500)]);
    let reply = ask(&tenant, &marker, json!([key]), json!({})).send().await.expect(200);
    assert_eq!(reply.must_header("x-provider"), "cfai");
    let content = user_content(&world.workers_ai.calls(&marker)[0]);
    assert!(content.as_str().is_some_and(|text| text.contains("\n```\n# Title\n```")), "{content}");
}

#[tokio::test]
async fn a_guest_attaches_what_it_uploaded() {
    let world = World::verified().await;
    let client = world.client();
    let guest = client.post("/auth/guest").send().await.expect(200).json();
    let token = guest["token"].as_str().expect("a token").to_owned();
    let upload = client.post(crate::stage::UPLOAD).query("filename", "a.txt").bearer(&token);
    let reply = upload.typed_body("text/plain", "of a guest").send().await.expect(200).json();
    let marker = unique_marker();
    let body = json!({"input": marker, "attachments": [reply["key"]]});
    client.post("/si/ask").bearer(&token).json(&body).send().await.expect(200);
    let content = user_content(&world.groq.calls(&marker)[0]);
    assert!(content.as_str().is_some_and(|text| text.contains("of a guest")), "{content}");
    // Nobody else's guest, and no address.
    let other = client.post("/auth/guest").send().await.expect(200).json();
    let other = other["token"].as_str().expect("a token");
    client.post("/si/ask").bearer(other).json(&body).send().await.expect_error(404, "attachment_not_found");
    let user = world.tenant("no-guest", 1.0).await;
    user.ask(&body).send().await.expect_error(404, "attachment_not_found");
}

#[tokio::test]
async fn the_limit_of_a_skill_holds_for_input_and_texts_together() {
    let world = World::private(json!({"CATALOG_TTL_MS": "10"})).await;
    let tenant = world.tenant("attached-skill", 5.0).await;
    let skill = json!({"system": "Short.", "reason": "r", "input_bytes_max": 300});
    let path = "/api/admin/skills/short";
    tenant.client.call(Method::PUT, path).admin().json(&skill).send().await.expect(200);
    let (small, large) = (
        uploaded(&tenant, "small.txt", "text/plain", "x".repeat(100)).await,
        uploaded(&tenant, "large.txt", "text/plain", "x".repeat(290)).await,
    );
    let marker = unique_marker();
    let of_skill = json!({"skill": "short"});
    let ask = |key: &str| ask(&tenant, &marker, json!([key]), of_skill.clone());
    ask(&small).send().await.expect(200);
    let refused = ask(&large).send().await.expect_error(413, "input_too_long").json();
    assert_eq!((&refused["skill"], &refused["max_bytes"]), (&json!("short"), &json!(300)));
    let calls = world.groq.calls(&marker);
    assert_eq!((calls.len(), &calls[0].json()["messages"][0]["content"]), (1, &json!("Short.")));
    tenant.settled_balance().await;
    tenant.verified().await;
}

#[tokio::test]
async fn the_same_request_is_answered_again_while_its_files_are_the_same() {
    let world = World::private(json!({"RESPONSE_CACHE_TTL_SEC": "60"})).await;
    let tenant = world.tenant("attached-cache", 5.0).await;
    let (one, other) = (
        uploaded(&tenant, "a.txt", "text/plain", "one").await,
        uploaded(&tenant, "a.txt", "text/plain", "other").await,
    );
    let marker = unique_marker();
    let cached = async |key: &str| {
        let reply = ask(&tenant, &marker, json!([key]), json!({})).send().await.expect(200);
        reply.must_header("x-cache").to_owned()
    };
    assert_eq!([cached(&one).await, cached(&one).await, cached(&other).await], ["miss", "hit", "miss"]);
    assert_eq!(world.calls_anywhere(&marker), 2);
    world.stack.in_bucket(json!({"delete": one}));
    let gone = ask(&tenant, &marker, json!([one]), json!({})).send().await;
    gone.expect_error(404, "attachment_not_found");
    tenant.settled_balance().await;
    tenant.verified().await;
}
