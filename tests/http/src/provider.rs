//! A scripted OpenAI-compatible provider on a free port of the loopback.
//!
//! A test writes a marker into its prompt and tells the provider what to do with requests that hold it, so
//! tests share one provider without meeting. A request without a script gets a short answer with usage.

use crate::background;
use crate::provider_call::{CallBook, ProviderCall};
use crate::provider_reply::{Asked, perform};
use crate::provider_script::{Behaviour, Usage};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response, StatusCode};
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;

/// What an unscripted request is answered.
pub const PLAIN_TEXT: &str = "A plain answer.";
pub const PLAIN_USAGE: Usage = Usage::new(52, 192);

/// The largest are recordings; the giant bodies go the other way.
const REQUEST_BYTES_MAX: usize = 32 * 1024 * 1024;

#[derive(Clone, Default)]
struct Shared {
    scripts: Arc<Mutex<HashMap<String, VecDeque<Behaviour>>>>,
    book: CallBook,
}

/// A running provider. Dropping it ends its server.
pub struct Provider {
    origin: String,
    shared: Shared,
    server: JoinHandle<()>,
}

impl Provider {
    pub async fn start() -> Self {
        let shared = Shared::default();
        let app = Router::new().fallback(answer).with_state(shared.clone());
        let (origin, server) = background::serve(app).await;
        Self { origin, shared, server }
    }

    /// `http://127.0.0.1:port`
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The base URL for the Worker's configuration.
    pub fn base(&self) -> String {
        format!("{}/v1", self.origin)
    }

    /// Queues behaviours for requests that hold `marker`; the last one stays for all that follow.
    pub fn script(&self, marker: &str, behaviours: impl IntoIterator<Item = Behaviour>) {
        let queue = behaviours.into_iter().collect();
        let mut scripts = self.shared.scripts.lock().expect("the scripts");
        scripts.insert(marker.to_owned(), queue);
    }

    pub fn calls(&self, marker: &str) -> Vec<ProviderCall> {
        self.shared.book.with_marker(marker)
    }

    pub fn all_calls(&self) -> Vec<ProviderCall> {
        self.shared.book.all()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn next_behaviour(&self, body: &str) -> Behaviour {
        self.scripted(body).unwrap_or_else(|| Behaviour::answer(PLAIN_TEXT, PLAIN_USAGE))
    }

    fn scripted(&self, body: &str) -> Option<Behaviour> {
        let mut scripts = self.scripts.lock().expect("the scripts");
        let queue =
            scripts.iter_mut().find(|(marker, _)| body.contains(marker.as_str())).map(|(_, queue)| queue);
        match queue {
            Some(queue) if queue.len() > 1 => queue.pop_front(),
            Some(queue) => queue.front().cloned(),
            None => None,
        }
    }
}

async fn answer(State(shared): State<Shared>, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, REQUEST_BYTES_MAX).await else {
        return refusal(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let path = head.uri.path().to_owned();
    let progress = shared.book.enter(path.clone(), head.headers, body.clone());
    let body = String::from_utf8_lossy(&body).into_owned();
    if path.ends_with("/embeddings") {
        let asked = Asked::from_body(&Value::Null);
        let behaviour = shared.scripted(&body).unwrap_or_else(|| Behaviour::vectors(&body));
        return perform(behaviour, &asked, &progress).await;
    }
    if path.contains("/audio/") {
        let asked = Asked::from_body(&Value::Null);
        let plain = || if path.ends_with("/speech") { Behaviour::speech() } else { Behaviour::transcript() };
        return perform(shared.scripted(&body).unwrap_or_else(plain), &asked, &progress).await;
    }
    if !path.ends_with("/chat/completions") {
        return refusal(StatusCode::NOT_FOUND);
    }
    let asked = Asked::from_body(&serde_json::from_str(&body).unwrap_or(Value::Null));
    perform(shared.next_behaviour(&body), &asked, &progress).await
}

fn refusal(status: StatusCode) -> Response<Body> {
    Response::builder().status(status).body(Body::empty()).expect("an empty response")
}
