//! `/api/keys`: keys for programs. They route themselves, are shown once, and end at once.

use crate::log_lines::lines_of;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_tests::client::{Call, Reply, unique_email};
use http_tests::recording::{form, wav};
use http_tests::world::{Tenant, World, number, text};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const PATH: &str = "/api/keys";

async fn make(tenant: &Tenant, body: &Value) -> Reply {
    tenant.post(PATH).json(body).send().await
}

/// A new key: itself and its id.
async fn made(tenant: &Tenant, body: &Value) -> (String, String) {
    let reply = make(tenant, body).await.expect(200).json();
    (text(&reply, "key").to_owned(), text(&reply, "id").to_owned())
}

fn ask(tenant: &Tenant, key: &str) -> Call {
    tenant.client.post("/api/si/ask").bearer(key).json(&json!({"input": "hello"}))
}

async fn listed(tenant: &Tenant, id: &str) -> Value {
    let reply = tenant.get(PATH).send().await.expect(200).json();
    let items = reply.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    let found = items.into_iter().find(|item| text(item, "id") == id);
    found.unwrap_or_else(|| panic!("{id} is not in {reply}"))
}

fn revoke(tenant: &Tenant, id: &str) -> Call {
    tenant.client.call(Method::DELETE, &format!("{PATH}/{id}")).user(&tenant.email)
}

#[tokio::test]
async fn a_key_is_its_tenant_and_is_shown_once() {
    let world = World::verified().await;
    let tenant = world.tenant("with-a-key", 5.0).await;
    let (key, id) = made(&tenant, &json!({"name": "billing server"})).await;
    assert!(key.starts_with("cog_") && key.len() == 95, "{key}");
    let account = tenant.client.get("/api/credits").bearer(&key).send().await.expect(200).json();
    assert_eq!(text(&account, "email"), tenant.email);
    let spent = number(&account, "balance");
    ask(&tenant, &key).send().await.expect(200);
    assert!(tenant.balance().await < spent);
    let item = listed(&tenant, &id).await;
    assert_eq!((text(&item, "name"), text(&item, "state")), ("billing server", "live"));
    assert!(!text(&item, "last_used_at").is_empty());
    let list = tenant.get(PATH).send().await.expect(200).text();
    assert!(!list.contains(&key) && !list.contains("digest"), "{list}");
    // Of its tenant and of nobody else, whatever is claimed beside it.
    let beside = tenant.client.get("/api/credits").bearer(&key).claim("victim@x.io");
    beside.send().await.expect_error(403, "identity_mismatch");
    tenant.client.get("/api/credits").bearer(&key).claim(&tenant.email).send().await.expect(200);
}

#[tokio::test]
async fn a_revoked_key_opens_nothing_from_then_on() {
    let world = World::verified().await;
    let tenant = world.tenant("revokes", 5.0).await;
    let (key, id) = made(&tenant, &json!({})).await;
    let (other, _) = made(&tenant, &json!({})).await;
    ask(&tenant, &key).send().await.expect(200);
    let ended = revoke(&tenant, &id).send().await.expect(200).json();
    assert_eq!(text(&ended, "state"), "ended");
    for _ in 0..2 {
        ask(&tenant, &key).send().await.expect_error(401, "token_invalid");
        let read = tenant.client.get("/api/credits").bearer(&key);
        read.send().await.expect_error(401, "token_invalid");
    }
    ask(&tenant, &other).send().await.expect(200);
    revoke(&tenant, &id).send().await.expect(200);
    revoke(&tenant, "key-of-nobody").send().await.expect_error(404, "not_found");
    let stranger = world.tenant("stranger", 1.0).await;
    revoke(&stranger, &id).send().await.expect_error(404, "not_found");
}

/// Requests that are paid for. The commands that set credit aside carry the key: no other question is asked about it.
fn paid(tenant: &Tenant, key: &str, route: &str) -> Call {
    let call = tenant.client.post(route).bearer(key);
    match route {
        "/api/si/ask" => call.json(&json!({"input": "hello"})),
        "/api/jobs/run" => call.json(&json!({"type": "si", "params": {"input": "hello"}})),
        "/v1/chat/completions" => {
            call.json(&json!({"model": "auto", "messages": [{"role": "user", "content": "hello"}]}))
        }
        "/v1/embeddings" => call.json(&json!({"model": "auto", "input": "hello"})),
        "/v1/audio/speech" => call.json(&json!({"model": "auto", "voice": "alloy", "input": "hello"})),
        _ => {
            let (content_type, body) =
                form(&[("model", "auto")], &[("file", ("talk.wav", "audio/wav", &wav(1_000)))]);
            call.typed_body(&content_type, body)
        }
    }
}

const PAID: [&str; 6] = [
    "/api/si/ask",
    "/api/jobs/run",
    "/v1/chat/completions",
    "/v1/embeddings",
    "/v1/audio/speech",
    "/v1/audio/transcriptions",
];

#[tokio::test]
async fn a_revoked_key_pays_for_nothing() {
    let world = World::verified().await;
    for route in PAID {
        let tenant = world.tenant("pays-no-more", 5.0).await;
        let (key, id) = made(&tenant, &json!({})).await;
        // Here it is known and good, and what is known of it may be used.
        paid(&tenant, &key, route).send().await.expect(200);
        revoke(&tenant, &id).send().await.expect(200);
        let before = tenant.balance().await;
        paid(&tenant, &key, route).send().await.expect_error(401, "token_invalid");
        assert!((tenant.balance().await - before).abs() < 1e-9, "{route}");
        assert!(tenant.open_holds().await.is_empty(), "{route}");
    }
}

#[tokio::test]
async fn a_known_key_costs_a_paid_request_no_command_more() {
    let world = World::private(json!({"LOG_LEVEL": "debug"})).await;
    let tenant = world.tenant("no-more-commands", 5.0).await;
    let (key, _) = made(&tenant, &json!({})).await;
    ask(&tenant, &key).send().await.expect(200);
    for route in PAID.into_iter().filter(|route| *route != "/api/jobs/run") {
        let reply = paid(&tenant, &key, route).send().await.expect(200);
        let own = lines_of(&world, reply.must_header("x-request-id"), &["request", "command"]).await;
        let commands = own.iter().filter(|line| text(line, "event") == "command");
        let commands: Vec<&str> = commands.map(|line| text(line, "command")).collect();
        assert_eq!(commands, ["admit", "settle"], "{route}");
    }
}

#[tokio::test]
async fn a_key_ends_at_its_time() {
    let world = World::verified().await;
    let tenant = world.tenant("ends", 5.0).await;
    let at = chrono::Utc::now() + chrono::Duration::milliseconds(1_500);
    let (key, _) = made(&tenant, &json!({"expires_at": at.to_rfc3339()})).await;
    ask(&tenant, &key).send().await.expect(200);
    tokio::time::sleep(std::time::Duration::from_millis(1_700)).await;
    ask(&tenant, &key).send().await.expect_error(401, "token_invalid");
}

#[tokio::test]
async fn a_key_spends_what_its_cap_allows_and_the_tenant_goes_on() {
    let world = World::verified().await;
    let tenant = world.tenant("capped", 5.0).await;
    let (key, id) = made(&tenant, &json!({"cap": {"limit": 0.02, "period": "day"}})).await;
    let mut spent = 0.0;
    let mut refused = None;
    for _ in 0..50 {
        let reply = ask(&tenant, &key).send().await;
        if reply.status != 200 {
            refused = Some(reply);
            break;
        }
        spent += reply.must_header("x-credits-used").parse::<f64>().expect("credits");
    }
    let refused = refused.expect("the cap refuses in the end");
    assert!([400, 429].contains(&refused.status), "{refused:?}");
    assert!(spent <= 0.02, "{spent}");
    tenant.ask(&json!({"input": "hello"})).send().await.expect(200);
    // What an operator sets replaces the operator's settings, and not what the key may spend.
    let settings = json!({"email": tenant.email, "caps": [{"id": "all", "period": "day", "limit": 4}]});
    let set = tenant.client.call(Method::PUT, "/api/credits/limits").admin().json(&settings);
    let caps = set.send().await.expect(200).json();
    assert!(caps.to_string().contains(&format!("key:{id}")), "{caps}");
    assert_ne!(ask(&tenant, &key).send().await.status, 200);
    revoke(&tenant, &id).send().await.expect(200);
    let limits = tenant.get("/api/credits/limits").send().await.expect(200).text();
    assert!(!limits.contains(&format!("key:{id}")), "{limits}");
}

#[tokio::test]
async fn an_operator_limits_one_key() {
    let world = World::verified().await;
    let tenant = world.tenant("one-key", 5.0).await;
    let (key, id) = made(&tenant, &json!({})).await;
    let limits =
        json!({"email": tenant.email, "keys": {&id: {"requests_per_minute": 2, "requests_burst": 2}}});
    tenant.client.call(Method::PUT, "/api/credits/limits").admin().json(&limits).send().await.expect(200);
    ask(&tenant, &key).send().await.expect(200);
    ask(&tenant, &key).send().await.expect(200);
    let refused = ask(&tenant, &key).send().await.expect_error(429, "rate_limited");
    assert_eq!(text(&refused.json(), "policy"), format!("requests@{id}"));
    tenant.ask(&json!({"input": "hello"})).send().await.expect(200);
}

#[tokio::test]
async fn only_a_tenant_with_an_address_keeps_keys() {
    let world = World::verified().await;
    let tenant = world.tenant("keeper", 5.0).await;
    let (key, id) = made(&tenant, &json!({})).await;
    let client = &tenant.client;
    for (method, path) in [
        (Method::POST, PATH.to_owned()),
        (Method::GET, PATH.to_owned()),
        (Method::DELETE, format!("{PATH}/{id}")),
    ] {
        client.call(method.clone(), &path).send().await.expect_error(400, "missing_email");
        client.call(method.clone(), &path).bearer(&key).send().await.expect_error(403, "keys_forbidden");
        let guest = client.post("/auth/guest").send().await.expect(200).json();
        let guest = client.call(method, &path).bearer(text(&guest, "token"));
        guest.send().await.expect_error(403, "keys_forbidden");
    }
    // An operator may do it for a tenant.
    let named = client.get(&format!("{PATH}?email={}", tenant.email)).admin().send().await.expect(200);
    assert!(named.text().contains(&id));
}

#[tokio::test]
async fn wrong_keys_are_refused_and_guesses_are_counted() {
    let world = World::verified().await;
    let tenant = world.tenant("guessed", 5.0).await;
    let (key, _) = made(&tenant, &json!({})).await;
    let mut mistyped = key.clone();
    mistyped.replace_range(60..61, if &key[60..61] == "A" { "B" } else { "A" });
    for wrong in ["cog_", "cog_abc", mistyped.as_str(), &key[..94], &format!("{key}A")] {
        tenant.client.get("/api/credits").bearer(wrong).send().await.expect_error(401, "token_invalid");
    }
    // Well-formed keys that are none: each would wake an actor.
    let guesser = world.client();
    let mut refused = 0;
    for n in 0_u8..40 {
        let guess = guesser.get("/api/credits").bearer(&well_formed(n)).send().await;
        match guess.status {
            401 => assert_eq!(guess.error(), "token_invalid"),
            _ => {
                guess.expect_error(429, "rate_limited");
                refused += 1;
            }
        }
    }
    assert!(refused >= 10, "{refused}");
    tenant.client.get("/api/credits").bearer(&key).send().await.expect(200);
}

/// A key with a right checksum whose secret nobody has.
fn well_formed(n: u8) -> String {
    composed(vec![n; 64])
}

/// The key of this routing and secret.
fn composed(mut bytes: Vec<u8>) -> String {
    let sum = Sha256::new_with_prefix("cog_").chain_update(&bytes).finalize();
    bytes.extend_from_slice(&sum[..4]);
    format!("cog_{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// What is known of a secret is known of it behind its own routing alone.
#[tokio::test]
async fn a_known_secret_behind_the_routing_of_another_tenant_is_no_key() {
    let world = World::verified().await;
    let (mine, theirs) = (world.tenant("spliced", 1.0).await, world.tenant("routed-to", 1.0).await);
    let (my_key, their_key) = (made(&mine, &json!({})).await.0, made(&theirs, &json!({})).await.0);
    let bytes = |key: &str| URL_SAFE_NO_PAD.decode(&key[4..]).expect("a key");
    let of = |routing: &str, secret: &str| composed([&bytes(routing)[..32], &bytes(secret)[32..64]].concat());
    assert_eq!(of(&my_key, &my_key), my_key);
    let nowhere = composed([&[7; 32], &bytes(&my_key)[32..64]].concat());
    for _ in 0..2 {
        for (good, tenant) in [(&my_key, &mine), (&their_key, &theirs)] {
            let account = mine.client.get("/api/credits").bearer(good).send().await.expect(200).json();
            assert_eq!(text(&account, "email"), tenant.email);
        }
        for forged in [of(&their_key, &my_key), of(&my_key, &their_key), nowhere.clone()] {
            mine.client.get("/api/credits").bearer(&forged).send().await.expect_error(401, "token_invalid");
        }
    }
}

/// A server that was not told of its new key goes on with the old one. It hears the truth, and its neighbours nothing.
#[tokio::test]
async fn a_revoked_key_that_stays_in_use_is_401_and_takes_nothing_from_others_at_its_address() {
    let mut world = World::private(json!({})).await;
    let tenant = world.tenant("rotates-keys", 5.0).await;
    let (old, id) = made(&tenant, &json!({"name": "old"})).await;
    let (next, _) = made(&tenant, &json!({"name": "next"})).await;
    ask(&tenant, &old).send().await.expect(200);
    revoke(&tenant, &id).send().await.expect(200);
    for restarted in [false, true] {
        if restarted {
            // An isolate that has seen neither.
            world.stack.restart();
        }
        let client = world.client();
        for n in 0..40 {
            let path = if n % 2 == 0 { "/api/credits" } else { "/api/keys" };
            client.get(path).bearer(&old).send().await.expect_error(401, "token_invalid");
        }
        let account = client.get("/api/credits").bearer(&next).send().await.expect(200).json();
        assert_eq!(text(&account, "email"), tenant.email);
        let all = (0..40).map(|_| client.get("/api/credits").bearer(&old).send());
        for reply in futures::future::join_all(all).await {
            reply.expect_error(401, "token_invalid");
        }
    }
}

#[tokio::test]
async fn one_idempotency_key_makes_one_key_and_its_secret_is_said_once() {
    let world = World::verified().await;
    let tenant = world.tenant("makes-once", 1.0).await;
    let body = json!({"name": "once", "cap": {"limit": 1, "period": "day"}});
    let make = |body: &Value| tenant.post(PATH).json(body).idempotency_key("deploy-7").send();
    let first = make(&body).await.expect(200);
    assert_eq!(first.header("idempotency-replayed"), None);
    let mut first = first.json();
    let whole = text(&first, "key").to_owned();
    for _ in 0..2 {
        let again = make(&body).await.expect(200);
        assert_eq!(again.must_header("idempotency-replayed"), "true");
        assert!(!again.text().contains(&whole), "{again:?}");
        first["key"] = Value::Null;
        assert_eq!(again.json(), first);
    }
    make(&json!({"name": "other"})).await.expect_error(409, "idempotency_conflict");
    let list = tenant.get(PATH).send().await.expect(200).json();
    assert_eq!(list.pointer("/items").and_then(Value::as_array).map(Vec::len), Some(1), "{list}");
    ask(&tenant, &whole).send().await.expect(200);
    for malformed in ["", "two words", &"k".repeat(256)] {
        let call = tenant.post(PATH).json(&body).idempotency_key(malformed);
        call.send().await.expect_error(400, "invalid_idempotency_key");
    }
    // What an operator does for a tenant has keys of its own; and what was refused has used none up.
    let operators = tenant.client.post(PATH).admin().claim(&tenant.email).json(&body);
    let operators = operators.idempotency_key("deploy-7").send().await.expect(200);
    assert_ne!(text(&operators.json(), "key"), whole);
    let wrong = tenant.post(PATH).json(&json!({"name": "x".repeat(129)})).idempotency_key("deploy-8");
    wrong.send().await.expect_error(400, "invalid_setting");
    let right = tenant.post(PATH).json(&json!({"name": "x"})).idempotency_key("deploy-8");
    right.send().await.expect(200);
}

#[tokio::test]
async fn wrong_requests_are_told_apart() {
    let world = World::verified().await;
    let tenant = world.tenant("wrong-keys", 1.0).await;
    for body in [
        json!({"name": ""}),
        json!({"name": 7}),
        json!({"expires_at": "tomorrow"}),
        json!({"cap": 5}),
        json!({"cap": {"limit": -1, "period": "day"}}),
        json!({"cap": {"limit": 1, "period": "year"}}),
    ] {
        make(&tenant, &body).await.expect_error(400, "invalid_field");
    }
    for body in [json!({"name": "x".repeat(129)}), json!({"expires_at": "2020-01-01T00:00:00Z"})] {
        make(&tenant, &body).await.expect_error(400, "invalid_setting");
    }
    let unseen = unique_email("never-seen");
    let none = tenant.client.get(PATH).user(&unseen).send().await.expect(200).json();
    assert_eq!(none.get("items"), Some(&json!([])));
}

/// Each is a look that might have been a guess, until its actor has said yes.
#[tokio::test]
async fn a_crowd_of_good_keys_is_let_in_by_an_isolate_that_knows_none() {
    const CROWD: usize = 60;
    let mut world = World::private(json!({})).await;
    let tenant = world.tenant("crowd-of-keys", 1.0).await;
    let (one, _) = made(&tenant, &json!({"name": "one"})).await;
    let mut keys = vec![one; CROWD / 2];
    for n in 0..CROWD / 2 {
        keys.push(made(&tenant, &json!({"name": format!("key {n}")})).await.0);
    }
    world.stack.restart();
    let client = world.client();
    let calls = keys.iter().map(|key| client.get("/api/credits").bearer(key).send());
    let replies = futures::future::join_all(calls).await;
    let refused: Vec<u16> =
        replies.iter().map(|reply| reply.status).filter(|status| *status != 200).collect();
    assert!(refused.is_empty(), "{refused:?} of {CROWD}");
}
