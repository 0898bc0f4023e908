//! The same live events as a stream, for whoever opens no socket: what an `EventSource` or a server sees.

use crate::stage::EVENTS;
use http_tests::event_stream::{EventStream, Item};
use http_tests::poll::eventually;
use http_tests::vars::APP_ORIGIN;
use http_tests::world::{Tenant, World, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const SOCKETS_MAX: usize = 16;

async fn opened(tenant: &Tenant, last: Option<&str>) -> (EventStream, Value) {
    let mut call = tenant.get(EVENTS).header("accept", "text/event-stream");
    if let Some(last) = last {
        call = call.header("last-event-id", last);
    }
    let mut stream = call.open().await.expect_stream().await;
    let (name, hello) = event(&mut stream).await;
    assert_eq!(name, "hello", "{hello}");
    (stream, hello)
}

/// The next event: its name, and its data as JSON.
async fn event(stream: &mut EventStream) -> (String, Value) {
    loop {
        match stream.next().await.expect("the stream goes on").expect("the stream goes on") {
            Item::Comment(_) => {}
            Item::Event { name, data } => return (name, serde_json::from_str(&data).expect("JSON")),
        }
    }
}

#[tokio::test]
async fn a_stream_says_what_a_socket_says() {
    let world = World::verified().await;
    let tenant = world.tenant("streams", 2.0).await;
    let (mut stream, hello) = opened(&tenant, None).await;
    assert_eq!(hello["data"]["balance"], json!(2.0));
    assert_eq!(stream.header("cache-control"), Some("no-store"));
    tenant.ask(&json!({"input": "hello"})).send().await.expect(200);
    let mut seen = [event(&mut stream).await, event(&mut stream).await];
    seen.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(seen[0], ("balance".to_owned(), seen[0].1.clone()));
    assert_eq!(seen[0].1["data"], tenant.ledger().await[0], "as the ledger has it");
    assert_eq!(seen[1].1["data"], tenant.usage().await[0], "as the usage feed has it");
}

/// Listens, goes away at some time, and comes again with the last id, until it has heard `count` events.
async fn listener(tenant: Tenant, from: String, count: usize, stay: usize) -> Vec<String> {
    let (mut seen, mut last) = (Vec::new(), from);
    while seen.len() < count {
        let (mut stream, hello) = opened(&tenant, Some(&last)).await;
        assert_eq!(hello["data"]["begins"], "resumed", "{hello}");
        for _ in 0..stay.min(count - seen.len()) {
            let (name, event) = event(&mut stream).await;
            last = text(&event, "id").to_owned();
            let id = event.pointer("/data/seq").or_else(|| event.pointer("/data/id")).expect("a number");
            seen.push(format!("{name} {id}"));
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_again_with_the_last_id_has_every_event_once() {
    const ASKS: usize = 20;
    let world = World::verified().await;
    let tenant = world.tenant("streams-again", 5.0).await;
    let (stream, hello) = opened(&tenant, None).await;
    drop(stream);
    let from = text(&hello, "id").to_owned();
    let spending = async {
        for _ in 0..ASKS {
            tenant.ask(&json!({"input": "hello"})).send().await.expect(200);
        }
    };
    let listeners = [3, 7].map(|stay| listener(tenant.clone(), from.clone(), ASKS * 2, stay));
    let (heard, ()) = futures::join!(futures::future::join_all(listeners), spending);
    let ledger = tenant.ledger().await;
    let charges = ledger.iter().filter(|entry| text(entry, "kind") == "charge");
    let mut expected: BTreeSet<String> = charges.map(|entry| format!("balance {}", entry["seq"])).collect();
    expected
        .extend(tenant.walk("/api/billing/usage").await.iter().map(|item| format!("usage {}", item["id"])));
    assert_eq!(expected.len(), ASKS * 2);
    for seen in heard {
        assert_eq!(seen.len(), ASKS * 2, "nothing twice");
        assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), expected, "and nothing is missing");
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_key_and_says_so() {
    let world = World::verified().await;
    let tenant = world.tenant("streams-by-key", 1.0).await;
    let made = tenant.post("/api/keys").json(&json!({"name": "live"})).send().await.expect(200).json();
    let key = text(&made, "key");
    let by_key = |accept: &str| tenant.client.get(EVENTS).bearer(key).header("accept", accept);
    let mut stream = by_key("text/event-stream").open().await.expect_stream().await;
    assert_eq!(event(&mut stream).await.0, "hello");
    let id = text(&made, "id");
    tenant.client.call(reqwest::Method::DELETE, &format!("/api/keys/{id}")).user(&tenant.email).send().await;
    let (name, end) = event(&mut stream).await;
    assert_eq!((name.as_str(), &end), ("end", &json!({"code": 4401, "reason": "credential_ended"})));
    assert!(matches!(stream.next().await, Ok(None)), "and it is over");
    // What a browser sends by itself a second later ends it for good.
    by_key("text/event-stream").send().await.expect_error(401, "token_invalid");
}

#[tokio::test]
async fn streams_of_those_who_went_away_leave_their_places() {
    let world = World::verified().await;
    let tenant = world.tenant("streams-gone", 1.0).await;
    let mut streams = Vec::new();
    for _ in 0..SOCKETS_MAX {
        streams.push(opened(&tenant, None).await.0);
    }
    let refused = tenant.get(EVENTS).header("accept", "text/event-stream").send().await;
    refused.expect_error(429, "too_many_sockets");
    drop(streams);
    eventually(Duration::from_secs(40), "the places of those who went", async || {
        let again = tenant.get(EVENTS).header("accept", "text/event-stream").open().await;
        if again.status == 200 { Ok(()) } else { Err(again.status) }
    })
    .await;
}

#[tokio::test]
async fn what_is_no_stream_and_no_socket_or_of_another_page_is_refused() {
    let world = World::verified().await;
    let tenant = world.tenant("streams-refused", 1.0).await;
    tenant.get(EVENTS).send().await.expect_error(426, "upgrade_required");
    let wanted = || tenant.get(EVENTS).header("accept", "text/event-stream");
    wanted().header("origin", "https://evil.example").send().await.expect_error(403, "origin_forbidden");
    wanted().header("last-event-id", "1-2-3-000000000000").send().await.expect_error(400, "invalid_cursor");
    let ours = wanted().header("origin", APP_ORIGIN).open().await.expect_stream().await;
    assert_eq!(ours.header("access-control-allow-origin"), Some(APP_ORIGIN));
    tenant
        .client
        .get(EVENTS)
        .header("accept", "text/event-stream")
        .send()
        .await
        .expect_error(400, "missing_email");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_hears_more_than_may_be_unacknowledged() {
    const EVENTS_TOLD: usize = 700;
    let world = World::verified().await;
    let tenant = world.tenant("streams-long", 1.0).await;
    let (mut stream, _) = opened(&tenant, None).await;
    let reporting = async {
        for first in (0..EVENTS_TOLD).step_by(50) {
            let reports = (first..first + 50)
                .map(|n| tenant.post("/usage").json(&json!({"id": format!("e-{n}")})).send());
            for reply in futures::future::join_all(reports).await {
                reply.expect(200);
            }
        }
    };
    let hearing = async {
        let mut heard = BTreeSet::new();
        while heard.len() < EVENTS_TOLD {
            let (name, event) = event(&mut stream).await;
            assert_eq!(name, "usage", "{event}");
            assert!(heard.insert(text(&event["data"], "id").to_owned()), "twice: {event}");
        }
    };
    futures::join!(reporting, hearing);
}
