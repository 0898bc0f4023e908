//! One voice session on the platform: its sockets, the calls of its providers, its questions to the tenant's books. It
//! holds no truth: what it has in memory can be lost at any time, and is then said to be.
//!
//! Every command is one transaction of the core (`actors::voice`); its actions are done after it, in their order. The
//! runtime holds back everything that leaves, frames and calls alike, until the transaction is on disk.

mod asking;
mod books;
mod calls;
mod hearing;
mod line;
mod speaking;
mod thinking;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use actors::shared::Refusal;
use actors::voice::{self, Action, Command, Message, Open, Outcome, Reply};
use wasm_bindgen::JsValue;
use worker::Env;

use self::calls::Calls;
use self::line::{Lines, Role};
use super::alarm::Alarm;
use crate::platform::config::Config;
use crate::platform::sockets::{ObjectState, Socket};
use crate::platform::sql::Storage;
use crate::platform::tenant_stub::Origin;
use crate::platform::voice_stub::{VoiceAnswer, VoiceAsked, VoiceCall, VoiceReply};
use crate::platform::{log, now_ms, random_bytes, sockets, task};

/// How long after a failed alarm the next one rings: the runtime gives up after six tries, this does not.
const ALARM_RETRY_MS: i64 = 30_000;

pub struct Voice {
    state: ObjectState,
    storage: RefCell<Storage>,
    env: Env,
    config: Rc<Config>,
    /// What the session was opened with, once known.
    opened: RefCell<Option<Rc<Open>>>,
    /// The core was told that this memory is new.
    awake: Cell<bool>,
    alarm: Cell<Alarm>,
    lines: Lines,
    calls: Calls,
    /// What follows from a command's actions, to be done after them.
    next: RefCell<VecDeque<Command>>,
}

impl Voice {
    pub fn new(state: ObjectState, env: Env, config: Rc<Config>) -> Self {
        Self {
            storage: RefCell::new(Storage::new(state.storage())),
            lines: Lines::default(),
            state,
            env,
            config,
            opened: RefCell::default(),
            awake: Cell::new(false),
            alarm: Cell::default(),
            calls: Calls::default(),
            next: RefCell::default(),
        }
    }

    /// Work that goes on beside what this actor is asked.
    fn keep(&self, work: impl Future<Output = ()> + 'static) {
        task::keep_alive(self.state.as_ref(), work);
    }

    /// What the session was opened with.
    fn opened(&self) -> Option<Rc<Open>> {
        if self.opened.borrow().is_none() {
            let mut storage = self.storage.try_borrow_mut().ok()?;
            let found = storage.transaction(voice::opened).ok().flatten();
            self.opened.replace(found.map(Rc::new));
        }
        self.opened.borrow().clone()
    }

    /// What is asked of the tenant's actor is part of this session, and of no request.
    fn origin<'a>(&'a self, opened: &'a Open) -> Origin<'a> {
        Origin { env: &self.env, request_id: &opened.session }
    }

    /// A [`VoiceCall`] as text.
    pub(super) fn answer(self: &Rc<Self>, call: &str) -> VoiceAnswer {
        let VoiceCall { request_id, asked } = read(call)?;
        log::within(Some(request_id), || match asked {
            VoiceAsked::Open(open) => self.run(Command::Open(open), None).and_then(done),
            VoiceAsked::Show { tenant, after, limit } => {
                let session = self.run(Command::Read { tenant: tenant.clone() }, None)?;
                let turns = self.run(Command::Turns { tenant, after, limit }, None)?;
                match (session, turns) {
                    (Reply::Session(session), Reply::Turns(turns)) => {
                        Ok(VoiceReply::Shown { session, turns })
                    }
                    _ => Err(Refusal::UnknownVoiceSession),
                }
            }
            VoiceAsked::End { tenant } => self.run(Command::End { tenant }, None).and_then(done),
            VoiceAsked::Attach { .. } | VoiceAsked::Return => {
                Err(Refusal::Storage { detail: "a socket is opened by another way".to_owned() })
            }
        })
    }

    /// Opens a socket with a [`VoiceCall`]: the response for its client, or why not.
    ///
    /// # Errors
    /// `UnknownVoiceSession`.
    pub(super) fn open_socket(self: &Rc<Self>, call: &str) -> Result<JsValue, Refusal> {
        let VoiceCall { request_id, asked } = read(call)?;
        log::within(Some(request_id), || {
            let opened = self.opened().ok_or(Refusal::UnknownVoiceSession)?;
            if matches!(&asked, VoiceAsked::Attach { tenant, .. } if *tenant != opened.tenant) {
                return Err(Refusal::UnknownVoiceSession);
            }
            self.lines.make_room(&self.state);
            let (socket, response) = sockets::open(&self.state).map_err(|detail| {
                log::fault("socket_not_opened", &detail);
                Refusal::Storage { detail: "the runtime opened no socket".to_owned() }
            })?;
            self.lines.asks(&socket, &opened.session);
            if let VoiceAsked::Attach { ticket_digest, .. } = asked {
                self.run(Command::Attach { ticket_digest, token: token() }, Some(&socket))?;
            }
            Ok(response)
        })
    }

    /// A message of a client.
    pub(super) fn heard(self: &Rc<Self>, socket: &Socket, message: Message) {
        let Some(attached) = line::attached(socket) else { return };
        let told = match attached.role {
            Role::Client => self.run(Command::Message { epoch: attached.epoch, message }, None),
            Role::Asking => self.run(Command::First { message, token: token() }, Some(socket)),
            Role::Gone => return,
        };
        if told.is_err() {
            // What was said may be lost: the client says again what was not acknowledged.
            self.lines.lose(socket);
        }
    }

    /// A socket is gone.
    pub(super) fn left(self: &Rc<Self>, socket: &Socket) {
        if let Some(attached) = line::attached(socket)
            && attached.role == Role::Client
        {
            self.lines.forget(socket);
            let _logged = self.run(Command::Detached { epoch: attached.epoch }, None);
        }
    }

    /// The alarm rang.
    pub(super) fn ring(self: &Rc<Self>) {
        // Whatever comes of it, it is gone.
        self.alarm.set(Alarm::default());
        let pinged_ms = self.lines.pinged_ms(&self.state);
        if self.run(Command::Alarm { pinged_ms }, None).is_err() {
            self.arm(now_ms().saturating_add(ALARM_RETRY_MS));
        }
    }

    /// What somebody reports who works for this session.
    fn report(self: &Rc<Self>, command: Command) {
        let _logged = self.run(command, None);
    }

    /// Does one command, and all that follows from it. `asking` is the socket that it came from, where that has no epoch.
    ///
    /// # Errors
    /// The core's refusal; of what follows there is none.
    fn run(self: &Rc<Self>, command: Command, asking: Option<&Socket>) -> Result<Reply, Refusal> {
        if !self.awake.get() {
            let live = self.lines.newest(&self.state);
            self.do_one(Command::Woke { live }, None)?;
            self.awake.set(true);
        }
        let reply = self.do_one(command, asking);
        loop {
            let next = self.next.borrow_mut().pop_front();
            let Some(next) = next else { break };
            let _logged = self.do_one(next, None);
        }
        match reply? {
            Reply::Unknown => Err(Refusal::UnknownVoiceSession),
            reply => Ok(reply),
        }
    }

    fn do_one(self: &Rc<Self>, command: Command, asking: Option<&Socket>) -> Result<Reply, Refusal> {
        let outcome = {
            let mut storage = self.storage.try_borrow_mut().map_err(|_| super::tenant::busy())?;
            let (mut waiting, now_ms) = (Some(command), now_ms());
            storage.transaction(|sql| {
                let command = waiting.take().ok_or_else(super::tenant::busy)?;
                voice::handle(sql, command, now_ms)
            })
        };
        match outcome {
            Ok(Outcome { reply, actions }) => {
                for action in actions {
                    self.perform(action, asking);
                }
                Ok(reply)
            }
            Err(refusal) => {
                if matches!(refusal, Refusal::Broken { .. } | Refusal::Storage { .. }) {
                    log::fault("voice_command_failed", &refusal.to_string());
                    self.start_over();
                }
                Err(refusal)
            }
        }
    }

    /// What failed may have landed: what is in memory is of no use, as after its loss.
    fn start_over(&self) {
        self.calls.drop_all();
        self.opened.replace(None);
        self.alarm.set(Alarm::default());
        self.awake.set(false);
    }

    fn perform(self: &Rc<Self>, action: Action, asking: Option<&Socket>) {
        match action {
            Action::Bind { epoch } => self.lines.bind(asking, epoch),
            Action::Send { to, down } => self.lines.send(&self.state, (to, asking), &down),
            Action::Close { socket, code } => self.lines.close(&self.state, (socket, asking), code),
            Action::Call { call, input, prefs } => self.begin_call(call, input, &prefs),
            Action::Feed { call, part, text } => self.calls.feed(call, part, text),
            Action::FeedEnd { call } => self.calls.end_feed(call),
            Action::Cancel { call } => {
                let units = self.calls.cancel(call);
                let ended = voice::CallEnd::Cancelled { units };
                self.next.borrow_mut().push_back(Command::CallEnded { call, ended });
            }
            Action::Pause { turn } => self.calls.pause(turn),
            Action::GoOn { turn } => self.calls.go_on(turn),
            Action::Ask(ask) => self.keep(asking::ask(Rc::clone(self), ask)),
            Action::WakeBy { at_ms } => self.arm(at_ms),
            Action::Over => {
                self.lines.close_asking(&self.state);
                self.keep(asking::tell_over(Rc::clone(self)));
            }
            Action::Forget => {
                self.opened.replace(None);
                let storage = self.storage.try_borrow().map_err(|_| super::tenant::busy());
                if let Err(refusal) = storage.and_then(|storage| storage.delete_all()) {
                    log::fault("voice_not_forgotten", &refusal.to_string());
                }
            }
        }
    }

    /// Has the alarm ring at `at_ms` or before.
    fn arm(&self, at_ms: i64) {
        let mut alarm = self.alarm.get();
        let Some(at_ms) = alarm.wants(at_ms) else { return };
        let storage = self.storage.try_borrow().map_err(|_| super::tenant::busy());
        match storage.and_then(|storage| storage.set_alarm(at_ms)) {
            Ok(()) => alarm.armed(at_ms),
            Err(refusal) => {
                log::fault("alarm_not_set", &refusal.to_string());
                alarm.owes(at_ms);
            }
        }
        self.alarm.set(alarm);
    }
}

fn read(call: &str) -> Result<VoiceCall, Refusal> {
    serde_json::from_str(call)
        .map_err(|error| Refusal::Storage { detail: format!("undecodable command: {error}") })
}

fn done(_: Reply) -> VoiceAnswer {
    Ok(VoiceReply::Done)
}

/// What brings a client back: 256 random bits as text.
fn token() -> String {
    random_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}
