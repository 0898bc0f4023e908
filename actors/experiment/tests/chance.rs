//! The sampler, against what is known of what it samples.

use proptest::prelude::*;

use crate::experiment::chance::Chance;

#[test]
fn the_bits_are_those_of_the_published_generator() {
    let mut chance = Chance::new(1_234_567);
    let first: Vec<u64> = (0..5).map(|_| chance.bits()).collect();
    assert_eq!(
        first,
        [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821
        ]
    );
}

#[test]
fn the_draws_are_those_of_the_published_methods() {
    // By an implementation of the three methods in Python, from their papers: the first of two hundred draws, and the
    // sum of all. At the smallest shapes one try in twenty is rejected.
    for (seed, a, b, first, sum) in [
        (1, 1.0, 1.0, 0.878_246_391_647_808, 102.098_096_563_474_95),
        (2, 1.0, 1.0, 0.587_065_843_996_612_9, 96.503_688_792_170_92),
        (3, 1.0, 40.0, 0.006_234_896_262_212_446_5, 4.845_921_707_642_28),
        (4, 2.5, 1.5, 0.905_929_637_169_677, 124.897_559_467_265_38),
        (5, 120.0, 80.25, 0.578_242_169_533_731, 120.022_640_472_912_17),
        (6, 3_000.0, 1e6, 0.002_956_921_973_313_683_5, 0.599_708_440_964_773_7),
    ] {
        let mut chance = Chance::new(seed);
        let draws: Vec<f64> = (0..200).map(|_| chance.beta(a, b)).collect();
        let drawn: f64 = draws.iter().sum();
        assert!((draws[0] / first - 1.0).abs() < 1e-11, "{} for {first}", draws[0]);
        assert!((drawn / sum - 1.0).abs() < 1e-11, "{drawn} for {sum}");
    }
}

#[test]
fn also_the_outermost_draws_are_between_zero_and_one() {
    // The generator walked backwards: seeds whose first 64 bits are all zeros and all ones.
    let (lowest, highest) = (Chance::new(0x61C8_8646_80B5_83EB), Chance::new(0x3162_8AF6_7B21_31AB));
    assert_eq!((lowest.clone().bits(), highest.clone().bits()), (0, u64::MAX));
    for mut chance in [lowest, highest] {
        let draw = chance.uniform();
        assert!(0.0 < draw && draw < 1.0, "{draw:e}");
    }
}

/// Mean and variance of `count` draws.
fn moments(count: u32, mut draw: impl FnMut() -> f64) -> (f64, f64) {
    let draws: Vec<f64> = (0..count).map(|_| draw()).collect();
    let mean = draws.iter().sum::<f64>() / f64::from(count);
    let variance = draws.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / f64::from(count - 1);
    (mean, variance)
}

#[test]
fn uniform_draws_fill_their_interval_and_never_touch_its_ends() {
    let mut chance = Chance::new(7);
    let mut tenths = [0_u32; 10];
    for _ in 0..100_000 {
        let draw = chance.uniform();
        assert!(draw > 0.0 && draw < 1.0, "{draw}");
        tenths[(draw * 10.0) as usize] += 1;
    }
    // Nine degrees of freedom: a value above 27.9 comes once in a thousand seeds.
    let chi: f64 = tenths.iter().map(|count| (f64::from(*count) - 10_000.0).powi(2) / 10_000.0).sum();
    assert!(chi < 27.9, "{chi}: {tenths:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Mean a/(a+b), variance ab/((a+b)²(a+b+1)), within five standard errors of this many draws.
    #[test]
    fn beta_draws_have_the_mean_and_the_variance_of_theirs(
        seed in any::<u64>(),
        a in 1.0_f64..400.0,
        b in 1.0_f64..400.0,
    ) {
        const DRAWS: u32 = 4_000;
        let mut chance = Chance::new(seed);
        let (mean, variance) = moments(DRAWS, || chance.beta(a, b));
        let sum = a + b;
        let (true_mean, true_variance) = (a / sum, a * b / (sum * sum * (sum + 1.0)));
        let error = (true_variance / f64::from(DRAWS)).sqrt();
        prop_assert!((mean - true_mean).abs() < 5.0 * error, "{mean} for {true_mean}");
        // The variance of a variance is at most that of a distribution with a kurtosis of six here.
        let relative = variance / true_variance - 1.0;
        prop_assert!(relative.abs() < 5.0 * (5.0 / f64::from(DRAWS)).sqrt(), "{variance} for {true_variance}");
    }

    #[test]
    fn the_same_seed_draws_the_same(seed in any::<u64>(), a in 1.0_f64..1e6, b in 1.0_f64..1e6) {
        let (mut one, mut two) = (Chance::new(seed), Chance::new(seed));
        for _ in 0..8 {
            let draw = one.beta(a, b);
            prop_assert!((0.0..=1.0).contains(&draw));
            prop_assert_eq!(draw, two.beta(a, b));
        }
    }
}
