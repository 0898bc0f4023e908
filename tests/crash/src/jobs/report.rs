//! What a run was and what it found, as text and as Markdown.

use super::journal::Wanted;
use super::settings::Settings;
use super::shown::Shown;
use super::work::Work;
use crate::bounds::RESTART_BOUND_MS;
use crate::report::{listed, spread, write_facts, write_to};
use crate::violation::{Fault, Violation};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

#[derive(Debug)]
pub struct Report {
    pub settings: Settings,
    pub wanted: Vec<Wanted>,
    /// Of all tenants, at the end.
    pub jobs: Vec<Shown>,
    /// Events that were watched live, and streams that it took.
    pub events: usize,
    pub opened: usize,
    pub refusals: BTreeMap<String, usize>,
    pub violations: Vec<Violation>,
    pub restarts_ms: Vec<u128>,
    /// Jobs that were last seen to run when a kill came.
    pub running: Vec<usize>,
    /// From the last creation until no job was open.
    pub drain: Duration,
    pub replays: usize,
    pub own_audits: usize,
    /// How often providers were asked: more often than was charged, because an answer that a kill took is asked for again.
    pub calls: usize,
    pub logged_faults: BTreeMap<String, usize>,
    pub wall_time: Duration,
}

impl Report {
    pub fn acknowledged(&self) -> usize {
        self.wanted.iter().filter(|wanted| wanted.acknowledged.is_some()).count()
    }

    fn of_fault(&self, fault: Fault) -> usize {
        self.violations.iter().filter(|violation| violation.fault == fault).count()
    }

    fn jobs_of<'a>(&'a self, wanted: &'a [&Wanted]) -> impl Iterator<Item = &'a Shown> {
        self.jobs.iter().filter(|job| wanted.iter().any(|wanted| job.params.contains(&wanted.name)))
    }

    fn rows(&self) -> Vec<[String; 7]> {
        let row = |name: &str, wanted: &[&Wanted]| {
            let ended = |status: &str| self.jobs_of(wanted).filter(|job| job.status == status).count();
            let unheard = wanted.iter().filter(|wanted| wanted.acknowledged.is_none()).count();
            let again = self.jobs_of(wanted).filter(|job| job.attempts > 1).count();
            [
                name.to_owned(),
                (wanted.len() - unheard).to_string(),
                unheard.to_string(),
                self.jobs_of(wanted).count().to_string(),
                ended("succeeded").to_string(),
                ended("failed").to_string(),
                again.to_string(),
            ]
        };
        let of_work = |work: Work| {
            let wanted: Vec<&Wanted> = self.wanted.iter().filter(|wanted| wanted.work == work).collect();
            row(work.name(), &wanted)
        };
        let mut rows: Vec<_> = Work::ALL.into_iter().map(of_work).collect();
        rows.push(row("all", &self.wanted.iter().collect::<Vec<_>>()));
        rows
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let lost_and_doubled = self.of_fault(Fault::Lost) + self.of_fault(Fault::Doubled);
        let others = self.violations.len() - lost_and_doubled - self.of_fault(Fault::Feed);
        let succeeded = self.jobs.iter().filter(|job| job.status == "succeeded").count();
        let charged = self.jobs.iter().filter(|job| job.charged_milli.is_some_and(|milli| milli > 0)).count();
        let attempts: Vec<u64> = self.jobs.iter().map(|job| job.attempts).collect();
        let mut reasons = BTreeMap::new();
        for reason in self.jobs.iter().filter_map(|job| job.reason.clone()) {
            *reasons.entry(reason).or_default() += 1;
        }
        vec![
            ("seed", self.settings.seed.to_string()),
            ("kills", self.restarts_ms.len().to_string()),
            ("jobs acknowledged", self.acknowledged().to_string()),
            ("lost", self.of_fault(Fault::Lost).to_string()),
            ("doubled", self.of_fault(Fault::Doubled).to_string()),
            ("gaps, duplicates and other faults of the live feed", self.of_fault(Fault::Feed).to_string()),
            ("other violations", others.to_string()),
            ("succeeded / charged", format!("{succeeded} / {charged}")),
            ("reasons of those that did not succeed", listed(&reasons)),
            ("jobs seen running at a kill, min/median/max", spread(&self.running)),
            ("attempts at a job, min/median/max", spread(&attempts)),
            ("calls at providers", self.calls.to_string()),
            ("live events, each seen once", self.events.to_string()),
            ("streams opened for them", self.opened.to_string()),
            ("sent again and answered the same", self.replays.to_string()),
            ("refusals by code", listed(&self.refusals)),
            ("faults that the Worker logged", listed(&self.logged_faults)),
            ("/ready after a kill, min/median/max ms", spread(&self.restarts_ms)),
            ("bound of a restart, ms", RESTART_BOUND_MS.to_string()),
            ("until all were over after the last, s", format!("{:.1}", self.drain.as_secs_f64())),
            ("tenants' own audit", format!("{} tenants ok", self.own_audits)),
            ("wall time, s", format!("{:.1}", self.wall_time.as_secs_f64())),
        ]
    }

    pub fn markdown(&self) -> String {
        let mut text = String::from(
            "| Job | Acknowledged | Unheard | Made | Succeeded | Failed | More than one attempt |\n",
        );
        text.push_str("|---|---|---|---|---|---|---|\n");
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
