//! What is believed of an arm, and how chance follows it: Thompson sampling. No storage, no names.
//!
//! Of each arm a success rate is believed with a beta distribution that begins flat. A score between zero and one
//! counts as that much of a success and the rest of it as a failure.

use serde::{Deserialize, Serialize};

use super::beta;
use super::chance::Chance;

/// A score of one, in millionths: sums of whole numbers do not drift.
pub const SCORE_PPM: i64 = 1_000_000;
/// Draws behind a probability of being best: its error is below one in a hundred.
pub const BEST_DRAWS: u32 = 4_000;
/// What those draws begin with: the same sums are reported the same way, however often.
const BEST_SEED: u64 = 0x5EED_BE57;
/// How much of what is believed lies within a credible interval.
pub const CREDIBLE_SHARE: f64 = 0.95;

/// What came of one arm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    pub outcomes: i64,
    pub score_ppm: i64,
}

impl Sums {
    /// Adds one outcome.
    pub const fn add(&mut self, score_ppm: i64) {
        self.outcomes = self.outcomes.saturating_add(1);
        self.score_ppm = self.score_ppm.saturating_add(score_ppm);
    }

    /// The two shapes of what is believed.
    fn shapes(self) -> (f64, f64) {
        let successes = self.score_ppm as f64 / SCORE_PPM as f64;
        (1.0 + successes, 1.0 + (self.outcomes as f64 - successes).max(0.0))
    }

    /// The mean of the scores; `None` without any.
    #[must_use]
    pub fn mean(self) -> Option<f64> {
        (self.outcomes > 0).then(|| self.score_ppm as f64 / SCORE_PPM as f64 / self.outcomes as f64)
    }

    /// Between which rates [`CREDIBLE_SHARE`] of what is believed lies, as much below it as above.
    #[must_use]
    pub fn interval(self) -> (f64, f64) {
        let (a, b) = self.shapes();
        let outside = (1.0 - CREDIBLE_SHARE) / 2.0;
        (beta::quantile(outside, a, b), beta::quantile(1.0 - outside, a, b))
    }
}

/// Which of `arms` is next: each shows a rate that it may have, and the highest wins. `None` without arms.
pub fn choose(arms: impl IntoIterator<Item = Sums>, chance: &mut Chance) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (at, sums) in arms.into_iter().enumerate() {
        let (a, b) = sums.shapes();
        let shown = chance.beta(a, b);
        if best.is_none_or(|(_, highest)| shown > highest) {
            best = Some((at, shown));
        }
    }
    best.map(|(at, _)| at)
}

/// How probable it is of each arm that none has a higher rate.
#[must_use]
pub fn best_of(arms: &[Sums]) -> Vec<f64> {
    let mut chance = Chance::new(BEST_SEED);
    let mut wins = vec![0_u32; arms.len()];
    for _ in 0..BEST_DRAWS {
        let winner = choose(arms.iter().copied(), &mut chance);
        if let Some(count) = winner.and_then(|at| wins.get_mut(at)) {
            *count = count.saturating_add(1);
        }
    }
    wins.into_iter().map(|count| f64::from(count) / f64::from(BEST_DRAWS)).collect()
}

/// What following the outcomes has brought, beside what giving every arm the same share would have.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Uplift {
    /// The mean score of all outcomes.
    pub mean: f64,
    /// The mean of the arms' means.
    pub even: f64,
}

impl Uplift {
    /// `None` until there is an outcome.
    #[must_use]
    pub fn of(arms: &[Sums]) -> Option<Self> {
        let mut all = Sums::default();
        let (mut means, mut count) = (0.0, 0.0);
        for sums in arms {
            all.outcomes = all.outcomes.saturating_add(sums.outcomes);
            all.score_ppm = all.score_ppm.saturating_add(sums.score_ppm);
            if let Some(mean) = sums.mean() {
                means += mean;
                count += 1.0;
            }
        }
        Some(Self { mean: all.mean()?, even: means / count })
    }
}
