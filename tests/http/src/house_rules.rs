//! What the contract promises for every reply, whatever was asked. Checked on each reply of each test.

use crate::client::{Reply, Target};
use crate::vars::PROVIDER_INTERNALS;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// Replies here have a form of their own beside the flat error object.
const OWN_FAILURE_FORM: [&str; 3] = ["/ready", "/api/admin/ping", "/api/ai/"];
/// Below this, and on the path itself, errors have OpenAI's form; but for an upload of old.
const OPENAI_PATH: &str = "/v1";
const OWN_UPLOAD: &str = "/v1/files/upload";
const JWKS_PATH: &str = "/.well-known/jwks.json";
const VARY: [&str; 3] = ["origin", "access-control-request-method", "access-control-request-headers"];

/// Panics when `reply` to a request of `path` breaks a rule of the contract's "Everywhere".
pub fn check(method: &Method, path: &str, reply: &Reply, target: &Target) {
    check_head(path, &reply.headers, target);
    no_secret(path, &reply.text(), target);
    json_headers(path, reply);
    if method == Method::HEAD {
        assert!(reply.body.is_empty(), "{path}: a reply to HEAD has a body: {reply:?}");
    } else if reply.status >= 400 {
        error_object(path, reply);
    }
}

/// The part of the rules that does not need the body, for replies that are still coming.
pub fn check_head(path: &str, headers: &HeaderMap, target: &Target) {
    no_secret(path, &format!("{headers:?}"), target);
    one_request_id(path, headers);
    cross_origin_headers(path, headers);
}

/// Panics when `text`, something the Worker sent, or its log holds a secret.
pub fn no_secret(path: &str, text: &str, target: &Target) {
    if let Some(name) = target.canaries.found_in(text) {
        panic!("{path}: the reply holds {name}: {text}");
    }
    assert!(!text.contains(PROVIDER_INTERNALS), "{path}: the reply repeats a provider's error page: {text}");
    target.log.assert_no_secret();
}

fn one_request_id(path: &str, headers: &HeaderMap) {
    let count = headers.get_all("x-request-id").iter().count();
    assert_eq!(count, 1, "{path}: one X-Request-Id expected in {headers:?}");
}

fn cross_origin_headers(path: &str, headers: &HeaderMap) {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let vary = text("vary").to_lowercase();
    let named: Vec<&str> = vary.split(',').map(str::trim).collect();
    for name in VARY {
        assert!(named.contains(&name), "{path}: Vary lacks {name}: {headers:?}");
    }
    assert_eq!(text("access-control-allow-credentials"), "true", "{path}: {headers:?}");
}

fn json_headers(path: &str, reply: &Reply) {
    let content_type = reply.header("content-type").unwrap_or_default();
    if !content_type.starts_with("application/json") {
        return;
    }
    assert_eq!(content_type, "application/json; charset=utf-8", "{path}: {reply:?}");
    let is_jwks = reply.status == 200 && lower_path(path) == JWKS_PATH;
    let expected = if is_jwks { "public, max-age=300" } else { "no-store" };
    assert_eq!(reply.header("cache-control"), Some(expected), "{path}: {reply:?}");
}

fn error_object(path: &str, reply: &Reply) {
    let lower = lower_path(path);
    let below = lower.strip_prefix(OPENAI_PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if below && lower != OWN_UPLOAD { openai_error(path, reply) } else { flat_error(path, &lower, reply) }
}

/// `{"error": {"message", "type", "code", "param"}}` and nothing more.
fn openai_error(path: &str, reply: &Reply) {
    let body = reply.json();
    let members: Vec<&String> = body.as_object().into_iter().flat_map(|body| body.keys()).collect();
    assert_eq!(members, ["error"], "{path}: {reply:?}");
    let error = body.get("error").and_then(Value::as_object).unwrap_or_else(|| panic!("{path}: {reply:?}"));
    let names: Vec<&String> = error.keys().collect();
    assert_eq!(names, ["code", "message", "param", "type"], "{path}: {reply:?}");
    for name in ["code", "message", "type"] {
        let text = error.get(name).and_then(Value::as_str).unwrap_or_default();
        assert!(!text.is_empty(), "{path}: no {name} in {reply:?}");
    }
}

fn flat_error(path: &str, lower: &str, reply: &Reply) {
    if OWN_FAILURE_FORM.iter().any(|prefix| lower.starts_with(prefix)) {
        return;
    }
    let body = reply.json();
    let code = body.get("error").and_then(Value::as_str).unwrap_or_default();
    let of_code = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let is_code = !code.is_empty() && code.bytes().all(of_code);
    assert!(is_code, "{path}: no machine code in {reply:?}");
    assert_eq!(
        body.get("request_id").and_then(Value::as_str),
        reply.header("x-request-id"),
        "{path}: request_id is not X-Request-Id in {reply:?}"
    );
    let message = body.get("message").and_then(Value::as_str).unwrap_or_default();
    assert!(!message.is_empty(), "{path}: no message for a person in {reply:?}");
}

fn lower_path(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    path.trim_end_matches('/').to_lowercase()
}
