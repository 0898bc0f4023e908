//! The record of one request a scripted provider received, growing while the provider answers it.

use axum::http::HeaderMap;
use bytes::Bytes;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What became of the answer so far.
#[derive(Debug, Default)]
pub struct Progress {
    pieces_sent: AtomicU64,
    bytes_sent: AtomicU64,
    finished: AtomicBool,
    abandoned: AtomicBool,
}

/// One request as it arrived, with the progress of its answer.
#[derive(Clone, Debug)]
pub struct ProviderCall {
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
    /// The body as it came, for what is no text.
    pub bytes: Bytes,
    pub progress: Arc<Progress>,
}

impl ProviderCall {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body as JSON, `null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    pub fn asks_for_stream(&self) -> bool {
        self.json().get("stream").and_then(Value::as_bool) == Some(true)
    }

    pub fn pieces_sent(&self) -> u64 {
        self.progress.pieces_sent.load(Ordering::SeqCst)
    }

    pub fn bytes_sent(&self) -> u64 {
        self.progress.bytes_sent.load(Ordering::SeqCst)
    }

    /// The whole answer was handed over.
    pub fn finished(&self) -> bool {
        self.progress.finished.load(Ordering::SeqCst)
    }

    /// The caller hung up before the end.
    pub fn abandoned(&self) -> bool {
        self.progress.abandoned.load(Ordering::SeqCst)
    }
}

/// Held by the answer while it is under way. Dropped before `finish`, it means the caller hung up:
/// the server drops an answer's future or body when its connection closes.
pub struct InFlight {
    progress: Arc<Progress>,
}

impl InFlight {
    pub fn new(progress: &Arc<Progress>) -> Self {
        Self { progress: progress.clone() }
    }

    pub fn piece_sent(&self, bytes: usize) {
        self.progress.pieces_sent.fetch_add(1, Ordering::SeqCst);
        self.progress.bytes_sent.fetch_add(bytes as u64, Ordering::SeqCst);
    }

    pub fn finish(&self) {
        self.progress.finished.store(true, Ordering::SeqCst);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.progress.finished.load(Ordering::SeqCst) {
            self.progress.abandoned.store(true, Ordering::SeqCst);
        }
    }
}

/// All calls of one provider, in order of arrival.
#[derive(Clone, Default)]
pub struct CallBook {
    calls: Arc<Mutex<Vec<ProviderCall>>>,
}

impl CallBook {
    pub fn enter(&self, path: String, headers: HeaderMap, bytes: Bytes) -> Arc<Progress> {
        let progress = Arc::new(Progress::default());
        self.calls.lock().expect("the call book").push(ProviderCall {
            path,
            headers,
            body: String::from_utf8_lossy(&bytes).into_owned(),
            bytes,
            progress: progress.clone(),
        });
        progress
    }

    /// The calls that hold `marker` in their body or their path.
    pub fn with_marker(&self, marker: &str) -> Vec<ProviderCall> {
        let calls = self.calls.lock().expect("the call book");
        calls
            .iter()
            .filter(|call| call.body.contains(marker) || call.path.contains(marker))
            .cloned()
            .collect()
    }

    pub fn all(&self) -> Vec<ProviderCall> {
        self.calls.lock().expect("the call book").clone()
    }
}
