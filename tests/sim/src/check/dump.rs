//! Everything a database holds, as text: equal texts, equal databases.

use std::cell::RefCell;

use actors::sql::Sql;
use actors::sqlite::Sqlite;

const TABLES: [&str; 9] = [
    "actor",
    "limits",
    "idempotency",
    "account",
    "entries",
    "holds",
    "usage_events",
    "usage_client_ids",
    "notices",
];

/// The query for all rows of a table, made of its columns; `None` while there is no such table.
fn rows_query(database: &mut Sqlite, table: &str) -> Option<String> {
    let cells = database.text(
        "SELECT group_concat('quote(' || name || ')', '||'',''||') FROM pragma_table_info(?1)",
        &[table.into()],
    );
    let cells = cells.expect("the columns of a table")?;
    Some(format!("SELECT group_concat(r, char(10)) FROM (SELECT {cells} AS r FROM {table} ORDER BY r)"))
}

thread_local! {
    /// The queries of all tables: the schema is the same everywhere.
    static QUERIES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// All rows of all tables; empty for a database that was never opened.
pub fn dump(database: &mut Sqlite) -> String {
    let opened = database.text("SELECT 1 FROM sqlite_master WHERE name = 'actor'", &[]).expect("a schema");
    if opened.is_none() {
        return String::new();
    }
    QUERIES.with_borrow_mut(|queries| {
        if queries.is_empty() {
            queries.extend(TABLES.iter().filter_map(|table| rows_query(database, table)));
        }
        let rows = queries.iter().map(|query| database.text(query, &[]).expect("rows").unwrap_or_default());
        rows.collect::<Vec<_>>().join("\n--\n")
    })
}
