//! All cells, some at a time.

use super::cell::{Cell, Drop, Due, Gap, Point, Window};
use super::judge::{Found, Outcome, judge};
use super::play::{Fate, Played, Together, Utterances, play};
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

/// Runs cells, so many at once. Where a kill is of all sessions, those of one gap die in one, after the others. Cells whose
/// client or whose server was late, as they are where the machine is too busy, run once more, alone.
pub async fn run<S: Stage>(stage: Arc<S>, window: Window, cells: Vec<Cell>, at_once: usize) -> Vec<Judged> {
    let is_apart = |cell: &Cell| stage.dies_whole() && cell.drop == Drop::Killed;
    let (apart, beside): (Vec<Cell>, Vec<Cell>) = cells.into_iter().partition(is_apart);
    let runs = beside.into_iter().map(|cell| disturbed(stage.clone(), Run::of(window, cell, 0)));
    let mut judged: Vec<Judged> = stream::iter(runs).buffer_unordered(at_once).collect().await;
    for gap in Gap::ALL {
        let cells: Vec<Cell> = apart.iter().copied().filter(|cell| cell.gap == gap).collect();
        judged.extend(killed_together(&stage, window, &cells, at_once).await);
    }
    for late in judged.iter_mut().filter(|one| was_late(one)) {
        if let Some(cell) = late.cell {
            *late = disturbed(stage.clone(), Run::of(window, cell, 1)).await;
            late.again = true;
        }
    }
    judged.sort_by_key(|judged| judged.cell);
    judged
}

/// The client had a second left and came too late, or the alarm that ends the wait had one and rang too late.
fn was_late(judged: &Judged) -> bool {
    let Some(cell) = judged.cell else { return false };
    match judged.outcome {
        Some(Outcome::ToldExpired) => cell.gap == Gap::JustInTime,
        Some(Outcome::Resumed) => cell.due() == Due::Expires,
        None => false,
    }
}

async fn killed_together<S: Stage>(
    stage: &Arc<S>,
    window: Window,
    cells: &[Cell],
    at_once: usize,
) -> Vec<Judged> {
    let calm = cells.iter().map(|cell| {
        let run = Run::of(window, *cell, 0);
        let stage = stage.clone();
        async move { (run, tokio::spawn(async move { run.play(&*stage, Fate::Calm, None).await }).await.ok()) }
    });
    let calm: Vec<(Run, Option<Played>)> = stream::iter(calm).buffer_unordered(at_once).collect().await;
    let together = Together::new(calm.len());
    let runs = calm.into_iter().map(|(run, calm)| {
        let (stage, together) = (stage.clone(), together.clone());
        async move {
            let played = tokio::spawn(async move { run.play(&*stage, run.fate, Some(together)).await }).await;
            run.judged(played.map(|played| (calm, played)))
        }
    });
    futures::future::join_all(runs).await
}

/// One session that is disturbed, and what it is to come to.
#[derive(Clone, Copy)]
struct Run {
    window: Window,
    seed: u64,
    interrupts: bool,
    fate: Fate,
    due: Due,
}

impl Run {
    fn of(window: Window, cell: Cell, attempt: usize) -> Self {
        let place = cells().iter().position(|known| *known == cell).unwrap_or_default();
        let seed = u64::try_from(place * 2 + attempt).expect("a small number");
        let interrupts = cell.point == Point::AroundInterrupt;
        Self { window, seed, interrupts, fate: Fate::Cell(cell), due: cell.due() }
    }

    async fn play<S: Stage>(self, stage: &S, fate: Fate, together: Option<Together>) -> Played {
        let said = Utterances::of(self.seed);
        play(stage, self.window, &said, self.interrupts, fate, together).await
    }

    /// What panics is written down as wrong: the others go on.
    fn judged(self, played: Result<(Option<Played>, Played), tokio::task::JoinError>) -> Judged {
        let (cell, name) = match self.fate {
            Fate::Cell(cell) => (Some(cell), cell.name()),
            Fate::Random(seed) => (None, format!("seed {seed}")),
            Fate::Calm => (None, "calm".to_owned()),
        };
        let found = Found::default();
        let mut judged =
            Judged { cell, name, outcome: None, found, resumed_in: Vec::new(), ring_bytes: 0, again: false };
        match played {
            Ok((Some(calm), played)) => {
                let (outcome, found) = judge(&calm, &played, self.due);
                (judged.outcome, judged.found) = (Some(outcome), found);
                judged.resumed_in = played.heard.resumed_in;
                judged.ring_bytes = played.ring_bytes;
            }
            Ok((None, _)) => judged.found.wrong.push("it panicked undisturbed".to_owned()),
            Err(failed) => {
                let words = failed.into_panic();
                let words = words
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| words.downcast_ref::<&str>().map(ToString::to_string));
                judged.found.wrong.push(words.unwrap_or_else(|| "a panic".to_owned()));
            }
        }
        judged
    }
}

/// Runs with drops at moments that are drawn, four of them each.
pub async fn random_runs<S: Stage>(
    stage: Arc<S>,
    window: Window,
    seeds: std::ops::Range<u64>,
    at_once: usize,
) -> Vec<Judged> {
    let runs = seeds.map(|seed| {
        let (interrupts, fate) = (seed % 4 == 3, Fate::Random(seed));
        let run = Run { window, seed: 1_000_000 + seed, interrupts, fate, due: Due::Resumes };
        disturbed(stage.clone(), run)
    });
    stream::iter(runs).buffer_unordered(at_once).collect().await
}

/// Plays it undisturbed, then disturbed.
async fn disturbed<S: Stage>(stage: Arc<S>, run: Run) -> Judged {
    let played = tokio::spawn(async move {
        let calm = run.play(&*stage, Fate::Calm, None).await;
        (Some(calm), run.play(&*stage, run.fate, None).await)
    });
    run.judged(played.await)
}
