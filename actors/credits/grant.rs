//! Grants: where credit comes from, in which order it is spent, and when it ends.

use serde::{Deserialize, Serialize};

use super::account::{broken, within};
use crate::planted::{self, Bug};
use crate::shared::{Micro, Refusal};

/// Live grants of one tenant. Credit of one kind, priority and expiry is one grant, so a tenant that is topped up
/// every day stays far below it.
pub const GRANTS_LIVE_MAX: u32 = 64;
/// The priority of a grant that names none. The lower is spent first.
pub const PRIORITY_DEFAULT: i64 = 100;
pub const PRIORITY_MAX: i64 = 1_000;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantKind {
    /// Given away: spent before what was paid for.
    Promotional,
    #[default]
    Paid,
}

/// What a grant is given with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantTerms {
    pub kind: GrantKind,
    /// From 0 to [`PRIORITY_MAX`]; the lower is spent first.
    pub priority: i64,
    pub expires_at_ms: Option<i64>,
}

impl Default for GrantTerms {
    fn default() -> Self {
        Self { kind: GrantKind::Paid, priority: PRIORITY_DEFAULT, expires_at_ms: None }
    }
}

/// A grant with something left or held. Its id is the sequence number of the entry that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredGrant", into = "StoredGrant")]
pub struct Grant {
    pub id: i64,
    pub terms: GrantTerms,
    pub left: Micro,
    pub held: Micro,
}

/// A grant as it is stored: flat, because every command reads and writes it.
#[derive(Serialize, Deserialize)]
struct StoredGrant {
    id: i64,
    kind: GrantKind,
    priority: i64,
    expires_at_ms: Option<i64>,
    left_micro: Micro,
    held_micro: Micro,
}

impl From<StoredGrant> for Grant {
    fn from(stored: StoredGrant) -> Self {
        let StoredGrant { id, kind, priority, expires_at_ms, left_micro, held_micro } = stored;
        let terms = GrantTerms { kind, priority, expires_at_ms };
        Self { id, terms, left: left_micro, held: held_micro }
    }
}

impl From<Grant> for StoredGrant {
    fn from(grant: Grant) -> Self {
        let GrantTerms { kind, priority, expires_at_ms } = grant.terms;
        let Grant { id, left, held, .. } = grant;
        Self { id, kind, priority, expires_at_ms, left_micro: left, held_micro: held }
    }
}

/// An amount of one grant: its id, and micro-credits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part(pub i64, pub Micro);

/// The sum of parts.
///
/// # Errors
/// `Broken` beyond the bounds of money.
pub fn total(parts: &[Part]) -> Result<Micro, Refusal> {
    parts.iter().try_fold(Micro::ZERO, |sum, part| within(sum.plus(part.1)))
}

/// Live grants in the order they are spent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Grants(Vec<Grant>);

impl Grants {
    pub fn iter(&self) -> impl Iterator<Item = &Grant> {
        self.0.iter()
    }

    /// What is left and what is held, over all grants.
    ///
    /// # Errors
    /// `Broken` for an amount below zero or beyond the bounds of money.
    pub fn sums(&self) -> Result<(Micro, Micro), Refusal> {
        let (mut left, mut held) = (Micro::ZERO, Micro::ZERO);
        for grant in &self.0 {
            if grant.left < Micro::ZERO || grant.held < Micro::ZERO {
                return Err(broken("a grant is below zero"));
            }
            left = within(left.plus(grant.left))?;
            held = within(held.plus(grant.held))?;
        }
        Ok((left, held))
    }

    /// Adds `amount` under `terms`; `id` is the new grant's, if there must be one.
    ///
    /// Credit joins what is there on the same terms, expiry and all: nobody can tell them apart.
    ///
    /// # Errors
    /// `TooManyGrants`.
    pub fn add(&mut self, id: i64, terms: GrantTerms, amount: Micro) -> Result<Part, Refusal> {
        let alike = self.0.iter_mut().find(|grant| grant.terms == terms);
        if let Some(grant) = alike {
            grant.left = within(grant.left.plus(amount))?;
            return Ok(Part(grant.id, amount));
        }
        if self.0.len() >= usize::try_from(GRANTS_LIVE_MAX).unwrap_or(usize::MAX) {
            return Err(Refusal::TooManyGrants { limit: GRANTS_LIVE_MAX });
        }
        self.0.push(Grant { id, terms, left: amount, held: Micro::ZERO });
        self.0.sort_by_key(|grant| {
            let GrantTerms { kind, priority, expires_at_ms } = grant.terms;
            let ends_at_ms = if planted::on(Bug::WrongSpendingOrder) { None } else { expires_at_ms };
            (priority, ends_at_ms.unwrap_or(i64::MAX), kind, grant.id)
        });
        Ok(Part(id, amount))
    }

    /// Takes up to `amount` of what is left, in the order of spending.
    ///
    /// # Errors
    /// `Broken` beyond the bounds of money.
    pub fn draw(&mut self, amount: Micro) -> Result<Vec<Part>, Refusal> {
        let (mut missing, mut drawn) = (amount, Vec::with_capacity(1));
        for grant in &mut self.0 {
            let part = grant.left.min(missing);
            if part > Micro::ZERO {
                grant.left = within(grant.left.minus(part))?;
                missing = within(missing.minus(part))?;
                drawn.push(Part(grant.id, part));
            }
        }
        self.drop_empty();
        Ok(drawn)
    }

    /// The same, and what is taken stays with its grant as held.
    ///
    /// # Errors
    /// `Broken` beyond the bounds of money.
    pub fn hold(&mut self, amount: Micro) -> Result<Vec<Part>, Refusal> {
        let (mut missing, mut held) = (amount, Vec::with_capacity(1));
        for grant in &mut self.0 {
            let part = grant.left.min(missing);
            if part > Micro::ZERO {
                grant.left = within(grant.left.minus(part))?;
                grant.held = within(grant.held.plus(part))?;
                missing = within(missing.minus(part))?;
                held.push(Part(grant.id, part));
            }
        }
        Ok(held)
    }

    /// Ends the hold of `parts`: what is not `spent` goes back to what is left of its grant.
    ///
    /// # Errors
    /// `Broken` when a part is of no live grant, or more than is held of it.
    pub fn unhold(&mut self, parts: &[Part], spent: bool) -> Result<(), Refusal> {
        for Part(id, amount) in parts {
            let grant = self.0.iter_mut().find(|grant| grant.id == *id);
            let grant = grant.ok_or_else(|| broken("a held grant is gone"))?;
            if grant.held < *amount {
                return Err(broken("more ends than is held of a grant"));
            }
            grant.held = within(grant.held.minus(*amount))?;
            if !spent {
                grant.left = within(grant.left.plus(*amount))?;
            }
        }
        self.drop_empty();
        Ok(())
    }

    /// Takes what is left of each grant whose time is over. What is held of it stays for its hold.
    pub fn expire(&mut self, now_ms: i64) -> Vec<Part> {
        let mut expired = Vec::new();
        for grant in &mut self.0 {
            let over = grant.terms.expires_at_ms.is_some_and(|at_ms| at_ms <= now_ms);
            if over && grant.left > Micro::ZERO {
                expired.push(Part(grant.id, grant.left));
                grant.left = Micro::ZERO;
            }
        }
        self.drop_empty();
        expired
    }

    /// When the next grant ends that has something left.
    #[must_use]
    pub fn next_expiry_ms(&self) -> Option<i64> {
        let left = self.0.iter().filter(|grant| grant.left > Micro::ZERO);
        left.filter_map(|grant| grant.terms.expires_at_ms).min()
    }

    fn drop_empty(&mut self) {
        self.0.retain(|grant| grant.left > Micro::ZERO || grant.held > Micro::ZERO);
    }
}

/// Splits `amount` off the front of `parts`: what was split off, and what stays.
///
/// # Errors
/// `Broken` beyond the bounds of money.
pub fn split(parts: &[Part], amount: Micro) -> Result<(Vec<Part>, Vec<Part>), Refusal> {
    let (mut missing, mut front, mut rest) = (amount, Vec::new(), Vec::new());
    for Part(id, there) in parts {
        let taken = missing.min(*there);
        if taken > Micro::ZERO {
            front.push(Part(*id, taken));
            missing = within(missing.minus(taken))?;
        }
        if *there > taken {
            rest.push(Part(*id, within(there.minus(taken))?));
        }
    }
    Ok((front, rest))
}
