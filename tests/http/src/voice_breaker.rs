//! A cable that can be pulled: a TCP proxy on the loopback that ends its connections in order, resets them, says no more
//! in one direction, or keeps what was sent until later.

use crate::background;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const CHUNK_BYTES: usize = 16 * 1024;

/// One of the two directions of a connection, as its client sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Up,
    Down,
}

/// What becomes of what is sent one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Passes,
    /// It is kept, and goes on when it passes again.
    Kept,
    /// It is lost; the connection stays open.
    Lost,
}

/// How a connection stands.
#[derive(Clone, Copy, Debug)]
struct Line {
    up: Flow,
    down: Flow,
    end: Option<End>,
    /// What each piece waits before it goes on.
    delay: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Fin,
    Reset,
}

const OPEN: Line = Line { up: Flow::Passes, down: Flow::Passes, end: None, delay: Duration::ZERO };

#[derive(Default)]
struct Shared {
    lines: HashMap<usize, watch::Sender<Line>>,
    made: usize,
    /// Until then nobody gets through.
    down_until: Option<Instant>,
    /// What becomes of the next connection, and for how long nobody gets through after it.
    next: Option<(Greeting, Duration)>,
}

/// What becomes of a connection from its first word on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// Its first words are lost, and it is ended.
    Fin,
    Reset,
    /// What it says is lost, and it stays.
    Lost,
    /// What it says is kept.
    Kept,
}

/// A running proxy. Dropping it ends it and its connections.
pub struct Breaker {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    server: JoinHandle<()>,
}

impl Breaker {
    /// In front of `server`, `host:port`; which may be told later to be another.
    pub async fn before(server: SocketAddr) -> Self {
        background::run(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("the bound address");
            let shared = Arc::new(Mutex::new(Shared::default()));
            let served = tokio::spawn(serve(listener, server, shared.clone()));
            Self { address, shared, server: served }
        })
        .await
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().expect("the connections")
    }

    fn change(&self, change: impl Fn(&mut Line)) {
        for line in self.lock().lines.values() {
            line.send_modify(|line| change(line));
        }
    }

    /// Both ends of every connection hear that it is over.
    pub fn fin(&self) {
        self.change(|line| line.end = Some(End::Fin));
    }

    /// Both ends of every connection are reset.
    pub fn reset(&self) {
        self.change(|line| line.end = Some(End::Reset));
    }

    /// What is sent that way on the connections of now is lost, and nobody is told.
    pub fn silence(&self, way: Way) {
        self.change(|line| *line.flow(way) = Flow::Lost);
    }

    /// What is sent upwards on the connections of now is kept; their clients may go, and the server hears nothing of it.
    pub fn keep(&self) {
        self.change(|line| line.up = Flow::Kept);
    }

    /// What was kept goes on.
    pub fn release(&self) {
        self.change(|line| {
            if line.up == Flow::Kept {
                line.up = Flow::Passes;
            }
        });
    }

    /// Every piece waits so long from now on, on the connections of now.
    pub fn delay(&self, delay: Duration) {
        self.change(|line| line.delay = delay);
    }

    /// For so long nobody gets through: who comes is reset.
    pub fn down_for(&self, gap: Duration) {
        self.lock().down_until = Some(Instant::now() + gap);
    }

    /// The next connection is met so; from then on nobody gets through for the gap.
    pub fn greet(&self, greeting: Greeting, gap: Duration) {
        self.lock().next = Some((greeting, gap));
    }
}

impl Drop for Breaker {
    fn drop(&mut self) {
        self.server.abort();
        self.fin();
    }
}

impl Line {
    const fn flow(&mut self, way: Way) -> &mut Flow {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }

    const fn of(&self, way: Way) -> Flow {
        match way {
            Way::Up => self.up,
            Way::Down => self.down,
        }
    }
}

async fn serve(listener: TcpListener, server: SocketAddr, shared: Arc<Mutex<Shared>>) {
    while let Ok((client, _)) = listener.accept().await {
        let _ = client.set_nodelay(true);
        let now = Instant::now();
        let greeting = {
            let mut shared = shared.lock().expect("the connections");
            if shared.down_until.is_some_and(|until| now < until) {
                reset(&client);
                continue;
            }
            shared.next.take().map(|(greeting, gap)| {
                shared.down_until = Some(now + gap);
                greeting
            })
        };
        match greeting {
            Some(Greeting::Fin) => drop(tokio::spawn(swallow(client, false))),
            Some(Greeting::Reset) => drop(tokio::spawn(swallow(client, true))),
            Some(Greeting::Lost) => drop(tokio::spawn(carry(client, server, shared.clone(), Flow::Lost))),
            Some(Greeting::Kept) => drop(tokio::spawn(carry(client, server, shared.clone(), Flow::Kept))),
            None => drop(tokio::spawn(carry(client, server, shared.clone(), Flow::Passes))),
        }
    }
}

fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

/// Takes what comes first, and goes away.
async fn swallow(mut client: TcpStream, is_reset: bool) {
    let mut bytes = [0; CHUNK_BYTES];
    let _ = client.read(&mut bytes).await;
    if is_reset {
        reset(&client);
    }
}

async fn carry(client: TcpStream, server: SocketAddr, shared: Arc<Mutex<Shared>>, up: Flow) {
    let Ok(upstream) = TcpStream::connect(server).await else {
        return reset(&client);
    };
    let _ = upstream.set_nodelay(true);
    let (sender, line) = watch::channel(Line { up, ..OPEN });
    let id = {
        let mut shared = shared.lock().expect("the connections");
        shared.made += 1;
        let id = shared.made;
        shared.lines.insert(id, sender);
        id
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = upstream.into_split();
    let up = pass(from_client, to_server, line.clone(), Way::Up);
    let down = pass(from_server, to_client, line, Way::Down);
    let ((client_read, server_write), (server_read, client_write)) = tokio::join!(up, down);
    let sender = shared.lock().expect("the connections").lines.remove(&id);
    let was_reset = sender.is_some_and(|sender| sender.borrow().end == Some(End::Reset));
    let halves = [client_read.reunite(client_write).ok(), server_read.reunite(server_write).ok()];
    if was_reset {
        halves.iter().flatten().for_each(reset);
    }
}

/// Carries one direction until its sender has ended it or the line was told to end.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut line: watch::Receiver<Line>,
    way: Way,
) -> (OwnedReadHalf, OwnedWriteHalf) {
    let mut bytes = vec![0; CHUNK_BYTES];
    let mut kept = Vec::new();
    let mut ended = false;
    loop {
        let now = *line.borrow_and_update();
        if now.end.is_some() {
            break;
        }
        if now.of(way) == Flow::Passes && !kept.is_empty() {
            if to.write_all(&std::mem::take(&mut kept)).await.is_err() {
                break;
            }
            continue;
        }
        // Where something is lost or kept, a goodbye is too: the other side does not hear that this one went away.
        if ended && now.up == Flow::Passes && now.down == Flow::Passes {
            let _ = to.shutdown().await;
            break;
        }
        let read = tokio::select! {
            changed = line.changed() => if changed.is_err() { break } else { continue },
            read = from.read(&mut bytes), if !ended => read.unwrap_or(0),
        };
        ended = read == 0;
        let flow = line.borrow().of(way);
        match flow {
            Flow::Lost => {}
            Flow::Kept => kept.extend(&bytes[..read]),
            Flow::Passes if !kept.is_empty() => kept.extend(&bytes[..read]),
            Flow::Passes => {
                tokio::time::sleep(now.delay).await;
                if to.write_all(&bytes[..read]).await.is_err() {
                    break;
                }
            }
        }
    }
    (from, to)
}
