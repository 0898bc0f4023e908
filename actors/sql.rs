//! The one door between the rules and a database.
//!
//! Rows come back as one text cell, in JSON: crossing from the platform costs per cell, so a query returns one. What is
//! read often is an array put together with `concat`, of numbers and of JSON as we wrote it: `json_object` and `json()`
//! would parse that first. An array has the fields of its struct in their order.

use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::shared::Refusal;

/// A bound parameter. Integers must stay within ±(2^53 − 1): they cross the platform as doubles.
#[derive(Debug, Clone, PartialEq)]
pub enum SqlValue {
    Null,
    Integer(i64),
    Text(String),
}

impl From<i64> for SqlValue {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<&str> for SqlValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for SqlValue {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl<T: Into<SqlValue>> From<Option<T>> for SqlValue {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// What a database said no with. Its text is for the operator and never reaches a client.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum SqlError {
    /// A `CHECK` of the schema failed: the rules would have broken an invariant.
    #[error("check failed: {0}")]
    Check(String),
    /// There is a row of that key. Nothing was written.
    #[error("{0}")]
    Taken(String),
    #[error("{0}")]
    Other(String),
}

impl SqlError {
    /// Sorts a database's message; both SQLite builds use the same words.
    #[must_use]
    pub fn from_message(message: String) -> Self {
        if message.contains("CHECK constraint failed") {
            Self::Check(message)
        } else if message.contains("UNIQUE constraint failed") {
            Self::Taken(message)
        } else {
            Self::Other(message)
        }
    }
}

impl From<SqlError> for Refusal {
    fn from(error: SqlError) -> Self {
        match error {
            SqlError::Check(detail) => Self::Broken { detail },
            SqlError::Taken(detail) | SqlError::Other(detail) => Self::Storage { detail },
        }
    }
}

/// A database inside an open transaction; whoever implements it opens and ends that transaction.
pub trait Sql {
    /// Runs one or more statements and drops any rows.
    ///
    /// # Errors
    /// What the database refused.
    fn execute(&mut self, sql: &str, args: &[SqlValue]) -> Result<(), SqlError>;

    /// Runs one statement and returns the first cell of its first row as text; `None` when there is no row
    /// or the cell is null.
    ///
    /// # Errors
    /// What the database refused.
    fn text(&mut self, sql: &str, args: &[SqlValue]) -> Result<Option<String>, SqlError>;
}

/// The first cell of the first row, parsed from the JSON the statement made.
///
/// # Errors
/// `Storage` when the database refuses, or what is stored does not have the expected shape: it may be of a newer
/// version, that was rolled back, and is no broken invariant.
pub fn row<T: DeserializeOwned>(
    sql: &mut impl Sql,
    statement: &str,
    args: &[SqlValue],
) -> Result<Option<T>, Refusal> {
    let Some(text) = sql.text(statement, args)? else {
        return Ok(None);
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| Refusal::Storage { detail: format!("stored row has another shape: {error}") })
}
