//! Databases that are used again by the next run of a thread, emptied: making tables and preparing statements costs
//! as much as many commands. Rules that ask are told that there are no tables, until they make them; every few seeds
//! the database is a new one, and they truly make them.

use std::cell::RefCell;

use actors::sql::Sql;
use actors::sqlite::Sqlite;

/// Keys first: their trigger counts them in the row of the actor.
const EMPTY: [&str; 12] = [
    "BEGIN IMMEDIATE",
    "DELETE FROM idempotency",
    "DELETE FROM actor",
    "DELETE FROM limits",
    "DELETE FROM account",
    "DELETE FROM entries",
    "DELETE FROM holds",
    "DELETE FROM usage_events",
    "DELETE FROM usage_client_ids",
    "DELETE FROM notices",
    "DELETE FROM sqlite_sequence",
    "COMMIT",
];

/// Tables that only tenants with jobs have. They stay, and are empty.
const OF_JOBS: [&str; 4] =
    ["DELETE FROM jobs", "DELETE FROM job_bodies", "DELETE FROM job_events", "DELETE FROM job_schedules"];

/// What rules ask to learn whether there are tables, and how the text begins that makes them.
const ASKS_FOR_TABLES: &str = "SELECT 1 FROM sqlite_master";
const MAKES_TABLES: &str = "CREATE TABLE actor";

thread_local! {
    static POOL: RefCell<Vec<Sqlite>> = const { RefCell::new(Vec::new()) };
}

/// A database, and whether it has the tables of an earlier run.
pub fn take(new: bool) -> (Sqlite, bool) {
    if let Some(used) = POOL.with_borrow_mut(|pool| if new { None } else { pool.pop() }) {
        return (used, true);
    }
    let mut database = Sqlite::in_memory().expect("a database in memory");
    // Databases are small and many: small pages are cheaper to make, and to keep for a rollback.
    database.execute("PRAGMA page_size = 2048", &[]).expect("the size of pages");
    (database, false)
}

/// Gives a database back that has tables and no open transaction; another one is dropped.
pub fn give_back(mut database: Sqlite) {
    let jobs = database.text("SELECT name FROM sqlite_master WHERE name = 'jobs'", &[]);
    let tables = if matches!(jobs, Ok(Some(_))) { &OF_JOBS[..] } else { &[] };
    if EMPTY.iter().chain(tables).all(|statement| database.execute(statement, &[]).is_ok()) {
        POOL.with_borrow_mut(|pool| pool.push(database));
    }
}

/// Whether this asks for tables that the rules must not see yet.
pub fn asks_for_tables(sql: &str) -> bool {
    sql.starts_with(ASKS_FOR_TABLES)
}

/// Whether this makes tables that are there already.
pub fn makes_tables(sql: &str) -> bool {
    sql.contains(MAKES_TABLES)
}
