//! The cookie `cog_auth_jwt`: a browser sends it by itself, so it counts for less than a header.

use http_tests::client::Call;
use http_tests::tokens::user_token;
use http_tests::vars::APP_ORIGIN;
use http_tests::world::{World, text};
use serde_json::json;

fn with_cookie(call: Call, token: &str) -> Call {
    call.header("cookie", &format!("theme=dark; cog_auth_jwt={token}; x=1"))
}

#[tokio::test]
async fn the_cookie_identifies_who_reads() {
    let world = World::verified().await;
    let tenant = world.tenant("cookie", 3.0).await;
    let token = user_token(&tenant.email);
    for origin in [None, Some(APP_ORIGIN)] {
        let call = with_cookie(tenant.client.get("/api/credits"), &token);
        let call = origin.into_iter().fold(call, |call, origin| call.header("origin", origin));
        let body = call.send().await.expect(200).json();
        assert_eq!(text(&body, "email"), tenant.email);
    }
}

#[tokio::test]
async fn a_foreign_page_cannot_spend_with_the_cookie() {
    let world = World::verified().await;
    let tenant = world.tenant("cookie-csrf", 3.0).await;
    let token = user_token(&tenant.email);
    let origins = [
        None,
        Some("null"),
        Some("https://evil.io"),
        Some("https://app.cognomega.com.evil.io"),
        Some("http://app.cognomega.com"),
        Some("https://app.cognomega.com:444"),
    ];
    for path in ["/api/si/ask", "/si/ask", "/api/billing/usage", "/usage"] {
        for origin in origins {
            let call = with_cookie(tenant.client.post(path), &token).json(&json!({"input": "spend"}));
            let call = origin.into_iter().fold(call, |call, origin| call.header("origin", origin));
            let reply = call.send().await;
            assert_eq!(reply.status, 403, "{path} from {origin:?}: {reply:?}");
        }
    }
    assert!((tenant.balance().await - 3.0).abs() < 1e-9);
    assert!(tenant.usage().await.is_empty());
}

#[tokio::test]
async fn our_page_can_spend_with_the_cookie() {
    let world = World::verified().await;
    let tenant = world.tenant("cookie-app", 3.0).await;
    let call = with_cookie(tenant.client.post("/api/si/ask"), &user_token(&tenant.email));
    let reply = call.header("origin", APP_ORIGIN).json(&json!({"input": "hi"})).send().await;
    reply.expect(200);
    assert_eq!(tenant.usage_of(1).await.len(), 1);
}

#[tokio::test]
async fn a_bad_cookie_is_no_anonymous_caller() {
    let world = World::verified().await;
    let tenant = world.tenant("cookie-bad", 3.0).await;
    let forged = format!("{}x", user_token(&tenant.email));
    let call = with_cookie(tenant.client.get("/api/credits"), &forged);
    call.claim(&tenant.email).send().await.expect_error(401, "token_invalid");
}
