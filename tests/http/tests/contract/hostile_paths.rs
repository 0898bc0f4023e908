//! Paths and methods meant to slip past the route table.

use http_tests::raw_http;
use http_tests::vars::ADMIN_KEY;
use http_tests::world::World;
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn odd_paths_reach_nothing() {
    let world = World::verified().await;
    let target = world.stack.target();
    let long = format!("/api/credits/{}", "a".repeat(10 * 1024));
    let many = format!("/api{}/credits", "/a".repeat(400));
    let paths = [
        "//api//credits",
        "/api//credits",
        "/%2e%2e/api/credits",
        "/api/%2e%2e/%2e%2e/credits%00",
        "/%61pi/credits",
        "/api%2fcredits",
        "/api/credits%2f",
        "/api/credits;x=1",
        "/api\\..\\credits\\x",
        "/api/credits%20",
        "/api/.../credits",
        &long,
        &many,
    ];
    for path in paths {
        let reply = raw_http::send(&target, "GET", path, "", b"").await;
        let shown = path.get(..60).unwrap_or(path);
        assert!(matches!(reply.status, 404 | 405 | 414), "{shown}: {reply:?}");
    }
}

#[tokio::test]
async fn method_overrides_are_not_listened_to() {
    let world = World::verified().await;
    let tenant = world.tenant("override", 5.0).await;
    for header in ["x-http-method-override", "x-http-method", "x-method-override"] {
        let call = tenant.client.get("/api/credits/adjust").header(header, "POST");
        call.header("x-admin-key", ADMIN_KEY).send().await.expect_error(405, "method_not_allowed");
        let read = tenant.get("/api/credits").header(header, "DELETE").send().await;
        assert_eq!(read.status, 200, "{header}");
    }
    let path = format!("/api/credits/adjust?_method=POST&email={}&set=0", tenant.email);
    tenant.client.get(&path).admin().send().await.expect_error(405, "method_not_allowed");
    assert!((tenant.balance().await - 5.0).abs() < 1e-9);
}

#[tokio::test]
async fn methods_nobody_knows_are_refused() {
    let client = World::verified().await.client();
    for name in ["PROPFIND", "PURGE", "QUERY"] {
        let method: Method = name.parse().expect("a method");
        let reply = client.call(method, "/api/credits").json(&json!({})).send().await;
        assert!(matches!(reply.status, 405 | 501), "{name}: {reply:?}");
    }
}
