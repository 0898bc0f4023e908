//! Every limit of a request by its number: what is just small enough is read, one more is told so with its own code.
//! Bodies and their depth are in `contract/bad_input.rs`, addresses in `address_limits.rs`.

use http_tests::client::{Call, Client};
use http_tests::raw_http;
use http_tests::tokens::user_token;
use http_tests::world::World;
use serde_json::json;

const PATH_BYTES_MAX: usize = 1_024;
const PATH_BYTES_READ_MAX: usize = 16_384;
const QUERY_BYTES_MAX: usize = 8_192;
const HEADERS_MAX: usize = 100;
const HEADER_BYTES_MAX: usize = 32_768;
const TOKEN_BYTES_MAX: usize = 8_192;
const JSON_DEPTH_MAX: usize = 64;

#[tokio::test]
async fn a_long_path_is_of_no_route_and_a_longer_one_is_414() {
    let client = World::verified().await.client();
    let path = |bytes: usize| format!("/api/keys/{}", "k".repeat(bytes - "/api/keys/".len()));
    let delete = |bytes: usize| client.call(reqwest::Method::DELETE, &path(bytes)).user("me@x.io");
    // The id of no key, by its route; then no route's.
    delete(PATH_BYTES_MAX).send().await.expect_error(404, "not_found");
    client
        .call(reqwest::Method::PUT, &path(PATH_BYTES_MAX))
        .send()
        .await
        .expect_error(405, "method_not_allowed");
    client.call(reqwest::Method::PUT, &path(PATH_BYTES_MAX + 1)).send().await.expect_error(404, "not_found");
    client.get(&path(PATH_BYTES_READ_MAX)).send().await.expect_error(404, "not_found");
    delete(PATH_BYTES_READ_MAX + 1).send().await.expect_error(414, "uri_too_long");
}

#[tokio::test]
async fn a_long_query_is_414() {
    let client = World::verified().await.client();
    let path = |bytes: usize| format!("/healthz?{}", "q".repeat(bytes));
    client.get(&path(QUERY_BYTES_MAX)).send().await.expect(200);
    client.get(&path(QUERY_BYTES_MAX + 1)).send().await.expect_error(414, "uri_too_long");
}

/// A request with `count` headers in all, as the Worker sees it.
fn with_headers(client: &Client, count: usize) -> Call {
    // Beside those below: the client's address, its kind and the host.
    let own = 3;
    (own..count).fold(client.get("/healthz"), |call, n| call.header(&format!("x-h{n}"), "v"))
}

#[tokio::test]
async fn many_headers_are_431() {
    let client = World::verified().await.client();
    with_headers(&client, HEADERS_MAX - 10).send().await.expect(200);
    let refused = with_headers(&client, HEADERS_MAX + 10).send().await.expect_error(431, "headers_too_large");
    assert_eq!(refused.header("connection"), None);
    // Refused before anything else is looked at, and readable by the page that sent it.
    let page = with_headers(&client, HEADERS_MAX + 10).header("origin", http_tests::vars::APP_ORIGIN);
    let page =
        page.header("authorization", "Bearer nonsense").send().await.expect_error(431, "headers_too_large");
    assert_eq!(page.must_header("access-control-allow-origin"), http_tests::vars::APP_ORIGIN);
}

#[tokio::test]
async fn large_headers_are_431() {
    let client = World::verified().await.client();
    let with = |bytes: usize| client.get("/healthz").header("cookie", &"c".repeat(bytes));
    with(HEADER_BYTES_MAX - 512).send().await.expect(200);
    with(HEADER_BYTES_MAX).send().await.expect_error(431, "headers_too_large");
    // Many small ones are as much.
    let many =
        (0..60).fold(client.get("/healthz"), |call, n| call.header(&format!("x-{n}"), &"v".repeat(600)));
    many.send().await.expect_error(431, "headers_too_large");
    // Far more than the Worker would read: the runtime may end it by itself, and must not fall.
    let target = World::verified().await.stack.target();
    let flood = format!("X-Flood: {}\r\n", "f".repeat(1_000_000));
    let reply = raw_http::send(&target, "GET", "/healthz", &flood, b"").await;
    assert!(matches!(reply.status, 0 | 400 | 413 | 431), "{}", reply.status);
    client.get("/healthz").send().await.expect(200);
}

#[tokio::test]
async fn a_long_token_is_401_and_what_is_within_the_headers_limit_reaches_that_judgement() {
    let client = World::verified().await.client();
    let long = format!("{}{}", user_token("me@x.io"), "A".repeat(TOKEN_BYTES_MAX));
    client.get("/api/credits").bearer(&long).send().await.expect_error(401, "token_invalid");
}

#[tokio::test]
async fn json_is_read_to_its_depth_and_no_deeper() {
    let world = World::verified().await;
    let tenant = world.tenant("deep", 1.0).await;
    let event = |depth: usize| {
        let lists = depth - 1;
        format!(r#"{{"id":"deep-{depth}","x":{}{}}}"#, "[".repeat(lists), "]".repeat(lists))
    };
    tenant.post("/usage").raw_json(event(JSON_DEPTH_MAX)).send().await.expect(200);
    tenant.post("/usage").raw_json(event(JSON_DEPTH_MAX + 1)).send().await.expect_error(400, "invalid_json");
    tenant.post("/usage").json(&json!({"id": "flat"})).send().await.expect(200);
}
