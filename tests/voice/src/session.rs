//! One session on a thread of its own: its database, its sockets, its calls, its one alarm. Memory can be lost, sockets and
//! calls with it; the database and the tenant's books are what stays.

use crate::calls::{Fed, Provider, Running};
use actors::shared::{Micro, Units};
use actors::sqlite::Sqlite;
use actors::voice::limits::close;
use actors::voice::{
    Action, Ask, Asked, CallEnd, CallId, Command, Down, Message, Open, Reply, Socket, TenantAnswer, Used,
    Wire, handle,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};

/// What a session hears.
pub enum Told {
    Command(Command),
    /// A socket was opened; with the digest of its ticket, if it came with one.
    Opened {
        socket: u64,
        ticket_digest: Option<String>,
        out: mpsc::UnboundedSender<Out>,
    },
    Message {
        socket: u64,
        message: Message,
    },
    Pinged {
        socket: u64,
    },
    Gone {
        socket: u64,
    },
    Ask(Command, oneshot::Sender<Reply>),
    /// Memory is lost, with the sockets and the calls.
    Dies(oneshot::Sender<()>),
}

pub type ToldTo = Sender<Told>;

/// What goes down a socket.
pub enum Out {
    Frame(Wire),
    Close(u16),
    /// Its process is gone.
    Cut,
}

/// The tenant grants all, and remembers what it was charged.
const CREDITS: Micro = Micro(1_000_000_000_000);
const IDLE: Duration = Duration::from_secs(3_600);

#[derive(Default)]
struct Line {
    out: Option<mpsc::UnboundedSender<Out>>,
    epoch: Option<u32>,
    is_first: bool,
    pinged_ms: Option<i64>,
}

struct Session {
    sql: Sqlite,
    rate_hz: u32,
    provider: Provider,
    to: ToldTo,
    lines: HashMap<u64, Line>,
    running: BTreeMap<CallId, Running>,
    wake_ms: Option<i64>,
    settled: BTreeMap<String, (Micro, Used)>,
}

/// Begins a session.
pub fn begin(open: Open, provider: Provider) -> ToldTo {
    let (to, told) = channel();
    let sender = to.clone();
    std::thread::spawn(move || {
        let mut session = Session {
            sql: Sqlite::in_memory().expect("a database"),
            rate_hz: open.settings.sample_rate_hz,
            provider,
            to: sender,
            lines: HashMap::new(),
            running: BTreeMap::new(),
            wake_ms: None,
            settled: BTreeMap::new(),
        };
        session.run(Command::Open(Box::new(open)), None);
        session.serve(&told);
    });
    to
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    i64::try_from(now.as_millis()).expect("a time")
}

fn token() -> String {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}

impl Session {
    fn serve(&mut self, told: &Receiver<Told>) {
        loop {
            let wait_ms = self.wake_ms.map(|at_ms| u64::try_from(at_ms - now_ms()).unwrap_or(0));
            match told.recv_timeout(wait_ms.map_or(IDLE, Duration::from_millis)) {
                Ok(told) => self.hear(told),
                Err(RecvTimeoutError::Timeout) if self.wake_ms.is_some() => {
                    self.wake_ms = None;
                    let newest = self.lines.values().filter(|line| line.epoch.is_some());
                    let pinged_ms = newest.max_by_key(|line| line.epoch).and_then(|line| line.pinged_ms);
                    self.run(Command::Alarm { pinged_ms }, None);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn hear(&mut self, told: Told) {
        match told {
            Told::Command(command) => drop(self.run(command, None)),
            Told::Opened { socket, ticket_digest, out } => {
                let is_first = ticket_digest.is_none();
                self.lines.insert(socket, Line { out: Some(out), is_first, ..Line::default() });
                if let Some(ticket_digest) = ticket_digest {
                    self.run(Command::Attach { ticket_digest, token: token() }, Some(socket));
                }
            }
            Told::Message { socket, message } => {
                let Some(line) = self.lines.get_mut(&socket) else { return };
                if std::mem::take(&mut line.is_first) {
                    self.run(Command::First { message, token: token() }, Some(socket));
                } else if let Some(epoch) = line.epoch {
                    self.run(Command::Message { epoch, message }, None);
                }
            }
            Told::Pinged { socket } => {
                if let Some(line) = self.lines.get_mut(&socket) {
                    line.pinged_ms = Some(now_ms());
                }
            }
            Told::Gone { socket } => {
                if let Some(epoch) = self.lines.remove(&socket).and_then(|line| line.epoch) {
                    self.run(Command::Detached { epoch }, None);
                }
            }
            Told::Ask(command, answer) => {
                let reply = self.run(command, None);
                let _ = answer.send(reply);
            }
            Told::Dies(done) => {
                for running in std::mem::take(&mut self.running).into_values() {
                    running.task.abort();
                }
                for line in self.lines.drain().filter_map(|(_, line)| line.out) {
                    let _ = line.send(Out::Cut);
                }
                self.run(Command::Woke { live: None }, None);
                let _ = done.send(());
            }
        }
    }

    fn run(&mut self, command: Command, asking: Option<u64>) -> Reply {
        let outcome = self.sql.transaction(|sql| handle(sql, command, now_ms()));
        let outcome = outcome.expect("the session takes the command");
        for action in outcome.actions {
            self.perform(action, asking);
        }
        outcome.reply
    }

    fn line_of(&self, socket: Socket, asking: Option<u64>) -> Option<u64> {
        match socket {
            Socket::Asking => asking,
            Socket::Epoch(epoch) => {
                self.lines.iter().find(|(_, line)| line.epoch == Some(epoch)).map(|(socket, _)| *socket)
            }
        }
    }

    fn out(&self, socket: Socket, asking: Option<u64>, out: Out) {
        let line = self.line_of(socket, asking).and_then(|socket| self.lines.get(&socket));
        if let Some(sender) = line.and_then(|line| line.out.as_ref()) {
            let _ = sender.send(out);
        }
    }

    fn perform(&mut self, action: Action, asking: Option<u64>) {
        match action {
            Action::Bind { epoch } => {
                if let Some(line) = asking.and_then(|socket| self.lines.get_mut(&socket)) {
                    line.epoch = Some(epoch);
                }
            }
            Action::Send { to, down } => self.out(to, asking, Out::Frame(Down::encode(&down))),
            Action::Close { socket, code } => self.out(socket, asking, Out::Close(code)),
            Action::Call { call, input, .. } => {
                let running = self.provider.call(call, input, self.rate_hz, self.to.clone());
                self.running.insert(call, running);
            }
            Action::Feed { call, part, text } => self.feed(call, Fed::Part(part, text)),
            Action::FeedEnd { call } => self.feed(call, Fed::All),
            Action::Cancel { call } => {
                if let Some(running) = self.running.remove(&call) {
                    running.task.abort();
                }
                let ended = CallEnd::Cancelled { units: Units::default() };
                let _ = self.to.send(Told::Command(Command::CallEnded { call, ended }));
            }
            Action::Pause { turn } => self.pause(turn, true),
            Action::GoOn { turn } => self.pause(turn, false),
            Action::Ask(ask) => self.tenant(ask),
            Action::WakeBy { at_ms } => {
                self.wake_ms = Some(self.wake_ms.map_or(at_ms, |known_ms| known_ms.min(at_ms)));
            }
            Action::Over => {
                let asking = self.lines.values().filter(|line| line.epoch.is_none());
                for out in asking.filter_map(|line| line.out.as_ref()) {
                    let _ = out.send(Out::Close(close::NOT_RESUMED));
                }
            }
            Action::Forget => {}
        }
    }

    fn feed(&self, call: CallId, fed: Fed) {
        if let Some(running) = self.running.get(&call) {
            let _ = running.feed.send(fed);
        }
    }

    fn pause(&self, turn: i64, paused: bool) {
        for running in self.running.iter().filter(|(call, _)| call.turn == turn).map(|(_, running)| running) {
            running.paused.send_replace(paused);
        }
    }

    fn tenant(&mut self, ask: Ask) {
        let answer = match ask.what {
            Asked::Admit { .. } => TenantAnswer::Granted { available: CREDITS },
            Asked::Settle { charge, used } => {
                let known = self.settled.insert(ask.hold.clone(), (charge, used));
                assert!(known.is_none_or(|known| known == (charge, used)), "charged again: {}", ask.hold);
                TenantAnswer::Ended
            }
            Asked::Release => TenantAnswer::Ended,
        };
        let _ = self.to.send(Told::Command(Command::TenantAnswered { hold: ask.hold, answer }));
    }
}
