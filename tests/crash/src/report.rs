//! What a run was and what it found, as text and as Markdown.

use crate::bounds::{RESTART_BOUND_MS, VIOLATIONS_SHOWN_MAX};
use crate::load::Shared;
use crate::operation::{Kind, Operation, Outcome};
use crate::restart::Restart;
use crate::settings::Settings;
use crate::violation::{Fault, Violation};
use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::path::Path;
use std::time::Duration;

/// One row of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub acknowledged: usize,
    pub unknown: usize,
    pub refused: usize,
    /// Operations that were sent more than once.
    pub retried: usize,
}

#[derive(Debug)]
pub struct Report {
    pub settings: Settings,
    pub counts: BTreeMap<Kind, Count>,
    pub refusals: BTreeMap<String, usize>,
    pub restarts: Vec<Restart>,
    /// Open holds that were seen right after the kills, one that two kills left twice.
    pub holds_left: usize,
    /// Asks that were done although the answer of the attempt that did them never came.
    pub done_unheard: usize,
    pub replays: usize,
    /// Tenants whose own audit was asked: `None` where the product has none.
    pub own_audits: Option<usize>,
    pub logged_faults: BTreeMap<String, usize>,
    pub violations: Vec<Violation>,
    pub wall_time: Duration,
}

impl Report {
    pub fn new(settings: Settings, shared: &Shared, restarts: Vec<Restart>) -> Self {
        Self {
            settings,
            counts: count(&shared.journal.operations()),
            refusals: shared.journal.refusals(),
            restarts,
            holds_left: 0,
            done_unheard: 0,
            replays: 0,
            own_audits: None,
            logged_faults: BTreeMap::new(),
            violations: shared.journal.violations(),
            wall_time: Duration::ZERO,
        }
    }

    /// Acknowledged, the probes not counted.
    pub fn acknowledged(&self) -> usize {
        let counted = self.counts.iter().filter(|(kind, _)| **kind != Kind::Probe);
        counted.map(|(_, count)| count.acknowledged).sum()
    }

    pub fn of_fault(&self, fault: Fault) -> usize {
        self.violations.iter().filter(|violation| violation.fault == fault).count()
    }

    /// Each cell on its own, for both forms of the table.
    fn rows(&self) -> Vec<[String; 5]> {
        let mut rows: Vec<[String; 5]> = Vec::new();
        let mut total = Count::default();
        for kind in Kind::ALL {
            let count = self.counts.get(&kind).copied().unwrap_or_default();
            rows.push(row(kind.name(), count));
            total.acknowledged += count.acknowledged;
            total.unknown += count.unknown;
            total.refused += count.refused;
            total.retried += count.retried;
        }
        rows.push(row("all", total));
        rows
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let (lost, doubled) = (self.of_fault(Fault::Lost), self.of_fault(Fault::Doubled));
        let others = self.violations.len() - lost - doubled;
        vec![
            ("seed", self.settings.seed.to_string()),
            ("kills", self.restarts.len().to_string()),
            ("acknowledged, probes not counted", self.acknowledged().to_string()),
            ("lost", lost.to_string()),
            ("doubled", doubled.to_string()),
            ("other violations", others.to_string()),
            (
                "attempts under way at a kill, min/median/max",
                spread_of(&self.restarts, |restart| restart.under_way),
            ),
            ("open holds right after kills", self.holds_left.to_string()),
            ("asks done although unheard", self.done_unheard.to_string()),
            ("sent again and answered the same", self.replays.to_string()),
            ("refusals by code", listed(&self.refusals)),
            ("faults that the Worker logged", listed(&self.logged_faults)),
            (
                "first metered request, min/median/max ms",
                spread_of(&self.restarts, |restart| restart.first_served.as_millis()),
            ),
            (
                "every tenant served, min/median/max ms",
                spread_of(&self.restarts, |restart| restart.all_served.as_millis()),
            ),
            ("/ready, min/median/max ms", spread_of(&self.restarts, |restart| restart.ready.as_millis())),
            ("bound of a restart, ms", RESTART_BOUND_MS.to_string()),
            (
                "tenants' own audit",
                self.own_audits.map_or("not built".to_owned(), |tenants| format!("{tenants} tenants ok")),
            ),
            ("wall time, s", format!("{:.1}", self.wall_time.as_secs_f64())),
        ]
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        for [kind, acknowledged, unknown, refused, retried] in heading().into_iter().chain(self.rows()) {
            let _ = writeln!(text, "{kind:<36}{acknowledged:>14}{unknown:>10}{refused:>10}{retried:>10}");
        }
        for (name, value) in self.facts() {
            let _ = writeln!(text, "{name:<48}{value}");
        }
        for violation in self.violations.iter().take(VIOLATIONS_SHOWN_MAX) {
            let _ = writeln!(text, "VIOLATION {violation}");
        }
        text
    }

    pub fn markdown(&self) -> String {
        let mut text = String::from("| Operation | Acknowledged | Unknown | Refused | Retried |\n");
        text.push_str("|---|---|---|---|---|\n");
        for row in self.rows() {
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
        write_facts(&mut text, &self.facts(), &self.violations);
        text
    }

    /// Writes the Markdown where it was asked for.
    pub fn write(&self) {
        if let Some(path) = &self.settings.report {
            write_to(path, &self.markdown());
        }
    }
}

/// What a report says beside its table of rows, in Markdown.
pub(crate) fn write_facts<V: Display>(text: &mut String, facts: &[(&str, String)], violations: &[V]) {
    text.push_str("\n| Fact | Value |\n|---|---|\n");
    for (name, value) in facts {
        let _ = writeln!(text, "| {name} | {value} |");
    }
    for violation in violations.iter().take(VIOLATIONS_SHOWN_MAX) {
        let _ = writeln!(text, "\n- {violation}");
    }
}

pub(crate) fn write_to(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn heading() -> Vec<[String; 5]> {
    vec![["operation", "acknowledged", "unknown", "refused", "retried"].map(str::to_owned)]
}

fn row(name: &str, count: Count) -> [String; 5] {
    let Count { acknowledged, unknown, refused, retried } = count;
    [name.to_owned(), acknowledged.to_string(), unknown.to_string(), refused.to_string(), retried.to_string()]
}

fn count(operations: &[Operation]) -> BTreeMap<Kind, Count> {
    let mut counts: BTreeMap<Kind, Count> = BTreeMap::new();
    for operation in operations {
        let count = counts.entry(operation.request.kind()).or_default();
        match &operation.outcome {
            Outcome::Acknowledged(_) => count.acknowledged += 1,
            Outcome::Unknown => count.unknown += 1,
            Outcome::Refused(_) => count.refused += 1,
            Outcome::Unsent => {}
        }
        if operation.request_ids.len() > 1 {
            count.retried += 1;
        }
    }
    counts
}

pub(crate) fn listed(counts: &BTreeMap<String, usize>) -> String {
    let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
}

fn spread_of<T: Copy + Display + Ord>(restarts: &[Restart], of: impl Fn(&Restart) -> T) -> String {
    spread(&restarts.iter().map(of).collect::<Vec<T>>())
}

/// The least, the middle and the most.
pub(crate) fn spread<T: Copy + Display + Ord>(values: &[T]) -> String {
    let mut values = values.to_vec();
    values.sort_unstable();
    match (values.first(), values.get(values.len() / 2), values.last()) {
        (Some(least), Some(median), Some(most)) => format!("{least} / {median} / {most}"),
        _ => "none".to_owned(),
    }
}
