//! The cookies `__Host-cog_auth_jwt` and `cog_auth_jwt`: a browser sends them by itself, so they count for less than a
//! header.

use http_tests::client::{Call, Reply};
use http_tests::tokens::{now_s, user_token};
use http_tests::vars::APP_ORIGIN;
use http_tests::world::{World, text};
use reqwest::Method;
use serde_json::{Value, json};

const HOST_NAME: &str = "__Host-cog_auth_jwt";

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

/// Each `Set-Cookie` of a reply.
fn set_cookies(reply: &Reply) -> Vec<String> {
    let all = reply.headers.get_all("set-cookie").iter();
    all.map(|value| value.to_str().expect("text").to_owned()).collect()
}

fn attributes(cookie: &str) -> Vec<&str> {
    let mut attributes: Vec<&str> = cookie.split("; ").skip(1).collect();
    attributes.sort_unstable();
    attributes
}

/// Name and value, for a `Cookie` header.
fn pair(cookie: &str) -> &str {
    cookie.split(';').next().unwrap_or_default()
}

#[tokio::test]
async fn a_guest_may_have_its_token_as_a_cookie() {
    let client = World::verified().await.client();
    for path in crate::aliases::GUEST {
        let call = client.post(path).header("origin", APP_ORIGIN).json(&json!({"cookie": true}));
        let reply = call.send().await.expect(200);
        let body = reply.json();
        assert_eq!(text(&body, "cookie"), HOST_NAME);
        assert_eq!(body.get("token"), None, "scripts would read it there");
        let cookies = set_cookies(&reply);
        let [cookie] = cookies.as_slice() else { panic!("one cookie in {reply:?}") };
        assert!(cookie.starts_with("__Host-cog_auth_jwt=eyJ"), "{cookie}");
        let attributes = attributes(cookie);
        let (age, others): (Vec<&str>, Vec<&str>) =
            attributes.into_iter().partition(|attribute| attribute.starts_with("Max-Age="));
        assert_eq!(others, ["HttpOnly", "Path=/", "SameSite=Strict", "Secure"], "no Domain, nothing else");
        let age: i64 = age[0].trim_start_matches("Max-Age=").parse().expect("seconds");
        let lives_s = body.get("exp").and_then(Value::as_i64).expect("a time") - now_s();
        assert!((age - lives_s).abs() <= 2, "{age} s where the token lives {lives_s} s");
        let asked = client.post("/api/si/ask").header("cookie", pair(cookie)).header("origin", APP_ORIGIN);
        asked.json(&json!({"input": "hi"})).send().await.expect(200);
    }
    // Who does not ask for one gets none.
    for call in [
        client.post("/auth/guest"),
        client.post("/auth/guest").json(&json!({})),
        client.post("/auth/guest").json(&json!({"cookie": false})),
        client.post("/auth/guest").typed_body("text/plain", "cookie=true"),
    ] {
        let reply = call.header("origin", APP_ORIGIN).send().await.expect(200);
        assert!(set_cookies(&reply).is_empty() && reply.json().get("token").is_some(), "{reply:?}");
    }
}

#[tokio::test]
async fn no_stranger_s_page_sets_or_clears_a_cookie() {
    let world = World::verified().await;
    let client = world.client();
    let token = user_token("me@x.io");
    let foreign = [None, Some("null"), Some("https://evil.io"), Some("https://app.cognomega.com.evil.io")];
    for origin in foreign {
        for call in [
            client.post("/auth/guest").json(&json!({"cookie": true})),
            client.post("/auth/cookie").bearer(&token),
            client.post("/auth/logout"),
            client.post("/api/auth/logout"),
            client.post("/api/v1/auth/logout"),
        ] {
            let call = origin.into_iter().fold(call, |call, origin| call.header("origin", origin));
            let reply = call.send().await.expect_error(403, "origin_forbidden");
            assert!(set_cookies(&reply).is_empty(), "{reply:?}");
        }
    }
    let wrong = client.post("/auth/guest").header("origin", APP_ORIGIN).json(&json!({"cookie": "yes"}));
    wrong.send().await.expect_error(400, "invalid_field");
    let list = client.post("/auth/guest").header("origin", APP_ORIGIN).json(&json!(["cookie"]));
    list.send().await.expect_error(400, "invalid_json");
}

#[tokio::test]
async fn a_token_that_a_page_has_becomes_a_cookie_and_logging_out_ends_it() {
    let world = World::verified().await;
    let tenant = world.tenant("cookie-kept", 3.0).await;
    let client = &tenant.client;
    let keep = |call: Call| call.header("origin", APP_ORIGIN);
    let reply = keep(client.post("/auth/cookie")).user(&tenant.email).send().await.expect(200);
    let cookies = set_cookies(&reply);
    assert_eq!(pair(&cookies[0]), format!("{HOST_NAME}={}", user_token(&tenant.email)));
    let read = client.get("/api/credits").header("cookie", pair(&cookies[0])).send().await.expect(200);
    assert_eq!(text(&read.json(), "email"), tenant.email);

    keep(client.post("/auth/cookie")).send().await.expect_error(400, "missing_email");
    let forged = format!("{}x", user_token(&tenant.email));
    keep(client.post("/auth/cookie")).bearer(&forged).send().await.expect_error(401, "token_invalid");
    let key = tenant.post("/api/keys").json(&json!({})).send().await.expect(200).json();
    let key = text(&key, "key");
    keep(client.post("/auth/cookie")).bearer(key).send().await.expect_error(401, "token_invalid");
    // A cookie is no reason to set one: what is there may be somebody else's.
    let again = keep(client.post("/auth/cookie")).header("cookie", pair(&cookies[0]));
    again.send().await.expect_error(400, "missing_email");

    // Good or not, and under both names.
    for cookie in [pair(&cookies[0]), "cog_auth_jwt=broken", ""] {
        let call = keep(client.post("/auth/logout")).header("cookie", cookie);
        let reply = call.send().await.expect(200);
        assert_eq!(reply.json(), json!({"ok": true}));
        let cleared = set_cookies(&reply);
        let names: Vec<&str> = cleared.iter().map(|cookie| pair(cookie)).collect();
        assert_eq!(names, [format!("{HOST_NAME}="), "cog_auth_jwt=".to_owned()]);
        assert_eq!(attributes(&cleared[0]), ["HttpOnly", "Max-Age=0", "Path=/", "SameSite=Strict", "Secure"]);
        assert_eq!(attributes(&cleared[1]), ["HttpOnly", "Max-Age=0", "Path=/", "SameSite=Strict"]);
    }
    client.get("/auth/logout").send().await.expect_error(405, "method_not_allowed");
}

#[tokio::test]
async fn a_cookie_that_a_neighbour_can_set_never_overrides_our_own() {
    let world = World::verified().await;
    let (mine, theirs) = (world.tenant("cookie-mine", 3.0).await, world.tenant("cookie-theirs", 3.0).await);
    let (me, them) = (user_token(&mine.email), user_token(&theirs.email));
    let whose = |cookie: String| mine.client.get("/api/credits").header("cookie", &cookie);
    for cookie in [
        format!("{HOST_NAME}={me}; cog_auth_jwt={them}"),
        format!("cog_auth_jwt={them}; {HOST_NAME}={me}"),
        format!("cog_auth_jwt={them}; cog_auth_jwt=other; {HOST_NAME}={me}"),
        format!("{HOST_NAME}={me}; cog_auth_jwt=broken"),
    ] {
        let body = whose(cookie.clone()).send().await.expect(200).json();
        assert_eq!(text(&body, "email"), mine.email, "{cookie}");
    }
    // What is wrong is not passed over for what is right.
    for cookie in [
        format!("{HOST_NAME}=broken; cog_auth_jwt={them}"),
        format!("cog_auth_jwt={me}; cog_auth_jwt={them}"),
        format!("{HOST_NAME}={me}; {HOST_NAME}={them}"),
        format!("{HOST_NAME}=; cog_auth_jwt={them}"),
    ] {
        whose(cookie).send().await.expect_error(401, "token_invalid");
    }
    // A token as a header goes before every cookie, and must be good by itself.
    let beside = whose(format!("{HOST_NAME}={them}")).bearer(&me).send().await.expect(200).json();
    assert_eq!(text(&beside, "email"), mine.email);
    whose(format!("{HOST_NAME}={me}")).bearer("broken").send().await.expect_error(401, "token_invalid");
    let claim = whose(format!("{HOST_NAME}={me}")).claim(&theirs.email);
    claim.send().await.expect_error(403, "identity_mismatch");
    // Opening a socket is no reading.
    let socket = whose(format!("{HOST_NAME}={me}")).header("upgrade", "websocket");
    socket.send().await.expect_error(403, "origin_forbidden");
}

#[tokio::test]
async fn every_unsafe_method_by_cookie_needs_one_of_our_pages() {
    let world = World::verified().await;
    let tenant = world.tenant("cookie-methods", 3.0).await;
    for name in [HOST_NAME, "cog_auth_jwt"] {
        let cookie = format!("{name}={}", user_token(&tenant.email));
        for (method, path) in [
            (Method::POST, "/api/keys"),
            (Method::DELETE, "/api/keys/abc"),
            (Method::POST, "/api/si/ask"),
            (Method::POST, "/api/billing/usage"),
        ] {
            for origin in [None, Some("null"), Some("https://evil.io")] {
                let call = tenant.client.call(method.clone(), path).header("cookie", &cookie);
                let call = origin.into_iter().fold(call, |call, origin| call.header("origin", origin));
                call.json(&json!({"input": "x"})).send().await.expect_error(403, "origin_forbidden");
            }
        }
        let ours = tenant.client.call(Method::DELETE, "/api/keys/abc").header("cookie", &cookie);
        ours.header("origin", APP_ORIGIN).send().await.expect_error(404, "not_found");
    }
}
