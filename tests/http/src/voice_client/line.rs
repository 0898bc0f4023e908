//! One connection of a client.

use crate::voice_wire::{PONG, PROTOCOL};
use futures::{SinkExt, StreamExt};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// Where and how a session is reached.
#[derive(Clone, Debug)]
pub struct Dial {
    /// A breaker's, or the server's own.
    pub address: SocketAddr,
    /// What the server takes itself for.
    pub host: String,
    pub path: String,
    pub session: String,
    pub ticket: String,
    pub headers: Vec<(String, String)>,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Opened with a ticket; the welcome is to come.
    Welcome,
    /// `resume` was said.
    Resuming,
    /// What was missed is said again.
    Replaying,
    Live,
}

/// What comes by it.
pub enum Came {
    Text(String),
    Binary(Vec<u8>),
    /// The close code, or none when it was cut.
    End(Option<u16>),
    /// Nothing that a client looks at.
    Nothing,
}

pub struct Line {
    stream: WebSocketStream<TcpStream>,
    phase: Phase,
    dialed: Instant,
    heard: Instant,
    pinged: Instant,
    /// What comes is lost.
    pub deaf: bool,
}

impl Line {
    /// # Errors
    /// The status that it was refused with, if it was.
    pub async fn open(dial: &Dial, by_ticket: bool, bound: Duration) -> Result<Self, Option<u16>> {
        let dialed = Instant::now();
        let mut request =
            format!("ws://{}{}", dial.host, dial.path).into_client_request().map_err(|_| None)?;
        let protocols =
            if by_ticket { format!("{PROTOCOL}, cog.ticket.{}", dial.ticket) } else { PROTOCOL.to_owned() };
        let protocols = [("sec-websocket-protocol".to_owned(), protocols)];
        for (name, value) in dial.headers.iter().chain(&protocols) {
            let name: HeaderName = name.parse().expect("a header name");
            request.headers_mut().insert(name, HeaderValue::from_str(value).expect("a header value"));
        }
        let opening = async {
            let stream = TcpStream::connect(dial.address).await.map_err(Error::Io)?;
            let _ = stream.set_nodelay(true);
            client_async(request, stream).await
        };
        let opened = tokio::time::timeout(bound, opening).await.map_err(|_| None)?;
        let (stream, response) = opened.map_err(|error| match error {
            Error::Http(response) => Some(response.status().as_u16()),
            _ => None,
        })?;
        let chosen = response.headers().get("sec-websocket-protocol").and_then(|value| value.to_str().ok());
        assert_eq!(chosen, Some(PROTOCOL), "the subprotocol that the server chose");
        let phase = if by_ticket { Phase::Welcome } else { Phase::Resuming };
        let now = Instant::now();
        Ok(Self { stream, phase, dialed, heard: now, pinged: now, deaf: false })
    }

    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// New messages may be said.
    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live | Phase::Replaying)
    }

    /// The server has said where it is.
    pub fn goes_on(&mut self) {
        self.phase = Phase::Replaying;
    }

    /// All that was missed is here.
    pub fn is_whole(&mut self) {
        self.phase = Phase::Live;
    }

    pub fn since_dialed(&self) -> Duration {
        self.dialed.elapsed()
    }

    pub fn silent_for(&self) -> Duration {
        self.heard.elapsed()
    }

    /// Whether it is time to ping, which is then taken as done.
    pub fn wants_ping(&mut self, heartbeat: Duration) -> bool {
        let due = self.is_live() && self.pinged.elapsed() >= heartbeat;
        if due {
            self.pinged = Instant::now();
        }
        due
    }

    pub async fn send(&mut self, message: Message) -> bool {
        self.stream.send(message).await.is_ok()
    }

    pub async fn came(&mut self) -> Came {
        let message = self.stream.next().await;
        if self.deaf && matches!(message, Some(Ok(_))) {
            return Came::Nothing;
        }
        self.heard = Instant::now();
        match message {
            Some(Ok(Message::Text(text))) if text.as_str() == PONG => Came::Nothing,
            Some(Ok(Message::Text(text))) => Came::Text(text.to_string()),
            Some(Ok(Message::Binary(bytes))) => Came::Binary(bytes.to_vec()),
            Some(Ok(Message::Close(frame))) => Came::End(frame.map(|frame| frame.code.into())),
            Some(Ok(_)) => Came::Nothing,
            Some(Err(_)) | None => Came::End(None),
        }
    }
}
