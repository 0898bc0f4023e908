//! Log lines: one a request, in fields from a list, and one id through the front door, the actor and the provider.

use http_tests::client::unique_marker;
use http_tests::poll::eventually;
use http_tests::provider_script::Behaviour;
use http_tests::world::{World, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(5);

/// Every field that a line of this event may have.
fn fields(event: &str) -> &'static [&'static str] {
    match event {
        "request" => {
            &["event", "request_id", "method", "route", "status", "duration_ms", "actor", "operator", "error"]
        }
        "provider_attempt" => &["event", "request_id", "provider", "outcome", "duration_ms"],
        "command" => &["event", "request_id", "actor", "command", "refused"],
        "notice_delivery" => &["event", "attempt", "outcome"],
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

async fn lines_of(world: &World, request_id: &str, events: &[&str]) -> Vec<Value> {
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
    // The tenant is a digest, the same at the door and in the actor.
    let actor = text(request, "actor");
    assert!(actor.len() == 67 && actor.starts_with("v1-"), "{actor}");
    assert!(of("command").iter().all(|line| text(line, "actor") == actor), "{own:?}");
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
