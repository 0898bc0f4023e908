//! A client of the Worker: builds one request, sends it, and holds every reply against the house rules.

use crate::contract;
use crate::event_stream::EventStream;
use crate::house_rules;
use crate::process_log::ProcessLog;
use crate::secrets::Canaries;
use crate::tokens;
use crate::vars;
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, redirect};
use serde_json::Value;
use std::time::Duration;

/// Longer than any deadline the Worker is configured with in these tests.
const REPLY_TIMEOUT: Duration = Duration::from_secs(90);

/// What a client needs to know of the stack it talks to.
#[derive(Clone)]
pub struct Target {
    pub url: String,
    pub canaries: Canaries,
    pub log: ProcessLog,
    /// It is the product, whose replies are all in its document.
    pub documented: bool,
}

/// One caller with a network address of its own, so that limits per address do not couple the tests.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    target: Target,
    address: String,
}

/// A request being built.
#[must_use]
pub struct Call {
    builder: reqwest::RequestBuilder,
    method: Method,
    path: String,
    target: Target,
}

/// A whole reply.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// An address nobody else in this run has, for a tenant of its own.
pub fn unique_email(name: &str) -> String {
    format!("{name}-{}@x.io", uuid::Uuid::new_v4().simple())
}

/// A text that occurs in no other request of this run.
pub fn unique_marker() -> String {
    format!("mark-{}", uuid::Uuid::new_v4().simple())
}

impl Client {
    pub fn new(target: Target) -> Self {
        let http = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .timeout(REPLY_TIMEOUT)
            .build()
            .expect("an HTTP client");
        let [a, b, c, ..] = *uuid::Uuid::new_v4().as_bytes();
        Self { http, target, address: format!("10.{a}.{b}.{c}") }
    }

    /// The same caller at another server: its address is what servers know it by.
    #[must_use]
    pub fn from_where(mut self, other: &Client) -> Self {
        self.address.clone_from(&other.address);
        self
    }

    pub fn url(&self) -> &str {
        &self.target.url
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The network address that this caller has.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    pub fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path)
    }

    /// `path` may hold a query.
    pub fn call(&self, method: Method, path: &str) -> Call {
        let builder = self
            .http
            .request(method.clone(), format!("{}{path}", self.target.url))
            .header("cf-connecting-ip", &self.address);
        Call { builder, method, path: path.to_owned(), target: self.target.clone() }
    }
}

/// How often a body is sent that is refused before it is read.
const REFUSED_UNREAD_TRIES: usize = 8;

/// What is refused by its length alone is answered before it is read, and the connection closed: a client that still
/// writes may lose the answer.
fn refused_unread(error: &reqwest::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(found) = cause {
        if let Some(io) = found.downcast_ref::<std::io::Error>() {
            return io.kind() == std::io::ErrorKind::BrokenPipe;
        }
        cause = found.source();
    }
    false
}

impl Call {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    /// A header value that need not be text.
    pub fn header_bytes(mut self, name: &str, value: &[u8]) -> Self {
        let name: HeaderName = name.parse().expect("a header name");
        let value = HeaderValue::from_bytes(value).expect("a header value");
        self.builder = self.builder.header(name, value);
        self
    }

    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.builder = self.builder.query(&[(name, value)]);
        self
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// A token signed for `email` by the Worker's own key.
    pub fn user(self, email: &str) -> Self {
        self.bearer(&tokens::user_token(email))
    }

    pub fn claim(self, email: &str) -> Self {
        self.header("x-user-email", email)
    }

    pub fn admin(self) -> Self {
        self.header("x-admin-key", vars::ADMIN_KEY)
    }

    pub fn idempotency_key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    pub fn json(self, body: &Value) -> Self {
        self.raw_json(body.to_string())
    }

    /// A body sent as JSON whether it is JSON or not.
    pub fn raw_json(self, body: impl Into<Bytes>) -> Self {
        self.typed_body("application/json", body)
    }

    pub fn typed_body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        // Takes the place of the type of an earlier body.
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content_type.parse().expect("a content type"));
        self.builder = self.builder.headers(headers).body(body.into());
        self
    }

    /// Sends, reads the whole reply, and checks it against the rules that hold for every reply.
    pub async fn send(mut self) -> Reply {
        let mut tries = 1;
        loop {
            let (again, what) = (self.builder.try_clone(), self.path.clone());
            let Self { method, path, target, .. } = &self;
            let again = again.map(|builder| Self {
                builder,
                method: method.clone(),
                path: path.clone(),
                target: target.clone(),
            });
            match (self.try_send().await, again) {
                (Ok(reply), _) => return reply,
                (Err(error), Some(call)) if refused_unread(&error) && tries < REFUSED_UNREAD_TRIES => {
                    self = call
                }
                (Err(error), _) => panic!("{what}: no reply: {error:?}"),
            }
            tries += 1;
        }
    }

    /// Like `send` where the Worker may be gone.
    pub async fn try_send(self) -> Result<Reply, reqwest::Error> {
        let response = self.builder.send().await?;
        let reply = Reply {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await?,
        };
        house_rules::check(&self.method, &self.path, &reply, &self.target);
        contract::check(&self.method, &self.path, &reply, &self.target).await;
        Ok(reply)
    }

    /// Sends with `Accept: text/event-stream` and gives the reply while it comes.
    pub async fn open(self) -> EventStream {
        let what = self.path.clone();
        match self.try_open().await {
            Ok(stream) => stream,
            Err(error) => panic!("{what}: no reply: {error:?}"),
        }
    }

    /// Like `open` where the Worker may be gone.
    pub async fn try_open(self) -> Result<EventStream, reqwest::Error> {
        let response = self.builder.header("accept", "text/event-stream").send().await?;
        house_rules::check_head(&self.path, response.headers(), &self.target);
        let (status, headers) = (response.status().as_u16(), response.headers());
        contract::check_head(&self.method, &self.path, status, headers, &self.target).await;
        Ok(EventStream::new(response, self.target))
    }
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A header that must be there.
    pub fn must_header(&self, name: &str) -> &str {
        self.header(name).unwrap_or_else(|| panic!("no header {name} in {self:?}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }

    /// The code of an error in either form, empty when there is none.
    pub fn error(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or(Value::Null);
        let code = body.pointer("/error/code").or_else(|| body.get("error")).and_then(Value::as_str);
        code.unwrap_or_default().to_owned()
    }

    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "expected {status}, got {self:?}");
        self
    }

    pub fn expect_error(self, status: u16, code: &str) -> Self {
        let reply = self.expect(status);
        assert_eq!(reply.error(), code, "expected {code}, got {reply:?}");
        reply
    }
}
