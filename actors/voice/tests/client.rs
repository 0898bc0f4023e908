//! A client of `voice.v1`: what it said and did not hear acknowledged, what it heard, and how it comes back.

use std::collections::BTreeMap;

use super::host::{Host, ROW_BYTES, Sent};
use crate::voice::frame::{DROPPED, Frame};
use crate::voice::{Control, Down, Event, Message, NotResumed, Resume, State};

/// One utterance, as the client knows it.
#[derive(Debug, Clone, Default)]
pub(super) struct Utterance {
    pub id: String,
    pub pcm: Vec<u8>,
}

#[derive(Default)]
pub(super) struct Client {
    /// The socket it believes in.
    pub line: Option<usize>,
    pub welcomed: bool,
    token: String,
    up_next: u32,
    unacked: Vec<(u32, Message)>,
    pub last_down: u32,
    /// Sound by stream, without what was dropped; and how many samples were before each frame.
    pub heard: BTreeMap<u16, Vec<u8>>,
    pub dropped: BTreeMap<u16, usize>,
    pub streams: BTreeMap<String, u16>,
    pub events: Vec<Event>,
    pub said: Vec<Utterance>,
    speaking: Vec<u8>,
    frames: usize,
    pub gap: bool,
    pub failed: Option<NotResumed>,
    pub closed: Vec<u16>,
    pub over: Option<String>,
}

impl Client {
    pub(super) fn new(host: &mut Host) -> Self {
        let line = host.dial();
        // Until the welcome, its ticket is its token.
        Self { line: Some(line), token: "the ticket".to_owned(), up_next: 1, ..Self::default() }
    }

    fn push(&mut self, host: &mut Host, message: Message) {
        if let Some(line) = self.line.filter(|_| self.welcomed) {
            host.lines[line].up.push_back(message);
        }
    }

    fn push_numbered(&mut self, host: &mut Host, make: impl Fn(u32) -> Message) {
        let message = make(self.up_next);
        self.unacked.push((self.up_next, message.clone()));
        self.up_next += 1;
        self.push(host, message);
    }

    pub(super) fn control(&mut self, host: &mut Host, control: &Control) {
        self.push(host, Message::Text(serde_json::to_string(control).unwrap()));
    }

    /// Says 100 ms more, different from all it said before.
    pub(super) fn speak(&mut self, host: &mut Host) {
        self.frames += 1;
        let seed = self.frames;
        let pcm: Vec<u8> =
            (0..ROW_BYTES).map(|at| u8::try_from((at * 7 + seed * 31 + at / 251) % 256).unwrap()).collect();
        self.sound(host, pcm);
    }

    pub(super) fn sound(&mut self, host: &mut Host, pcm: Vec<u8>) {
        self.speaking.extend(&pcm);
        self.push_numbered(host, |seq| {
            let frame = Frame { flags: 0, stream: 0, seq, media_offset: 0, pcm: pcm.clone() };
            Message::Binary(frame.encode())
        });
    }

    pub(super) fn commit(&mut self, host: &mut Host) {
        let pcm = std::mem::take(&mut self.speaking);
        if pcm.is_empty() {
            return;
        }
        let named = self.said.len().is_multiple_of(2);
        let id = if named { format!("turn-{}", self.said.len()) } else { format!("t{}", self.up_next) };
        let turn = named.then(|| id.clone());
        self.said.push(Utterance { id, pcm });
        self.push_numbered(host, |seq| {
            Message::Text(serde_json::to_string(&Control::Commit { seq, turn: turn.clone() }).unwrap())
        });
    }

    pub(super) fn interrupt(&mut self, host: &mut Host, turn: &str, played_ms: u32) {
        self.push_numbered(host, |seq| {
            let control = Control::Interrupt { seq, turn: turn.to_owned(), played_ms };
            Message::Text(serde_json::to_string(&control).unwrap())
        });
    }

    pub(super) fn ack(&mut self, host: &mut Host) {
        let seq = self.last_down;
        self.control(host, &Control::Ack { seq });
    }

    /// Says again what was said already.
    pub(super) fn repeat(&mut self, host: &mut Host) {
        if let Some((_, message)) = self.unacked.first().cloned() {
            self.push(host, message);
        }
    }

    /// Its socket is gone, as far as it knows.
    pub(super) fn drop_line(&mut self) -> Option<usize> {
        self.welcomed = false;
        self.line.take()
    }

    pub(super) fn come_back(&mut self, host: &mut Host) {
        let line = host.dial_again();
        self.welcomed = false;
        self.line = Some(line);
        let resume = Resume {
            session: "s1".to_owned(),
            token: self.token.clone(),
            last_down: self.last_down,
            up_next: self.up_next,
        };
        let text = serde_json::to_string(&Control::Resume(resume)).unwrap();
        host.lines[line].up.push_back(Message::Text(text));
    }

    /// The oldest message on a socket arrives; of a socket that it gave up it is not looked at.
    pub(super) fn hear(&mut self, host: &mut Host, line: usize) -> bool {
        let Some(sent) = host.lines[line].down.pop_front() else { return false };
        if self.line != Some(line) {
            return true;
        }
        match sent {
            Sent::Closed(code) => {
                self.closed.push(code);
                self.drop_line();
            }
            Sent::Frame(down) => self.take(host, down),
        }
        true
    }

    fn take(&mut self, host: &mut Host, down: Down) {
        if let Some(seq) = down.seq() {
            assert!(seq <= self.last_down + 1, "frame {seq} after {}", self.last_down);
            if seq <= self.last_down {
                return;
            }
            self.last_down = seq;
        }
        match down {
            Down::Audio(frame) if frame.flags & DROPPED != 0 => {
                assert!(frame.pcm.is_empty());
                *self.dropped.entry(frame.stream).or_default() += 1;
            }
            Down::Audio(frame) => {
                let dropped = self.dropped.contains_key(&frame.stream);
                let known = self.heard.entry(frame.stream).or_default();
                let before = usize::try_from(frame.media_offset).unwrap() * 2;
                assert!(dropped || before == known.len(), "sound at {before}, and {} was heard", known.len());
                known.extend(frame.pcm);
            }
            Down::Event(_, event) => self.note(host, event),
        }
    }

    fn note(&mut self, host: &mut Host, event: Event) {
        match &event {
            Event::Welcome { resume_token, up_next, .. } => {
                self.token.clone_from(resume_token);
                self.begin(host, *up_next);
            }
            Event::Resumed { resume_token, up_next, gap, replay_from, .. } => {
                assert_eq!(*replay_from, self.last_down + 1);
                self.token.clone_from(resume_token);
                self.gap |= gap;
                self.begin(host, *up_next);
            }
            Event::Ack { seq } => self.unacked.retain(|(known, _)| known > seq),
            Event::ResumeFailed { reason } => self.failed = Some(*reason),
            Event::Ended { why } => self.over = Some(why.clone()),
            Event::Turn { turn: Some(turn), stream, state, .. } => {
                self.streams.insert(turn.clone(), *stream);
                let told = |state: State| self.states(turn).iter().filter(|known| **known == state).count();
                let again = *state == State::Thinking && told(State::Speaking) == told(State::Thinking);
                let speaks_again = *state == State::Speaking && told(*state) < told(State::Thinking);
                assert!(told(*state) == 0 || again || speaks_again, "{state:?} of {turn} is told once");
            }
            _ => {}
        }
        self.events.push(event);
    }

    /// The line stands: what the other side has is forgotten, and the rest said again.
    fn begin(&mut self, host: &mut Host, up_next: u32) {
        self.welcomed = true;
        self.unacked.retain(|(seq, _)| *seq >= up_next);
        for (_, message) in self.unacked.clone() {
            self.push(host, message);
        }
    }

    pub(super) fn states(&self, id: &str) -> Vec<State> {
        let of = |event: &Event| match event {
            Event::Turn { turn: Some(turn), state, .. } if turn == id => Some(*state),
            _ => None,
        };
        self.events.iter().filter_map(of).collect()
    }

    /// What was heard of a turn.
    pub(super) fn sound_of(&self, id: &str) -> Vec<u8> {
        let stream = self.streams.get(id);
        stream.and_then(|stream| self.heard.get(stream)).cloned().unwrap_or_default()
    }
}

/// All that is on its way arrives, and all that can be done is.
pub(super) fn quiet(host: &mut Host, client: &mut Client) {
    loop {
        let mut moved = false;
        for line in 0..host.lines.len() {
            while !host.lines[line].up.is_empty() {
                host.deliver_up(line);
                moved = true;
            }
            while client.hear(host, line) {
                moved = true;
            }
        }
        host.settle_down();
        if client.welcomed && host.number("SELECT COUNT(*) FROM down") > 0 {
            client.ack(host);
            moved = true;
        }
        if !moved {
            return;
        }
    }
}
