//! The Tenant actor: credits, budgets and idempotency keys of one tenant, over one database.
//!
//! Owns: the commands, what one transaction of each does, and the schema with its versions.
//! Never does: calls to providers, waiting, anything that needs the platform.

mod command;
mod handle;
mod idempotency;
mod schema;
mod unopened;

#[cfg(test)]
mod key_tests;
#[cfg(test)]
mod tests;

pub use command::{Call, Command, Effect, Idempotency, Outcome, Policy, Reply, Stored};
pub use handle::{alarm, due_at_ms, handle};
pub use idempotency::{KEY_BYTES_MAX, KEY_TTL_MS, KEYS_MAX, REPLY_BYTES_MAX};
pub use schema::{Actor, SCHEMA_VERSION, open, quarantine, reopen};
pub use unopened::unopened;
