//! Log lines: one a request, in fields from a list, and one id through the front door, the actor and the provider.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_tests::client::unique_marker;
use http_tests::json_service::JsonService;
use http_tests::keys;
use http_tests::poll::eventually;
use http_tests::provider_script::Behaviour;
use http_tests::tokens::{now_s, signed};
use http_tests::vars::{ADMIN_KEY, NEXT_ADMIN_KEY};
use http_tests::webhook_receiver::WebhookReceiver;
use http_tests::world::{World, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(5);

/// Every field that a line of this event may have.
fn fields(event: &str) -> &'static [&'static str] {
    match event {
        "request" => &[
            "event",
            "request_id",
            "method",
            "route",
            "status",
            "duration_ms",
            "actor",
            "operator",
            "admin_key",
            "provider",
            "error",
        ],
        "usage_flagged" => &["event", "request_id", "provider", "model", "flag"],
        "breaker_opened" => &["event", "provider", "model", "open_ms"],
        "provider_attempt" => &["event", "request_id", "provider", "outcome", "duration_ms"],
        "command" => &["event", "request_id", "actor", "command", "refused"],
        "notice_delivery" => &["event", "actor", "notice", "attempt", "outcome"],
        "self_check" => &["event", "ok", "providers"],
        _ => &["event", "request_id", "detail"],
    }
}

/// The Worker's lines so far.
pub fn lines(world: &World) -> Vec<Value> {
    let log = world.stack.log().text();
    let lines = log.lines().filter_map(|line| serde_json::from_str(line.get(line.find('{')?..)?).ok());
    lines.filter(|line: &Value| line.get("event").is_some()).collect()
}

/// Panics when a line has a field that is not on the list.
pub fn assert_fields(lines: &[Value]) {
    for line in lines {
        let allowed = fields(text(line, "event"));
        let members = line.as_object().expect("an object");
        let odd: Vec<&String> = members.keys().filter(|name| !allowed.contains(&name.as_str())).collect();
        assert!(odd.is_empty(), "{odd:?} in {line}");
    }
}

/// The lines that name this request, once there is one of each of these events.
pub async fn lines_of(world: &World, request_id: &str, events: &[&str]) -> Vec<Value> {
    eventually(BOUND, "the request's lines are written", || async {
        let all = lines(world);
        let own: Vec<Value> =
            all.into_iter().filter(|line| line.get("request_id") == Some(&json!(request_id))).collect();
        let seen: BTreeSet<&str> = own.iter().map(|line| text(line, "event")).collect();
        if events.iter().all(|event| seen.contains(event)) { Ok(own) } else { Err(own) }
    })
    .await
}

#[tokio::test]
async fn one_id_goes_through_the_door_the_actor_and_the_provider() {
    let world = World::private(json!({"LOG_LEVEL": "debug"})).await;
    let tenant = world.tenant("traced", 5.0).await;
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::status(500)]);
    let reply = tenant.ask(&json!({"input": marker})).send().await.expect(200);
    let request_id = reply.must_header("x-request-id").to_owned();
    for provider in [&world.groq, &world.workers_ai] {
        for call in provider.calls(&marker) {
            // The stand-in of the Workers AI binding is no HTTP call of ours: it has no headers.
            if let Some(told) = call.header("x-request-id") {
                assert_eq!(told, request_id);
            }
        }
    }
    assert_eq!(world.groq.calls(&marker)[0].header("x-request-id"), Some(request_id.as_str()));
    let own = lines_of(&world, &request_id, &["request", "provider_attempt", "command"]).await;
    let of =
        |event: &str| -> Vec<&Value> { own.iter().filter(|line| text(line, "event") == event).collect() };
    let commands: Vec<&str> = of("command").iter().map(|line| text(line, "command")).collect();
    assert_eq!(commands, ["admit", "settle"]);
    let outcomes: Vec<&str> = of("provider_attempt").iter().map(|line| text(line, "outcome")).collect();
    assert_eq!(outcomes.len(), 2, "{own:?}");
    assert_eq!(of("request").len(), 1, "one line a request");
    let request = of("request")[0];
    assert_eq!((text(request, "route"), text(request, "method")), ("/api/si/ask", "POST"));
    // The tenant has a name here that is the same at the door and in the actor.
    let actor = text(request, "actor");
    assert!(actor.len() == 35 && actor.starts_with("t1-"), "{actor}");
    assert!(of("command").iter().all(|line| text(line, "actor") == actor), "{own:?}");
    assert_fields(&lines(&world));
}

#[tokio::test]
async fn an_id_goes_through_the_queue() {
    let mut world = World::private(json!({})).await;
    let request_id = uuid::Uuid::new_v4().to_string();
    world.stack.send_to_queue("JOBS", &json!({"request_id": request_id, "kind": "unheard-of"}).to_string());
    world.stack.send_to_queue("JOBS", "no JSON");
    let own = lines_of(&world, &request_id, &["queue_message_unknown"]).await;
    assert!(text(&own[0], "detail").starts_with("cognomega-jobs"), "{own:?}");
    let without = eventually(BOUND, "the other message is noted too", || async {
        let lines = lines(&world);
        let unknown = |line: &&Value| text(line, "event") == "queue_message_unknown";
        let other =
            lines.iter().filter(unknown).find(|line| line.get("request_id").is_none_or(Value::is_null));
        other.cloned().ok_or(lines.len())
    });
    without.await;
    assert_fields(&lines(&world));
}

#[tokio::test]
async fn a_refusal_is_one_line_with_its_code() {
    let world = World::private(json!({})).await;
    let client = world.client();
    for (call, code) in [
        (client.get("/api/credits"), "missing_email"),
        (client.get("/nowhere"), "not_found"),
        (client.get("/api/credits").bearer("x"), "token_invalid"),
        (client.get("/healthz").header("cookie", &"c".repeat(40_000)), "headers_too_large"),
    ] {
        let reply = call.send().await;
        let own = lines_of(&world, reply.must_header("x-request-id"), &["request"]).await;
        assert_eq!(own.len(), 1, "{own:?}");
        assert_eq!(text(&own[0], "error"), code);
    }
    assert!(!world.stack.log().text().contains(r#""event":"command""#), "only when it is asked for");
}

/// Who has the log alone cannot tell which address a name is by trying addresses.
#[tokio::test]
async fn a_tenants_name_in_the_log_is_no_digest_of_its_address() {
    let world = World::private(json!({"LOG_LEVEL": "debug"})).await;
    let tenant = world.tenant("named-in-the-log", 1.0).await;
    let reply = tenant.get("/api/credits").send().await.expect(200);
    let own = lines_of(&world, reply.must_header("x-request-id"), &["request", "command"]).await;
    let key = tenant.post("/api/keys").json(&json!({})).send().await.expect(200).json();
    // A key of the tenant has the plain digest in it, which names the actor.
    let encoded = text(&key, "key").trim_start_matches("cog_");
    let bytes = URL_SAFE_NO_PAD.decode(encoded).expect("base64");
    let digest: String = bytes[..32].iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(!world.stack.log().text().contains(&digest), "{own:?}");
    let other = world.tenant("another-in-the-log", 1.0).await;
    let reply = other.get("/api/credits").send().await.expect(200);
    let others = lines_of(&world, reply.must_header("x-request-id"), &["request"]).await;
    assert_ne!(text(&others[0], "actor"), text(&own[0], "actor"));
}

#[tokio::test]
async fn an_operators_request_says_so_and_by_which_key() {
    let world = World::private(json!({})).await;
    let client = world.client();
    for (key, name) in [(ADMIN_KEY, "first"), (NEXT_ADMIN_KEY, "second")] {
        for call in [
            client.get("/api/admin/ping"),
            client.get("/api/admin/env-snapshot"),
            client.get("/api/admin/providers"),
            client.post("/api/ai/test").json(&json!({"prompt": "hello"})),
            client.get("/api/credits").claim("operated@x.io"),
            client.post("/api/credits/adjust").json(&json!({"email": "operated@x.io", "delta": 1})),
        ] {
            let reply = call.header("x-admin-key", key).send().await.expect(200);
            let own = lines_of(&world, reply.must_header("x-request-id"), &["request"]).await;
            assert_eq!(own[0].get("operator"), Some(&json!(true)), "{own:?}");
            assert_eq!(own[0].get("admin_key"), Some(&json!(name)), "{own:?}");
        }
    }
    let refused = client.get("/api/admin/ping").header("x-admin-key", "wrong").send().await;
    let own = lines_of(&world, refused.must_header("x-request-id"), &["request"]).await;
    assert_eq!((own[0].get("operator"), own[0].get("admin_key")), (None, None), "{own:?}");
    assert_fields(&lines(&world));
}

#[tokio::test]
async fn a_delivery_says_whose_and_which() {
    let world = World::private(json!({})).await;
    let receiver = WebhookReceiver::start([]).await;
    let tenant = world.tenant("delivered-to", 1.005).await;
    let settings = json!({"low_balance": 1.0, "webhook": {"url": receiver.url()}});
    tenant.put_limits(settings).await.expect(200);
    let asked = tenant.ask(&json!({"input": "hello"})).send().await.expect(200);
    let call = receiver.calls_of(1, BOUND).await.remove(0);
    let line = eventually(BOUND, "the delivery is logged", || async {
        let found = lines(&world).into_iter().find(|line| text(line, "event") == "notice_delivery");
        found.ok_or("no line")
    })
    .await;
    assert!(call.header("webhook-id").ends_with(&format!("_{}", line["notice"])), "{line}");
    assert!(!world.stack.log().text().contains(call.header("webhook-id")), "it has a digest of the address");
    let own = lines_of(&world, asked.must_header("x-request-id"), &["request"]).await;
    let request = own.iter().find(|line| text(line, "event") == "request").expect("a line");
    assert_eq!(line.get("actor"), request.get("actor"), "{line}");
    assert_fields(&[line]);
}

#[tokio::test]
async fn an_issuer_that_is_not_reached_is_told_with_the_request() {
    let issuer = JsonService::start().await;
    let world = World::private(json!({
        "TRUSTED_ISSUERS": json!({ issuer.origin(): ["app"] }).to_string(),
    }))
    .await;
    let now_s = now_s();
    let claims = json!({"iss": issuer.origin(), "aud": "app", "iat": now_s, "exp": now_s + 60});
    let token = signed(&json!({"alg": "RS256", "kid": "k"}), &claims, keys::foreign());
    let reply = world.client().post("/auth/exchange").json(&json!({"id_token": token})).send().await;
    let reply = reply.expect_error(503, "unavailable");
    let own = lines_of(&world, reply.must_header("x-request-id"), &["issuer_keys_unreachable"]).await;
    let line = own.iter().find(|line| text(line, "event") == "issuer_keys_unreachable").expect("a line");
    assert!(text(line, "detail").starts_with(issuer.origin()), "{line}");
}
