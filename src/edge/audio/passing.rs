//! Bytes on their way from a provider to a client: at the client's pace, within the provider's deadlines.

use std::future::Future;

use js_sys::Uint8Array;
use web_sys::ReadableStream;

use super::super::context::Context;
use super::super::error::ApiError;
use super::super::identity::Caller;
use super::super::meter::{self, Ticket, WorkEnd};
use super::super::reply::ReplyTo;
use super::failed;
use crate::platform::config::Provider;
use crate::platform::detached::ClientWatch;
use crate::platform::streams::{self, ByteWriter};
use crate::platform::{now_ms, timer};
use crate::providers::{self, Answered, Attempt, ByteStream, Deadline, Failed, Failure};

/// Bytes that began to come, and the pipe that takes them to the client.
pub struct Begun {
    pub answered: Answered<ByteStream>,
    pub writer: ByteWriter,
    pub readable: ReadableStream,
    /// Who waits for the reply.
    pub reply_to: ReplyTo,
}

/// Waits for the first bytes: with a key, whether the client does or not. Where none come, the hold is given back and
/// the client is told.
pub async fn begin(
    (context, caller, ticket): (&Context, &Caller, &Ticket),
    watch: &ClientWatch,
    opening: impl Future<Output = Result<Answered<ByteStream>, Failed>>,
    reply_to: ReplyTo,
) -> Option<Begun> {
    let opened = if ticket.has_key { Some(opening.await) } else { watch.unless_gone(opening).await };
    let error = match (opened, streams::pipe()) {
        (Some(Ok(answered)), Ok((writer, readable))) => {
            return Some(Begun { answered, writer, readable, reply_to });
        }
        (Some(Err(error)), _) => Some(failed(&error)),
        (Some(Ok(_)), Err(_)) => Some(ApiError::Unavailable),
        (None, _) => None,
    };
    meter::release(context, caller, ticket).await;
    if let Some(error) = error {
        let _gone = reply_to.send(Err(error));
    }
    None
}

pub struct Passing<'a> {
    pub context: &'a Context,
    pub ticket: &'a Ticket,
    pub provider: &'a Provider,
    pub attempts: &'a [Attempt],
    pub watch: &'a ClientWatch,
    /// Up to so many bytes are kept, for a client that can come back for them; then it may go away.
    pub kept_bytes_max: Option<u64>,
}

/// What became of it.
pub struct Passed {
    pub end: WorkEnd,
    /// The client took all of it.
    pub listening: bool,
    /// All that came; `None` where nothing is kept, or there was too much to keep.
    pub kept: Option<Vec<Uint8Array>>,
    pub bytes: u64,
}

impl Passing<'_> {
    /// Passes everything on until the stream, or the client, ends. `observe` sees all of it, and may find it wrong.
    pub async fn run(
        &self,
        mut stream: ByteStream,
        writer: &ByteWriter,
        mut observe: impl FnMut(&Uint8Array) -> Result<(), Failure>,
    ) -> Passed {
        let provider_end_ms = self.provider_end_ms();
        let end_ms = self.ticket.end_ms.min(provider_end_ms);
        let kept = self.kept_bytes_max.map(|_| Vec::new());
        let mut passed = Passed { end: WorkEnd::Complete, listening: true, kept, bytes: 0 };
        loop {
            let wait_ms = self.provider.deadlines.idle_ms.min(end_ms.saturating_sub(now_ms()));
            let next = stream.next(wait_ms);
            let next =
                if passed.kept.is_some() { Some(next.await) } else { self.watch.unless_gone(next).await };
            let failure = match next {
                None => {
                    passed.listening = false;
                    passed.end = WorkEnd::ClientGone;
                    return passed;
                }
                Some(Ok(None)) => return passed,
                Some(Ok(Some(chunk))) => match observe(&chunk) {
                    Ok(()) if self.pass(&mut passed, chunk, writer, wait_ms).await => continue,
                    Ok(()) => {
                        passed.end = WorkEnd::ClientGone;
                        return passed;
                    }
                    Err(failure) => failure,
                },
                Some(Err(failure)) => failure,
            };
            self.blame(failure, provider_end_ms);
            (passed.end, passed.kept) = (WorkEnd::Interrupted, None);
            return passed;
        }
    }

    /// Whether there is still somebody to go on for.
    async fn pass(&self, passed: &mut Passed, chunk: Uint8Array, writer: &ByteWriter, wait_ms: i64) -> bool {
        passed.bytes = passed.bytes.saturating_add(u64::from(chunk.byte_length()));
        if self.kept_bytes_max.is_some_and(|most| passed.bytes > most) {
            passed.kept = None;
        }
        if let Some(kept) = &mut passed.kept {
            kept.push(chunk.clone());
        }
        if passed.listening {
            // One that takes nothing for so long counts as gone.
            let taken = timer::within(wait_ms, writer.pass_on(&chunk)).await;
            passed.listening = matches!(taken, Ok(Ok(())));
        }
        passed.listening || passed.kept.is_some()
    }

    /// When the provider's own time for a stream is over.
    fn provider_end_ms(&self) -> i64 {
        let so_far_ms = self.attempts.last().map_or(0, |attempt| attempt.duration_ms);
        now_ms().saturating_sub(so_far_ms).saturating_add(self.provider.deadlines.stream_ms)
    }

    /// A stream that broke off says something of its provider, unless the request's own time was over.
    fn blame(&self, failure: Failure, provider_end_ms: i64) {
        let failure = match failure {
            Failure::Timeout(_) if now_ms() >= self.ticket.end_ms => Failure::Timeout(Deadline::Budget),
            Failure::Timeout(_) if now_ms() >= provider_end_ms => Failure::Timeout(Deadline::Total),
            other => other,
        };
        providers::stream_failed(&self.context.config, self.provider, failure);
    }
}
