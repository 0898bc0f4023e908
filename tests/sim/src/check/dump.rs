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

/// Those of tenants that ever had a job.
const JOB_TABLES: [&str; 4] = ["jobs", "job_bodies", "job_events", "job_schedules"];

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

/// Everything a database holds, as it holds it: cheaper than its text, where nothing at all may have changed.
pub fn image(database: &Sqlite) -> Vec<u8> {
    database.image().expect("an image of the database")
}

/// Whether the database holds what it held when this was its image.
pub fn holds_still(database: &mut Sqlite, before: &[u8]) -> bool {
    image(database) == before
        || dump(&mut Sqlite::of_image(before).expect("a copy of the database")) == dump(database)
}

/// All rows of all tables; empty for a database that was never opened.
pub fn dump(database: &mut Sqlite) -> String {
    let opened = database.text("SELECT 1 FROM sqlite_master WHERE name = 'actor'", &[]).expect("a schema");
    if opened.is_none() {
        return String::new();
    }
    let of_jobs: Vec<String> = JOB_TABLES.iter().filter_map(|table| rows_query(database, table)).collect();
    QUERIES.with_borrow_mut(|queries| {
        if queries.is_empty() {
            queries.extend(TABLES.iter().filter_map(|table| rows_query(database, table)));
        }
        let rows = queries.iter().chain(&of_jobs);
        let rows = rows.map(|query| database.text(query, &[]).expect("rows").unwrap_or_default());
        rows.collect::<Vec<_>>().join("\n--\n")
    })
}

/// The same for a database of any actor: every table that it has.
pub fn dump_all(database: &mut Sqlite) -> String {
    let names =
        "SELECT group_concat(name) FROM (SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name)";
    let names = database.text(names, &[]).expect("a schema").unwrap_or_default();
    let mut all = Vec::new();
    for table in names.split(',').filter(|name| !name.is_empty()) {
        let query = rows_query(database, table).unwrap_or_else(|| panic!("{table} has no columns"));
        all.push(format!("{table}\n{}", database.text(&query, &[]).expect("rows").unwrap_or_default()));
    }
    all.join("\n--\n")
}

#[cfg(test)]
mod tests {
    use actors::shared::Refusal;

    use super::*;

    #[test]
    fn what_was_undone_left_nothing_and_what_was_done_did() {
        let mut database = Sqlite::in_memory().unwrap();
        database.execute("CREATE TABLE actor (word TEXT); INSERT INTO actor VALUES ('a');", &[]).unwrap();
        let before = image(&database);
        let undone = database.transaction(|sql| {
            // Of more pages than there were: their remains must not count.
            sql.execute("INSERT INTO actor VALUES (hex(zeroblob(20000)))", &[])?;
            Err::<(), Refusal>(Refusal::UnknownEntry)
        });
        assert!(undone.is_err() && holds_still(&mut database, &before));
        database.execute("UPDATE actor SET word = 'b'", &[]).unwrap();
        assert!(!holds_still(&mut database, &before));
    }
}
