//! API keys of one tenant: who may call in its name without a token, and until when.
//!
//! Owns: the keys and their digests. What a key may spend is a cap of the tenant that names it, and what it may send
//! are limits of the tenant's settings.
//! Never does: see a key. The front door hands over the digest of its secret.

use serde::{Deserialize, Serialize};

use crate::shared::Refusal;
use crate::sql::{Sql, row};

/// The table.
pub const SCHEMA: &str = include_str!("schema.sql");
/// Keys of one tenant that are not revoked.
pub const KEYS_LIVE_MAX: u32 = 64;
/// Keys that are remembered, those of before with them.
const KEYS_KEPT_MAX: u32 = 256;
/// The longest name of a key, in bytes.
pub const KEY_NAME_BYTES_MAX: usize = 128;
/// How often a key's use is noted, at most: a write is dear, and minutes are enough to find a key nobody uses.
pub const LAST_USED_STEP_MS: i64 = 60_000;

/// A key as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    pub id: String,
    pub name: String,
    pub created_at_ms: i64,
    pub expires_at_ms: Option<i64>,
    pub revoked_at_ms: Option<i64>,
    pub last_used_ms: Option<i64>,
}

impl ApiKey {
    /// Whether it opens anything at `now_ms`.
    #[must_use]
    pub fn is_live(&self, now_ms: i64) -> bool {
        self.revoked_at_ms.is_none() && self.expires_at_ms.is_none_or(|at_ms| now_ms < at_ms)
    }
}

const KEY: &str =
    "json_object('id', id, 'name', name, 'created_at_ms', created_at_ms, 'expires_at_ms', expires_at_ms,
  'revoked_at_ms', revoked_at_ms, 'last_used_ms', last_used_ms)";

/// A key to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewKey {
    pub id: String,
    /// SHA-256 of the secret, in hexadecimal digits.
    pub digest: String,
    pub name: String,
    pub expires_at_ms: Option<i64>,
}

/// Adds a key.
///
/// # Errors
/// `InvalidSetting` for a name too long or a time that is over, `TooManyApiKeys`.
pub fn create(sql: &mut impl Sql, new: &NewKey, now_ms: i64) -> Result<ApiKey, Refusal> {
    let wrong = |field: &str, expected: String| Refusal::InvalidSetting { field: field.to_owned(), expected };
    if !(1..=KEY_NAME_BYTES_MAX).contains(&new.name.len()) {
        return Err(wrong("name", format!("a text of 1 to {KEY_NAME_BYTES_MAX} bytes")));
    }
    if new.expires_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
        return Err(wrong("expires_at", "a time to come".to_owned()));
    }
    let live: Option<u32> = row(
        sql,
        "SELECT COUNT(*) FROM api_keys WHERE revoked_at_ms IS NULL AND (expires_at_ms IS NULL OR expires_at_ms > ?1)",
        &[now_ms.into()],
    )?;
    if live.unwrap_or(0) >= KEYS_LIVE_MAX {
        return Err(Refusal::TooManyApiKeys { limit: KEYS_LIVE_MAX });
    }
    // Those that open nothing any more make room, the oldest first.
    sql.execute(
        "DELETE FROM api_keys WHERE id IN (SELECT id FROM api_keys
           WHERE revoked_at_ms IS NOT NULL OR expires_at_ms <= ?1
           ORDER BY created_at_ms DESC LIMIT -1 OFFSET ?2)",
        &[now_ms.into(), i64::from(KEYS_KEPT_MAX.saturating_sub(KEYS_LIVE_MAX)).into()],
    )?;
    sql.execute(
        "INSERT INTO api_keys VALUES (?1, ?2, ?3, ?4, ?5, NULL, NULL)",
        &[
            new.id.as_str().into(),
            new.digest.as_str().into(),
            new.name.as_str().into(),
            now_ms.into(),
            new.expires_at_ms.into(),
        ],
    )?;
    find(sql, &new.id)?.ok_or(Refusal::UnknownApiKey)
}

/// Keys, the newest first; those that were revoked or are over as long as they are remembered.
///
/// # Errors
/// What the database refused.
pub fn list(sql: &mut impl Sql) -> Result<Vec<ApiKey>, Refusal> {
    let statement = format!(
        "SELECT json_group_array({KEY}) FROM (SELECT * FROM api_keys ORDER BY created_at_ms DESC, id)"
    );
    Ok(row(sql, &statement, &[])?.unwrap_or_default())
}

/// Revokes a key for ever. Once more changes nothing.
///
/// # Errors
/// `UnknownApiKey`.
pub fn revoke(sql: &mut impl Sql, id: &str, now_ms: i64) -> Result<ApiKey, Refusal> {
    sql.execute(
        "UPDATE api_keys SET revoked_at_ms = ?2 WHERE id = ?1 AND revoked_at_ms IS NULL",
        &[id.into(), now_ms.into()],
    )?;
    find(sql, id)?.ok_or(Refusal::UnknownApiKey)
}

/// The live key with this digest.
///
/// # Errors
/// `UnknownApiKey`; it is never said why.
pub fn identify(sql: &mut impl Sql, digest: &str, now_ms: i64) -> Result<ApiKey, Refusal> {
    let statement = format!("SELECT {KEY} FROM api_keys WHERE digest = ?1");
    let found: Option<ApiKey> = row(sql, &statement, &[digest.into()])?;
    found.filter(|key| key.is_live(now_ms)).ok_or(Refusal::UnknownApiKey)
}

/// Whether the key may still be used: asked in the transaction of every command that came with one, so that what is
/// revoked is revoked at once.
///
/// # Errors
/// `UnknownApiKey`.
pub fn check(sql: &mut impl Sql, id: &str, now_ms: i64) -> Result<ApiKey, Refusal> {
    find(sql, id)?.filter(|key| key.is_live(now_ms)).ok_or(Refusal::UnknownApiKey)
}

/// Notes that a key was used.
///
/// # Errors
/// What the database refused.
pub fn note_use(sql: &mut impl Sql, key: &ApiKey, now_ms: i64) -> Result<(), Refusal> {
    if key.last_used_ms.is_some_and(|last| now_ms < last.saturating_add(LAST_USED_STEP_MS)) {
        return Ok(());
    }
    sql.execute(
        "UPDATE api_keys SET last_used_ms = ?2 WHERE id = ?1",
        &[key.id.as_str().into(), now_ms.into()],
    )?;
    Ok(())
}

fn find(sql: &mut impl Sql, id: &str) -> Result<Option<ApiKey>, Refusal> {
    row(sql, &format!("SELECT {KEY} FROM api_keys WHERE id = ?1"), &[id.into()])
}

#[cfg(test)]
mod tests;
