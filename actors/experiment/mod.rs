//! The experiment of one skill: which of its versions answers whom, and how well each does.
//!
//! Owns: the arms, who keeps which, the answers that can still be scored, their scores, and what operators decided.
//! Never does: draw chance, which comes in as a seed; see a tenant or a client, of whom the front door hands over
//! digests; know what an arm's model or prompt means.

mod answers;
mod assign;
mod bandit;
mod beta;
mod chance;
mod command;
mod define;
pub mod directory;
mod report;
mod steer;

#[cfg(test)]
mod tests;

pub use answers::{Answered, FEEDBACK_WINDOW_MS, Feedback, REQUESTS_MAX, Scored};
pub use assign::{Ask, Assigned, By, UNITS_MAX};
pub use bandit::{BEST_DRAWS, CREDIBLE_SHARE, SCORE_PPM, Sums, Uplift};
pub use command::{Call, Command, Reply, handle};
pub use define::{ARMS_KEPT_MAX, ARMS_MAX, Arm, Definition, NAME_BYTES_MAX, STICKY_MS_MAX, SYSTEM_BYTES_MAX};
pub use report::{ArmReport, Report};
pub use steer::{Page, REASON_BYTES_MAX, Steering, TRANSITIONS_MAX, Transition, Turn};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::shared::Refusal;
use crate::sql::{Sql, row};

const SCHEMA: &str = include_str!("schema.sql");

/// How an experiment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Chance follows the outcomes.
    Running,
    /// Everybody gets the control arm.
    Paused,
    /// Everybody gets one arm, until somebody decides otherwise.
    Pinned,
    /// The experiment is over, and everybody gets its winner.
    Promoted,
    /// The experiment is over, and nobody gets an arm.
    Withdrawn,
}

impl State {
    const fn stored(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Pinned => "pinned",
            Self::Promoted => "promoted",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// Whether it can only be begun anew.
    const fn is_over(self) -> bool {
        matches!(self, Self::Promoted | Self::Withdrawn)
    }
}

/// The row of the experiment itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Standing {
    skill: String,
    state: State,
    arm: Option<String>,
    control: String,
    sticky_ms: i64,
    salt: String,
    round: i64,
    began_at_ms: i64,
    updated_at_ms: i64,
}

const STANDING: &str = "json_object('skill', skill, 'state', state, 'arm', arm, 'control', control,
  'sticky_ms', sticky_ms, 'salt', salt, 'round', round, 'began_at_ms', began_at_ms, 'updated_at_ms', updated_at_ms)";

/// The experiment of `skill`; `None` when none was ever defined here.
///
/// # Errors
/// `Storage` when the actor belongs to another skill; what the database refused.
fn standing(sql: &mut impl Sql, skill: &str) -> Result<Option<Standing>, Refusal> {
    let made = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'experiment'";
    if sql.text(made, &[])?.is_none() {
        return Ok(None);
    }
    let found: Option<Standing> = row(sql, &format!("SELECT {STANDING} FROM experiment"), &[])?;
    match found {
        Some(found) if found.skill != skill => {
            Err(Refusal::Storage { detail: format!("the experiment of `{skill}` holds another skill's") })
        }
        found => Ok(found),
    }
}

/// The same where there must be one.
fn required(sql: &mut impl Sql, skill: &str) -> Result<Standing, Refusal> {
    standing(sql, skill)?.ok_or(Refusal::UnknownExperiment)
}

fn wrong(field: &str, expected: impl Into<String>) -> Refusal {
    Refusal::InvalidSetting { field: field.to_owned(), expected: expected.into() }
}

/// The name of the actor of a skill's experiment: a digest behind a version.
#[must_use]
pub fn actor_name(skill: &str) -> String {
    named("experiment", skill)
}

/// The name of the one actor that knows which skills have an experiment.
#[must_use]
pub fn directory_name() -> String {
    named("experiment-directory", "")
}

fn named(kind: &str, value: &str) -> String {
    let mut digest = Sha256::new();
    for part in [kind, value] {
        // Lengths keep the parts apart.
        digest.update(part.len().to_string());
        digest.update(":");
        digest.update(part);
    }
    format!("v1-{:x}", digest.finalize())
}
