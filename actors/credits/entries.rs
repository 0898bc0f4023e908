//! Ledger entries: every change of what a tenant owns, as postings that sum to zero, with the balance after it
//! and the hash of the entry before it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Account;
use super::account::{broken, within};
use super::grant::{GrantTerms, Part};
use crate::planted::{self, Bug};
use crate::shared::{Cursor, Micro, Refusal, TenantId};
use crate::sql::{Sql, SqlValue, row};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Credit given, with its terms.
    Grant,
    /// An operator set the balance.
    Set,
    /// An operator moved the balance.
    Delta,
    /// Work was paid for.
    Charge,
    /// A grant's time was over.
    Expire,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Set => "set",
            Self::Delta => "delta",
            Self::Charge => "charge",
            Self::Expire => "expire",
        }
    }
}

/// The postings of one entry, a book each. They sum to zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books {
    /// What the tenant owns, available and held together.
    #[serde(rename = "owned_micro")]
    pub owned: Micro,
    /// What the house issued; a grant takes it below zero.
    #[serde(rename = "issued_micro")]
    pub issued: Micro,
    /// What the house earned.
    #[serde(rename = "charged_micro")]
    pub charged: Micro,
    /// What nobody spent in time.
    #[serde(rename = "expired_micro")]
    pub expired: Micro,
}

impl Books {
    /// # Errors
    /// `Broken` when the postings do not sum to zero.
    pub(super) fn check(self) -> Result<(), Refusal> {
        let sum = self.owned.0.checked_add(self.issued.0).and_then(|sum| sum.checked_add(self.charged.0));
        match sum.and_then(|sum| sum.checked_add(self.expired.0)) {
            Some(0) => Ok(()),
            _ => Err(broken("the postings of an entry do not sum to zero")),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredEntry")]
pub struct Entry {
    pub seq: i64,
    pub at_ms: i64,
    pub kind: Kind,
    #[serde(flatten)]
    pub books: Books,
    /// Balance after the entry.
    pub available_micro: Micro,
    pub held_micro: Micro,
    /// What a charge or a correction asked for and the balance did not have.
    pub shortfall_micro: Micro,
    /// The operation behind the entry, unique in its ledger: an operator's own id, the id of a hold for the charge that
    /// ended it, `<hold>-part-<seq>` for one before, `expiry-of-<grant>-<seq>` for credit whose time was over.
    pub operation: String,
    pub reason: Option<String>,
    /// An invoice, an order, a ticket.
    pub reference: Option<String>,
    /// Which grants were filled or drawn.
    pub grants: Vec<Part>,
    pub terms: Option<GrantTerms>,
    pub hash: String,
}

/// An entry as it is read, its fields in the order of [`ENTRY`]. Spelled out, because what is flattened is read slowly,
/// and a ledger has many.
#[derive(Deserialize)]
struct StoredEntry {
    seq: i64,
    at_ms: i64,
    kind: Kind,
    owned_micro: Micro,
    issued_micro: Micro,
    charged_micro: Micro,
    expired_micro: Micro,
    available_micro: Micro,
    held_micro: Micro,
    shortfall_micro: Micro,
    operation: String,
    reason: Option<String>,
    reference: Option<String>,
    grants: Vec<Part>,
    terms: Option<GrantTerms>,
    hash: String,
}

impl From<StoredEntry> for Entry {
    fn from(stored: StoredEntry) -> Self {
        Self {
            seq: stored.seq,
            at_ms: stored.at_ms,
            kind: stored.kind,
            books: Books {
                owned: stored.owned_micro,
                issued: stored.issued_micro,
                charged: stored.charged_micro,
                expired: stored.expired_micro,
            },
            available_micro: stored.available_micro,
            held_micro: stored.held_micro,
            shortfall_micro: stored.shortfall_micro,
            operation: stored.operation,
            reason: stored.reason,
            reference: stored.reference,
            grants: stored.grants,
            terms: stored.terms,
            hash: stored.hash,
        }
    }
}

impl Entry {
    /// The hash of this entry after one with the hash `before`. Everything but the hash itself is in it, as one
    /// JSON array, so that no two entries read the same.
    pub(super) fn hash_after(&self, before: &str) -> Result<String, Refusal> {
        let fields = (
            (before, self.seq, self.at_ms, self.kind.name()),
            (self.books.owned, self.books.issued, self.books.charged, self.books.expired),
            (self.available_micro, self.held_micro, self.shortfall_micro),
            (&self.operation, &self.reason, &self.reference, &self.grants, &self.terms),
        );
        let json = serde_json::to_vec(&fields).map_err(|error| broken(&error.to_string()))?;
        Ok(format!("{:x}", Sha256::digest(json)))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryPage {
    pub items: Vec<Entry>,
    pub next_cursor: Option<String>,
}

pub(super) struct NewEntry<'a> {
    pub kind: Kind,
    pub books: Books,
    pub shortfall: Micro,
    pub operation: &'a str,
    pub reason: Option<&'a str>,
    pub reference: Option<&'a str>,
    pub grants: &'a [Part],
    pub terms: Option<GrantTerms>,
}

impl<'a> NewEntry<'a> {
    pub const fn new(kind: Kind, books: Books, operation: &'a str) -> Self {
        let (reason, reference, terms) = (None, None, None);
        Self { kind, books, shortfall: Micro::ZERO, operation, reason, reference, grants: &[], terms }
    }
}

/// Writes an entry with the balance `account` has after it, and makes it the head of the chain.
pub(super) fn append(
    sql: &mut impl Sql,
    account: &mut Account,
    new: &NewEntry<'_>,
    now_ms: i64,
) -> Result<i64, Refusal> {
    new.books.check()?;
    let mut entry = Entry {
        seq: account.take_seq(),
        at_ms: now_ms,
        kind: new.kind,
        books: new.books,
        available_micro: account.available,
        held_micro: account.held,
        shortfall_micro: new.shortfall,
        operation: new.operation.to_owned(),
        reason: new.reason.map(str::to_owned),
        reference: new.reference.map(str::to_owned),
        grants: new.grants.to_vec(),
        terms: new.terms,
        hash: String::new(),
    };
    let before = if planted::on(Bug::ChainNotLinked) { "" } else { &account.head };
    entry.hash = entry.hash_after(before)?;
    account.head.clone_from(&entry.hash);
    account.touch(now_ms);
    insert(sql, &entry)?;
    Ok(entry.seq)
}

pub(super) fn insert(sql: &mut impl Sql, entry: &Entry) -> Result<(), Refusal> {
    let json = |error: serde_json::Error| broken(&error.to_string());
    let grants = serde_json::to_string(&entry.grants).map_err(json)?;
    let terms = entry.terms.map(|terms| serde_json::to_string(&terms)).transpose().map_err(json)?;
    sql.execute(
        "INSERT INTO entries VALUES
           (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
        &[
            entry.seq.into(),
            entry.at_ms.into(),
            entry.kind.name().into(),
            entry.books.owned.0.into(),
            entry.books.issued.0.into(),
            entry.books.charged.0.into(),
            entry.books.expired.0.into(),
            entry.available_micro.0.into(),
            entry.held_micro.0.into(),
            entry.shortfall_micro.0.into(),
            entry.operation.as_str().into(),
            entry.reason.as_deref().into(),
            entry.reference.as_deref().into(),
            grants.into(),
            terms.into(),
            entry.hash.as_str().into(),
        ],
    )?;
    Ok(())
}

/// Numbers and JSON as we wrote it need not be parsed by the database; the rest is quoted.
const ENTRY: &str =
    "concat('[', seq, ',', at_ms, ',', json_quote(kind), ',', owned_micro, ',', issued_micro, ',',
  charged_micro, ',', expired_micro, ',', available_micro, ',', held_micro, ',', shortfall_micro, ',',
  json_quote(operation), ',', json_quote(reason), ',', json_quote(reference), ',', grants, ',',
  COALESCE(terms, 'null'), ',', json_quote(hash), ']')";

/// The entries that the query `rows` selects, in its order.
pub(super) fn read(sql: &mut impl Sql, rows: &str, args: &[SqlValue]) -> Result<Vec<Entry>, Refusal> {
    let statement = format!("SELECT concat('[', group_concat({ENTRY}), ']') FROM ({rows})");
    Ok(row(sql, &statement, args)?.unwrap_or_default())
}

const LIST: &str = "ledger";

/// Newest first, `limit` at most (1 to 100; the caller clamps).
///
/// # Errors
/// `InvalidCursor`, or what the database refused.
pub fn list(
    sql: &mut impl Sql,
    tenant: &TenantId,
    limit: u32,
    cursor: Option<&str>,
) -> Result<EntryPage, Refusal> {
    let from = cursor.map_or(Ok(Cursor::NEWEST), |raw| Cursor::decode(raw, LIST, tenant))?;
    let rows = "SELECT * FROM entries WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2";
    let items = read(sql, rows, &[from.seq.into(), i64::from(limit).into()])?;
    let full = items.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next_cursor = items.last().filter(|_| full).map(|last| {
        let at = Cursor { at_ms: last.at_ms, seq: last.seq };
        at.encode(LIST, tenant)
    });
    Ok(EntryPage { items, next_cursor })
}

/// Oldest first, after the entry `after`, `limit` at most.
pub(super) fn after(sql: &mut impl Sql, after: i64, limit: u32) -> Result<Vec<Entry>, Refusal> {
    let rows = "SELECT * FROM entries WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    read(sql, rows, &[after.into(), i64::from(limit).into()])
}

/// The entry `seq`, which says what the balance was right after it.
///
/// # Errors
/// `UnknownEntry`.
pub fn at(sql: &mut impl Sql, seq: i64) -> Result<Entry, Refusal> {
    let statement = format!("SELECT {ENTRY} FROM entries WHERE seq = ?1");
    row(sql, &statement, &[seq.into()])?.ok_or(Refusal::UnknownEntry)
}

/// What was charged at or after `since_ms`.
///
/// # Errors
/// What the database refused.
pub fn charged_since(sql: &mut impl Sql, since_ms: i64) -> Result<Micro, Refusal> {
    let charged: Option<i64> = row(
        sql,
        "SELECT COALESCE(SUM(charged_micro), 0) FROM entries WHERE kind = 'charge' AND at_ms >= ?1",
        &[since_ms.into()],
    )?;
    Ok(Micro(charged.unwrap_or(0)))
}

/// What all entries before and with `seq` post to each book.
pub(super) fn sums(sql: &mut impl Sql, seq: i64) -> Result<Books, Refusal> {
    let books: Option<Books> = row(
        sql,
        "SELECT json_object('owned_micro', COALESCE(SUM(owned_micro), 0),
           'issued_micro', COALESCE(SUM(issued_micro), 0), 'charged_micro', COALESCE(SUM(charged_micro), 0),
           'expired_micro', COALESCE(SUM(expired_micro), 0)) FROM entries WHERE seq <= ?1",
        &[seq.into()],
    )?;
    let books = books.unwrap_or_default();
    within(books.owned.plus(Micro::ZERO))?;
    Ok(books)
}
