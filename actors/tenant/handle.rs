//! One command, one transaction: what each command does to the database, and what is due afterwards.

use serde::Serialize;
use serde_json::value::RawValue;

use super::idempotency::{self, KEY_TTL_MS, Seen};
use super::{Actor, Call, Command, Effect, Idempotency, Outcome, Policy, Reply, Stored};
use crate::credits::{self, Account, HOLD_HISTORY_MS};
use crate::rate;
use crate::shared::{Micro, Refusal};
use crate::sql::Sql;

/// Carries out `call` at `now_ms`, inside the transaction that the caller opened. On `Err` the caller undoes
/// everything: a refusal changes nothing.
///
/// # Errors
/// Every [`Refusal`] a command can meet; `TenantMismatch` and `Quarantined` for any.
pub fn handle(
    sql: &mut impl Sql,
    actor: &Actor,
    policy: Policy,
    call: Call,
    now_ms: i64,
) -> Result<Outcome, Refusal> {
    if call.tenant != actor.tenant {
        return Err(Refusal::TenantMismatch);
    }
    if actor.quarantined && call.command.changes() {
        return Err(Refusal::Quarantined);
    }
    match call.command {
        Command::Balance => quiet(Reply::Balance(Account::load(sql)?)),
        Command::ListUsage(filter) => quiet(Reply::Usage(credits::list_usage(sql, &actor.tenant, &filter)?)),
        Command::ListEntries { limit, cursor } => {
            let page = credits::list_entries(sql, &actor.tenant, limit, cursor.as_deref())?;
            quiet(Reply::Entries(page))
        }
        Command::ListHolds { limit } => quiet(Reply::Holds(credits::list_open(sql, limit)?)),
        Command::Adjust { operation, adjustment, reason, idempotency } => {
            let run = |sql: &mut _| credits::adjust(sql, adjustment, &operation, reason.as_deref(), now_ms);
            let (adjusted, replayed) = once(sql, idempotency.as_ref(), now_ms, run)?;
            woken(Reply::Adjusted { adjusted, replayed }, key_due(idempotency.as_ref(), now_ms))
        }
        Command::RecordUsage { id, usage, cost, created_at_ms, idempotency } => {
            let at_ms = created_at_ms.unwrap_or(now_ms);
            // Free of charge, so the budget is what slows a client down. A replay costs nothing here either.
            let run = |sql: &mut _| {
                rate::admit(sql, policy.requests_per_minute, now_ms)?;
                credits::record_client(sql, &id, &usage, cost, at_ms)
            };
            let (event, replayed) = once(sql, idempotency.as_ref(), now_ms, run)?;
            woken(Reply::Recorded { event, replayed }, key_due(idempotency.as_ref(), now_ms))
        }
        Command::Admit { hold, amount, ttl_ms, route, idempotency } => {
            let ask = Admission { hold, amount, ttl_ms, route, idempotency };
            admit(sql, policy, &ask, now_ms)
        }
        Command::Settle { hold, charge, usage, reply, idempotency } => {
            let ended = credits::settle(sql, &hold, charge, &usage, now_ms)?;
            if let (Some(asked), true) = (&idempotency, ended.first) {
                // Charged is charged: without a reply to give again, the key is used all the same.
                let reply = reply.unwrap_or_else(|| RawValue::NULL.to_owned());
                let stored = Stored { reply, charged: ended.charged, available: ended.available };
                idempotency::remember(sql, asked, Some(&hold), Some(&stored), now_ms)?;
            }
            woken(Reply::Ended(ended), now_ms.saturating_add(HOLD_HISTORY_MS))
        }
        Command::Release { hold, idempotency } => {
            let ended = credits::release(sql, &hold, now_ms)?;
            if let Some(asked) = &idempotency {
                idempotency::free(sql, &asked.key, &hold)?;
            }
            woken(Reply::Ended(ended), now_ms.saturating_add(HOLD_HISTORY_MS))
        }
    }
}

struct Admission {
    hold: String,
    amount: Micro,
    ttl_ms: i64,
    route: String,
    idempotency: Option<Idempotency>,
}

/// A replay costs nothing and counts against nothing; everything else is the budget, then the hold.
fn admit(sql: &mut impl Sql, policy: Policy, ask: &Admission, now_ms: i64) -> Result<Outcome, Refusal> {
    if let Some(asked) = &ask.idempotency {
        match idempotency::look_up(sql, asked, now_ms)? {
            Seen::Done(stored) => return quiet(Reply::Replay(stored)),
            Seen::Free => idempotency::make_room(sql)?,
        }
    }
    let budget = rate::admit(sql, policy.requests_per_minute, now_ms)?;
    let deadline_ms = now_ms.saturating_add(ask.ttl_ms);
    let admitted = credits::admit(sql, &ask.hold, ask.amount, &ask.route, deadline_ms, now_ms)?;
    if let Some(asked) = &ask.idempotency {
        idempotency::remember(sql, asked, Some(&ask.hold), None, now_ms)?;
    }
    woken(Reply::Admitted { admitted, budget }, deadline_ms)
}

/// Runs a command of one step at most once per key; a later request gets the first one's result.
fn once<S: Sql, T: Serialize + serde::de::DeserializeOwned>(
    sql: &mut S,
    asked: Option<&Idempotency>,
    now_ms: i64,
    run: impl FnOnce(&mut S) -> Result<T, Refusal>,
) -> Result<(T, bool), Refusal> {
    let Some(asked) = asked else {
        return Ok((run(sql)?, false));
    };
    match idempotency::look_up(sql, asked, now_ms)? {
        Seen::Done(stored) => {
            let first = serde_json::from_str(stored.reply.get()).map_err(|error| unreadable(&error))?;
            Ok((first, true))
        }
        Seen::Free => {
            idempotency::make_room(sql)?;
            let result = run(sql)?;
            let json = serde_json::to_string(&result).map_err(|error| unreadable(&error))?;
            let reply = RawValue::from_string(json).map_err(|error| unreadable(&error))?;
            let stored = Stored { reply, charged: Micro::ZERO, available: Micro::ZERO };
            idempotency::remember(sql, asked, None, Some(&stored), now_ms)?;
            Ok((result, false))
        }
    }
}

/// The alarm: ends what is past its deadline, forgets what is past its keeping. Safe early, late or twice.
/// Returns when it wants to be woken again.
///
/// # Errors
/// What the database refused.
pub fn alarm(sql: &mut impl Sql, now_ms: i64) -> Result<Option<i64>, Refusal> {
    credits::expire_due(sql, now_ms)?;
    credits::forget_ended(sql, now_ms)?;
    idempotency::forget_expired(sql, now_ms)?;
    due_at_ms(sql)
}

/// When the next thing is due, read from the database.
///
/// # Errors
/// What the database refused.
pub fn due_at_ms(sql: &mut impl Sql) -> Result<Option<i64>, Refusal> {
    let deadline = credits::due_at_ms(sql)?;
    let ended = credits::forget_at_ms(sql)?.map(batched);
    let keys = idempotency::due_at_ms(sql)?.map(batched);
    Ok([deadline, ended, keys].into_iter().flatten().min())
}

/// What is only forgotten can wait for company: one alarm a minute at most.
const fn batched(at_ms: i64) -> i64 {
    const MINUTE_MS: i64 = 60_000;
    at_ms.saturating_add(MINUTE_MS).div_euclid(MINUTE_MS).saturating_mul(MINUTE_MS)
}

impl Command {
    /// Whether the command may change the database. A quarantined actor still answers the others.
    const fn changes(&self) -> bool {
        !matches!(
            self,
            Self::Balance | Self::ListUsage(_) | Self::ListEntries { .. } | Self::ListHolds { .. }
        )
    }
}

const fn quiet(reply: Reply) -> Result<Outcome, Refusal> {
    Ok(Outcome { reply, effects: Vec::new() })
}

fn woken(reply: Reply, at_ms: i64) -> Result<Outcome, Refusal> {
    let effects = if at_ms == i64::MAX { Vec::new() } else { vec![Effect::WakeBy { at_ms }] };
    Ok(Outcome { reply, effects })
}

/// When the key of this request is to be forgotten; never, when it has none.
fn key_due(asked: Option<&Idempotency>, now_ms: i64) -> i64 {
    asked.map_or(i64::MAX, |_| now_ms.saturating_add(KEY_TTL_MS))
}

fn unreadable(error: &serde_json::Error) -> Refusal {
    Refusal::Storage { detail: format!("stored reply: {error}") }
}
