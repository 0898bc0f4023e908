//! The size of a run, from the environment: small by default, as CI runs it.

use crate::settings::{number, variable};
use std::path::PathBuf;

const KILLS_DEFAULT: usize = 5;
const JOBS_DEFAULT: usize = 60;

#[derive(Clone, Debug)]
pub struct Settings {
    /// `CRASH_KILLS`
    pub kills: usize,
    /// `CRASH_JOBS`: how many jobs are made.
    pub jobs: usize,
    /// `CRASH_SEED`. What is made and when kills come follows from it; how the machine interleaves it does not.
    pub seed: u64,
    /// `CRASH_REPORT`: where to write the report as Markdown.
    pub report: Option<PathBuf>,
}

impl Settings {
    /// Panics on a value that is no number: a run of another size than was asked for proves nothing.
    pub fn from_environment() -> Self {
        Self {
            kills: number("CRASH_KILLS").unwrap_or(KILLS_DEFAULT),
            jobs: number("CRASH_JOBS").unwrap_or(JOBS_DEFAULT),
            seed: number("CRASH_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000)),
            report: variable("CRASH_REPORT").map(PathBuf::from),
        }
    }
}
