//! Chance from a seed: the same seed gives the same draws, so what chance decided can be decided again in a test.

use std::f64::consts::TAU;

/// A stream of draws: SplitMix64, whose every seed is a good one.
#[derive(Debug, Clone)]
pub struct Chance {
    state: u64,
}

/// Tries of one draw by rejection. One in twenty is rejected at worst, so never so many in any life of this system.
const TRIES_MAX: u32 = 32;

impl Chance {
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub const fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Uniform between zero and one, and neither of them.
    pub fn uniform(&mut self) -> f64 {
        // One bit less than a double holds, so that the half is added exactly and the highest step is not rounded to one.
        const STEP: f64 = 1.0 / (1_u64 << 52) as f64;
        ((self.bits() >> 12) as f64 + 0.5) * STEP
    }

    /// The standard normal distribution, by Box and Muller.
    fn normal(&mut self) -> f64 {
        let (radius, angle) = (self.uniform(), self.uniform());
        (-2.0 * radius.ln()).sqrt() * (TAU * angle).cos()
    }

    /// The gamma distribution of this shape, at least one, by Marsaglia and Tsang (ACM TOMS 26, 2000).
    fn gamma(&mut self, shape: f64) -> f64 {
        let centre = shape - 1.0 / 3.0;
        let spread = 1.0 / (9.0 * centre).sqrt();
        for _ in 0..TRIES_MAX {
            let normal = self.normal();
            let root = spread.mul_add(normal, 1.0);
            let cube = root * root * root;
            if cube > 0.0 {
                let bound = 0.5f64.mul_add(normal * normal, centre - centre * cube + centre * cube.ln());
                if self.uniform().ln() < bound {
                    return centre * cube;
                }
            }
        }
        centre
    }

    /// The beta distribution of these two shapes, each at least one.
    pub fn beta(&mut self, successes: f64, failures: f64) -> f64 {
        let (won, lost) = (self.gamma(successes), self.gamma(failures));
        won / (won + lost)
    }
}
