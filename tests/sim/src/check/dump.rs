//! Everything a database holds, as text: equal texts, equal databases.

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

/// All rows of all tables; empty for a database that was never opened.
pub fn dump(database: &mut Sqlite) -> String {
    let mut text = String::new();
    for table in TABLES {
        let cells = database
            .text(
                "SELECT group_concat('quote(' || name || ')', '||'',''||') FROM pragma_table_info(?1)",
                &[table.into()],
            )
            .expect("the columns of a table");
        let Some(cells) = cells else { continue };
        let rows =
            format!("SELECT group_concat(r, char(10)) FROM (SELECT {cells} AS r FROM {table} ORDER BY r)");
        text.push_str(table);
        text.push('\n');
        text.push_str(&database.text(&rows, &[]).expect("the rows of a table").unwrap_or_default());
        text.push('\n');
    }
    text
}
