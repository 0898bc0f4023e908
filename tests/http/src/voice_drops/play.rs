//! One session from its first dial to its end: two spoken turns, and what befalls them.

use super::cell::{BEFORE_REPLAY, Cell, Drop, FRAME_BYTES, MIDDLE_BYTES, Point, Window};
use super::stage::{Account, Stage};
use crate::poll::eventually;
use crate::voice_breaker::{Breaker, Greeting};
use crate::voice_client::{Chance, Dial, Heard, Manner, Moment, VoiceClient, Waited};
use crate::voice_provider::{self as provider, Called};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Barrier;

const FRAMES: [usize; 2] = [8, 4];
const PLAYED_MS: u32 = 300;
/// How often a client of the matrix pings; silence for two of these is death.
const HEARTBEAT: Duration = Duration::from_millis(500);
const SETTLED_BOUND: Duration = Duration::from_secs(30);
/// How often one session loses its calls, where drops are drawn. A turn of which a call is lost three times fails, and where
/// the model's is lost with that of speech, speech is begun anew twice.
const LOSSES_MAX: usize = 1;
/// How long before the end of a gap the ring is looked at.
const LOOK_BEFORE_END: Duration = Duration::from_millis(400);

/// What befalls a session.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    Calm,
    Cell(Cell),
    /// Some drops, drawn from this seed.
    Random(u64),
}

/// Sessions that die in one kill: each waits at its point until all are there.
#[derive(Clone)]
pub struct Together(Arc<Barrier>);

impl Together {
    pub fn new(sessions: usize) -> Self {
        Self(Arc::new(Barrier::new(sessions)))
    }
}

/// How it went.
#[derive(Debug)]
pub struct Played {
    pub heard: Heard,
    pub account: Account,
    pub calls: Vec<Called>,
    pub ring_bytes: u64,
    pub struck: usize,
    /// How often a provider's connection was broken.
    pub breaks: usize,
}

/// What is said in both turns; another seed says other things.
#[derive(Clone)]
pub struct Utterances {
    frames: [Vec<Vec<u8>>; 2],
    pub marks: [String; 2],
}

impl Utterances {
    pub fn of(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let frames = FRAMES.map(|count| {
            let mut frame = || (0..FRAME_BYTES / 8).flat_map(|_| chance.next().to_le_bytes()).collect();
            (0..count).map(|_| frame()).collect::<Vec<Vec<u8>>>()
        });
        let marks = [0, 1].map(|turn: usize| provider::mark_of(&frames[turn].concat()));
        Self { frames, marks }
    }
}

struct Play<'a, S> {
    stage: &'a S,
    client: VoiceClient,
    breaker: Breaker,
    window: Window,
    session: String,
    fate: Fate,
    interrupts: bool,
    together: Option<Together>,
    chance: Chance,
    said: &'a Utterances,
    ring_bytes: u64,
    struck: usize,
    lost_calls: usize,
    breaks: usize,
}

/// The server will have no more of it.
struct Over;

/// Plays one session.
pub async fn play<S: Stage>(
    stage: &S,
    window: Window,
    said: &Utterances,
    interrupts: bool,
    fate: Fate,
    together: Option<Together>,
) -> Played {
    let before = stage.provider().called(&said.marks).len();
    let opened = stage.open().await;
    let breaker = Breaker::before(stage.address()).await;
    let dial = Dial {
        address: breaker.address(),
        host: stage.address().to_string(),
        path: opened.path,
        session: opened.session.clone(),
        ticket: opened.ticket,
        headers: opened.headers,
    };
    let seed = match fate {
        Fate::Random(seed) => seed,
        Fate::Cell(_) | Fate::Calm => 1,
    };
    let client = VoiceClient::new(dial, Manner { heartbeat: HEARTBEAT, ..Manner::quick(seed) });
    let session = opened.session;
    let chance = Chance::new(seed);
    let mut play = Play {
        stage,
        client,
        breaker,
        window,
        session,
        fate,
        interrupts,
        together,
        chance,
        said,
        ring_bytes: 0,
        struck: 0,
        lost_calls: 0,
        breaks: 0,
    };
    play.prepare();
    let _over_or_not = play.script().await;
    let account = eventually(SETTLED_BOUND, "the session is settled", || async {
        let account = stage.account(&play.session).await;
        if account.is_settled() { Ok(account) } else { Err(account) }
    })
    .await;
    let calls = stage.provider().called(&said.marks).split_off(before);
    let Play { client, ring_bytes, struck, breaks, .. } = play;
    Played { heard: client.heard, account, calls, ring_bytes, struck, breaks }
}

impl<S: Stage> Play<'_, S> {
    fn mark(&self) -> &str {
        &self.said.marks[0]
    }

    /// Has the provider wait where the point is, and the client look out for it.
    fn prepare(&mut self) {
        let point = match self.fate {
            Fate::Cell(cell) => Some(cell.point),
            _ if self.interrupts => Some(Point::AroundInterrupt),
            _ => None,
        };
        if let Some((stage, after)) = point.and_then(|point| point.held(self.mark())) {
            self.stage.provider().hold(self.mark(), stage, after);
        }
        match self.fate {
            Fate::Cell(cell) => {
                let frames = u32::try_from(FRAMES[0]).expect("a few");
                self.client.strike_at(move |moment, heard| cell.point.is_at(moment, heard, frames));
            }
            Fate::Random(_) => self.strike_after_some(),
            Fate::Calm => {}
        }
    }

    fn strike_after_some(&mut self) {
        let mut left = 1 + self.chance.next() % 40;
        self.client.strike_at(move |_, _| {
            left = left.saturating_sub(1);
            left == 0
        });
    }

    async fn script(&mut self) -> Result<(), Over> {
        self.until("a welcome", |client| client.heard.epoch > 0).await?;
        self.speak(0, "one").await?;
        if self.interrupts {
            let is_due = |client: &VoiceClient| {
                let heard = &client.heard;
                heard.pcm_of("one").len() >= MIDDLE_BYTES && heard.transcripts("one", "assistant").len() == 3
            };
            self.until("sound to interrupt", is_due).await?;
            self.client.interrupt("one", PLAYED_MS).await;
        }
        self.until("the first turn's end", |client| client.heard.has_ended("one")).await?;
        self.stage.provider().release(self.mark());
        self.speak(1, "two").await?;
        self.until("the second turn's end", |client| client.heard.has_ended("two")).await?;
        self.until("acknowledgements", |client| client.is_even()).await?;
        self.client.bye().await;
        self.until("the end", |_| false).await
    }

    async fn speak(&mut self, turn: usize, name: &str) -> Result<(), Over> {
        for frame in self.said.frames[turn].clone() {
            assert!(self.client.speak(frame).await, "the client's buffer is full");
            self.until("what comes", |_| true).await?;
        }
        self.client.commit(name).await;
        Ok(())
    }

    async fn until(&mut self, what: &str, holds: impl Fn(&VoiceClient) -> bool) -> Result<(), Over> {
        loop {
            match self.client.until_client(what, &holds).await {
                Waited::Holds => return Ok(()),
                Waited::Over => return Err(Over),
                Waited::Struck => self.strike().await,
            }
        }
    }

    async fn strike(&mut self) {
        self.struck += 1;
        match self.fate {
            Fate::Calm => {}
            Fate::Random(_) => {
                let drop = Drop::ALL[usize::try_from(self.chance.next() % 6).expect("a small number")];
                let gap = Duration::from_millis(self.chance.next() % 600);
                let loses_calls = matches!(drop, Drop::Killed | Drop::Provider);
                let drop = if loses_calls && self.lost_calls >= LOSSES_MAX { Drop::Reset } else { drop };
                let drop = if drop == Drop::Killed && self.stage.dies_whole() { Drop::Silence } else { drop };
                self.lost_calls += usize::from(loses_calls);
                let point = if self.interrupts { Point::AroundInterrupt } else { Point::MidAudio };
                self.cut(point, drop, gap).await;
                if self.struck < 4 {
                    self.strike_after_some();
                }
            }
            Fate::Cell(cell) if cell.point == Point::DuringReplay && self.struck == 1 => {
                let mut resumed = false;
                self.client.strike_at(move |moment, _| match moment {
                    Moment::Took(event) if event["type"] == "resumed" => {
                        resumed = true;
                        false
                    }
                    Moment::Took(event) => resumed && event.get("seq").is_some(),
                    Moment::TookSound(_) => resumed,
                    _ => false,
                });
                self.cut(cell.point, Drop::Fin, BEFORE_REPLAY).await;
            }
            Fate::Cell(cell) => self.cut(cell.point, cell.drop, cell.gap.time(self.window)).await,
        }
    }

    /// Cuts the client off, for so long.
    async fn cut(&mut self, point: Point, drop: Drop, gap: Duration) {
        match drop {
            Drop::Killed => self.kill(point, gap).await,
            Drop::Provider => {
                self.stage.provider().break_calls(self.mark());
                self.breaks += 1;
            }
            _ => {}
        }
        // What is to be interrupted has to be under way until it is.
        if point != Point::AroundInterrupt {
            self.stage.provider().release(self.mark());
        }
        if point == Point::Upgrade {
            return self.cut_before_anything(drop, gap).await;
        }
        self.breaker.down_for(gap);
        match drop {
            Drop::Fin | Drop::Provider => self.breaker.fin(),
            Drop::Reset => self.breaker.reset(),
            Drop::Silence => self.breaker.silence(point.silent()),
            Drop::LateOldSocket => {
                self.breaker.keep();
                self.client.repeat().await;
                self.client.abandon();
            }
            Drop::Killed => {}
        }
        if gap >= Duration::from_secs(1) {
            self.client.idle(gap - LOOK_BEFORE_END).await;
            self.ring_bytes = self.stage.account(&self.session).await.ring_bytes;
        }
        if drop == Drop::LateOldSocket {
            let epoch = self.client.heard.epoch;
            let is_back = |client: &VoiceClient| client.is_live() && client.heard.epoch > epoch;
            self.client.until_client("it is back", is_back).await;
            // It does not know what its old socket brought, and may say all of it again.
            self.client.repeat().await;
            self.breaker.release();
        }
    }

    async fn cut_before_anything(&mut self, drop: Drop, gap: Duration) {
        match drop {
            Drop::Fin | Drop::Provider => self.breaker.greet(Greeting::Fin, gap),
            Drop::Reset => self.breaker.greet(Greeting::Reset, gap),
            Drop::Silence => self.breaker.greet(Greeting::Lost, gap),
            Drop::LateOldSocket => {
                self.breaker.greet(Greeting::Kept, gap);
                self.client.until_client("a welcome", |client| client.heard.epoch > 0).await;
                self.breaker.release();
            }
            Drop::Killed => {}
        }
    }

    /// Kills the actor, or all of its process, with every session of the same fate.
    async fn kill(&mut self, point: Point, gap: Duration) {
        let together = self.together.take();
        let kills = match &together {
            Some(Together(all)) => all.wait().await.is_leader(),
            None => true,
        };
        if point == Point::Upgrade {
            self.breaker.greet(Greeting::Reset, gap);
        }
        if kills {
            self.stage.kill(&self.session).await;
        }
        if let Some(Together(all)) = &together {
            all.wait().await;
        }
    }
}
