//! The account row, read and written whole: one read and one write a command.

use serde::{Deserialize, Serialize};

use crate::shared::{Micro, Refusal};
use crate::sql::{Sql, row};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    #[serde(rename = "available_micro")]
    pub available: Micro,
    #[serde(rename = "held_micro")]
    pub held: Micro,
    /// All grants and corrections, summed.
    #[serde(rename = "granted_micro")]
    pub granted: Micro,
    /// All charges, summed.
    #[serde(rename = "settled_micro")]
    pub settled: Micro,
    pub holds_open: u32,
    /// The next sequence number of entries and usage events.
    pub next_seq: i64,
    pub updated_at_ms: i64,
}

impl Account {
    /// # Errors
    /// `Broken` when the row is missing or does not balance; nothing is changed on such an account.
    pub fn load(sql: &mut impl Sql) -> Result<Self, Refusal> {
        let account: Self = row(
            sql,
            "SELECT json_object('available_micro', available_micro, 'held_micro', held_micro,
               'granted_micro', granted_micro, 'settled_micro', settled_micro, 'holds_open', holds_open,
               'next_seq', next_seq, 'updated_at_ms', updated_at_ms) FROM account",
            &[],
        )?
        .ok_or_else(|| broken("the account row is missing"))?;
        let owned = account.available.plus(account.held);
        let left = account.granted.minus(account.settled);
        if owned.is_none() || owned != left || account.available < Micro::ZERO || account.held < Micro::ZERO {
            return Err(broken("available + held is not granted - settled"));
        }
        Ok(account)
    }

    /// # Errors
    /// What the database refused; its checks hold the invariants too.
    pub fn store(&self, sql: &mut impl Sql) -> Result<(), Refusal> {
        sql.execute(
            "UPDATE account SET available_micro = ?1, held_micro = ?2, granted_micro = ?3, settled_micro = ?4,
               holds_open = ?5, next_seq = ?6, updated_at_ms = ?7",
            &[
                self.available.0.into(),
                self.held.0.into(),
                self.granted.0.into(),
                self.settled.0.into(),
                i64::from(self.holds_open).into(),
                self.next_seq.into(),
                self.updated_at_ms.into(),
            ],
        )?;
        Ok(())
    }

    /// Takes the next sequence number.
    pub fn take_seq(&mut self) -> i64 {
        let seq = self.next_seq;
        self.next_seq = seq.saturating_add(1);
        seq
    }

    /// Notes a change at `now_ms`; the shown time never goes back.
    pub fn touch(&mut self, now_ms: i64) {
        self.updated_at_ms = self.updated_at_ms.max(now_ms);
    }
}

pub(super) fn broken(detail: &str) -> Refusal {
    Refusal::Broken { detail: detail.to_owned() }
}

/// Sums and differences that leave the bounds of money are a broken invariant, not a wrapped number.
pub(super) fn within(amount: Option<Micro>) -> Result<Micro, Refusal> {
    amount.ok_or_else(|| broken("an amount left its bounds"))
}

/// Opens an account once, with `opening_grant` in it. The tables are there already.
///
/// # Errors
/// What the database refused.
pub fn open(sql: &mut impl Sql, opening_grant: Micro, now_ms: i64) -> Result<(), Refusal> {
    let mut account = Account {
        available: opening_grant,
        held: Micro::ZERO,
        granted: opening_grant,
        settled: Micro::ZERO,
        holds_open: 0,
        next_seq: 1,
        updated_at_ms: now_ms,
    };
    sql.execute("INSERT INTO account VALUES (1, 0, 0, 0, 0, 0, 1, ?1)", &[now_ms.into()])?;
    if opening_grant > Micro::ZERO {
        super::entries::append(
            sql,
            &mut account,
            &super::entries::NewEntry {
                kind: "grant",
                amount: opening_grant,
                shortfall: Micro::ZERO,
                operation: "opening",
                reason: Some("opening grant"),
            },
            now_ms,
        )?;
        account.store(sql)?;
    }
    Ok(())
}
