//! What an operator does with an experiment, and the list of everything that was done.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{State, required, wrong};
use crate::shared::Refusal;
use crate::sql::{Sql, row};

/// Things done that are remembered. Beyond it the oldest are forgotten.
pub const TRANSITIONS_MAX: i64 = 1_000;
/// Of them, those that a report tells, the newest first.
const TRANSITIONS_TOLD: i64 = 50;
/// The longest reason, in bytes.
pub const REASON_BYTES_MAX: usize = 500;

/// What is to become of an experiment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    Pause,
    Resume,
    Pin { arm: String },
    Promote { arm: String },
    Withdraw,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steering {
    pub turn: Turn,
    pub reason: String,
    /// Which of the operator's keys.
    pub operator: String,
}

/// One thing that was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    pub seq: i64,
    pub at_ms: i64,
    pub kind: String,
    pub arm: Option<String>,
    pub reason: Option<String>,
    pub operator: String,
    pub detail: Option<Value>,
}

pub(super) fn check_reason(reason: &str) -> Result<(), Refusal> {
    if reason.trim().is_empty() || reason.len() > REASON_BYTES_MAX {
        return Err(wrong("reason", format!("a text of 1 to {REASON_BYTES_MAX} bytes")));
    }
    Ok(())
}

/// Steers. What is so already is not done again, and nothing is noted of it.
///
/// # Errors
/// `UnknownExperiment`; `ExperimentEnded` after a promotion or a withdrawal; `InvalidSetting` for an arm that is none.
pub(super) fn steer(
    sql: &mut impl Sql,
    skill: &str,
    steering: &Steering,
    now_ms: i64,
) -> Result<(), Refusal> {
    check_reason(&steering.reason)?;
    let found = required(sql, skill)?;
    let (state, arm, kind) = match &steering.turn {
        Turn::Pause => (State::Paused, None, "paused"),
        Turn::Resume => (State::Running, None, "resumed"),
        Turn::Pin { arm } => (State::Pinned, Some(arm), "pinned"),
        Turn::Promote { arm } => (State::Promoted, Some(arm), "promoted"),
        Turn::Withdraw => (State::Withdrawn, None, "withdrawn"),
    };
    if found.state == state && found.arm.as_ref() == arm {
        return Ok(());
    }
    // A winner can still be taken back; nothing else happens to what is over.
    if found.state.is_over() && !(found.state == State::Promoted && state == State::Withdrawn) {
        return Err(Refusal::ExperimentEnded);
    }
    if let Some(arm) = arm {
        let is_live = "SELECT 1 FROM arms WHERE name = ?1 AND live = 1";
        if sql.text(is_live, &[arm.as_str().into()])?.is_none() {
            return Err(wrong("arm", "the name of an arm of this experiment"));
        }
    }
    sql.execute(
        "UPDATE experiment SET state = ?1, arm = ?2, updated_at_ms = ?3",
        &[state.stored().into(), arm.map(String::as_str).into(), now_ms.into()],
    )?;
    let done = Transition {
        seq: 0,
        at_ms: now_ms,
        kind: kind.to_owned(),
        arm: arm.cloned(),
        reason: Some(steering.reason.clone()),
        operator: steering.operator.clone(),
        detail: None,
    };
    keep(sql, &done)
}

/// Adds to the list of what was done; its number is given here.
pub(super) fn keep(sql: &mut impl Sql, done: &Transition) -> Result<(), Refusal> {
    let newest: Option<i64> = row(
        sql,
        "INSERT INTO transitions (at_ms, kind, arm, reason, operator, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         RETURNING seq",
        &[
            done.at_ms.into(),
            done.kind.as_str().into(),
            done.arm.as_deref().into(),
            done.reason.as_deref().into(),
            done.operator.as_str().into(),
            done.detail.as_ref().map(ToString::to_string).into(),
        ],
    )?;
    let kept_from = newest.unwrap_or(0).saturating_sub(TRANSITIONS_MAX);
    sql.execute("DELETE FROM transitions WHERE seq <= ?1", &[kept_from.into()])?;
    Ok(())
}

/// The newest of what was done, first.
pub(super) fn newest(sql: &mut impl Sql) -> Result<Vec<Transition>, Refusal> {
    let list = "SELECT json_group_array(json_object('seq', seq, 'at_ms', at_ms, 'kind', kind, 'arm', arm,
                  'reason', reason, 'operator', operator, 'detail', json(detail)))
                FROM (SELECT * FROM transitions ORDER BY seq DESC LIMIT ?1)";
    Ok(row(sql, list, &[TRANSITIONS_TOLD.into()])?.unwrap_or_default())
}
