//! `POST /api/admin/tokens`: a backend that signs its own users in.

use http_tests::client::unique_email;
use http_tests::tokens::decoded;
use http_tests::vars::{ISSUER, KEY_ID};
use http_tests::world::{World, number, text};
use serde_json::json;

const PATH: &str = "/api/admin/tokens";

#[tokio::test]
async fn a_token_is_the_user_it_was_made_for() {
    let world = World::verified().await;
    let client = world.client();
    let email = unique_email("Signed-In");
    let reply =
        client.post(PATH).admin().json(&json!({"email": email, "ttl_s": 120})).send().await.expect(200);
    let body = reply.json();
    assert_eq!(text(&body, "email"), email.to_lowercase());
    let (header, claims) = decoded(text(&body, "token"));
    assert_eq!(header, json!({"alg": "RS256", "typ": "JWT", "kid": KEY_ID}));
    assert_eq!(text(&claims, "iss"), ISSUER);
    assert_eq!(text(&claims, "role"), "user");
    assert!((number(&claims, "exp") - number(&claims, "iat") - 120.0).abs() < f64::EPSILON);
    let account = client.get("/api/credits").bearer(text(&body, "token")).send().await.expect(200);
    assert_eq!(text(&account.json(), "email"), email.to_lowercase());
}

#[tokio::test]
async fn only_an_operator_makes_one() {
    let world = World::verified().await;
    let client = world.client();
    let body = json!({"email": "me@x.io"});
    client.post(PATH).json(&body).send().await.expect_error(401, "unauthorized");
    client.post(PATH).user("me@x.io").json(&body).send().await.expect_error(401, "unauthorized");
}

#[tokio::test]
async fn wrong_requests_are_told_apart() {
    let world = World::verified().await;
    let client = world.client();
    for (body, code) in [
        (json!({}), "missing_email"),
        (json!({"email": " "}), "missing_email"),
        (json!({"email": 7}), "invalid_email"),
        (json!({"email": "nobody"}), "invalid_email"),
        (json!({"email": "guest:7d1c3b7e-7a5e-4f0e-9a57-0d1f6d3c2b1a"}), "invalid_email"),
        (json!({"email": "me@x.io", "ttl_s": 59}), "invalid_field"),
        (json!({"email": "me@x.io", "ttl_s": 604_801}), "invalid_field"),
        (json!({"email": "me@x.io", "ttl_s": "60"}), "invalid_field"),
    ] {
        client.post(PATH).admin().json(&body).send().await.expect_error(400, code);
    }
}
