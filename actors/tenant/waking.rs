//! Waking an actor for a command: from its database, or by making one when the command changes something.

use super::schema::{self, Actor, reopen};
use super::{Call, Policy, Reply, due_at_ms, unopened};
use crate::shared::Refusal;
use crate::sql::Sql;

/// What waking gave.
#[derive(Debug)]
pub enum Woken {
    /// The actor, and when something of it is due next.
    Opened { actor: Actor, due_at_ms: Option<i64> },
    /// Nothing was ever done here, and the question needs no database.
    Unopened(Reply),
}

/// Wakes the actor that `call` is for, inside the transaction that the caller opened.
///
/// # Errors
/// As [`super::reopen`] and [`super::unopened`].
pub fn wake(sql: &mut impl Sql, call: &Call, policy: &Policy, now_ms: i64) -> Result<Woken, Refusal> {
    if let Some(actor) = reopen(sql)? {
        return Ok(Woken::Opened { actor, due_at_ms: due_at_ms(sql)? });
    }
    if let Some(reply) = unopened(call, policy, now_ms)? {
        return Ok(Woken::Unopened(reply));
    }
    // Of a database that is as new as this, what is due is known: asking it takes as long as making three of its tables.
    let (actor, due_at_ms) = schema::make(sql, &call.tenant, policy, now_ms)?;
    Ok(Woken::Opened { actor, due_at_ms })
}
