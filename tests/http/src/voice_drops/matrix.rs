//! All cells, some at a time.

use super::cell::{Cell, Drop, Due, Gap, Point, Window};
use super::judge::{Found, Outcome, judge};
use super::play::{Fate, Utterances, play};
use super::stage::Stage;
use futures::StreamExt;
use futures::stream;
use std::sync::Arc;
use std::time::Duration;

/// What a cell came to.
#[derive(Clone, Debug)]
pub struct Judged {
    /// None of a random run.
    pub cell: Option<Cell>,
    pub name: String,
    pub outcome: Option<Outcome>,
    pub found: Found,
    pub resumed_in: Vec<Duration>,
    pub ring_bytes: u64,
    /// It was run once more, because its client came too late the first time.
    pub again: bool,
}

/// All cells, in their order.
pub fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for point in Point::ALL {
        for drop in Drop::ALL {
            cells.extend(Gap::ALL.map(|gap| Cell { point, drop, gap }));
        }
    }
    cells
}

/// Every point once and, with them, a tenth of all: always the same ones, among which every way and every gap are.
pub fn every_point_and_a_tenth() -> Vec<Cell> {
    let all = cells();
    let per_point = Drop::ALL.len() * Gap::ALL.len();
    let of_points = (0..Point::ALL.len()).map(|point| point * per_point + (point * 5) % per_point);
    let mut chosen: Vec<usize> = of_points.chain((0..all.len()).step_by(17)).collect();
    chosen.sort_unstable();
    chosen.dedup();
    chosen.into_iter().map(|at| all[at]).collect()
}

/// Runs cells, so many at once; those that kill a whole process run alone, after the others. So do those once more whose
/// client had a second left and came too late, as it does where the machine is too busy for that.
pub async fn run<S: Stage>(stage: Arc<S>, window: Window, cells: Vec<Cell>, at_once: usize) -> Vec<Judged> {
    let is_alone = |cell: &Cell| stage.dies_whole() && cell.drop == Drop::Killed;
    let (alone, beside): (Vec<Cell>, Vec<Cell>) = cells.into_iter().partition(is_alone);
    let mut judged = Vec::new();
    for (cells, at_once) in [(beside, at_once), (alone, 1)] {
        let runs = cells.into_iter().map(|cell| one(stage.clone(), window, cell, 0));
        judged.extend(stream::iter(runs).buffer_unordered(at_once).collect::<Vec<_>>().await);
    }
    for late in judged.iter_mut().filter(|one| was_late(one)) {
        if let Some(cell) = late.cell {
            *late = one(stage.clone(), window, cell, 1).await;
            late.again = true;
        }
    }
    judged.sort_by_key(|judged| judged.cell);
    judged
}

fn was_late(judged: &Judged) -> bool {
    let had_a_second = judged.cell.is_some_and(|cell| cell.gap == Gap::JustInTime);
    had_a_second && judged.outcome == Some(Outcome::ToldExpired)
}

async fn one<S: Stage>(stage: Arc<S>, window: Window, cell: Cell, attempt: usize) -> Judged {
    let place = cells().iter().position(|known| *known == cell).unwrap_or_default();
    let seed = u64::try_from(place * 2 + attempt).expect("a small number");
    let interrupts = cell.point == Point::AroundInterrupt;
    let blank = nothing(Some(cell), cell.name());
    disturbed(stage, window, seed, interrupts, Fate::Cell(cell), cell.due(), blank).await
}

/// Runs with drops at moments that are drawn, four of them each.
pub async fn random_runs<S: Stage>(
    stage: Arc<S>,
    window: Window,
    seeds: std::ops::Range<u64>,
    at_once: usize,
) -> Vec<Judged> {
    let runs = seeds.map(|seed| {
        let blank = nothing(None, format!("seed {seed}"));
        let interrupts = seed % 4 == 3;
        let fate = Fate::Random(seed);
        disturbed(stage.clone(), window, 1_000_000 + seed, interrupts, fate, Due::Resumes, blank)
    });
    stream::iter(runs).buffer_unordered(at_once).collect().await
}

fn nothing(cell: Option<Cell>, name: String) -> Judged {
    let found = Found::default();
    Judged { cell, name, outcome: None, found, resumed_in: Vec::new(), ring_bytes: 0, again: false }
}

/// Plays it undisturbed, then disturbed. What panics is written down as wrong: the others go on.
async fn disturbed<S: Stage>(
    stage: Arc<S>,
    window: Window,
    seed: u64,
    interrupts: bool,
    fate: Fate,
    due: Due,
    mut judged: Judged,
) -> Judged {
    let played = tokio::spawn(async move {
        let said = Utterances::of(seed);
        let calm = play(&*stage, window, &said, interrupts, Fate::Calm).await;
        let played = play(&*stage, window, &said, interrupts, fate).await;
        (judge(&calm, &played, due), played)
    });
    match played.await {
        Ok(((outcome, found), played)) => {
            judged.outcome = Some(outcome);
            judged.found = found;
            judged.resumed_in = played.heard.resumed_in;
            judged.ring_bytes = played.ring_bytes;
        }
        Err(failed) => {
            let words = failed.into_panic();
            let words = words.downcast_ref::<String>().cloned();
            judged.found.wrong.push(words.unwrap_or_else(|| "a panic".to_owned()));
        }
    }
    judged
}
