//! What is sold, and for how much: the price table and the skills, each with every version it ever had.
//!
//! Owns: versions of prices and skills, who made them and why, and which is the current one. Never does: reads a
//! configuration (the front door brings what it says), or charges anybody.

mod charge;
mod command;
mod prices;
mod skills;
mod terms;

pub use charge::{Charged, SkillPrice, price_of};
pub use command::{Change, Command, Reply, Snapshot};
pub use prices::{ConfiguredPrices, PriceVersion, PricesPage, StoredPrices, VersionNote};
pub use skills::{SkillPage, StoredSkill};
pub use terms::{GENERAL, OnClientSystem, SkillTerms, is_skill_name};

use crate::shared::Refusal;
use crate::sql::{Sql, row};

pub const SCHEMA: &str = include_str!("schema.sql");

/// Versions of the price table that are kept. At 100 KB each if all are as large as they may be, a gigabyte.
pub const PRICE_VERSIONS_MAX: i64 = 10_000;
/// Tables of configurations that are kept: one for each deployment that changes prices.
pub const CONFIGURED_PRICES_MAX: i64 = 10_000;
/// Versions of all skills together that are kept. At 20 KB each, half a gigabyte at most.
pub const SKILL_VERSIONS_MAX: i64 = 20_000;
/// Skills that there are at one time.
pub const SKILLS_MAX: u32 = 100;
/// The current skills together, as they are stored, in bytes: one read of them all, and the copy in every isolate.
/// 1 MiB, half of what a cell may hold.
pub const SKILLS_BYTES_MAX: i64 = 1_048_576;
/// A reason, in bytes.
pub const REASON_BYTES_MAX: usize = 512;
/// Rows of a list: 1 to this many.
pub const LIST_ROWS_MAX: u32 = 100;

/// Makes the tables, where they are not there yet.
///
/// # Errors
/// What the database refused.
pub fn open(sql: &mut impl Sql) -> Result<(), Refusal> {
    let exists = sql.text("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'catalog'", &[])?;
    if exists.is_none() {
        sql.execute(SCHEMA, &[])?;
    }
    Ok(())
}

/// Does one command, in a transaction that its caller opens and ends.
///
/// # Errors
/// `VersionConflict`, `UnknownVersion`, `TooManyVersions`, `TooManySkills`, `InvalidSetting`, `InvalidCursor`; what the
/// database refused.
pub fn handle(sql: &mut impl Sql, command: Command, now_ms: i64) -> Result<Reply, Refusal> {
    match command {
        Command::Read { known_revision, configured } => {
            let configured_kept = match &configured {
                Some(table) => prices::keep_configured(sql, table, now_ms)?,
                None => false,
            };
            let revision = revision(sql)?;
            let changed = known_revision != Some(revision);
            let snapshot = changed.then(|| snapshot(sql, revision)).transpose()?;
            Ok(Reply::Read { snapshot, configured_kept })
        }
        Command::Prices { version } => Ok(Reply::Prices(prices::of_version(sql, &version)?)),
        Command::ListPrices { limit, cursor } => {
            Ok(Reply::PricesPage(prices::list(sql, limit, cursor.as_deref())?))
        }
        Command::PutPrices { prices, change } => {
            change.check()?;
            prices::put(sql, &prices, &change, now_ms).map(Reply::Prices)
        }
        Command::ListSkills => Ok(Reply::Skills(skills::current(sql)?)),
        Command::Skill { name, version } => Ok(Reply::Skill(skills::of_version(sql, &name, version)?)),
        Command::ListSkillVersions { name, limit, cursor } => {
            Ok(Reply::SkillPage(skills::versions(sql, &name, limit, cursor.as_deref())?))
        }
        Command::PutSkill { name, terms, change } => {
            change.check()?;
            terms.check(&name)?;
            skills::put(sql, &name, Some(&terms), &change, now_ms).map(Reply::Skill)
        }
        Command::DeleteSkill { name, change } => {
            change.check()?;
            skills::put(sql, &name, None, &change, now_ms).map(Reply::Skill)
        }
        Command::RollBackSkill { name, version, change } => {
            change.check()?;
            skills::roll_back(sql, &name, version, &change, now_ms).map(Reply::Skill)
        }
    }
}

fn snapshot(sql: &mut impl Sql, revision: i64) -> Result<Snapshot, Refusal> {
    Ok(Snapshot { revision, prices: prices::current(sql)?, skills: skills::current(sql)? })
}

fn revision(sql: &mut impl Sql) -> Result<i64, Refusal> {
    row(sql, "SELECT revision FROM catalog", &[])?
        .ok_or_else(|| Refusal::Broken { detail: "the catalog has no revision".to_owned() })
}

/// Something changed: every copy is old from now on.
fn next_revision(sql: &mut impl Sql) -> Result<(), Refusal> {
    sql.execute("UPDATE catalog SET revision = revision + 1", &[])?;
    Ok(())
}

/// Where a list of versions goes on, newest first: below this version.
fn below(list: &str, cursor: Option<&str>) -> Result<i64, Refusal> {
    let Some(raw) = cursor else { return Ok((1 << 53) - 1) };
    let version = raw.strip_prefix(list).and_then(|rest| rest.strip_prefix('-')?.parse::<u32>().ok());
    let version = version.ok_or(Refusal::InvalidCursor)?;
    // The one way to write it.
    if cursor_of(list, i64::from(version)) == raw { Ok(version.into()) } else { Err(Refusal::InvalidCursor) }
}

fn cursor_of(list: &str, version: i64) -> String {
    format!("{list}-{version}")
}

fn stored(value: &impl serde::Serialize) -> Result<String, Refusal> {
    serde_json::to_string(value).map_err(|error| Refusal::Storage { detail: error.to_string() })
}

#[cfg(test)]
mod tests;
