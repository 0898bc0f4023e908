//! What is looked up after every step, in the database itself, by queries of the simulator's own.

pub mod dump;
pub mod entries;
pub mod full;
pub mod jobs;
pub mod replies;
pub mod sums;
pub mod windows;

/// What was expected and what was found, as a finding.
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: found {found:?}, expected {expected:?}")) }
}

pub fn holds(true_as_promised: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if true_as_promised { Ok(()) } else { Err(what()) }
}
