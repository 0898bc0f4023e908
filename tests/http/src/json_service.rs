//! A service on the loopback that answers each path with one JSON document, and remembers what it was sent: an issuer
//! of ID tokens, or the judge of a challenge.

use crate::background;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method, Response, Uri, header};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;

/// No status: there is no answer.
const HANGS: u16 = 0;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct ServiceCall {
    pub method: Method,
    pub path: String,
    pub body: Bytes,
}

#[derive(Clone, Default)]
struct Shared {
    answers: Arc<Mutex<BTreeMap<String, (u16, Value)>>>,
    calls: Arc<Mutex<Vec<ServiceCall>>>,
}

/// A running service. Dropping it ends its server.
pub struct JsonService {
    origin: String,
    shared: Shared,
    server: JoinHandle<()>,
}

impl JsonService {
    /// Knows no path at first.
    pub async fn start() -> Self {
        let shared = Shared::default();
        let app = Router::new().fallback(answer).with_state(shared.clone());
        let (origin, server) = background::serve(app).await;
        Self { origin, shared, server }
    }

    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// From now on `path` is answered so.
    pub fn answers(&self, path: &str, status: u16, body: Value) {
        self.shared.answers.lock().expect("the answers").insert(path.to_owned(), (status, body));
    }

    /// From now on `path` is not answered at all.
    pub fn hangs(&self, path: &str) {
        self.answers(path, HANGS, Value::Null);
    }

    pub fn calls(&self) -> Vec<ServiceCall> {
        self.shared.calls.lock().expect("the calls").clone()
    }
}

impl Drop for JsonService {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(shared): State<Shared>, method: Method, uri: Uri, body: Bytes) -> Response<Body> {
    let path = uri.path().to_owned();
    let found = shared.answers.lock().expect("the answers").get(&path).cloned();
    shared.calls.lock().expect("the calls").push(ServiceCall { method, path, body });
    let (status, body) = found.unwrap_or((404, Value::Null));
    if status == HANGS {
        std::future::pending::<()>().await;
    }
    let response = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json");
    response.body(Body::from(body.to_string())).expect("a response")
}
