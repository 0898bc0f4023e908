//! The text of one utterance: its sound goes in as it comes, and what is heard comes out.
//!
//! Where the first provider listens by a socket, it is sent the sound at once, so that its text is there soon after the end.
//! All sound is kept until then: whoever is asked next gets the whole utterance, and so does who hears only files.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use actors::shared::Units;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::future::{Either, LocalBoxFuture, select};
use futures::{FutureExt, StreamExt};
use serde_json::Value;
use worker::Env;

use super::super::attempts::{self, Form, Plan};
use super::super::cartesia::HearingLine;
use super::super::failure::Failure;
use super::super::transcription::{self, TranscriptFormat, TranscriptionRequest};
use super::events::{Events, Teller};
use super::limits::{CONNECT_MS, TEXT_MS, UTTERANCE_BYTES_MAX};
use super::{Ended, pcm};
use crate::platform::config::{Config, Provider, ProviderKind};
use crate::platform::uploads;

/// An utterance to be heard.
#[derive(Clone)]
pub struct Hearing {
    /// In their order: those of `STT_PROVIDERS` that the tenant may use.
    pub providers: Vec<Provider>,
    /// By its two letters.
    pub language: Option<String>,
    /// Of the sound that goes in.
    pub sample_rate_hz: u32,
    pub request_id: String,
    /// When its time is over.
    pub end_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HearingEvent {
    /// What is believed so far, all of it.
    Partial(String),
    /// What was said, all of it; empty where nothing was. The last event.
    Final(String),
    /// Nothing more comes. The last event.
    Failed(Ended),
}

enum Fed {
    Sound(Vec<u8>),
    End,
}

/// Where sound goes in. Nothing here waits.
pub struct SoundFeed {
    fed: UnboundedSender<Fed>,
    bytes: Cell<usize>,
    sample_rate_hz: u32,
}

impl SoundFeed {
    /// Samples of 16 bits, one channel, little-endian. False when the utterance is too long; then they were not taken.
    pub fn push(&self, pcm: Vec<u8>) -> bool {
        let bytes = self.bytes.get().saturating_add(pcm.len());
        if bytes > UTTERANCE_BYTES_MAX {
            return false;
        }
        self.bytes.set(bytes);
        self.fed.unbounded_send(Fed::Sound(pcm)).is_ok()
    }

    /// The utterance is over: its text is wanted.
    pub fn finalize(&self) {
        let _ended_already = self.fed.unbounded_send(Fed::End);
    }

    /// The sound that was pushed.
    pub fn units(&self) -> Units {
        let milliseconds = pcm::milliseconds(self.bytes.get(), self.sample_rate_hz);
        Units { milliseconds, ..Units::default() }
    }
}

/// Begins to listen. Nothing is asked before the first event is waited for.
pub fn hear(env: &Env, config: &Rc<Config>, turn: Hearing) -> (SoundFeed, Events<HearingEvent>) {
    let (fed, sound) = unbounded();
    let sample_rate_hz = turn.sample_rate_hz;
    let feed = SoundFeed { fed, bytes: Cell::new(0), sample_rate_hz };
    let providers = turn.providers.iter().map(hurried).collect();
    let work = Work { env: env.clone(), config: Rc::clone(config), turn, providers };
    let work = async move |teller: &Teller<HearingEvent>| match work.run(sound, teller).await {
        Ok(text) => HearingEvent::Final(text),
        Err(ended) => HearingEvent::Failed(ended),
    };
    (feed, Events::of(work))
}

fn hurried(provider: &Provider) -> Provider {
    let mut provider = provider.clone();
    let deadlines = &mut provider.deadlines;
    deadlines.connect_ms = deadlines.connect_ms.min(CONNECT_MS);
    deadlines.answer_ms = deadlines.answer_ms.min(TEXT_MS);
    provider
}

struct Work {
    env: Env,
    config: Rc<Config>,
    turn: Hearing,
    providers: Vec<Provider>,
}

/// The socket that is sent sound as it comes.
enum Early<'a> {
    None,
    Opening(LocalBoxFuture<'a, Result<HearingLine, Failure>>),
    Open(Box<HearingLine>),
}

/// What happened while somebody spoke.
enum Step {
    Fed(Option<Fed>),
    Opened(Result<HearingLine, Failure>),
    Heard(Result<Option<String>, Failure>),
}

impl Work {
    async fn run(
        &self,
        mut fed: UnboundedReceiver<Fed>,
        teller: &Teller<HearingEvent>,
    ) -> Result<String, Ended> {
        let mut utterance = Vec::new();
        let early = self.gather(&mut fed, &mut utterance, teller).await;
        if utterance.is_empty() {
            return Ok(String::new());
        }
        let early = RefCell::new(early);
        let plan = Plan {
            config: &self.config,
            providers: &self.providers,
            request_id: &self.turn.request_id,
            end_ms: self.turn.end_ms,
            form: Form::Whole,
        };
        let answered = attempts::run(plan, async |provider, _| match provider.kind {
            ProviderKind::Cartesia => {
                let early = early.replace(Early::None);
                self.by_socket(provider, early, &utterance, teller).await
            }
            ProviderKind::OpenAiCompatible | ProviderKind::WorkersAi => {
                self.by_file(provider, &utterance).await
            }
        });
        let answered = answered.await.map_err(Ended::nobody)?;
        Ok(answered.value)
    }

    /// Takes the utterance, and has the first provider hear it meanwhile where it can. What fails here is no attempt yet.
    async fn gather(
        &self,
        fed: &mut UnboundedReceiver<Fed>,
        utterance: &mut Vec<u8>,
        teller: &Teller<HearingEvent>,
    ) -> Early<'_> {
        let first = self.providers.first().filter(|provider| provider.kind == ProviderKind::Cartesia);
        let mut early = Early::None;
        let mut is_new = true;
        loop {
            let step = match &mut early {
                Early::None => Step::Fed(fed.next().await),
                Early::Opening(opening) => match select(fed.next(), opening).await {
                    Either::Left((next, _)) => Step::Fed(next),
                    Either::Right((opened, _)) => Step::Opened(opened),
                },
                Early::Open(line) => match select(fed.next(), Box::pin(line.next())).await {
                    Either::Left((next, _)) => Step::Fed(next),
                    Either::Right((heard, _)) => Step::Heard(heard),
                },
            };
            match step {
                Step::Fed(Some(Fed::Sound(sound))) => {
                    utterance.extend_from_slice(&sound);
                    if let Early::Open(line) = &mut early {
                        line.catch_up(utterance);
                    } else if let (true, Some(provider)) = (std::mem::take(&mut is_new), first) {
                        early = Early::Opening(self.open(provider).boxed_local());
                    }
                }
                Step::Fed(Some(Fed::End) | None) => return early,
                Step::Opened(Ok(mut line)) => {
                    line.catch_up(utterance);
                    early = Early::Open(Box::new(line));
                }
                Step::Heard(Ok(Some(text))) => teller.tell(HearingEvent::Partial(text)).await,
                Step::Opened(Err(_)) | Step::Heard(_) => early = Early::None,
            }
        }
    }

    async fn open(&self, provider: &Provider) -> Result<HearingLine, Failure> {
        let turn = &self.turn;
        let wait_ms = provider.deadlines.connect_ms;
        HearingLine::open(provider, turn.language.as_deref(), turn.sample_rate_hz, &turn.request_id, wait_ms)
            .await
    }

    async fn by_socket(
        &self,
        provider: &Provider,
        early: Early<'_>,
        utterance: &[u8],
        teller: &Teller<HearingEvent>,
    ) -> Result<String, Failure> {
        let is_first = self
            .providers
            .first()
            .is_some_and(|first| first.name == provider.name && first.model == provider.model);
        let mut line = match early {
            Early::Open(line) if line.is_of(provider) => *line,
            // What is being opened is this attempt: should it fail, nobody knocks twice.
            Early::Opening(opening) if is_first => opening.await?,
            Early::Opening(_) | Early::Open(_) | Early::None => self.open(provider).await?,
        };
        line.catch_up(utterance);
        line.finalize();
        while let Some(text) = line.next().await? {
            teller.tell(HearingEvent::Partial(text)).await;
        }
        Ok(line.into_text())
    }

    async fn by_file(&self, provider: &Provider, utterance: &[u8]) -> Result<String, Failure> {
        let turn = &self.turn;
        let wav = pcm::wav_of(utterance, turn.sample_rate_hz);
        let file_bytes = u64::try_from(wav.len()).unwrap_or(u64::MAX);
        let mut fields = vec![("response_format".to_owned(), "json".to_owned())];
        fields.extend(turn.language.iter().map(|language| ("language".to_owned(), language.clone())));
        let request = TranscriptionRequest {
            file: uploads::of_bytes(&wav).ok_or(Failure::Malformed)?,
            file_name: "turn.wav".to_owned(),
            file_bytes,
            media: "audio/wav".to_owned(),
            fields,
            format: TranscriptFormat::Json,
            language: turn.language.clone(),
            prompt: None,
            request_id: turn.request_id.clone(),
        };
        let transcript = transcription::once(&self.env, provider, &request).await?;
        let body: Value = serde_json::from_str(&transcript.body).map_err(|_| Failure::Malformed)?;
        body.get("text").and_then(Value::as_str).map(str::to_owned).ok_or(Failure::Malformed)
    }
}
