//! Text to be spoken: what is asked of a provider, and the bytes that come back.

use serde_json::{Value, json};
use web_sys::Response;
use worker::Env;

use super::attempts::{self, Answered, Failed, Form, Plan};
use super::byte_stream::ByteStream;
use super::cartesia::{self, SPEED_MAX, SPEED_MIN};
use super::failure::{Deadline, Failure};
use super::openai_compatible::{self, Content};
use super::whole_request::Members;
use super::workers_ai;
use crate::platform::abort::AbortGuard;
use crate::platform::config::{Config, Provider, ProviderKind, is_cartesia_voice};
use crate::platform::{now_ms, timer};

/// The longest speech that is passed on, in bytes. 4,096 characters at 15 a second are 273 seconds, at a quarter of the
/// speed 1,092, and at 24,000 samples of 16 bits 52 million bytes.
pub const SPEECH_BYTES_MAX: u64 = 67_108_864;

/// How speech is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpeechFormat {
    Mp3,
    Opus,
    Aac,
    Flac,
    Wav,
    /// Samples of 16 bits, 24,000 a second, and nothing else.
    Pcm,
}

impl SpeechFormat {
    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "mp3" => Self::Mp3,
            "opus" => Self::Opus,
            "aac" => Self::Aac,
            "flac" => Self::Flac,
            "wav" => Self::Wav,
            "pcm" => Self::Pcm,
            _ => return None,
        })
    }

    const fn media(self) -> &'static str {
        match self {
            Self::Mp3 => "audio/mpeg",
            Self::Opus => "audio/ogg",
            Self::Aac => "audio/aac",
            Self::Flac => "audio/flac",
            Self::Wav => "audio/wav",
            Self::Pcm => "audio/pcm",
        }
    }
}

/// A text, and how it is to be spoken.
#[derive(Debug, Clone)]
pub struct SpeechRequest {
    /// The client's own, passed on but for `model`.
    pub members: Members,
    pub input: String,
    pub voice: String,
    pub format: SpeechFormat,
    /// 1 is the usual.
    pub speed: f64,
    /// Of the text, by its two letters, for those who ask.
    pub language: Option<String>,
    /// The sound in events with its usage, where the provider does that.
    pub as_events: bool,
    pub request_id: String,
}

/// Asks `providers` until the first bytes of one arrive.
///
/// # Errors
/// [`Failed`] with every attempt, when none does before `end_ms`.
pub async fn speak(
    env: &Env,
    config: &Config,
    providers: &[Provider],
    request: &SpeechRequest,
    end_ms: i64,
) -> Result<Answered<ByteStream>, Failed> {
    let plan = Plan { config, providers, request_id: &request.request_id, end_ms, form: Form::Bytes };
    attempts::run(plan, async |provider, wait_ms| {
        begun(provider, wait_ms, opened(env, config, provider, request)).await
    })
    .await
}

/// Asks one provider, until its headers.
pub(super) async fn opened(
    env: &Env,
    config: &Config,
    provider: &Provider,
    request: &SpeechRequest,
) -> Result<ByteStream, Failure> {
    match provider.kind {
        ProviderKind::OpenAiCompatible => compatible(provider, request).await,
        ProviderKind::WorkersAi => binding(env, provider, request).await,
        ProviderKind::Cartesia => {
            let guard = AbortGuard::new();
            let response = cartesia::speak(config, provider, request, &guard).await?;
            stream_of(&response, Some(guard), request)
        }
    }
}

/// What somebody wants of speech that not every kind of provider can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    Events,
    Speed,
    Format,
}

impl SpeechRequest {
    /// What `kind` cannot do of it, if anything.
    pub fn beyond(&self, kind: ProviderKind) -> Option<Wish> {
        use SpeechFormat::{Mp3, Pcm, Wav};
        #[allow(clippy::float_cmp)]
        let paced = self.speed != 1.0;
        match kind {
            ProviderKind::OpenAiCompatible => None,
            _ if self.as_events => Some(Wish::Events),
            ProviderKind::WorkersAi => paced.then_some(Wish::Speed),
            ProviderKind::Cartesia if !(SPEED_MIN..=SPEED_MAX).contains(&self.speed) => Some(Wish::Speed),
            ProviderKind::Cartesia => (!matches!(self.format, Mp3 | Wav | Pcm)).then_some(Wish::Format),
        }
    }
}

/// Has a stream begin within the deadlines of its provider.
pub(super) async fn begun(
    provider: &Provider,
    wait_ms: i64,
    opening: impl Future<Output = Result<ByteStream, Failure>>,
) -> Result<ByteStream, Failure> {
    let end_ms = now_ms().saturating_add(wait_ms);
    let opened = timer::within(wait_ms.min(provider.deadlines.connect_ms), opening).await;
    let mut stream = opened.unwrap_or(Err(Failure::Timeout(Deadline::Connect)))?;
    stream.begin(end_ms.saturating_sub(now_ms())).await?;
    Ok(stream)
}

async fn compatible(provider: &Provider, request: &SpeechRequest) -> Result<ByteStream, Failure> {
    let guard = AbortGuard::new();
    let mut members = request.members.clone();
    members.set("model", &json!(provider.model));
    let content = Content::Json(members.to_text());
    let response =
        openai_compatible::post(provider, "/audio/speech", &request.request_id, content, &guard).await?;
    stream_of(&response, Some(guard), request)
}

fn stream_of(
    response: &Response,
    guard: Option<AbortGuard>,
    request: &SpeechRequest,
) -> Result<ByteStream, Failure> {
    let media = media_of(&openai_compatible::type_of(response), request).ok_or(Failure::ContentType)?;
    let stream = response.body().ok_or(Failure::Malformed)?;
    ByteStream::new(&stream, guard, media, SPEECH_BYTES_MAX)
}

/// What bytes are that say they are of type `said`; `None` where that is no sound. A kind of sound that is known is
/// believed: a server may have but one.
fn media_of(said: &str, request: &SpeechRequest) -> Option<&'static str> {
    if request.as_events {
        return (said == "text/event-stream").then_some("text/event-stream; charset=utf-8");
    }
    Some(match said {
        "audio/mpeg" | "audio/mp3" => "audio/mpeg",
        "audio/ogg" | "audio/opus" => "audio/ogg",
        "audio/aac" => "audio/aac",
        "audio/flac" | "audio/x-flac" => "audio/flac",
        "audio/wav" | "audio/x-wav" | "audio/wave" | "audio/vnd.wave" => "audio/wav",
        "application/octet-stream" | "binary/octet-stream" => request.format.media(),
        other if other.starts_with("audio/") => request.format.media(),
        _ => return None,
    })
}

/// Names of OpenAI's voices, which no other server has: who asks for one of them takes the usual voice there.
const OPENAI_VOICES: [&str; 13] = [
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer",
    "verse",
];

async fn binding(env: &Env, provider: &Provider, request: &SpeechRequest) -> Result<ByteStream, Failure> {
    let output = workers_ai::run_raw(env, &provider.model, &binding_inputs(request).to_string()).await?;
    stream_of(&output, None, request)
}

/// The inputs of Deepgram's models by the binding: `@cf/deepgram/aura-1` and its successors.
fn binding_inputs(request: &SpeechRequest) -> Value {
    let mut inputs = json!({ "text": request.input });
    let more = match request.format {
        SpeechFormat::Mp3 => json!({ "encoding": "mp3" }),
        SpeechFormat::Opus => json!({ "encoding": "opus", "container": "ogg" }),
        SpeechFormat::Aac => json!({ "encoding": "aac" }),
        SpeechFormat::Flac => json!({ "encoding": "flac" }),
        SpeechFormat::Wav => json!({ "encoding": "linear16", "container": "wav", "sample_rate": 24_000 }),
        SpeechFormat::Pcm => json!({ "encoding": "linear16", "container": "none", "sample_rate": 24_000 }),
    };
    if let (Some(inputs), Value::Object(more)) = (inputs.as_object_mut(), more) {
        inputs.extend(more);
        if !OPENAI_VOICES.contains(&request.voice.as_str()) && !is_cartesia_voice(&request.voice) {
            inputs.insert("speaker".to_owned(), json!(request.voice));
        }
    }
    inputs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(format: SpeechFormat, as_events: bool) -> SpeechRequest {
        SpeechRequest {
            members: Members::default(),
            input: "Hello".to_owned(),
            voice: "luna".to_owned(),
            format,
            speed: 1.0,
            language: None,
            as_events,
            request_id: String::new(),
        }
    }

    #[test]
    fn sound_is_what_it_says_it_is_and_nothing_else_is_sound() {
        let opus = request(SpeechFormat::Opus, false);
        for (said, media) in [
            ("audio/mpeg", Some("audio/mpeg")),
            ("audio/opus", Some("audio/ogg")),
            ("audio/x-wav", Some("audio/wav")),
            ("application/octet-stream", Some("audio/ogg")),
            ("audio/unheard-of", Some("audio/ogg")),
            ("text/html", None),
            ("application/json", None),
            ("text/event-stream", None),
            ("", None),
        ] {
            assert_eq!(media_of(said, &opus), media, "{said}");
        }
        let events = request(SpeechFormat::Mp3, true);
        assert_eq!(media_of("audio/mpeg", &events), None);
        assert!(media_of("text/event-stream", &events).is_some());
    }

    #[test]
    fn what_a_kind_cannot_do_is_known_before_it_is_asked() {
        use ProviderKind::{Cartesia, OpenAiCompatible, WorkersAi};
        let usual = |format| request(format, false);
        let paced = |speed| SpeechRequest { speed, ..usual(SpeechFormat::Mp3) };
        for (request, kind, beyond) in [
            (request(SpeechFormat::Mp3, true), OpenAiCompatible, None),
            (request(SpeechFormat::Mp3, true), WorkersAi, Some(Wish::Events)),
            (request(SpeechFormat::Mp3, true), Cartesia, Some(Wish::Events)),
            (paced(4.0), OpenAiCompatible, None),
            (paced(1.5), WorkersAi, Some(Wish::Speed)),
            (paced(1.5), Cartesia, None),
            (paced(0.5), Cartesia, Some(Wish::Speed)),
            (usual(SpeechFormat::Opus), WorkersAi, None),
            (usual(SpeechFormat::Opus), Cartesia, Some(Wish::Format)),
            (usual(SpeechFormat::Wav), Cartesia, None),
        ] {
            assert_eq!(request.beyond(kind), beyond, "{kind:?} {request:?}");
        }
    }

    #[test]
    fn the_binding_is_told_what_it_knows() {
        let inputs = binding_inputs(&request(SpeechFormat::Wav, false));
        let expected = json!({
            "text": "Hello", "encoding": "linear16", "container": "wav", "sample_rate": 24_000, "speaker": "luna",
        });
        assert_eq!(inputs, expected);
        let usual = SpeechRequest { voice: "alloy".to_owned(), ..request(SpeechFormat::Mp3, false) };
        assert_eq!(binding_inputs(&usual), json!({ "text": "Hello", "encoding": "mp3" }));
    }
}
