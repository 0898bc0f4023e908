//! Credits: what a tenant owns, what is held of it, what was charged, and the usage rows that say why.
//!
//! Owns: the account, its grants, entries, holds, caps and usage events. Never does: prices of models, budgets
//! of rate, replies.

mod account;
mod adjust;
pub mod caps;
mod entries;
mod feed;
mod from_1;
mod grant;
mod hold;
mod settle;
mod usage;
mod verify;

#[cfg(test)]
mod tests;

pub use account::{Account, Opening, open, unopened};
pub use adjust::{Adjusted, Adjustment, Cause, adjust};
pub use entries::{Books, Entry, EntryPage, Kind, at as entry_at, charged_since, list as list_entries};
pub use feed::{Change, LAST_WRITTEN, changes, last_seq};
pub use from_1::from_1;
pub use grant::{
    GRANTS_LIVE_MAX, Grant, GrantKind, GrantTerms, Grants, PRIORITY_DEFAULT, PRIORITY_MAX, Part,
};
pub use hold::{
    EXPIRED_HISTORY_MS, EndedHold, HOLD_HISTORY_MS, HOLDS_OPEN_MAX, HoldChange, HoldEnd, HoldPage, HoldState,
    ListedHold, OpenAmounts, Owner, is_open, list as list_holds, open_amounts, open_of_key,
};
pub use settle::{
    HOLD_DUE_AT_MS, HOLD_FORGOTTEN_AT_MS, Progress, Progressed, admit, due, expire, forget_ended, progress,
    release, settle,
};
pub use usage::{Usage, UsageEvent, UsageFilter, UsagePage, list as list_usage, record_client, spent_since};
pub use verify::{VERIFY_ENTRIES_MAX, Verified, verify};

pub const SCHEMA: &str = include_str!("schema.sql");
