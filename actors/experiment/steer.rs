//! What an operator does with an experiment, and the list of everything that was done.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{State, required, wrong};
use crate::shared::Refusal;
use crate::sql::{Sql, row};

/// Things done that are remembered. Beyond it the oldest are forgotten.
pub const TRANSITIONS_MAX: i64 = 1_000;
/// Of them, those that a report tells when nothing is said, and at most.
const TRANSITIONS_TOLD: u32 = 50;
const TRANSITIONS_TOLD_MAX: u32 = 100;
/// The largest whole number that the platform hands over exactly; no number of a transition comes to it.
const SEQ_MAX: i64 = (1 << 53) - 1;
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

/// Which part of the list of what was done is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// 1 to 100; 50 when it is not said.
    pub limit: Option<u32>,
    /// What the page before said is next; the newest when it is not said.
    pub cursor: Option<String>,
}

/// A page of what was done, the newest first, and where the next one begins.
///
/// # Errors
/// `InvalidCursor` for what is no cursor of this skill's list.
pub(super) fn page(
    sql: &mut impl Sql,
    skill: &str,
    page: &Page,
) -> Result<(Vec<Transition>, Option<String>), Refusal> {
    let limit = page.limit.unwrap_or(TRANSITIONS_TOLD).clamp(1, TRANSITIONS_TOLD_MAX);
    let below = match &page.cursor {
        None => SEQ_MAX,
        Some(cursor) => seq_of(skill, cursor).ok_or(Refusal::InvalidCursor)?,
    };
    let list = "SELECT json_group_array(json_object('seq', seq, 'at_ms', at_ms, 'kind', kind, 'arm', arm,
                  'reason', reason, 'operator', operator, 'detail', json(detail)))
                FROM (SELECT * FROM transitions WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2)";
    // One more shows whether there is a next page.
    let rows = i64::from(limit).saturating_add(1);
    let mut told: Vec<Transition> = row(sql, list, &[below.into(), rows.into()])?.unwrap_or_default();
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let goes_on = told.len() > limit;
    told.truncate(limit);
    let next = told.last().filter(|_| goes_on).map(|last| cursor_of(skill, last.seq));
    Ok((told, next))
}

fn cursor_of(skill: &str, seq: i64) -> String {
    format!("{skill}-{seq}")
}

/// There is one way to write a cursor.
fn seq_of(skill: &str, cursor: &str) -> Option<i64> {
    let seq = cursor.strip_prefix(skill)?.strip_prefix('-')?.parse().ok()?;
    (cursor_of(skill, seq) == cursor && (1..=SEQ_MAX).contains(&seq)).then_some(seq)
}
