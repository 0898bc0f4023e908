//! The incomplete beta function, against sums that share no code with it.

use proptest::prelude::*;

use crate::experiment::beta::{below, quantile};
use crate::experiment::chance::Chance;

/// For whole shapes it is a tail of the binomial distribution: at least `a` of `a + b − 1` at rate `x`.
fn binomial_tail(x: f64, a: u32, b: u32) -> f64 {
    let n = a + b - 1;
    let mut sum = 0.0;
    for hits in a..=n {
        let mut term = 1.0;
        for step in 0..hits {
            term *= f64::from(n - step) / f64::from(step + 1) * x;
        }
        sum += term * (1.0 - x).powi(i32::try_from(n - hits).unwrap());
    }
    sum
}

#[test]
fn known_points() {
    for (x, a, b, known) in [(0.5, 2.0, 3.0, 0.6875), (0.3, 1.0, 1.0, 0.3), (0.5, 40.0, 40.0, 0.5)] {
        assert!((below(x, a, b) - known).abs() < 1e-12, "{x} {a} {b}");
    }
    // By the closed form 1 − (1 − x)⁶ − 6x(1 − x)⁵, solved by hand to ten digits.
    for (share, known) in [(0.025, 0.043_271_868_3), (0.975, 0.641_234_579_0)] {
        assert!((quantile(share, 2.0, 5.0) - known).abs() < 1e-8, "{}", quantile(share, 2.0, 5.0));
    }
    assert_eq!((below(0.0, 3.0, 4.0), below(1.0, 3.0, 4.0)), (0.0, 1.0));
}

#[test]
fn points_of_any_shape_are_those_of_a_library() {
    // By mpmath 1.3, `betainc(a, b, 0, x, regularized=True)` with forty digits.
    for (x, a, b, known) in [
        (0.2, 1.5, 2.25, 0.223_993_849_816_731_87),
        (0.7, 3.75, 1.25, 0.340_626_769_426_945_6),
        (0.001, 2.0, 5.0, 1.496_004_497_600_5e-5),
        (0.95, 30.5, 2.0, 0.528_240_072_370_392),
        (0.31, 300.5, 700.25, 0.750_531_573_971_383_4),
        (0.02, 1.0, 40.5, 0.558_779_110_784_178_6),
        (0.999, 4.5, 1.0, 0.995_507_868_439_960_7),
    ] {
        let found = below(x, a, b);
        assert!((found / known - 1.0).abs() < 1e-11, "{found} for {known}: {x} {a} {b}");
    }
}

#[test]
fn large_shapes_stay_exact_and_finite() {
    // A million outcomes at a rate of 0.3: the normal distribution is as good as the truth there.
    let (a, b) = (300_001.0, 700_001.0);
    let (low, high) = (quantile(0.025, a, b), quantile(0.975, a, b));
    let half = 1.959_964 * (0.3_f64 * 0.7 / 1e6).sqrt();
    assert!((low - (0.3 - half)).abs() < 1e-5 && (high - (0.3 + half)).abs() < 1e-5, "{low} {high}");
    assert!(below(0.29, 1e9, 1e9) < 1e-9 && below(0.51, 1e9, 1e9) > 1.0 - 1e-9);
}

proptest! {
    #[test]
    fn it_is_the_tail_of_the_binomial_distribution(x in 0.01_f64..0.99, a in 1_u32..60, b in 1_u32..60) {
        let (found, known) = (below(x, f64::from(a), f64::from(b)), binomial_tail(x, a, b));
        prop_assert!((found - known).abs() < 1e-9, "{found} for {known}");
    }

    #[test]
    fn a_quantile_is_where_its_share_lies_below(share in 0.001_f64..0.999, a in 1.0_f64..5_000.0, b in 1.0_f64..5_000.0) {
        let point = quantile(share, a, b);
        prop_assert!((below(point, a, b) - share).abs() < 1e-6, "{point}");
    }

    /// The sampler and the function know nothing of each other.
    #[test]
    fn as_many_draws_lie_below_a_quantile_as_its_share_says(seed in any::<u64>(), a in 1.0_f64..200.0, b in 1.0_f64..200.0) {
        const DRAWS: u32 = 2_000;
        let (mut chance, median) = (Chance::new(seed), quantile(0.5, a, b));
        let lower = (0..DRAWS).filter(|_| chance.beta(a, b) < median).count();
        let share = lower as f64 / f64::from(DRAWS);
        // Five standard errors.
        prop_assert!((share - 0.5).abs() < 5.0 * (0.25 / f64::from(DRAWS)).sqrt(), "{share}");
    }
}
