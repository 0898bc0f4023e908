//! Below `/v1/` every error is OpenAI's object, whatever went wrong; beside it, and for one upload of old, none is.

use http_tests::client::Reply;
use http_tests::vars::APP_ORIGIN;
use http_tests::world::World;
use reqwest::Method;
use serde_json::{Value, json};

/// Code, type and param of the one object.
fn told(reply: &Reply) -> [Value; 3] {
    let body = reply.json();
    ["code", "type", "param"].map(|name| body["error"][name].clone())
}

#[tokio::test]
async fn unknown_paths_wrong_methods_and_what_is_not_built_are_told_so() {
    let client = World::verified().await.client();
    let rows = [
        (Method::GET, "/v1", 404, "not_found", "invalid_request_error"),
        (Method::GET, "/v1/nothing", 404, "not_found", "invalid_request_error"),
        (Method::POST, "/V1/Nothing/", 404, "not_found", "invalid_request_error"),
        (Method::GET, "/v1/chat/completions", 405, "method_not_allowed", "invalid_request_error"),
        (Method::DELETE, "/v1/models", 405, "method_not_allowed", "invalid_request_error"),
        (Method::POST, "/v1/chat/completions", 400, "missing_email", "invalid_request_error"),
        (Method::GET, "/v1/models", 400, "missing_email", "invalid_request_error"),
        (Method::POST, "/v1/embeddings", 400, "missing_email", "invalid_request_error"),
        (Method::POST, "/v1/audio/speech", 400, "missing_email", "invalid_request_error"),
        (Method::POST, "/v1/audio/transcriptions", 400, "missing_email", "invalid_request_error"),
        (Method::GET, "/v1/realtime", 501, "not_implemented", "server_error"),
    ];
    for (method, path, status, code, kind) in rows {
        let reply =
            client.call(method.clone(), path).header("origin", APP_ORIGIN).send().await.expect(status);
        assert_eq!(told(&reply), [json!(code), json!(kind), Value::Null], "{method} {path}");
        // A page may read it: the browser would hide an error without these.
        assert_eq!(reply.must_header("access-control-allow-origin"), APP_ORIGIN, "{method} {path}");
        assert_eq!(reply.header("allow").is_some(), status == 405, "{method} {path}");
    }
    let long = format!("/v1/models?x={}", "x".repeat(9_000));
    assert_eq!(told(&client.get(&long).send().await.expect(414))[0], "uri_too_long");
}

#[tokio::test]
async fn a_preflight_is_answered_there_as_everywhere() {
    let client = World::verified().await.client();
    for path in ["/v1/chat/completions", "/v1/nothing"] {
        let call = client.call(Method::OPTIONS, path).header("origin", APP_ORIGIN);
        let reply = call.header("access-control-request-method", "POST").send().await.expect(204);
        assert_eq!(reply.must_header("access-control-allow-origin"), APP_ORIGIN, "{path}");
    }
}

#[tokio::test]
async fn elsewhere_and_for_the_upload_of_old_the_form_is_flat() {
    let client = World::verified().await.client();
    for (path, status) in
        [("/v1/files/upload", 501), ("/v1/files/upload/", 501), ("/v1x", 404), ("/api/v1/nothing", 404)]
    {
        let reply = client.post(path).send().await.expect(status);
        assert!(reply.json()["error"].is_string(), "{path}: {reply:?}");
    }
    assert!(client.get("/v1/files/upload").send().await.expect(405).json()["error"].is_string());
}
