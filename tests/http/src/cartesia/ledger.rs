//! What Cartesia would bill: the characters that were submitted, and the sound that was heard.

use std::sync::{Arc, Mutex};

/// One text that was submitted, or one recording whose text was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub path: &'static str,
    /// Which connection it came over, counted from the first.
    pub connection: u64,
    /// Of speech by socket.
    pub context: Option<String>,
    /// What was to be spoken, or what was heard.
    pub text: String,
    pub characters: u64,
    pub heard_ms: u64,
    pub model: String,
    pub voice: Option<String>,
    pub language: Option<String>,
    pub sample_rate_hz: u32,
    /// `X-Request-Id` of its connection.
    pub request_id: Option<String>,
    /// Sound of it that was sent, in bytes.
    pub sent_bytes: usize,
    pub cancelled: bool,
}

#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    entries: Vec<Entry>,
    connections: u64,
    open: u64,
    refused: Vec<String>,
}

impl Ledger {
    pub(super) fn connected(&self) -> u64 {
        let mut book = self.0.lock().expect("the ledger");
        book.connections += 1;
        book.open += 1;
        book.connections
    }

    pub(super) fn disconnected(&self) {
        self.0.lock().expect("the ledger").open -= 1;
    }

    /// Notes an entry, and says where it stands.
    pub(super) fn note(&self, entry: Entry) -> usize {
        let mut book = self.0.lock().expect("the ledger");
        book.entries.push(entry);
        book.entries.len() - 1
    }

    pub(super) fn sent(&self, at: usize, bytes: usize) {
        self.0.lock().expect("the ledger").entries[at].sent_bytes += bytes;
    }

    pub(super) fn cancelled(&self, context: &str) {
        let mut book = self.0.lock().expect("the ledger");
        for entry in book.entries.iter_mut().filter(|entry| entry.context.as_deref() == Some(context)) {
            entry.cancelled = true;
        }
    }

    pub(super) fn refused(&self, why: &str) {
        self.0.lock().expect("the ledger").refused.push(why.to_owned());
    }

    /// Entries whose text holds `marker`, in their order.
    pub fn with(&self, marker: &str) -> Vec<Entry> {
        let book = self.0.lock().expect("the ledger");
        book.entries.iter().filter(|entry| entry.text.contains(marker)).cloned().collect()
    }

    pub fn all(&self) -> Vec<Entry> {
        self.0.lock().expect("the ledger").entries.clone()
    }

    /// Sockets that are open now.
    pub fn open_sockets(&self) -> u64 {
        self.0.lock().expect("the ledger").open
    }

    /// Why messages and requests were refused that broke a rule of the protocol, not by a script. A client of ours has
    /// none.
    pub fn refusals(&self) -> Vec<String> {
        self.0.lock().expect("the ledger").refused.clone()
    }
}
