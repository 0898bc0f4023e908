//! Requests no HTTP library would send: dot segments, doubled slashes, bodies unlike their length.

use crate::client::Target;
use crate::house_rules;
use std::future::Future;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// A few hundred bytes in flight: what a client with a bad connection can take.
const TIGHT_BUFFER_BYTES: usize = 2_048;
const TIGHT_SEGMENT_BYTES: u32 = 100;

/// What came back until the connection closed.
#[derive(Debug)]
pub struct RawReply {
    /// 0 when the connection closed without a status line.
    pub status: u16,
    pub text: String,
}

/// Sends `method path` with `extra` header lines (each with its CRLF) and `body` as they are.
pub async fn send(target: &Target, method: &str, path: &str, extra: &str, body: &[u8]) -> RawReply {
    let mut socket = written(target, method, path, extra, body).await;
    read(target, method, path, &mut socket).await
}

/// The same, and then closes the sending side, as a client does that dies in the middle of its body.
pub async fn half_sent(target: &Target, method: &str, path: &str, extra: &str, body: &[u8]) -> RawReply {
    let mut socket = written(target, method, path, extra, body).await;
    let _ = socket.shutdown().await;
    read(target, method, path, &mut socket).await
}

/// The same, and then resets the connection once `moment` has come. A reset, because the local runtime takes
/// a plain close for the end of the sending side only and goes on answering.
pub async fn leave(target: &Target, path: &str, extra: &str, body: &[u8], moment: impl Future<Output = ()>) {
    let socket = written(target, "POST", path, extra, body).await;
    moment.await;
    let mut seen = [0_u8; 1];
    assert!(socket.try_read(&mut seen).is_err(), "{path}: the reply came before its client left");
    socket.set_zero_linger().expect("the socket is open");
}

/// Sends the request over a connection that holds next to nothing, reads nothing until `moment` has come, and
/// then everything up to the end, orderly or not.
pub async fn read_late(
    target: &Target,
    path: &str,
    extra: &str,
    body: &[u8],
    moment: impl Future<Output = ()>,
) -> String {
    let authority = target.url.trim_start_matches("http://");
    let address: std::net::SocketAddr = authority.parse().expect("an address and a port");
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(TIGHT_BUFFER_BYTES).expect("before it is connected");
    socket.set_tcp_mss(TIGHT_SEGMENT_BYTES).expect("before it is connected");
    socket.connect(&address.into()).expect("workerd listens");
    socket.set_nonblocking(true).expect("a socket for tokio");
    let mut socket = TcpStream::from_std(socket.into()).expect("a socket for tokio");
    let head = format!("POST {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n{extra}\r\n");
    socket.write_all(&[head.as_bytes(), body].concat()).await.expect("the request is small");
    moment.await;
    let mut bytes = Vec::new();
    let read = socket.read_to_end(&mut bytes);
    let _broken_or_whole = tokio::time::timeout(REPLY_TIMEOUT, read).await.expect("the reply ends");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    house_rules::no_secret(path, &text, target);
    text
}

async fn written(target: &Target, method: &str, path: &str, extra: &str, body: &[u8]) -> TcpStream {
    let authority = target.url.trim_start_matches("http://");
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n{extra}\r\n");
    let mut socket = TcpStream::connect(authority).await.expect("workerd listens");
    // A server may refuse by the head alone and close; what it said is what counts, not the write.
    let _ = socket.write_all(head.as_bytes()).await;
    let _ = socket.write_all(body).await;
    socket
}

async fn read(target: &Target, method: &str, path: &str, socket: &mut TcpStream) -> RawReply {
    let mut bytes = Vec::new();
    let read = socket.read_to_end(&mut bytes);
    let _ = tokio::time::timeout(REPLY_TIMEOUT, read)
        .await
        .unwrap_or_else(|_| panic!("{method} {path}: no end of the reply in {REPLY_TIMEOUT:?}"));
    let text = String::from_utf8_lossy(&bytes).into_owned();
    house_rules::no_secret(path, &text, target);
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    RawReply { status, text }
}
