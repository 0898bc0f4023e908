//! Which arm answers an ask.

use serde::{Deserialize, Serialize};

use super::bandit::{self, Sums};
use super::chance::Chance;
use super::define::Arm;
use super::{Standing, State, standing};
use crate::shared::Refusal;
use crate::sql::{Sql, row};

/// Units whose arms are remembered. Beyond it, those that got theirs first are forgotten.
pub const UNITS_MAX: i64 = 100_000;

/// An ask that is about to be answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Digest of who keeps an arm: a tenant, or one of its clients.
    pub unit: String,
    /// The arm that the client wants. One that is not to be had is as good as none.
    pub wanted: Option<String>,
}

/// What decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    Chance,
    /// Chance did, before, and the unit keeps it.
    Kept,
    /// The client.
    Requested,
    /// An operator: the experiment is paused, pinned or promoted.
    Operator,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assigned {
    pub arm: Arm,
    pub by: By,
    /// The experiment this is part of, to be handed back with the answer.
    pub round: i64,
}

#[derive(Deserialize)]
struct Choice {
    terms: Arm,
    sums: Sums,
}

/// The arm for one ask; `None` where the skill has no experiment, or has it no more.
///
/// # Errors
/// What the database refused.
pub(super) fn assign(
    sql: &mut impl Sql,
    skill: &str,
    ask: &Ask,
    seed: u64,
    now_ms: i64,
) -> Result<Option<Assigned>, Refusal> {
    let Some(found) = standing(sql, skill)? else {
        return Ok(None);
    };
    let fixed = match found.state {
        State::Running => return running(sql, &found, ask, seed, now_ms),
        State::Paused => Some(found.control),
        State::Pinned | State::Promoted => found.arm,
        State::Withdrawn => None,
    };
    let Some(name) = fixed else {
        return Ok(None);
    };
    let arm: Option<Arm> = row(sql, "SELECT terms FROM arms WHERE name = ?1", &[name.into()])?;
    Ok(arm.map(|arm| Assigned { arm, by: By::Operator, round: found.round }))
}

fn running(
    sql: &mut impl Sql,
    found: &Standing,
    ask: &Ask,
    seed: u64,
    now_ms: i64,
) -> Result<Option<Assigned>, Refusal> {
    let arms = "SELECT json_group_array(json_object('terms', json(terms), 'sums',
                  json_object('outcomes', outcomes, 'score_ppm', score_ppm)))
                FROM (SELECT * FROM arms WHERE live = 1 ORDER BY position, name)";
    let arms: Vec<Choice> = row(sql, arms, &[])?.unwrap_or_default();
    let named = |name: &str| arms.iter().find(|arm| arm.terms.name == name).map(|arm| arm.terms.clone());
    let given = |arm: Arm, by: By| Ok(Some(Assigned { arm, by, round: found.round }));
    if let Some(arm) = ask.wanted.as_deref().and_then(named) {
        return given(arm, By::Requested);
    }
    let sticks = found.sticky_ms > 0;
    if sticks {
        let kept = "SELECT arm FROM units WHERE unit = ?1 AND until_ms > ?2";
        let kept = sql.text(kept, &[ask.unit.as_str().into(), now_ms.into()])?;
        if let Some(arm) = kept.as_deref().and_then(named) {
            return given(arm, By::Kept);
        }
    }
    let chosen = bandit::choose(arms.iter().map(|arm| arm.sums), &mut Chance::new(seed));
    let Some(arm) = chosen.and_then(|at| arms.get(at)).map(|arm| arm.terms.clone()) else {
        return Err(Refusal::Broken { detail: "an experiment runs without arms".to_owned() });
    };
    if sticks {
        stick(sql, &ask.unit, &arm.name, now_ms.saturating_add(found.sticky_ms))?;
    }
    given(arm, By::Chance)
}

/// The unit keeps the arm, and takes the newest place. Who is too far behind is forgotten.
fn stick(sql: &mut impl Sql, unit: &str, arm: &str, until_ms: i64) -> Result<(), Refusal> {
    let newest: Option<i64> = row(
        sql,
        "INSERT OR REPLACE INTO units (seq, unit, arm, until_ms)
         VALUES ((SELECT COALESCE(MAX(seq), 0) + 1 FROM units), ?1, ?2, ?3) RETURNING seq",
        &[unit.into(), arm.into(), until_ms.into()],
    )?;
    let kept_from = newest.unwrap_or(0).saturating_sub(UNITS_MAX);
    sql.execute("DELETE FROM units WHERE seq <= ?1", &[kept_from.into()])?;
    Ok(())
}
