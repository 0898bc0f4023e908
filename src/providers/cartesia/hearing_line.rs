//! A socket of `/stt/websocket` during one utterance: sound goes up as it comes, text comes down.

use std::rc::Rc;

use super::super::failure::Failure;
use super::socket;
use super::wire::{self, Heard, Transcript};
use crate::platform::client_socket::{Came, ClientSocket};
use crate::platform::config::Provider;

/// Sound of one message, in milliseconds.
const MESSAGE_MS: u32 = 100;
/// The text of an utterance, in bytes.
const TEXT_BYTES_MAX: usize = 16_384;

/// An open socket with a provider.
pub struct HearingLine {
    provider: Rc<str>,
    model: String,
    socket: ClientSocket,
    transcript: Transcript,
    /// Of the utterance, that were sent.
    sent_bytes: usize,
    message_bytes: usize,
}

impl HearingLine {
    /// # Errors
    /// As of any socket that is opened.
    pub async fn open(
        provider: &Provider,
        language: Option<&str>,
        sample_rate_hz: u32,
        request_id: &str,
        wait_ms: i64,
    ) -> Result<Self, Failure> {
        let socket =
            socket::open(provider, &path(provider, language, sample_rate_hz), request_id, wait_ms).await?;
        let message_bytes = usize::try_from(sample_rate_hz.saturating_mul(MESSAGE_MS) / 1_000).unwrap_or(1);
        Ok(Self {
            provider: Rc::clone(&provider.name),
            model: provider.model.clone(),
            socket,
            transcript: Transcript::default(),
            sent_bytes: 0,
            message_bytes: message_bytes.max(1).saturating_mul(2),
        })
    }

    /// Whether it is one of this provider's, with the model that it is asked for.
    pub fn is_of(&self, provider: &Provider) -> bool {
        self.provider == provider.name && self.model == provider.model
    }

    /// Sends what of `utterance` was not sent yet.
    pub fn catch_up(&mut self, utterance: &[u8]) {
        let fresh = utterance.get(self.sent_bytes..).unwrap_or_default();
        for message in fresh.chunks(self.message_bytes) {
            self.socket.send_bytes(message);
        }
        self.sent_bytes = utterance.len();
    }

    /// Says that the utterance is over.
    pub fn finalize(&self) {
        self.socket.send("finalize");
    }

    /// Waits for more text: all of it so far, or `None` when that was all.
    ///
    /// # Errors
    /// What the provider says, `Malformed`, `TooLarge`, `Interrupted`.
    pub async fn next(&mut self) -> Result<Option<String>, Failure> {
        loop {
            let Came::Text(text) = self.socket.next().await else {
                return Err(Failure::Interrupted);
            };
            match wire::heard(&text)? {
                Heard::Text { text, is_final } => {
                    self.transcript.push(&text, is_final, TEXT_BYTES_MAX)?;
                    return Ok(Some(self.transcript.text()));
                }
                Heard::Flushed | Heard::Done => return Ok(None),
                Heard::Failed(failure) => return Err(failure),
                Heard::Other => {}
            }
        }
    }

    /// The whole text, once [`HearingLine::next`] has said that it is.
    pub fn into_text(self) -> String {
        // It ends the session there at once; the socket's own end follows.
        self.socket.send("close");
        self.transcript.into_text()
    }
}

fn path(provider: &Provider, language: Option<&str>, sample_rate_hz: u32) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("model", &provider.model);
    query.append_pair("encoding", "pcm_s16le");
    query.append_pair("sample_rate", &sample_rate_hz.to_string());
    if let Some(language) = language {
        query.append_pair("language", language);
    }
    format!("/stt/websocket?{}", query.finish())
}
