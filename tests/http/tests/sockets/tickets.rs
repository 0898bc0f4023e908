//! A ticket opens one socket, once, for the page and the tenant that it was made for.

use crate::stage::{EVENTS, PROTOCOL, TICKETS, by_ticket, data, opened, ticket};
use http_tests::client::{Call, Client};
use http_tests::tokens::user_token;
use http_tests::vars::APP_ORIGIN;
use http_tests::web_socket::{SocketCall, refusable, refused_with};
use http_tests::world::{World, text};
use reqwest::Method;
use serde_json::json;

/// A request that shows a ticket, and is to be refused.
fn shown(client: &Client, ticket: &str) -> Call {
    let protocols = format!("{PROTOCOL}, cog.ticket.{ticket}");
    refusable(client, EVENTS).header("sec-websocket-protocol", &protocols)
}

#[tokio::test]
async fn a_ticket_opens_one_socket_and_is_never_said_back() {
    let world = World::verified().await;
    let tenant = world.tenant("opens", 2.5).await;
    let call = tenant.post(TICKETS).header("origin", APP_ORIGIN).json(&json!({"purpose": "events"}));
    let made = call.send().await.expect(201).json();
    assert_eq!(text(&made, "protocol"), PROTOCOL);
    assert_eq!(text(&made, "url"), format!("{}{EVENTS}", tenant.client.url().replace("http://", "ws://")));
    let ttl = chrono::DateTime::parse_from_rfc3339(text(&made, "expires_at")).expect("a time");
    let ttl_ms = (ttl.to_utc() - chrono::Utc::now()).num_milliseconds();
    assert!((20_000..=30_000).contains(&ttl_ms), "{ttl_ms}");
    let ticket = text(&made, "ticket");
    let mut socket = by_ticket(&tenant.client, ticket, None).open().await;
    assert_eq!(socket.header("sec-websocket-protocol"), Some(PROTOCOL));
    assert!(!format!("{:?}", socket.headers).contains(ticket), "the ticket is said back");
    let hello = socket.json().await;
    assert_eq!((text(&hello, "type"), data(&hello, "balance")), ("hello", &json!(2.5)));
    assert_eq!(data(&hello, "email"), &json!(tenant.email));
    let again = shown(&tenant.client, ticket).header("origin", APP_ORIGIN);
    again.send().await.expect_error(401, "ticket_invalid");
}

#[tokio::test]
async fn of_many_sockets_at_once_with_one_ticket_exactly_one_opens() {
    let world = World::verified().await;
    let tenant = world.tenant("at-once", 1.0).await;
    for _ in 0..5 {
        let ticket = ticket(&tenant).await;
        // Seven of them are guesses, which are counted for each network address.
        let client = world.client();
        let all = (0..8).map(|_| by_ticket(&client, &ticket, None).try_open());
        let ends = futures::future::join_all(all).await;
        let refused: Vec<_> = ends.iter().filter_map(|end| end.as_ref().err()).map(refused_with).collect();
        assert_eq!(refused, [Some(401); 7]);
        for socket in ends.into_iter().flatten() {
            socket.close().await;
        }
    }
}

#[tokio::test]
async fn a_ticket_is_of_its_page_and_of_its_tenant() {
    let world = World::verified().await;
    let tenant = world.tenant("bound", 1.0).await;
    let stranger = world.tenant("stranger", 1.0).await;
    let mine = ticket(&tenant).await;
    let client = &tenant.client;
    for foreign in
        ["https://evil.io", "null", "https://app.cognomega.com.evil.io", "http://app.cognomega.com"]
    {
        shown(client, &mine).header("origin", foreign).send().await.expect_error(403, "origin_forbidden");
        let asked = tenant.post(TICKETS).header("origin", foreign).json(&json!({"purpose": "events"}));
        asked.send().await.expect_error(403, "origin_forbidden");
        // Whatever else proves who it is.
        let by_token = refusable(client, EVENTS).user(&tenant.email).header("origin", foreign);
        by_token.send().await.expect_error(403, "origin_forbidden");
        let by_cookie = refusable(client, EVENTS).header("origin", foreign);
        let by_cookie = by_cookie.header("cookie", &format!("cog_auth_jwt={}", user_token(&tenant.email)));
        by_cookie.send().await.expect_error(403, "origin_forbidden");
    }
    shown(client, &mine).send().await.expect_error(401, "ticket_invalid");
    let other = shown(client, &mine).header("origin", "https://www.cognomega.com");
    other.send().await.expect_error(401, "ticket_invalid");
    let named = shown(client, &mine).header("origin", APP_ORIGIN).claim(&stranger.email);
    named.send().await.expect_error(401, "ticket_invalid");
    // The routing of another tenant's ticket with the secret of mine.
    let theirs = ticket(&stranger).await;
    let moved = shown(client, &spliced(&theirs, &mine)).header("origin", APP_ORIGIN);
    moved.send().await.expect_error(401, "ticket_invalid");
    for broken in [&mine[..90], &format!("{mine}A"), "", "abc"] {
        let call = shown(client, broken).header("origin", APP_ORIGIN);
        call.send().await.expect_error(401, "ticket_invalid");
    }
    // None of it used the ticket up.
    let socket = by_ticket(client, &mine, None).header("x-user-email", &tenant.email).open().await;
    socket.close().await;
}

/// A cookie comes along by itself; an `Authorization` was written by somebody who meant it.
#[tokio::test]
async fn a_ticket_beside_another_tenants_authorization_opens_nothing() {
    let world = World::verified().await;
    let (mine, stranger) = (world.tenant("shows", 1.0).await, world.tenant("beside", 1.0).await);
    let (my_ticket, client) = (ticket(&mine).await, &mine.client);
    let key = stranger.post("/api/keys").json(&json!({})).send().await.expect(200).json();
    let guest = client.post("/auth/guest").send().await.expect(200).json();
    let show = || shown(client, &my_ticket).header("origin", APP_ORIGIN);
    show().user(&stranger.email).send().await.expect_error(403, "identity_mismatch");
    for other in [text(&key, "key"), text(&guest, "token")] {
        show().bearer(other).send().await.expect_error(403, "identity_mismatch");
    }
    show().bearer("garbage").send().await.expect_error(401, "token_invalid");
    // None of it used the ticket up, and the same tenant's takes nothing from it.
    let cookie = format!("cog_auth_jwt={}", user_token(&stranger.email));
    let open = by_ticket(client, &my_ticket, None).user(&mine.email).header("cookie", &cookie);
    let mut socket = open.open().await;
    assert_eq!(data(&socket.json().await, "email"), &json!(mine.email));
}

/// Until an actor has said yes, each of them might have been a guess.
#[tokio::test]
async fn a_crowd_with_good_tickets_is_let_in_from_one_address() {
    let world = World::verified().await;
    let mut tickets = Vec::new();
    for n in 0..4 {
        let tenant = world.tenant(&format!("crowd-{n}"), 1.0).await;
        for _ in 0..10 {
            tickets.push(ticket(&tenant).await);
        }
    }
    let client = world.client();
    let opened = tickets.iter().map(|ticket| by_ticket(&client, ticket, None).try_open());
    let opened = futures::future::join_all(opened).await;
    let refused: Vec<_> = opened.iter().filter_map(|end| end.as_ref().err()).map(refused_with).collect();
    assert!(refused.is_empty(), "{refused:?} of {}", tickets.len());
}

#[tokio::test]
async fn a_ticket_is_not_made_twice() {
    let world = World::verified().await;
    let tenant = world.tenant("once", 1.0).await;
    let mint =
        |key: &str| tenant.post(TICKETS).json(&json!({"purpose": "events"})).idempotency_key(key).send();
    let refused = mint("page-7").await.expect_error(400, "invalid_field");
    assert_eq!(text(&refused.json(), "field"), "Idempotency-Key");
    mint("two words").await.expect_error(400, "invalid_idempotency_key");
}

/// A ticket with a right checksum, the actor of one and the secret of the other.
fn spliced(actor_of: &str, secret_of: &str) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use sha2::{Digest, Sha256};
    let bytes = |ticket: &str| URL_SAFE_NO_PAD.decode(ticket).expect("a ticket");
    let mut whole = [&bytes(actor_of)[..32], &bytes(secret_of)[32..64]].concat();
    let sum = Sha256::new_with_prefix("cog.ticket").chain_update(&whole).finalize();
    whole.extend_from_slice(&sum[..4]);
    URL_SAFE_NO_PAD.encode(whole)
}

#[tokio::test]
async fn a_server_opens_with_a_header_and_a_page_with_its_cookie() {
    let world = World::verified().await;
    let tenant = world.tenant("server", 1.5).await;
    let mut plain = SocketCall::new(&tenant.client, EVENTS).user(&tenant.email).open().await;
    assert_eq!(plain.header("sec-websocket-protocol"), None);
    assert_eq!(data(&plain.json().await, "balance"), &json!(1.5));
    let key = tenant.post("/api/keys").json(&json!({})).send().await.expect(200).json();
    let by_key = SocketCall::new(&tenant.client, EVENTS).bearer(text(&key, "key")).protocols(PROTOCOL);
    let mut by_key = by_key.open().await;
    assert_eq!(by_key.header("sec-websocket-protocol"), Some(PROTOCOL));
    assert_eq!(data(&by_key.json().await, "email"), &json!(tenant.email));
    let cookie = format!("cog_auth_jwt={}", user_token(&tenant.email));
    let page = SocketCall::new(&tenant.client, EVENTS).origin(APP_ORIGIN).header("cookie", &cookie);
    page.open().await.close().await;
    // Without a page a cookie opens nothing: any page could send it.
    let bare = refusable(&tenant.client, EVENTS).header("cookie", &cookie);
    bare.send().await.expect_error(403, "origin_forbidden");
    let guest = tenant.client.post("/auth/guest").send().await.expect(200).json();
    let guest = SocketCall::new(&tenant.client, EVENTS).bearer(text(&guest, "token"));
    let mut guest = guest.open().await;
    let hello = guest.json().await;
    assert!(data(&hello, "email").as_str().is_some_and(|label| label.starts_with("guest:")), "{hello}");
}

#[tokio::test]
async fn what_is_no_opening_is_told_apart() {
    let world = World::verified().await;
    let tenant = world.tenant("no-opening", 1.0).await;
    let client = &tenant.client;
    tenant.get(EVENTS).send().await.expect_error(426, "upgrade_required");
    tenant.client.call(Method::HEAD, EVENTS).user(&tenant.email).send().await.expect(426);
    refusable(client, EVENTS).send().await.expect_error(400, "missing_email");
    refusable(client, EVENTS).bearer("no.real.token").send().await.expect_error(401, "token_invalid");
    refusable(client, EVENTS).claim(&tenant.email).send().await.expect_error(401, "identity_unproven");
    let theirs = refusable(client, EVENTS).user(&tenant.email).claim("victim@x.io");
    theirs.send().await.expect_error(403, "identity_mismatch");
    let other = refusable(client, EVENTS).user(&tenant.email).header("sec-websocket-protocol", "chat");
    other.send().await.expect_error(400, "invalid_field");
    for body in [json!({}), json!({"purpose": "everything"}), json!({"purpose": 7})] {
        tenant.post(TICKETS).json(&body).send().await.expect_error(400, "invalid_field");
    }
    tenant.post(TICKETS).raw_json("[]").send().await.expect_error(400, "invalid_json");
    let nobody = client.post(TICKETS).json(&json!({"purpose": "events"}));
    nobody.send().await.expect_error(400, "missing_email");
}

#[tokio::test]
async fn a_keys_ticket_and_its_sockets_end_with_the_key() {
    use http_tests::web_socket::Ended;
    let world = World::verified().await;
    let tenant = world.tenant("key-ends", 1.0).await;
    let key = tenant.post("/api/keys").json(&json!({})).send().await.expect(200).json();
    let (id, key) = (text(&key, "id").to_owned(), text(&key, "key").to_owned());
    let mint = || tenant.client.post(TICKETS).bearer(&key).json(&json!({"purpose": "events"})).send();
    let (used, kept) = (mint().await.expect(201).json(), mint().await.expect(201).json());
    let open = |ticket: &str| SocketCall::new(&tenant.client, EVENTS).ticket(PROTOCOL, ticket);
    let mut by_ticket = open(text(&used, "ticket")).open().await;
    let mut by_key = SocketCall::new(&tenant.client, EVENTS).bearer(&key).open().await;
    let (mut by_token, _) = opened(&tenant, None).await;
    let revoke = tenant.client.call(Method::DELETE, &format!("/api/keys/{id}")).user(&tenant.email);
    revoke.send().await.expect(200);
    let over = Ended::With(4401, "credential_ended".to_owned());
    assert_eq!((by_ticket.ended().await, by_key.ended().await), (over.clone(), over));
    shown(&tenant.client, text(&kept, "ticket")).send().await.expect_error(401, "ticket_invalid");
    refusable(&tenant.client, EVENTS).bearer(&key).send().await.expect_error(401, "token_invalid");
    by_token.send("ping").await;
    assert_eq!(by_token.text().await, "pong", "others listen on");
}
