//! Versions of the price table: those that operators made, and those that configurations had.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::command::Change;
use super::{
    CONFIGURED_PRICES_MAX, LIST_ROWS_MAX, PRICE_VERSIONS_MAX, below, cursor_of, next_revision, stored,
};
use crate::shared::{PriceTable, Refusal};
use crate::sql::{Sql, row};

/// Hexadecimal digits of the digest that names a configuration's table: 64 bits keep some thousands apart.
const DIGEST_DIGITS: usize = 16;
const LIST: &str = "prices";

/// Which table a charge was made by, as a usage row has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum PriceVersion {
    /// Version 0: what a configuration said, by the digest of it.
    Configured(String),
    /// What an operator stored, from 1 on.
    Stored(i64),
}

impl PriceVersion {
    /// The name of a configuration's table.
    #[must_use]
    pub fn of_configured(table: &PriceTable) -> Self {
        // A table of numbers and names has no way to fail.
        let text = serde_json::to_string(table).unwrap_or_default();
        let mut digest = format!("{:x}", Sha256::digest(text));
        digest.truncate(DIGEST_DIGITS);
        Self::Configured(digest)
    }

    /// Its number: zero for what a configuration said.
    #[must_use]
    pub const fn number(&self) -> i64 {
        match self {
            Self::Configured(_) => 0,
            Self::Stored(version) => *version,
        }
    }
}

/// `0-<digest>` or a number.
impl fmt::Display for PriceVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured(digest) => write!(f, "0-{digest}"),
            Self::Stored(version) => write!(f, "{version}"),
        }
    }
}

impl FromStr for PriceVersion {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        if let Some(digest) = text.strip_prefix("0-") {
            let is_digest = digest.len() == DIGEST_DIGITS
                && digest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            return is_digest.then(|| Self::Configured(digest.to_owned())).ok_or(Refusal::UnknownVersion);
        }
        let version = text.parse::<u32>().ok().filter(|version| *version > 0 && version.to_string() == text);
        version.map(|version| Self::Stored(version.into())).ok_or(Refusal::UnknownVersion)
    }
}

impl TryFrom<String> for PriceVersion {
    type Error = Refusal;

    fn try_from(text: String) -> Result<Self, Refusal> {
        text.parse()
    }
}

impl From<PriceVersion> for String {
    fn from(version: PriceVersion) -> Self {
        version.to_string()
    }
}

/// A configuration's table, with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredPrices {
    pub version: PriceVersion,
    pub prices: PriceTable,
}

impl ConfiguredPrices {
    #[must_use]
    pub fn new(prices: PriceTable) -> Self {
        Self { version: PriceVersion::of_configured(&prices), prices }
    }
}

/// Who made a version, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionNote {
    pub version: i64,
    pub at_ms: i64,
    /// Which of the operator's keys; empty for what a configuration said.
    pub changed_by: String,
    pub reason: String,
    /// This version says that there is nothing any more.
    #[serde(default)]
    pub is_gone: bool,
}

/// One version of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPrices {
    pub note: VersionNote,
    pub prices: PriceTable,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PricesPage {
    /// The current one; `None` while nobody stored any.
    pub current: Option<StoredPrices>,
    /// All of them, newest first.
    pub items: Vec<VersionNote>,
    pub next_cursor: Option<String>,
}

const NOTE: &str =
    "json_object('version', version, 'at_ms', at_ms, 'changed_by', changed_by, 'reason', reason)";

fn whole() -> String {
    format!("json_object('note', {NOTE}, 'prices', json(prices))")
}

pub(super) fn current(sql: &mut impl Sql) -> Result<Option<StoredPrices>, Refusal> {
    row(sql, &format!("SELECT {} FROM prices ORDER BY version DESC LIMIT 1", whole()), &[])
}

/// # Errors
/// `UnknownVersion`.
pub(super) fn of_version(sql: &mut impl Sql, version: &PriceVersion) -> Result<StoredPrices, Refusal> {
    let found = match version {
        PriceVersion::Stored(version) => {
            row(sql, &format!("SELECT {} FROM prices WHERE version = ?1", whole()), &[(*version).into()])?
        }
        PriceVersion::Configured(digest) => row(
            sql,
            "SELECT json_object('note', json_object('version', 0, 'at_ms', first_seen_at_ms, 'changed_by', '',
               'reason', ''), 'prices', json(prices)) FROM configured_prices WHERE digest = ?1",
            &[digest.as_str().into()],
        )?,
    };
    found.ok_or(Refusal::UnknownVersion)
}

pub(super) fn list(sql: &mut impl Sql, limit: u32, cursor: Option<&str>) -> Result<PricesPage, Refusal> {
    let limit = limit.clamp(1, LIST_ROWS_MAX);
    let items: Vec<VersionNote> = row(
        sql,
        &format!(
            "SELECT json_group_array({NOTE}) FROM (SELECT * FROM prices WHERE version < ?1
               ORDER BY version DESC LIMIT ?2)"
        ),
        &[below(LIST, cursor)?.into(), i64::from(limit).into()],
    )?
    .unwrap_or_default();
    let is_full = items.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    let next_cursor = items.last().filter(|last| is_full && last.version > 1);
    let next_cursor = next_cursor.map(|last| cursor_of(LIST, last.version));
    Ok(PricesPage { current: current(sql)?, items, next_cursor })
}

/// Makes a new version, which is the current one from now on.
pub(super) fn put(
    sql: &mut impl Sql,
    prices: &PriceTable,
    change: &Change,
    now_ms: i64,
) -> Result<StoredPrices, Refusal> {
    if !prices.is_within_bounds() {
        let expected = "prices and names within their limits".to_owned();
        return Err(Refusal::InvalidSetting { field: "prices".to_owned(), expected });
    }
    let current = current(sql)?;
    let number = current.as_ref().map_or(0, |current| current.note.version);
    if let Some(same) = current.filter(|current| {
        change.is_repeated(number) && current.prices == *prices && current.note.reason == change.reason
    }) {
        return Ok(same);
    }
    change.expects(number)?;
    let version = number.saturating_add(1);
    if version > PRICE_VERSIONS_MAX {
        return Err(Refusal::TooManyVersions { limit: PRICE_VERSIONS_MAX });
    }
    sql.execute(
        "INSERT INTO prices VALUES (?1, ?2, ?3, ?4, ?5)",
        &[
            version.into(),
            now_ms.into(),
            change.by.as_str().into(),
            change.reason.as_str().into(),
            stored(prices)?.into(),
        ],
    )?;
    next_revision(sql)?;
    of_version(sql, &PriceVersion::Stored(version))
}

/// Keeps what a configuration says, so that a charge made by it can be computed again when it says something else.
/// `false` when there is no more room.
pub(super) fn keep_configured(sql: &mut impl Sql, prices: &PriceTable, now_ms: i64) -> Result<bool, Refusal> {
    let PriceVersion::Configured(digest) = PriceVersion::of_configured(prices) else {
        return Ok(false);
    };
    let known = sql.text("SELECT 1 FROM configured_prices WHERE digest = ?1", &[digest.as_str().into()])?;
    if known.is_some() {
        return Ok(true);
    }
    let count: Option<i64> = row(sql, "SELECT COUNT(*) FROM configured_prices", &[])?;
    if count.unwrap_or(0) >= CONFIGURED_PRICES_MAX {
        return Ok(false);
    }
    sql.execute(
        "INSERT INTO configured_prices VALUES (?1, ?2, ?3)",
        &[digest.into(), now_ms.into(), stored(prices)?.into()],
    )?;
    Ok(true)
}
