//! Voice sessions of one tenant: how many may be open, which there were, and how the tenant likes to be spoken to.
//!
//! Owns: the list and its bounds. Never does: anything in a session, whose own actor says when it is over. Should that
//! word be lost, the slot is free again when no session lives any longer.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::shared::{Cursor, Refusal, TenantId};
use crate::sql::{Sql, row};
use crate::voice::limits::{RETENTION_MS, SESSION_MS_MAX, WINDOW_MS_MAX};

const SCHEMA: &str = include_str!("schema.sql");
/// Sessions of one tenant that are open at one time.
pub const SESSIONS_OPEN_MAX: u32 = 64;
/// Sessions that are listed, those that are over among them, some hundred bytes each. The oldest makes room.
pub const SESSIONS_KEPT_MAX: i64 = 1_000;
/// What is remembered of how a tenant likes to be spoken to, in bytes of JSON.
pub const PREFS_BYTES_MAX: usize = 2_048;
/// How long after its opening a session is taken for over that nobody heard of: the longest life and the longest wait.
const SLOT_MS: i64 = SESSION_MS_MAX.saturating_add(WINDOW_MS_MAX);
const LIST: &str = "voice-sessions";

/// A session as the list has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    pub n: i64,
    pub session: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<String>,
    pub opened_at_ms: i64,
    pub ended_at_ms: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    pub items: Vec<Listed>,
    pub next_cursor: Option<String>,
}

fn exists(sql: &mut impl Sql) -> Result<bool, Refusal> {
    Ok(sql.text("SELECT name FROM sqlite_master WHERE name = 'voice_sessions'", &[])?.is_some())
}

/// Makes the tables, where there are none. Without the comments, which every database would keep.
fn make_tables(sql: &mut impl Sql) -> Result<(), Refusal> {
    if !exists(sql)? {
        let lines = SCHEMA.lines().filter(|line| !line.trim_start().starts_with("--"));
        let tables: String = lines.flat_map(|line| [line, "\n"]).collect();
        sql.execute(&tables, &[])?;
    }
    Ok(())
}

/// Adds a session.
///
/// # Errors
/// `TooManyVoiceSessions`; `DuplicateOperation` for one that is there.
pub fn open(sql: &mut impl Sql, session: &str, api_key: Option<&str>, now_ms: i64) -> Result<(), Refusal> {
    make_tables(sql)?;
    let over =
        "UPDATE voice_sessions SET ended_at_ms = ends_by_ms WHERE ended_at_ms IS NULL AND ends_by_ms <= ?1";
    sql.execute(over, &[now_ms.into()])?;
    let open: Option<u32> = row(sql, "SELECT COUNT(*) FROM voice_sessions WHERE ended_at_ms IS NULL", &[])?;
    if open.unwrap_or(0) >= SESSIONS_OPEN_MAX {
        return Err(Refusal::TooManyVoiceSessions { limit: SESSIONS_OPEN_MAX });
    }
    let known = "SELECT 1 FROM voice_sessions WHERE session = ?1";
    if sql.text(known, &[session.into()])?.is_some() {
        return Err(Refusal::DuplicateOperation);
    }
    sql.execute(
        "INSERT INTO voice_sessions (session, api_key, opened_at_ms, ends_by_ms) VALUES (?1, ?2, ?3, ?4)",
        &[session.into(), api_key.into(), now_ms.into(), now_ms.saturating_add(SLOT_MS).into()],
    )?;
    // Those that are open are fewer than are kept, and the newest.
    sql.execute(
        "DELETE FROM voice_sessions WHERE ended_at_ms IS NOT NULL AND (ended_at_ms <= ?1
           OR n <= (SELECT MAX(n) FROM voice_sessions) - ?2)",
        &[now_ms.saturating_sub(RETENTION_MS).into(), SESSIONS_KEPT_MAX.into()],
    )?;
    Ok(())
}

/// The session is over; the same again changes nothing.
///
/// # Errors
/// What the database refused.
pub fn ended(sql: &mut impl Sql, session: &str, now_ms: i64) -> Result<(), Refusal> {
    if exists(sql)? {
        let ended = "UPDATE voice_sessions SET ended_at_ms = ?2 WHERE session = ?1 AND ended_at_ms IS NULL";
        sql.execute(ended, &[session.into(), now_ms.into()])?;
    }
    Ok(())
}

/// Newest first.
///
/// # Errors
/// `InvalidCursor`.
pub fn list(
    sql: &mut impl Sql,
    tenant: &TenantId,
    limit: u32,
    cursor: Option<&str>,
    now_ms: i64,
) -> Result<Page, Refusal> {
    let from = cursor.map_or(Ok(Cursor::NEWEST), |raw| Cursor::decode(raw, LIST, tenant))?;
    if !exists(sql)? {
        return Ok(Page::default());
    }
    let items = "SELECT json_group_array(json_object('n', n, 'session', session, 'api_key', api_key,
           'opened_at_ms', opened_at_ms, 'ended_at_ms',
           COALESCE(ended_at_ms, CASE WHEN ends_by_ms <= ?3 THEN ends_by_ms END)))
         FROM (SELECT * FROM voice_sessions WHERE n < ?1 ORDER BY n DESC LIMIT ?2)";
    let args = [from.seq.into(), i64::from(limit).saturating_add(1).into(), now_ms.into()];
    let mut items: Vec<Listed> = row(sql, items, &args)?.unwrap_or_default();
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = items.len() > limit;
    items.truncate(limit);
    let last = items.last().filter(|_| more);
    let next_cursor = last.map(|last| Cursor { at_ms: last.opened_at_ms, seq: last.n }.encode(LIST, tenant));
    Ok(Page { items, next_cursor })
}

/// How the tenant likes to be spoken to; an empty object when it never said.
///
/// # Errors
/// What the database refused.
pub fn prefs(sql: &mut impl Sql) -> Result<Value, Refusal> {
    let empty = || Value::Object(serde_json::Map::new());
    if !exists(sql)? {
        return Ok(empty());
    }
    Ok(row(sql, "SELECT prefs FROM voice_prefs", &[])?.unwrap_or_else(empty))
}

/// # Errors
/// `InvalidSetting` for what is no object, or too long.
pub fn set_prefs(sql: &mut impl Sql, prefs: &Value) -> Result<(), Refusal> {
    let text = prefs.to_string();
    if !prefs.is_object() || text.len() > PREFS_BYTES_MAX {
        let expected = format!("an object of at most {PREFS_BYTES_MAX} bytes");
        return Err(Refusal::InvalidSetting { field: "prefs".to_owned(), expected });
    }
    make_tables(sql)?;
    let set = "INSERT INTO voice_prefs VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET prefs = ?1";
    sql.execute(set, &[text.into()])?;
    Ok(())
}

#[cfg(test)]
mod tests;
