//! What every test of sockets does: get a ticket, open with it, read what comes.

use http_tests::client::Client;
use http_tests::vars::APP_ORIGIN;
use http_tests::web_socket::{Socket, SocketCall};
use http_tests::world::{Tenant, text};
use serde_json::{Value, json};

pub const TICKETS: &str = "/api/tickets";
pub const EVENTS: &str = "/api/events";
pub const PROTOCOL: &str = "cog.events.v1";

/// A ticket for our page.
pub async fn ticket(tenant: &Tenant) -> String {
    let call = tenant.post(TICKETS).header("origin", APP_ORIGIN);
    let made = call.json(&json!({"purpose": "events"})).send().await.expect(201).json();
    text(&made, "ticket").to_owned()
}

/// A socket to be, as our page opens it.
pub fn by_ticket(client: &Client, ticket: &str, after: Option<&str>) -> SocketCall {
    let path = after.map_or_else(|| EVENTS.to_owned(), |after| format!("{EVENTS}?after={after}"));
    SocketCall::new(client, &path).origin(APP_ORIGIN).ticket(PROTOCOL, ticket)
}

/// An open socket of our page, and its first message.
pub async fn opened(tenant: &Tenant, after: Option<&str>) -> (Socket, Value) {
    let ticket = ticket(tenant).await;
    let mut socket = by_ticket(&tenant.client, &ticket, after).open().await;
    let hello = socket.json().await;
    assert_eq!(text(&hello, "type"), "hello", "{hello}");
    (socket, hello)
}

/// The member of an event's data.
pub fn data<'a>(event: &'a Value, member: &str) -> &'a Value {
    event.pointer(&format!("/data/{member}")).unwrap_or_else(|| panic!("no data.{member} in {event}"))
}

/// The next `count` events.
pub async fn events(socket: &mut Socket, count: usize) -> Vec<Value> {
    let mut seen = Vec::new();
    while seen.len() < count {
        seen.push(socket.json().await);
    }
    seen
}

/// The types of events, in their order.
pub fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| text(event, "type")).collect()
}
