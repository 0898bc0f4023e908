//! What a session is opened with, and what it may cost.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::limits::{TEXT_BYTES_MAX, WINDOW_MS, WINDOW_MS_MAX};
use crate::shared::{Micro, ModelPrice, Refusal, Units};

/// Samples a second that are spoken here.
const SAMPLE_RATES_HZ: [u32; 5] = [8_000, 16_000, 22_050, 24_000, 48_000];

/// Who says that an utterance is over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detection {
    /// The client, with `commit`.
    #[default]
    Client,
    /// The energy of its sound, after so much quiet; or the client.
    Energy { silence_ms: u32 },
}

/// What the parts of a turn and the session's minutes cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Prices {
    /// Attached time, by the minute.
    pub session: ModelPrice,
    pub stt: ModelPrice,
    pub llm: ModelPrice,
    pub tts: ModelPrice,
}

/// The most of one turn: what is held for it, and never passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TurnBounds {
    pub utterance_ms: u32,
    pub tokens_in: u64,
    pub tokens_out: u64,
    /// Of answer, that are spoken.
    pub characters: u64,
}

impl Default for TurnBounds {
    fn default() -> Self {
        Self { utterance_ms: 60_000, tokens_in: 8_000, tokens_out: 1_024, characters: 4_000 }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    pub sample_rate_hz: u32,
    pub detection: Detection,
    /// How long the session waits for its client; zero where its protocol cannot come back.
    pub window_ms: i64,
    pub prices: Prices,
    pub bounds: TurnBounds,
    /// What the model is told first.
    pub system: Option<String>,
    /// Voice, language, speed, models: for the host, and not looked at here.
    pub prefs: Value,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sample_rate_hz: 24_000,
            detection: Detection::Client,
            window_ms: WINDOW_MS,
            prices: Prices::default(),
            bounds: TurnBounds::default(),
            system: None,
            prefs: Value::Null,
        }
    }
}

impl Settings {
    /// # Errors
    /// `InvalidSetting`.
    pub fn check(&self) -> Result<(), Refusal> {
        let wrong = |field: &str, expected: &str| {
            Err(Refusal::InvalidSetting { field: field.to_owned(), expected: expected.to_owned() })
        };
        if !SAMPLE_RATES_HZ.contains(&self.sample_rate_hz) {
            return wrong("sample_rate_hz", "8000, 16000, 22050, 24000 or 48000");
        }
        if !(0..=WINDOW_MS_MAX).contains(&self.window_ms) {
            return wrong("window_ms", "0 to 600000");
        }
        if let Detection::Energy { silence_ms } = self.detection
            && !(100..=5_000).contains(&silence_ms)
        {
            return wrong("silence_ms", "100 to 5000");
        }
        let TurnBounds { utterance_ms, tokens_in, tokens_out, characters } = self.bounds;
        if !(1_000..=60_000).contains(&utterance_ms)
            || !(1..=1_000_000).contains(&tokens_in)
            || !(1..=100_000).contains(&tokens_out)
            || !(1..=20_000).contains(&characters)
        {
            return wrong("bounds", "1 to 60 s, to 1000000 tokens in, 100000 out, 20000 characters");
        }
        let Prices { session, stt, llm, tts } = self.prices;
        if ![session, stt, llm, tts].iter().all(|price| price.is_within_bounds()) {
            return wrong("prices", "from 0 to 1000 credits a unit");
        }
        if self.system.as_ref().is_some_and(|system| system.len() > TEXT_BYTES_MAX)
            || self.prefs.to_string().len() > TEXT_BYTES_MAX
        {
            return wrong("prefs", "at most 4096 bytes");
        }
        Ok(())
    }

    #[must_use]
    pub fn milliseconds(&self, samples: u32) -> u32 {
        milliseconds(samples, self.sample_rate_hz)
    }

    /// Samples in so many milliseconds.
    #[must_use]
    pub fn samples(&self, milliseconds: u32) -> u32 {
        let samples = u64::from(milliseconds).saturating_mul(u64::from(self.sample_rate_hz)) / 1_000;
        u32::try_from(samples).unwrap_or(u32::MAX)
    }
}

/// Whole milliseconds of so many samples.
#[must_use]
pub fn milliseconds(samples: u32, sample_rate_hz: u32) -> u32 {
    let scaled = u64::from(samples).saturating_mul(1_000);
    scaled.checked_div(u64::from(sample_rate_hz)).and_then(|ms| u32::try_from(ms).ok()).unwrap_or(u32::MAX)
}

/// Amounts told apart: what they are set aside for, or what was spent on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Costs {
    pub session: Micro,
    pub listening: Micro,
    pub thinking: Micro,
    pub speaking: Micro,
}

impl Costs {
    #[must_use]
    pub fn sum(self) -> Micro {
        let parts = [self.session, self.listening, self.thinking, self.speaking];
        Micro(parts.iter().fold(0_i64, |sum, part| sum.saturating_add(part.0)).min(Micro::MAX.0))
    }
}

impl Prices {
    /// The most that one turn can cost within its bounds.
    #[must_use]
    pub fn hold(&self, bounds: &TurnBounds) -> Costs {
        Costs {
            session: Micro::ZERO,
            listening: self.stt.hold(&self.stt.units_of_sound(u64::from(bounds.utterance_ms))),
            thinking: self.llm.hold(&Units::tokens(bounds.tokens_in, bounds.tokens_out)),
            speaking: self.tts.hold(&self.tts.units_of_characters(bounds.characters)),
        }
    }

    /// What attached time costs: the charge, to the nearest step.
    #[must_use]
    pub fn attached(&self, milliseconds: i64) -> Micro {
        self.session.charge(&attached(milliseconds))
    }

    /// What covers it, whatever step it is rounded to.
    #[must_use]
    pub fn attached_hold(&self, milliseconds: i64) -> Micro {
        self.session.hold(&attached(milliseconds))
    }
}

fn attached(milliseconds: i64) -> Units {
    Units { milliseconds: u64::try_from(milliseconds).unwrap_or(0), ..Units::default() }
}
