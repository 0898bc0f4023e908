//! The types of jobs. A new one is a file with a [`Kind`], and its line in [`KINDS`].

use std::rc::Rc;

use actors::credits::{Owner, Usage};
use actors::shared::Micro;
use futures::future::LocalBoxFuture;
use serde_json::value::RawValue;

use super::attempt::Attempt;
use super::stored::Quote;
use super::{batch, si, transcribe, webhook};
use crate::edge::catalog::Known;
use crate::edge::error::ApiError;
use crate::edge::identity::Caller;
use crate::edge::offer;
use crate::edge::operation::Operation;
use crate::platform::config::{JobRules, Tier};

/// One type.
pub struct Kind {
    pub name: &'static str,
    /// Reads the params, and the files that they name, before a job is made: what is wrong with them is said then, and
    /// not by a job that fails.
    pub prepare: for<'a> fn(&'a Making, &'a RawValue) -> LocalBoxFuture<'a, Result<Prepared, ApiError>>,
    /// One attempt. It may be given up at any wait, when the lease is lost.
    pub run: for<'a> fn(&'a Attempt) -> LocalBoxFuture<'a, Result<Done, Failure>>,
    /// How it is tried.
    pub rules: fn(JobRules) -> JobRules,
    /// Codes of errors that another attempt would meet again.
    pub final_errors: &'static [&'static str],
}

/// Every type, the usual one first.
pub const KINDS: [&Kind; 4] = [&si::KIND, &webhook::KIND, &batch::KIND, &transcribe::KIND];

/// Errors of any type that are final.
pub const FINAL_ERRORS: &[&str] = &[RESULT_TOO_LARGE, "params_unreadable"];

/// The code of a result, or a part of one, that is larger than a job's may be.
pub const RESULT_TOO_LARGE: &str = "result_too_large";

pub fn find(name: &str) -> Option<&'static Kind> {
    KINDS.into_iter().find(|kind| kind.name == name)
}

pub fn names() -> Vec<String> {
    KINDS.iter().map(|kind| kind.name.to_owned()).collect()
}

/// What params are read with.
pub struct Making {
    pub operation: Operation,
    pub known: Rc<Known>,
    pub caller: Caller,
    /// The name of the tier that is asked for.
    pub tier: Option<String>,
}

impl Making {
    /// # Errors
    /// `UnknownTier`.
    pub fn tier(&self) -> Result<Option<&Tier>, ApiError> {
        offer::tier_named(&self.operation.config, self.tier.as_deref())
    }
}

/// What a job of these params is made with.
pub struct Prepared {
    /// The most that it may cost.
    pub amount: Micro,
    /// Who asks, which models may answer, and what it weighs in the budgets.
    pub owner: Owner,
    pub quote: Option<Quote>,
    /// Bytes of the files that it names, where it does.
    pub file_bytes: Option<usize>,
}

/// An attempt that came to something.
pub struct Done {
    pub result: Box<RawValue>,
    pub charge: Micro,
    pub usage: Usage,
}

/// One that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For programs.
    pub code: &'static str,
    /// For people; nothing internal, and nothing that a provider said.
    pub message: String,
    /// How long whoever refused asked to be left alone.
    pub retry_after_ms: Option<i64>,
}

impl Failure {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::new(error.code(), error.message())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_every_type_and_its_final_errors() {
        let page = include_str!("../../ops/jobs.md");
        let table = page.split("## Types").nth(1).unwrap_or_default();
        for kind in KINDS {
            let row = table.lines().find(|line| line.starts_with(&format!("| `{}` |", kind.name)));
            let row = row.unwrap_or_else(|| panic!("no row for {}", kind.name));
            let told = row.split('|').nth(4).unwrap_or_default();
            let told: Vec<&str> = told.split('`').skip(1).step_by(2).collect();
            // A batch's are those of its asks.
            assert!(told == kind.final_errors || kind.name == "batch", "{}: {told:?}", kind.name);
        }
        for code in FINAL_ERRORS {
            assert!(table.contains(&format!("`{code}`")), "{code}");
        }
    }
}
