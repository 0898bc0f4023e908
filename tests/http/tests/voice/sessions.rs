//! Opening, listing and ending sessions, and how many there may be.

use crate::stage::{SESSIONS, Stage, by_ticket, open, path, shown, try_open};
use http_tests::web_socket::Ended;
use http_tests::world::text;
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn sessions_are_listed_ended_and_limited() {
    let stage = Stage::shared().await;
    let tenant = stage.world.tenant("many", 100.0).await;
    assert_eq!(tenant.get(SESSIONS).send().await.expect(200).json()["items"], json!([]));
    let mut sessions = Vec::new();
    for _ in 0..64 {
        sessions.push(open(&tenant, &json!({})).await);
    }
    let full = try_open(&tenant, &json!({})).await;
    // As many tickets wait as may, or as many sessions are open: whichever is found first.
    full.expect_error(429, "too_many_sessions");
    let listed = tenant.walk(SESSIONS).await;
    let ids: Vec<&str> = listed.iter().map(|item| text(item, "session")).collect();
    let opened: Vec<&str> = sessions.iter().rev().map(|opened| text(opened, "session")).collect();
    assert_eq!(ids, opened, "newest first");
    let (mut socket, _) = by_ticket(&tenant, &sessions[3]).await;
    let end = |session: &str| tenant.client.call(Method::DELETE, &path(session)).user(&tenant.email);
    let session = text(&sessions[3], "session");
    for _ in 0..2 {
        end(session).send().await.expect(200);
    }
    let ended = socket.json().await;
    assert_eq!((text(&ended, "type"), text(&ended, "why")), ("ended", "ended"));
    assert_eq!(socket.ended().await, Ended::With(4002, "the session is over".into()));
    assert_eq!(text(&shown(&tenant, session).await, "why"), "ended");
    http_tests::poll::eventually(std::time::Duration::from_secs(10), "its slot is free", || async {
        let listed = tenant.walk(SESSIONS).await;
        let over = listed.iter().find(|item| text(item, "session") == session).expect("it is listed");
        if over["ended_at"].is_string() { Ok(()) } else { Err(over.clone()) }
    })
    .await;
    end(text(&sessions[4], "session")).send().await.expect(200);
    by_ticket(&tenant, &sessions[5]).await;
    open(&tenant, &json!({})).await;
}

#[tokio::test]
async fn what_a_session_cannot_be_is_refused_by_its_field() {
    let stage = Stage::shared().await;
    let tenant = stage.world.tenant("fields", 100.0).await;
    for (body, field) in [
        (json!({"window_ms": 5}), "window_ms"),
        (json!({"window_ms": "long"}), "window_ms"),
        (json!({"detection": "magic"}), "detection"),
        (json!({"system": 7}), "system"),
        (json!({"bounds": []}), "bounds"),
        (json!({"bounds": {"tokens_out": 1_000_000}}), "bounds"),
        (json!({"prefs": {"speed": 9}}), "speed"),
        (json!({"prefs": "loud"}), "prefs"),
    ] {
        let refused = try_open(&tenant, &body).await.expect_error(400, "invalid_field");
        assert_eq!(text(&refused.json(), "field"), field, "{body}");
    }
    for (body, field) in [
        (json!({"sample_rate_hz": 12_345}), "sample_rate_hz"),
        (json!({"window_ms": 10_000_000}), "window_ms"),
        (json!({"detection": {"energy": {"silence_ms": 1}}}), "silence_ms"),
        (json!({"system": "x".repeat(5_000)}), "prefs"),
    ] {
        let refused = try_open(&tenant, &body).await.expect_error(400, "invalid_setting");
        assert_eq!(text(&refused.json(), "field"), field, "{body}");
    }
    let unknown = json!({"prefs": {"model": "no-such-model"}});
    try_open(&tenant, &unknown).await.expect_error(404, "model_not_found");
    try_open(&tenant, &json!({"system": "x".repeat(20_000)})).await.expect_error(413, "payload_too_large");
    let keyed = tenant.post(SESSIONS).header("idempotency-key", "one").json(&json!({}));
    keyed.send().await.expect_error(400, "invalid_field");
    assert_eq!(tenant.get(SESSIONS).send().await.expect(200).json()["items"], json!([]));
    tenant.post(SESSIONS).send().await.expect(201);
}

#[tokio::test]
async fn without_providers_there_is_no_session() {
    let world = http_tests::world::World::private(
        json!({"TTS_PROVIDERS": "", "STT_PROVIDERS": "", "CARTESIA_API_KEY": null}),
    )
    .await;
    let tenant = world.tenant("nobody", 100.0).await;
    try_open(&tenant, &json!({})).await.expect_error(502, "si_ask_failed");
    let token = tenant.get("/api/tts/cartesia/realtime-token");
    token.send().await.expect_error(501, "cartesia_unconfigured");
}
