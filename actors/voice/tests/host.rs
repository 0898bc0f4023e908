//! What stands around a session, as simple as it can be: sockets that can be lost, providers that answer the same thing to
//! the same question, a tenant's books. What it holds in memory can be lost at any time, and is then said to be.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sha2::{Digest, Sha256};

use crate::shared::{Micro, ModelPrice, Refusal, TenantId, Units};
use crate::sqlite::Sqlite;
use crate::voice::{
    Action, Ask, Asked, CallEnd, CallId, Command, Costs, Down, Input, Message, Open, Outcome, Prices, Reply,
    SessionView, Settings, Socket, Stage, TenantAnswer, TurnBounds, TurnView, Used, handle,
};

pub(super) const NOW_MS: i64 = 1_700_000_000_000;
pub(super) const RATE_HZ: u32 = 8_000;
/// Bytes of 100 ms.
pub(super) const ROW_BYTES: usize = 1_600;
pub(super) const WINDOW_MS: i64 = 20_000;

pub(super) fn me() -> TenantId {
    TenantId::Email("me@x.io".to_owned())
}

pub(super) fn settings() -> Settings {
    let price = |micro| ModelPrice::flat(micro);
    Settings {
        sample_rate_hz: RATE_HZ,
        window_ms: WINDOW_MS,
        prices: Prices {
            session: ModelPrice { per_minute_micro: 60_000, ..price(0) },
            stt: ModelPrice { per_minute_micro: 60_000, ..price(0) },
            llm: price(1_000_000),
            tts: ModelPrice { per_1k_characters_micro: 1_000_000, ..price(0) },
        },
        bounds: TurnBounds { utterance_ms: 20_000, tokens_in: 1_000, tokens_out: 100, characters: 800 },
        ..Settings::default()
    }
}

pub(super) fn digest(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// What an utterance is understood as: text that says which bytes it was.
pub(super) fn understood(pcm: &[u8]) -> String {
    format!("said {}", &digest(pcm)[..12])
}

/// The answer to a text: some sentences, always the same ones.
pub(super) fn answer(text: &str) -> String {
    let hash = Sha256::digest(text);
    let sentences = (0..1 + usize::from(hash[0] % 4)).map(|n| {
        let words = 2 + usize::from(hash[n + 1] % 5);
        let words: Vec<String> = (0..words).map(|word| format!("w{}", hash[(n + word) % 32])).collect();
        format!("So number {n} is {}.", words.join(" "))
    });
    sentences.collect::<Vec<_>>().join(" ")
}

/// How a sentence sounds: 40 ms a character, an odd number of bytes at a time.
pub(super) fn sound(text: &str) -> Vec<u8> {
    let seed = Sha256::digest(text);
    let samples = text.chars().count() * 320;
    (0..samples * 2).map(|at| seed[at % 32].wrapping_add(u8::try_from(at / 32 % 251).unwrap())).collect()
}

pub(super) fn tokens() -> Units {
    Units::tokens(20, 30)
}

/// A call that a provider works on.
pub(super) struct Working {
    pub call: CallId,
    input: Input,
    at: usize,
    fed: VecDeque<(i64, String)>,
    fed_all: bool,
}

/// What was admitted and charged, by the name of the hold.
#[derive(Default)]
pub(super) struct Tenant {
    pub left: i64,
    pub holds: BTreeMap<String, Costs>,
    pub settled: BTreeMap<String, (Micro, Used)>,
    refused: BTreeSet<String>,
}

impl Tenant {
    pub(super) fn answers(&mut self, ask: &Ask) -> TenantAnswer {
        match &ask.what {
            Asked::Admit { need, .. } => {
                let known = self.holds.contains_key(&ask.hold);
                if !known && (need.sum().0 > self.left || self.refused.contains(&ask.hold)) {
                    self.refused.insert(ask.hold.clone());
                    return TenantAnswer::Refused { code: "insufficient_credits".to_owned() };
                }
                if !known {
                    self.left -= need.sum().0;
                    self.holds.insert(ask.hold.clone(), *need);
                }
                TenantAnswer::Granted { available: Micro(self.left) }
            }
            Asked::Settle { charge, used } => self.ends(&ask.hold, *charge, *used),
            Asked::Release => self.ends(&ask.hold, Micro::ZERO, Used::default()),
        }
    }

    fn ends(&mut self, hold: &str, charge: Micro, used: Used) -> TenantAnswer {
        let held = self.holds[hold];
        let (limits, costs) = (
            [held.session, held.listening, held.thinking, held.speaking],
            [used.costs.session, used.costs.listening, used.costs.thinking, used.costs.speaking],
        );
        assert!(limits.iter().zip(costs).all(|(held, cost)| cost <= *held), "{hold}: more than was held");
        assert_eq!(used.costs.sum(), charge, "{hold}");
        match self.settled.get(hold) {
            Some(known) => assert_eq!(*known, (charge, used), "{hold}: another charge the second time"),
            None => {
                self.left += held.sum().0 - charge.0;
                self.settled.insert(hold.to_owned(), (charge, used));
            }
        }
        TenantAnswer::Ended
    }
}

/// What goes down a socket.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sent {
    Frame(Down),
    Closed(u16),
}

#[derive(Default)]
pub(super) struct Line {
    pub epoch: Option<u32>,
    pub is_first: bool,
    /// The runtime has it open.
    pub open: bool,
    pub up: VecDeque<Message>,
    pub down: VecDeque<Sent>,
}

pub(super) struct Host {
    pub sql: Sqlite,
    pub now_ms: i64,
    pub lines: Vec<Line>,
    pub working: Vec<Working>,
    pub reports: VecDeque<Command>,
    pub asks: VecDeque<Ask>,
    pub tenant: Tenant,
    pub paused: BTreeSet<i64>,
    pub wake_ms: Option<i64>,
    /// Every call that was made.
    pub called: Vec<CallId>,
    /// Calls that will be made again with reason: the host was lost, or their provider.
    pub excused: BTreeSet<CallId>,
    pub heard_messages: Vec<Input>,
    pub forgotten: bool,
    /// The next command's actions are lost, and the host with them.
    pub dies_next: bool,
    tokens: u64,
}

impl Host {
    pub(super) fn new(settings: Settings, micro: i64) -> Self {
        let mut host = Self {
            sql: Sqlite::in_memory().unwrap(),
            now_ms: NOW_MS,
            lines: Vec::new(),
            working: Vec::new(),
            reports: VecDeque::new(),
            asks: VecDeque::new(),
            tenant: Tenant { left: micro, ..Tenant::default() },
            paused: BTreeSet::new(),
            wake_ms: None,
            called: Vec::new(),
            excused: BTreeSet::new(),
            heard_messages: Vec::new(),
            forgotten: false,
            dies_next: false,
            tokens: 0,
        };
        host.run(Command::Open(Box::new(open(settings))));
        host
    }

    pub(super) fn try_run(&mut self, command: Command) -> Result<Outcome, Refusal> {
        let now_ms = self.now_ms;
        self.sql.transaction(|sql| handle(sql, command, now_ms))
    }

    pub(super) fn run(&mut self, command: Command) -> Reply {
        self.run_on(command, None)
    }

    fn run_on(&mut self, command: Command, asking: Option<usize>) -> Reply {
        let outcome = self.try_run(command).unwrap();
        if std::mem::take(&mut self.dies_next) {
            self.die(false);
            return outcome.reply;
        }
        for action in outcome.actions {
            self.perform(action, asking);
        }
        outcome.reply
    }

    fn line_of(&self, socket: Socket, asking: Option<usize>) -> Option<usize> {
        match socket {
            Socket::Asking => asking,
            Socket::Epoch(epoch) => self.lines.iter().position(|line| line.epoch == Some(epoch)),
        }
    }

    fn perform(&mut self, action: Action, asking: Option<usize>) {
        match action {
            Action::Bind { epoch } => self.lines[asking.unwrap()].epoch = Some(epoch),
            Action::Send { to, down } => {
                let Some(at) = self.line_of(to, asking) else { panic!("no socket {to:?} for {down:?}") };
                if self.lines[at].open {
                    self.lines[at].down.push_back(Sent::Frame(down));
                }
            }
            Action::Close { socket, code } => {
                if let Some(at) = self.line_of(socket, asking)
                    && self.lines[at].open
                {
                    self.lines[at].open = false;
                    self.lines[at].down.push_back(Sent::Closed(code));
                }
            }
            Action::Call { call, input, .. } => {
                assert!(!self.called.contains(&call), "{call:?} was made twice");
                self.called.push(call);
                if call.stage == Stage::Llm {
                    self.heard_messages.push(input.clone());
                }
                self.working.push(Working { call, input, at: 0, fed: VecDeque::new(), fed_all: false });
            }
            Action::Feed { call, part, text } => self.working(call).fed.push_back((part, text)),
            Action::FeedEnd { call } => self.working(call).fed_all = true,
            Action::Cancel { call } => {
                self.working.retain(|working| working.call != call);
                let ended = CallEnd::Cancelled { units: Units::tokens(20, 5) };
                self.reports.push_back(Command::CallEnded { call, ended });
            }
            Action::Pause { turn } => assert!(self.paused.insert(turn)),
            Action::GoOn { turn } => assert!(self.paused.remove(&turn)),
            Action::Ask(ask) => self.asks.push_back(ask),
            Action::WakeBy { at_ms } => {
                self.wake_ms = Some(self.wake_ms.map_or(at_ms, |known_ms| known_ms.min(at_ms)));
            }
            Action::Over => {}
            Action::Forget => self.forgotten = true,
        }
    }

    fn working(&mut self, call: CallId) -> &mut Working {
        self.working.iter_mut().find(|working| working.call == call).expect("a call that runs")
    }

    pub(super) fn token(&mut self) -> String {
        self.tokens += 1;
        format!("token-{}", self.tokens)
    }

    /// A socket with the ticket.
    pub(super) fn dial(&mut self) -> usize {
        self.lines.push(Line { open: true, ..Line::default() });
        let (at, token) = (self.lines.len() - 1, self.token());
        let ticket_digest = digest(b"the ticket");
        self.run_on(Command::Attach { ticket_digest, token }, Some(at));
        at
    }

    /// One without: its first message has to say whose it is.
    pub(super) fn dial_again(&mut self) -> usize {
        self.lines.push(Line { open: true, is_first: true, ..Line::default() });
        self.lines.len() - 1
    }

    /// The oldest message that is on its way on a socket arrives.
    pub(super) fn deliver_up(&mut self, at: usize) {
        let Some(message) = self.lines[at].up.pop_front() else { return };
        if std::mem::take(&mut self.lines[at].is_first) {
            let token = self.token();
            self.run_on(Command::First { message, token }, Some(at));
        } else if let Some(epoch) = self.lines[at].epoch {
            self.run(Command::Message { epoch, message });
        }
    }

    /// The runtime notices that a socket is gone.
    pub(super) fn lose_line(&mut self, at: usize) {
        self.lines[at].up.clear();
        if std::mem::take(&mut self.lines[at].open)
            && let Some(epoch) = self.lines[at].epoch
        {
            self.run(Command::Detached { epoch });
        }
    }

    /// Memory is lost; the runtime keeps the sockets, or does not.
    pub(super) fn die(&mut self, keeps_sockets: bool) {
        self.excused.extend(self.working.drain(..).map(|working| working.call));
        // A call that was decided on may never have been made; the actor cannot know.
        let running = self.rows_running();
        self.excused.extend(running);
        self.reports.clear();
        self.asks.clear();
        self.paused.clear();
        if !keeps_sockets {
            for line in &mut self.lines {
                if std::mem::take(&mut line.open) {
                    line.down.push_back(Sent::Closed(1006));
                }
                line.up.clear();
            }
        }
        let live = self.lines.iter().filter(|line| line.open).filter_map(|line| line.epoch).max();
        self.run(Command::Woke { live });
    }

    fn rows_running(&mut self) -> Vec<CallId> {
        let running = "SELECT turn, stage, attempt FROM provider_calls WHERE state = 'running'";
        let read = |row: &rusqlite::Row<'_>| {
            let stage: String = row.get(1)?;
            let stage = match stage.as_str() {
                "stt" => Stage::Stt,
                "llm" => Stage::Llm,
                _ => Stage::Tts,
            };
            Ok(CallId { turn: row.get(0)?, stage, attempt: row.get(2)? })
        };
        self.sql.every_row(running, &[], read).unwrap()
    }

    /// A provider does one thing; false when it has nothing to do.
    pub(super) fn work(&mut self, which: usize) -> bool {
        if self.working.is_empty() {
            return false;
        }
        let which = which % self.working.len();
        let is_paused = self.paused.contains(&self.working[which].call.turn);
        let working = &mut self.working[which];
        let call = working.call;
        let report = match (&working.input, working.at) {
            (Input::Sound(pcm), 0) => Command::Hears { call, text: understood(pcm)[..4].to_owned() },
            (Input::Sound(pcm), _) => {
                let units = Units { milliseconds: 1, ..Units::default() };
                let text =
                    Some(if pcm.iter().all(|byte| *byte == 0) { String::new() } else { understood(pcm) });
                Command::CallEnded { call, ended: CallEnd::Done { text, units } }
            }
            (Input::Messages { messages, .. }, at) => {
                let all = answer(&messages.last().unwrap().text);
                match all.get(at * 7..) {
                    Some(rest) if !rest.is_empty() => {
                        Command::Says { call, text: rest[..rest.len().min(7)].to_owned() }
                    }
                    _ => {
                        let ended = CallEnd::Done { text: None, units: tokens() };
                        Command::CallEnded { call, ended }
                    }
                }
            }
            (Input::Parts, _) if is_paused => return false,
            (Input::Parts, at) => match working.fed.front().cloned() {
                None if working.fed_all => {
                    let units = Units::default();
                    Command::CallEnded { call, ended: CallEnd::Done { text: None, units } }
                }
                None => return false,
                Some((part, text)) => match sound(&text).get(at * 997..) {
                    Some(rest) if !rest.is_empty() => {
                        Command::Sounds { call, part, pcm: rest[..rest.len().min(997)].to_vec() }
                    }
                    _ => {
                        working.fed.pop_front();
                        working.at = usize::MAX;
                        Command::Spoken { call, part }
                    }
                },
            },
        };
        working.at = working.at.wrapping_add(1);
        if matches!(report, Command::CallEnded { .. }) {
            self.working.remove(which);
        }
        self.run(report);
        true
    }

    /// A provider's socket breaks.
    pub(super) fn break_provider(&mut self, which: usize) {
        if !self.working.is_empty() {
            let working = self.working.remove(which % self.working.len());
            self.excused.insert(working.call);
            self.run(Command::CallEnded { call: working.call, ended: CallEnd::Broken });
        }
    }

    pub(super) fn report(&mut self) -> bool {
        let Some(report) = self.reports.pop_front() else { return false };
        self.run(report);
        true
    }

    /// The tenant answers the question that waits longest.
    pub(super) fn answer_tenant(&mut self) -> bool {
        let Some(ask) = self.asks.pop_front() else { return false };
        let answer = self.tenant.answers(&ask);
        self.run(Command::TenantAnswered { hold: ask.hold, answer });
        true
    }

    pub(super) fn ring(&mut self) {
        self.wake_ms = None;
        // The runtime answers pings on every socket that is open.
        let pinged_ms =
            self.lines.iter().any(|line| line.open && line.epoch.is_some()).then_some(self.now_ms);
        self.run(Command::Alarm { pinged_ms });
    }

    pub(super) fn wait(&mut self, ms: i64) {
        let end_ms = self.now_ms + ms;
        while let Some(at_ms) = self.wake_ms.filter(|at_ms| *at_ms <= end_ms) {
            self.now_ms = self.now_ms.max(at_ms);
            let before = self.wake_ms;
            self.ring();
            assert!(
                self.forgotten || self.wake_ms != before || self.wake_ms > Some(self.now_ms),
                "the alarm rings for ever"
            );
        }
        self.now_ms = end_ms;
    }

    /// Everything that can go on without a client does.
    pub(super) fn settle_down(&mut self) {
        while self.answer_tenant() || self.report() || (0..self.working.len()).any(|which| self.work(which)) {
        }
    }

    pub(super) fn view(&mut self) -> SessionView {
        match self.run(Command::Read { tenant: me() }) {
            Reply::Session(view) => *view,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn turns(&mut self) -> Vec<TurnView> {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let Reply::Turns(page) = self.run(Command::Turns { tenant: me(), after, limit: 3 }) else {
                panic!()
            };
            all.extend(page.items);
            match page.next_after {
                Some(next) => after = next,
                None => return all,
            }
        }
    }

    pub(super) fn number(&mut self, query: &str) -> i64 {
        use crate::sql::Sql;
        self.sql.text(query, &[]).unwrap().map_or(0, |text| text.parse().unwrap())
    }
}

pub(super) fn open(settings: Settings) -> Open {
    Open { session: "s1".to_owned(), tenant: me(), api_key: None, origin: None, settings }
}
