//! Which pages may call: by exact origin, on every response, refusals included.

use http_tests::client::{Client, Reply};
use http_tests::vars::APP_ORIGIN;
use http_tests::world::World;
use reqwest::Method;

const ALLOW_ORIGIN: &str = "access-control-allow-origin";

/// In `ALLOWED_ORIGINS`, the last one by its `*` label.
const LISTED: [&str; 3] =
    [APP_ORIGIN, "https://www.cognomega.com", "https://preview-7.cognomega-frontend.pages.dev"];

const FOREIGN: [&str; 14] = [
    "null",
    "*",
    "https://app.cognomega.com.evil.io",
    "https://evilapp.cognomega.com",
    "https://evil.io/app.cognomega.com",
    "http://app.cognomega.com",
    "https://app.cognomega.com:444",
    "https://app.cognomega.com.",
    "https://user@app.cognomega.com",
    "https://a.b.cognomega-frontend.pages.dev",
    "https://cognomega-frontend.pages.dev",
    "https://.cognomega-frontend.pages.dev",
    "https://evil-cognomega-frontend.pages.dev",
    "https://x.cognomega-frontend.pages.dev.evil.io",
];

/// A reply of every kind: good, refused for want of identity, unknown, wrong method, not built yet.
const PROBES: [(Method, &str); 5] = [
    (Method::GET, "/healthz"),
    (Method::GET, "/api/credits"),
    (Method::GET, "/nowhere"),
    (Method::DELETE, "/api/credits"),
    (Method::GET, "/api/jobs"),
];

const BASE_HEADERS: [&str; 8] = [
    "authorization",
    "content-type",
    "x-user-email",
    "x-admin-key",
    "x-admin-token",
    "x-intelligence-tier",
    "idempotency-key",
    "last-event-id",
];

async fn preflight(client: &Client, origin: &str, asked: &str) -> Reply {
    let call = client.call(Method::OPTIONS, "/api/si/ask").header("origin", origin);
    let call = call.header("access-control-request-method", "POST");
    let call = if asked.is_empty() { call } else { call.header("access-control-request-headers", asked) };
    call.send().await.expect(204)
}

fn allowed_headers(reply: &Reply) -> Vec<String> {
    let list = reply.must_header("access-control-allow-headers").to_lowercase();
    list.split(',').map(|name| name.trim().to_owned()).collect()
}

#[tokio::test]
async fn a_listed_origin_is_named_on_every_reply() {
    let client = World::verified().await.client();
    for origin in LISTED {
        for (method, path) in PROBES {
            let reply = client.call(method, path).header("origin", origin).send().await;
            assert_eq!(reply.header(ALLOW_ORIGIN), Some(origin), "{path}");
        }
        assert_eq!(preflight(&client, origin, "").await.header(ALLOW_ORIGIN), Some(origin));
    }
}

#[tokio::test]
async fn no_other_origin_is_ever_named() {
    let client = World::verified().await.client();
    for origin in FOREIGN {
        for (method, path) in PROBES {
            let reply = client.call(method, path).header("origin", origin).send().await;
            assert_eq!(reply.header(ALLOW_ORIGIN), None, "{origin} at {path}");
        }
        assert_eq!(preflight(&client, origin, "").await.header(ALLOW_ORIGIN), None, "{origin}");
    }
    let without = client.get("/healthz").send().await;
    assert_eq!(without.header(ALLOW_ORIGIN), None, "no origin was sent");
}

#[tokio::test]
async fn a_preflight_is_answered_on_every_path() {
    let client = World::verified().await.client();
    for path in ["/api/si/ask", "/API/CREDITS/", "/.well-known/jwks.json", "/api/jobs", "/nowhere"] {
        let call = client.call(Method::OPTIONS, path).header("origin", APP_ORIGIN);
        let reply = call.header("access-control-request-method", "PATCH").send().await.expect(204);
        assert!(reply.body.is_empty(), "{path}");
        let methods = reply.must_header("access-control-allow-methods");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            assert!(methods.contains(method), "{path}: {methods}");
        }
        let known = allowed_headers(&reply);
        for name in BASE_HEADERS {
            assert!(known.iter().any(|known| known == name), "{path}: {name} not in {known:?}");
        }
    }
}

#[tokio::test]
async fn asked_headers_are_allowed_when_they_are_tokens() {
    let client = World::verified().await.client();
    let reply = preflight(&client, APP_ORIGIN, "X-Trace-Id, x-custom.header").await;
    let known = allowed_headers(&reply);
    for name in ["x-trace-id", "x-custom.header"] {
        assert!(known.iter().any(|known| known == name), "{name} not in {known:?}");
    }
}

#[tokio::test]
async fn asked_names_that_are_no_tokens_are_dropped() {
    let client = World::verified().await.client();
    let asked = b"x-good, x bad, x:bad, *, x\"q, (x), x\xc3\xbc, x\tbad, x-also-good";
    let call = client.call(Method::OPTIONS, "/api/si/ask").header("origin", APP_ORIGIN);
    let call = call.header("access-control-request-method", "POST");
    let reply = call.header_bytes("access-control-request-headers", asked).send().await.expect(204);
    let added: Vec<String> =
        allowed_headers(&reply).into_iter().filter(|name| !BASE_HEADERS.contains(&name.as_str())).collect();
    assert_eq!(added, ["x-good", "x-also-good"]);
}

#[tokio::test]
async fn asked_names_are_bounded_in_number_and_length() {
    let client = World::verified().await.client();
    let many: Vec<String> = (0..100).map(|index| format!("x-{index}")).collect();
    let known = allowed_headers(&preflight(&client, APP_ORIGIN, &many.join(",")).await);
    assert!(known.len() <= BASE_HEADERS.len() + 32, "{} names", known.len());
    let long = format!("x-{}", "a".repeat(2_000));
    let list = allowed_headers(&preflight(&client, APP_ORIGIN, &long).await).join(",");
    assert!(list.len() < 1_024 + 200, "{} bytes", list.len());
}

#[tokio::test]
async fn billing_headers_can_be_read_by_a_page() {
    let client = World::verified().await.client();
    let reply = client.get("/healthz").header("origin", APP_ORIGIN).send().await;
    let exposed = reply.must_header("access-control-expose-headers").to_lowercase();
    for name in [
        "x-credits-used",
        "x-credits-balance",
        "x-provider",
        "x-model",
        "x-intelligence-tier",
        "x-tokens-in",
        "x-request-id",
        "retry-after",
    ] {
        assert!(exposed.contains(name), "{name} not in {exposed}");
    }
}
