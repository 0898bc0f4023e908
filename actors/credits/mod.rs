//! Credits: what a tenant owns, what is held of it, what was charged, and the usage rows that say why.
//!
//! Owns: the account, its entries, holds and usage events. Never does: prices of models, budgets, replies.

mod account;
mod adjust;
mod entries;
mod hold;
mod usage;

#[cfg(test)]
mod tests;

pub use account::{Account, open};
pub use adjust::{Adjusted, Adjustment, adjust};
pub use entries::{Entry, EntryPage, list as list_entries};
pub use hold::{
    Admitted, EndedHold, HOLD_HISTORY_MS, HOLDS_OPEN_MAX, HoldEnd, HoldPage, OpenHold, admit, due_at_ms,
    expire_due, forget_at_ms, forget_ended, is_open, list_open, release, settle,
};
pub use usage::{Usage, UsageEvent, UsageFilter, UsagePage, list as list_usage, record_client};

pub const SCHEMA: &str = include_str!("schema.sql");
