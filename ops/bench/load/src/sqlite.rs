//! What SQLite itself can do: the same debit in this process, each with one synchronous commit, nothing around it.

use crate::Fallible;
use crate::latency::Latencies;
use rusqlite::{Connection, params};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

const WARMUP: Duration = Duration::from_millis(300);
const OPENING_BALANCE: i64 = 1_000_000_000;

/// The tables of the JavaScript baseline.
const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
    CREATE TABLE entries (seq INTEGER PRIMARY KEY, operation TEXT NOT NULL UNIQUE, amount INTEGER NOT NULL,
      balance INTEGER NOT NULL, at_ms INTEGER NOT NULL);";

pub fn run(folder: &str, seconds: &str) -> Fallible<()> {
    let window = Duration::try_from_secs_f64(seconds.parse()?)?;
    let mut connection = Connection::open(Path::new(folder).join("debits.sqlite"))?;
    connection.execute_batch(SCHEMA)?;
    connection.execute("INSERT INTO account VALUES (1, ?1)", [OPENING_BALANCE])?;
    let mut debits = 0_i64;
    let warm = Instant::now();
    while warm.elapsed() < WARMUP {
        debit(&mut connection, debits)?;
        debits = debits.saturating_add(1);
    }
    let mut latencies = Latencies::default();
    let mut measured = 0_u32;
    let began = Instant::now();
    while began.elapsed() < window {
        let debit_began = Instant::now();
        debit(&mut connection, debits)?;
        latencies.record(debit_began.elapsed());
        debits = debits.saturating_add(1);
        measured = measured.saturating_add(1);
    }
    let span_seconds = began.elapsed().as_secs_f64();
    latencies.sort();
    let (rows, spent) = books(&connection)?;
    let result = json!({
        "per_second": f64::from(measured) / span_seconds,
        "p50_ms": latencies.percentile_ms(50),
        "p99_ms": latencies.percentile_ms(99),
        "mean_ms": latencies.mean_ms(),
        "books_agree": rows == debits && spent == debits,
        "acknowledged": debits,
    });
    println!("{result}");
    Ok(())
}

/// Reads the balance, writes it less one, notes the entry, and waits until that is on disk.
fn debit(connection: &mut Connection, nth: i64) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    let balance: i64 = transaction
        .prepare_cached("SELECT balance FROM account WHERE id = 1")?
        .query_row([], |row| row.get(0))?;
    let left = balance.saturating_sub(1);
    transaction.prepare_cached("UPDATE account SET balance = ?1 WHERE id = 1")?.execute([left])?;
    transaction
        .prepare_cached("INSERT INTO entries (operation, amount, balance, at_ms) VALUES (?1, 1, ?2, ?3)")?
        .execute(params![format!("debit-{nth:032x}"), left, nth])?;
    transaction.commit()
}

/// Rows in the ledger, and what was taken from the balance.
fn books(connection: &Connection) -> rusqlite::Result<(i64, i64)> {
    let rows = connection.query_row("SELECT COUNT(*) FROM entries", [], |row| row.get(0))?;
    let balance: i64 = connection.query_row("SELECT balance FROM account", [], |row| row.get(0))?;
    Ok((rows, OPENING_BALANCE.saturating_sub(balance)))
}
