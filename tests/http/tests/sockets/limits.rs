//! What a socket may not: be too many, say too much, listen without ever saying that it hears, outlive its credential.

use crate::stage::{EVENTS, TICKETS, data, opened};
use http_tests::tokens::{honest_header, now_s, signed, user_claims, with};
use http_tests::web_socket::{Ended, Socket, SocketCall, refusable};
use http_tests::world::{Tenant, World, text};
use http_tests::{keys, poll::eventually};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const SOCKETS_MAX: usize = 16;
const TICKETS_MAX: usize = 64;
const MESSAGES_PER_MINUTE: usize = 120;
const UNACKNOWLEDGED_MAX: usize = 512;
const ACK_WAIT: Duration = Duration::from_secs(90);
const BOUND: Duration = Duration::from_secs(10);

async fn listening(tenant: &Tenant) -> Socket {
    let mut socket = SocketCall::new(&tenant.client, EVENTS).user(&tenant.email).open().await;
    socket.json().await;
    socket
}

fn with_code(code: u16, reason: &str) -> Ended {
    Ended::With(code, reason.to_owned())
}

#[tokio::test]
async fn sockets_of_a_tenant_are_bounded_and_one_that_goes_makes_room() {
    let world = World::verified().await;
    let tenant = world.tenant("many-sockets", 1.0).await;
    let mut open = Vec::new();
    for _ in 0..SOCKETS_MAX {
        open.push(listening(&tenant).await);
    }
    let refused = refusable(&tenant.client, EVENTS).user(&tenant.email).send().await;
    let refused = refused.expect_error(429, "too_many_sockets");
    assert!(refused.header("retry-after").is_some());
    let other = world.tenant("has-its-own", 1.0).await;
    listening(&other).await.close().await;
    open.pop().expect("one of them").cut();
    eventually(BOUND, "a socket opens again", || async {
        let call = SocketCall::new(&tenant.client, EVENTS).user(&tenant.email);
        call.try_open().await.map(|_| ()).map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test]
async fn tickets_of_a_tenant_are_bounded() {
    let world = World::verified().await;
    let tenant = world.tenant("many-tickets", 1.0).await;
    let mint = || tenant.post(TICKETS).json(&json!({"purpose": "events"})).send();
    for _ in 0..TICKETS_MAX {
        mint().await.expect(201);
    }
    let refused = mint().await.expect_error(429, "too_many_tickets");
    let wait_s: u64 = refused.must_header("retry-after").parse().expect("seconds");
    assert!((1..=30).contains(&wait_s), "{wait_s}");
}

#[tokio::test]
async fn what_is_no_message_is_answered_and_the_socket_goes_on() {
    let world = World::verified().await;
    let tenant = world.tenant("odd-messages", 1.0).await;
    let (mut socket, hello) = opened(&tenant, None).await;
    for odd in
        ["", "{", "[]", "{\"type\":\"ack\"}", "{\"type\":\"ack\",\"id\":\"1-2-3-x\"}", "{\"type\":\"sub\"}"]
    {
        socket.send(odd).await;
        let told = socket.json().await;
        assert_eq!((text(&told, "type"), text(&told, "error")), ("error", "unknown_message"), "{odd}");
    }
    socket.send_binary(vec![0xff, 0xfe]).await;
    assert_eq!(text(&socket.json().await, "error"), "unknown_message");
    socket.send_json(&json!({"type": "ack", "id": text(&hello, "id")})).await;
    assert_eq!(socket.soon().await, None, "an acknowledgement has no answer");
    socket.send("ping").await;
    assert_eq!(socket.text().await, "pong");
    tenant.adjust(json!({"set": 3})).await.expect(200);
    assert_eq!(data(&socket.json().await, "balance"), &json!(3.0));
}

#[tokio::test]
async fn a_message_too_large_or_too_many_end_the_socket_and_nothing_else() {
    let world = World::verified().await;
    let tenant = world.tenant("too-much", 1.0).await;
    let mut large = listening(&tenant).await;
    large.send(&"x".repeat(1_025)).await;
    assert_eq!(large.ended().await, with_code(1009, "message_too_large"));
    let mut huge = listening(&tenant).await;
    huge.send_binary(vec![0; 1_000_000]).await;
    assert_eq!(huge.ended().await, with_code(1009, "message_too_large"));
    let mut flood = listening(&tenant).await;
    for _ in 0..=MESSAGES_PER_MINUTE {
        flood.send("{}").await;
    }
    assert_eq!(flood.ended().await, with_code(1008, "too_many_messages"));
    let mut pings = listening(&tenant).await;
    for _ in 0..3 * MESSAGES_PER_MINUTE {
        pings.send("ping").await;
    }
    for _ in 0..3 * MESSAGES_PER_MINUTE {
        assert_eq!(pings.text().await, "pong");
    }
}

async fn report(tenant: &Tenant, name: &str, count: usize) {
    for some in (0..count).collect::<Vec<_>>().chunks(64) {
        let reports = some.iter().map(|n| {
            let event = json!({"id": format!("{name}-{n}")});
            tenant.post("/usage").json(&event).send()
        });
        for reply in futures::future::join_all(reports).await {
            reply.expect(200);
        }
    }
}

/// Takes a minute and a half: that long a client may leave what waits for it.
#[tokio::test]
async fn who_never_acknowledges_is_ended_in_time_and_comes_again_where_it_was() {
    let world = World::verified().await;
    let tenant = world.tenant("never-acks", 1.0).await;
    let (mut silent, hello) = opened(&tenant, None).await;
    assert_eq!(data(&hello, "ack_wait_ms"), &json!(ACK_WAIT.as_millis()));
    let (mut heard, _) = opened(&tenant, None).await;
    let mut last = None::<Value>;
    for round in 0..3 {
        report(&tenant, &format!("r{round}"), 250).await;
        for _ in 0..250 {
            last = Some(heard.json().await);
        }
        let id = text(last.as_ref().expect("events came"), "id");
        heard.send_json(&json!({"type": "ack", "id": id})).await;
    }
    let held_back = Instant::now();
    let mut seen = Vec::new();
    while seen.len() < UNACKNOWLEDGED_MAX {
        seen.push(silent.json().await);
    }
    assert_eq!(silent.soon().await, None, "as much as it may be sent, and it is not ended for that");
    silent.send("ping").await;
    assert_eq!(silent.text().await, "pong");
    // Nothing happens to the tenant any more: it is the alarm that ends it.
    let ended = silent.ended_within(ACK_WAIT + BOUND).await;
    assert_eq!(ended, with_code(4429, "unacknowledged"));
    assert!(held_back.elapsed() > ACK_WAIT - BOUND, "and not before: {:?}", held_back.elapsed());
    let (mut again, hello) = opened(&tenant, Some(text(&seen[UNACKNOWLEDGED_MAX - 1], "id"))).await;
    assert_eq!(data(&hello, "begins"), "resumed");
    let next = again.json().await;
    assert!(!seen.iter().any(|event| event["id"] == next["id"]), "it was not told before: {next}");
    heard.send("ping").await;
    assert_eq!(heard.text().await, "pong", "who acknowledges listens on");
}

#[tokio::test]
async fn a_socket_ends_with_its_token() {
    let world = World::verified().await;
    let tenant = world.tenant("token-ends", 1.0).await;
    let claims = with(user_claims(&tenant.email), json!({"exp": now_s() + 4}));
    let token = signed(&honest_header(), &claims, keys::worker());
    let mut by_token = SocketCall::new(&tenant.client, EVENTS).bearer(&token).open().await;
    let made = tenant.client.post(TICKETS).bearer(&token).json(&json!({"purpose": "events"}));
    let made = made.send().await.expect(201).json();
    let expires = chrono::DateTime::parse_from_rfc3339(text(&made, "expires_at")).expect("a time");
    assert!(expires.timestamp() <= now_s() + 4, "a ticket never outlives its token: {made}");
    let by_ticket = SocketCall::new(&tenant.client, EVENTS).ticket("cog.events.v1", text(&made, "ticket"));
    let mut by_ticket = by_ticket.open().await;
    // Nothing happens to the tenant meanwhile: it is the alarm that ends them.
    let over = with_code(4401, "credential_ended");
    assert_eq!((by_token.ended().await, by_ticket.ended().await), (over.clone(), over));
    assert!(now_s() >= claims["exp"].as_i64().expect("a time"), "and not before");
}

#[tokio::test]
async fn a_goodbye_is_said_back() {
    let world = World::verified().await;
    let tenant = world.tenant("says-goodbye", 1.0).await;
    let ended = listening(&tenant).await.close().await;
    assert_eq!(ended, with_code(1000, ""), "and the connection was not just cut");
}
