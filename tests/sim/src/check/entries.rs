//! The ledger: every new entry against the model, and the hash chain worked out again.

use actors::sql::Sql;
use actors::sqlite::Sqlite;
use sha2::{Digest, Sha256};

use super::same;
use super::sums::Books;
use crate::command::{hold_id, operation_id};
use crate::model::{Entry, EntryKind, Model, Operation};

/// How far a ledger was looked at: its entries are never changed, so a step looks at the new ones.
#[derive(Debug, Clone)]
pub struct Walked {
    pub entries: usize,
    pub seq: i64,
    pub hash: String,
    pub books: Books,
}

impl Walked {
    /// The chain begins with the tenant's own name.
    pub fn start(model: &Model) -> Self {
        Self { entries: 0, seq: 0, hash: model.tenant.actor_name("ledger"), books: Books::default() }
    }
}

/// The database makes the text that is hashed: no code of the rules is in it.
const ENTRIES: &str =
    "SELECT json_group_array(json_array(seq, at_ms, kind, owned_micro, issued_micro, charged_micro,
  expired_micro, available_micro, held_micro, shortfall_micro, operation, json(grants), hash,
  json_array(seq, at_ms, kind),
  json_array(json_array(owned_micro, issued_micro, charged_micro, expired_micro),
    json_array(available_micro, held_micro, shortfall_micro),
    json_array(operation, reason, reference, json(grants), json(terms)))))
FROM (SELECT * FROM entries WHERE seq > ?1 ORDER BY seq)";

#[derive(serde::Deserialize)]
struct Row(
    i64,
    i64,
    String,
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
    i64,
    String,
    Vec<(i64, i64)>,
    String,
    Box<serde_json::value::RawValue>,
    Box<serde_json::value::RawValue>,
);

/// Walks on from where the last walk ended, to the end of the ledger.
pub fn walk(database: &mut Sqlite, model: &Model, from: &mut Walked) -> Result<(), String> {
    let expected = &model.logs.entries[from.entries.min(model.logs.entries.len())..];
    let text =
        database.text(ENTRIES, &[from.seq.into()]).map_err(|error| error.to_string())?.unwrap_or_default();
    let rows: Vec<Row> = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
    same("new entries", &rows.len(), &expected.len())?;
    for (row, entry) in rows.iter().zip(expected) {
        compare(row, entry)?;
        let place = row.13.get().strip_prefix('[').unwrap_or_default();
        let rest = row.14.get().strip_prefix('[').unwrap_or_default();
        let hashed = format!("[[\"{}\",{place},{rest}", from.hash);
        let hash = format!("{:x}", Sha256::digest(hashed.as_bytes()));
        same("hash of an entry", &row.12, &hash)?;
        same("the postings of an entry, summed", &(row.3 + row.4 + row.5 + row.6), &0)?;
        let books = Books {
            owned: from.books.owned + row.3,
            issued: from.books.issued + row.4,
            charged: from.books.charged + row.5,
            expired: from.books.expired + row.6,
        };
        *from = Walked { entries: from.entries + 1, seq: row.0, hash, books };
    }
    Ok(())
}

fn compare(row: &Row, entry: &Entry) -> Result<(), String> {
    let kind = match entry.kind {
        EntryKind::Grant => "grant",
        EntryKind::Set => "set",
        EntryKind::Delta => "delta",
        EntryKind::Charge => "charge",
        EntryKind::Expire => "expire",
    };
    let numbers = [row.0, row.1, row.3, row.4, row.5, row.6, row.7, row.8, row.9];
    let wanted = [
        entry.seq,
        entry.at_ms,
        entry.owned,
        entry.issued,
        entry.charged,
        entry.expired,
        entry.available,
        entry.held,
        entry.shortfall,
    ];
    same("numbers of an entry", &numbers, &wanted)?;
    let operation = match entry.operation {
        Operation::Opening => "opening".to_owned(),
        Operation::Adjust(id) => operation_id(id),
        Operation::Hold(id) => hold_id(id),
        Operation::Part(id, seq) => format!("{}-part-{seq}", hold_id(id)),
        Operation::ExpiryOf(grant, seq) => format!("expiry-of-{grant}-{seq}"),
    };
    same("kind and operation of an entry", &(row.2.as_str(), row.10.as_str()), &(kind, operation.as_str()))?;
    same("grants of an entry", &row.11, &entry.parts)
}
