//! A provider's stream as pieces of an answer, with limits on its time, its size and its manners.

use std::collections::VecDeque;

use js_sys::Uint8Array;
use web_sys::ReadableStream;

use super::answer::Wire;
use super::chat::{ChatRequest, Produced};
use super::count::TokenCounter;
use super::reported::Reported;
use super::sse::SseParser;
use super::{Deadline, Failure};
use crate::platform::abort::AbortGuard;
use crate::platform::now_ms;
use crate::platform::streams::ByteReader;
use crate::platform::timer::Patience;

/// Raw bytes of one stream that are never too many, and those for each token beyond them: some hundred bytes of JSON
/// around each.
const STREAM_BYTES_MIN: usize = 16_777_216;
const STREAM_BYTES_PER_TOKEN: usize = 1_024;

/// A part of an answer: one event of its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Text of the first answer; may be empty.
    pub text: String,
    /// What the whole stream has come to with it.
    pub so_far: Produced,
    /// The event as it came, where it is in OpenAI's format.
    pub event: Option<String>,
    /// Something was written in it, or the answer's end said.
    progress: bool,
}

/// Pieces that came together; at least one of them is progress.
#[derive(Debug, Default)]
pub struct Batch {
    pub pieces: Vec<Piece>,
    /// The very bytes they came in, when those are these pieces in OpenAI's format and nothing else.
    pub as_came: Option<Uint8Array>,
}

pub struct PieceStream {
    reader: ByteReader,
    patience: Patience,
    guard: Option<AbortGuard>,
    parser: SseParser,
    pieces: VecDeque<Piece>,
    /// What those pieces came in.
    chunk: Option<Uint8Array>,
    raw_bytes: usize,
    raw_bytes_max: usize,
    counter: TokenCounter,
    text_bytes: usize,
    text_bytes_max: usize,
    /// The provider said that all answers are complete.
    complete: bool,
    /// Answers that were asked for, and those of them that have ended, a bit for each number.
    answers: u32,
    finished: u32,
    ended: bool,
    /// What went wrong behind the pieces that are still to be given out.
    failed: Option<Failure>,
    /// Usage as the provider reported it, once it did.
    pub usage: Option<Reported>,
    /// The model as the provider names it, once it did.
    pub model: Option<String>,
    /// The answer's id, once the provider said it.
    pub id: Option<String>,
}

impl PieceStream {
    pub(super) fn new(
        stream: &ReadableStream,
        guard: Option<AbortGuard>,
        request: &ChatRequest,
    ) -> Result<Self, Failure> {
        let tokens = usize::try_from(request.tokens_out_max()).unwrap_or(usize::MAX);
        Ok(Self {
            reader: ByteReader::new(stream).map_err(|_| Failure::Unreachable)?,
            patience: Patience::default(),
            guard,
            parser: SseParser::default(),
            pieces: VecDeque::new(),
            chunk: None,
            raw_bytes: 0,
            raw_bytes_max: tokens.saturating_mul(STREAM_BYTES_PER_TOKEN).max(STREAM_BYTES_MIN),
            counter: TokenCounter::default(),
            text_bytes: 0,
            text_bytes_max: request.answer_bytes_max(),
            complete: false,
            answers: request.answers(),
            finished: 0,
            ended: false,
            failed: None,
            usage: None,
            model: None,
            id: None,
        })
    }

    /// Waits until the answer begins: something is written, or it ends empty. Nothing is given out yet.
    ///
    /// # Errors
    /// As [`PieceStream::next`].
    pub async fn begin(&mut self, wait_ms: i64) -> Result<(), Failure> {
        self.fill(wait_ms).await.map(|_| ())
    }

    /// What came next; `None` when the answer is complete.
    ///
    /// # Errors
    /// `Timeout` after `wait_ms` without progress, and whatever else a stream can do wrong. Bytes in which nothing is
    /// written, such as a provider's pings, do not prolong the wait: else they could for ever.
    pub async fn next(&mut self, wait_ms: i64) -> Result<Option<Batch>, Failure> {
        if !self.fill(wait_ms).await? {
            return Ok(None);
        }
        Ok(Some(Batch { pieces: self.pieces.drain(..).collect(), as_came: self.chunk.take() }))
    }

    /// Reads until there is progress to give out; `false` at the end.
    async fn fill(&mut self, wait_ms: i64) -> Result<bool, Failure> {
        let (end_ms, mut left_ms) = (now_ms().saturating_add(wait_ms), wait_ms);
        loop {
            if self.has_progress() {
                return Ok(true);
            }
            if let Some(failure) = self.failed {
                return Err(failure);
            }
            if self.ended {
                return if self.complete { Ok(!self.pieces.is_empty()) } else { Err(Failure::Interrupted) };
            }
            let read = self.patience.within(left_ms, self.reader.next()).await;
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
            self.take_chunk(read);
            // The clock is asked only where the wait goes on.
            if !self.has_progress() {
                left_ms = end_ms.saturating_sub(now_ms());
            }
        }
    }

    fn has_progress(&self) -> bool {
        self.pieces.iter().any(|piece| piece.progress)
    }

    /// Takes bytes as they came; none at the end.
    fn take_chunk(&mut self, read: Option<Uint8Array>) {
        // Bytes may go on as they are when they are whole events: none begun before them, none left open.
        let fresh = self.pieces.is_empty() && self.parser.is_between();
        let events = match &read {
            Some(chunk) => {
                let bytes = chunk.to_vec();
                self.raw_bytes = self.raw_bytes.saturating_add(bytes.len());
                self.parser.push(&bytes)
            }
            None => {
                self.end();
                self.parser.finish()
            }
        };
        let taken = match events {
            _ if self.raw_bytes > self.raw_bytes_max => Err(Failure::TooLarge),
            Ok(events) => self.take_all(&events),
            Err(_) => Err(Failure::Malformed),
        };
        let nothing_else = self.parser.take_only_data() && self.parser.is_between();
        self.chunk = match &taken {
            Ok(true) if fresh && nothing_else => read,
            _ => None,
        };
        self.failed = taken.err();
    }

    /// Takes events until one is the end mark: how the network cut what follows it must make no difference.
    /// Whether each of them is a piece in OpenAI's format.
    fn take_all(&mut self, events: &[String]) -> Result<bool, Failure> {
        let ended_before = self.ended;
        let mut all = true;
        for event in events {
            all &= self.take(event)?;
            if self.ended && !ended_before {
                break;
            }
        }
        Ok(all)
    }

    fn take(&mut self, event: &str) -> Result<bool, Failure> {
        if event.trim() == "[DONE]" {
            self.complete = true;
            // A provider may keep the connection open; nothing that follows is of interest.
            self.reader.cancel();
            self.end();
            return Ok(false);
        }
        let wire = Wire::parse(event)?;
        for number in wire.finished() {
            self.finished |= 1_u32.checked_shl(number).unwrap_or(0);
        }
        self.complete |= self.finished.count_ones() >= self.answers.max(1);
        self.usage = wire.usage().or(self.usage);
        if self.model.is_none() {
            self.model = wire.model();
        }
        if self.id.is_none() {
            self.id = wire.id();
        }
        let bytes_before = self.text_bytes;
        wire.each_written(|text| {
            self.counter.push(text);
            self.text_bytes = self.text_bytes.saturating_add(text.len());
        });
        let progress = self.text_bytes > bytes_before;
        // What has no part of an answer in it only tells what was used.
        let openai = wire.is_openai();
        if (openai && !wire.has_choices()) || (!openai && !progress) {
            return Ok(false);
        }
        if self.text_bytes > self.text_bytes_max {
            return Err(Failure::TooLarge);
        }
        self.pieces.push_back(Piece {
            text: wire.text().unwrap_or_default(),
            so_far: Produced { tokens: self.counter.total(), bytes: self.text_bytes },
            event: openai.then(|| event.to_owned()),
            progress,
        });
        Ok(openai)
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
