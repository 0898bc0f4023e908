//! Versions of skills. Deleting one is a version too, so what a name once meant can always be looked up.

use serde::{Deserialize, Serialize};

use super::command::Change;
use super::prices::VersionNote;
use super::terms::{SkillTerms, is_skill_name};
use super::{
    LIST_ROWS_MAX, SKILL_VERSIONS_MAX, SKILLS_BYTES_MAX, SKILLS_MAX, below, cursor_of, next_revision, stored,
};
use crate::shared::Refusal;
use crate::sql::{Sql, row};

/// One version of a skill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSkill {
    pub name: String,
    pub note: VersionNote,
    /// `None` where this version says that the skill is gone.
    pub terms: Option<SkillTerms>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkillPage {
    /// The current one, which may say that the skill is gone.
    pub current: StoredSkill,
    /// All versions, newest first.
    pub items: Vec<VersionNote>,
    pub next_cursor: Option<String>,
}

const NOTE: &str = "json_object('version', v.version, 'at_ms', v.at_ms, 'changed_by', v.changed_by,
  'reason', v.reason, 'is_gone', json(iif(v.terms IS NULL, 'true', 'false')))";

fn whole() -> String {
    format!("json_object('name', v.name, 'note', {NOTE}, 'terms', json(v.terms))")
}

/// The current version of every skill there is, by name.
pub(super) fn current(sql: &mut impl Sql) -> Result<Vec<StoredSkill>, Refusal> {
    let statement = format!(
        "SELECT json_group_array({}) FROM
           (SELECT v.* FROM skills s JOIN skill_versions v ON v.name = s.name AND v.version = s.version
              WHERE v.terms IS NOT NULL ORDER BY v.name) v",
        whole()
    );
    Ok(row(sql, &statement, &[])?.unwrap_or_default())
}

/// One version, or the current one.
///
/// # Errors
/// `UnknownVersion`, also where the current one says that the skill is gone.
pub(super) fn of_version(
    sql: &mut impl Sql,
    name: &str,
    version: Option<i64>,
) -> Result<StoredSkill, Refusal> {
    let found = match version {
        Some(version) => exactly(sql, name, version)?,
        None => newest(sql, name)?.filter(|newest| newest.terms.is_some()),
    };
    found.ok_or(Refusal::UnknownVersion)
}

fn exactly(sql: &mut impl Sql, name: &str, version: i64) -> Result<Option<StoredSkill>, Refusal> {
    let statement = format!("SELECT {} FROM skill_versions v WHERE name = ?1 AND version = ?2", whole());
    row(sql, &statement, &[name.into(), version.into()])
}

fn newest(sql: &mut impl Sql, name: &str) -> Result<Option<StoredSkill>, Refusal> {
    let version: Option<i64> = row(sql, "SELECT version FROM skills WHERE name = ?1", &[name.into()])?;
    version.map_or(Ok(None), |version| exactly(sql, name, version))
}

/// # Errors
/// `UnknownVersion` for a name that never was one; `InvalidCursor`.
pub(super) fn versions(
    sql: &mut impl Sql,
    name: &str,
    limit: u32,
    cursor: Option<&str>,
) -> Result<SkillPage, Refusal> {
    let limit = limit.clamp(1, LIST_ROWS_MAX);
    let current = newest(sql, name)?.ok_or(Refusal::UnknownVersion)?;
    let items: Vec<VersionNote> = row(
        sql,
        &format!(
            "SELECT json_group_array({NOTE}) FROM (SELECT * FROM skill_versions WHERE name = ?1 AND version < ?2
               ORDER BY version DESC LIMIT ?3) v"
        ),
        &[name.into(), below(name, cursor)?.into(), i64::from(limit).into()],
    )?
    .unwrap_or_default();
    let is_full = items.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next_cursor = items.last().filter(|last| is_full && last.version > 1);
    let next_cursor = next_cursor.map(|last| cursor_of(name, last.version));
    Ok(SkillPage { current, items, next_cursor })
}

/// Makes a new version, which is the current one from now on. Without terms the skill is gone.
pub(super) fn put(
    sql: &mut impl Sql,
    name: &str,
    terms: Option<&SkillTerms>,
    change: &Change,
    now_ms: i64,
) -> Result<StoredSkill, Refusal> {
    if !is_skill_name(name) {
        return Err(Refusal::UnknownVersion);
    }
    let current = newest(sql, name)?;
    let number = current.as_ref().map_or(0, |current| current.note.version);
    if let Some(same) = current.as_ref().filter(|current| {
        change.is_repeated(number) && current.terms.as_ref() == terms && current.note.reason == change.reason
    }) {
        return Ok(same.clone());
    }
    change.expects(number)?;
    let is_there = current.is_some_and(|current| current.terms.is_some());
    if terms.is_none() && !is_there {
        return Err(Refusal::UnknownVersion);
    }
    let version = number.saturating_add(1);
    write(sql, (name, version), terms, change, now_ms)?;
    check_room(sql)?;
    next_revision(sql)?;
    exactly(sql, name, version)?.ok_or(Refusal::UnknownVersion)
}

fn write(
    sql: &mut impl Sql,
    (name, version): (&str, i64),
    terms: Option<&SkillTerms>,
    change: &Change,
    now_ms: i64,
) -> Result<(), Refusal> {
    sql.execute(
        "INSERT INTO skill_versions VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        &[
            name.into(),
            version.into(),
            now_ms.into(),
            change.by.as_str().into(),
            change.reason.as_str().into(),
            terms.map(stored).transpose()?.into(),
        ],
    )?;
    sql.execute(
        "INSERT INTO skills VALUES (?1, ?2) ON CONFLICT DO UPDATE SET version = excluded.version",
        &[name.into(), version.into()],
    )?;
    Ok(())
}

/// Whether what was written is within the limits; a refusal undoes it.
///
/// # Errors
/// `TooManyVersions`, `TooManySkills`, `InvalidSetting` when the skills together are too large.
fn check_room(sql: &mut impl Sql) -> Result<(), Refusal> {
    let kept: Option<i64> = row(sql, "SELECT COUNT(*) FROM skill_versions", &[])?;
    if kept.unwrap_or(0) > SKILL_VERSIONS_MAX {
        return Err(Refusal::TooManyVersions { limit: SKILL_VERSIONS_MAX });
    }
    let room: Option<(u32, i64)> = row(
        sql,
        "SELECT json_array(COUNT(*), COALESCE(SUM(LENGTH(CAST(v.terms AS BLOB))), 0))
           FROM skills s JOIN skill_versions v ON v.name = s.name AND v.version = s.version
           WHERE v.terms IS NOT NULL",
        &[],
    )?;
    let (skills, skills_bytes) = room.unwrap_or_default();
    if skills > SKILLS_MAX {
        return Err(Refusal::TooManySkills { limit: SKILLS_MAX });
    }
    if skills_bytes > SKILLS_BYTES_MAX {
        let expected =
            format!("all skills together have at most {SKILLS_BYTES_MAX} bytes; shorten or delete some");
        return Err(Refusal::InvalidSetting { field: "system".to_owned(), expected });
    }
    Ok(())
}

/// Makes a new version that says what `version` did.
///
/// # Errors
/// `UnknownVersion`, also for one that says that the skill is gone; as [`put`].
pub(super) fn roll_back(
    sql: &mut impl Sql,
    name: &str,
    version: i64,
    change: &Change,
    now_ms: i64,
) -> Result<StoredSkill, Refusal> {
    let old = exactly(sql, name, version)?.and_then(|old| old.terms).ok_or(Refusal::UnknownVersion)?;
    put(sql, name, Some(&old), change, now_ms)
}
