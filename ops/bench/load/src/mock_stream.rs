//! The mock provider's streams: so many chunks, so far apart, as the prompt says. In each is when it was sent.

use crate::event_stream::{STAMP_MARK, clock_us};
use std::fmt::Write;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// How a prompt asks for a stream: `chunks=16 gap_ms=10`.
const CHUNKS: &str = "chunks=";
const GAP_MS: &str = "gap_ms=";
/// Of a stream whose prompt says nothing.
const CHUNKS_STANDARD: u64 = 16;

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n\
    transfer-encoding: chunked\r\n\r\n";
const LAST: &str = "0\r\n\r\n";
/// What each event begins with.
const MEMBERS: &str =
    r#""id":"chatcmpl-mock","object":"chat.completion.chunk","created":1760000000,"model":"gpt-4o-mini""#;

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    chunks: u64,
    gap: Duration,
    usage: bool,
}

impl Asked {
    /// What is asked for by a request's bytes; `None` when it is no stream.
    pub fn of(request: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(request);
        let says =
            |member: &str| [":true", ": true"].iter().any(|value| text.contains(&format!("{member}{value}")));
        if !says("\"stream\"") {
            return None;
        }
        let number = |name: &str| {
            let (_, rest) = text.split_once(name)?;
            rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
        };
        Some(Self {
            chunks: number(CHUNKS).unwrap_or(CHUNKS_STANDARD),
            gap: Duration::from_millis(number(GAP_MS).unwrap_or(0)),
            usage: says("\"include_usage\""),
        })
    }
}

pub async fn send(socket: &mut TcpStream, asked: &Asked) -> std::io::Result<()> {
    socket.write_all(HEAD.as_bytes()).await?;
    let mut text = String::with_capacity(512);
    let mut due = Instant::now();
    for nth in 0..asked.chunks {
        if nth > 0 && !asked.gap.is_zero() {
            due = due.checked_add(asked.gap).unwrap_or(due);
            tokio::time::sleep_until(due).await;
        }
        let mark = char::from(STAMP_MARK);
        let delta = format!(r#"{{"content":"word {mark}{}{mark} "}}"#, clock_us());
        event(&mut text, &choice(&delta, "null"));
        socket.write_all(text.as_bytes()).await?;
    }
    text.clear();
    add_event(&mut text, &choice("{}", r#""stop""#));
    if asked.usage {
        let total = asked.chunks.saturating_add(PROMPT_TOKENS);
        let usage = format!(
            r#"{{{MEMBERS},"choices":[],"usage":{{"prompt_tokens":{PROMPT_TOKENS},"completion_tokens":{},"total_tokens":{total}}}}}"#,
            asked.chunks
        );
        add_event(&mut text, &usage);
    }
    add_event(&mut text, "[DONE]");
    text.push_str(LAST);
    socket.write_all(text.as_bytes()).await
}

/// As many as those of an answer that is not streamed.
const PROMPT_TOKENS: u64 = 24;

fn choice(delta: &str, finish: &str) -> String {
    format!(
        r#"{{{MEMBERS},"choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}]}}"#
    )
}

fn event(text: &mut String, data: &str) {
    text.clear();
    add_event(text, data);
}

/// An event as a transfer chunk of its own.
fn add_event(text: &mut String, data: &str) {
    const AROUND_BYTES: usize = "data: \n\n".len();
    // Writing to a text cannot fail.
    let _written = write!(text, "{:x}\r\ndata: {data}\n\n\r\n", data.len().saturating_add(AROUND_BYTES));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_says_what_the_stream_is() {
        let asked = Asked::of(br#"{"stream": true,"messages":[{"content":"chunks=7 gap_ms=3"}]}"#).unwrap();
        assert_eq!(asked, Asked { chunks: 7, gap: Duration::from_millis(3), usage: false });
        let asked = Asked::of(br#"{"stream":true,"stream_options":{"include_usage":true}}"#).unwrap();
        assert_eq!(asked, Asked { chunks: CHUNKS_STANDARD, gap: Duration::ZERO, usage: true });
        assert_eq!(Asked::of(br#"{"stream":false,"messages":[{"content":"chunks=7"}]}"#), None);
    }
}
