//! What the stand-in for Cartesia can be told to do with a text, or with a recording in which it is said.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// An error event with that status; over HTTP the status itself, where nothing was sent yet.
    Error(u16),
    /// The connection is gone, without a word.
    Reset,
    /// Nothing comes any more, and the connection stays open.
    Silence,
    /// A message that is no JSON; over HTTP a page of HTML.
    Malformed,
    /// Sound that is no base64.
    WrongBase64,
}

/// What to do with one text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Play {
    /// Time before the first chunk.
    pub late: Duration,
    /// Time before each further one.
    pub pace: Duration,
    /// After so many chunks.
    pub trouble: Option<(usize, Trouble)>,
}

impl Play {
    /// After `chunks` of the text's sound, or events of a recording's text.
    pub fn trouble(chunks: usize, trouble: Trouble) -> Self {
        Self { trouble: Some((chunks, trouble)), ..Self::default() }
    }

    pub fn paced(pace: Duration) -> Self {
        Self { pace, ..Self::default() }
    }

    pub fn late(late: Duration) -> Self {
        Self { late, ..Self::default() }
    }
}

/// Plays by the marker that a text holds; each is done once, and the last again and again.
#[derive(Clone, Default)]
pub struct Scripts(Arc<Mutex<HashMap<String, VecDeque<Play>>>>);

impl Scripts {
    pub fn set(&self, marker: &str, plays: impl IntoIterator<Item = Play>) {
        self.0.lock().expect("the scripts").insert(marker.to_owned(), plays.into_iter().collect());
    }

    pub fn next(&self, text: &str) -> Play {
        let mut scripts = self.0.lock().expect("the scripts");
        let found = scripts.iter_mut().find(|(marker, _)| text.contains(marker.as_str()));
        match found.map(|(_, queue)| queue) {
            Some(queue) if queue.len() > 1 => queue.pop_front().unwrap_or_default(),
            Some(queue) => queue.front().copied().unwrap_or_default(),
            None => Play::default(),
        }
    }
}
