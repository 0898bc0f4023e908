//! A database that fails on command: its n-th statement is refused, or is carried out and then refused.

use actors::sql::{Sql, SqlError, SqlValue};

use crate::pool::{asks_for_tables, makes_tables};

/// What the text of every injected failure says.
pub const INJECTED: &str = "injected";

/// Which statement fails, counted from one, and whether it was carried out all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatementFault {
    pub nth: u32,
    pub landed: bool,
}

/// Counts the statements of one command, and fails one of them.
pub struct Faulty<'a, S: Sql> {
    inner: &'a mut S,
    fault: Option<StatementFault>,
    pub statements: u32,
    /// The fault was met.
    pub hit: bool,
    /// The tables are those of an earlier run: the rules are to make them as if there were none.
    hides_tables: bool,
}

impl<'a, S: Sql> Faulty<'a, S> {
    pub const fn new(inner: &'a mut S, fault: Option<StatementFault>) -> Self {
        Self { inner, fault, statements: 0, hit: false, hides_tables: false }
    }

    /// The same over a database that was used before.
    pub const fn hiding_tables(inner: &'a mut S, fault: Option<StatementFault>, hides_tables: bool) -> Self {
        Self { inner, fault, statements: 0, hit: false, hides_tables }
    }

    fn run<T>(&mut self, statement: impl FnOnce(&mut S) -> Result<T, SqlError>) -> Result<T, SqlError> {
        self.statements += 1;
        match self.fault {
            Some(fault) if fault.nth == self.statements => {
                self.hit = true;
                if fault.landed {
                    // Landed or refused, what is heard of it is the failure.
                    let _unheard = statement(self.inner);
                }
                Err(SqlError::Other(INJECTED.to_owned()))
            }
            _ => statement(self.inner),
        }
    }
}

impl<S: Sql> Sql for Faulty<'_, S> {
    fn execute(&mut self, sql: &str, args: &[SqlValue]) -> Result<(), SqlError> {
        if self.hides_tables && makes_tables(sql) {
            self.hides_tables = false;
            return self.run(|_| Ok(()));
        }
        self.run(|inner| inner.execute(sql, args))
    }

    fn text(&mut self, sql: &str, args: &[SqlValue]) -> Result<Option<String>, SqlError> {
        if self.hides_tables && asks_for_tables(sql) {
            return self.run(|_| Ok(None));
        }
        self.run(|inner| inner.text(sql, args))
    }
}
