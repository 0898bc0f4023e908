//! Speech and hearing for turns of a voice session: one interface over every kind of provider, with fallback between them.
//!
//! Owns: the order of providers, deadlines, sockets and their contexts, PCM in the shape that was asked for. Never does:
//! decide what is said, keep sound for a client, charge.
//!
//! Two halves each: a feed, which is told what there is and returns at once, and events, which do the work while they are
//! waited for. Not waiting for events is back-pressure: no further part is asked for, and a stream is not read. Dropping
//! them ends the calls.

mod events;
mod hearing;
mod limits;
mod pcm;
mod speaking;
mod voices;

pub use events::Events;
pub use hearing::{Hearing, HearingEvent, hear};
pub use speaking::{Speaking, SpeechEvent, TextFeed, speak};

use super::failure::Failure;
use super::{Attempt, Failed};

/// Why nothing more comes of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// In words for logs and clients; nothing that a provider said.
    pub code: String,
    /// Something of it was told before it broke off, so another provider could not be asked here. A new call may be made,
    /// for what is missing.
    pub broke_off: bool,
    /// Everybody who was asked; of what broke off, those before it.
    pub attempts: Vec<Attempt>,
}

impl Ended {
    fn nobody(failed: Failed) -> Self {
        Self { code: "provider_failed".to_owned(), broke_off: false, attempts: failed.attempts }
    }

    fn broke_off(failure: Failure) -> Self {
        Self { code: failure.exact_code(), broke_off: true, attempts: Vec::new() }
    }
}
