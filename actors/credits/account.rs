//! The account row, read and written whole: one read and one write a command.

use serde::{Deserialize, Serialize};

use super::entries::{self, Books, Kind, NewEntry};
use super::grant::{Grant, GrantTerms, Grants, Part, total};
use crate::planted::{self, Bug};
use crate::shared::{Aside, Micro, Refusal};
use crate::sql::{Sql, row};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    #[serde(rename = "available_micro")]
    pub available: Micro,
    #[serde(rename = "held_micro")]
    pub held: Micro,
    /// All grants and corrections, less what expired.
    #[serde(rename = "granted_micro")]
    pub granted: Micro,
    /// All charges, summed.
    #[serde(rename = "settled_micro")]
    pub settled: Micro,
    pub holds_open: u32,
    /// The next sequence number of entries and usage events.
    pub next_seq: i64,
    pub updated_at_ms: i64,
    pub grants: Grants,
    /// Hash of the last entry.
    pub head: String,
    /// What the row says, so that nothing is written that is there already.
    #[serde(skip)]
    pub(super) as_read: Aside<Option<Box<Account>>>,
}

impl Account {
    /// # Errors
    /// `Broken` when the row is missing or does not balance; nothing is changed on such an account.
    pub fn load(sql: &mut impl Sql) -> Result<Self, Refusal> {
        let account: Self = row(
            sql,
            // What every command reads: numbers, JSON as we wrote it and a hash, so the database need not parse them.
            "SELECT concat('[', available_micro, ',', held_micro, ',', granted_micro, ',', settled_micro, ',',
               holds_open, ',', next_seq, ',', updated_at_ms, ',', grants, ',\"', head, '\"]') FROM account",
            &[],
        )?
        .ok_or_else(|| broken("the account row is missing"))?;
        account.check()?;
        Ok(account)
    }

    /// The account as it is at `now_ms`: what is over has left it, with an entry. The caller stores it.
    ///
    /// # Errors
    /// As [`Account::load`].
    pub fn load_at(sql: &mut impl Sql, now_ms: i64) -> Result<Self, Refusal> {
        let mut account = Self::load(sql)?;
        account.as_read = Aside(Some(Box::new(account.clone())));
        if !planted::on(Bug::ExpiredGrantSpent) {
            account.expire_grants(sql, now_ms)?;
        }
        Ok(account)
    }

    /// The account as a reader sees it at `now_ms`, with nothing written.
    ///
    /// # Errors
    /// As [`Account::load`].
    pub fn view_at(sql: &mut impl Sql, now_ms: i64) -> Result<Self, Refusal> {
        let mut account = Self::load(sql)?;
        let expired = total(&account.grants.expire(now_ms))?;
        account.available = within(account.available.minus(expired))?;
        account.granted = within(account.granted.minus(expired))?;
        Ok(account)
    }

    fn check(&self) -> Result<(), Refusal> {
        let owned = self.available.plus(self.held);
        let left = self.granted.minus(self.settled);
        if owned.is_none() || owned != left {
            return Err(broken("available + held is not granted - settled"));
        }
        // No grant is below zero, so neither are their sums.
        if self.grants.sums()? != (self.available, self.held) {
            return Err(broken("the grants do not add up to the balance"));
        }
        Ok(())
    }

    /// Writes the row, when the account is not what it was loaded as.
    ///
    /// # Errors
    /// What the database refused; its checks hold the invariants too. `Broken` when a rule went wrong.
    pub fn store(&mut self, sql: &mut impl Sql) -> Result<(), Refusal> {
        self.check()?;
        if self.as_read.0.take().is_some_and(|read| *read == *self) {
            return Ok(());
        }
        let grants = serde_json::to_string(&self.grants).map_err(|error| broken(&error.to_string()))?;
        sql.execute(
            "UPDATE account SET available_micro = ?1, held_micro = ?2, granted_micro = ?3, settled_micro = ?4,
               holds_open = ?5, next_seq = ?6, updated_at_ms = ?7, grants = ?8, head = ?9",
            &[
                self.available.0.into(),
                self.held.0.into(),
                self.granted.0.into(),
                self.settled.0.into(),
                i64::from(self.holds_open).into(),
                self.next_seq.into(),
                self.updated_at_ms.into(),
                grants.into(),
                self.head.as_str().into(),
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

    /// What the tenant owns: available and held.
    ///
    /// # Errors
    /// `Broken` beyond the bounds of money.
    pub fn owned(&self) -> Result<Micro, Refusal> {
        within(self.available.plus(self.held))
    }

    /// Takes what is left of grants that are over, each with an entry.
    ///
    /// # Errors
    /// What the database refused.
    pub fn expire_grants(&mut self, sql: &mut impl Sql, now_ms: i64) -> Result<(), Refusal> {
        for part in self.grants.expire(now_ms) {
            let Part(grant, amount) = part;
            self.available = within(self.available.minus(amount))?;
            self.granted = within(self.granted.minus(amount))?;
            let books = Books { owned: amount.negated(), expired: amount, ..Books::default() };
            // What comes back of a grant that is over expires too: by its number each of these is told apart.
            let operation = format!("expiry-of-{grant}-{}", self.next_seq);
            let entry = NewEntry { grants: &[part], ..NewEntry::new(Kind::Expire, books, &operation) };
            entries::append(sql, self, &entry, now_ms)?;
        }
        Ok(())
    }

    /// Sets `amount` of what is available aside, by grant.
    ///
    /// # Errors
    /// `InsufficientCredits`.
    pub(super) fn set_aside(&mut self, amount: Micro) -> Result<Vec<Part>, Refusal> {
        if self.available < amount {
            return Err(Refusal::InsufficientCredits {
                available: self.available,
                needed: amount,
                updated_at_ms: self.updated_at_ms,
            });
        }
        let parts = self.grants.hold(amount)?;
        self.available = within(self.available.minus(amount))?;
        self.held = within(self.held.plus(amount))?;
        Ok(parts)
    }

    /// Ends what was set aside: given back, or spent.
    pub(super) fn end_aside(&mut self, parts: &[Part], spent: bool) -> Result<(), Refusal> {
        let amount = total(parts)?;
        self.grants.unhold(parts, spent)?;
        self.held = within(self.held.minus(amount))?;
        if !spent {
            self.available = within(self.available.plus(amount))?;
        }
        Ok(())
    }

    /// When the next grant ends that has something left; the end of time when none does. What a hold gives back may
    /// be of a grant that ends before everything the alarm was set for.
    #[must_use]
    pub fn next_expiry_ms(&self) -> i64 {
        self.grants.next_expiry_ms().unwrap_or(i64::MAX)
    }

    /// The live grants, in the order they are spent.
    pub fn live_grants(&self) -> impl Iterator<Item = &Grant> {
        self.grants.iter()
    }
}

pub(super) fn broken(detail: &str) -> Refusal {
    Refusal::Broken { detail: detail.to_owned() }
}

/// Sums and differences that leave the bounds of money are a broken invariant, not a wrapped number.
pub(super) fn within(amount: Option<Micro>) -> Result<Micro, Refusal> {
    amount.ok_or_else(|| broken("an amount left its bounds"))
}

/// What a new account begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    pub amount: Micro,
    pub terms: GrantTerms,
}

/// Opens an account once. The tables are there already. `genesis` begins the hash chain: it differs for each
/// tenant, so that no entry can be moved to another ledger.
///
/// # Errors
/// What the database refused.
pub fn open(sql: &mut impl Sql, genesis: &str, opening: Opening, now_ms: i64) -> Result<Account, Refusal> {
    let mut account = unopened(genesis, now_ms);
    sql.execute(
        "INSERT INTO account VALUES (1, 0, 0, 0, 0, 0, 1, ?1, '[]', ?2)",
        &[now_ms.into(), account.head.as_str().into()],
    )?;
    if opening.amount > Micro::ZERO {
        let reason = Some("opening grant");
        super::adjust::grant(sql, &mut account, opening.amount, opening.terms, "opening", reason, now_ms)?;
        account.store(sql)?;
    }
    Ok(account)
}

/// An account with nothing in it.
#[must_use]
pub fn unopened(genesis: &str, now_ms: i64) -> Account {
    Account {
        available: Micro::ZERO,
        held: Micro::ZERO,
        granted: Micro::ZERO,
        settled: Micro::ZERO,
        holds_open: 0,
        next_seq: 1,
        updated_at_ms: now_ms,
        grants: Grants::default(),
        head: genesis.to_owned(),
        as_read: Aside::default(),
    }
}
