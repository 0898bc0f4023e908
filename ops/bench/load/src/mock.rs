//! A provider in OpenAI's chat format that answers at once, always the same: a gateway's cost is then all its own.

use crate::Fallible;
use crate::mock_stream::{self, Asked};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const HEADERS_MAX: usize = 64;
const BUFFER_BYTES: usize = 16_384;

/// 24 and 30 tokens: at 0.05 credits for a thousand, an ask costs 0.003.
const BODY: &str = r#"{"id":"chatcmpl-mock","object":"chat.completion","created":1760000000,"model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"This is the answer of a mock provider, about thirty tokens long, so that a gateway has something to read, to meter and to pass on to its client."},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":24,"completion_tokens":30,"total_tokens":54}}"#;

pub async fn serve() -> Fallible<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!(r#"{{"ready":true,"address":"{}"}}"#, listener.local_addr()?);
    end_with_stdin();
    loop {
        let (socket, _) = listener.accept().await?;
        tokio::task::spawn_local(async move {
            // A client that leaves is no failure of ours.
            let _left = converse(socket).await;
        });
    }
}

/// Whoever started us holds the other end; when it is gone, so are we.
fn end_with_stdin() {
    std::thread::spawn(|| {
        let _end_or_error = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
}

async fn converse(mut socket: TcpStream) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    loop {
        while let Some(length) = request_length(&buffer) {
            let streamed = Asked::of(buffer.get(..length).unwrap_or_default());
            buffer.drain(..length.min(buffer.len()));
            match streamed {
                Some(asked) => mock_stream::send(&mut socket, &asked).await?,
                None => socket.write_all(answer.as_bytes()).await?,
            }
        }
        if socket.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

/// The bytes of the request at the start of `buffer`; `None` while it is not all there.
fn request_length(buffer: &[u8]) -> Option<usize> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head_bytes) = head.parse(buffer).ok()? else { return None };
    let chunked = head.headers.iter().any(|header| header.name.eq_ignore_ascii_case("transfer-encoding"));
    if chunked {
        const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
        let body = buffer.get(head_bytes..)?;
        // A JSON body holds no line breaks of its own, so the first such line is the last chunk.
        let at = body.windows(LAST_CHUNK.len()).position(|window| window == LAST_CHUNK)?;
        return head_bytes.checked_add(at)?.checked_add(LAST_CHUNK.len());
    }
    let length = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.trim().parse().ok());
    let whole = head_bytes.checked_add(length.unwrap_or(0))?;
    (buffer.len() >= whole).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::request_length;

    #[test]
    fn requests_end_where_they_say() {
        assert_eq!(request_length(b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{"), None);
        assert_eq!(request_length(b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}"), Some(40));
        let chunked = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\nPOST";
        assert_eq!(request_length(chunked), chunked.len().checked_sub(4));
    }
}
