//! Credit given, and an operator's change of a balance: set it, or move it.

use serde::{Deserialize, Serialize};

use super::Account;
use super::account::within;
use super::entries::{Books, Kind, NewEntry, append};
use super::grant::{GrantTerms, PRIORITY_MAX, Part};
use crate::shared::{Micro, Refusal};
use crate::sql::Sql;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Adjustment {
    /// The available balance becomes this. What is held stays held.
    Set(Micro),
    /// The available balance moves by this; below zero it stops at zero and the rest is `shortfall`.
    Delta(Micro),
    /// Credit with terms of its own.
    Grant(Micro, GrantTerms),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adjusted {
    pub account: Account,
    /// The part of a negative delta that the balance did not have.
    pub shortfall: Micro,
}

/// Who changed a balance, and why.
#[derive(Debug, Clone, Copy)]
pub struct Cause<'a> {
    pub operation: &'a str,
    pub reason: Option<&'a str>,
    pub reference: Option<&'a str>,
}

/// # Errors
/// `InvalidAmount` for a negative `set`, a grant of nothing or a result beyond [`Micro::MAX`];
/// `InvalidSetting` for terms out of bounds; `TooManyGrants`.
pub fn adjust(
    sql: &mut impl Sql,
    adjustment: Adjustment,
    cause: Cause<'_>,
    now_ms: i64,
) -> Result<Adjusted, Refusal> {
    let mut account = Account::load_at(sql, now_ms)?;
    let before = account.available;
    let (kind, target, terms) = match adjustment {
        Adjustment::Set(balance) => (Kind::Set, balance, GrantTerms::default()),
        Adjustment::Delta(delta) => {
            (Kind::Delta, before.plus(delta).ok_or(Refusal::InvalidAmount)?, GrantTerms::default())
        }
        Adjustment::Grant(amount, terms) => {
            check(terms, now_ms)?;
            let target = before.plus(amount).filter(|_| amount > Micro::ZERO);
            (Kind::Grant, target.ok_or(Refusal::InvalidAmount)?, terms)
        }
    };
    if kind == Kind::Set && target < Micro::ZERO {
        return Err(Refusal::InvalidAmount);
    }
    let after = target.max(Micro::ZERO);
    let shortfall = within(after.minus(target))?;
    let moved = within(after.minus(before))?;
    let parts = if moved > Micro::ZERO {
        vec![account.grants.add(account.next_seq, terms, moved)?]
    } else {
        account.grants.draw(moved.negated())?
    };
    account.available = after;
    // Bounded by what a client may own, so that later sums stay exact.
    account.granted = account.granted.plus(moved).ok_or(Refusal::InvalidAmount)?;
    account.touch(now_ms);
    let books = Books { owned: moved, issued: moved.negated(), ..Books::default() };
    let entry = NewEntry {
        shortfall,
        reason: cause.reason,
        reference: cause.reference,
        grants: &parts,
        terms: (moved > Micro::ZERO).then_some(terms),
        ..NewEntry::new(kind, books, cause.operation)
    };
    append(sql, &mut account, &entry, now_ms)?;
    account.store(sql)?;
    Ok(Adjusted { account, shortfall })
}

fn check(terms: GrantTerms, now_ms: i64) -> Result<(), Refusal> {
    let wrong =
        |field: &str, expected: String| Err(Refusal::InvalidSetting { field: field.to_owned(), expected });
    if !(0..=PRIORITY_MAX).contains(&terms.priority) {
        return wrong("priority", format!("a whole number from 0 to {PRIORITY_MAX}"));
    }
    if terms.expires_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
        return wrong("expires_at", "a time to come".to_owned());
    }
    Ok(())
}

/// Gives `amount` under `terms`; the caller stores the account.
///
/// # Errors
/// `TooManyGrants`, or what the database refused.
pub(super) fn grant(
    sql: &mut impl Sql,
    account: &mut Account,
    amount: Micro,
    terms: GrantTerms,
    operation: &str,
    reason: Option<&str>,
    now_ms: i64,
) -> Result<Part, Refusal> {
    let part = account.grants.add(account.next_seq, terms, amount)?;
    account.available = within(account.available.plus(amount))?;
    account.granted = within(account.granted.plus(amount))?;
    let books = Books { owned: amount, issued: amount.negated(), ..Books::default() };
    let entry = NewEntry {
        reason,
        grants: &[part],
        terms: Some(terms),
        ..NewEntry::new(Kind::Grant, books, operation)
    };
    append(sql, account, &entry, now_ms)?;
    Ok(part)
}
