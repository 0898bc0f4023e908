//! An operator's change of a balance: set it, or move it.

use serde::{Deserialize, Serialize};

use super::Account;
use super::account::within;
use super::entries::{NewEntry, append};
use crate::shared::{Micro, Refusal};
use crate::sql::Sql;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Adjustment {
    /// The available balance becomes this. What is held stays held.
    Set(Micro),
    /// The available balance moves by this; below zero it stops at zero and the rest is `shortfall`.
    Delta(Micro),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adjusted {
    pub account: Account,
    /// The part of a negative delta that the balance did not have.
    pub shortfall: Micro,
}

/// # Errors
/// `InvalidAmount` for a negative `set` or a result beyond [`Micro::MAX`].
pub fn adjust(
    sql: &mut impl Sql,
    adjustment: Adjustment,
    operation: &str,
    reason: Option<&str>,
    now_ms: i64,
) -> Result<Adjusted, Refusal> {
    let mut account = Account::load(sql)?;
    let before = account.available;
    let (kind, target) = match adjustment {
        Adjustment::Set(balance) => ("set", balance),
        Adjustment::Delta(delta) => ("delta", before.plus(delta).ok_or(Refusal::InvalidAmount)?),
    };
    if kind == "set" && target < Micro::ZERO {
        return Err(Refusal::InvalidAmount);
    }
    let after = target.max(Micro::ZERO);
    let shortfall = within(after.minus(target))?;
    let moved = within(after.minus(before))?;
    account.available = after;
    // Bounded by what a client may own, so that later sums stay exact.
    account.granted = account.granted.plus(moved).ok_or(Refusal::InvalidAmount)?;
    account.touch(now_ms);
    let entry = NewEntry { kind, amount: moved, shortfall, operation, reason };
    append(sql, &mut account, &entry, now_ms)?;
    account.store(sql)?;
    Ok(Adjusted { account, shortfall })
}
