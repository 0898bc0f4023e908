//! Files that are not taken: what is wrong is told in its order, and nothing is stored.

use crate::stage::{UPLOAD, keys_with, upload_call};
use http_tests::client::unique_marker;
use http_tests::raw_http::{self, RawReply};
use http_tests::tokens::user_token;
use http_tests::world::{Tenant, World};
use serde_json::{Value, json};
use std::time::Duration;

const BYTES_MAX: usize = 10_485_760;

fn body_of(reply: &RawReply) -> Value {
    let body = reply.text.split("\r\n\r\n").nth(1).unwrap_or_default();
    let from = body.find('{').unwrap_or_default();
    let mut values = serde_json::Deserializer::from_str(&body[from..]).into_iter();
    values.next().and_then(Result::ok).unwrap_or_default()
}

fn proof(tenant: &Tenant) -> String {
    format!("Content-Type: text/plain\r\nAuthorization: Bearer {}\r\n", user_token(&tenant.email))
}

async fn raw(world: &World, name: &str, extra: &str, body: &[u8]) -> (u16, Value) {
    let path = format!("{UPLOAD}?filename={name}");
    let reply = raw_http::send(&world.stack.target(), "POST", &path, extra, body).await;
    (reply.status, body_of(&reply)["error"].clone())
}

#[tokio::test]
async fn each_mistake_has_its_place_in_the_order() {
    let world = World::verified().await;
    let tenant = world.tenant("order", 0.0).await;
    let (proof, marker) = (proof(&tenant), unique_marker());
    let too_long = format!("Content-Length: {}\r\n", BYTES_MAX + 1);
    let chunked = "Transfer-Encoding: chunked\r\n";
    let chunks = b"5\r\nhello\r\n0\r\n\r\n";
    // Nobody, with everything else wrong too.
    for extra in [chunked, "Content-Length: 0\r\n", &too_long] {
        let body: &[u8] = if extra == chunked { chunks } else { b"" };
        assert_eq!(raw(world, &marker, extra, body).await, (400, json!("missing_email")), "{extra}");
    }
    let said = async |extra: &str, body: &[u8]| raw(world, &marker, &format!("{proof}{extra}"), body).await;
    assert_eq!(said(chunked, chunks).await, (411, json!("length_required")));
    // A length beside the chunks counts for nothing, true or not.
    for length in [2, 5, 50] {
        let both = format!("Content-Length: {length}\r\n{chunked}");
        assert_eq!(said(&both, chunks).await, (411, json!("length_required")), "{length}");
    }
    // Before the body is read: none of it is ever sent.
    assert_eq!(said(&too_long, b"").await, (413, json!("payload_too_large")));
    assert_eq!(said("Content-Length: 99999999999999999999\r\n", b"").await.0 / 100, 4);
    assert_eq!(said("Content-Length: 0\r\n", b"").await, (400, json!("empty_body")));
    let refused = upload_call(&tenant, &marker, "text/plain", vec![b'x'; BYTES_MAX + 1]).try_send().await;
    if let Ok(refused) = refused {
        assert_eq!(refused.expect_error(413, "payload_too_large").json()["max_bytes"], BYTES_MAX);
    }
    assert!(keys_with(world, &marker).is_empty());
}

#[tokio::test]
async fn a_body_unlike_its_length_is_not_stored() {
    let world = World::verified().await;
    let tenant = world.tenant("lengths", 0.0).await;
    let (proof, target) = (proof(&tenant), world.stack.target());
    // Shorter: the client stops in the middle.
    for bytes in [1, 700, 300_000] {
        let marker = unique_marker();
        let path = format!("{UPLOAD}?filename={marker}");
        let extra = format!("{proof}Content-Length: {}\r\n", bytes + 1);
        let reply = raw_http::half_sent(&target, "POST", &path, &extra, &vec![b'x'; bytes]).await;
        assert_eq!((reply.status, &body_of(&reply)["error"]), (400, &json!("body_length_mismatch")));
        assert!(keys_with(world, &marker).is_empty(), "{bytes}");
    }
    // The client goes away.
    let marker = unique_marker();
    let path = format!("{UPLOAD}?filename={marker}");
    let extra = format!("{proof}Content-Length: 100000\r\n");
    let some_time = tokio::time::sleep(Duration::from_millis(500));
    raw_http::leave(&target, &path, &extra, &[b'x'; 50_000], some_time).await;
    // Longer: what is beyond its length is another request, and no good one. It is nowhere.
    let longer = unique_marker();
    let extra = format!("{proof}Content-Length: 5\r\n");
    let answer = raw(world, &longer, &extra, b"hello and more that nobody asked for\r\n\r\n").await;
    assert_eq!(answer, (200, Value::Null));
    let stored = keys_with(world, &longer);
    let object = world.stack.in_bucket(json!({"read": stored[0]})).remove(0);
    assert_eq!((stored.len(), &object["size"]), (1, &json!(5)));
    assert!(keys_with(world, &marker).is_empty(), "the client had gone");
}

#[tokio::test]
async fn without_its_bucket_nothing_is_taken_or_read() {
    let world = World::private(json!({"R2_UPLOADS": null, "MAX_UPLOAD_BYTES": "5"})).await;
    let tenant = world.tenant("no-bucket", 1.0).await;
    // It comes before everything that is wrong with the body, and after who is calling.
    let (proof, marker) = (proof(&tenant), unique_marker());
    for extra in ["Content-Length: 0\r\n", "Content-Length: 6\r\n"] {
        let told = raw(&world, &marker, &format!("{proof}{extra}"), b"").await;
        assert_eq!(told, (500, json!("r2_not_bound")));
        assert_eq!(raw(&world, &marker, extra, b"").await, (400, json!("missing_email")));
    }
    let ask = tenant.ask(&json!({"input": "hi", "attachments": ["uploads/x"]}));
    ask.send().await.expect_error(500, "r2_not_bound");
    tenant.ask(&json!({"input": "hi", "attachments": []})).send().await.expect(200);
}

#[tokio::test]
async fn the_largest_file_is_what_the_configuration_says() {
    let world = World::private(json!({"MAX_UPLOAD_BYTES": "5"})).await;
    let tenant = world.tenant("five-bytes", 0.0).await;
    upload_call(&tenant, "a", "text/plain", "12345").send().await.expect(200);
    let refused = upload_call(&tenant, "a", "text/plain", "123456").send().await;
    assert_eq!(refused.expect_error(413, "payload_too_large").json()["max_bytes"], 5);
}
