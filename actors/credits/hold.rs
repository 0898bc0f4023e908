//! Holds: credit set aside before the work, and ended exactly once, as settled, released or expired.

use serde::{Deserialize, Serialize};

use super::Account;
use super::account::within;
use super::entries::{NewEntry, append};
use super::usage::{self, Usage};
use crate::shared::{Micro, Refusal};
use crate::sql::{Sql, row};

/// Open holds of one tenant: at 60 s of work each, more than a tenant's share of one actor can use.
pub const HOLDS_OPEN_MAX: u32 = 1_000;
/// How long an ended hold is remembered: far beyond any retry of its settle. Ten minutes.
pub const HOLD_HISTORY_MS: i64 = 600_000;
/// Rows one alarm expires or forgets: a transaction of some milliseconds. The alarm comes again for the rest.
const SWEEP_ROWS_MAX: i64 = 500;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admitted {
    pub held: Micro,
    /// Available balance with the hold taken out.
    pub available: Micro,
    pub deadline_ms: i64,
}

/// How a hold ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldEnd {
    Settled,
    Released,
    Expired,
}

/// The end of a hold, the first time and at every repetition the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedHold {
    pub end: HoldEnd,
    pub charged: Micro,
    pub shortfall: Micro,
    /// Available balance now.
    pub available: Micro,
    /// This call ended it; false when it had ended before.
    pub first: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenHold {
    pub id: String,
    pub amount_micro: Micro,
    /// The route that owns it.
    pub route: String,
    pub created_at_ms: i64,
    pub deadline_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldPage {
    pub items: Vec<OpenHold>,
    pub open: u32,
}

#[derive(Deserialize)]
struct HoldRow {
    state: String,
    amount_micro: Micro,
    charged_micro: Option<Micro>,
    shortfall_micro: Option<Micro>,
}

/// Sets `amount` aside until `deadline_ms`. Holds whose deadline has passed are ended first when the balance
/// would not do otherwise: a late alarm refuses nobody.
///
/// # Errors
/// `InsufficientCredits`, `TooManyHolds`, `DuplicateOperation`.
pub fn admit(
    sql: &mut impl Sql,
    id: &str,
    amount: Micro,
    route: &str,
    deadline_ms: i64,
    now_ms: i64,
) -> Result<Admitted, Refusal> {
    let mut account = Account::load(sql)?;
    if account.available < amount || account.holds_open >= HOLDS_OPEN_MAX {
        expire_due(sql, now_ms)?;
        account = Account::load(sql)?;
    }
    if account.holds_open >= HOLDS_OPEN_MAX {
        return Err(Refusal::TooManyHolds { limit: HOLDS_OPEN_MAX });
    }
    if account.available < amount {
        return Err(Refusal::InsufficientCredits {
            available: account.available,
            needed: amount,
            updated_at_ms: account.updated_at_ms,
        });
    }
    let made = sql.text(
        "INSERT INTO holds (id, state, amount_micro, route, created_at_ms, deadline_ms)
         VALUES (?1, 'open', ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING RETURNING id",
        &[id.into(), amount.0.into(), route.into(), now_ms.into(), deadline_ms.into()],
    )?;
    if made.is_none() {
        return Err(Refusal::DuplicateOperation);
    }
    account.available = within(account.available.minus(amount))?;
    account.held = within(account.held.plus(amount))?;
    account.holds_open = account.holds_open.saturating_add(1);
    account.store(sql)?;
    Ok(Admitted { held: amount, available: account.available, deadline_ms })
}

/// Ends a hold with a charge, and writes the usage event that says what it was for.
///
/// More than the hold is drawn from the available balance; what is not there is `shortfall`. A hold that
/// expired before is not charged: the house pays. The event is written all the same, with a cost of zero, and
/// what the house paid is the hold's `shortfall`.
///
/// # Errors
/// `UnknownHold`, or what the database refused.
pub fn settle(
    sql: &mut impl Sql,
    id: &str,
    charge: Micro,
    usage: &Usage,
    now_ms: i64,
) -> Result<EndedHold, Refusal> {
    let hold = load(sql, id)?;
    let mut account = Account::load(sql)?;
    if hold.state != "open" {
        note_late(sql, &mut account, id, &hold, charge, usage, now_ms)?;
        return Ok(ended_before(&hold, &account));
    }
    let reachable = within(hold.amount_micro.plus(account.available))?;
    let charged = charge.clamp(Micro::ZERO, reachable);
    let shortfall = within(charge.max(Micro::ZERO).minus(charged))?;
    give_back(&mut account, hold.amount_micro)?;
    account.available = within(account.available.minus(charged))?;
    account.settled = within(account.settled.plus(charged))?;
    account.touch(now_ms);
    mark(sql, id, "settled", charged, shortfall, now_ms)?;
    if charged > Micro::ZERO || shortfall > Micro::ZERO {
        let entry = NewEntry {
            kind: "charge",
            amount: Micro(charged.0.saturating_neg()),
            shortfall,
            operation: id,
            reason: None,
        };
        append(sql, &mut account, &entry, now_ms)?;
    }
    usage::record(sql, &mut account, id, usage, charged, now_ms)?;
    account.store(sql)?;
    let available = account.available;
    Ok(EndedHold { end: HoldEnd::Settled, charged, shortfall, available, first: true })
}

/// Work that ended after its hold did: its event, once.
fn note_late(
    sql: &mut impl Sql,
    account: &mut Account,
    id: &str,
    hold: &HoldRow,
    charge: Micro,
    usage: &Usage,
    now_ms: i64,
) -> Result<(), Refusal> {
    let noted = hold.shortfall_micro.unwrap_or_default() > Micro::ZERO;
    if hold.state != "expired" || noted || charge <= Micro::ZERO {
        return Ok(());
    }
    usage::record(sql, account, id, usage, Micro::ZERO, now_ms)?;
    account.store(sql)?;
    sql.execute("UPDATE holds SET shortfall_micro = ?2 WHERE id = ?1", &[id.into(), charge.0.into()])?;
    Ok(())
}

/// Ends a hold without a charge.
///
/// # Errors
/// `UnknownHold`, or what the database refused.
pub fn release(sql: &mut impl Sql, id: &str, now_ms: i64) -> Result<EndedHold, Refusal> {
    let hold = load(sql, id)?;
    let mut account = Account::load(sql)?;
    if hold.state != "open" {
        return Ok(ended_before(&hold, &account));
    }
    give_back(&mut account, hold.amount_micro)?;
    mark(sql, id, "released", Micro::ZERO, Micro::ZERO, now_ms)?;
    account.store(sql)?;
    let available = account.available;
    Ok(EndedHold {
        end: HoldEnd::Released,
        charged: Micro::ZERO,
        shortfall: Micro::ZERO,
        available,
        first: true,
    })
}

/// Ends every hold whose deadline has passed, `SWEEP_ROWS_MAX` at most: the ids it ended.
///
/// # Errors
/// What the database refused.
pub fn expire_due(sql: &mut impl Sql, now_ms: i64) -> Result<Vec<String>, Refusal> {
    let due: Vec<(String, Micro)> = row(
        sql,
        "SELECT json_group_array(json_array(id, amount_micro)) FROM (SELECT id, amount_micro FROM holds
           WHERE state = 'open' AND deadline_ms <= ?1 ORDER BY deadline_ms LIMIT ?2)",
        &[now_ms.into(), SWEEP_ROWS_MAX.into()],
    )?
    .unwrap_or_default();
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let mut account = Account::load(sql)?;
    let mut ended = Vec::with_capacity(due.len());
    for (id, amount) in due {
        give_back(&mut account, amount)?;
        mark(sql, &id, "expired", Micro::ZERO, Micro::ZERO, now_ms)?;
        ended.push(id);
    }
    account.store(sql)?;
    Ok(ended)
}

/// Forgets holds that ended long ago, `SWEEP_ROWS_MAX` at most.
///
/// # Errors
/// What the database refused.
pub fn forget_ended(sql: &mut impl Sql, now_ms: i64) -> Result<(), Refusal> {
    sql.execute(
        "DELETE FROM holds WHERE id IN (SELECT id FROM holds
           WHERE state <> 'open' AND ended_at_ms <= ?1 ORDER BY ended_at_ms LIMIT ?2)",
        &[now_ms.saturating_sub(HOLD_HISTORY_MS).into(), SWEEP_ROWS_MAX.into()],
    )?;
    Ok(())
}

/// When the next hold expires.
///
/// # Errors
/// What the database refused.
pub fn due_at_ms(sql: &mut impl Sql) -> Result<Option<i64>, Refusal> {
    row(sql, "SELECT MIN(deadline_ms) FROM holds WHERE state = 'open'", &[])
}

/// When the next ended hold may be forgotten.
///
/// # Errors
/// What the database refused.
pub fn forget_at_ms(sql: &mut impl Sql) -> Result<Option<i64>, Refusal> {
    row(sql, "SELECT MIN(ended_at_ms) + ?1 FROM holds WHERE state <> 'open'", &[HOLD_HISTORY_MS.into()])
}

/// Open holds, the one that expires first leading, `limit` at most.
///
/// # Errors
/// What the database refused.
pub fn list_open(sql: &mut impl Sql, limit: u32) -> Result<HoldPage, Refusal> {
    let items = row(
        sql,
        "SELECT json_group_array(json_object('id', id, 'amount_micro', amount_micro, 'route', route,
           'created_at_ms', created_at_ms, 'deadline_ms', deadline_ms))
         FROM (SELECT * FROM holds WHERE state = 'open' ORDER BY deadline_ms LIMIT ?1)",
        &[i64::from(limit).into()],
    )?
    .unwrap_or_default();
    let open = Account::load(sql)?.holds_open;
    Ok(HoldPage { items, open })
}

fn load(sql: &mut impl Sql, id: &str) -> Result<HoldRow, Refusal> {
    row(
        sql,
        "SELECT json_object('state', state, 'amount_micro', amount_micro, 'charged_micro', charged_micro,
           'shortfall_micro', shortfall_micro) FROM holds WHERE id = ?1",
        &[id.into()],
    )?
    .ok_or(Refusal::UnknownHold)
}

fn give_back(account: &mut Account, amount: Micro) -> Result<(), Refusal> {
    account.held = within(account.held.minus(amount))?;
    account.available = within(account.available.plus(amount))?;
    account.holds_open = account
        .holds_open
        .checked_sub(1)
        .ok_or_else(|| super::account::broken("more holds ended than were open"))?;
    Ok(())
}

fn mark(
    sql: &mut impl Sql,
    id: &str,
    state: &str,
    charged: Micro,
    shortfall: Micro,
    now_ms: i64,
) -> Result<(), Refusal> {
    sql.execute(
        "UPDATE holds SET state = ?2, charged_micro = ?3, shortfall_micro = ?4, ended_at_ms = ?5 WHERE id = ?1",
        &[id.into(), state.into(), charged.0.into(), shortfall.0.into(), now_ms.into()],
    )?;
    Ok(())
}

fn ended_before(hold: &HoldRow, account: &Account) -> EndedHold {
    EndedHold {
        end: match hold.state.as_str() {
            "settled" => HoldEnd::Settled,
            "expired" => HoldEnd::Expired,
            _ => HoldEnd::Released,
        },
        charged: hold.charged_micro.unwrap_or_default(),
        shortfall: hold.shortfall_micro.unwrap_or_default(),
        available: account.available,
        first: false,
    }
}

/// Whether the hold is still open; false when it ended or is not known.
///
/// # Errors
/// What the database refused.
pub fn is_open(sql: &mut impl Sql, id: &str) -> Result<bool, Refusal> {
    let open = sql.text("SELECT 1 FROM holds WHERE id = ?1 AND state = 'open'", &[id.into()])?;
    Ok(open.is_some())
}
