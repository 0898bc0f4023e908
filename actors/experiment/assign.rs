//! Which arm answers an ask. Nothing is written then: an ask may be refused yet, and a unit keeps its arm from its first
//! answer on. So that a unit that asks several things at once gets one arm for them, its draw is its own: the same for
//! the same unit within the time that it would keep the arm.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

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
    let seed = if sticks { own_seed(found, &ask.unit, now_ms) } else { seed };
    let chosen = bandit::choose(arms.iter().map(|arm| arm.sums), &mut Chance::new(seed));
    let Some(arm) = chosen.and_then(|at| arms.get(at)).map(|arm| arm.terms.clone()) else {
        return Err(Refusal::Broken { detail: "an experiment runs without arms".to_owned() });
    };
    given(arm, By::Chance)
}

/// What a unit's draw begins with.
fn own_seed(found: &Standing, unit: &str, now_ms: i64) -> u64 {
    let period = now_ms.checked_div_euclid(found.sticky_ms).unwrap_or_default();
    let digest = Sha256::digest(format!("{}/{}/{period}/{unit}", found.salt, found.round));
    let mut seed = [0; 8];
    for (to, from) in seed.iter_mut().zip(digest) {
        *to = from;
    }
    u64::from_le_bytes(seed)
}

/// The unit keeps the arm that chance gave it, unless it keeps one already, and takes the newest place. Who is too far
/// behind is forgotten.
pub(super) fn stick(
    sql: &mut impl Sql,
    unit: &str,
    arm: &str,
    (sticky_ms, now_ms): (i64, i64),
) -> Result<(), Refusal> {
    let newest: Option<i64> = row(
        sql,
        "INSERT OR REPLACE INTO units (seq, unit, arm, until_ms)
         SELECT (SELECT COALESCE(MAX(seq), 0) + 1 FROM units), ?1, ?2, ?3
         WHERE NOT EXISTS (SELECT 1 FROM units JOIN arms ON arms.name = units.arm
                           WHERE unit = ?1 AND until_ms > ?4 AND live = 1)
         RETURNING seq",
        &[unit.into(), arm.into(), now_ms.saturating_add(sticky_ms).into(), now_ms.into()],
    )?;
    let Some(newest) = newest else {
        return Ok(());
    };
    sql.execute("DELETE FROM units WHERE seq <= ?1", &[newest.saturating_sub(UNITS_MAX).into()])?;
    Ok(())
}
