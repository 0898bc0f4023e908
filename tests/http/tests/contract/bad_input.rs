//! Bodies that cannot be right: each gets its code and changes nothing.

use crate::aliases::ASK;
use http_tests::client::{Call, unique_marker};
use http_tests::raw_http;
use http_tests::tokens::user_token;
use http_tests::vars::ADMIN_KEY;
use http_tests::world::{Tenant, World, assert_credits};
use serde_json::json;

const BODY_BYTES_MAX: usize = 1_048_576;

/// Every path that reads a JSON body, with the proof it wants.
fn readers(tenant: &Tenant) -> Vec<(&'static str, Call)> {
    let asks = ASK.into_iter().map(|path| (path, tenant.post(path)));
    let others = [
        ("/usage", tenant.post("/usage")),
        ("/api/billing/usage", tenant.post("/api/billing/usage")),
        ("/api/credits/adjust", tenant.client.post("/api/credits/adjust").admin()),
        ("/api/ai/test", tenant.client.post("/api/ai/test").admin()),
    ];
    asks.chain(others).collect()
}

async fn assert_untouched(tenant: &Tenant, balance: f64) {
    assert_credits(tenant.balance().await, balance, "the balance");
    assert!(tenant.usage().await.is_empty(), "an event was written");
    assert!(tenant.open_holds().await.is_empty(), "a hold was left");
}

#[tokio::test]
async fn what_is_no_json_is_refused_everywhere() {
    let world = World::verified().await;
    let tenant = world.tenant("no-json", 1.0).await;
    let deep_lists = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let deep_input = format!(r#"{{"input":{}1{}}}"#, r#"{"a":"#.repeat(200), "}".repeat(200));
    let deep_unknown = format!(r#"{{"input":"hi","x":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    let abyss = "[".repeat(500_000);
    let bodies: [&[u8]; 17] = [
        b"",
        b" ",
        b"{",
        b"{\"input\":\"hi\"",
        b"{\"input\":\"hi",
        b"{\"input\":\"hi\"}}",
        b"{'input':'hi'}",
        b"{input:1}",
        b"{\"input\":NaN}",
        b"{\"input\":\"\xff\xfe\"}",
        b"{\"input\":\"\\ud800\"",
        b"<input>hi</input>",
        b"input=hi",
        deep_lists.as_bytes(),
        deep_input.as_bytes(),
        deep_unknown.as_bytes(),
        abyss.as_bytes(),
    ];
    for body in bodies {
        for (path, call) in readers(&tenant) {
            let reply = call.raw_json(body.to_vec()).send().await;
            let shown = String::from_utf8_lossy(body.get(..40).unwrap_or(body)).into_owned();
            assert_eq!((reply.status, reply.error().as_str()), (400, "invalid_json"), "{path}: {shown}");
        }
    }
    assert_untouched(&tenant, 1.0).await;
}

#[tokio::test]
async fn json_that_is_no_object_is_refused_everywhere() {
    let world = World::verified().await;
    let tenant = world.tenant("no-object", 1.0).await;
    // The last rows hold the fields' values in their order: a parser may take such a list for the object.
    let bodies = [
        "[]",
        "7",
        "\"input\"",
        "true",
        "null",
        r#"[{"input":"hi"}]"#,
        r#"["hi"]"#,
        r#"["victim@x.io",9,null,null]"#,
        r#"["general","hi",null,null,null]"#,
        r#"["id-1",null,"/route",1,1,null,null]"#,
    ];
    let mut taken = Vec::new();
    for body in bodies {
        for (path, call) in readers(&tenant) {
            let reply = call.raw_json(body).send().await;
            if (reply.status, reply.error().as_str()) != (400, "invalid_json") {
                taken.push(format!("{path}: {body}: {} {}", reply.status, reply.text()));
            }
        }
    }
    assert!(taken.is_empty(), "{taken:#?}");
    assert_untouched(&tenant, 1.0).await;
}

#[tokio::test]
async fn other_content_types_are_refused() {
    let world = World::verified().await;
    let tenant = world.tenant("types", 1.0).await;
    let types = [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/json5",
        "application/jsonx",
    ];
    for content_type in types {
        for (path, call) in readers(&tenant) {
            let reply = call.typed_body(content_type, r#"{"input":"hi","prompt":"hi"}"#).send().await;
            assert_eq!(reply.status, 400, "{path}: {content_type}: {reply:?}");
        }
    }
    assert_untouched(&tenant, 1.0).await;
}

#[tokio::test]
async fn wrong_fields_are_refused() {
    let world = World::verified().await;
    let tenant = world.tenant("fields", 1.0).await;
    let marker = unique_marker();
    let rows = [
        (json!({}), "missing_input"),
        (json!({"skill": "general"}), "missing_input"),
        (json!({"input": null}), "missing_input"),
        (json!({"input": ""}), "missing_input"),
        (json!({"input": " \n\t"}), "missing_input"),
        (json!({"input": 7}), "invalid_field"),
        (json!({"input": true}), "invalid_field"),
        (json!({"input": [marker]}), "invalid_field"),
        (json!({"input": marker, "skill": 7}), "invalid_field"),
        (json!({"input": marker, "skill": ""}), "invalid_field"),
        (json!({"input": marker, "skill": "../../etc/passwd"}), "invalid_field"),
        (json!({"input": marker, "skill": "x".repeat(65)}), "invalid_field"),
        (json!({"input": marker, "system": {}}), "invalid_field"),
        (json!({"input": marker, "max_tokens": "many"}), "invalid_field"),
        (json!({"input": marker, "max_tokens": 0}), "invalid_field"),
        (json!({"input": marker, "max_tokens": -5}), "invalid_field"),
        (json!({"input": marker, "max_tokens": 1.5}), "invalid_field"),
        (json!({"input": marker, "attachments": "x"}), "invalid_field"),
    ];
    for path in ASK {
        for (body, code) in &rows {
            let reply = tenant.post(path).json(body).send().await;
            assert_eq!((reply.status, reply.error().as_str()), (400, *code), "{path}: {body}");
            // The streaming form refuses alike, before any stream begins.
            let reply = tenant.post(path).json(body).open().await.into_reply().await;
            assert_eq!((reply.status, reply.error().as_str()), (400, *code), "stream {path}: {body}");
        }
    }
    assert_eq!(world.calls_anywhere(&marker), 0);
    assert_untouched(&tenant, 1.0).await;
}

#[tokio::test]
async fn a_body_over_its_limit_is_413() {
    let world = World::verified().await;
    let tenant = world.tenant("oversize", 1.0).await;
    let body = |bytes: usize| {
        let frame = r#"{"input":""}"#.len();
        format!(r#"{{"input":"{}"}}"#, "x".repeat(bytes - frame))
    };
    for (path, call) in readers(&tenant) {
        let reply = call.raw_json(body(BODY_BYTES_MAX + 1)).send().await;
        let reply = reply.expect_error(413, "payload_too_large");
        assert_eq!(reply.json().get("max_bytes"), Some(&json!(BODY_BYTES_MAX)), "{path}");
    }
    assert_untouched(&tenant, 1.0).await;
    // A body of exactly the limit is read; what it costs is more than this tenant has.
    let reply = tenant.post("/api/si/ask").raw_json(body(BODY_BYTES_MAX)).send().await;
    reply.expect_error(402, "insufficient_credits");
}

#[tokio::test]
async fn a_body_that_hides_its_length_is_cut_at_the_limit() {
    let world = World::verified().await;
    let tenant = world.tenant("chunked", 1.0).await;
    let target = world.stack.target();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let body = format!("{}0\r\n\r\n", chunk.repeat(BODY_BYTES_MAX / 0x10000 + 1));
    let secret = [
        ("/api/si/ask", format!("Authorization: Bearer {}", user_token(&tenant.email))),
        ("/api/credits/adjust", format!("X-Admin-Key: {ADMIN_KEY}")),
    ];
    for (path, proof) in secret {
        let extra = format!("Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n{proof}\r\n");
        let reply = raw_http::send(&target, "POST", path, &extra, body.as_bytes()).await;
        assert_eq!(reply.status, 413, "{path}: {}", reply.text);
    }
    assert_untouched(&tenant, 1.0).await;
}

#[tokio::test]
async fn a_body_that_never_comes_costs_nothing() {
    let world = World::verified().await;
    let tenant = world.tenant("short-body", 1.0).await;
    let target = world.stack.target();
    let proof = format!("Authorization: Bearer {}", user_token(&tenant.email));
    let extra = format!("Content-Type: application/json\r\nContent-Length: 500\r\n{proof}\r\n");
    let reply = raw_http::half_sent(&target, "POST", "/api/si/ask", &extra, br#"{"input":"hi"}"#).await;
    assert!(reply.status == 0 || reply.status == 400, "{reply:?}");
    assert_untouched(&tenant, 1.0).await;
}
