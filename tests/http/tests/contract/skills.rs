//! Skills: stored, edited and taken back by an operator, and what an ask that names one does.

use crate::prices::{TTL_BOUND, TTL_MS};
use http_tests::client::{Client, Reply, unique_marker};
use http_tests::poll::eventually;
use http_tests::provider_script::Behaviour;
use http_tests::tokens::user_token;
use http_tests::vars::{LOCAL_MODEL, OPENAI_MODEL};
use http_tests::world::{Tenant, World, assert_credits, text, whole};
use reqwest::Method;
use serde_json::{Value, json};

const SUM: &str = "/api/admin/skills/sum-up";
/// Stands in every prompt that a test stores; whoever is no operator must never see it.
const PROMPT: &str = "prompt-canary-6d1f: sum up what follows.";

async fn put(client: &Client, mut skill: Value) -> Reply {
    if let Some(members) = skill.as_object_mut() {
        members.entry("system").or_insert(json!(PROMPT));
        members.entry("reason").or_insert(json!("a test of skills"));
    }
    client.call(Method::PUT, SUM).admin().json(&skill).send().await
}

async fn with_catalog() -> World {
    World::private(json!({"CATALOG_TTL_MS": TTL_MS.to_string()})).await
}

/// What a provider was told first, in the last call with this marker.
fn system_of(world: &World, marker: &str) -> Value {
    let calls: Vec<_> = world.providers().iter().flat_map(|provider| provider.calls(marker)).collect();
    let body = calls.last().unwrap_or_else(|| panic!("nobody was asked for {marker}")).json();
    let first = body.pointer("/messages/0").cloned().unwrap_or_default();
    if first["role"] == "system" { first["content"].clone() } else { Value::Null }
}

async fn meta_of(tenant: &Tenant, reply: &Reply) -> Value {
    let request_id = reply.must_header("x-request-id");
    let items = tenant.usage().await;
    let item = items.iter().find(|item| item["meta"]["request_id"] == request_id);
    item.unwrap_or_else(|| panic!("no usage of {request_id} in {items:?}"))["meta"].clone()
}

#[tokio::test]
async fn an_ask_has_the_prompt_the_model_the_limits_and_the_price_of_its_skill() {
    let world = with_catalog().await;
    let tenant = world.tenant("skilled", 50.0).await;
    let skill = json!({
        "models": ["nobody-has-this", LOCAL_MODEL], "price_multiplier": 2, "max_tokens": 200, "input_bytes_max": 200,
    });
    assert_eq!(whole(&put(&tenant.client, skill).await.expect(200).json(), "version"), 1);
    let ask = async |body: Value| {
        let marker = unique_marker();
        let mut body = body;
        body["input"] = json!(marker);
        (tenant.ask(&body).send().await, marker)
    };
    let (reply, marker) = ask(json!({"skill": "Sum-Up"})).await;
    let reply = reply.expect(200);
    assert_eq!((reply.must_header("x-provider"), reply.must_header("x-model")), ("local", LOCAL_MODEL));
    assert_eq!(reply.must_header("x-credits-used"), "0.024", "twice 0.012");
    assert_eq!(system_of(&world, &marker), PROMPT);
    assert_eq!(world.local.calls(&marker)[0].json()["max_tokens"], 200, "not the usual 256");
    let meta = meta_of(&tenant, &reply).await;
    assert_eq!((text(&meta, "skill"), whole(&meta, "skill_version")), ("Sum-Up", 1));
    assert_eq!((meta.get("answered_by"), &meta["price_multiplier"]), (None, &json!(2.0)));

    // Whoever is preferred and fails is followed by the usual order.
    let marker = unique_marker();
    world.local.script(&marker, [Behaviour::status(503)]);
    let reply = tenant.ask(&json!({"skill": "sum-up", "input": marker, "max_tokens": 9})).send().await;
    assert_eq!(reply.expect(200).must_header("x-provider"), "groq");
    assert_eq!(world.groq.calls(&marker)[0].json()["max_tokens"], 9, "less than the skill allows");

    // A client's own prompt stands in its place, or comes after it where the skill says so.
    let (reply, marker) = ask(json!({"skill": "sum-up", "system": "Mine."})).await;
    reply.expect(200);
    assert_eq!(system_of(&world, &marker), "Mine.");
    put(&tenant.client, json!({"on_client_system": "append", "models": [OPENAI_MODEL]})).await.expect(200);
    let (reply, marker) = ask(json!({"skill": "sum-up", "system": "Mine."})).await;
    assert_eq!(system_of(&world, &marker), format!("{PROMPT}\n\nMine."));
    let reply = reply.expect(200);
    assert_eq!((reply.must_header("x-model"), reply.must_header("x-credits-used")), (OPENAI_MODEL, "0.012"));
    assert_eq!(whole(&meta_of(&tenant, &reply).await, "skill_version"), 2);

    // A stream is asked alike.
    let marker = unique_marker();
    let stream = tenant.ask(&json!({"skill": "sum-up", "input": marker})).open().await.expect_stream().await;
    assert_eq!(stream.header("x-provider"), Some("openai"));
    stream.drain().await;
    assert_eq!(system_of(&world, &marker), PROMPT);
}

#[tokio::test]
async fn a_name_that_no_skill_has_is_answered_by_the_general_one_which_can_be_stored_too() {
    let world = with_catalog().await;
    let tenant = world.tenant("general", 5.0).await;
    let asked = async |skill: Option<&str>| {
        let marker = unique_marker();
        let reply = tenant.ask(&json!({"skill": skill, "input": marker})).send().await.expect(200);
        let meta = meta_of(&tenant, &reply).await;
        let answered_by = meta.get("answered_by").cloned().unwrap_or_default();
        (system_of(&world, &marker), whole(&meta, "skill_version"), answered_by)
    };
    let built_in = json!("You are a helpful assistant. Answer clearly and briefly.");
    assert_eq!(asked(None).await, (built_in.clone(), 0, Value::Null));
    assert_eq!(asked(Some("old-Client_1.2")).await, (built_in.clone(), 0, json!("general")));
    let general = "/api/admin/skills/general";
    let body = json!({"system": "Be kind.", "reason": "kinder"});
    tenant.client.call(Method::PUT, general).admin().json(&body).send().await.expect(200);
    assert_eq!(asked(None).await, (json!("Be kind."), 1, Value::Null));
    assert_eq!(asked(Some("old-Client_1.2")).await, (json!("Be kind."), 1, json!("general")));
    let off = json!({"system": "Be kind.", "reason": "why not", "enabled": false});
    let reply = tenant.client.call(Method::PUT, general).admin().json(&off).send().await;
    assert_eq!(text(&reply.expect_error(400, "invalid_setting").json(), "field"), "enabled");
    let gone =
        tenant.client.call(Method::DELETE, general).query("reason", "back to what is built in").admin();
    assert_eq!(whole(&gone.send().await.expect(200).json(), "version"), 2);
    assert_eq!(asked(None).await, (built_in.clone(), 0, Value::Null));
    let shown = tenant.client.get(general).admin().send().await.expect(200).json();
    assert_eq!((&shown["system"], whole(&shown, "version")), (&built_in, 0));
}

#[tokio::test]
async fn what_a_skill_does_not_take_is_refused_and_costs_nothing() {
    let world = with_catalog().await;
    let tenant = world.tenant("refused", 1.0).await;
    put(&tenant.client, json!({"input_bytes_max": 10})).await.expect(200);
    let ask = |input: &str| tenant.ask(&json!({"skill": "sum-up", "input": input}));
    ask("ten bytes!").send().await.expect(200);
    // Ten letters, and twenty bytes.
    for long in ["eleven byte", "éééééééééé"] {
        let refused = ask(long).send().await.expect_error(413, "input_too_long").json();
        assert_eq!((text(&refused, "skill"), whole(&refused, "max_bytes")), ("sum-up", 10));
    }
    put(&tenant.client, json!({"enabled": false})).await.expect(200);
    let refused = ask("hi").send().await.expect_error(403, "skill_disabled").json();
    assert_eq!(text(&refused, "skill"), "sum-up");
    let gone = tenant.client.call(Method::DELETE, SUM).query("reason", "not needed").admin();
    assert_eq!(gone.send().await.expect(200).json()["deleted"], true);
    ask("hi, whoever answers now").send().await.expect(200);
    assert_credits(tenant.settled_balance().await, 1.0 - 0.024, "two were answered");
    assert_eq!(tenant.usage().await.len(), 2);
}

#[tokio::test]
async fn every_version_can_be_looked_up_and_taken_back_after_a_kill_too() {
    let mut world = with_catalog().await;
    let client = world.client();
    for (expected, system) in [(0, "one"), (1, "two")] {
        let skill = json!({"system": system, "expected_version": expected});
        put(&client, skill.clone()).await.expect(200);
        // The same again is the same version: its reply may have been lost.
        assert_eq!(whole(&put(&client, skill).await.expect(200).json(), "version"), expected + 1);
    }
    let skill = |system: &str| json!({"system": system, "expected_version": 2});
    let (one, other) = tokio::join!(put(&client, skill("mine")), put(&client, skill("yours")));
    let (made, refused) = if one.status == 200 { (one, other) } else { (other, one) };
    let third = made.expect(200).json();
    let refused = refused.expect_error(409, "version_conflict").json();
    assert_eq!((whole(&third, "version"), whole(&refused, "current_version")), (3, 3));
    let back = json!({"version": 1, "expected_version": 3, "reason": "the first was better"});
    let back = client.post(&format!("{SUM}/rollback")).admin().json(&back).send().await.expect(200).json();
    assert_eq!((whole(&back, "version"), text(&back, "system")), (4, "one"));
    for (expected, status, code) in [(7, 404, "not_found"), (0, 404, "not_found")] {
        let body = json!({"version": expected, "reason": "to nothing"});
        let reply = client.post(&format!("{SUM}/rollback")).admin().json(&body).send().await;
        reply.expect_error(status, code);
    }

    world.stack.kill_workerd();
    world.stack.restart();
    let client = world.client();
    let shown = client.get(SUM).admin().send().await.expect(200).json();
    assert_eq!((whole(&shown, "version"), text(&shown, "system")), (4, "one"));
    let numbers: Vec<i64> =
        shown["versions"].as_array().into_iter().flatten().map(|note| whole(note, "version")).collect();
    assert_eq!(numbers, [4, 3, 2, 1]);
    let two = client.get(SUM).query("version", "2").admin().send().await.expect(200).json();
    assert_eq!((text(&two, "system"), text(&two, "reason")), ("two", "a test of skills"));
    let third_again = client.get(SUM).query("version", "3").admin().send().await.expect(200).json();
    assert_eq!(third_again, third);
    client.get(SUM).query("version", "5").admin().send().await.expect_error(404, "not_found");
    client.get("/api/admin/skills/never").admin().send().await.expect_error(404, "not_found");
    let tenant = world.tenant("after-kill", 1.0).await;
    let marker = unique_marker();
    tenant.ask(&json!({"skill": "sum-up", "input": marker})).send().await.expect(200);
    assert_eq!(system_of(&world, &marker), "one", "and asks have it");
}

#[tokio::test]
async fn prompts_are_the_operators_alone() {
    let world = with_catalog().await;
    let tenant = world.tenant("curious", 5.0).await;
    let skill = json!({"description": "three sentences of any text", "price": 0.5});
    put(&tenant.client, skill).await.expect(200);
    let guest = tenant.client.post("/auth/guest").json(&json!({})).send().await.expect(200).json();
    for token in [user_token(&tenant.email), text(&guest, "token").to_owned()] {
        let listed = tenant.client.get("/api/skills").bearer(&token).send().await.expect(200);
        let names = |reply: &Reply| -> Vec<String> {
            let items = reply.json()["items"].as_array().cloned().unwrap_or_default();
            items.iter().map(|item| text(item, "name").to_owned()).collect()
        };
        assert_eq!(names(&listed), ["general", "sum-up"]);
        let sum = &listed.json()["items"][1];
        assert_eq!(
            *sum,
            json!({"name": "sum-up", "version": 1, "description": "three sentences of any text"})
        );
    }
    tenant.client.get("/api/skills").send().await.expect_error(400, "missing_email");
    let mut heard = vec![tenant.get("/api/skills").send().await.text()];
    for (method, path) in [
        (Method::GET, "/api/admin/skills"),
        (Method::GET, SUM),
        (Method::PUT, SUM),
        (Method::DELETE, SUM),
        (Method::POST, "/api/admin/skills/sum-up/rollback"),
    ] {
        let call = tenant.client.call(method.clone(), path).user(&tenant.email);
        let call = if method == Method::GET { call } else { call.json(&json!({"reason": "why"})) };
        heard.push(call.send().await.expect_error(401, "unauthorized").text());
    }
    let reply = tenant.ask(&json!({"skill": "sum-up", "input": "hi"})).send().await.expect(200);
    heard.extend([reply.text(), format!("{:?}", reply.headers), json!(tenant.usage().await).to_string()]);
    heard.push(tenant.ask(&json!({"skill": "sum-up", "input": ""})).send().await.text());
    assert!(heard.iter().all(|text| !text.contains("prompt-canary")), "{heard:?}");
    let all = tenant.client.get("/api/admin/skills").admin().send().await.expect(200);
    assert!(!all.text().contains("prompt-canary"), "a list of a hundred prompts is no list");
    let one = tenant.client.get(SUM).admin().send().await.expect(200).json();
    assert_eq!((text(&one, "system"), &one["price"]), (PROMPT, &json!(0.5)));
    // Nor does a log line have it.
    let logged = world.stack.log().text();
    assert!(!logged.contains("prompt-canary"), "a prompt is in the log");
}

#[tokio::test]
async fn an_edited_skill_reaches_another_worker_in_time() {
    let vars = json!({"CATALOG_TTL_MS": TTL_MS.to_string()});
    let world = World::private_pair(vars, json!({})).await;
    let tenant = world.tenant("beside", 50.0).await;
    let beside = Tenant { client: world.stack.beside_client(), ..tenant.clone() };
    let answered = async |tenant: &Tenant| {
        let reply = tenant.ask(&json!({"skill": "sum-up", "input": "hi"})).send().await.expect(200);
        whole(&meta_of(tenant, &reply).await, "skill_version")
    };
    assert_eq!((answered(&tenant).await, answered(&beside).await), (0, 0));
    put(&tenant.client, json!({})).await.expect(200);
    assert_eq!(answered(&tenant).await, 1, "who wrote it has it at once");
    eventually(TTL_BOUND, "the other Worker has the skill", || async {
        match answered(&beside).await {
            1 => Ok(()),
            other => Err(other),
        }
    })
    .await;
}
