//! Jobs, watched live: over a socket and as a stream, with their place in the sequence of events.

use crate::stage::{asking, ended, id, made, settled};
use http_tests::client::unique_marker;
use http_tests::event_stream::{EventStream, Item};
use http_tests::provider_script::Behaviour;
use http_tests::web_socket::{Socket, SocketCall};
use http_tests::world::{Tenant, World, text};
use serde_json::{Value, json};

const EVENTS: &str = "/api/events";

async fn socket(tenant: &Tenant, after: Option<&str>) -> (Socket, Value) {
    let path = after.map_or_else(|| EVENTS.to_owned(), |after| format!("{EVENTS}?after={after}"));
    let token = http_tests::tokens::user_token(&tenant.email);
    let mut socket = SocketCall::new(&tenant.client, &path).bearer(&token).open().await;
    let hello = socket.json().await;
    assert_eq!(text(&hello, "type"), "hello", "{hello}");
    (socket, hello)
}

/// Events until the job is over, those about jobs alone.
async fn of_job(socket: &mut Socket) -> Vec<Value> {
    let mut seen = Vec::new();
    loop {
        let event = socket.json().await;
        if text(&event, "type") != "job" {
            continue;
        }
        let over = ["succeeded", "failed", "cancelled"].contains(&text(&event["data"], "status"));
        seen.push(event);
        if over {
            return seen;
        }
    }
}

fn statuses(events: &[Value]) -> Vec<&str> {
    let mut all: Vec<&str> = events.iter().map(|event| text(&event["data"], "status")).collect();
    all.dedup();
    all
}

#[tokio::test]
async fn a_socket_tells_a_job_from_its_making_to_its_end() {
    let world = World::verified().await;
    let tenant = world.tenant("live", 2.0).await;
    let (mut first, _) = socket(&tenant, None).await;
    let own = made(&tenant, &asking("live")).await;
    let seen = of_job(&mut first).await;
    assert!(seen.iter().all(|event| text(&event["data"], "job") == id(&own)), "{seen:?}");
    assert_eq!(statuses(&seen), ["queued", "running", "succeeded"], "{seen:?}");
    // Who comes again with the id of the first event hears the rest again, and no more.
    let (mut again, hello) = socket(&tenant, Some(text(&seen[0], "id"))).await;
    assert_eq!(hello["data"]["begins"], "resumed");
    assert_eq!(of_job(&mut again).await, seen[1..]);
    ended(&tenant, id(&own), "succeeded").await;
    settled(&tenant).await;
}

#[tokio::test]
async fn retries_and_the_end_are_told_with_their_reason() {
    let world = World::verified().await;
    let tenant = world.tenant("live-dead", 2.0).await;
    let marker = unique_marker();
    for provider in world.providers() {
        provider.script(&marker, [Behaviour::status(500)]);
    }
    let (mut first, _) = socket(&tenant, None).await;
    let own = made(&tenant, &asking(&marker)).await;
    let seen = of_job(&mut first).await;
    let last = &seen.last().expect("one")["data"];
    assert_eq!((text(last, "status"), text(last, "reason")), ("failed", "attempts_exhausted"));
    let failed = seen.iter().filter(|event| event["data"].get("error").is_some()).count();
    assert_eq!(failed, 3, "each attempt's error is told: {seen:?}");
    let retry = seen.iter().find(|event| event["data"]["event"] == "retry").expect("a retry");
    assert!(text(&retry["data"], "run_at").ends_with('Z'), "{retry}");
    ended(&tenant, id(&own), "failed").await;
}

async fn streamed(stream: &mut EventStream) -> (String, Value) {
    loop {
        match stream.next().await.expect("it goes on").expect("it goes on") {
            Item::Comment(_) => {}
            Item::Event { name, data } => return (name, serde_json::from_str(&data).expect("JSON")),
        }
    }
}

#[tokio::test]
async fn a_stream_says_the_same_and_progress_too() {
    let world = World::verified().await;
    let tenant = world.tenant("live-stream", 2.0).await;
    let mut stream = tenant.get(EVENTS).open().await.expect_stream().await;
    assert_eq!(streamed(&mut stream).await.0, "hello");
    let batch = json!({"type": "batch", "params": {"inputs": ["one", "two"]}});
    let own = made(&tenant, &batch).await;
    let mut seen = Vec::new();
    loop {
        let (name, event) = streamed(&mut stream).await;
        if name == "job" {
            let over = text(&event["data"], "status") == "succeeded";
            seen.push(event);
            if over {
                break;
            }
        }
    }
    assert_eq!(statuses(&seen), ["queued", "running", "succeeded"], "{seen:?}");
    let progress: Vec<&Value> =
        seen.iter().filter_map(|event| event["data"].get("progress")).map(|said| &said["done"]).collect();
    assert!(progress.contains(&&json!(1)) && progress.contains(&&json!(2)), "{seen:?}");
    ended(&tenant, id(&own), "succeeded").await;
    settled(&tenant).await;
}
