//! What a run was made of, to show that everything happened, and happened often.

use std::collections::BTreeMap;
use std::fmt;

#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub seeds: u64,
    pub steps: u64,
    /// Commands by kind and outcome.
    pub commands: BTreeMap<(&'static str, &'static str), u64>,
    /// Faults, and what the rules had to live through.
    pub faults: BTreeMap<&'static str, u64>,
    /// What the checks looked at.
    pub checks: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub fn command(&mut self, kind: &'static str, outcome: &'static str) {
        *self.commands.entry((kind, outcome)).or_default() += 1;
    }

    pub fn fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }

    pub fn check(&mut self, kind: &'static str) {
        *self.checks.entry(kind).or_default() += 1;
    }

    pub fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.steps += other.steps;
        for (name, count) in &other.commands {
            *self.commands.entry(*name).or_default() += count;
        }
        for (name, count) in &other.faults {
            *self.faults.entry(*name).or_default() += count;
        }
        for (name, count) in &other.checks {
            *self.checks.entry(*name).or_default() += count;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} seeds, {} steps", self.seeds, self.steps)?;
        let kinds: std::collections::BTreeSet<_> = self.commands.keys().map(|(kind, _)| kind).collect();
        for kind in kinds {
            let of_kind = self.commands.iter().filter(|((of, _), _)| of == kind);
            let outcomes: Vec<String> = of_kind.map(|((_, to), count)| format!("{to} {count}")).collect();
            writeln!(f, "  {kind}: {}", outcomes.join(", "))?;
        }
        for (title, counts) in [("faults", &self.faults), ("checks", &self.checks)] {
            let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
            writeln!(f, "  {title}: {}", counts.join(", "))?;
        }
        Ok(())
    }
}
