//! Jobs under the same kills: each that was acknowledged ends exactly once, and each that succeeded is charged once.
//!
//! Clients make jobs and write down what they heard (`journal`), while somebody watches each tenant live and comes again
//! after every kill with the last id (`watcher`). When all jobs are over, the jobs, the books and what was watched are
//! held against each other (`audit`).

pub mod audit;
pub mod journal;
pub mod maker;
pub mod report;
pub mod run;
pub mod settings;
pub mod shown;
pub mod watcher;
pub mod work;
