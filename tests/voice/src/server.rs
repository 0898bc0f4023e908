//! The routes of a voice session, as the Worker has them: `POST /api/voice/sessions`, `GET /api/voice/sessions/:id`, its
//! turns, and its socket at `…/ws`.

use crate::calls::Provider;
use crate::session::{Out, Told, ToldTo, begin};
use actors::shared::TenantId;
use actors::voice::{Command, Message, Open, Reply, Settings, Wire};
use futures::{SinkExt, StreamExt};
use http_tests::background;
use http_tests::voice_wire::{PING, PONG, PROTOCOL};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

const SESSIONS: &str = "/api/voice/sessions";
const TICKET_LIVES: Duration = Duration::from_secs(30);
const HEAD_BYTES_MAX: usize = 16 * 1024;
const PAGE_TURNS: i64 = 100;

#[derive(Clone)]
struct Known {
    to: ToldTo,
    /// Digest of its ticket, and until when it is good; none once it was used.
    ticket: Option<(String, Instant)>,
}

#[derive(Clone)]
struct Shared {
    sessions: Arc<Mutex<HashMap<String, Known>>>,
    sockets: Arc<AtomicU64>,
    settings: Settings,
    provider: Provider,
}

/// A running server. Dropping it ends it.
pub struct Server {
    address: SocketAddr,
    shared: Shared,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn tenant() -> TenantId {
    TenantId::Email("me@x.io".to_owned())
}

fn digest(text: &str) -> String {
    format!("{:x}", Sha256::digest(text))
}

impl Server {
    /// `provider` is the base of its URL.
    pub async fn start(settings: Settings, provider: String) -> Self {
        background::run(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("the bound address");
            let runtime = tokio::runtime::Handle::current();
            let shared = Shared {
                sessions: Arc::default(),
                sockets: Arc::default(),
                settings,
                provider: Provider { base: provider, http: reqwest::Client::new(), runtime },
            };
            let task = tokio::spawn(serve(listener, shared.clone()));
            Self { address, shared, task }
        })
        .await
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A session as `POST` opens one.
    pub fn open(&self) -> Value {
        self.shared.open()
    }

    pub async fn view(&self, session: &str) -> Value {
        self.shared.view(session).await.expect("a session")
    }

    pub async fn turns(&self, session: &str) -> Vec<Value> {
        self.shared.turns(session).await.expect("a session")
    }

    /// The session's memory is lost, with its sockets and calls.
    pub async fn kill(&self, session: &str) {
        let (done, gone) = oneshot::channel();
        let known = self.shared.known(session).expect("a session");
        known.to.send(Told::Dies(done)).expect("the session lives");
        gone.await.expect("the session lives");
    }
}

impl Shared {
    fn known(&self, session: &str) -> Option<Known> {
        self.sessions.lock().expect("the sessions").get(session).cloned()
    }

    fn open(&self) -> Value {
        let session = uuid::Uuid::new_v4().simple().to_string();
        let ticket = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        let open = Open {
            session: session.clone(),
            tenant: tenant(),
            api_key: None,
            origin: None,
            settings: self.settings.clone(),
        };
        let known = Known {
            to: begin(open, self.provider.clone()),
            ticket: Some((digest(&ticket), Instant::now() + TICKET_LIVES)),
        };
        self.sessions.lock().expect("the sessions").insert(session.clone(), known);
        let url = format!("{SESSIONS}/{session}/ws");
        json!({"session": session, "ticket": ticket, "url": url})
    }

    async fn ask(&self, session: &str, command: Command) -> Option<Reply> {
        let (answer, answered) = oneshot::channel();
        self.known(session)?.to.send(Told::Ask(command, answer)).ok()?;
        answered.await.ok()
    }

    async fn view(&self, session: &str) -> Option<Value> {
        match self.ask(session, Command::Read { tenant: tenant() }).await? {
            Reply::Session(view) => serde_json::to_value(*view).ok(),
            _ => None,
        }
    }

    async fn turns(&self, session: &str) -> Option<Vec<Value>> {
        let command = Command::Turns { tenant: tenant(), after: 0, limit: PAGE_TURNS };
        match self.ask(session, command).await? {
            Reply::Turns(page) => page.items.iter().map(|turn| serde_json::to_value(turn).ok()).collect(),
            _ => None,
        }
    }

    /// Uses the ticket up; its digest, if it was good.
    fn use_ticket(&self, session: &str, ticket: &str) -> Option<String> {
        let mut sessions = self.sessions.lock().expect("the sessions");
        let known = sessions.get_mut(session)?;
        let is_good = |(kept, until): &(String, Instant)| *kept == digest(ticket) && Instant::now() < *until;
        known.ticket.take_if(|kept| is_good(kept)).map(|(digest, _)| digest)
    }
}

/// The head of a request, as far as it is looked at.
struct Head {
    method: String,
    path: String,
    headers: HashMap<String, String>,
}

impl Head {
    async fn read(stream: &mut TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            if bytes.len() > HEAD_BYTES_MAX {
                return None;
            }
            bytes.push(stream.read_u8().await.ok()?);
        }
        let text = String::from_utf8(bytes).ok()?;
        let mut lines = text.split("\r\n");
        let mut first = lines.next()?.split(' ');
        let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Some(Self { method, path, headers })
    }
}

async fn serve(listener: TcpListener, shared: Shared) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        tokio::spawn(async move { connection(stream, &shared).await });
    }
}

async fn connection(mut stream: TcpStream, shared: &Shared) -> Option<()> {
    let _ = stream.set_nodelay(true);
    let head = Head::read(&mut stream).await?;
    let rest = head.path.strip_prefix(SESSIONS)?.trim_start_matches('/').to_owned();
    let (session, part) = rest.split_once('/').unwrap_or((rest.as_str(), ""));
    let reply = match (head.method.as_str(), part) {
        ("POST", "") if session.is_empty() => Some(shared.open()),
        ("GET", "") => shared.view(session).await,
        ("GET", "turns") => shared.turns(session).await.map(Value::Array),
        ("GET", "ws") => return upgrade(stream, &head, session, shared).await,
        // For clients whose tests cannot reach in: what kills a process does.
        ("POST", "kill") => {
            let (done, gone) = oneshot::channel();
            shared.known(session)?.to.send(Told::Dies(done)).ok()?;
            gone.await.ok().map(|()| Value::Null)
        }
        _ => None,
    };
    let (status, body) = reply.map_or(("404 Not Found", Value::Null), |body| ("200 OK", body));
    answer(&mut stream, status, &body.to_string()).await
}

async fn answer(stream: &mut TcpStream, status: &str, body: &str) -> Option<()> {
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await.ok()
}

async fn upgrade(mut stream: TcpStream, head: &Head, session: &str, shared: &Shared) -> Option<()> {
    let known = shared.known(session)?;
    let offered: Vec<&str> = head.headers.get("sec-websocket-protocol")?.split(", ").collect();
    let ticket = offered.iter().find_map(|offer| offer.strip_prefix("cog.ticket."));
    let ticket_digest = match ticket.map(|ticket| shared.use_ticket(session, ticket)) {
        Some(None) => return answer(&mut stream, "401 Unauthorized", "{}").await,
        good => good.flatten(),
    };
    let accept = derive_accept_key(head.headers.get("sec-websocket-key")?.as_bytes());
    let text = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {accept}\r\nsec-websocket-protocol: {PROTOCOL}\r\n\r\n"
    );
    stream.write_all(text.as_bytes()).await.ok()?;
    let stream = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    let socket = shared.sockets.fetch_add(1, Ordering::Relaxed);
    let (out, outs) = mpsc::unbounded_channel();
    known.to.send(Told::Opened { socket, ticket_digest, out }).ok()?;
    carry(stream, socket, outs, &known.to).await;
    known.to.send(Told::Gone { socket }).ok()
}

/// Carries messages both ways until one side ends it.
async fn carry(
    mut stream: WebSocketStream<TcpStream>,
    socket: u64,
    mut outs: mpsc::UnboundedReceiver<Out>,
    to: &ToldTo,
) {
    loop {
        let came = tokio::select! {
            out = outs.recv() => {
                let sent = match out {
                    Some(Out::Frame(Wire::Text(text))) => stream.send(Frame::text(text)).await,
                    Some(Out::Frame(Wire::Binary(bytes))) => stream.send(Frame::binary(bytes)).await,
                    Some(Out::Close(code)) => {
                        let frame = CloseFrame { code: code.into(), reason: "".into() };
                        stream.close(Some(frame)).await
                    }
                    Some(Out::Cut) | None => {
                        let _ = stream.get_ref().set_zero_linger();
                        return;
                    }
                };
                if sent.is_err() {
                    return;
                }
                continue;
            }
            came = stream.next() => came,
        };
        let message = match came {
            Some(Ok(Frame::Text(text))) if text.as_str() == PING => {
                let _ = to.send(Told::Pinged { socket });
                if stream.send(Frame::text(PONG)).await.is_err() {
                    return;
                }
                continue;
            }
            Some(Ok(Frame::Text(text))) => Message::Text(text.to_string()),
            Some(Ok(Frame::Binary(bytes))) => Message::Binary(bytes.to_vec()),
            Some(Ok(_)) => continue,
            Some(Err(_)) | None => return,
        };
        let _ = to.send(Told::Message { socket, message });
    }
}
