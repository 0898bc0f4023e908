//! A provider's answer in bytes: speech, or the events of a transcript, passed on as they come and within limits.

use js_sys::Uint8Array;
use web_sys::ReadableStream;

use super::failure::{Deadline, Failure};
use crate::platform::abort::AbortGuard;
use crate::platform::streams::ByteReader;
use crate::platform::{now_ms, timer};

/// Bytes that come in pieces; none of them is in memory of ours.
pub struct ByteStream {
    reader: ByteReader,
    guard: Option<AbortGuard>,
    /// What came first, until it is asked for.
    first: Option<Uint8Array>,
    bytes: u64,
    bytes_max: u64,
    ended: bool,
    /// What they are, in the words of `Content-Type`.
    pub media: &'static str,
}

impl ByteStream {
    /// # Errors
    /// `Unreachable` when somebody else reads it.
    pub(super) fn new(
        stream: &ReadableStream,
        guard: Option<AbortGuard>,
        media: &'static str,
        bytes_max: u64,
    ) -> Result<Self, Failure> {
        let reader = ByteReader::new(stream).map_err(|_| Failure::Unreachable)?;
        Ok(Self { reader, guard, first: None, bytes: 0, bytes_max, ended: false, media })
    }

    /// Waits for the first bytes. An answer without any is none.
    ///
    /// # Errors
    /// As [`ByteStream::next`], and `Malformed`.
    pub(super) async fn begin(&mut self, wait_ms: i64) -> Result<(), Failure> {
        match self.next(wait_ms).await {
            Ok(Some(first)) => {
                self.first = Some(first);
                Ok(())
            }
            Ok(None) => Err(Failure::Malformed),
            Err(Failure::Timeout(_)) => Err(Failure::Timeout(Deadline::FirstToken)),
            Err(failure) => Err(failure),
        }
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// `Timeout` after `wait_ms` without any, `TooLarge` beyond the limit, `Interrupted` when the provider breaks off.
    pub async fn next(&mut self, wait_ms: i64) -> Result<Option<Uint8Array>, Failure> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let end_ms = now_ms().saturating_add(wait_ms);
        loop {
            let read = timer::within(end_ms.saturating_sub(now_ms()), self.reader.next()).await;
            let Some(chunk) =
                read.map_err(|_| Failure::Timeout(Deadline::Idle))?.map_err(|_| Failure::Interrupted)?
            else {
                self.ended = true;
                if let Some(guard) = self.guard.take() {
                    guard.let_go();
                }
                return Ok(None);
            };
            self.bytes = self.bytes.saturating_add(u64::from(chunk.byte_length()));
            if self.bytes > self.bytes_max {
                return Err(Failure::TooLarge);
            }
            if chunk.byte_length() > 0 {
                return Ok(Some(chunk));
            }
        }
    }
}

/// What is not read to its end is not to be sent either.
impl Drop for ByteStream {
    fn drop(&mut self) {
        if !self.ended {
            self.reader.cancel();
        }
    }
}
