//! A provider below HTTP: it reads a request, writes the bytes it was given, and ends the connection as it was told.
//!
//! Like the other one it is told by marker what to do, so that many requests share it.

use http_tests::background;
use socket2::SockRef;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What comes after the bytes.
#[derive(Clone, Debug)]
pub enum Then {
    /// The connection is reset.
    Reset,
    /// It ends in order.
    Close,
    /// Nothing, until the caller hangs up.
    Hold,
    /// These bytes again and again, until the caller hangs up.
    Repeat(Vec<u8>, Duration),
}

#[derive(Clone, Debug)]
pub struct RawReply {
    pub bytes: Vec<u8>,
    pub then: Then,
}

impl RawReply {
    pub fn of(bytes: impl Into<Vec<u8>>, then: Then) -> Self {
        Self { bytes: bytes.into(), then }
    }

    /// An answer's head with this type, and a beginning of its body.
    pub fn begun(content_type: &str, body: &str, then: Then) -> Self {
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nConnection: close\r\n\r\n{body}");
        Self::of(head, then)
    }
}

#[derive(Clone, Default)]
struct Shared {
    replies: Arc<Mutex<HashMap<String, RawReply>>>,
    /// Calls by marker, and how many of them the caller hung up on.
    calls: Arc<Mutex<Vec<(String, bool)>>>,
}

pub struct RawProvider {
    port: u16,
    shared: Shared,
    server: JoinHandle<()>,
}

impl RawProvider {
    pub async fn start() -> Self {
        let shared = Shared::default();
        let own = shared.clone();
        let (port, server) = background::run(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let port = listener.local_addr().expect("the bound address").port();
            let server = tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, own.clone()));
                }
            });
            (port, server)
        })
        .await;
        Self { port, shared, server }
    }

    pub fn base(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    pub fn script(&self, marker: &str, reply: RawReply) {
        self.shared.replies.lock().expect("the replies").insert(marker.to_owned(), reply);
    }

    /// Calls with the marker, and how many of them the caller hung up on.
    pub fn calls(&self, marker: &str) -> (usize, usize) {
        let calls = self.shared.calls.lock().expect("the calls");
        let own: Vec<bool> = calls.iter().filter(|(own, _)| own == marker).map(|(_, left)| *left).collect();
        (own.len(), own.iter().filter(|left| **left).count())
    }
}

impl Drop for RawProvider {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(mut stream: TcpStream, shared: Shared) {
    let Some(request) = request(&mut stream).await else { return };
    let found = {
        let replies = shared.replies.lock().expect("the replies");
        replies
            .iter()
            .find(|(marker, _)| request.contains(marker.as_str()))
            .map(|(m, r)| (m.clone(), r.clone()))
    };
    let Some((marker, reply)) = found else { return };
    let at = {
        let mut calls = shared.calls.lock().expect("the calls");
        calls.push((marker, false));
        calls.len() - 1
    };
    if stream.write_all(&reply.bytes).await.is_err() {
        return;
    }
    let left = match reply.then {
        Then::Reset => {
            // What was written leaves before the reset does.
            tokio::time::sleep(Duration::from_millis(30)).await;
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a socket that lingers not");
            false
        }
        Then::Close => {
            let _gone = stream.shutdown().await;
            false
        }
        Then::Hold => {
            let mut byte = [0];
            matches!(stream.read(&mut byte).await, Ok(0) | Err(_))
        }
        Then::Repeat(bytes, gap) => {
            while stream.write_all(&bytes).await.is_ok() {
                tokio::time::sleep(gap).await;
            }
            true
        }
    };
    shared.calls.lock().expect("the calls")[at].1 = left;
}

/// A whole request; `None` when the caller broke off before.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 8192];
        let count = stream.read(&mut piece).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        let whole = length.map_or_else(|| body.ends_with("0\r\n\r\n"), |length| body.len() >= length);
        if whole {
            return Some(text);
        }
    }
}
