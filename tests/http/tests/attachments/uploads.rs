//! Files that are taken.

use crate::stage::{UPLOAD, listed, metadata, picture, sha256, upload_call, uploaded};
use http_tests::client::unique_marker;
use http_tests::world::{World, text};
use reqwest::Method;
use serde_json::json;

/// What keys are made of.
fn is_key(key: &str) -> bool {
    let parts: Vec<&str> = key.split('/').collect();
    let digits = |part: &str, count: usize| part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
    let [folder, year, month, day, identity, last] = parts.as_slice() else { return false };
    let (Some(id), Some(name)) = (last.get(..36), last.get(37..)) else { return false };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    *folder == "uploads"
        && digits(year, 4)
        && digits(month, 2)
        && digits(day, 2)
        && identity.len() == 35
        && identity.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && uuid::Uuid::try_parse(id).is_ok()
        && (1..=100).contains(&name.len())
        && name.bytes().all(plain)
        && !name.contains("..")
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric())
}

#[tokio::test]
async fn a_file_is_stored_as_it_came() {
    let world = World::verified().await;
    let tenant = world.tenant("upload", 0.0).await;
    let content_type = "text/html; charset=utf-8";
    let reply =
        upload_call(&tenant, "My page (1).html", content_type, "<b>hello</b>").send().await.expect(200);
    let body = reply.json();
    let key = text(&body, "key");
    assert!(is_key(key) && key.ends_with("-My_page_1_.html"), "{key}");
    assert_eq!((&body["ok"], &body["size"]), (&json!(true), &json!(12)));
    // The bucket's digest is MD5.
    assert_eq!(text(&body, "etag"), "31a830284bb51d822f47243485963326");
    assert!(!text(&body, "version").is_empty());
    assert_eq!(text(&body, "content_type"), content_type);
    assert!(reply.must_header("ratelimit-policy").contains("\"requests\""), "it counts in the budget");
    let object = world.stack.in_bucket(json!({"read": key})).remove(0);
    assert_eq!((&object["size"], text(&object, "content_type")), (&json!(12), content_type));
    assert_eq!(text(&object, "sha256"), sha256(b"<b>hello</b>"));
    assert_eq!(metadata(world, key).as_object().map(serde_json::Map::len), Some(1));
    // The same again is another object: nothing is ever overwritten.
    let again = uploaded(&tenant, "My page (1).html", content_type, "<b>hello</b>").await;
    assert_ne!(again, key);
    assert!(tenant.usage().await.is_empty() && tenant.ledger().await.is_empty(), "it costs nothing");
}

#[tokio::test]
async fn ten_megabytes_come_back_as_they_were() {
    const BYTES: usize = 10_485_760;
    let world = World::verified().await;
    let tenant = world.tenant("ten-megabytes", 0.0).await;
    let bytes = picture(BYTES);
    let expected = sha256(&bytes);
    let reply = upload_call(&tenant, "large.png", "image/png", bytes).send().await.expect(200).json();
    let object = world.stack.in_bucket(json!({"read": text(&reply, "key")})).remove(0);
    assert_eq!((object["size"].as_u64(), text(&object, "sha256")), (Some(BYTES as u64), &*expected));
}

#[tokio::test]
async fn every_name_gives_a_safe_key() {
    let world = World::verified().await;
    let tenant = world.tenant("names", 0.0).await;
    let long = format!("{}.txt", "n".repeat(5_120));
    let cut = format!("{}.txt", "n".repeat(96));
    for (name, expected) in [
        ("../../x", "x"),
        ("..%2f..%2fx", "2f._2fx"),
        ("a\r\nSet-Cookie: x=1", "a_Set-Cookie_x_1"),
        ("a\0.png", "a_.png"),
        ("invoice\u{202e}fdp.exe", "invoice_fdp.exe"),
        (&*long, &*cut),
        ("", "file"),
        ("日本", "file"),
        ("CON", "CON"),
    ] {
        let reply = upload_call(&tenant, name, "text/plain", "x").send().await.expect(200);
        let key = text(&reply.json(), "key").to_owned();
        assert!(is_key(&key) && key[key.len() - expected.len() - 1..] == format!("-{expected}"), "{key}");
        assert_eq!(reply.header("set-cookie"), None);
        assert_eq!(listed(world, &key).len(), 1);
    }
    // Without a name at all, and with one that is no UTF-8.
    let plain = tenant.post(UPLOAD).typed_body("text/plain", "x").send().await.expect(200);
    assert!(text(&plain.json(), "key").ends_with("-file"));
    let broken = tenant.post("/API/Upload/Direct/?filename=%ff%fe.txt").typed_body("text/plain", "x");
    let key = broken.send().await.expect(200).json();
    assert!(is_key(text(&key, "key")) && text(&key, "key").ends_with("txt"), "{key}");
}

#[tokio::test]
async fn whoever_may_ask_may_upload_and_each_has_a_folder_of_its_own() {
    let world = World::verified().await;
    let tenant = world.tenant("folders", 0.0).await;
    let own = uploaded(&tenant, "a", "text/plain", "x").await;
    let identity = |key: &str| key.split('/').nth(4).map(str::to_owned);
    let made = tenant.post("/api/keys").json(&json!({"name": "k"})).send().await.expect(200).json();
    let upload = || tenant.client.post(UPLOAD).typed_body("text/plain", "x");
    let by_key = upload().bearer(text(&made, "key")).send().await.expect(200).json();
    let by_operator = upload().admin().query("email", &tenant.email).send().await.expect(200).json();
    for key in [text(&by_key, "key"), text(&by_operator, "key")] {
        assert_eq!(identity(key), identity(&own));
    }
    let guest = tenant.client.post("/auth/guest").send().await.expect(200).json();
    let by_guest = upload().bearer(text(&guest, "token")).send().await.expect(200).json();
    assert_ne!(identity(text(&by_guest, "key")), identity(&own));
    // A key that was revoked opens nothing.
    let path = format!("/api/keys/{}", text(&made, "id"));
    tenant.client.call(Method::DELETE, &path).user(&tenant.email).send().await.expect(200);
    let refused = upload().bearer(text(&made, "key")).query("filename", &unique_marker()).send().await;
    refused.expect_error(401, "token_invalid");
}

#[tokio::test]
async fn uploads_are_counted_in_the_budget_of_requests() {
    let world = World::verified().await;
    let tenant = world.tenant("budget", 0.0).await;
    tenant.put_limits(json!({"plan": "few-requests"})).await.expect(200);
    for _ in 0..3 {
        uploaded(&tenant, "a", "text/plain", "x").await;
    }
    let marker = unique_marker();
    let refused = upload_call(&tenant, &marker, "text/plain", "x").send().await;
    let refused = refused.expect_error(429, "rate_limited");
    assert!(refused.must_header("retry-after").parse::<u64>().is_ok_and(|s| (1..=60).contains(&s)));
    assert!(crate::stage::keys_with(world, &marker).is_empty());
}
