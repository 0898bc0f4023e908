//! Files whose lengths lie, and names that are no names.

use crate::aliases::UPLOAD;
use crate::stage::Stage;
use crate::table::Seen;
use http_tests::client::unique_marker;
use http_tests::raw_http;
use http_tests::tokens::user_token;
use http_tests::world::text;
use serde_json::json;

const ROUTE: &str = "POST /api/upload/direct";
const BYTES_MAX: usize = 10_485_760;

pub async fn run(stage: &Stage<'_>, seen: &Seen) {
    lengths(stage, seen).await;
    names(stage, seen).await;
}

fn stored(stage: &Stage<'_>, part: &str) -> usize {
    let all = stage.world.stack.in_bucket(json!({"list": "uploads/"}));
    all.iter().filter(|object| text(object, "key").contains(part)).count()
}

fn code_in(reply: &str) -> String {
    let found = reply.split("\"error\":\"").nth(1).and_then(|rest| rest.split('"').next());
    found.unwrap_or_default().to_owned()
}

async fn lengths(stage: &Stage<'_>, seen: &Seen) {
    let target = stage.world.stack.target();
    let proof = format!("Authorization: Bearer {}\r\n", user_token(&stage.me.email));
    let chunks = b"5\r\nhello\r\n0\r\n\r\n".as_slice();
    let too_long = format!("Content-Length: {}", BYTES_MAX + 1);
    let cases = [
        ("an upload without a length", "Transfer-Encoding: chunked", chunks, "411 length_required, 0 stored"),
        (
            "an upload in chunks that says a length beside",
            "Content-Length: 2\r\nTransfer-Encoding: chunked",
            chunks,
            "411 length_required, 0 stored",
        ),
        (
            "an upload that is too long, none of which is sent",
            &*too_long,
            b"".as_slice(),
            "413 payload_too_large, 0 stored",
        ),
        ("an upload of nothing", "Content-Length: 0", b"", "400 empty_body, 0 stored"),
        (
            "an upload that is shorter than its length",
            "Content-Length: 6",
            b"hello",
            "400 body_length_mismatch, 0 stored",
        ),
        (
            "an upload that is longer than its length: the rest is another request",
            "Content-Length: 4",
            b"hello, and more\r\n\r\n",
            "200, 1 stored",
        ),
    ];
    for (what, length, body, expected) in cases {
        let marker = unique_marker();
        let path = format!("{UPLOAD}?filename={marker}");
        let extra = format!("{proof}{length}\r\n");
        let reply = raw_http::half_sent(&target, "POST", &path, &extra, body).await;
        let told = format!("{} {}", reply.status, code_in(&reply.text));
        let observed = format!("{}, {} stored", told.trim_end(), stored(stage, &marker));
        seen.note((23, what), stage.mode, ROUTE, expected, &observed, observed == expected);
    }
}

async fn names(stage: &Stage<'_>, seen: &Seen) {
    let long = "n".repeat(5_120);
    let cut = "n".repeat(100);
    for (what, name, kept) in [
        ("a file called `../../x`", "../../x", "x"),
        ("a file with CRLF in its name", "a\r\nSet-Cookie: x=1", "a_Set-Cookie_x_1"),
        ("a file with NUL in its name", "a\0.png", "a_.png"),
        ("a file whose name turns from right to left", "invoice\u{202e}fdp.exe", "invoice_fdp.exe"),
        ("a file with a name of 5 KB", &*long, &*cut),
        ("a file with an empty name", "", "file"),
    ] {
        let call = stage.mine(stage.client.post(UPLOAD)).query("filename", name);
        let reply = call.typed_body("text/plain", "hello").send().await.expect(200).json();
        let key = text(&reply, "key");
        let last = key.rsplit('/').next().and_then(|last| last.get(36..)).unwrap_or_default();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
        let grammar = key.bytes().all(plain) && key.split('/').count() == 6 && !key.contains("..");
        let safe = grammar && last == format!("-{kept}") && stored(stage, key) == 1;
        let observed = if safe { "a safe key" } else { key };
        seen.note((24, what), stage.mode, ROUTE, "a safe key", observed, safe);
    }
}
