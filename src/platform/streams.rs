//! Byte streams of the runtime: reading one with limits, and writing one while a client reads it.

use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use web_sys::{ReadableStream, ReadableStreamDefaultReader, WritableStreamDefaultWriter};

use super::task::{settled, settled_read};

#[wasm_bindgen]
extern "C" {
    /// The runtime's own byte pipe: unlike the standard one it never buffers a piece, and its writes fail
    /// once the reader is gone.
    #[wasm_bindgen(extends = js_sys::Object)]
    type IdentityTransformStream;

    #[wasm_bindgen(constructor, catch)]
    fn new() -> Result<IdentityTransformStream, JsValue>;

    #[wasm_bindgen(method, getter)]
    fn readable(this: &IdentityTransformStream) -> ReadableStream;

    #[wasm_bindgen(method, getter)]
    fn writable(this: &IdentityTransformStream) -> web_sys::WritableStream;
}

/// The stream broke: the other side went away or sent something that is not bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

/// Reads a byte stream piece by piece.
pub struct ByteReader {
    reader: ReadableStreamDefaultReader,
}

impl ByteReader {
    /// # Errors
    /// [`Broken`] when the stream is being read by somebody else.
    pub fn new(stream: &ReadableStream) -> Result<Self, Broken> {
        let reader = ReadableStreamDefaultReader::new(stream).map_err(|_| Broken)?;
        Ok(Self { reader })
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// [`Broken`] when the sender broke off.
    pub async fn next(&self) -> Result<Option<Uint8Array>, Broken> {
        let read = settled_read(&self.reader.read()).await.map_err(|_| Broken)?;
        if read.is_undefined() {
            return Ok(None);
        }
        read.dyn_into::<Uint8Array>().map(Some).map_err(|_| Broken)
    }

    /// Tells the sender to stop. Nothing waits for its answer.
    pub fn cancel(&self) {
        let cancelled = self.reader.cancel();
        // A rejection would be reported as unhandled; there is nobody left to tell.
        wasm_bindgen_futures::spawn_local(async move {
            let _ignored = settled(&cancelled).await;
        });
    }
}

/// The writing end of a response that is still being made.
pub struct ByteWriter {
    writer: WritableStreamDefaultWriter,
}

/// A pipe: what is written to the one comes out of the other.
///
/// # Errors
/// [`Broken`] when the runtime refuses to make one.
pub fn pipe() -> Result<(ByteWriter, ReadableStream), Broken> {
    let pipe = IdentityTransformStream::new().map_err(|_| Broken)?;
    let writer = pipe.writable().get_writer().map_err(|_| Broken)?;
    Ok((ByteWriter { writer }, pipe.readable()))
}

impl ByteWriter {
    /// Writes a piece, and waits until the reader took it.
    ///
    /// # Errors
    /// [`Broken`] when the reader is gone.
    pub async fn write(&self, bytes: &[u8]) -> Result<(), Broken> {
        self.pass_on(&Uint8Array::from(bytes)).await
    }

    /// The same with bytes that never were in memory of ours.
    ///
    /// # Errors
    /// [`Broken`] when the reader is gone.
    pub async fn pass_on(&self, chunk: &Uint8Array) -> Result<(), Broken> {
        let written = settled(&self.writer.write_with_chunk(chunk)).await;
        written.map(|_| ()).map_err(|_| Broken)
    }

    /// Breaks the stream: a reader that is still there sees that it is not whole.
    pub fn abort(self) {
        let aborted = self.writer.abort();
        wasm_bindgen_futures::spawn_local(async move {
            let _ignored = settled(&aborted).await;
        });
    }

    /// Ends the stream. A reader that is gone already is no error.
    pub async fn close(self) {
        let _ignored = settled(&self.writer.close()).await;
    }
}

/// Reads a whole stream of at most `bytes_max` bytes; `None` when there is more.
///
/// # Errors
/// [`Broken`] when the sender broke off.
pub async fn read_all(stream: &ReadableStream, bytes_max: usize) -> Result<Option<Vec<u8>>, Broken> {
    let reader = ByteReader::new(stream)?;
    let mut all = Vec::new();
    while let Some(piece) = reader.next().await? {
        let piece = piece.to_vec();
        if all.len().saturating_add(piece.len()) > bytes_max {
            reader.cancel();
            return Ok(None);
        }
        all.extend_from_slice(&piece);
    }
    Ok(Some(all))
}
