//! The one alarm of an actor: ends what is past its deadline, forgets what is past its keeping, and hands out the
//! deliveries that are due. Safe early, late or twice.

use super::admission::Books;
use super::due::{Due, due_at_ms};
use super::handle::At;
use super::limits::LimitsRow;
use super::{Actor, Effect, Policy, idempotency};
use crate::credits::{self, Account};
use crate::notices;
use crate::rate::Weight;
use crate::shared::{Micro, Refusal};
use crate::sql::Sql;
use crate::tickets;

/// What ringing the alarm gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rung {
    /// When it is to ring again.
    pub next_at_ms: Option<i64>,
    /// Deliveries to make, messages to send, runs of schedules to make.
    pub effects: Vec<Effect>,
}

/// # Errors
/// What the database refused.
pub fn alarm(sql: &mut impl Sql, actor: &Actor, policy: &Policy, now_ms: i64) -> Result<Rung, Refusal> {
    let mut books = Books::load(sql, actor, now_ms)?;
    let Books { account, limits } = &mut books;
    expire(sql, actor, policy, limits, account, now_ms)?;
    let mut effects = super::jobs::ring(sql, (actor, policy), &mut books, now_ms)?;
    books.limits.watch_balance(sql, &books.account, now_ms)?;
    books.store(sql)?;
    let limits = books.limits;
    let due = Due::load(sql)?;
    let forgot = forget(sql, &due, now_ms)?;
    let webhook = limits.settings.webhook.as_ref();
    if !due.delivers(webhook.is_some(), now_ms) && !forgot {
        return Ok(Rung { next_at_ms: due.at_ms()?, effects });
    }
    let deliveries = notices::take_due(sql, &actor.tenant, webhook, now_ms)?;
    effects.extend(deliveries.into_iter().map(Effect::Deliver));
    Ok(Rung { next_at_ms: due_at_ms(sql)?, effects })
}

/// Forgets what is past its keeping; whether anything may have been.
fn forget(sql: &mut impl Sql, due: &Due, now_ms: i64) -> Result<bool, Refusal> {
    if due.forgets_holds(now_ms) {
        credits::forget_ended(sql, now_ms)?;
    }
    if due.forgets_keys(now_ms) {
        idempotency::forget_expired(sql, now_ms)?;
    }
    // The oldest is not always the one that was told first: a clock may have been set back.
    let notices = notices::any_old(sql, now_ms)?;
    if notices {
        notices::forget_old(sql, now_ms)?;
    }
    if due.forgets_tickets(now_ms) {
        tickets::forget_expired(sql, now_ms)?;
    }
    Ok(notices || due.forgets_holds(now_ms) || due.forgets_keys(now_ms) || due.forgets_tickets(now_ms))
}

/// Ends the holds whose deadline has passed; whether there were any. The caller stores account and limits.
pub(super) fn expire(
    sql: &mut impl Sql,
    actor: &Actor,
    policy: &Policy,
    limits: &mut LimitsRow,
    account: &mut Account,
    now_ms: i64,
) -> Result<bool, Refusal> {
    let due = credits::due(sql, now_ms)?;
    let at = At { actor, policy, now_ms };
    let mut ended = Vec::with_capacity(due.len());
    for (hold, job) in &due {
        // What a job got done is owed, also when it did not get done with the rest.
        let settled = match job {
            Some(job) => at.settle_expired(sql, (account, limits), job)?,
            None => false,
        };
        if !settled {
            ended.push(credits::expire(sql, account, hold, now_ms)?);
        }
    }
    for change in &ended {
        let so_far = Weight { requests: 0, tokens: change.tokens, micro: change.charged_total };
        limits.apply(sql, (policy, &actor.tenant), change, (None, Some(so_far)), now_ms)?;
        // A job ends with its hold: in this transaction, wherever the hold was found to be over.
        if let Some(job) = &change.owner.job {
            super::jobs::expire(sql, limits, job, now_ms)?;
        }
        // A key whose hold expired uncharged is free by that, but stays where it is: the work may end late, and its
        // reply belongs to the key if nobody took it in between.
        if change.charged_total > Micro::ZERO {
            idempotency::end(sql, change, account.available, now_ms)?;
        }
    }
    Ok(!due.is_empty())
}

/// Notes how a delivery went; returns when the alarm is to ring. In quarantine nothing is noted, and nothing rings.
///
/// # Errors
/// What the database refused.
pub fn note_attempt(
    sql: &mut impl Sql,
    seq: i64,
    attempt: u32,
    delivered: bool,
    outcome: &str,
    now_ms: i64,
) -> Result<Option<i64>, Refusal> {
    if sql.text("SELECT 1 FROM actor WHERE quarantine IS NOT NULL", &[])?.is_some() {
        return Ok(None);
    }
    notices::note_attempt(sql, seq, attempt, delivered, outcome, now_ms)?;
    due_at_ms(sql)
}
