//! A headless client of `voice.v1`. It keeps what was not acknowledged, comes back by itself after jittered waits, records
//! all that it hears, and panics at whatever the protocol does not allow its server.
//!
//! It runs only while it is waited for: [`VoiceClient::until`] reads, acknowledges, pings, dials and resumes.

mod heard;
mod line;
mod moment;
mod rules;
mod waits;

pub use heard::{Heard, Stream};
pub use line::Dial;
pub use moment::Moment;
pub use waits::{Chance, Manner};

use crate::voice_wire::{self as wire, Sound};
use line::{Came, Line};
use moment::Hook;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;

/// Sound that is kept until it is acknowledged, in milliseconds. More is not taken.
pub const BUFFER_MS_MAX: usize = 10_000;
/// How long anything may take that must come; loaded machines are slow.
const BOUND: Duration = Duration::from_secs(90);
const BYE: &str = r#"{"type":"bye"}"#;
/// Downward frames are acknowledged after so many, or so long after the first that was not.
const ACK_FRAMES: u32 = 16;
const ACK_AFTER: Duration = Duration::from_millis(250);

/// Something that was said and not acknowledged.
struct Kept {
    seq: u32,
    message: Message,
    sound_ms: usize,
}

/// Why waiting came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// What was waited for is there.
    Holds,
    /// The hook has struck.
    Struck,
    /// The server said that there is nothing to come back to, or the session is over.
    Over,
}

pub struct VoiceClient {
    dial: Dial,
    manner: Manner,
    chance: Chance,
    line: Option<Line>,
    /// What brings it back; none before the first welcome.
    token: Option<String>,
    ticket_spent: bool,
    up_next: u32,
    up_acked: u32,
    kept: VecDeque<Kept>,
    utterance_samples: u32,
    acked_down: u32,
    owed_since: Option<Instant>,
    played: BTreeMap<u16, u32>,
    hook: Option<Hook>,
    struck: bool,
    leaves: bool,
    dial_at: Instant,
    tries: u32,
    pub heard: Heard,
}

impl VoiceClient {
    /// A client of a session that was opened; it does not dial yet.
    pub fn new(dial: Dial, manner: Manner) -> Self {
        let chance = Chance::new(manner.seed);
        Self {
            dial,
            manner,
            chance,
            line: None,
            token: None,
            ticket_spent: false,
            up_next: 1,
            up_acked: 0,
            kept: VecDeque::new(),
            utterance_samples: 0,
            acked_down: 0,
            owed_since: None,
            played: BTreeMap::new(),
            hook: None,
            struck: false,
            leaves: false,
            dial_at: Instant::now(),
            tries: 0,
            heard: Heard::default(),
        }
    }

    pub fn session(&self) -> &str {
        &self.dial.session
    }

    /// Asked at every moment from now on, until it says that this is the one; then waiting ends with
    /// [`Waited::Struck`]. A message that is about to be taken then is lost, with all that follows it on its connection.
    pub fn strike_at(&mut self, hook: impl FnMut(&Moment<'_>, &Heard) -> bool + Send + 'static) {
        self.hook = Some(Box::new(hook));
    }

    fn meets(&mut self, moment: &Moment<'_>) -> bool {
        let Some(hook) = self.hook.as_mut() else { return false };
        if !hook(moment, &self.heard) {
            return false;
        }
        self.hook = None;
        self.struck = true;
        true
    }

    // What it says.

    /// Says one frame of sound; false when its buffer is full, and the sound is not taken.
    pub async fn speak(&mut self, pcm: Vec<u8>) -> bool {
        let sound_ms = pcm.len() / 2 * 1_000 / self.manner.rate_hz;
        let waiting_ms: usize = self.kept.iter().map(|kept| kept.sound_ms).sum();
        if waiting_ms + sound_ms > BUFFER_MS_MAX {
            return false;
        }
        let samples = u32::try_from(pcm.len() / 2).expect("a short frame");
        let frame = Sound::up(self.up_next, self.utterance_samples, pcm);
        self.utterance_samples += samples;
        self.say_numbered(Message::binary(frame.encode()), sound_ms).await;
        let seq = self.up_next - 1;
        self.meets(&Moment::Spoke(seq));
        true
    }

    /// Ends the utterance.
    pub async fn commit(&mut self, turn: &str) {
        self.utterance_samples = 0;
        self.control(&wire::commit(self.up_next, turn)).await;
        self.meets(&Moment::Committed(self.up_next - 1));
    }

    /// A written turn.
    pub async fn say(&mut self, turn: &str, text: &str) {
        self.control(&wire::say(self.up_next, turn, text)).await;
    }

    pub async fn interrupt(&mut self, turn: &str, played_ms: u32) {
        self.control(&wire::interrupt(self.up_next, turn, played_ms)).await;
        self.meets(&Moment::WantedSilence);
    }

    /// Ends the session. It has no number, so it is said again by every connection until it is answered.
    pub async fn bye(&mut self) {
        self.leaves = true;
        if self.is_live() {
            self.send(Message::text(BYE)).await;
        }
    }

    async fn control(&mut self, control: &Value) {
        self.say_numbered(Message::text(control.to_string()), 0).await;
    }

    async fn say_numbered(&mut self, message: Message, sound_ms: usize) {
        self.kept.push_back(Kept { seq: self.up_next, message: message.clone(), sound_ms });
        self.up_next += 1;
        if self.line.as_ref().is_some_and(Line::is_live) {
            self.send(message).await;
        }
    }

    async fn send(&mut self, message: Message) {
        if let Some(line) = self.line.as_mut()
            && !line.send(message).await
        {
            self.lost();
        }
    }

    /// Says all again that was not acknowledged, as a client may that does not know what arrived.
    pub async fn repeat(&mut self) {
        let again: Vec<Message> = self.kept.iter().map(|kept| kept.message.clone()).collect();
        for message in again {
            self.send(message).await;
        }
        self.acknowledge().await;
    }

    // Its connection.

    /// Gives its connection up without a word.
    pub fn abandon(&mut self) {
        self.line = None;
        self.dial_at = Instant::now();
    }

    fn lost(&mut self) {
        self.line = None;
        self.heard.losses += 1;
        self.tries = 0;
        self.dial_at = Instant::now() + self.chance.wait(&self.manner, self.tries);
    }

    /// The connection stands, and what was to be said again was.
    pub fn is_live(&self) -> bool {
        self.line.as_ref().is_some_and(Line::is_live)
    }

    /// Both sides have said all that they have, and heard that it arrived.
    pub fn is_even(&self) -> bool {
        let is_whole = self.line.as_ref().is_some_and(|line| line.phase() == line::Phase::Live);
        is_whole && self.kept.is_empty() && self.acked_down == self.heard.last_down
    }

    /// Numbered messages that the server has not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.kept.len()
    }

    /// Goes on until something holds of what was heard. Panics when that takes too long.
    pub async fn until(&mut self, what: &str, holds: impl Fn(&Heard) -> bool) -> Waited {
        self.until_client(what, |client| holds(&client.heard)).await
    }

    /// The same of the client itself.
    pub async fn until_client(&mut self, what: &str, holds: impl Fn(&Self) -> bool) -> Waited {
        let started = Instant::now();
        loop {
            if std::mem::take(&mut self.struck) {
                return Waited::Struck;
            }
            if holds(self) {
                return Waited::Holds;
            }
            if self.heard.is_over() {
                return Waited::Over;
            }
            assert!(started.elapsed() < BOUND, "not within {BOUND:?}: {what}; {:#?}", self.heard);
            self.step().await;
        }
    }

    /// Goes on for so long.
    pub async fn idle(&mut self, time: Duration) -> Waited {
        let end = Instant::now() + time;
        self.until_client("time passes", |_| Instant::now() >= end).await
    }

    /// One thing happens, or a short time passes.
    async fn step(&mut self) {
        let Some(line) = self.line.as_mut() else {
            let now = Instant::now();
            if now < self.dial_at {
                return tokio::time::sleep((self.dial_at - now).min(waits::TICK)).await;
            }
            return self.dial().await;
        };
        match tokio::time::timeout(waits::TICK, line.came()).await {
            Ok(came) => self.take(came).await,
            Err(_) => self.tend().await,
        }
        if self.owed_since.is_some_and(|since| since.elapsed() >= ACK_AFTER)
            || self.heard.last_down - self.acked_down >= ACK_FRAMES
        {
            self.acknowledge().await;
        }
    }

    async fn acknowledge(&mut self) {
        if !self.is_live() {
            return;
        }
        self.owed_since = None;
        self.acked_down = self.heard.last_down;
        self.send(Message::text(wire::ack(self.acked_down).to_string())).await;
        for (stream, samples) in self.heard.samples() {
            let Some(turn) = self.heard.turn_of(stream) else { continue };
            let news = self.played.insert(stream, samples) != Some(samples);
            if news && !self.heard.has_ended(&turn) {
                self.send(Message::text(wire::played(&turn, samples).to_string())).await;
            }
        }
    }

    /// Pings, and gives up a line that is silent for too long.
    async fn tend(&mut self) {
        let (heartbeat, dead_after) = (self.manner.heartbeat, self.manner.dead_after());
        let Some(line) = self.line.as_mut() else { return };
        if line.silent_for() >= dead_after {
            self.heard.silences += 1;
            return self.lost();
        }
        if line.wants_ping(heartbeat) {
            self.send(Message::text(wire::PING)).await;
        }
    }

    async fn dial(&mut self) {
        let by_ticket = self.token.is_none() && !self.ticket_spent;
        if self.meets(&Moment::Dials) {
            return;
        }
        self.heard.dials += 1;
        match Line::open(&self.dial, by_ticket, self.manner.dial_max).await {
            Ok(line) => {
                self.ticket_spent = true;
                self.line = Some(line);
                if !by_ticket {
                    let token = self.token.clone().unwrap_or_else(|| self.dial.ticket.clone());
                    let resume = wire::resume(&self.dial.session, &token, self.heard.last_down, self.up_next);
                    self.send(Message::text(resume.to_string())).await;
                }
                self.meets(&Moment::Upgraded);
            }
            Err(refused) => {
                // A ticket that was used, by a connection whose answer never came: it is the first token then.
                self.ticket_spent |= by_ticket && refused.is_some_and(|status| (400..500).contains(&status));
                assert!(by_ticket || refused.is_none_or(|status| status >= 500), "refused with {refused:?}");
                self.tries += 1;
                self.dial_at = Instant::now() + self.chance.wait(&self.manner, self.tries);
            }
        }
    }

    async fn take(&mut self, came: Came) {
        match came {
            Came::Nothing => {}
            Came::Text(text) => {
                let event: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"));
                if self.meets(&Moment::About(&event)) {
                    return self.deafen();
                }
                self.took(&event).await;
                self.meets(&Moment::Took(&event));
            }
            Came::Binary(bytes) => {
                let sound = Sound::decode(&bytes, self.manner.rate_hz);
                if self.meets(&Moment::AboutSound(&sound)) {
                    return self.deafen();
                }
                self.takes_number(sound.seq);
                self.heard.take_sound(&sound);
                self.meets(&Moment::TookSound(&sound));
            }
            Came::End(code) => {
                rules::may_close(code, &self.heard);
                self.heard.closes.push(code);
                self.lost();
            }
        }
    }

    fn deafen(&mut self) {
        if let Some(line) = self.line.as_mut() {
            line.deaf = true;
        }
    }

    async fn took(&mut self, event: &Value) {
        let phase = self.line.as_ref().map(Line::phase).expect("it came by a line");
        rules::may_come(event, phase, &self.heard, self.token.as_deref());
        if let Some(seq) = rules::seq_of(event) {
            self.takes_number(seq);
        }
        self.heard.take(event);
        match event["type"].as_str().unwrap_or_default() {
            "welcome" => {
                self.token = event["resume_token"].as_str().map(ToOwned::to_owned);
                self.begin(event).await;
                if let Some(line) = self.line.as_mut() {
                    line.is_whole();
                }
            }
            "resumed" => {
                self.token = event["resume_token"].as_str().map(ToOwned::to_owned);
                self.acked_down = self.heard.last_down;
                self.owed_since = None;
                self.begin(event).await;
            }
            "replayed" => {
                if let Some(line) = self.line.as_mut() {
                    self.heard.resumed_in.push(line.since_dialed());
                    line.is_whole();
                }
                self.tries = 0;
            }
            "ack" => self.takes_ack(rules::number(event, "seq")),
            _ => {}
        }
    }

    /// The other side has said how far it is: what it has is forgotten, and the rest said again.
    async fn begin(&mut self, event: &Value) {
        let up_next = rules::number(event, "up_next");
        assert!(up_next <= self.up_next, "it expects {up_next}, and {} is next", self.up_next);
        self.takes_ack(up_next - 1);
        if let Some(line) = self.line.as_mut() {
            line.goes_on();
        }
        let rest: Vec<Message> = self.kept.iter().map(|kept| kept.message.clone()).collect();
        for message in rest {
            self.send(message).await;
        }
        if self.leaves {
            self.send(Message::text(BYE)).await;
        }
    }

    fn takes_ack(&mut self, seq: u32) {
        assert!(seq < self.up_next, "acknowledged {seq}, and {} is next", self.up_next);
        assert!(seq >= self.up_acked, "acknowledged {seq} after {}", self.up_acked);
        self.up_acked = seq;
        self.kept.retain(|kept| kept.seq > seq);
        self.meets(&Moment::Acknowledged(seq));
    }

    fn takes_number(&mut self, seq: u32) {
        let last = self.heard.last_down;
        assert_eq!(seq, last + 1, "number {seq} came after {last}");
        self.heard.last_down = seq;
        self.owed_since.get_or_insert_with(Instant::now);
    }
}
