//! Idempotency keys: the first request with a key runs, every later one with the same body gets its reply.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Idempotency, Stored};
use crate::credits::{self, HoldChange};
use crate::planted::{self, Bug};
use crate::shared::{Micro, Refusal};
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

/// In the order of its query.
#[derive(Deserialize)]
struct KeyRow {
    body_hash: String,
    hold: Option<String>,
    reply: Option<Stored>,
}

/// Looks a key up.
///
/// # Errors
/// `IdempotencyConflict` for another body, `IdempotencyInProgress` while the first request is under way.
pub(super) fn look_up(sql: &mut impl Sql, asked: &Idempotency, now_ms: i64) -> Result<Seen, Refusal> {
    let found: Option<KeyRow> = row(
        sql,
        "SELECT concat('[', json_quote(body_hash), ',', json_quote(hold), ',', COALESCE(reply, 'null'), ']')
         FROM idempotency WHERE key = ?1 AND expires_at_ms > ?2",
        &[
            asked.key.as_str().into(),
            if planted::on(Bug::FingerprintNeverExpires) { 0 } else { now_ms }.into(),
        ],
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
    if found.body_hash != asked.body_hash && !planted::on(Bug::OtherBodyAccepted) {
        return Err(Refusal::IdempotencyConflict);
    }
    found.reply.map(Seen::Done).ok_or(Refusal::IdempotencyInProgress)
}

/// How long a key and its request are remembered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keeping {
    /// After the request is done.
    pub ttl_ms: i64,
    /// While it is under way: its hold's time, at least.
    pub under_way_ms: i64,
}

/// Takes a key for a request that is under way, and owns `hold`.
///
/// # Errors
/// What the database refused.
pub(super) fn take(
    sql: &mut impl Sql,
    asked: &Idempotency,
    hold: &str,
    keeping: Keeping,
    now_ms: i64,
) -> Result<(), Refusal> {
    write(sql, asked, Some(hold), None, keeping, now_ms)
}

/// Remembers a key together with the reply of its request, which was done in one step.
///
/// # Errors
/// What the database refused.
pub(super) fn remember(
    sql: &mut impl Sql,
    asked: &Idempotency,
    stored: &Stored,
    now_ms: i64,
) -> Result<(), Refusal> {
    let keeping = Keeping { ttl_ms: KEY_TTL_MS, under_way_ms: 0 };
    write(sql, asked, None, Some(reply_text(stored)?), keeping, now_ms)
}

fn write(
    sql: &mut impl Sql,
    asked: &Idempotency,
    hold: Option<&str>,
    reply: Option<String>,
    keeping: Keeping,
    now_ms: i64,
) -> Result<(), Refusal> {
    sql.execute(
        "INSERT INTO idempotency (key, body_hash, hold, reply, ttl_ms, expires_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (key) DO UPDATE SET body_hash = excluded.body_hash, hold = excluded.hold,
           reply = excluded.reply, ttl_ms = excluded.ttl_ms, expires_at_ms = excluded.expires_at_ms",
        &[
            asked.key.as_str().into(),
            asked.body_hash.as_str().into(),
            hold.into(),
            reply.into(),
            keeping.ttl_ms.into(),
            now_ms.saturating_add(keeping.ttl_ms.max(keeping.under_way_ms)).into(),
        ],
    )?;
    Ok(())
}

/// Stores the reply of the request that owns `hold`, if the key is still its own. A reply that was stored stays; where
/// there was none to give again, one that comes late takes its place.
///
/// # Errors
/// What the database refused.
pub(super) fn finish(
    sql: &mut impl Sql,
    key: &str,
    hold: &str,
    stored: &Stored,
    now_ms: i64,
) -> Result<(), Refusal> {
    sql.execute(
        "UPDATE idempotency SET reply = ?3, expires_at_ms = ?4 + ttl_ms
         WHERE key = ?1 AND hold = ?2 AND (reply IS NULL OR ?5 AND reply ->> '$.reply' IS NULL)",
        &[
            key.into(),
            hold.into(),
            reply_text(stored)?.into(),
            now_ms.into(),
            i64::from(stored.reply.get() != RawValue::NULL.get() && !planted::on(Bug::LateReplyLost)).into(),
        ],
    )?;
    Ok(())
}

fn reply_text(stored: &Stored) -> Result<String, Refusal> {
    let fits = stored.reply.get().len() <= REPLY_BYTES_MAX;
    let reply = if fits { stored.reply.clone() } else { RawValue::NULL.to_owned() };
    serde_json::to_string(&Stored { reply, ..stored.clone() })
        .map_err(|error| Refusal::Broken { detail: error.to_string() })
}

/// What becomes of the key of a hold that was released or expired. It stays used when the work was charged in
/// part, with no reply to give again unless the work ends late: the same key is never charged twice.
///
/// # Errors
/// What the database refused.
pub(super) fn end(
    sql: &mut impl Sql,
    change: &HoldChange,
    available: Micro,
    now_ms: i64,
) -> Result<(), Refusal> {
    let Some(key) = &change.owner.idempotency_key else {
        return Ok(());
    };
    if change.charged_total == Micro::ZERO {
        return free(sql, key, &change.id);
    }
    let reply = RawValue::NULL.to_owned();
    let stored = Stored { reply, charged: change.charged_total, available };
    finish(sql, key, &change.id, &stored, now_ms)
}

/// Frees the key of a request that came to nothing; only if `hold` still owns it.
pub(super) fn free(sql: &mut impl Sql, key: &str, hold: &str) -> Result<(), Refusal> {
    if planted::on(Bug::ReleaseKeepsKey) {
        return Ok(());
    }
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
    let taken: Option<u32> = row(sql, "SELECT keys_taken FROM actor", &[])?;
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
