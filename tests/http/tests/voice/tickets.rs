//! Who is let in: a ticket is good once, for its session, its tenant and its page.

use crate::stage::{SESSIONS, Stage, by_ticket, open, path, raw, ws};
use http_tests::client::{Call, Client};
use http_tests::vars::APP_ORIGIN;
use http_tests::voice_wire::PROTOCOL;
use http_tests::web_socket::{refusable, refused_with};
use http_tests::world::text;
use reqwest::Method;
use serde_json::json;

fn shown(client: &Client, session: &str, ticket: &str) -> Call {
    let protocols = format!("{PROTOCOL}, cog.ticket.{ticket}");
    refusable(client, &ws(session)).header("sec-websocket-protocol", &protocols)
}

#[tokio::test]
async fn a_ticket_opens_one_socket_of_its_session_from_its_page() {
    let stage = Stage::shared().await;
    let tenant = stage.world.tenant("opens", 100.0).await;
    let opened = open(&tenant, &json!({})).await;
    let (session, ticket) = (text(&opened, "session"), text(&opened, "ticket"));
    assert_eq!(text(&opened, "protocol"), PROTOCOL);
    let url = format!("{}{}", tenant.client.url().replace("http://", "ws://"), ws(session));
    assert_eq!(text(&opened, "url"), url);
    let other = open(&tenant, &json!({})).await;
    let client = &tenant.client;
    let invalid = |call: Call| async { call.send().await.expect_error(401, "ticket_invalid") };
    invalid(shown(client, text(&other, "session"), ticket).header("origin", APP_ORIGIN)).await;
    invalid(shown(client, session, ticket)).await;
    invalid(shown(client, session, ticket).header("origin", "https://www.cognomega.com")).await;
    shown(client, session, ticket)
        .header("origin", "https://evil.io")
        .send()
        .await
        .expect_error(403, "origin_forbidden");
    // A ticket for live events opens no session.
    let events = tenant.post("/api/tickets").header("origin", APP_ORIGIN).json(&json!({"purpose": "events"}));
    let events = events.send().await.expect(201).json();
    invalid(shown(client, session, text(&events, "ticket")).header("origin", APP_ORIGIN)).await;
    let asked = json!({"purpose": {"voice": {"session": session}}});
    let minted = tenant.post("/api/tickets").header("origin", APP_ORIGIN).json(&asked);
    minted.send().await.expect_error(400, "invalid_field");
    // None of it used it up.
    let (socket, _) = by_ticket(&tenant, &opened).await;
    assert_eq!(socket.header("sec-websocket-protocol"), Some(PROTOCOL));
    assert!(!format!("{:?}", socket.headers).contains(ticket), "the ticket is said back");
    invalid(shown(client, session, ticket).header("origin", APP_ORIGIN)).await;
}

#[tokio::test]
async fn of_many_sockets_at_once_with_one_ticket_exactly_one_opens() {
    let stage = Stage::shared().await;
    let tenant = stage.world.tenant("at-once", 100.0).await;
    let opened = open(&tenant, &json!({})).await;
    let all = (0..6)
        .map(|_| raw(&tenant, text(&opened, "session")).ticket(PROTOCOL, text(&opened, "ticket")).try_open());
    let ends = futures::future::join_all(all).await;
    let refused: Vec<_> = ends.iter().filter_map(|end| end.as_ref().err()).map(refused_with).collect();
    assert_eq!(refused, [Some(401); 5]);
}

#[tokio::test]
async fn a_session_is_its_tenants_and_nobody_elses() {
    let stage = Stage::shared().await;
    let (tenant, stranger) =
        (stage.world.tenant("mine", 100.0).await, stage.world.tenant("theirs", 10.0).await);
    let opened = open(&tenant, &json!({})).await;
    let session = text(&opened, "session");
    stranger.get(&path(session)).send().await.expect_error(404, "not_found");
    let end = stranger.client.call(Method::DELETE, &path(session)).user(&stranger.email);
    end.send().await.expect_error(404, "not_found");
    let ticket = text(&opened, "ticket");
    let call = shown(&stranger.client, session, ticket).header("origin", APP_ORIGIN).user(&stranger.email);
    call.send().await.expect_error(403, "identity_mismatch");
    for nobodys in ["x", &"0".repeat(48), &session[..47]] {
        tenant.get(&path(nobodys)).send().await.expect_error(404, "not_found");
        let call = refusable(&tenant.client, &ws(nobodys)).header("sec-websocket-protocol", PROTOCOL);
        call.send().await.expect_error(404, "not_found");
    }
    tenant.client.get(&path(session)).send().await.expect_error(400, "missing_email");
    let listed = stranger.get(SESSIONS).send().await.expect(200).json();
    assert_eq!(listed["items"], json!([]));
    by_ticket(&tenant, &opened).await;
}

#[tokio::test]
async fn a_socket_speaks_the_protocol_or_is_none() {
    let stage = Stage::shared().await;
    let tenant = stage.world.tenant("speaks", 100.0).await;
    let opened = open(&tenant, &json!({})).await;
    let session = text(&opened, "session");
    tenant.get(&ws(session)).send().await.expect_error(426, "upgrade_required");
    refusable(&tenant.client, &ws(session)).send().await.expect_error(400, "invalid_field");
    let other = refusable(&tenant.client, &ws(session)).header("sec-websocket-protocol", "cog.events.v1");
    other.send().await.expect_error(400, "invalid_field");
}
