//! The table of what was found.

use super::cell::{Drop, Gap, Point, Window};
use super::judge::{Found, Outcome};
use super::matrix::Judged;
use std::fmt::Write;
use std::time::Duration;

/// Rows added up.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub cells: usize,
    pub resumed: usize,
    pub told: usize,
    pub found: Found,
    pub resumed_in: Vec<Duration>,
    pub ring_bytes: u64,
}

impl Summary {
    pub fn of<'a>(judged: impl IntoIterator<Item = &'a Judged>) -> Self {
        let mut sum = Self::default();
        for one in judged {
            sum.cells += 1;
            sum.resumed += usize::from(one.outcome == Some(Outcome::Resumed));
            sum.told += usize::from(one.outcome == Some(Outcome::ToldExpired));
            sum.found.add(&one.found);
            sum.resumed_in.extend(&one.resumed_in);
            sum.ring_bytes = sum.ring_bytes.max(one.ring_bytes);
        }
        sum.resumed_in.sort_unstable();
        sum
    }

    fn percentile_ms(&self, percent: usize) -> u128 {
        let at = self.resumed_in.len().saturating_sub(1) * percent / 100;
        self.resumed_in.get(at).map_or(0, Duration::as_millis)
    }

    fn row(&self, name: &str) -> String {
        let Found { turns_lost, turns_doubled, bytes_missing, bytes_doubled, .. } = self.found;
        let Found { calls_extra, calls_excused, units_extra, .. } = self.found;
        let Self { cells, resumed, told, ring_bytes, .. } = self;
        let (p50, p95) = (self.percentile_ms(50), self.percentile_ms(95));
        let wrong = self.found.wrong.len();
        format!(
            "| {name} | {cells} | {resumed} | {told} | {turns_lost} / {turns_doubled} | {bytes_missing} / \
             {bytes_doubled} | {calls_extra} | {calls_excused} | {units_extra} | {wrong} | {p50} / {p95} | \
             {ring_bytes} |"
        )
    }
}

const HEAD: &str = "| | cells | went on | told that it expired | turns lost / doubled | bytes of sound missing / doubled \
    | provider calls too many | made again, because a call was lost | units charged too many | anything else \
    | ms to resume p50 / p95 | bytes in the ring |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n";

/// The whole page. `where_` says what it ran on.
pub fn table(where_: &str, window: Window, judged: &[Judged], random: &[Judged]) -> String {
    let mut page = String::from("# Drops\n\n");
    let _ = writeln!(
        page,
        "Every cell is one session of two spoken turns, {where_}, with a window of {} s: played undisturbed first, then cut \
         off at the point, in the way and for the time of the cell. The sound that the client received has the SHA-256 of \
         the undisturbed run, and the session's own account is the same but for what is said here. `make voice-drops` \
         writes this page.\n",
        window.0.as_secs()
    );
    let all = judged.iter().chain(random);
    let _ = write!(page, "## All\n\n{HEAD}");
    let _ = writeln!(page, "{}", Summary::of(judged).row("the matrix"));
    let _ = writeln!(page, "{}", Summary::of(random).row("seeded random drops"));
    let rows = |page: &mut String, title: &str, names: Vec<(&str, Vec<&Judged>)>| {
        let _ = write!(page, "\n## By {title}\n\n{HEAD}");
        for (name, judged) in names {
            let _ = writeln!(page, "{}", Summary::of(judged).row(name));
        }
    };
    let of = |keep: &dyn Fn(&Judged) -> bool| judged.iter().filter(|one| keep(one)).collect::<Vec<_>>();
    let points =
        Point::ALL.map(|point| (point.name(), of(&|one| one.cell.is_some_and(|cell| cell.point == point))));
    rows(&mut page, "point", points.into());
    let drops =
        Drop::ALL.map(|drop| (drop.name(), of(&|one| one.cell.is_some_and(|cell| cell.drop == drop))));
    rows(&mut page, "way", drops.into());
    let gaps = Gap::ALL.map(|gap| (gap.name(), of(&|one| one.cell.is_some_and(|cell| cell.gap == gap))));
    rows(&mut page, "time", gaps.into());
    page.push_str(
        "\nA client that falls silent, or whose old socket lingers, is not known to be gone: its window begins two \
         heartbeats later, so after `window + 1 s` it goes on. A ticket that nobody used lives on, too. After a kill the \
         window begins when the actor is woken: both ends are right, and told.\n",
    );
    let again = judged.iter().filter(|one| one.again).count();
    if again > 0 {
        let _ = writeln!(
            page,
            "\n{again} cells were run once more, alone: they are decided by one second, and the machine was busier than that."
        );
    }
    let wrong: Vec<&Judged> = all.filter(|one| !one.found.is_sound()).collect();
    if !wrong.is_empty() {
        page.push_str("\n## Not as it should be\n\n");
        for one in wrong {
            let _ = writeln!(page, "- {}: {:?}", one.name, one.found);
        }
    }
    page
}
