//! The client's end of a stream: each piece has its time to be taken.

use js_sys::Uint8Array;

use crate::platform::streams::ByteWriter;
use crate::platform::timer::Patience;

pub struct Outlet {
    writer: ByteWriter,
    patience: Patience,
}

impl Outlet {
    pub fn new(writer: ByteWriter) -> Self {
        Self { writer, patience: Patience::default() }
    }

    /// Whether the client took it. One that takes nothing for `wait_ms` counts as gone.
    pub async fn write(&mut self, events: &str, wait_ms: i64) -> bool {
        matches!(self.patience.within(wait_ms, self.writer.write(events.as_bytes())).await, Ok(Ok(())))
    }

    /// The same with bytes that never were in memory of ours.
    pub async fn pass_on(&mut self, chunk: &Uint8Array, wait_ms: i64) -> bool {
        matches!(self.patience.within(wait_ms, self.writer.pass_on(chunk)).await, Ok(Ok(())))
    }

    /// Breaks the stream: a client that is still there sees that it is not whole.
    pub fn abort(self) {
        self.writer.abort();
    }

    /// Ends the stream. A client that is gone already is no error.
    pub async fn close(self) {
        self.writer.close().await;
    }
}
