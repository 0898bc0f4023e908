//! Which skills have an experiment: one actor for all, so that an ask of any other skill costs no hop.
//!
//! A skill is entered before its experiment is defined and struck after it was withdrawn, so the list may name one that
//! has none, and never misses one that does.

use serde::{Deserialize, Serialize};

use crate::shared::Refusal;
use crate::sql::{Sql, row};

const SCHEMA: &str = include_str!("directory.sql");
/// Experiments at one time. Each isolate keeps all their names: 8 KiB of them.
pub const EXPERIMENTS_MAX: u32 = 128;

/// What the front door asks of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    List,
    Enter(String),
    Strike(String),
}

/// The list as it is, in the order of its names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Of two lists, the one with the higher version is the newer one.
    pub version: i64,
    pub skills: Vec<String>,
}

/// Does what is asked, and answers with the list.
///
/// # Errors
/// `TooManyExperiments`; what the database refused.
pub fn handle(sql: &mut impl Sql, entry: &Entry, now_ms: i64) -> Result<Listed, Refusal> {
    let made = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'known'";
    if sql.text(made, &[])?.is_none() {
        if !matches!(entry, Entry::Enter(_)) {
            return Ok(Listed::default());
        }
        sql.execute(SCHEMA, &[])?;
    }
    match entry {
        Entry::List => {}
        Entry::Enter(skill) => enter(sql, skill, now_ms)?,
        Entry::Strike(skill) => {
            sql.execute("DELETE FROM known WHERE skill = ?1", &[skill.as_str().into()])?;
            sql.execute("UPDATE versions SET version = version + 1", &[])?;
        }
    }
    let all = "SELECT json_object('version', version, 'skills',
                 (SELECT json_group_array(skill) FROM (SELECT skill FROM known ORDER BY skill))) FROM versions";
    Ok(row(sql, all, &[])?.unwrap_or_default())
}

fn enter(sql: &mut impl Sql, skill: &str, now_ms: i64) -> Result<(), Refusal> {
    let others: Option<u32> = row(sql, "SELECT COUNT(*) FROM known WHERE skill <> ?1", &[skill.into()])?;
    if others.unwrap_or(0) >= EXPERIMENTS_MAX {
        return Err(Refusal::TooManyExperiments { limit: EXPERIMENTS_MAX });
    }
    sql.execute("INSERT INTO known VALUES (?1, ?2) ON CONFLICT DO NOTHING", &[skill.into(), now_ms.into()])?;
    sql.execute("UPDATE versions SET version = version + 1", &[])?;
    Ok(())
}
