//! Idempotency keys: the first request with a key runs, every later one with the same body gets its reply.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Idempotency, Stored};
use crate::credits;
use crate::shared::Refusal;
use crate::sql::{Sql, row};

/// How long a key is remembered: 24 hours.
pub const KEY_TTL_MS: i64 = 86_400_000;
/// The longest key a client may send, in bytes.
pub const KEY_BYTES_MAX: usize = 255;
/// The largest reply that is kept, in bytes; a row of the platform holds 2 MB. A larger one is forgotten, its
/// charge is not: the key stays used.
pub const REPLY_BYTES_MAX: usize = 1_000_000;
/// Keys one tenant may have remembered: one a second for a day, and some.
pub const KEYS_MAX: u32 = 100_000;
/// Rows one alarm forgets. The alarm comes again for the rest.
const SWEEP_ROWS_MAX: i64 = 500;

/// What is known of a key.
#[derive(Debug)]
pub(super) enum Seen {
    /// Never used, or its request came to nothing.
    Free,
    /// Its request is done; this was the reply.
    Done(Stored),
}

#[derive(Deserialize)]
struct KeyRow {
    body_hash: String,
    hold: Option<String>,
    reply: Option<String>,
}

/// Looks a key up.
///
/// # Errors
/// `IdempotencyConflict` for another body, `IdempotencyInProgress` while the first request is under way.
pub(super) fn look_up(sql: &mut impl Sql, asked: &Idempotency, now_ms: i64) -> Result<Seen, Refusal> {
    let found: Option<KeyRow> = row(
        sql,
        "SELECT json_object('body_hash', body_hash, 'hold', hold, 'reply', reply) FROM idempotency
         WHERE key = ?1 AND expires_at_ms > ?2",
        &[asked.key.as_str().into(), now_ms.into()],
    )?;
    let Some(found) = found else {
        return Ok(Seen::Free);
    };
    let under_way = match (&found.reply, &found.hold) {
        (None, Some(hold)) => credits::is_open(sql, hold)?,
        _ => false,
    };
    // A hold that expired left its key behind: nothing was charged, so the key is free, whatever the body.
    if found.reply.is_none() && !under_way {
        return Ok(Seen::Free);
    }
    if found.body_hash != asked.body_hash {
        return Err(Refusal::IdempotencyConflict);
    }
    match found.reply {
        Some(reply) => serde_json::from_str(&reply)
            .map(Seen::Done)
            .map_err(|error| Refusal::Storage { detail: format!("stored reply: {error}") }),
        None => Err(Refusal::IdempotencyInProgress),
    }
}

/// Remembers a key: with `hold` while its request is under way, with `reply` when it is done.
///
/// # Errors
/// What the database refused.
pub(super) fn remember(
    sql: &mut impl Sql,
    asked: &Idempotency,
    hold: Option<&str>,
    reply: Option<&Stored>,
    now_ms: i64,
) -> Result<(), Refusal> {
    let reply = reply
        .map(|stored| {
            let fits = stored.reply.get().len() <= REPLY_BYTES_MAX;
            let reply = if fits { stored.reply.clone() } else { RawValue::NULL.to_owned() };
            serde_json::to_string(&Stored { reply, ..stored.clone() })
        })
        .transpose()
        .map_err(|error| Refusal::Broken { detail: error.to_string() })?;
    sql.execute(
        "INSERT INTO idempotency (key, body_hash, hold, reply, expires_at_ms) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (key) DO UPDATE SET body_hash = excluded.body_hash, hold = excluded.hold,
           reply = excluded.reply, expires_at_ms = excluded.expires_at_ms",
        &[
            asked.key.as_str().into(),
            asked.body_hash.as_str().into(),
            hold.into(),
            reply.into(),
            now_ms.saturating_add(KEY_TTL_MS).into(),
        ],
    )?;
    Ok(())
}

/// Frees the key of a request that came to nothing; only if `hold` still owns it.
pub(super) fn free(sql: &mut impl Sql, key: &str, hold: &str) -> Result<(), Refusal> {
    sql.execute(
        "DELETE FROM idempotency WHERE key = ?1 AND hold = ?2 AND reply IS NULL",
        &[key.into(), hold.into()],
    )?;
    Ok(())
}

/// Refuses a new key when as many as allowed are remembered.
///
/// # Errors
/// `TooManyKeys`.
pub(super) fn make_room(sql: &mut impl Sql) -> Result<(), Refusal> {
    let taken: Option<u32> = row(sql, "SELECT keys_taken FROM idempotency_count", &[])?;
    if taken.unwrap_or(0) >= KEYS_MAX {
        return Err(Refusal::TooManyKeys { limit: KEYS_MAX });
    }
    Ok(())
}

/// Forgets keys whose day is over.
pub(super) fn forget_expired(sql: &mut impl Sql, now_ms: i64) -> Result<(), Refusal> {
    sql.execute(
        "DELETE FROM idempotency WHERE key IN
           (SELECT key FROM idempotency WHERE expires_at_ms <= ?1 LIMIT ?2)",
        &[now_ms.into(), SWEEP_ROWS_MAX.into()],
    )?;
    Ok(())
}

pub(super) fn due_at_ms(sql: &mut impl Sql) -> Result<Option<i64>, Refusal> {
    row(sql, "SELECT MIN(expires_at_ms) FROM idempotency", &[])
}
