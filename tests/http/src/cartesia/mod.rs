//! A stand-in for Cartesia on a free port of the loopback: `/tts/bytes`, `/tts/sse`, `/tts/websocket`, `/stt` and
//! `/stt/websocket` with its messages and rules, as its official clients find them (`tests/http/tests/sdk`).
//!
//! It is stricter than it need be: whatever the protocol's documents forbid is refused and noted in the ledger.

mod context;
mod hearing_socket;
mod http;
pub mod ledger;
pub mod script;
pub mod sound;
mod speech_socket;

use crate::background;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::{get, post};
use ledger::Ledger;
use script::{Play, Scripts};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use tokio::task::JoinHandle;

/// The only key that it knows.
pub const KEY: &str = "sk_car_canary-4c0ffee19d8e7f6a5b4c3d2e1f";
/// Rates that it speaks at.
const SAMPLE_RATES_HZ: [u64; 6] = [8_000, 16_000, 22_050, 24_000, 44_100, 48_000];
/// Sound of one chunk, in characters.
const CHUNK_CHARACTERS: usize = 5;

#[derive(Clone, Default)]
struct Shared {
    scripts: Scripts,
    ledger: Ledger,
    /// What sockets are answered instead of being opened; zero: they are.
    refusing: Arc<AtomicU16>,
}

/// A running stand-in. Dropping it ends its server.
pub struct Cartesia {
    origin: String,
    shared: Shared,
    server: JoinHandle<()>,
}

impl Cartesia {
    pub async fn start() -> Self {
        let shared = Shared::default();
        let app = Router::new()
            .route("/tts/bytes", post(http::bytes))
            .route("/tts/sse", post(http::events))
            .route("/tts/websocket", get(speech_socket::open))
            .route("/stt", post(http::transcript))
            .route("/stt/websocket", get(hearing_socket::open))
            .with_state(shared.clone());
        let (origin, server) = background::serve(app).await;
        Self { origin, shared, server }
    }

    /// `http://127.0.0.1:port`, which is also the base for the Worker's configuration.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// What it does with texts and recordings that hold `marker`; the last one stays for all that follow.
    pub fn script(&self, marker: &str, plays: impl IntoIterator<Item = Play>) {
        self.shared.scripts.set(marker, plays);
    }

    /// Answers every socket with `status` from now on; zero opens them again.
    pub fn refuse_sockets(&self, status: u16) {
        self.shared.refusing.store(status, Ordering::SeqCst);
    }

    pub fn ledger(&self) -> &Ledger {
        &self.shared.ledger
    }
}

impl Drop for Cartesia {
    fn drop(&mut self) {
        self.server.abort();
    }
}

type Query = HashMap<String, String>;

impl Shared {
    /// Whether a request may come in: with the key and a version, in headers or, as browsers must, in the query.
    fn admitted(&self, headers: &HeaderMap, query: &Query) -> Result<(), Box<Response<Body>>> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let bearer = header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let asked = |name: &str| query.get(name).map(String::as_str);
        let key = bearer.or(header("x-api-key")).or(asked("api_key")).or(asked("access_token"));
        if key != Some(KEY) {
            return Err(Box::new(self.refusal(401, "authentication", "the key is missing or not known")));
        }
        let version = header("cartesia-version").or(asked("cartesia_version"));
        let is_date = |text: &str| {
            text.len() == 10
                && text
                    .bytes()
                    .enumerate()
                    .all(|(at, byte)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() })
        };
        if !version.is_some_and(is_date) {
            return Err(Box::new(self.refusal(400, "version", "cartesia-version is missing or no date")));
        }
        Ok(())
    }

    fn may_open(&self, headers: &HeaderMap, query: &Query) -> Result<(), Box<Response<Body>>> {
        let refusing = self.refusing.load(Ordering::SeqCst);
        if refusing > 0 {
            return Err(Box::new(answer(refusing, &failure(refusing, "unavailable", "as it was told"))));
        }
        self.admitted(headers, query)
    }

    fn refusal(&self, status: u16, title: &str, why: &str) -> Response<Body> {
        self.ledger.refused(why);
        answer(status, &failure(status, title, why))
    }
}

/// An error in Cartesia's form. Its words are a canary: clients must never see them.
fn failure(status: u16, title: &str, why: &str) -> Value {
    let message = format!("{why} {}", crate::vars::PROVIDER_INTERNALS);
    json!({
        "type": "error", "title": title, "message": message, "error_code": title, "status_code": status,
        "request_id": uuid::Uuid::new_v4().to_string(),
    })
}

fn answer(status: u16, body: &Value) -> Response<Body> {
    let status = StatusCode::from_u16(status).expect("a status");
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(Body::from(body.to_string())).expect("a response")
}

fn request_id(headers: &HeaderMap) -> Option<String> {
    headers.get("x-request-id").and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// A text's sound in chunks.
fn chunks(text: &str, hz: u32) -> Vec<Vec<u8>> {
    let characters: Vec<char> = text.chars().collect();
    let chunk = |part: &[char]| sound::sound_of(&part.iter().collect::<String>(), hz);
    characters.chunks(CHUNK_CHARACTERS).map(chunk).collect()
}
