//! An experiment on a database of its own, and what tests ask of it.

use crate::experiment::directory::{Entry, Listed};
use crate::experiment::{
    Answered, Arm, Ask, Assigned, By, Call, Command, Definition, Feedback, Reply, Report, SCORE_PPM, Scored,
    Steering, Turn, handle,
};
use crate::shared::{Micro, Refusal};
use crate::sqlite::Sqlite;

pub(super) const NOW_MS: i64 = 1_700_000_000_000;
pub(super) const SKILL: &str = "summary";

pub(super) struct Stage {
    pub(super) sql: Sqlite,
    pub(super) now_ms: i64,
    seed: u64,
    requests: u64,
}

pub(super) fn arm(name: &str) -> Arm {
    Arm { name: name.to_owned(), skill_version: None, system: Some(format!("Be {name}.")), model: None }
}

pub(super) fn definition(names: &[&str]) -> Definition {
    Definition {
        arms: names.iter().map(|name| arm(name)).collect(),
        control: names[0].to_owned(),
        sticky_ms: 0,
    }
}

impl Stage {
    pub(super) fn empty() -> Self {
        Self { sql: Sqlite::in_memory().unwrap(), now_ms: NOW_MS, seed: 1, requests: 0 }
    }

    /// One that runs with these arms, the first the control; chance decides each time.
    pub(super) fn running(names: &[&str]) -> Self {
        let mut stage = Self::empty();
        stage.define(definition(names)).unwrap();
        stage
    }

    pub(super) fn seeded(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    pub(super) fn send(&mut self, command: Command) -> Result<Reply, Refusal> {
        let call = Call { request_id: "r".to_owned(), skill: SKILL.to_owned(), command };
        // As it crosses to the actor, and back.
        let call: Call = serde_json::from_slice(&serde_json::to_vec(&call).unwrap()).unwrap();
        self.seed = self.seed.wrapping_add(1);
        let (seed, now_ms) = (self.seed, self.now_ms);
        let reply = self.sql.transaction(|sql| handle(sql, &call, seed, now_ms))?;
        Ok(serde_json::from_slice(&serde_json::to_vec(&reply).unwrap()).unwrap())
    }

    pub(super) fn define(&mut self, definition: Definition) -> Result<Report, Refusal> {
        let (reason, operator) = (Some("a reason".to_owned()), "first".to_owned());
        match self.send(Command::Define { definition, reason, operator })? {
            Reply::Report(report) => Ok(*report),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn assign(&mut self, unit: &str) -> Option<Assigned> {
        self.assign_wanting(unit, None)
    }

    pub(super) fn assign_wanting(&mut self, unit: &str, wanted: Option<&str>) -> Option<Assigned> {
        let ask = Ask { unit: unit.to_owned(), wanted: wanted.map(str::to_owned) };
        match self.send(Command::Assign(ask)).unwrap() {
            Reply::Assigned(assigned) => assigned,
            other => panic!("{other:?}"),
        }
    }

    /// The arm that answers `unit`, by name; and it does.
    pub(super) fn arm_of(&mut self, unit: &str) -> (String, By) {
        self.requests += 1;
        let (id, assigned) = (format!("request-{}", self.requests), self.assign(unit).unwrap());
        self.note(&id, unit, &assigned);
        (assigned.arm.name, assigned.by)
    }

    pub(super) fn note(&mut self, request_id: &str, tenant: &str, assigned: &Assigned) {
        let answered = Answered {
            request_id: request_id.to_owned(),
            tenant: tenant.to_owned(),
            unit: tenant.to_owned(),
            arm: assigned.arm.name.clone(),
            by: assigned.by,
            round: assigned.round,
            cost: Micro(1_500),
            latency_ms: 40,
        };
        assert_eq!(self.send(Command::Answered(answered)).unwrap(), Reply::Noted);
    }

    /// Asks, answers, and gives the request's id.
    pub(super) fn answer(&mut self, tenant: &str, wanted: Option<&str>) -> String {
        self.requests += 1;
        let id = format!("request-{}", self.requests);
        let assigned = self.assign_wanting(tenant, wanted).unwrap();
        self.note(&id, tenant, &assigned);
        id
    }

    pub(super) fn score(&mut self, request_id: &str, tenant: &str, score: f64) -> Result<Scored, Refusal> {
        let score_ppm = (score * SCORE_PPM as f64).round() as i64;
        let feedback = Feedback { request_id: request_id.to_owned(), tenant: tenant.to_owned(), score_ppm };
        match self.send(Command::Feedback(feedback))? {
            Reply::Scored(scored) => Ok(scored),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn steer(&mut self, turn: Turn) -> Result<Report, Refusal> {
        let steering = Steering { turn, reason: "because".to_owned(), operator: "first".to_owned() };
        match self.send(Command::Steer(steering))? {
            Reply::Report(report) => Ok(*report),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn report(&mut self) -> Report {
        match self.send(Command::Report).unwrap() {
            Reply::Report(report) => *report,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn directory(&mut self, entry: Entry) -> Result<Listed, Refusal> {
        match self.send(Command::Directory(entry))? {
            Reply::Directory(listed) => Ok(listed),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn number(&mut self, query: &str) -> i64 {
        self.sql.first_row(query, |row| row.get(0)).unwrap()
    }

    /// Holds the sums beside the arms against the rows that made them, where none was forgotten.
    pub(super) fn check_sums(&mut self) {
        let wrong = "SELECT COUNT(*) FROM arms a WHERE
            answers <> (SELECT COUNT(*) FROM requests r WHERE r.arm = a.name)
            OR requested <> (SELECT COUNT(*) FROM requests r WHERE r.arm = a.name AND requested = 1)
            OR outcomes <> (SELECT COUNT(score_ppm) FROM requests r WHERE r.arm = a.name AND requested = 0)
            OR score_ppm <> (SELECT COALESCE(SUM(score_ppm), 0) FROM requests r
                             WHERE r.arm = a.name AND requested = 0)
            OR requested_outcomes <> (SELECT COUNT(score_ppm) FROM requests r
                                      WHERE r.arm = a.name AND requested = 1)
            OR requested_score_ppm <> (SELECT COALESCE(SUM(score_ppm), 0) FROM requests r
                                       WHERE r.arm = a.name AND requested = 1)";
        assert_eq!(self.number(wrong), 0, "sums that are not those of their rows");
    }
}
