//! What a transcript is charged by: what its provider reports as far as that can be true, else what the recording's head
//! says, else what a recording of its size and kind, and of so much text, usually is.

use actors::shared::{CHARACTERS_PER_SECOND, ModelPrice, Units};

use super::super::meter::Used;
use crate::providers::{Basis, Disbelieved, Flag, Reported, SoundLength};

/// What a provider told of a recording.
#[derive(Debug, Clone, Copy, Default)]
pub struct Told {
    pub reported: Option<Reported>,
    /// Of the text it wrote.
    pub characters: u64,
}

/// Tokens that a model may read beside the sound and the prompt, and those that may end a text.
const TEMPLATE_TOKENS_MAX: u64 = 32;
/// What a reported length may be over what the recording can be, in milliseconds: providers bill in whole seconds.
const ROUNDING_MS_MAX: u64 = 1_000;

/// A recording, as far as its charge depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Recorded {
    pub length: SoundLength,
    /// Of what the client tells the model beside it; a token has at least one.
    pub prompt_bytes: u64,
}

impl Recorded {
    pub fn new(length: SoundLength, prompt: Option<&str>) -> Self {
        let prompt_bytes = prompt.map_or(0, str::len);
        Self { length, prompt_bytes: u64::try_from(prompt_bytes).unwrap_or(u64::MAX) }
    }

    /// The most that it can be charged as.
    pub fn most(self, price: ModelPrice) -> Units {
        let most = price.units_of_sound(self.length.most_ms);
        if !price.hears_by_tokens() {
            return most;
        }
        // Where tokens are reported, those of the text are too, and no speech has more of them than of sound.
        let of_sound = most.tokens_in.max(most.tokens_out).saturating_add(TEMPLATE_TOKENS_MAX);
        Units { tokens_in: of_sound.saturating_add(self.prompt_bytes), tokens_out: of_sound, ..most }
    }

    /// What it is charged as.
    pub fn used(self, told_of: Told, price: ModelPrice) -> Used {
        let Told { reported, characters } = told_of;
        let told = reported.map(|reported| self.believed(reported, price));
        if let Some(Some(units)) = told {
            return Used { units, basis: Basis::Reported, disbelieved: None };
        }
        let (ms, basis) = match self.length.exact_ms {
            Some(exact_ms) => (exact_ms, Basis::Counted),
            None => (self.estimated_ms(reported, characters), Basis::Estimated),
        };
        let disbelieved = reported.and_then(|reported| disbelieved(reported, price));
        Used { units: price.units_of_sound(ms), basis, disbelieved }
    }

    /// Sound can be packed closer than usual, but not spoken much faster. Who says that it is longer than it can be may
    /// have heard one that is nearly silent: then it is as long as it can be.
    fn estimated_ms(self, reported: Option<Reported>, characters: u64) -> u64 {
        let longer = |ms: u64| ms > self.length.most_ms;
        if matches!(reported, Some(Reported::Seconds(seconds)) if milliseconds(seconds).is_some_and(longer)) {
            return self.length.most_ms;
        }
        let spoken_ms = characters.saturating_mul(1_000).div_ceil(CHARACTERS_PER_SECOND);
        self.length.likely_ms.max(spoken_ms).min(self.length.most_ms)
    }

    fn believed(self, reported: Reported, price: ModelPrice) -> Option<Units> {
        match reported {
            Reported::Seconds(seconds) => {
                let ms = milliseconds(seconds)?;
                let can_be = ms <= self.length.most_ms.saturating_add(ROUNDING_MS_MAX);
                can_be.then(|| price.units_of_sound(ms.min(self.length.most_ms)))
            }
            Reported::Tokens { tokens_in, tokens_out } => {
                let most = self.most(price);
                let can_be = price.hears_by_tokens()
                    && (1..=most.tokens_in).contains(&tokens_in)
                    && tokens_out <= most.tokens_out;
                can_be.then(|| Units::tokens(tokens_in, tokens_out))
            }
            Reported::Absurd => None,
        }
    }
}

/// What is wrong with a report that was not believed.
fn disbelieved(reported: Reported, price: ModelPrice) -> Option<Disbelieved> {
    Some(match reported {
        // Tokens that nobody pays for here say nothing that could be wrong.
        Reported::Tokens { .. } if !price.hears_by_tokens() => return None,
        Reported::Tokens { tokens_in, tokens_out } => {
            let flag = if tokens_in == 0 { Flag::Absurd } else { Flag::Inflated };
            Disbelieved::tokens(flag, tokens_in, tokens_out)
        }
        Reported::Seconds(seconds) => {
            let flag = milliseconds(seconds).map_or(Flag::Absurd, |_| Flag::Inflated);
            Disbelieved::sound(flag, Some(seconds))
        }
        Reported::Absurd => Disbelieved::sound(Flag::Absurd, None),
    })
}

/// `None` for what is no length of anything.
fn milliseconds(seconds: f64) -> Option<u64> {
    let ms = (seconds * 1_000.0).ceil();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    (ms.is_finite() && ms >= 1.0).then_some(ms as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BY_MINUTES: ModelPrice = ModelPrice { per_minute_micro: 60_000, ..ModelPrice::flat(0) };
    const BY_TOKENS: ModelPrice = ModelPrice::flat(50_000);

    fn recorded(bytes: u64) -> Recorded {
        // Eight seconds of MP3, 64 at most, for every 64,000 bytes.
        Recorded { length: SoundLength::of(b"ID3\x04", bytes, 7_200_000), prompt_bytes: 10 }
    }

    #[test]
    fn a_report_is_believed_as_far_as_it_can_be_true() {
        let used = |reported| recorded(64_000).used(Told { reported, characters: 0 }, BY_MINUTES);
        let seconds = |seconds| used(Some(Reported::Seconds(seconds)));
        let ms = |used: Used| (used.units.milliseconds, used.basis, used.disbelieved.is_some());
        assert_eq!(ms(seconds(7.25)), (7_250, Basis::Reported, false));
        // Rounded up to its second, and never charged as more than the file can be.
        assert_eq!(ms(seconds(65.0)), (64_000, Basis::Reported, false));
        for longer in [65.1, 9_999.0, 1e300] {
            assert_eq!(ms(seconds(longer)), (64_000, Basis::Estimated, true), "{longer}");
        }
        for absurd in [-1.0, 0.0, f64::NAN, f64::INFINITY] {
            assert_eq!(ms(seconds(absurd)), (8_000, Basis::Estimated, true), "{absurd}");
        }
        assert_eq!(ms(used(Some(Reported::Absurd))), (8_000, Basis::Estimated, true));
        assert_eq!(ms(used(None)), (8_000, Basis::Estimated, false));
        let tokens = Reported::Tokens { tokens_in: 9, tokens_out: 9 };
        assert_eq!(ms(used(Some(tokens))), (8_000, Basis::Estimated, false), "nobody pays for tokens");
    }

    #[test]
    fn a_text_takes_its_time_however_close_its_sound_is_packed() {
        let ms = |characters| {
            recorded(64_000).used(Told { reported: None, characters }, BY_MINUTES).units.milliseconds
        };
        assert_eq!((ms(0), ms(120), ms(300), ms(1_000_000)), (8_000, 8_000, 20_000, 64_000));
    }

    #[test]
    fn a_header_is_a_count() {
        let length = SoundLength { exact_ms: Some(1_500), ..recorded(64_000).length };
        let recorded = Recorded { length, prompt_bytes: 0 };
        let used =
            recorded.used(Told { reported: Some(Reported::Seconds(1e9)), characters: 9_999 }, BY_MINUTES);
        assert_eq!((used.units.milliseconds, used.basis), (1_500, Basis::Counted));
    }

    #[test]
    fn where_tokens_are_paid_for_they_are_believed_within_the_same_bound() {
        let used = |tokens_in, tokens_out| {
            let reported = Some(Reported::Tokens { tokens_in, tokens_out });
            recorded(64_000).used(Told { reported, characters: 0 }, BY_TOKENS)
        };
        // 64 seconds at ten a second, 32 around them, and the prompt.
        assert_eq!(used(682, 672).units, Units::tokens(682, 672));
        for (tokens_in, tokens_out) in [(683, 1), (1, 673), (0, 5), (u64::MAX, u64::MAX)] {
            let used = used(tokens_in, tokens_out);
            assert_eq!((used.units.tokens_in, used.basis), (80, Basis::Estimated));
            let flag = used.disbelieved.map(|said| said.flag);
            assert_eq!(flag, Some(if tokens_in == 0 { Flag::Absurd } else { Flag::Inflated }));
        }
    }

    fn any_report() -> impl Strategy<Value = Option<Reported>> {
        prop_oneof![
            Just(None),
            Just(Some(Reported::Absurd)),
            any::<f64>().prop_map(|seconds| Some(Reported::Seconds(seconds))),
            (0.0_f64..10_000.0).prop_map(|seconds| Some(Reported::Seconds(seconds))),
            (0_u64..100_000, 0_u64..100_000)
                .prop_map(|(tokens_in, tokens_out)| Some(Reported::Tokens { tokens_in, tokens_out })),
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_reported_costs_no_more_than_was_held(
            reported in any_report(),
            bytes in 0_u64..30_000_000,
            input in 0_i64..1_000_000,
            output in 0_i64..1_000_000,
            minute in prop_oneof![Just(0_i64), 1_i64..1_000_000],
            per_characters in prop_oneof![Just(0_i64), 1_i64..1_000_000],
            characters in 0_u64..1_000_000,
        ) {
            let price = ModelPrice {
                input_per_1k_micro: input,
                output_per_1k_micro: output,
                per_minute_micro: minute,
                per_1k_characters_micro: per_characters,
                ..ModelPrice::default()
            };
            let recorded = recorded(bytes);
            let used = recorded.used(Told { reported, characters }, price);
            prop_assert!(price.charge(&used.units) <= price.hold(&recorded.most(price)));
        }
    }
}
