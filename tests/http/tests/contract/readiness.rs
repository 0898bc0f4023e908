//! Alive and ready, and what the Worker says of its configuration.

use crate::aliases::HEALTH;
use http_tests::vars::{GROQ_MODEL, LOCAL_MODEL};
use http_tests::world::{World, text};
use serde_json::{Value, json};

#[tokio::test]
async fn health_is_told_on_every_alias() {
    let client = World::verified().await.client();
    for path in HEALTH {
        let body = client.get(path).send().await.expect(200).json();
        assert_eq!(body.get("ok"), Some(&json!(true)), "{path}");
        let when = text(&body, "when");
        let at = chrono::DateTime::parse_from_rfc3339(when).expect("a time");
        assert!((chrono::Utc::now() - at.to_utc()).num_seconds().abs() < 5, "{path}: {when}");
    }
}

#[tokio::test]
async fn ready_names_the_first_provider_and_the_mode() {
    let client = World::verified().await.client();
    let body = client.get("/ready").send().await.expect(200).json();
    assert_eq!(body.get("ok"), Some(&json!(true)));
    assert_eq!(text(&body, "provider"), "groq");
    assert_eq!(text(&body, "model"), GROQ_MODEL);
    assert_eq!(text(&body, "identity_mode"), "verified");
    assert_eq!(text(&body, "environment"), "development");
    assert_eq!(body.get("providers"), Some(&json!(["groq", "cfai", "openai", "local"])));
}

/// Each of these is a mistake that must be said, with the variable's name, and must stop the paid routes.
#[tokio::test]
async fn mistakes_are_all_told_at_once_and_stop_the_paid_routes() {
    let world = World::private(json!({
        "GROQ_BASE": "http://user:base-password@127.0.0.1:9/v1",
        "OPENAI_BASE": "https://10.0.0.1/v1",
        "CREDIT_PER_1K": "cheap",
        "HOLD_TTL_MS": "5",
        "ADMIN_API_KEY": "too-short-to-be-a-key",
        "PLANS": r#"{"free": {"requests_per_hour": 5}, "pro": {"tiers": ["no-such-tier"]}}"#,
        "DEFAULT_PLAN": "gold",
        "GUEST_PLAN": "silver",
        "TIERS": r#"{"high": {"weight": 0}}"#,
        "GUEST_GRANT_TTL_SEC": "never",
    }))
    .await;
    let client = world.client();
    let ready = client.get("/ready").send().await.expect(503);
    let body = ready.json();
    assert_eq!(body.get("ok"), Some(&json!(false)));
    let named: Vec<&str> = body
        .get("problems")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|problem| problem.get("variable").and_then(Value::as_str))
        .collect();
    let wrong = [
        "GROQ_BASE",
        "OPENAI_BASE",
        "CREDIT_PER_1K",
        "HOLD_TTL_MS",
        "ADMIN_API_KEY",
        "PLANS",
        "DEFAULT_PLAN",
        "GUEST_PLAN",
        "TIERS",
        "GUEST_GRANT_TTL_SEC",
    ];
    for variable in wrong {
        assert!(named.contains(&variable), "{variable} is not named in {body}");
    }
    for secret in ["base-password", "too-short-to-be-a-key"] {
        assert!(!ready.text().contains(secret), "{secret} is told");
        assert!(!world.stack.log().text().contains(secret), "{secret} is logged");
    }
    client.get("/healthz").send().await.expect(200);
    let ask = client.post("/api/si/ask").user("a@x.io").json(&json!({"input": "hi"}));
    ask.send().await.expect_error(503, "misconfigured");
    client.get("/api/credits").user("a@x.io").send().await.expect_error(503, "misconfigured");
    let reply = client.get("/v1/models").send().await.expect_error(503, "misconfigured");
    assert_eq!(reply.json().pointer("/error/type"), Some(&json!("server_error")), "{reply:?}");
    client.get("/openapi.json").send().await.expect(200);
}

#[tokio::test]
async fn providers_without_their_key_are_passed_over() {
    let world = World::private(
        json!({"GROQ_API_KEY": null, "OPENAI_API_KEY": "", "PREFERRED_PROVIDER": "groq,openai,local"}),
    )
    .await;
    let body = world.client().get("/ready").send().await.expect(200).json();
    assert_eq!(text(&body, "provider"), "local");
    assert_eq!(text(&body, "model"), LOCAL_MODEL);
    let tenant = world.tenant("keyless", 1.0).await;
    let reply = tenant.ask(&json!({"input": "who answers?"})).send().await.expect(200);
    assert_eq!(reply.must_header("x-provider"), "local");
    assert!(world.groq.all_calls().is_empty() && world.openai.all_calls().is_empty());
}
