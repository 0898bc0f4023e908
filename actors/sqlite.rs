//! [`Sql`] over SQLite in memory or a file: what native tests and the simulator run the shipped SQL on.

use std::collections::HashMap;

use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, MAIN_DB, Row, Statement};
use self_cell::self_cell;

use crate::planted::{self, Bug};
use crate::shared::Refusal;
use crate::sql::{Sql, SqlError, SqlValue};

/// A database whose commands run as the platform runs them: one transaction each, undone by an error.
pub struct Sqlite {
    database: Database,
}

self_cell!(
    struct Database {
        owner: Connection,
        #[covariant]
        dependent: Prepared,
    }
);

/// Every statement is prepared once, and found again by where its text is: a hash of all of it would cost as much as the
/// short ones themselves. A text that is made anew each time is found by what it says.
struct Prepared<'a> {
    statements: Vec<(String, Statement<'a>)>,
    by_text: HashMap<String, usize>,
    by_place: Vec<usize>,
}

/// More than there are texts in the rules, so that few share a place.
const PLACES: usize = 1_024;

impl<'a> Prepared<'a> {
    fn none() -> Self {
        Self { statements: Vec::new(), by_text: HashMap::new(), by_place: vec![usize::MAX; PLACES] }
    }

    fn statement(&mut self, connection: &'a Connection, sql: &str) -> rusqlite::Result<&mut Statement<'a>> {
        let place = (sql.as_ptr().addr() ^ sql.len().rotate_left(6)) % PLACES;
        let known = self.by_place.get(place).copied().unwrap_or(usize::MAX);
        let same = self.statements.get(known).is_some_and(|(text, _)| text == sql);
        let at = if same { known } else { self.look_up(connection, sql)? };
        if let Some(place) = self.by_place.get_mut(place) {
            *place = at;
        }
        let found = self.statements.get_mut(at).map(|(_, statement)| statement);
        found.ok_or(rusqlite::Error::InvalidQuery)
    }

    fn look_up(&mut self, connection: &'a Connection, sql: &str) -> rusqlite::Result<usize> {
        if let Some(at) = self.by_text.get(sql) {
            return Ok(*at);
        }
        let at = self.statements.len();
        self.statements.push((sql.to_owned(), connection.prepare(sql)?));
        self.by_text.insert(sql.to_owned(), at);
        Ok(at)
    }
}

impl Sqlite {
    /// An empty database in memory.
    ///
    /// # Errors
    /// What SQLite refused.
    pub fn in_memory() -> Result<Self, SqlError> {
        Self::over(Connection::open_in_memory().map_err(refused)?)
    }

    /// A copy of the database whose image this is, to be read.
    ///
    /// # Errors
    /// What SQLite refused.
    pub fn of_image(image: &[u8]) -> Result<Self, SqlError> {
        let mut connection = Connection::open_in_memory().map_err(refused)?;
        connection.deserialize_read_exact(MAIN_DB, image, image.len(), true).map_err(refused)?;
        Self::over(connection)
    }

    fn over(connection: Connection) -> Result<Self, SqlError> {
        // A statement is not prepared again for other values: plans are to be those of the platform, which keeps no statistics.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(refused)?;
        Ok(Self { database: Database::new(connection, |_| Prepared::none()) })
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
        self.prepared(query, |statement| statement.query_row([], read))
    }

    /// The same of every row, for a query with parameters.
    ///
    /// # Errors
    /// What SQLite refused, or a cell of another type.
    pub fn every_row<T>(
        &mut self,
        query: &str,
        args: &[SqlValue],
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, SqlError> {
        self.prepared(query, |statement| {
            statement.query_map(rusqlite::params_from_iter(bound(args)), read)?.collect()
        })
    }

    /// How many rows were ever written or deleted here, also in transactions that were undone: while this stays the
    /// same, so does what is stored.
    #[must_use]
    pub fn rows_changed(&self) -> u64 {
        self.database.borrow_owner().total_changes()
    }

    /// All pages as they are: equal images, equal databases. What a page says that is not in use differs after a rollback.
    ///
    /// # Errors
    /// What SQLite refused.
    pub fn image(&self) -> Result<Vec<u8>, SqlError> {
        self.database.borrow_owner().serialize(MAIN_DB).map(|pages| pages.to_vec()).map_err(refused)
    }

    fn prepared<T>(
        &mut self,
        sql: &str,
        run: impl FnOnce(&mut Statement<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, SqlError> {
        let ran = self
            .database
            .with_dependent_mut(|connection, prepared| prepared.statement(connection, sql).and_then(run));
        ran.map_err(refused)
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
            return self.database.borrow_owner().execute_batch(sql).map_err(refused);
        }
        self.prepared(sql, |statement| statement.execute(rusqlite::params_from_iter(bound(args))).map(drop))
    }

    fn text(&mut self, sql: &str, args: &[SqlValue]) -> Result<Option<String>, SqlError> {
        let first = self.prepared(sql, |statement| {
            let mut rows = statement.query(rusqlite::params_from_iter(bound(args)))?;
            let Some(row) = rows.next()? else {
                return Ok(Value::Null);
            };
            let first = row.get(0)?;
            // A statement with RETURNING changes its rows only when it is run to its end.
            while rows.next()?.is_some() {}
            Ok(first)
        })?;
        Ok(match first {
            Value::Null => None,
            Value::Integer(number) => Some(number.to_string()),
            Value::Real(number) => Some(number.to_string()),
            Value::Text(text) => Some(text),
            Value::Blob(_) => return Err(SqlError::Other("a blob where text belongs".to_owned())),
        })
    }
}
