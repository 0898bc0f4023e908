//! SIGKILL to workerd under load, again and again on the same storage: nothing acknowledged may be lost, nothing
//! may be doubled, and every tenant must be served again within the bound.
//!
//! Clients write down what they asked and what they heard (`journal`). After every kill the books of every
//! tenant are read over the public API (`reader`) and compared with what was heard (`audit`).

pub mod adjust;
pub mod ask;
pub mod audit;
pub mod books;
pub mod bounds;
pub mod heard;
pub mod jobs;
pub mod journal;
pub mod load;
pub mod mixture;
pub mod operation;
pub mod party;
pub mod reader;
pub mod replay;
pub mod report;
pub mod restart;
pub mod run;
pub mod scenario;
pub mod settings;
pub mod usage_event;
pub mod violation;
pub mod worker_log;
