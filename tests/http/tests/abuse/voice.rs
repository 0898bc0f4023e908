//! Cases 16, 28, 29 and 30 on voice sessions: pages, tickets, tokens and frames that a stranger may try.

use crate::stage::Stage;
use crate::table::Seen;
use http_tests::client::Call;
use http_tests::tokens::user_token;
use http_tests::vars::APP_ORIGIN;
use http_tests::voice_wire::{PROTOCOL, resume};
use http_tests::web_socket::{Ended, Socket, SocketCall, refusable};
use http_tests::world::text;
use reqwest::Method;
use serde_json::{Value, json};

const SESSIONS: &str = "/api/voice/sessions";
const ROUTE: &str = "GET /api/voice/sessions/:id/ws";
/// What a session may cost within these bounds is little.
const BOUNDS: &str = r#"{"utterance_ms":1000,"tokens_in":10,"tokens_out":10,"characters":10}"#;

async fn opened(stage: &Stage<'_>) -> Value {
    let bounds: Value = serde_json::from_str(BOUNDS).expect("JSON");
    let asked = stage.me.post(SESSIONS).header("origin", APP_ORIGIN).json(&json!({"bounds": bounds}));
    asked.send().await.expect(201).json()
}

fn ws(session: &str) -> String {
    format!("{SESSIONS}/{session}/ws")
}

fn shown(stage: &Stage<'_>, session: &str, ticket: &str, origin: Option<&str>) -> Call {
    let protocols = format!("{PROTOCOL}, cog.ticket.{ticket}");
    let call = refusable(&stage.client, &ws(session)).header("sec-websocket-protocol", &protocols);
    match origin {
        Some(origin) => call.header("origin", origin),
        None => call,
    }
}

async fn first(stage: &Stage<'_>, opened: &Value) -> (Socket, Value) {
    let call = SocketCall::new(&stage.client, &ws(text(opened, "session"))).origin(APP_ORIGIN);
    let mut socket = call.ticket(PROTOCOL, text(opened, "ticket")).open().await;
    let welcome = socket.json().await;
    (socket, welcome)
}

async fn note(stage: &Stage<'_>, seen: &Seen, what: (u8, &str), call: Call, expected: &str) {
    let reply = call.send().await;
    let observed = format!("{} {}", reply.status, reply.error());
    seen.note(what, stage.mode, ROUTE, expected, &observed, observed == expected);
}

fn code(ended: Ended) -> String {
    match ended {
        Ended::With(code, _) => code.to_string(),
        Ended::Cut => "cut".to_owned(),
    }
}

pub async fn run(stage: &Stage<'_>, seen: &Seen) {
    stage.me.adjust(json!({"delta": 5})).await.expect(200);
    tickets(stage, seen).await;
    takeover(stage, seen).await;
    frames(stage, seen).await;
    others(stage, seen).await;
}

async fn tickets(stage: &Stage<'_>, seen: &Seen) {
    let (one, other) = (opened(stage).await, opened(stage).await);
    let (session, ticket) = (text(&one, "session"), text(&one, "ticket"));
    for origin in ["https://evil.io", "null", "https://app.cognomega.com.evil.io"] {
        let what = format!("a session's WebSocket with a good ticket from Origin `{origin}`");
        let call = shown(stage, session, ticket, Some(origin));
        note(stage, seen, (28, &what), call, "403 origin_forbidden").await;
    }
    let invalid = "401 ticket_invalid";
    let of_other = shown(stage, text(&other, "session"), ticket, Some(APP_ORIGIN));
    note(stage, seen, (28, "a ticket of another session"), of_other, invalid).await;
    let elsewhere = shown(stage, session, ticket, None);
    note(stage, seen, (28, "a session's ticket from no page"), elsewhere, invalid).await;
    let cookie = format!("cog_auth_jwt={}", user_token(&stage.me.email));
    let by_cookie =
        refusable(&stage.client, &ws(session)).header("origin", APP_ORIGIN).header("cookie", &cookie);
    note(stage, seen, (28, "a session's WebSocket by a cookie alone"), by_cookie, "400 invalid_field").await;
    let (socket, _) = first(stage, &one).await;
    let again = shown(stage, session, ticket, Some(APP_ORIGIN));
    note(stage, seen, (28, "a session's ticket that was used"), again, invalid).await;
    socket.close().await;
    let nobodys = "0".repeat(48);
    let guessed = refusable(&stage.client, &ws(&nobodys)).header("sec-websocket-protocol", PROTOCOL);
    note(stage, seen, (28, "a session's id that was guessed"), guessed, "404 not_found").await;
}

async fn takeover(stage: &Stage<'_>, seen: &Seen) {
    let one = opened(stage).await;
    let session = text(&one, "session");
    let (mut older, welcome) = first(stage, &one).await;
    let asks = async |token: &str| {
        let call = SocketCall::new(&stage.client, &ws(session)).origin(APP_ORIGIN).protocols(PROTOCOL);
        let mut socket = call.open().await;
        socket.send_json(&resume(session, token, 0, 1)).await;
        let answer = socket.json().await;
        (socket, answer)
    };
    let (_, refused) = asks(&"0".repeat(64)).await;
    let (observed, expected) =
        (format!("{} {}", text(&refused, "type"), text(&refused, "reason")), "resume_failed bad_token");
    seen.note(
        (29, "a resume with a forged token"),
        stage.mode,
        ROUTE,
        expected,
        &observed,
        observed == expected,
    );
    let (_newer, _) = asks(text(&welcome, "resume_token")).await;
    let (observed, expected) = (code(older.ended().await), "4001");
    let what = (29, "a second socket resumes: the older one is closed");
    seen.note(what, stage.mode, ROUTE, expected, &observed, observed == expected);
}

async fn frames(stage: &Stage<'_>, seen: &Seen) {
    for (what, bytes) in
        [("a binary frame of 65 KiB", 65 * 1_024), ("a binary frame over the longest sound", 19_213)]
    {
        let (mut socket, _) = first(stage, &opened(stage).await).await;
        socket.send_binary(vec![1; bytes]).await;
        let (observed, expected) = (code(socket.ended().await), "1009");
        seen.note((30, what), stage.mode, ROUTE, expected, &observed, observed == expected);
    }
    let (mut flood, _) = first(stage, &opened(stage).await).await;
    for _ in 0..500 {
        flood.send("{}").await;
    }
    let (observed, expected) = (code(flood.ended().await), "1008");
    seen.note((30, "a flood of frames"), stage.mode, ROUTE, expected, &observed, observed == expected);
    let (mut odd, _) = first(stage, &opened(stage).await).await;
    odd.send("{\"type\":").await;
    let bad = odd.json().await;
    odd.send_binary(vec![0xff; 8]).await;
    let short = odd.json().await;
    odd.send("ping").await;
    let lives = odd.text().await;
    let observed = format!("{}, {}, then {lives}", text(&bad, "code"), text(&short, "code"));
    let expected = "malformed_frame, malformed_frame, then pong";
    seen.note(
        (30, "bad JSON, and half a frame"),
        stage.mode,
        ROUTE,
        expected,
        &observed,
        observed == expected,
    );
}

async fn others(stage: &Stage<'_>, seen: &Seen) {
    let one = opened(stage).await;
    let path = format!("{SESSIONS}/{}", text(&one, "session"));
    for method in [Method::GET, Method::DELETE] {
        let call = stage.client.call(method.clone(), &path).user(&stage.victim.email);
        let what = format!("another tenant's voice session: {method}");
        note(stage, seen, (16, &what), call, "404 not_found").await;
    }
    let beside =
        shown(stage, text(&one, "session"), text(&one, "ticket"), Some(APP_ORIGIN)).user(&stage.victim.email);
    note(stage, seen, (16, "a session's ticket beside another's token"), beside, "403 identity_mismatch")
        .await;
}
