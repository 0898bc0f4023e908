//! Money as integers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Micro-credits: 1,000,000 are one credit.
///
/// At most 10^15 (a thousand million credits): an amount, and the sum of a few, stay below 2^53 and so cross
/// the platform's numbers exactly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Micro(pub i64);

const MICRO_PER_CREDIT: i64 = 1_000_000;
/// The smallest step of a charge, 0.001 credit.
const MICRO_PER_STEP: i64 = 1_000;

impl Micro {
    pub const ZERO: Self = Self(0);
    pub const MAX: Self = Self(1_000_000_000_000_000);

    /// Credits as a client writes them, to the nearest micro-credit.
    /// `None` when not finite or beyond [`Micro::MAX`] either way.
    #[must_use]
    pub fn from_credits(credits: f64) -> Option<Self> {
        #[allow(clippy::cast_precision_loss)]
        let scaled = credits * MICRO_PER_CREDIT as f64;
        #[allow(clippy::cast_precision_loss)]
        let limit = Self::MAX.0 as f64;
        if !scaled.is_finite() || scaled.abs() > limit {
            return None;
        }
        #[allow(clippy::cast_possible_truncation)]
        let rounded = scaled.round() as i64;
        Some(Self(rounded))
    }

    /// Thousandths of a credit, rounded down: a balance is never shown larger than it is.
    #[must_use]
    pub const fn thousandths(self) -> i64 {
        self.0.div_euclid(MICRO_PER_STEP)
    }

    /// The wire number: credits with at most three decimals.
    #[must_use]
    pub fn credits(self) -> f64 {
        #[allow(clippy::cast_precision_loss)]
        let thousandths = self.thousandths() as f64;
        thousandths / 1_000.0
    }

    /// So many hundredths of it, to the nearest step of a charge, half up. For amounts that are not negative.
    #[must_use]
    pub fn percent(self, percent: u32) -> Self {
        let parts = i128::from(self.0).saturating_mul(i128::from(percent));
        let step = i128::from(MICRO_PER_STEP).saturating_mul(100);
        let steps = parts.saturating_add(step / 2).div_euclid(step);
        let micro = steps.saturating_mul(i128::from(MICRO_PER_STEP));
        Self(i64::try_from(micro).unwrap_or(Self::MAX.0)).min(Self::MAX)
    }

    /// Sum within ±[`Micro::MAX`].
    #[must_use]
    pub fn plus(self, other: Self) -> Option<Self> {
        Self::bounded(self.0.checked_add(other.0)?)
    }

    /// Difference within ±[`Micro::MAX`].
    #[must_use]
    pub fn minus(self, other: Self) -> Option<Self> {
        Self::bounded(self.0.checked_sub(other.0)?)
    }

    /// The same amount with the other sign.
    #[must_use]
    pub const fn negated(self) -> Self {
        Self(self.0.saturating_neg())
    }

    fn bounded(micro: i64) -> Option<Self> {
        (micro.unsigned_abs() <= Self::MAX.0.unsigned_abs()).then_some(Self(micro))
    }
}

/// Credits with exactly three decimals, as the billing headers have them.
impl fmt::Display for Micro {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thousandths = self.thousandths();
        let sign = if thousandths < 0 { "-" } else { "" };
        let size = thousandths.unsigned_abs();
        write!(f, "{sign}{}.{:03}", size / 1_000, size % 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_an_amount_is_rounded_half_up_to_a_step() {
        for (micro, percent, expected) in [
            (12_000, 100, 12_000),
            (12_000, 50, 6_000),
            (12_000, 0, 0),
            (1_000, 50, 1_000),
            (1_000, 49, 0),
            (5_000, 10, 1_000),
            (4_000, 12, 0),
            (Micro::MAX.0, 100, Micro::MAX.0),
        ] {
            assert_eq!(Micro(micro).percent(percent), Micro(expected), "{micro} × {percent} %");
        }
    }

    #[test]
    fn amounts_beyond_the_bound_are_not_amounts() {
        for credits in [f64::NAN, f64::INFINITY, 1e30, -1e30, 1e9 + 1.0] {
            assert_eq!(Micro::from_credits(credits), None, "{credits}");
        }
        assert_eq!(Micro::from_credits(1e9), Some(Micro::MAX));
        assert_eq!(Micro::MAX.plus(Micro(1)), None);
    }

    #[test]
    fn shown_amounts_are_rounded_down() {
        assert_eq!(Micro(9_999_999).to_string(), "9.999");
        assert_eq!(Micro(-1).to_string(), "-0.001");
        assert!((Micro(12_345_678).credits() - 12.345).abs() < f64::EPSILON);
    }
}
