//! The rules of the system, and nothing else: what a command does to an actor's database, given the time.
//!
//! Owns: money, holds, usage, budgets, idempotency, experiments, jobs, voice sessions, and the SQL that ships.
//! Never does: input or output other than [`sql::Sql`], waiting, reading a clock, drawing a random number.
//! The same code runs over Durable Object storage in production and over SQLite in tests.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod addresses;
pub mod catalog;
pub mod credits;
pub mod events;
pub mod experiment;
pub mod jobs;
pub mod keys;
pub mod notices;
pub mod planted;
pub mod rate;
pub mod shared;
pub mod sql;
#[cfg(any(test, feature = "sqlite"))]
pub mod sqlite;
pub mod tenant;
pub mod tickets;
pub mod voice;
pub mod voice_slots;
