//! Tickets of one tenant: each opens one socket, once, within seconds, for what and from where it was asked for.
//!
//! A browser cannot send a header with a WebSocket, and what is in an address ends up in logs. So a page asks for a
//! ticket with the credential that it has, and shows it when it opens the socket.
//!
//! Owns: the outstanding tickets and their digests. Never does: see a ticket. The front door hands over the digest of
//! its secret.

use serde::{Deserialize, Serialize};

use crate::shared::Refusal;
use crate::sql::{Sql, row};

/// The table.
pub const SCHEMA: &str = include_str!("schema.sql");
/// How long a ticket may wait for its socket: a page opens it at once, and a slow network takes some seconds.
pub const TICKET_TTL_MS: i64 = 30_000;
/// Tickets of one tenant that wait for their sockets.
pub const TICKETS_MAX: u32 = 64;
/// The longest origin, in bytes: a scheme, a host name of 253, a port.
pub const ORIGIN_BYTES_MAX: usize = 512;

/// What a ticket opens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The tenant's live events.
    Events,
    /// The first socket of a voice session.
    Voice { session: String },
}

impl Purpose {
    /// As it is stored and compared.
    fn stored(&self) -> Result<String, Refusal> {
        serde_json::to_string(self).map_err(|error| Refusal::Storage { detail: format!("purpose: {error}") })
    }
}

/// A ticket to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTicket {
    /// SHA-256 of the secret, in hexadecimal digits.
    pub digest: String,
    pub purpose: Purpose,
    /// The page that asks, when a page does.
    pub origin: Option<String>,
    /// When the credential ends that was shown for it.
    pub credential_ends_at_ms: Option<i64>,
}

/// A ticket that is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presented {
    pub digest: String,
    pub purpose: Purpose,
    pub origin: Option<String>,
}

/// On whose behalf a redeemed ticket was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redeemed {
    pub api_key: Option<String>,
    pub credential_ends_at_ms: Option<i64>,
}

/// Adds a ticket; returns when it expires. It never outlives the credential that it was made with.
///
/// # Errors
/// `TooManyTickets`; `InvalidSetting` for an origin that is too long.
pub fn mint(sql: &mut impl Sql, new: &NewTicket, api_key: Option<&str>, now_ms: i64) -> Result<i64, Refusal> {
    if new.origin.as_ref().is_some_and(|origin| origin.len() > ORIGIN_BYTES_MAX) {
        let expected = format!("at most {ORIGIN_BYTES_MAX} bytes");
        return Err(Refusal::InvalidSetting { field: "origin".to_owned(), expected });
    }
    forget_expired(sql, now_ms)?;
    let waiting: Option<(u32, Option<i64>)> =
        row(sql, "SELECT json_array(COUNT(*), MIN(expires_at_ms)) FROM tickets", &[])?;
    let (waiting, first_ends_ms) = waiting.unwrap_or_default();
    if waiting >= TICKETS_MAX {
        let retry_after_ms = first_ends_ms.map_or(TICKET_TTL_MS, |at_ms| at_ms.saturating_sub(now_ms));
        return Err(Refusal::TooManyTickets { limit: TICKETS_MAX, retry_after_ms });
    }
    let ends_ms = new.credential_ends_at_ms.unwrap_or(i64::MAX);
    let expires_at_ms = now_ms.saturating_add(TICKET_TTL_MS).min(ends_ms);
    sql.execute(
        "INSERT INTO tickets VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        &[
            new.digest.as_str().into(),
            new.purpose.stored()?.into(),
            new.origin.as_deref().into(),
            api_key.into(),
            new.credential_ends_at_ms.into(),
            expires_at_ms.into(),
        ],
    )?;
    Ok(expires_at_ms)
}

/// Takes a ticket away: whoever comes second with it finds none. One that is shown for something else, or from
/// elsewhere, stays where it is, so that nobody else can use it up.
///
/// # Errors
/// `UnknownTicket`; it is never said why.
pub fn redeem(sql: &mut impl Sql, shown: &Presented, now_ms: i64) -> Result<Redeemed, Refusal> {
    let found: Option<Redeemed> = row(
        sql,
        "DELETE FROM tickets WHERE digest = ?1 AND purpose = ?2 AND origin IS ?3 AND expires_at_ms > ?4
         RETURNING json_object('api_key', api_key, 'credential_ends_at_ms', credential_ends_at_ms)",
        &[
            shown.digest.as_str().into(),
            shown.purpose.stored()?.into(),
            shown.origin.as_deref().into(),
            now_ms.into(),
        ],
    )?;
    found.ok_or(Refusal::UnknownTicket)
}

/// When the first of those that wait may be forgotten, should nobody redeem it; a query.
pub const FORGOTTEN_AT_MS: &str = "SELECT MIN(expires_at_ms) FROM tickets";

/// Forgets tickets that open nothing any more.
///
/// # Errors
/// What the database refused.
pub fn forget_expired(sql: &mut impl Sql, now_ms: i64) -> Result<(), Refusal> {
    sql.execute("DELETE FROM tickets WHERE expires_at_ms <= ?1", &[now_ms.into()])?;
    Ok(())
}

#[cfg(test)]
mod tests;
