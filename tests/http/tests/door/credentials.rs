//! One rule for all that a request presents as proof: whatever is there must be good, on every route that reads it, and
//! no credential stands in for another.

use http_tests::client::{Call, Client, unique_email};
use http_tests::keys;
use http_tests::tokens::{self, user_token};
use http_tests::vars::APP_ORIGIN;
use http_tests::world::{Tenant, World, text};
use reqwest::Method;
use serde_json::{Value, json};

/// An operator's routes, and one of a tenant, with bodies that are good.
fn operators(client: &Client, email: &str) -> Vec<Call> {
    let named = json!({"email": email, "delta": 1});
    vec![
        client.get("/api/admin/ping").admin(),
        client.get("/api/admin/env-snapshot").admin(),
        client.get("/api/admin/providers").admin(),
        client.post("/api/credits/adjust").admin().json(&named),
        client.call(Method::PUT, "/api/credits/limits").admin().json(&json!({"email": email})),
        client.post("/api/admin/tokens").admin().json(&json!({"email": email})),
        client.post("/api/ai/test").admin().json(&json!({"prompt": "hello"})),
        client.get("/api/credits").admin().claim(email),
    ]
}

#[tokio::test]
async fn a_bad_token_beside_a_right_operators_key_is_401() {
    let world = World::verified().await;
    let tenant = world.tenant("operated", 1.0).await;
    let forged =
        tokens::signed(&tokens::honest_header(), &tokens::user_claims(&tenant.email), keys::foreign());
    for bad in [forged.as_str(), "garbage", "cog_0123456789abcdef"] {
        for call in operators(&world.client(), &tenant.email) {
            call.bearer(bad).send().await.expect_error(401, "token_invalid");
        }
    }
    for call in operators(&world.client(), &tenant.email) {
        call.header("cookie", "cog_auth_jwt=garbage")
            .header("origin", APP_ORIGIN)
            .send()
            .await
            .expect_error(401, "token_invalid");
    }
    // A good one, whoever's, takes nothing from the operator.
    for call in operators(&world.client(), &tenant.email) {
        call.user(&unique_email("beside")).send().await.expect(200);
    }
}

#[tokio::test]
async fn a_wrong_operators_key_is_401_on_every_route_that_reads_one() {
    let world = World::verified().await;
    let me = unique_email("honest");
    let page = |call: Call| call.header("origin", APP_ORIGIN);
    // Each from an address of its own: too many from one are told so instead.
    let from = |method: Method, path: &str| world.client().call(method, path);
    for call in [
        from(Method::POST, "/auth/guest"),
        page(from(Method::POST, "/auth/logout")),
        page(from(Method::POST, "/auth/cookie")).user(&me),
        from(Method::GET, "/.well-known/jwks.json"),
        from(Method::GET, "/api/ai/binding"),
        from(Method::GET, "/api/credits").user(&me),
        from(Method::GET, "/api/admin/ping"),
    ] {
        call.header("x-admin-key", "wrong").send().await.expect_error(401, "unauthorized");
    }
    // How the service is, is told to whoever asks with whatever; and who comes for a new token may hold an old one.
    let client = world.client();
    for call in [
        client.get("/healthz").header("x-admin-key", "wrong").bearer("garbage"),
        client.get("/ready").header("x-admin-key", "wrong").bearer("garbage"),
        client.post("/auth/guest").bearer("garbage").header("cookie", "cog_auth_jwt=old"),
        page(client.post("/auth/logout")).header("cookie", "cog_auth_jwt=old"),
        client.get("/.well-known/jwks.json").bearer("garbage"),
    ] {
        call.send().await.expect(200);
    }
}

async fn key(tenant: &Tenant) -> (String, String) {
    let made = tenant.post("/api/keys").json(&json!({})).send().await.expect(200).json();
    (text(&made, "key").to_owned(), text(&made, "id").to_owned())
}

/// Whatever an isolate remembers of the key.
#[tokio::test]
async fn a_revoked_key_beside_an_operators_key_is_401_known_or_not() {
    let mut world = World::private(json!({})).await;
    let tenant = world.tenant("key-beside", 1.0).await;
    let (key, id) = key(&tenant).await;
    for call in operators(&world.client(), &tenant.email) {
        call.bearer(&key).send().await.expect(200);
    }
    let revoke = tenant.client.call(Method::DELETE, &format!("/api/keys/{id}")).user(&tenant.email);
    revoke.send().await.expect(200);
    // This isolate has seen it good just now.
    for call in operators(&world.client(), &tenant.email) {
        call.bearer(&key).send().await.expect_error(401, "token_invalid");
    }
    tenant.client.get("/api/keys").bearer(&key).send().await.expect_error(401, "token_invalid");
    world.stack.restart();
    for call in operators(&world.client(), &tenant.email) {
        call.bearer(&key).send().await.expect_error(401, "token_invalid");
    }
}

#[tokio::test]
async fn a_revoked_key_that_keeps_no_keys_is_revoked_first() {
    let world = World::verified().await;
    let tenant = world.tenant("key-keeper", 1.0).await;
    let (key, id) = key(&tenant).await;
    tenant.client.get("/api/credits").bearer(&key).send().await.expect(200);
    tenant.client.get("/api/keys").bearer(&key).send().await.expect_error(403, "keys_forbidden");
    tenant
        .client
        .call(Method::DELETE, &format!("/api/keys/{id}"))
        .user(&tenant.email)
        .send()
        .await
        .expect(200);
    tenant.client.get("/api/keys").bearer(&key).send().await.expect_error(401, "token_invalid");
}

#[tokio::test]
async fn an_operators_body_may_not_be_contradicted() {
    let world = World::verified().await;
    let (tenant, other) = (world.tenant("in-the-body", 3.0).await, unique_email("beside"));
    let client = world.client();
    let routes = |email: &str| {
        [
            client.post("/api/credits/adjust").admin().json(&json!({"email": email, "delta": 1})),
            client.call(Method::PUT, "/api/credits/limits").admin().json(&json!({"email": email})),
            client.post("/api/admin/tokens").admin().json(&json!({"email": email})),
        ]
    };
    for call in routes(&tenant.email) {
        call.claim(&other).send().await.expect_error(403, "identity_mismatch");
    }
    for call in routes(&tenant.email) {
        call.query("email", &other).send().await.expect_error(403, "identity_mismatch");
    }
    for call in routes(&tenant.email) {
        call.claim(&tenant.email).query("email", &other).send().await.expect_error(403, "identity_mismatch");
    }
    for call in routes(&tenant.email) {
        call.claim("a,b@x.io").send().await.expect_error(400, "invalid_email");
    }
    assert!((tenant.balance().await - 3.0).abs() < 1e-9, "nothing was adjusted");
    for call in routes(&tenant.email) {
        call.claim(&tenant.email.to_uppercase()).send().await.expect(200);
    }
}

/// An operator's asks are told from the tenant's own by their keys, and without keys too.
#[tokio::test]
async fn an_operators_asks_and_the_tenants_never_meet() {
    let world = World::verified().await;
    let tenant = world.tenant("scoped", 5.0).await;
    tenant.put_limits(json!({"fingerprint_window_ms": 60_000})).await.expect(200);
    let question = json!({"input": http_tests::client::unique_marker()});
    let operators = |key: Option<&str>, body: &Value| {
        let call = tenant.client.post("/api/si/ask").admin().claim(&tenant.email).json(body);
        key.into_iter().fold(call, Call::idempotency_key)
    };
    let replayed = |reply: &http_tests::client::Reply| reply.header("idempotency-replayed").is_some();
    tenant.ask(&question).idempotency_key("k-1").send().await.expect(200);
    let asked = operators(Some("k-1"), &question).send().await.expect(200);
    assert!(!replayed(&asked), "the tenant's reply came back");
    assert!(replayed(&operators(Some("k-1"), &question).send().await.expect(200)), "its own does");
    assert!(replayed(&tenant.ask(&question).idempotency_key("k-1").send().await.expect(200)));
    // Nor does an operator's key stand in the tenant's way.
    operators(Some("k-2"), &json!({"input": "another"})).send().await.expect(200);
    tenant.ask(&question).idempotency_key("k-2").send().await.expect(200);
    // The same question again, soon and without a key, is the same question of the same asker.
    let question = json!({"input": http_tests::client::unique_marker()});
    tenant.ask(&question).send().await.expect(200);
    assert!(!replayed(&operators(None, &question).send().await.expect(200)), "the tenant's answer came back");
    assert!(replayed(&tenant.ask(&question).send().await.expect(200)));
}

#[tokio::test]
async fn a_key_is_no_cookie() {
    let world = World::verified().await;
    let tenant = world.tenant("key-as-cookie", 1.0).await;
    let (key, _) = key(&tenant).await;
    tenant.client.get("/api/credits").bearer(&key).send().await.expect(200);
    for name in ["cog_auth_jwt", "__Host-cog_auth_jwt"] {
        let call = tenant.client.get("/api/credits").header("cookie", &format!("{name}={key}"));
        call.send().await.expect_error(401, "token_invalid");
    }
    let token = user_token(&tenant.email);
    let call = tenant.client.get("/api/credits").header("cookie", &format!("cog_auth_jwt={token}"));
    call.send().await.expect(200);
}

#[tokio::test]
async fn a_keys_name_shows_what_it_is() {
    let world = World::verified().await;
    let tenant = world.tenant("named-keys", 1.0).await;
    for name in ["\u{202e}nigol", "a\nb", "a\u{0}", "a\u{7f}b", "a\u{2066}b", "a\u{200f}b", "a\u{2028}b"] {
        let reply = tenant.post("/api/keys").json(&json!({"name": name})).send().await;
        let reply = reply.expect_error(400, "invalid_field");
        assert_eq!(text(&reply.json(), "field"), "name", "{name:?}");
    }
    tenant.post("/api/keys").json(&json!({"name": "Бухгалтерия 日本"})).send().await.expect(200);
}
