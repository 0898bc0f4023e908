//! The speech of one turn: parts of text go in, their sound comes out, one part after the other.
//!
//! The next part is handed to a provider when the sound of the one before it was taken. So what is submitted is what is
//! about to be heard, whoever falls silent in the middle loses one part, and waiting is back-pressure. Until the first sound
//! of a part the next provider can take it; who has spoken is asked first for the next part, so that a turn keeps its voice.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use actors::shared::Units;
use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use serde_json::json;
use worker::Env;

use super::super::attempts::{self, Form, Plan};
use super::super::byte_stream::ByteStream;
use super::super::cartesia::{self, Manner, SpeechLine};
use super::super::failure::Failure;
use super::super::speech::{self, SpeechFormat, SpeechRequest};
use super::super::whole_request::Members;
use super::events::{Events, Teller};
use super::limits::{CONNECT_MS, FIRST_SOUND_MS, IDLE_MS, PART_BYTES_MAX, WAITING_CHARACTERS_MAX};
use super::pcm::Decoder;
use super::{Ended, voices};
use crate::platform::config::{Config, Provider, ProviderKind};
use crate::platform::now_ms;

/// Samples a second of speech that comes without a header from servers of OpenAI's format.
const OPENAI_HZ: u32 = 24_000;

/// A turn to be spoken.
#[derive(Clone)]
pub struct Speaking {
    /// In their order: those of `TTS_PROVIDERS` that the tenant may use.
    pub providers: Vec<Provider>,
    /// As the tenant calls it; a provider that does not know it takes its usual one.
    pub voice: Option<String>,
    /// By its two letters.
    pub language: Option<String>,
    /// 1 is the usual; each provider comes as near as it can.
    pub speed: f64,
    /// Of the sound that comes out: 8,000, 16,000, 22,050, 24,000, 44,100 or 48,000.
    pub sample_rate_hz: u32,
    pub request_id: String,
    /// When its time is over, all parts together.
    pub end_ms: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub enum SpeechEvent {
    /// Whole samples of 16 bits, one channel, little-endian.
    Sound { part: i64, pcm: Vec<u8> },
    /// All sound of that part was told.
    PartDone { part: i64 },
    /// All parts were spoken, and [`TextFeed::finish`] was called. The last event.
    Done,
    /// Nothing more comes. The last event.
    Failed(Ended),
}

enum Fed {
    Part { part: i64, text: String },
    End,
}

/// Where parts go in. Nothing here waits.
pub struct TextFeed {
    fed: UnboundedSender<Fed>,
    account: Rc<Account>,
}

impl TextFeed {
    /// A part, whole: a sentence with the space behind it. False when more waits than a turn may say; then it was not taken.
    pub fn push(&self, part: i64, text: String) -> bool {
        let waiting = self.account.waiting.get().saturating_add(text.chars().count());
        if waiting > WAITING_CHARACTERS_MAX {
            return false;
        }
        self.account.waiting.set(waiting);
        self.fed.unbounded_send(Fed::Part { part, text }).is_ok()
    }

    /// No part follows.
    pub fn finish(&self) {
        let _ended_already = self.fed.unbounded_send(Fed::End);
    }

    /// The characters that were submitted to who answered, whatever came of them since.
    pub fn units(&self) -> Units {
        Units { characters: self.account.characters.get(), ..Units::default() }
    }
}

#[derive(Default)]
struct Account {
    /// Characters that wait to be handed over.
    waiting: Cell<usize>,
    characters: Cell<u64>,
}

/// Begins the speech of a turn. Nothing is asked before its first part and before its first event is waited for.
pub fn speak(env: &Env, config: &Rc<Config>, turn: Speaking) -> (TextFeed, Events<SpeechEvent>) {
    let (fed, parts) = unbounded();
    let account = Rc::new(Account::default());
    let feed = TextFeed { fed, account: Rc::clone(&account) };
    let providers = turn.providers.iter().map(hurried).collect();
    let work = Work { env: env.clone(), config: Rc::clone(config), turn, account, line: RefCell::new(None) };
    let work = async move |teller: &Teller<SpeechEvent>| match work.run(parts, providers, teller).await {
        Ok(()) => SpeechEvent::Done,
        Err(ended) => SpeechEvent::Failed(ended),
    };
    (feed, Events::of(work))
}

/// The same provider with the deadlines of somebody who waits.
fn hurried(provider: &Provider) -> Provider {
    let mut provider = provider.clone();
    let deadlines = &mut provider.deadlines;
    deadlines.connect_ms = deadlines.connect_ms.min(CONNECT_MS);
    deadlines.first_token_ms = deadlines.first_token_ms.min(FIRST_SOUND_MS);
    deadlines.idle_ms = deadlines.idle_ms.min(IDLE_MS);
    provider
}

/// The providers with the one that has spoken before all others.
fn faithful(mut providers: Vec<Provider>, spoke: &Provider) -> Vec<Provider> {
    providers.sort_by_key(|provider| provider.name != spoke.name || provider.model != spoke.model);
    for (place, provider) in providers.iter_mut().enumerate() {
        provider.place = place;
    }
    providers
}

/// A part that has begun to sound, or has none.
enum Begun {
    Line { line: SpeechLine, first: Option<Vec<u8>> },
    Stream { stream: ByteStream, decoder: Decoder },
}

struct Work {
    env: Env,
    config: Rc<Config>,
    turn: Speaking,
    account: Rc<Account>,
    /// The socket that the turn uses, between two of its parts.
    line: RefCell<Option<SpeechLine>>,
}

impl Work {
    async fn run(
        &self,
        mut parts: UnboundedReceiver<Fed>,
        mut providers: Vec<Provider>,
        teller: &Teller<SpeechEvent>,
    ) -> Result<(), Ended> {
        while let Some(Fed::Part { part, text }) = parts.next().await {
            let characters = text.chars().count();
            self.account.waiting.set(self.account.waiting.get().saturating_sub(characters));
            if !text.trim().is_empty() {
                let spoke = self.part((part, &text), &providers, teller).await?;
                providers = faithful(providers, &spoke);
            }
            teller.tell(SpeechEvent::PartDone { part }).await;
        }
        if let Some(line) = self.line.take() {
            line.finish();
        }
        Ok(())
    }

    async fn part(
        &self,
        (part, text): (i64, &str),
        providers: &[Provider],
        teller: &Teller<SpeechEvent>,
    ) -> Result<Provider, Ended> {
        let plan = Plan {
            config: &self.config,
            providers,
            request_id: &self.turn.request_id,
            end_ms: self.turn.end_ms,
            form: Form::Bytes,
        };
        let answered =
            attempts::run(plan, async |provider, wait_ms| self.begin(provider, text, wait_ms).await);
        let answered = answered.await.map_err(Ended::nobody)?;
        let provider = answered.provider;
        let characters = u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
        self.account.characters.set(self.account.characters.get().saturating_add(characters));
        match self.sound(part, answered.value, provider.deadlines.idle_ms, teller).await {
            Ok(()) => Ok(provider),
            Err(failure) => {
                attempts::stream_failed(&self.config, &provider, failure);
                Err(Ended::broke_off(failure))
            }
        }
    }

    /// Hands a part to a provider, and waits for its first sound.
    async fn begin(&self, provider: &Provider, text: &str, wait_ms: i64) -> Result<Begun, Failure> {
        if provider.kind == ProviderKind::Cartesia {
            return self.begin_on_line(provider, text, wait_ms).await;
        }
        let request = self.request(provider, text);
        let opening = speech::opened(&self.env, &self.config, provider, &request);
        let stream = speech::begun(provider, wait_ms, opening).await?;
        let decoder = match stream.media {
            "audio/pcm" => Decoder::samples(OPENAI_HZ, self.turn.sample_rate_hz),
            "audio/wav" => Decoder::wav(self.turn.sample_rate_hz),
            _ => return Err(Failure::ContentType),
        };
        Ok(Begun::Stream { stream, decoder })
    }

    async fn begin_on_line(&self, provider: &Provider, text: &str, wait_ms: i64) -> Result<Begun, Failure> {
        let end_ms = now_ms().saturating_add(wait_ms);
        let kept = self.line.take().filter(|line| line.is_of(provider));
        let mut line = match kept.and_then(SpeechLine::well) {
            Some(line) => line,
            None => {
                let turn = &self.turn;
                let manner = Manner {
                    model: provider.model.clone(),
                    voice: cartesia::voice_of(
                        &self.config,
                        &voices::at(provider.kind, turn.voice.as_deref()),
                    ),
                    language: turn.language.clone(),
                    speed: turn.speed,
                };
                let wait_ms = wait_ms.min(provider.deadlines.connect_ms);
                SpeechLine::open(provider, manner, turn.sample_rate_hz, &turn.request_id, wait_ms).await?
            }
        };
        let first = line.begin(text, end_ms.saturating_sub(now_ms())).await?;
        Ok(Begun::Line { line, first })
    }

    fn request(&self, provider: &Provider, text: &str) -> SpeechRequest {
        let turn = &self.turn;
        let voice = voices::at(provider.kind, turn.voice.as_deref());
        let mut members = Members::default();
        members.set("input", &json!(text));
        members.set("voice", &json!(voice));
        members.set("response_format", &json!("pcm"));
        #[allow(clippy::float_cmp)]
        if turn.speed != 1.0 {
            members.set("speed", &json!(turn.speed.clamp(0.25, 4.0)));
        }
        SpeechRequest {
            members,
            input: text.to_owned(),
            voice,
            format: SpeechFormat::Pcm,
            speed: turn.speed,
            language: turn.language.clone(),
            as_events: false,
            request_id: turn.request_id.clone(),
        }
    }

    /// Tells the sound of a part, to its end.
    async fn sound(
        &self,
        part: i64,
        begun: Begun,
        idle_ms: i64,
        teller: &Teller<SpeechEvent>,
    ) -> Result<(), Failure> {
        match begun {
            Begun::Line { mut line, first } => {
                // A chunk may end in the middle of a sample.
                let mut decoder = Decoder::samples(self.turn.sample_rate_hz, self.turn.sample_rate_hz);
                let mut next = first;
                while let Some(sound) = next {
                    tell(teller, part, decoder.push(&sound)?).await;
                    next = line.next(idle_ms).await?;
                }
                self.line.replace(Some(line));
            }
            Begun::Stream { mut stream, mut decoder } => {
                let mut bytes = 0_usize;
                while let Some(sound) = stream.next(idle_ms).await? {
                    let pcm = decoder.push(&sound.to_vec())?;
                    bytes = bytes.saturating_add(pcm.len());
                    if bytes > PART_BYTES_MAX {
                        return Err(Failure::TooLarge);
                    }
                    tell(teller, part, pcm).await;
                }
            }
        }
        Ok(())
    }
}

async fn tell(teller: &Teller<SpeechEvent>, part: i64, pcm: Vec<u8>) {
    if !pcm.is_empty() {
        teller.tell(SpeechEvent::Sound { part, pcm }).await;
    }
}
