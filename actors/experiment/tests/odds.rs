//! What is believed, on sums whose answers are known.

use proptest::prelude::*;

use crate::experiment::bandit::{best_of, choose};
use crate::experiment::chance::Chance;
use crate::experiment::{BEST_DRAWS, Sums, Uplift};

fn sums(outcomes: i64, successes: i64) -> Sums {
    Sums { outcomes, score_ppm: successes * 1_000_000 }
}

#[test]
fn nothing_known_is_nothing_preferred() {
    let best = best_of(&[Sums::default(); 4]);
    assert!(best.iter().all(|share| (share - 0.25).abs() < 0.03), "{best:?}");
    assert_eq!(Sums::default().mean(), None);
    let (low, high) = Sums::default().interval();
    assert!((low - 0.025).abs() < 1e-9 && (high - 0.975).abs() < 1e-9, "{low} {high}");
    assert_eq!((choose([], &mut Chance::new(1)), best_of(&[])), (None, Vec::new()));
}

#[test]
fn the_better_one_is_probably_the_better_one() {
    // For a beta distribution of 2 and 1 against one of 1 and 2, by hand: five sixths.
    let best = best_of(&[sums(1, 1), sums(1, 0)]);
    let error = (0.139 / f64::from(BEST_DRAWS)).sqrt();
    assert!((best[0] - 5.0 / 6.0).abs() < 5.0 * error, "{best:?}");
    let best = best_of(&[sums(1_000, 400), sums(1_000, 700)]);
    assert!(best[1] > 0.999, "{best:?}");
}

#[test]
fn a_part_of_a_success_is_that_part_and_no_more() {
    let half = Sums { outcomes: 10, score_ppm: 5_000_000 };
    assert_eq!((half.mean(), half.interval()), (Some(0.5), sums(10, 5).interval()));
}

#[test]
fn the_uplift_is_over_an_even_share() {
    // 90 outcomes at a rate of 0.9 and 10 at one of 0.1: 0.82 instead of 0.5.
    let uplift = Uplift::of(&[sums(90, 81), sums(10, 1), Sums::default()]).unwrap();
    assert!((uplift.mean - 0.82).abs() < 1e-12 && (uplift.even - 0.5).abs() < 1e-12, "{uplift:?}");
    assert_eq!(Uplift::of(&[Sums::default()]), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn probabilities_are_those_of_one_winner(counts in prop::collection::vec((0_i64..200, 0_i64..200), 1..6)) {
        let arms: Vec<Sums> = counts.iter().map(|(won, lost)| sums(won + lost, *won)).collect();
        let best = best_of(&arms);
        prop_assert!((best.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{:?}", best);
        for arm in arms {
            let (low, high) = arm.interval();
            prop_assert!(0.0 < low && low < high && high < 1.0, "{} {}", low, high);
        }
    }
}
