//! A reply as plain values, and its one conversion to the platform's response.

use futures::channel::oneshot;
use serde_json::Value;
use wasm_bindgen::JsValue;
use web_sys::{Headers, ReadableStream, Response, ResponseInit};

use super::error::ApiError;

pub enum Body {
    Empty,
    Text(String),
    Stream(ReadableStream),
}

/// The sender of the one reply a request gets.
pub type ReplyTo = oneshot::Sender<Result<Reply, ApiError>>;

pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Body,
    /// The code of an error reply, for the log.
    pub error: Option<&'static str>,
}

const JSON_TYPE: &str = "application/json; charset=utf-8";

impl Reply {
    pub fn json(status: u16, body: &Value) -> Self {
        Self::json_text(status, body.to_string())
    }

    fn json_text(status: u16, body: String) -> Self {
        Self {
            status,
            headers: vec![("content-type", JSON_TYPE.to_owned()), ("cache-control", "no-store".to_owned())],
            body: Body::Text(body),
            error: None,
        }
    }

    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Body::Empty, error: None }
    }

    /// A server-sent event stream.
    pub fn events(stream: ReadableStream) -> Self {
        Self {
            status: 200,
            headers: vec![
                ("content-type", "text/event-stream; charset=utf-8".to_owned()),
                ("cache-control", "no-store".to_owned()),
                // Proxies that gather a response before passing it on would undo the stream.
                ("x-accel-buffering", "no".to_owned()),
            ],
            body: Body::Stream(stream),
            error: None,
        }
    }

    pub fn error(error: &ApiError, request_id: &str) -> Self {
        let mut reply = Self::json(error.status(), &error.body(request_id));
        reply.error = Some(error.code());
        if let ApiError::MethodNotAllowed { allow } = error {
            reply.headers.push(("allow", allow.clone()));
        }
        if let Some(seconds) = error.retry_after_s() {
            reply.headers.push(("retry-after", seconds.to_string()));
        }
        if let ApiError::RateLimited { limit, window_ms, .. } = error {
            reply = reply.with_budget(*limit, 0, *window_ms, error.retry_after_s().unwrap_or_default());
        }
        reply
    }

    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// `RateLimit-Policy` and `RateLimit`, in the form of draft-ietf-httpapi-ratelimit-headers-10.
    #[must_use]
    pub fn with_budget(self, limit: u32, remaining: u32, window_ms: i64, reset_s: i64) -> Self {
        self.with("ratelimit-policy", format!("\"requests\";q={limit};w={}", window_ms / 1_000))
            .with("ratelimit", format!("\"requests\";r={remaining};t={reset_s}"))
    }

    /// The platform's response. `None` only when the platform refuses a header or the status.
    pub fn into_response(self) -> Option<Response> {
        let headers = Headers::new().ok()?;
        for (name, value) in &self.headers {
            headers.set(name, &header_safe(value)).ok()?;
        }
        let init = ResponseInit::new();
        init.set_status(self.status);
        init.set_headers(&JsValue::from(headers));
        match &self.body {
            Body::Empty => Response::new_with_opt_str_and_init(None, &init).ok(),
            Body::Text(text) => Response::new_with_opt_str_and_init(Some(text), &init).ok(),
            Body::Stream(stream) => Response::new_with_opt_readable_stream_and_init(Some(stream), &init).ok(),
        }
    }
}

/// Values may come from a provider or a client: only visible ASCII and inner spaces reach a header.
fn header_safe(value: &str) -> String {
    let clean: String = value.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect();
    clean.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_can_break_out_of_a_header() {
        assert_eq!(header_safe("m\r\nset-cookie: a=b\u{0}\u{202e}é "), "mset-cookie: a=b");
    }
}
