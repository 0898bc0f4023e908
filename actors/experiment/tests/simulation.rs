//! A simulated world: arms whose rates are known, units that come one after the other, and what following their
//! outcomes brings. The same seeds bring the same.
//!
//! `BANDIT_REPORT` names the file that the table of the run is written to.

use super::stage::Stage;
use crate::experiment::bandit::{best_of, choose};
use crate::experiment::chance::Chance;
use crate::experiment::{CREDIBLE_SHARE, Sums, Uplift};

const RATES: [f64; 3] = [0.4, 0.5, 0.7];
const BEST: usize = 2;
const SEEDS: u64 = 200;
const UNITS: usize = 2_000;
/// After how many units the table looks.
const MARKS: [usize; 5] = [100, 250, 500, 1_000, 2_000];

/// Whether a unit has success, by the world's own chance.
fn happens(rate: f64, world: &mut Chance) -> bool {
    world.uniform() < rate
}

/// What one run has come to at one mark.
#[derive(Clone, Default)]
struct Stand {
    arms: [Sums; 3],
}

impl Stand {
    fn units(&self) -> i64 {
        self.arms.iter().map(|sums| sums.outcomes).sum()
    }

    fn reward(&self) -> f64 {
        self.arms.iter().map(|sums| sums.score_ppm as f64 / 1e6).sum::<f64>() / self.units() as f64
    }

    fn share_of_best(&self) -> f64 {
        self.arms[BEST].outcomes as f64 / self.units() as f64
    }
}

/// One run; `pick` says which arm is next. Its stand at each mark.
fn run(seed: u64, mut pick: impl FnMut(usize, &[Sums; 3], &mut Chance) -> usize) -> Vec<Stand> {
    // Two streams: what chance decides must not tell what the world does.
    let (mut odds, mut world) = (Chance::new(seed), Chance::new(seed ^ 0xABCD_EF01_2345_6789));
    let (mut stand, mut stands) = (Stand::default(), Vec::new());
    for unit in 0..UNITS {
        let at = pick(unit, &stand.arms, &mut odds);
        let success = happens(RATES[at], &mut world);
        stand.arms[at].add(if success { 1_000_000 } else { 0 });
        if MARKS.contains(&(unit + 1)) {
            stands.push(stand.clone());
        }
    }
    stands
}

fn thompson(seed: u64) -> Vec<Stand> {
    run(seed, |_, arms, odds| choose(arms.iter().copied(), odds).unwrap())
}

fn evenly(seed: u64) -> Vec<Stand> {
    run(seed, |unit, _, _| unit % RATES.len())
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.collect();
    values.iter().sum::<f64>() / values.len() as f64
}

fn lowest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::INFINITY, f64::min)
}

#[test]
fn following_the_outcomes_beats_an_even_share() {
    let followed: Vec<Vec<Stand>> = (0..SEEDS).map(thompson).collect();
    let even: Vec<Vec<Stand>> = (0..SEEDS).map(evenly).collect();
    let last = MARKS.len() - 1;

    // An even share earns (0.4 + 0.5 + 0.7) / 3 = 0.533, the best arm alone 0.7.
    let even_reward = mean(even.iter().map(|stands| stands[last].reward()));
    let reward = mean(followed.iter().map(|stands| stands[last].reward()));
    assert!((even_reward - 1.6 / 3.0).abs() < 0.005, "{even_reward}");
    assert!(reward > even_reward + 0.14, "{reward} over {even_reward}");
    for (seed, (one, other)) in followed.iter().zip(&even).enumerate() {
        assert!(one[last].reward() > other[last].reward() + 0.08, "seed {seed}: {}", one[last].reward());
    }

    let share = mean(followed.iter().map(|stands| stands[last].share_of_best()));
    assert!(share > 0.9, "{share} of the units got the best arm");

    // At the end of every run the report is sure of the right arm, and its uplift is there to see.
    let sure = followed.iter().map(|stands| best_of(&stands[last].arms)[BEST]);
    assert!(lowest(sure) > 0.95);
    for stands in &followed {
        let uplift = Uplift::of(&stands[last].arms).unwrap();
        assert!(uplift.mean > uplift.even + 0.05, "{uplift:?}");
    }

    let covered = coverage(&followed);
    assert!((0.92..=0.985).contains(&covered), "{covered} of the intervals hold the truth");

    if let Ok(path) = std::env::var("BANDIT_REPORT") {
        std::fs::write(path, table(&followed, &even, covered)).unwrap();
    }
}

/// How many of the intervals at the end hold the rate that is true.
fn coverage(runs: &[Vec<Stand>]) -> f64 {
    let held = runs.iter().flat_map(|stands| {
        let arms = stands.last().unwrap().arms;
        arms.into_iter().zip(RATES).map(|(sums, rate)| {
            let (low, high) = sums.interval();
            f64::from(low <= rate && rate <= high)
        })
    });
    mean(held)
}

/// The actor itself, its storage and its commands in between, decides what the bare rule decides.
#[test]
fn the_actor_decides_as_the_rule_does() {
    for seed in [3, 5, 8] {
        let mut stage = Stage::running(&["low", "middle", "high"]).seeded(seed * 1_000);
        let (mut world, mut sums) = (Chance::new(seed), [Sums::default(); 3]);
        for unit in 0..400_u64 {
            // Each unit takes three commands, and each command a seed.
            let expected = choose(sums, &mut Chance::new(seed * 1_000 + unit * 3 + 1)).unwrap();
            let id = stage.answer(&format!("unit-{unit}"), None);
            let score = f64::from(u8::from(happens(RATES[expected], &mut world)));
            let scored = stage.score(&id, &format!("unit-{unit}"), score).unwrap();
            assert_eq!(scored.arm, ["low", "middle", "high"][expected], "seed {seed}, unit {unit}");
            sums[expected].add(if score > 0.5 { 1_000_000 } else { 0 });
        }
        let report = stage.report();
        assert_eq!(report.arms.iter().map(|arm| arm.sums).collect::<Vec<_>>(), sums);
        assert_eq!(report.arms.iter().map(|arm| arm.best).collect::<Vec<_>>(), best_of(&sums));
        assert_eq!(report.uplift, Uplift::of(&sums));
        stage.check_sums();
    }
}

/// A score between zero and one moves the odds by as much as it is worth.
#[test]
fn scores_between_zero_and_one_lead_to_the_best_arm_too() {
    let mut right = 0;
    for seed in 0..40 {
        let (mut odds, mut world) = (Chance::new(seed), Chance::new(seed + 1_000));
        let mut arms = [Sums::default(); 3];
        for _ in 0..1_000 {
            let at = choose(arms, &mut odds).unwrap();
            // Spread evenly a quarter to each side of the rate.
            let score = RATES[at] - 0.25 + world.uniform() * 0.5;
            arms[at].add((score * 1e6) as i64);
        }
        right += u32::from(arms[BEST].outcomes > 700);
    }
    assert!(right >= 38, "{right} of 40");
}

fn table(followed: &[Vec<Stand>], even: &[Vec<Stand>], covered: f64) -> String {
    let mut rows = String::new();
    for (at, units) in MARKS.iter().enumerate() {
        let reward = |runs: &[Vec<Stand>]| mean(runs.iter().map(|stands| stands[at].reward()));
        let (with, without) = (reward(followed), reward(even));
        let share = mean(followed.iter().map(|stands| stands[at].share_of_best()));
        let sure = mean(followed.iter().map(|stands| best_of(&stands[at].arms)[BEST]));
        let shown = mean(
            followed
                .iter()
                .map(|stands| Uplift::of(&stands[at].arms).map_or(0.0, |uplift| uplift.mean - uplift.even)),
        );
        rows.push_str(&format!(
            "| {units} | {without:.3} | {with:.3} | {:+.1} % | {shown:+.3} | {:.1} % | {sure:.3} |\n",
            (with / without - 1.0) * 100.0,
            share * 100.0,
        ));
    }
    let last = MARKS.len() - 1;
    let worst = lowest(followed.iter().map(|stands| stands[last].reward()));
    let least_sure = lowest(followed.iter().map(|stands| best_of(&stands[last].arms)[BEST]));
    format!(
        "# The feedback loop in a simulated world\n\n\
         Written by the test `following_the_outcomes_beats_an_even_share` from its own run: \
         `BANDIT_REPORT=\"$PWD/ops/proofs/bandit.md\" cargo test --locked -p actors --lib experiment`.\n\n\
         Three arms whose true success rates are 0.4, 0.5 and 0.7; {SEEDS} seeds, {UNITS} units each. \
         An even share gives each arm every third unit; the experiment follows the outcomes (Thompson sampling). \
         \"In the report\" is the uplift as an operator sees it, from the sums of the arms alone: the mean of all \
         outcomes less the mean of the arms' means.\n\n\
         | Units | Success, even share | Success, experiment | Uplift | In the report | Units on the best arm | \
         Believed best, the best arm |\n|---|---|---|---|---|---|---|\n{rows}\n\
         At the end, of all seeds: the worst run had a success rate of {worst:.3}; the least sure report gave the best \
         arm a probability of {least_sure:.3}. Of the {} credible intervals of {:.0} %, {:.1} % hold the true rate.\n\n\
         A second test has the actor decide, with its storage and its commands in between, and holds each of its \
         decisions against the bare rule's for the same seed.\n",
        followed.len() * RATES.len(),
        CREDIBLE_SHARE * 100.0,
        covered * 100.0,
    )
}
