//! A socket of `/tts/websocket` during one turn: parts of text go up one at a time, the sound of each comes down.
//!
//! A turn is one context, so that its parts sound as one. A context ends by itself a second after its last sound; where the
//! next part comes late, it gets a new one on the same socket.

use std::rc::Rc;

use super::super::failure::{Deadline, Failure};
use super::socket;
use super::wire::{self, After, Manner, Spoken};
use crate::platform::client_socket::{Came, ClientSocket};
use crate::platform::config::Provider;
use crate::platform::{now_ms, random_id, timer};

/// How long after its last sound a context is still used, in milliseconds: half the time until it ends by itself, because
/// what is sent takes its time.
const CONTEXT_REST_MS: i64 = 500;
/// The sound of one part, in bytes: three minutes at 48 kHz.
const PART_BYTES_MAX: usize = 17_280_000;

/// An open socket with a provider, and the context that the turn is in.
pub struct SpeechLine {
    provider: Rc<str>,
    model: String,
    socket: ClientSocket,
    manner: Manner,
    sample_rate_hz: u32,
    context: Option<Context>,
    /// Of the part that is spoken.
    bytes: usize,
}

struct Context {
    id: String,
    /// Flushes that were sent.
    flushes: u64,
    /// Its last part is not spoken yet.
    speaks: bool,
}

/// What comes of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Next {
    Sound(Vec<u8>),
    End,
}

impl SpeechLine {
    /// # Errors
    /// As of any socket that is opened.
    pub async fn open(
        provider: &Provider,
        manner: Manner,
        sample_rate_hz: u32,
        request_id: &str,
        wait_ms: i64,
    ) -> Result<Self, Failure> {
        let socket = socket::open(provider, "/tts/websocket", request_id, wait_ms).await?;
        let (provider, model) = (Rc::clone(&provider.name), provider.model.clone());
        Ok(Self { provider, model, socket, manner, sample_rate_hz, context: None, bytes: 0 })
    }

    /// Whether it is one of this provider's, with the model that it is asked for.
    pub fn is_of(&self, provider: &Provider) -> bool {
        self.provider == provider.name && self.model == provider.model
    }

    /// The line, if it can be used for another part: nothing bad came since the last one.
    pub fn well(mut self) -> Option<Self> {
        while let Some(came) = self.socket.waiting() {
            let Came::Text(text) = came else { return None };
            let (context, what) = wire::spoken(&text).ok()?;
            let is_over = matches!(what, Spoken::Done | Spoken::Failed(_));
            if is_over && self.is_current(context.as_deref()) {
                self.context = None;
            }
        }
        Some(self)
    }

    fn is_current(&self, context: Option<&str>) -> bool {
        // What names no context is of all.
        context.is_none_or(|id| self.context.as_ref().is_some_and(|own| own.id == id))
    }

    /// Sends a part, and waits for its first sound; `None` when there is nothing in it that can be heard.
    ///
    /// # Errors
    /// `Timeout(FirstToken)` after `wait_ms`, what the provider says, `Malformed`, `Interrupted`.
    pub async fn begin(&mut self, text: &str, wait_ms: i64) -> Result<Option<Vec<u8>>, Failure> {
        let end_ms = now_ms().saturating_add(wait_ms);
        self.leave_rested();
        let is_old = self.context.is_some();
        self.bytes = 0;
        self.send(text);
        let first = self.next(end_ms.saturating_sub(now_ms())).await;
        let first = match first {
            // It may have ended just now, although it should not have.
            Err(Failure::Status(400 | 404 | 410)) if is_old => {
                self.context = None;
                self.send(text);
                self.next(end_ms.saturating_sub(now_ms())).await
            }
            other => other,
        };
        match first {
            Err(Failure::Timeout(_)) => Err(Failure::Timeout(Deadline::FirstToken)),
            other => other,
        }
    }

    /// Leaves a context that is about to end by itself. When its last sound came counts, not when it was read.
    fn leave_rested(&mut self) {
        if now_ms().saturating_sub(self.socket.came_ms()) > CONTEXT_REST_MS {
            self.context = None;
        }
    }

    fn send(&mut self, text: &str) {
        let new = || Context { id: random_id(), flushes: 0, speaks: true };
        let mut context = self.context.take().unwrap_or_else(new);
        context.speaks = true;
        context.flushes = context.flushes.saturating_add(1);
        self.socket.send(&self.manner.input(&context.id, text, After::More, self.sample_rate_hz));
        self.socket.send(&self.manner.input(&context.id, "", After::Flush, self.sample_rate_hz));
        self.context = Some(context);
    }

    /// More sound of the part; `None` when all was there.
    ///
    /// # Errors
    /// `Timeout(Idle)` after `wait_ms` without any, what the provider says, `Malformed`, `TooLarge`, `Interrupted`.
    pub async fn next(&mut self, wait_ms: i64) -> Result<Option<Vec<u8>>, Failure> {
        let next = timer::within(wait_ms, self.step()).await;
        match next.unwrap_or(Err(Failure::Timeout(Deadline::Idle)))? {
            Next::Sound(sound) => Ok(Some(sound)),
            Next::End => Ok(None),
        }
    }

    async fn step(&mut self) -> Result<Next, Failure> {
        loop {
            let Came::Text(text) = self.socket.next().await else {
                self.context = None;
                return Err(Failure::Interrupted);
            };
            let (of, what) = wire::spoken(&text)?;
            if !self.is_current(of.as_deref()) {
                continue;
            }
            let Some(context) = self.context.as_mut() else { return Err(Failure::Malformed) };
            match what {
                Spoken::Chunk(sound) => {
                    self.bytes = self.bytes.saturating_add(sound.len());
                    if self.bytes > PART_BYTES_MAX {
                        return Err(Failure::TooLarge);
                    }
                    if !sound.is_empty() {
                        return Ok(Next::Sound(sound));
                    }
                }
                Spoken::Flushed(number) if number >= context.flushes => {
                    context.speaks = false;
                    return Ok(Next::End);
                }
                Spoken::Done => {
                    self.context = None;
                    return Ok(Next::End);
                }
                Spoken::Failed(failure) => {
                    self.context = None;
                    return Err(failure);
                }
                Spoken::Flushed(_) | Spoken::Other => {}
            }
        }
    }

    /// Says that nothing follows.
    pub fn finish(mut self) {
        self.leave_rested();
        if let Some(context) = self.context.take() {
            self.socket.send(&self.manner.input(&context.id, "", After::End, self.sample_rate_hz));
        }
    }
}

/// What is left in the middle of a part is not wanted any more.
impl Drop for SpeechLine {
    fn drop(&mut self) {
        if let Some(context) = self.context.take().filter(|context| context.speaks) {
            self.socket.send(&wire::cancel(&context.id));
        }
    }
}
