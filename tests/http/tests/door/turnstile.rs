//! A challenge before a guest's token, judged by a stand-in of the service that poses it.

use http_tests::json_service::JsonService;
use http_tests::world::World;
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
        (200, json!("success")),
        (500, Value::Null),
    ] {
        judge.answers(JUDGE, refused.0, refused.1.clone());
        let reply = answered("again").send().await.expect_error(403, "turnstile_failed");
        assert!(!reply.text().contains(SECRET));
    }
    answered(&"x".repeat(2_049)).send().await.expect_error(403, "turnstile_failed");
}

#[tokio::test]
async fn without_its_judge_nobody_passes() {
    let judge = JsonService::start().await;
    let world = world(&judge).await;
    drop(judge);
    let body = json!({"turnstile_token": "solved"});
    world.client().post("/auth/guest").json(&body).send().await.expect_error(403, "turnstile_failed");
}
