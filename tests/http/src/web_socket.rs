//! A WebSocket client: opens one socket, reads it message by message, and holds what opens it against the rules that
//! hold for every reply. A request that is to be refused is better sent by `refusable`, which is an ordinary call.

use crate::client::{Call, Client, Target};
use crate::{contract, house_rules, tokens};
use futures::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::Value;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// How long a message may take that must come; loaded machines are slow.
const MESSAGE_BOUND: Duration = Duration::from_secs(20);
/// How long nothing may come before it is taken that nothing will.
const QUIET: Duration = Duration::from_millis(400);
const PROTOCOL_HEADER: &str = "sec-websocket-protocol";

/// A socket to be.
#[must_use]
pub struct SocketCall {
    target: Target,
    path: String,
    headers: HeaderMap,
}

/// An open socket.
pub struct Socket {
    stream: WebSocketStream<TcpStream>,
    target: Target,
    path: String,
    /// The head of the answer that opened it.
    pub headers: HeaderMap,
}

/// How a socket ended: the code and the reason that its server gave, or that it was cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    With(u16, String),
    Cut,
}

/// What came.
#[derive(Debug)]
enum Came {
    Text(String),
    End(Ended),
}

/// The same request as an ordinary one, whose refusal is read and judged whole. It must not succeed.
pub fn refusable(client: &Client, path: &str) -> Call {
    client
        .get(path)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
}

impl SocketCall {
    /// `path` may hold a query.
    pub fn new(client: &Client, path: &str) -> Self {
        let call = Self { target: client.target().clone(), path: path.to_owned(), headers: HeaderMap::new() };
        call.header("cf-connecting-ip", client.address())
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header name");
        self.headers.insert(name, HeaderValue::from_str(value).expect("a header value"));
        self
    }

    pub fn origin(self, origin: &str) -> Self {
        self.header("origin", origin)
    }

    pub fn user(self, email: &str) -> Self {
        self.header("authorization", &format!("Bearer {}", tokens::user_token(email)))
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub fn protocols(self, protocols: &str) -> Self {
        self.header(PROTOCOL_HEADER, protocols)
    }

    /// With a ticket, as a page sends it.
    pub fn ticket(self, protocol: &str, ticket: &str) -> Self {
        self.protocols(&format!("{protocol}, cog.ticket.{ticket}"))
    }

    pub async fn open(self) -> Socket {
        let path = self.path.clone();
        self.try_open().await.unwrap_or_else(|error| panic!("{path}: not opened: {error:?}"))
    }

    /// The status of a refusal.
    ///
    /// # Errors
    /// What the client library says; a refusal's status is in it.
    pub async fn try_open(self) -> Result<Socket, Error> {
        let authority = self.target.url.trim_start_matches("http://").to_owned();
        let mut request = format!("ws://{authority}{}", self.path).into_client_request()?;
        request.headers_mut().extend(self.headers);
        let stream = TcpStream::connect(&authority).await.map_err(Error::Io)?;
        let (stream, response) = client_async(request, stream).await?;
        let headers = response.headers().clone();
        house_rules::check_head(&self.path, &headers, &self.target);
        let status = response.status().as_u16();
        contract::check_head(&Method::GET, &self.path, status, &headers, &self.target).await;
        Ok(Socket { stream, target: self.target, path: self.path, headers })
    }
}

/// The status that a socket was refused with.
pub fn refused_with(error: &Error) -> Option<u16> {
    match error {
        Error::Http(response) => Some(response.status().as_u16()),
        _ => None,
    }
}

impl Socket {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    async fn came(&mut self) -> Came {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => {
                    let text = text.to_string();
                    house_rules::no_secret(&self.path, &text, &self.target);
                    return Came::Text(text);
                }
                Some(Ok(Message::Close(frame))) => return Came::End(ended(frame)),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Came::End(Ended::Cut),
            }
        }
    }

    async fn must_come(&mut self) -> Came {
        let path = self.path.clone();
        let came = tokio::time::timeout(MESSAGE_BOUND, self.came()).await;
        came.unwrap_or_else(|_| panic!("{path}: nothing came within {MESSAGE_BOUND:?}"))
    }

    /// The next message, which must be text.
    pub async fn text(&mut self) -> String {
        match self.must_come().await {
            Came::Text(text) => text,
            Came::End(ended) => panic!("{}: ended: {ended:?}", self.path),
        }
    }

    /// The next message, which must be JSON.
    pub async fn json(&mut self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("no JSON ({error}): {text}"))
    }

    /// The next message, when one comes soon.
    pub async fn soon(&mut self) -> Option<Value> {
        match tokio::time::timeout(QUIET, self.came()).await {
            Ok(Came::Text(text)) => Some(serde_json::from_str(&text).expect("JSON")),
            Ok(Came::End(ended)) => panic!("{}: ended: {ended:?}", self.path),
            Err(_) => None,
        }
    }

    /// How it ends; what else comes is passed over.
    pub async fn ended(&mut self) -> Ended {
        loop {
            if let Came::End(ended) = self.must_come().await {
                return ended;
            }
        }
    }

    /// The same where it may take long.
    pub async fn ended_within(&mut self, bound: Duration) -> Ended {
        let path = self.path.clone();
        let ended = async {
            loop {
                if let Came::End(ended) = self.came().await {
                    return ended;
                }
            }
        };
        tokio::time::timeout(bound, ended).await.unwrap_or_else(|_| panic!("{path}: open after {bound:?}"))
    }

    pub async fn send(&mut self, text: &str) {
        self.stream.send(Message::text(text)).await.expect("the socket takes a message");
    }

    pub async fn send_json(&mut self, message: &Value) {
        self.send(&message.to_string()).await;
    }

    pub async fn send_binary(&mut self, bytes: Vec<u8>) {
        self.stream.send(Message::binary(bytes)).await.expect("the socket takes a message");
    }

    /// Says goodbye, and hears the answer.
    pub async fn close(mut self) -> Ended {
        self.stream.close(None).await.expect("the socket takes a goodbye");
        self.ended().await
    }

    /// Goes away without a word: the connection is reset.
    pub fn cut(self) {
        self.stream.get_ref().set_zero_linger().expect("the socket is open");
    }
}

fn ended(frame: Option<CloseFrame>) -> Ended {
    frame.map_or(Ended::Cut, |frame| Ended::With(frame.code.into(), frame.reason.to_string()))
}
