//! Which arms an experiment has. The name of an arm means one thing as long as the experiment lasts, so that what was
//! learned of it stays true.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::report;
use super::steer::{self, Transition};
use super::{SCHEMA, Standing, State, standing, wrong};
use crate::catalog::SKILL_VERSIONS_MAX;
use crate::shared::Refusal;
use crate::sql::{Sql, row};

/// Arms at one time: with more, hardly one gets enough answers to be told from the others.
pub const ARMS_MAX: usize = 16;
/// Arms of one experiment, those that were taken out of it with them.
pub const ARMS_KEPT_MAX: u32 = 64;
/// The longest name of an arm, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// The longest name of a model, in bytes.
const MODEL_BYTES_MAX: usize = 128;
/// The longest system prompt of an arm, in bytes: some three thousand words.
pub const SYSTEM_BYTES_MAX: usize = 16_384;
/// The longest time that a unit keeps its arm: 30 days.
pub const STICKY_MS_MAX: i64 = 30 * 86_400_000;

/// One way to answer for the skill. What it does not say is as it is without an experiment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arm {
    pub name: String,
    /// The stored version of the skill that answers: its prompt, preferences, limits and price. The current one when it
    /// is not said.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "number_of_a_version")]
    pub skill_version: Option<i64>,
    /// Instead of that version's prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// `provider:model`, to be asked before all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// Once a version was any text and named nothing. Such a text is still stored, and still names nothing.
fn number_of_a_version<'de, D: Deserializer<'de>>(stored: D) -> Result<Option<i64>, D::Error> {
    Option::<Value>::deserialize(stored).map(|stored| stored.and_then(|stored| stored.as_i64()))
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    pub arms: Vec<Arm>,
    /// The arm that everybody gets while the experiment is paused, and that the others are compared with.
    pub control: String,
    /// How long a unit keeps its arm. Zero: chance decides each time.
    pub sticky_ms: i64,
}

impl Definition {
    fn check(&self) -> Result<(), Refusal> {
        if !(2..=ARMS_MAX).contains(&self.arms.len()) {
            return Err(wrong("arms", format!("2 to {ARMS_MAX} arms")));
        }
        let is_name = |name: &str| {
            (1..=NAME_BYTES_MAX).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b))
        };
        let fits = |text: &Option<String>, bytes_max: usize| {
            text.as_ref().is_none_or(|text| (1..=bytes_max).contains(&text.len()))
        };
        let mut names: Vec<&str> = self.arms.iter().map(|arm| arm.name.as_str()).collect();
        if !names.iter().all(|name| is_name(name)) {
            return Err(wrong("arms.name", "1 to 64 lower-case letters, digits, `-`, `_` or `.`"));
        }
        let is_version = |version: i64| (0..=SKILL_VERSIONS_MAX).contains(&version);
        if self.arms.iter().filter_map(|arm| arm.skill_version).any(|version| !is_version(version)) {
            return Err(wrong("arms.skill_version", format!("0 to {SKILL_VERSIONS_MAX}")));
        }
        if self.arms.iter().any(|arm| !fits(&arm.system, SYSTEM_BYTES_MAX)) {
            return Err(wrong("arms.system", format!("1 to {SYSTEM_BYTES_MAX} bytes")));
        }
        if self.arms.iter().any(|arm| !fits(&arm.model, MODEL_BYTES_MAX)) {
            return Err(wrong("arms.model", format!("1 to {MODEL_BYTES_MAX} bytes")));
        }
        if !names.contains(&self.control.as_str()) {
            return Err(wrong("control", "the name of one of the arms"));
        }
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        if names.len() != count {
            return Err(wrong("arms.name", "a name of its own for each arm"));
        }
        if !(0..=STICKY_MS_MAX).contains(&self.sticky_ms) {
            return Err(wrong("sticky_s", "0 to 2592000 seconds"));
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Stored {
    live: i64,
    terms: Arm,
}

/// Defines the experiment of `skill`, changes which arms a live one has, or begins anew where the last one is over.
/// Arms that stay keep what was learned of them; arms that are left out get nobody any more.
///
/// # Errors
/// `InvalidSetting`; `ArmChanged` for a name that means another thing already.
pub(super) fn define(
    sql: &mut impl Sql,
    skill: &str,
    definition: &Definition,
    (reason, operator): (Option<&str>, &str),
    (seed, now_ms): (u64, i64),
) -> Result<(), Refusal> {
    definition.check()?;
    reason.map_or(Ok(()), steer::check_reason)?;
    let before = match standing(sql, skill)? {
        Some(found) if !found.state.is_over() => {
            if !change(sql, &found, definition, now_ms)? {
                return Ok(());
            }
            None
        }
        Some(found) => Some(begin_anew(sql, &found, definition, now_ms)?),
        None => {
            begin(sql, skill, definition, (seed, now_ms))?;
            None
        }
    };
    let detail = serde_json::json!({ "definition": definition, "before": before });
    let arm = None;
    let done = Transition {
        seq: 0,
        at_ms: now_ms,
        kind: "defined".to_owned(),
        arm,
        reason: reason.map(str::to_owned),
        operator: operator.to_owned(),
        detail: Some(detail),
    };
    steer::keep(sql, &done)
}

fn begin(
    sql: &mut impl Sql,
    skill: &str,
    definition: &Definition,
    (seed, now_ms): (u64, i64),
) -> Result<(), Refusal> {
    sql.execute(SCHEMA, &[])?;
    sql.execute(
        "INSERT INTO experiment VALUES (1, ?1, 'running', NULL, ?2, ?3, ?5, 1, ?4, ?4)",
        &[
            skill.into(),
            definition.control.as_str().into(),
            definition.sticky_ms.into(),
            now_ms.into(),
            format!("{seed:016x}").into(),
        ],
    )?;
    insert(sql, definition.arms.iter().enumerate())
}

/// The next experiment of the skill. How the last one ended goes into the list of what was done.
fn begin_anew(
    sql: &mut impl Sql,
    found: &Standing,
    definition: &Definition,
    now_ms: i64,
) -> Result<serde_json::Value, Refusal> {
    let ended = report::report(sql, &found.skill)?;
    let arms: Vec<_> = ended.arms.iter().map(|arm| (arm.name.as_str(), arm.sums, arm.answers)).collect();
    let ended = serde_json::json!({ "state": ended.state, "arm": ended.arm, "arms": arms });
    for table in ["arms", "units", "requests"] {
        sql.execute(&format!("DELETE FROM {table}"), &[])?;
    }
    sql.execute(
        "UPDATE experiment SET state = 'running', arm = NULL, control = ?1, sticky_ms = ?2, round = round + 1,
           began_at_ms = ?3, updated_at_ms = ?3",
        &[definition.control.as_str().into(), definition.sticky_ms.into(), now_ms.into()],
    )?;
    insert(sql, definition.arms.iter().enumerate())?;
    Ok(ended)
}

/// Whether anything is different now.
fn change(
    sql: &mut impl Sql,
    found: &Standing,
    definition: &Definition,
    now_ms: i64,
) -> Result<bool, Refusal> {
    let stored = "SELECT json_group_array(json_object('live', live, 'terms', json(terms))) FROM arms";
    let stored: Vec<Stored> = row(sql, stored, &[])?.unwrap_or_default();
    let known = |name: &str| stored.iter().find(|stored| stored.terms.name == name);
    if let Some(arm) = definition.arms.iter().find(|arm| known(&arm.name).is_some_and(|k| k.terms != **arm)) {
        return Err(Refusal::ArmChanged { arm: arm.name.clone() });
    }
    let stays = |name: &str| definition.arms.iter().any(|arm| arm.name == name);
    if found.state == State::Pinned && found.arm.as_deref().is_some_and(|arm| !stays(arm)) {
        return Err(wrong("arms", "the pinned arm among them"));
    }
    let new: Vec<_> =
        definition.arms.iter().enumerate().filter(|(_, arm)| known(&arm.name).is_none()).collect();
    let in_all = u32::try_from(stored.len().saturating_add(new.len())).unwrap_or(u32::MAX);
    if in_all > ARMS_KEPT_MAX {
        return Err(wrong("arms", format!("{ARMS_KEPT_MAX} arms in all, those of before with them")));
    }
    let same_arms = new.is_empty() && stored.iter().all(|arm| (arm.live == 1) == stays(&arm.terms.name));
    if same_arms && found.control == definition.control && found.sticky_ms == definition.sticky_ms {
        return Ok(false);
    }
    for arm in &stored {
        let live = i64::from(stays(&arm.terms.name));
        sql.execute(
            "UPDATE arms SET live = ?2 WHERE name = ?1",
            &[arm.terms.name.as_str().into(), live.into()],
        )?;
    }
    let behind = stored.len();
    insert(sql, new.into_iter().map(|(at, arm)| (at.saturating_add(behind), arm)))?;
    sql.execute(
        "UPDATE experiment SET control = ?1, sticky_ms = ?2, updated_at_ms = ?3",
        &[definition.control.as_str().into(), definition.sticky_ms.into(), now_ms.into()],
    )?;
    Ok(true)
}

fn insert<'a>(sql: &mut impl Sql, arms: impl Iterator<Item = (usize, &'a Arm)>) -> Result<(), Refusal> {
    for (at, arm) in arms {
        let terms = serde_json::to_string(arm)
            .map_err(|error| Refusal::Storage { detail: format!("arm: {error}") })?;
        let position = i64::try_from(at).unwrap_or(i64::MAX);
        sql.execute(
            "INSERT INTO arms (name, position, terms, live) VALUES (?1, ?2, ?3, 1)",
            &[arm.name.as_str().into(), position.into(), terms.into()],
        )?;
    }
    Ok(())
}
