//! Forms that are wrong: each has its code, and nothing comes of it.

use crate::stage::{File, TRANSCRIPTIONS, form, recording, settled, wav};
use http_tests::client::unique_marker;
use http_tests::raw_http;
use http_tests::tokens;
use http_tests::world::{Tenant, World};

/// One more than a recording may have.
const TOO_LARGE_BYTES: usize = 26_214_401;

#[tokio::test]
async fn wrong_forms_are_told_apart() {
    let world = World::verified().await;
    let tenant = world.tenant("forms", 1.0).await;
    let marker = unique_marker();
    let wav = wav(200);
    let file = || recording(&wav);
    let one = || vec![("file", file())];
    let base = [("model", "auto"), ("prompt", marker.as_str())];
    type Case<'a> = (&'static str, Vec<(&'a str, &'a str)>, Vec<(&'a str, File<'a>)>, &'static str);
    let long = "x".repeat(8_193);
    let cases: Vec<Case<'_>> = vec![
        ("no file", vec![], vec![], "file"),
        ("two files", vec![], vec![("file", file()), ("file", file())], "file"),
        ("another file", vec![], vec![("file", file()), ("image", file())], "form"),
        ("a file as text", vec![("file", "RIFF")], vec![], "file"),
        ("an empty file", vec![], vec![("file", ("a.wav", "audio/wav", b""))], "file"),
        ("a format", vec![("response_format", "xml")], one(), "response_format"),
        ("a temperature", vec![("temperature", "hot")], one(), "temperature"),
        ("a language", vec![("language", "e n")], one(), "language"),
        ("a stream", vec![("stream", "maybe")], one(), "stream"),
        (
            "a stream of subtitles",
            vec![("stream", "true"), ("response_format", "srt")],
            one(),
            "response_format",
        ),
        ("granularities", vec![("timestamp_granularities[]", "word")], one(), "timestamp_granularities[]"),
        ("a long text", vec![("language", &long)], one(), "language"),
        ("a field twice", vec![("model", "whisper-1")], one(), "model"),
    ];
    for (name, more, files, param) in cases {
        let fields: Vec<(&str, &str)> = base.iter().copied().chain(more).collect();
        let (content_type, body) = form(&fields, &files);
        let call = tenant.post(TRANSCRIPTIONS).typed_body(&content_type, body);
        let error = call.send().await.expect_error(400, "invalid_field").json();
        assert_eq!(error["error"]["param"], param, "{name}: {error}");
    }
    let (content_type, body) = form(&[("prompt", &marker)], &[("file", file())]);
    let error = tenant.post(TRANSCRIPTIONS).typed_body(&content_type, body).send().await;
    assert_eq!(error.expect_error(400, "invalid_field").json()["error"]["param"], "model");
    let (content_type, body) = form(&[("model", "gpt-4o-mini"), ("prompt", &marker)], &[("file", file())]);
    let error = tenant.post(TRANSCRIPTIONS).typed_body(&content_type, body).send().await;
    error.expect_error(404, "model_not_found");
    assert_eq!(world.calls_anywhere(&marker), 0);
    settled(&tenant, 0).await;
}

#[tokio::test]
async fn what_is_no_form_is_said_to_be_none() {
    let world = World::verified().await;
    let tenant = world.tenant("no-forms", 1.0).await;
    let wav = wav(200);
    let (content_type, body) = form(&[("model", "auto")], &[("file", recording(&wav))]);
    let cut = body[..body.len() - 100].to_vec();
    for (name, content_type, body) in [
        ("JSON", "application/json", b"{\"model\":\"auto\"}".to_vec()),
        ("no boundary", "multipart/form-data", body.clone()),
        ("another boundary", "multipart/form-data; boundary=none-of-this", body.clone()),
        ("broken off", content_type.as_str(), cut),
        ("nothing", content_type.as_str(), Vec::new()),
        ("bytes", content_type.as_str(), vec![0xff; 1_000]),
    ] {
        let reply = tenant.post(TRANSCRIPTIONS).typed_body(content_type, body).send().await;
        assert_eq!((reply.status, reply.error().as_str()), (400, "invalid_form"), "{name}: {reply:?}");
    }
    settled(&tenant, 0).await;
}

/// Sends a form in pieces, whose length nobody told; the status of the reply.
async fn chunked(world: &World, tenant: &Tenant, content_type: String, body: Vec<u8>) -> Option<u16> {
    let pieces: Vec<_> = body.chunks(65_536).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
    let sent = reqwest::Client::new()
        .post(format!("{}{TRANSCRIPTIONS}", world.client().url()))
        .bearer_auth(tokens::user_token(&tenant.email))
        .header("content-type", content_type)
        .body(reqwest::Body::wrap_stream(futures::stream::iter(pieces)))
        .send()
        .await;
    sent.map(|reply| reply.status().as_u16()).ok()
}

#[tokio::test]
async fn a_recording_that_is_too_large_is_refused_told_or_not() {
    let world = World::verified().await;
    let tenant = world.tenant("large", 100.0).await;
    let large = vec![0; TOO_LARGE_BYTES];
    let most = vec![0; TOO_LARGE_BYTES - 1];
    let told = |bytes: &[u8]| {
        let (content_type, body) = form(&[("model", "auto")], &[("file", ("a.wav", "audio/wav", bytes))]);
        tenant.post(TRANSCRIPTIONS).typed_body(&content_type, body).send()
    };
    told(&large).await.expect_error(413, "payload_too_large");
    // Refused by its length, before any of it is read: nobody need send it.
    let token = tokens::user_token(&tenant.email);
    let head = format!(
        "authorization: Bearer {token}\r\ncontent-type: multipart/form-data; boundary=x\r\ncontent-length: 27000000\r\n"
    );
    let refused = raw_http::send(&world.stack.target(), "POST", TRANSCRIPTIONS, &head, b"").await;
    assert!(refused.status == 413 && refused.text.contains("payload_too_large"), "{refused:?}");
    told(&most).await.expect(200);
    settled(&tenant, 1).await;
    // The same in chunks, whose length nobody told.
    let (small, wav) = (unique_marker(), wav(300));
    for (bytes, status) in [(vec![0; 27_000_000], 413), (wav, 200)] {
        let fields = [("model", "auto"), ("prompt", small.as_str())];
        let (content_type, body) = form(&fields, &[("file", ("a.wav", "audio/wav", &bytes))]);
        assert_eq!(chunked(world, &tenant, content_type, body).await, Some(status));
    }
    // It is the body that has a limit, and not the recording alone.
    let long = "x".repeat(27_000_000);
    let (content_type, body) = form(&[("model", "auto"), ("other", &long)], &[]);
    let sent = chunked(world, &tenant, content_type, body).await;
    assert_eq!(sent, Some(413));
    assert_eq!(world.calls_anywhere(&small), 1);
    settled(&tenant, 2).await;
}
