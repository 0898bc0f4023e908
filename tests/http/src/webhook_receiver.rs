//! An owner's webhook on the loopback: takes what is sent to it, and answers as a test has said.

use crate::background;
use crate::poll::eventually;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, header};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// How a call is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Status(u16),
    Redirect(String),
    /// A status, with a `Retry-After` of so many seconds.
    Busy(u16, u32),
}

/// One call as it arrived.
#[derive(Clone, Debug)]
pub struct WebhookCall {
    pub headers: HeaderMap,
    pub body: Bytes,
    pub at: Instant,
}

#[derive(Clone, Default)]
struct Shared {
    calls: Arc<Mutex<Vec<WebhookCall>>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
}

/// A running receiver. Dropping it ends its server.
pub struct WebhookReceiver {
    origin: String,
    shared: Shared,
    server: JoinHandle<()>,
}

impl WebhookReceiver {
    /// Gives `answers` one by one, and 204 to every call after them.
    pub async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let shared =
            Shared { answers: Arc::new(Mutex::new(answers.into_iter().collect())), ..Shared::default() };
        let app = Router::new().fallback(take).with_state(shared.clone());
        let (origin, server) = background::serve(app).await;
        Self { origin, shared, server }
    }

    pub fn url(&self) -> String {
        format!("{}/hook", self.origin)
    }

    pub fn calls(&self) -> Vec<WebhookCall> {
        self.shared.calls.lock().expect("the calls").clone()
    }

    /// Waits for `count` calls, and gives them in the order they came.
    pub async fn calls_of(&self, count: usize, bound: Duration) -> Vec<WebhookCall> {
        eventually(bound, "the webhook is called", || async {
            let calls = self.calls();
            if calls.len() >= count { Ok(calls) } else { Err(calls.len()) }
        })
        .await
    }
}

impl Drop for WebhookReceiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl WebhookCall {
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_else(|| panic!("no header {name} in {self:?}"))
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

async fn take(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let call = WebhookCall { headers, body, at: Instant::now() };
    shared.calls.lock().expect("the calls").push(call);
    let answer = shared.answers.lock().expect("the answers").pop_front();
    let response = Response::builder();
    let response = match answer.unwrap_or(Answer::Status(204)) {
        Answer::Status(status) => response.status(status),
        Answer::Busy(status, after_s) => response.status(status).header(header::RETRY_AFTER, after_s),
        Answer::Redirect(to) => response.status(302).header(header::LOCATION, to),
    };
    response.body(Body::empty()).expect("an empty response")
}
