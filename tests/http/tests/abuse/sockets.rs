//! Cases 16, 28 and 30 on live events: pages, tickets and messages that a stranger may try.

use crate::stage::Stage;
use crate::table::Seen;
use http_tests::client::Call;
use http_tests::tokens::user_token;
use http_tests::vars::APP_ORIGIN;
use http_tests::web_socket::{Ended, Socket, SocketCall, refusable};
use http_tests::world::text;
use serde_json::json;

const EVENTS: &str = "/api/events";
const PROTOCOL: &str = "cog.events.v1";
const ROUTE: &str = "GET /api/events";
const FOREIGN: [&str; 4] =
    ["https://evil.io", "null", "https://app.cognomega.com.evil.io", "http://app.cognomega.com"];

async fn ticket(stage: &Stage<'_>) -> String {
    let asked =
        stage.me.post("/api/tickets").header("origin", APP_ORIGIN).json(&json!({"purpose": "events"}));
    text(&asked.send().await.expect(201).json(), "ticket").to_owned()
}

fn shown(stage: &Stage<'_>, ticket: &str, origin: Option<&str>) -> Call {
    let protocols = format!("{PROTOCOL}, cog.ticket.{ticket}");
    let call = refusable(&stage.client, EVENTS).header("sec-websocket-protocol", &protocols);
    match origin {
        Some(origin) => call.header("origin", origin),
        None => call,
    }
}

pub async fn run(stage: &Stage<'_>, seen: &Seen) {
    pages(stage, seen).await;
    tickets(stage, seen).await;
    messages(stage, seen).await;
    others(stage, seen).await;
}

async fn note(stage: &Stage<'_>, seen: &Seen, what: (u8, &str), call: Call, expected: &str) {
    let reply = call.send().await;
    let observed = format!("{} {}", reply.status, reply.error());
    seen.note(what, stage.mode, ROUTE, expected, &observed, observed == expected);
}

async fn pages(stage: &Stage<'_>, seen: &Seen) {
    let cookie = format!("cog_auth_jwt={}", user_token(&stage.me.email));
    for origin in FOREIGN {
        let forbidden = "403 origin_forbidden";
        let ticket = ticket(stage).await;
        let what = format!("a WebSocket with a good ticket from Origin `{origin}`");
        note(stage, seen, (28, &what), shown(stage, &ticket, Some(origin)), forbidden).await;
        let what = format!("a WebSocket with the cookie from Origin `{origin}`");
        let call = refusable(&stage.client, EVENTS).header("origin", origin).header("cookie", &cookie);
        note(stage, seen, (28, &what), call, forbidden).await;
        let what = format!("a WebSocket with a token from Origin `{origin}`");
        let call = refusable(&stage.client, EVENTS).header("origin", origin).user(&stage.me.email);
        note(stage, seen, (28, &what), call, forbidden).await;
        SocketCall::new(&stage.client, EVENTS)
            .origin(APP_ORIGIN)
            .ticket(PROTOCOL, &ticket)
            .open()
            .await
            .close()
            .await;
    }
}

async fn tickets(stage: &Stage<'_>, seen: &Seen) {
    let invalid = "401 ticket_invalid";
    let used = ticket(stage).await;
    let open = SocketCall::new(&stage.client, EVENTS).origin(APP_ORIGIN).ticket(PROTOCOL, &used);
    open.open().await.close().await;
    note(stage, seen, (28, "a ticket that was used"), shown(stage, &used, Some(APP_ORIGIN)), invalid).await;
    let mine = ticket(stage).await;
    let elsewhere = shown(stage, &mine, Some("https://www.cognomega.com"));
    note(stage, seen, (28, "a ticket of another page of ours"), elsewhere, invalid).await;
    note(stage, seen, (28, "a page's ticket from no page"), shown(stage, &mine, None), invalid).await;
    let claimed = shown(stage, &mine, Some(APP_ORIGIN)).claim(&stage.victim.email);
    note(stage, seen, (28, "a ticket beside a victim's header"), claimed, invalid).await;
    let broken = shown(stage, &mine[1..], Some(APP_ORIGIN));
    note(stage, seen, (28, "a ticket that lacks a letter"), broken, invalid).await;
    let as_token = refusable(&stage.client, EVENTS).bearer(&mine);
    note(stage, seen, (28, "a ticket where a token belongs"), as_token, "401 token_invalid").await;
    let in_address =
        refusable(&stage.client, &format!("{EVENTS}?ticket={mine}")).header("origin", APP_ORIGIN);
    note(stage, seen, (28, "a ticket in the address"), in_address, "400 missing_email").await;
}

async fn listening(stage: &Stage<'_>) -> Socket {
    let mut socket = SocketCall::new(&stage.client, EVENTS).user(&stage.me.email).open().await;
    socket.json().await;
    socket
}

async fn messages(stage: &Stage<'_>, seen: &Seen) {
    let ended = |ended: Ended| match ended {
        Ended::With(code, reason) => format!("{code} {reason}"),
        Ended::Cut => "cut".to_owned(),
    };
    let mut large = listening(stage).await;
    large.send(&"x".repeat(65 * 1_024)).await;
    let observed = ended(large.ended().await);
    let expected = "1009 message_too_large";
    seen.note((30, "a frame of 65 KiB"), stage.mode, ROUTE, expected, &observed, observed == expected);
    let mut flood = listening(stage).await;
    for _ in 0..121 {
        flood.send("{}").await;
    }
    let (observed, expected) = (ended(flood.ended().await), "1008 too_many_messages");
    seen.note((30, "a flood of messages"), stage.mode, ROUTE, expected, &observed, observed == expected);
    let mut odd = listening(stage).await;
    odd.send("{\"type\":").await;
    let json = odd.json().await;
    odd.send_binary(vec![0xff; 8]).await;
    let binary = odd.json().await;
    odd.send("ping").await;
    let lives = odd.text().await;
    let observed = format!("{}, {}, then {lives}", text(&json, "error"), text(&binary, "error"));
    let expected = "unknown_message, unknown_message, then pong";
    seen.note((30, "bad JSON, and binary"), stage.mode, ROUTE, expected, &observed, observed == expected);
}

/// A socket hears its own tenant and nobody else.
async fn others(stage: &Stage<'_>, seen: &Seen) {
    let named = refusable(&stage.client, EVENTS).user(&stage.me.email).claim(&stage.victim.email);
    note(stage, seen, (16, "another tenant's events"), named, "403 identity_mismatch").await;
    let mut socket = listening(stage).await;
    stage.victim.adjust(json!({"delta": 0.001})).await.expect(200);
    let heard = socket.soon().await;
    let observed = if heard.is_none() { "nothing heard" } else { "heard" };
    let what = (16, "another tenant's events, while they happen");
    seen.note(what, stage.mode, ROUTE, "nothing heard", observed, heard.is_none());
}
