//! A drain, watched by who acknowledges, by who comes again in its middle, and by who reads a stream.

use crate::stage::{drain, world};
use http_tests::event_stream::{EventStream, Item};
use http_tests::web_socket::{Socket, SocketCall};
use http_tests::world::{Tenant, text};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};

const EVENTS: &str = "/api/events";
/// Each is made, leased and done, and that is three events of jobs and two of the books.
const JOBS: usize = 1_000;
const EVENTS_OF_A_JOB: usize = 5;
/// Nearly as many as may be unacknowledged.
const BETWEEN_ACKS: usize = 500;
const REPLAY_MAX: usize = 4_096;
const MISSED: usize = 1_500;

async fn socket(tenant: &Tenant, after: Option<&str>) -> (Socket, Value) {
    let path = after.map_or_else(|| EVENTS.to_owned(), |after| format!("{EVENTS}?after={after}"));
    let mut socket = SocketCall::new(&tenant.client, &path).user(&tenant.email).open().await;
    let hello = socket.json().await;
    assert_eq!(text(&hello, "type"), "hello", "{hello}");
    (socket, hello)
}

/// How many events came before the place of this one. The first number of an id is a time, and the last part its check.
fn count(event: &Value) -> usize {
    let mut parts: Vec<&str> = text(event, "id").split('-').collect();
    parts.pop();
    parts.iter().skip(1).map(|part| part.parse::<usize>().expect("a number")).sum()
}

/// Reads so many events after `place`, each the next one, and acknowledges some hundreds at a time.
async fn acknowledging(socket: &mut Socket, place: &Value, wanted: usize) -> Vec<Value> {
    let (mut seen, mut before) = (Vec::new(), count(place));
    while seen.len() < wanted {
        let event = socket.json().await;
        assert_eq!(count(&event), before + 1, "a gap or a double: {event}");
        before += 1;
        seen.push(event);
        if seen.len() % BETWEEN_ACKS == 0 {
            let id = text(seen.last().expect("it came"), "id");
            socket.send_json(&json!({"type": "ack", "id": id})).await;
        }
    }
    seen
}

/// The same, gone and come again a few times.
async fn coming_again(tenant: &Tenant, mut place: Value, wanted: usize) -> Vec<Value> {
    let mut seen = Vec::new();
    while seen.len() < wanted {
        let (mut socket, hello) = socket(tenant, Some(text(&place, "id"))).await;
        assert_eq!(hello["data"]["begins"], "resumed", "{hello}");
        seen.extend(acknowledging(&mut socket, &place, (wanted - seen.len()).min(1_300)).await);
        place = seen.last().expect("they came").clone();
        socket.cut();
    }
    seen
}

async fn streamed(stream: &mut EventStream) -> Value {
    loop {
        match stream.next().await.expect("it goes on").expect("it goes on") {
            Item::Comment(_) => {}
            Item::Event { name, data } => {
                let event = serde_json::from_str(&data).expect("JSON");
                assert_ne!(name, "end", "{event}");
                return event;
            }
        }
    }
}

async fn streaming(tenant: &Tenant, place: &Value, wanted: usize) -> Vec<Value> {
    let call = tenant.get(EVENTS).header("accept", "text/event-stream");
    let mut stream = call.header("last-event-id", text(place, "id")).open().await.expect_stream().await;
    assert_eq!(streamed(&mut stream).await["type"], "hello");
    let (mut seen, mut before) = (Vec::new(), count(place));
    while seen.len() < wanted {
        let event = streamed(&mut stream).await;
        assert_eq!(count(&event), before + 1, "a gap or a double: {event}");
        before += 1;
        seen.push(event);
    }
    seen
}

/// What was told of each job, in its order.
fn lives(events: &[Value]) -> BTreeMap<&str, Vec<&str>> {
    let mut lives = BTreeMap::<&str, Vec<&str>>::new();
    for event in events.iter().filter(|event| text(event, "type") == "job") {
        lives.entry(text(&event["data"], "job")).or_default().push(text(&event["data"], "status"));
    }
    lives
}

/// The same events in the same order, each with the same id.
fn same(events: &[Value], heard: &[Value], who: &str) {
    assert_eq!(events.len(), heard.len(), "{who}");
    for (at, (event, live)) in events.iter().zip(heard).enumerate() {
        assert_eq!(event, live, "{who}, at {at}");
    }
}

/// A job's charge is told before its end, which the same turn writes after it.
fn charges_come_before_ends(events: &[Value]) {
    let mut charged = HashSet::new();
    for event in events {
        let data = &event["data"];
        match text(event, "type") {
            "usage" => drop(charged.insert(text(data, "id"))),
            "job" if text(data, "status") == "succeeded" => {
                assert!(charged.contains(text(data, "job")), "{event}");
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_of_thousands_of_events_is_heard_whole() {
    let world = world().await;
    let tenant = world.tenant("drain-watched", 1_000.0).await;
    let wanted = JOBS * EVENTS_OF_A_JOB;
    let (mut first, hello) = socket(&tenant, None).await;
    let (heard, again, stream, ()) = futures::join!(
        acknowledging(&mut first, &hello, wanted),
        coming_again(&tenant, hello.clone(), wanted),
        streaming(&tenant, &hello, wanted),
        drain(&tenant, JOBS),
    );
    assert_eq!(first.soon().await, None, "and nothing else");
    charges_come_before_ends(&heard);
    let lives = lives(&heard);
    assert_eq!(lives.len(), JOBS);
    assert!(lives.values().all(|life| life == &["queued", "running", "succeeded"]), "{lives:?}");
    for (others, who) in [(&again, "who came again"), (&stream, "the stream")] {
        same(others, &heard, who);
    }
    // Who was away for so long has all of it again, and who was away for longer is told so.
    let place = &heard[wanted - MISSED - 1];
    let (mut back, hello) = socket(&tenant, Some(text(place, "id"))).await;
    assert_eq!(hello["data"]["begins"], "resumed");
    let missed = &heard[wanted - MISSED..];
    same(&acknowledging(&mut back, place, MISSED).await, missed, "who was away");
    same(&streaming(&tenant, place, MISSED).await, missed, "a stream that was away");
    let edge = &heard[wanted - REPLAY_MAX - 1];
    let (mut whole, hello) = socket(&tenant, Some(text(edge, "id"))).await;
    assert_eq!(hello["data"]["begins"], "resumed");
    let most = acknowledging(&mut whole, edge, REPLAY_MAX).await;
    same(&most, &heard[wanted - REPLAY_MAX..], "who missed as much as may be");
    let (mut late, hello) = socket(&tenant, Some(text(&heard[wanted - REPLAY_MAX - 2], "id"))).await;
    assert_eq!(hello["data"]["begins"], "window_passed");
    let passed = late.json().await;
    assert_eq!(
        (text(&passed, "type"), &passed["data"]["replay_events_max"]),
        ("window_passed", &json!(REPLAY_MAX))
    );
    tenant.verified().await;
}
