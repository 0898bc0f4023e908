//! The size of a run, from the environment: small by default, as CI runs it, and as large as one likes.

use std::path::PathBuf;
use std::str::FromStr;

const KILLS_DEFAULT: usize = 20;
const OPERATIONS_DEFAULT: usize = 500;

#[derive(Clone, Debug)]
pub struct Settings {
    /// `CRASH_KILLS`
    pub kills: usize,
    /// `CRASH_OPERATIONS`: acknowledged operations, the probes of restarts not counted.
    pub operations: usize,
    /// `CRASH_SEED`. What clients do and when kills come follows from it; how the machine interleaves it does not.
    pub seed: u64,
    /// `CRASH_REPORT`: where to write the report as Markdown.
    pub report: Option<PathBuf>,
}

impl Settings {
    /// Panics on a value that is no number: a run of another size than was asked for proves nothing.
    pub fn from_environment() -> Self {
        Self {
            kills: number("CRASH_KILLS").unwrap_or(KILLS_DEFAULT),
            operations: number("CRASH_OPERATIONS").unwrap_or(OPERATIONS_DEFAULT),
            seed: number("CRASH_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000)),
            report: variable("CRASH_REPORT").map(PathBuf::from),
        }
    }
}

/// An empty variable counts as absent: that is how a Makefile passes on what nobody gave.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

pub(crate) fn number<T: FromStr>(name: &str) -> Option<T> {
    let value = variable(name)?;
    let number = value.trim().parse();
    Some(number.unwrap_or_else(|_| panic!("{name} must be a whole number, not {value:?}")))
}
