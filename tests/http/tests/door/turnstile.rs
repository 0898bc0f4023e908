//! A challenge before a guest's token, judged by a stand-in of the service that poses it.

use crate::log_lines::{assert_fields, lines_of};
use http_tests::client::Reply;
use http_tests::json_service::JsonService;
use http_tests::world::{World, text};
use serde_json::{Value, json};

const SECRET: &str = "turnstile-canary-9f8e7d6c5b4a39281706f5e4d3c2b1a0";
const JUDGE: &str = "/turnstile/v0/siteverify";

async fn world(judge: &JsonService) -> World {
    World::private(json!({
        "TURNSTILE_SECRET": SECRET,
        "GUEST_TOKENS_PER_MINUTE": "0",
        "TURNSTILE_VERIFY_URL": format!("{}{JUDGE}", judge.origin()),
    }))
    .await
}

fn verdict(success: bool, hostname: &str) -> Value {
    json!({"success": success, "hostname": hostname, "error-codes": if success { json!([]) } else { json!(["timeout-or-duplicate"]) }})
}

#[tokio::test]
async fn a_guest_needs_a_challenge_that_one_of_our_pages_posed() {
    let judge = JsonService::start().await;
    let world = world(&judge).await;
    let client = world.client();
    for path in ["/auth/guest", "/api/auth/guest", "/api/v1/auth/guest"] {
        client.post(path).send().await.expect_error(400, "missing_turnstile");
        client
            .post(path)
            .json(&json!({"turnstile_token": ""}))
            .send()
            .await
            .expect_error(400, "missing_turnstile");
        client
            .post(path)
            .json(&json!({"turnstile_token": 7}))
            .send()
            .await
            .expect_error(400, "missing_turnstile");
    }
    assert_eq!(judge.calls().len(), 0, "nothing is asked for no answer");

    judge.answers(JUDGE, 200, verdict(true, "app.cognomega.com"));
    let answered = |answer: &str| client.post("/auth/guest").json(&json!({"turnstile_token": answer}));
    answered("solved-1").send().await.expect(200);
    let form = String::from_utf8(judge.calls()[0].body.to_vec()).expect("a form");
    assert!(form.contains(&format!("secret={SECRET}")) && form.contains("response=solved-1"), "{form}");
    assert!(form.contains("remoteip=10."), "{form}");
    let widget = json!({"cf-turnstile-response": "solved-2"});
    client.post("/auth/guest").json(&widget).send().await.expect(200);
    client.post("/auth/guest").header("x-turnstile-token", "solved-3").send().await.expect(200);

    for refused in [
        (200, verdict(false, "app.cognomega.com")),
        (200, verdict(true, "app.cognomega.com.evil.io")),
        (200, verdict(true, "")),
        (400, verdict(false, "app.cognomega.com")),
    ] {
        judge.answers(JUDGE, refused.0, refused.1.clone());
        let reply = answered("again").send().await.expect_error(403, "turnstile_failed");
        assert!(!reply.text().contains(SECRET));
    }
    answered(&"x".repeat(2_049)).send().await.expect_error(403, "turnstile_failed");
}

/// It fails closed, and tells the visitor that it is not the visitor's fault, and the operator what is wrong.
#[tokio::test]
async fn without_a_verdict_nobody_passes_and_it_can_be_tried_again() {
    let judge = JsonService::start().await;
    let world = world(&judge).await;
    let client = world.client();
    let guest = || client.post("/auth/guest").json(&json!({"turnstile_token": "solved"}));
    for (status, body, detail) in [
        (500, verdict(true, "app.cognomega.com"), "status 500"),
        (429, Value::Null, "status 429"),
        (302, Value::Null, "status 302"),
        (400, verdict(true, "app.cognomega.com"), "status 400"),
        (403, verdict(true, "app.cognomega.com"), "status 403"),
        (200, json!("success"), "no verdict"),
        (200, json!({"success": "true", "hostname": "app.cognomega.com"}), "no verdict"),
        (200, json!({"success": false, "error-codes": ["internal-error"]}), "internal-error"),
        (200, json!({"success": false, "error-codes": ["invalid-input-secret"]}), "invalid-input-secret"),
    ] {
        judge.answers(JUDGE, status, body);
        is_unavailable(&world, guest().send().await, detail).await;
    }
    judge.hangs(JUDGE);
    is_unavailable(&world, guest().send().await, "no answer within 5000 ms").await;
    judge.answers(JUDGE, 200, verdict(true, "app.cognomega.com"));
    guest().send().await.expect(200);
    drop(judge);
    is_unavailable(&world, guest().send().await, "cannot be reached").await;
}

/// 503 with a time to come back, and a line of the log with the request's id that says why.
async fn is_unavailable(world: &World, reply: Reply, detail: &str) {
    let reply = reply.expect_error(503, "unavailable");
    assert_eq!(reply.must_header("retry-after"), "1");
    let own = lines_of(world, reply.must_header("x-request-id"), &["request", "turnstile_unavailable"]).await;
    let line = own.iter().find(|line| text(line, "event") == "turnstile_unavailable").expect("a line");
    assert!(text(line, "detail").contains(detail), "{line}");
    assert_fields(&own);
}
