//! [`Sql`] over SQLite in memory or a file: what native tests and the simulator run the shipped SQL on.

use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, Row};

use crate::planted::{self, Bug};
use crate::shared::Refusal;
use crate::sql::{Sql, SqlError, SqlValue};

/// A database whose commands run as the platform runs them: one transaction each, undone by an error.
pub struct Sqlite {
    connection: Connection,
}

impl Sqlite {
    /// An empty database in memory.
    ///
    /// # Errors
    /// What SQLite refused.
    pub fn in_memory() -> Result<Self, SqlError> {
        let connection = Connection::open_in_memory().map_err(refused)?;
        // More than the rules have, so that each is prepared once.
        connection.set_prepared_statement_cache_capacity(256);
        // And not again for other values: plans are to be those of the platform, which keeps no statistics.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(refused)?;
        Ok(Self { connection })
    }

    /// Runs `command` in one transaction: committed when it is `Ok`, undone when it is `Err`.
    ///
    /// # Errors
    /// The command's own refusal, or `Storage`.
    pub fn transaction<T>(
        &mut self,
        command: impl FnOnce(&mut Self) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        self.execute("BEGIN IMMEDIATE", &[])?;
        let outcome = command(self);
        let end = if outcome.is_ok() || planted::on(Bug::RefusalCommitted) { "COMMIT" } else { "ROLLBACK" };
        self.execute(end, &[])?;
        outcome
    }
}

impl Sqlite {
    /// What `read` makes of the first row of a query without parameters, as cells of their own types: for whoever
    /// looks often, and is not the rules.
    ///
    /// # Errors
    /// What SQLite refused, or a cell of another type.
    pub fn first_row<T>(
        &mut self,
        query: &str,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, SqlError> {
        let mut statement = self.connection.prepare_cached(query).map_err(refused)?;
        statement.query_row([], read).map_err(refused)
    }
}

fn refused(error: rusqlite::Error) -> SqlError {
    SqlError::from_message(error.to_string())
}

fn bound(args: &[SqlValue]) -> impl Iterator<Item = ToSqlOutput<'_>> {
    let borrowed = args.iter().map(|arg| match arg {
        SqlValue::Null => ValueRef::Null,
        SqlValue::Integer(number) => ValueRef::Integer(*number),
        SqlValue::Text(text) => ValueRef::Text(text.as_bytes()),
    });
    borrowed.map(ToSqlOutput::Borrowed)
}

impl Sql for Sqlite {
    fn execute(&mut self, sql: &str, args: &[SqlValue]) -> Result<(), SqlError> {
        // Several statements at once cannot be prepared as one.
        if args.is_empty() && sql.contains(';') {
            return self.connection.execute_batch(sql).map_err(refused);
        }
        let mut statement = self.connection.prepare_cached(sql).map_err(refused)?;
        statement.execute(rusqlite::params_from_iter(bound(args))).map(|_changed| ()).map_err(refused)
    }

    fn text(&mut self, sql: &str, args: &[SqlValue]) -> Result<Option<String>, SqlError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(refused)?;
        let mut rows = statement.query(rusqlite::params_from_iter(bound(args))).map_err(refused)?;
        let first = match rows.next().map_err(refused)? {
            Some(found) => found.get::<_, Value>(0).map_err(refused)?,
            None => return Ok(None),
        };
        // A statement with RETURNING changes its rows only when it is run to its end.
        while rows.next().map_err(refused)?.is_some() {}
        Ok(match first {
            Value::Null => None,
            Value::Integer(number) => Some(number.to_string()),
            Value::Real(number) => Some(number.to_string()),
            Value::Text(text) => Some(text),
            Value::Blob(_) => return Err(SqlError::Other("a blob where text belongs".to_owned())),
        })
    }
}
