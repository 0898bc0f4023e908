//! Where, how and for how long.

use crate::voice_breaker::Way;
use crate::voice_client::{Heard, Moment};
use crate::voice_provider::{self as provider, Stage};
use std::time::Duration;

/// Bytes of 100 ms at 24 kHz.
pub const FRAME_BYTES: usize = 4_800;
/// Sound of the answer after which it is in its middle, and where its provider waits then.
pub const MIDDLE_BYTES: usize = 5 * FRAME_BYTES;
const MIDDLE_HELD_BYTES: usize = MIDDLE_BYTES + FRAME_BYTES;
/// How long a client is away before the drop in mid-replay.
pub const BEFORE_REPLAY: Duration = Duration::from_millis(400);

/// The points of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    Upgrade,
    BeforeWelcome,
    AfterWelcome,
    MidUtterance,
    AudioUnacknowledged,
    CommitSent,
    CommitAcknowledged,
    SttRunning,
    FinalUnreceived,
    BeforeFirstToken,
    MidLlm,
    FirstSound,
    MidAudio,
    BeforeDone,
    DuringReplay,
    AroundInterrupt,
}

impl Point {
    pub const ALL: [Self; 16] = [
        Self::Upgrade,
        Self::BeforeWelcome,
        Self::AfterWelcome,
        Self::MidUtterance,
        Self::AudioUnacknowledged,
        Self::CommitSent,
        Self::CommitAcknowledged,
        Self::SttRunning,
        Self::FinalUnreceived,
        Self::BeforeFirstToken,
        Self::MidLlm,
        Self::FirstSound,
        Self::MidAudio,
        Self::BeforeDone,
        Self::DuringReplay,
        Self::AroundInterrupt,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Upgrade => "upgrade",
            Self::BeforeWelcome => "before welcome",
            Self::AfterWelcome => "after welcome",
            Self::MidUtterance => "mid-utterance",
            Self::AudioUnacknowledged => "audio unacknowledged",
            Self::CommitSent => "commit sent",
            Self::CommitAcknowledged => "commit acknowledged",
            Self::SttRunning => "STT running",
            Self::FinalUnreceived => "final unreceived",
            Self::BeforeFirstToken => "before the first token",
            Self::MidLlm => "mid-LLM",
            Self::FirstSound => "first TTS chunk",
            Self::MidAudio => "mid-audio",
            Self::BeforeDone => "before `done`",
            Self::DuringReplay => "during replay",
            Self::AroundInterrupt => "around interrupt",
        }
    }

    /// The direction that falls silent: where the client speaks, what it says is lost; else what it is told.
    pub const fn silent(self) -> Way {
        match self {
            Self::MidUtterance | Self::AudioUnacknowledged | Self::CommitSent | Self::AroundInterrupt => {
                Way::Up
            }
            _ => Way::Down,
        }
    }

    /// Where the provider waits until the drop, so that the point is that point.
    pub fn held(self, mark: &str) -> Option<(Stage, usize)> {
        match self {
            Self::CommitSent | Self::CommitAcknowledged | Self::SttRunning => Some((Stage::Stt, 0)),
            Self::FinalUnreceived | Self::BeforeFirstToken => Some((Stage::Llm, 0)),
            Self::MidLlm => Some((Stage::Llm, provider::past_first_sentence(mark))),
            Self::FirstSound => Some((Stage::Tts, FRAME_BYTES)),
            Self::MidAudio | Self::DuringReplay | Self::AroundInterrupt => {
                Some((Stage::Tts, MIDDLE_HELD_BYTES))
            }
            _ => None,
        }
    }

    /// Whether this moment is the point. `frames` and `commit` are numbers of the client's own messages.
    pub fn is_at(self, moment: &Moment<'_>, heard: &Heard, frames: u32) -> bool {
        let (half, commit) = (frames / 2, frames + 1);
        match (self, moment) {
            (Self::Upgrade, Moment::Dials) => true,
            (Self::BeforeWelcome, Moment::About(event)) => event["type"] == "welcome",
            (Self::AfterWelcome, Moment::Took(event)) => event["type"] == "welcome",
            (Self::MidUtterance, Moment::Spoke(seq)) => *seq == half,
            (Self::AudioUnacknowledged, Moment::Spoke(seq)) => *seq == frames,
            (Self::CommitSent, Moment::Committed(_)) | (Self::AroundInterrupt, Moment::WantedSilence) => true,
            (Self::CommitAcknowledged, Moment::Acknowledged(seq)) => *seq >= commit,
            (Self::SttRunning, Moment::Took(event)) => event["type"] == "turn" && event["state"] == "stt",
            (Self::FinalUnreceived, Moment::About(event)) => {
                event["type"] == "transcript" && event["role"] == "user" && event["final"] == true
            }
            (Self::BeforeFirstToken, Moment::Took(event)) => {
                event["type"] == "turn" && event["state"] == "thinking"
            }
            (Self::MidLlm, Moment::Took(event)) => {
                event["type"] == "transcript" && event["role"] == "assistant"
            }
            (Self::FirstSound, Moment::TookSound(_)) => true,
            (Self::MidAudio | Self::DuringReplay, Moment::TookSound(_)) => {
                heard.pcm_of("one").len() >= MIDDLE_BYTES
            }
            (Self::BeforeDone, Moment::About(event)) => event["type"] == "turn" && event["state"] == "done",
            _ => false,
        }
    }
}

/// How the connection is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drop {
    Fin,
    Reset,
    Silence,
    /// The client gives its socket up, whose last words arrive after those of its next one.
    LateOldSocket,
    /// The actor's memory is lost, or its whole process is killed.
    Killed,
    /// The provider's connection is, and the client's with it.
    Provider,
}

impl Drop {
    pub const ALL: [Self; 6] =
        [Self::Fin, Self::Reset, Self::Silence, Self::LateOldSocket, Self::Killed, Self::Provider];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Fin => "FIN",
            Self::Reset => "RST",
            Self::Silence => "one-way silence",
            Self::LateOldSocket => "late old socket",
            Self::Killed => "killed",
            Self::Provider => "provider dropped",
        }
    }
}

/// How long the client is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gap {
    None,
    FiveSeconds,
    JustInTime,
    TooLate,
}

/// How long a session waits for its client, in these tests.
#[derive(Clone, Copy, Debug)]
pub struct Window(pub Duration);

impl Gap {
    pub const ALL: [Self; 4] = [Self::None, Self::FiveSeconds, Self::JustInTime, Self::TooLate];

    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "0 s",
            Self::FiveSeconds => "5 s",
            Self::JustInTime => "window − 1 s",
            Self::TooLate => "window + 1 s",
        }
    }

    pub fn time(self, window: Window) -> Duration {
        match self {
            Self::None => Duration::ZERO,
            Self::FiveSeconds => Duration::from_secs(5),
            Self::JustInTime => window.0 - Duration::from_secs(1),
            Self::TooLate => window.0 + Duration::from_secs(1),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    pub point: Point,
    pub drop: Drop,
    pub gap: Gap,
}

/// What a cell has to come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Resumes,
    Expires,
    /// The window is counted from when the actor learns of it, which is up to when it is woken.
    Either,
}

impl Cell {
    pub fn name(self) -> String {
        format!("{}, {}, {}", self.point.name(), self.drop.name(), self.gap.name())
    }

    pub fn due(self) -> Due {
        match (self.gap, self.point, self.drop) {
            // Nobody had come yet, and a ticket lives longer.
            (_, Point::Upgrade, _) => Due::Resumes,
            (Gap::TooLate, _, Drop::Fin | Drop::Reset | Drop::Provider) => Due::Expires,
            (Gap::TooLate, _, Drop::Killed) => Due::Either,
            // Nobody told the server that the socket is gone: it takes the client for present for two heartbeats more.
            _ => Due::Resumes,
        }
    }
}
