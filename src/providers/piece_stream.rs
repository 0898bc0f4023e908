//! A provider's stream as pieces of text, with limits on its time, its size and its manners.

use std::collections::VecDeque;

use web_sys::ReadableStream;

use super::answer::{TokenUsage, Wire};
use super::openai_compatible::ANSWER_BYTES_MAX;
use super::sse::SseParser;
use super::{Deadline, Failure};
use crate::platform::abort::AbortGuard;
use crate::platform::streams::ByteReader;
use crate::platform::{now_ms, timer};

/// Raw bytes of one stream: every token of a long answer with some hundred bytes of JSON around it.
const STREAM_BYTES_MAX: usize = 16_777_216;

pub struct PieceStream {
    reader: ByteReader,
    guard: Option<AbortGuard>,
    parser: SseParser,
    pieces: VecDeque<String>,
    raw_bytes: usize,
    text_bytes: usize,
    /// The provider said that the answer is complete.
    complete: bool,
    ended: bool,
    /// What went wrong behind the pieces that are still to be given out.
    failed: Option<Failure>,
    /// Usage as the provider reported it, once it did.
    pub usage: Option<TokenUsage>,
    /// The model as the provider names it, once it did.
    pub model: Option<String>,
}

impl PieceStream {
    pub(super) fn new(stream: &ReadableStream, guard: Option<AbortGuard>) -> Result<Self, Failure> {
        Ok(Self {
            reader: ByteReader::new(stream).map_err(|_| Failure::Unreachable)?,
            guard,
            parser: SseParser::default(),
            pieces: VecDeque::new(),
            raw_bytes: 0,
            text_bytes: 0,
            complete: false,
            ended: false,
            failed: None,
            usage: None,
            model: None,
        })
    }

    /// The next piece of text; `None` when the answer is complete.
    ///
    /// # Errors
    /// `Timeout` after `wait_ms` without a piece, and whatever else a stream can do wrong. Bytes that are no
    /// piece, such as a provider's pings, do not prolong the wait: else they could for ever.
    pub async fn next(&mut self, wait_ms: i64) -> Result<Option<String>, Failure> {
        let end_ms = now_ms().saturating_add(wait_ms);
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                return Ok(Some(piece));
            }
            if let Some(failure) = self.failed {
                return Err(failure);
            }
            if self.ended {
                return if self.complete { Ok(None) } else { Err(Failure::Interrupted) };
            }
            let read = timer::within(end_ms.saturating_sub(now_ms()), self.reader.next()).await;
            let read = match read {
                Ok(Ok(read)) => read,
                // Only the usage or the end mark is missing; the answer itself is whole.
                _ if self.complete => {
                    self.reader.cancel();
                    None
                }
                Ok(Err(_)) => return Err(Failure::Interrupted),
                Err(_) => return Err(Failure::Timeout(Deadline::Idle)),
            };
            let events = match read {
                Some(bytes) => {
                    self.raw_bytes = self.raw_bytes.saturating_add(bytes.len());
                    self.parser.push(&bytes)
                }
                None => {
                    self.end();
                    self.parser.finish()
                }
            };
            self.failed = match events {
                _ if self.raw_bytes > STREAM_BYTES_MAX => Some(Failure::TooLarge),
                Ok(events) => self.take_all(&events).err(),
                Err(_) => Some(Failure::Malformed),
            };
        }
    }

    /// Puts a piece back to the front: the first one was read to know that the provider answers.
    pub fn put_back(&mut self, piece: String) {
        self.pieces.push_front(piece);
    }

    /// Takes events until one is the end mark: how the network cut what follows it must make no difference.
    fn take_all(&mut self, events: &[String]) -> Result<(), Failure> {
        let ended_before = self.ended;
        for event in events {
            self.take(event)?;
            if self.ended && !ended_before {
                break;
            }
        }
        Ok(())
    }

    fn take(&mut self, event: &str) -> Result<(), Failure> {
        if event.trim() == "[DONE]" {
            self.complete = true;
            // A provider may keep the connection open; nothing that follows is of interest.
            self.reader.cancel();
            self.end();
            return Ok(());
        }
        let wire = Wire::parse(event)?;
        self.complete |= wire.is_finished();
        self.usage = wire.usage().or(self.usage);
        if self.model.is_none() {
            self.model = wire.model();
        }
        if let Some(text) = wire.text().filter(|text| !text.is_empty()) {
            self.text_bytes = self.text_bytes.saturating_add(text.len());
            if self.text_bytes > ANSWER_BYTES_MAX {
                return Err(Failure::TooLarge);
            }
            self.pieces.push_back(text);
        }
        Ok(())
    }

    /// The stream is over: there is nothing to abort any more.
    fn end(&mut self) {
        self.ended = true;
        if let Some(guard) = self.guard.take() {
            guard.let_go();
        }
    }
}

/// A stream that is not read to its end tells the provider to stop.
impl Drop for PieceStream {
    fn drop(&mut self) {
        if !self.ended {
            self.reader.cancel();
        }
    }
}
