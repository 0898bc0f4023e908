//! What speech is charged by: its own unit where the model's price has one, else a unit that it has.
//!
//! A price that says nothing of characters or minutes must not make work that is free by oversight. What is put in the
//! place of a unit is written down as units too, so a usage row alone still says what its charge is computed from.

use super::{ModelPrice, Units};

/// Characters of text that count as one token, where text to be spoken is priced by tokens: what English averages.
pub const CHARACTERS_PER_TOKEN: u64 = 4;
/// Milliseconds of sound that count as one token, where sound is priced by tokens: models that hear read ten a second.
pub const MILLISECONDS_PER_TOKEN: u64 = 100;
/// Characters that are spoken in a second: 150 words of six in a minute.
pub const CHARACTERS_PER_SECOND: u64 = 15;

impl ModelPrice {
    /// What speaking so many characters is charged as.
    #[must_use]
    pub fn units_of_characters(self, characters: u64) -> Units {
        let own = Units { characters, ..Units::default() };
        if self.per_1k_characters_micro > 0 {
            own
        } else if self.has_token_price() {
            self.with_tokens(own, characters.div_ceil(CHARACTERS_PER_TOKEN))
        } else {
            let milliseconds = characters.saturating_mul(1_000).div_ceil(CHARACTERS_PER_SECOND);
            // Of a price that is nothing at all this is nothing too.
            Units { milliseconds: if self.per_minute_micro > 0 { milliseconds } else { 0 }, ..own }
        }
    }

    /// What hearing so many milliseconds is charged as.
    #[must_use]
    pub fn units_of_sound(self, milliseconds: u64) -> Units {
        let own = Units { milliseconds, ..Units::default() };
        if self.per_minute_micro > 0 {
            own
        } else if self.has_token_price() {
            self.with_tokens(own, milliseconds.div_ceil(MILLISECONDS_PER_TOKEN))
        } else {
            let characters = milliseconds.saturating_mul(CHARACTERS_PER_SECOND).div_ceil(1_000);
            Units { characters: if self.per_1k_characters_micro > 0 { characters } else { 0 }, ..own }
        }
    }

    /// Whether sound is charged by tokens: those that a provider reports, or what stands in their place.
    #[must_use]
    pub const fn hears_by_tokens(self) -> bool {
        self.per_minute_micro == 0 && self.has_token_price()
    }

    const fn has_token_price(self) -> bool {
        self.input_per_1k_micro > 0 || self.output_per_1k_micro > 0
    }

    /// Beside `own`, so many tokens of the kind that has a price.
    const fn with_tokens(self, own: Units, tokens: u64) -> Units {
        if self.input_per_1k_micro > 0 {
            Units { tokens_in: tokens, ..own }
        } else {
            Units { tokens_out: tokens, ..own }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Micro;
    use super::*;

    const FREE: ModelPrice = ModelPrice::flat(0);

    fn by_characters(micro: i64) -> ModelPrice {
        ModelPrice { per_1k_characters_micro: micro, ..FREE }
    }

    fn by_minutes(micro: i64) -> ModelPrice {
        ModelPrice { per_minute_micro: micro, ..FREE }
    }

    #[test]
    fn a_unit_of_its_own_goes_before_tokens_and_those_before_the_other_one() {
        let tokens = ModelPrice::flat(50_000);
        let both = ModelPrice { per_1k_characters_micro: 1, per_minute_micro: 1, ..tokens };
        let units = |tokens_in, tokens_out, characters, milliseconds| Units {
            tokens_in,
            tokens_out,
            characters,
            milliseconds,
            ..Units::default()
        };
        let out_alone = ModelPrice { output_per_1k_micro: 7, ..FREE };
        for (price, spoken, heard) in [
            (both, units(0, 0, 41, 0), units(0, 0, 0, 4_001)),
            (tokens, units(11, 0, 41, 0), units(41, 0, 0, 4_001)),
            (out_alone, units(0, 11, 41, 0), units(0, 41, 0, 4_001)),
            (by_characters(1), units(0, 0, 41, 0), units(0, 0, 61, 4_001)),
            (by_minutes(1), units(0, 0, 41, 2_734), units(0, 0, 0, 4_001)),
            (FREE, units(0, 0, 41, 0), units(0, 0, 0, 4_001)),
        ] {
            assert_eq!(price.units_of_characters(41), spoken, "{price:?}");
            assert_eq!(price.units_of_sound(4_001), heard, "{price:?}");
        }
    }

    fn any_price() -> impl Strategy<Value = ModelPrice> {
        let micro = || prop_oneof![Just(0), 1_000..=ModelPrice::PER_UNIT_MICRO_MAX];
        (micro(), micro(), micro(), micro()).prop_map(|(input, output, characters, minutes)| ModelPrice {
            input_per_1k_micro: input,
            output_per_1k_micro: output,
            per_1k_characters_micro: characters,
            per_minute_micro: minutes,
            ..FREE
        })
    }

    proptest! {
        #[test]
        fn nothing_is_free_by_oversight_and_more_never_costs_less(
            price in any_price(), count in 1_000_000_u64..1_000_000_000, more in 0_u64..1_000_000,
        ) {
            let after = count + more;
            for (less, most) in [
                (price.units_of_characters(count), price.units_of_characters(after)),
                (price.units_of_sound(count), price.units_of_sound(after)),
            ] {
                prop_assert_eq!(price.charge(&less) > Micro::ZERO, price != FREE);
                prop_assert!(price.charge(&less) <= price.charge(&most));
                prop_assert!(price.charge(&less) <= price.hold(&most));
            }
        }
    }
}
