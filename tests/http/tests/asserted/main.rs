//! `asserted` mode, for development: an address is believed, but a token is still verified, and the mode
//! refuses to serve where it could do harm.

use http_tests::client::unique_email;
use http_tests::keys;
use http_tests::tokens::{self, user_token};
use http_tests::world::{World, assert_credits, text};
use serde_json::{Value, json};

const READS: [&str; 11] = [
    "/api/credits",
    "/credits",
    "/api/v1/credits",
    "/api/billing/balance",
    "/api/v1/billing/balance",
    "/api/billing/usage",
    "/billing/usage",
    "/api/usage",
    "/usage",
    "/api/v1/usage",
    "/api/v1/billing/usage",
];
const SOURCE: &str = "x-identity-source";

#[tokio::test]
async fn an_address_is_believed_and_the_reply_says_so() {
    let world = World::asserted().await;
    let tenant = world.tenant("asserted", 2.0).await;
    for path in READS {
        let spellings = [
            tenant.client.get(path).claim(&tenant.email),
            tenant.client.get(path).query("email", &tenant.email.to_uppercase()),
            tenant.client.get(path).claim(&tenant.email).query("email", &tenant.email),
        ];
        for call in spellings {
            let reply = call.send().await.expect(200);
            assert_eq!(reply.must_header(SOURCE), "asserted", "{path}");
            assert_eq!(text(&reply.json(), "email"), tenant.email, "{path}");
        }
    }
    for path in ["/api/si/ask", "/si/ask"] {
        let call = tenant.client.post(path).claim(&tenant.email).json(&json!({"input": "hi"}));
        let reply = call.send().await.expect(200);
        assert_eq!(reply.must_header(SOURCE), "asserted", "{path}");
    }
    let call = tenant.client.post("/api/si/ask").claim(&tenant.email).json(&json!({"input": "hi"}));
    let stream = call.open().await.expect_stream().await;
    assert_eq!(stream.header(SOURCE), Some("asserted"));
    stream.drain().await;
    assert_credits(tenant.settled_balance().await, 2.0 - 0.036, "three asks");
}

#[tokio::test]
async fn a_proven_caller_is_not_called_asserted() {
    let world = World::asserted().await;
    let tenant = world.tenant("proven", 2.0).await;
    let calls = [tenant.get("/api/credits"), tenant.get("/api/credits").claim(&tenant.email)];
    for call in calls {
        assert_eq!(call.send().await.expect(200).header(SOURCE), None);
    }
}

#[tokio::test]
async fn a_token_is_still_verified_and_may_not_be_contradicted() {
    let client = World::asserted().await.client();
    let (me, victim) = (unique_email("me"), unique_email("victim"));
    let stranger = tokens::signed(&tokens::honest_header(), &tokens::user_claims(&me), keys::foreign());
    for path in READS {
        let refused = [
            (client.get(path).bearer(&stranger).claim(&me), 401, "token_invalid"),
            (client.get(path).bearer("garbage").claim(&me), 401, "token_invalid"),
            (client.get(path).header("cookie", "cog_auth_jwt=garbage").claim(&me), 401, "token_invalid"),
            (client.get(path).user(&me).claim(&victim), 403, "identity_mismatch"),
            (client.get(path).user(&me).query("email", &victim), 403, "identity_mismatch"),
            (client.get(path).claim(&me).query("email", &victim), 403, "identity_mismatch"),
            (client.get(path).query("email", &me).query("email", &victim), 403, "identity_mismatch"),
            (
                client.get(path).user(&me).query("email", &me).query("email", &victim),
                403,
                "identity_mismatch",
            ),
            (client.get(path).claim("a,b@x.io"), 400, "invalid_email"),
            (client.get(path), 400, "missing_email"),
        ];
        for (call, status, code) in refused {
            let reply = call.send().await;
            assert_eq!((reply.status, reply.error().as_str()), (status, code), "{path}: {reply:?}");
        }
    }
}

/// A guest is somebody: its token may not be contradicted either.
#[tokio::test]
async fn an_address_beside_a_guests_token_is_a_contradiction() {
    let world = World::asserted().await;
    let tenant = world.tenant("beside-guest", 2.0).await;
    let guest = world.client().post("/auth/guest").send().await.expect(200).json();
    for path in READS {
        let call = || tenant.client.get(path).bearer(text(&guest, "token"));
        call().claim(&tenant.email).send().await.expect_error(403, "identity_mismatch");
        call().query("email", &tenant.email).send().await.expect_error(403, "identity_mismatch");
        let reply = call().send().await.expect(200);
        assert_eq!(reply.header(SOURCE), None, "{path}");
        // Its own name is none, and is no proof.
        let own = text(&reply.json(), "email").to_owned();
        assert_eq!(call().query("email", &own).send().await.expect(200).header(SOURCE), None, "{path}");
        let bare = tenant.client.get(path).query("email", &own);
        bare.send().await.expect_error(400, "invalid_email");
    }
    let call = tenant.client.post("/api/si/ask").bearer(text(&guest, "token")).claim(&tenant.email);
    call.json(&json!({"input": "hi"})).send().await.expect_error(403, "identity_mismatch");
    assert_credits(tenant.balance().await, 2.0, "nothing of it is spent");
}

#[tokio::test]
async fn the_operators_routes_still_want_their_key() {
    let world = World::asserted().await;
    let body = json!({"email": unique_email("free"), "set": 100});
    for call in [
        world.client().post("/api/credits/adjust").json(&body),
        world.client().post("/api/credits/adjust").json(&body).claim("admin@x.io"),
        world.client().post("/api/credits/adjust").json(&body).bearer(&user_token("admin@x.io")),
    ] {
        call.send().await.expect_error(401, "unauthorized");
    }
}

#[tokio::test]
async fn ready_reports_the_mode() {
    let body = World::asserted().await.client().get("/ready").send().await.expect(200).json();
    assert_eq!(text(&body, "identity_mode"), "asserted");
}

#[tokio::test]
async fn production_refuses_the_mode() {
    let world = World::private(json!({"IDENTITY_MODE": "asserted", "ENVIRONMENT": "production"})).await;
    let client = world.client();
    let body = client.get("/ready").send().await.expect(503).json();
    assert_eq!(body.get("ok"), Some(&json!(false)));
    let named = body.get("problems").and_then(Value::as_array).cloned().unwrap_or_default();
    assert!(named.iter().any(|problem| text(problem, "variable") == "IDENTITY_MODE"), "{body}");
    for path in ["/healthz", "/api/healthz", "/api/v1/healthz", "/health", "/api/health"] {
        client.get(path).send().await.expect(200);
    }
    for path in READS {
        client.get(path).claim("victim@x.io").send().await.expect_error(503, "misconfigured");
    }
    for path in ["/api/si/ask", "/auth/guest", "/usage", "/api/credits/adjust", "/api/admin/ping"] {
        let call = client.post(path).claim("victim@x.io").admin().json(&json!({"input": "hi"}));
        call.send().await.expect_error(503, "misconfigured");
    }
    client.get("/.well-known/jwks.json").send().await.expect_error(503, "misconfigured");
}
