//! How an experiment stands, from sums alone.

use serde::{Deserialize, Serialize};

use super::bandit::{self, Sums, Uplift};
use super::define::Arm;
use super::steer::{self, Page, Transition};
use super::{State, required};
use crate::shared::{Micro, Refusal};
use crate::sql::{Sql, row};

/// One arm, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArmReport {
    pub name: String,
    pub terms: Arm,
    /// Whether it is still given to anybody.
    pub live: bool,
    /// Answers that were given and charged.
    pub answers: i64,
    pub cost: Micro,
    pub latency_ms: i64,
    /// Outcomes that the odds follow.
    pub sums: Sums,
    /// Answers whose arm the client chose, and their outcomes, which the odds do not follow.
    pub requested: i64,
    pub requested_sums: Sums,
    /// Between which rates 95 % of what is believed of it lies.
    pub interval: (f64, f64),
    /// How probable it is that no live arm has a higher rate. Zero for one that is not live.
    pub best: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub skill: String,
    pub state: State,
    /// The arm that everybody gets, where an operator decided so.
    pub arm: Option<String>,
    pub control: String,
    pub sticky_ms: i64,
    pub round: i64,
    pub began_at_ms: i64,
    pub updated_at_ms: i64,
    pub arms: Vec<ArmReport>,
    /// `None` until there is an outcome.
    pub uplift: Option<Uplift>,
    /// What was done, the newest first.
    pub transitions: Vec<Transition>,
    /// Where what was done before begins; `None` when that is all of it.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Stored {
    terms: Arm,
    live: i64,
    answers: i64,
    cost: Micro,
    latency_ms: i64,
    sums: Sums,
    requested: i64,
    requested_sums: Sums,
}

const ARMS: &str =
    "SELECT json_group_array(json_object('terms', json(terms), 'live', live, 'answers', answers,
    'cost', cost_micro, 'latency_ms', latency_ms, 'requested', requested,
    'sums', json_object('outcomes', outcomes, 'score_ppm', score_ppm),
    'requested_sums', json_object('outcomes', requested_outcomes, 'score_ppm', requested_score_ppm)))
  FROM (SELECT * FROM arms ORDER BY position, name)";

/// The whole report, with the newest of what was done.
///
/// # Errors
/// `UnknownExperiment`; what the database refused.
pub(super) fn report(sql: &mut impl Sql, skill: &str) -> Result<Report, Refusal> {
    with_page(sql, skill, &Page::default())
}

/// The same, with another part of what was done.
///
/// # Errors
/// `InvalidCursor` too.
pub(super) fn with_page(sql: &mut impl Sql, skill: &str, page: &Page) -> Result<Report, Refusal> {
    let found = required(sql, skill)?;
    let stored: Vec<Stored> = row(sql, ARMS, &[])?.unwrap_or_default();
    let all: Vec<Sums> = stored.iter().map(|arm| arm.sums).collect();
    let live: Vec<Sums> = stored.iter().filter(|arm| arm.live == 1).map(|arm| arm.sums).collect();
    let mut best = bandit::best_of(&live).into_iter();
    let arms = stored.into_iter().map(|arm| ArmReport {
        name: arm.terms.name.clone(),
        terms: arm.terms,
        live: arm.live == 1,
        answers: arm.answers,
        cost: arm.cost,
        latency_ms: arm.latency_ms,
        sums: arm.sums,
        requested: arm.requested,
        requested_sums: arm.requested_sums,
        interval: arm.sums.interval(),
        best: if arm.live == 1 { best.next().unwrap_or_default() } else { 0.0 },
    });
    let arms = arms.collect();
    let (transitions, next_cursor) = steer::page(sql, skill, page)?;
    Ok(Report {
        skill: found.skill,
        state: found.state,
        arm: found.arm,
        control: found.control,
        sticky_ms: found.sticky_ms,
        round: found.round,
        began_at_ms: found.began_at_ms,
        updated_at_ms: found.updated_at_ms,
        arms,
        uplift: Uplift::of(&all),
        transitions,
        next_cursor,
    })
}
