//! The ledger: every new entry against the model, and the hash chain worked out again.

use actors::sql::SqlError;
use actors::sqlite::Sqlite;
use sha2::{Digest, Sha256};

use super::same;
use super::sums::{Books, Sums};
use crate::command::{hold_id, operation_id};
use crate::model::{Entry, EntryKind, Grant, Model, Operation};

/// How far a ledger was looked at: its entries are never changed, so a step looks at the new ones.
#[derive(Debug, Clone)]
pub struct Walked {
    pub entries: usize,
    pub seq: i64,
    pub hash: String,
    pub books: Books,
    /// How many usage events there were, and what they cost.
    pub costs: (i64, i64),
    /// The sums as they were read last, and how many rows had been changed by then.
    pub(super) sums: Option<(u64, Sums)>,
    /// Grants of the model, and the text that the account has of them.
    pub(super) grants: (Vec<Grant>, String),
}

impl Walked {
    /// The chain begins with the tenant's own name.
    pub fn start(model: &Model) -> Self {
        let (hash, books) = (model.tenant.actor_name("ledger"), Books::default());
        Self {
            entries: 0,
            seq: 0,
            hash,
            books,
            costs: (0, 0),
            sums: None,
            grants: (Vec::new(), "[]".to_owned()),
        }
    }
}

/// The database makes the part of the hashed text that has words in it, and nothing here is code of the rules.
const ENTRIES: &str = "SELECT seq, at_ms, owned_micro, issued_micro, charged_micro, expired_micro, available_micro,
  held_micro, shortfall_micro, kind, operation, grants, hash, concat(json_quote(operation), ',', json_quote(reason), ',',
    json_quote(reference), ',', grants, ',', COALESCE(terms, 'null'))
FROM entries WHERE seq > ?1 ORDER BY seq";

struct Row {
    /// Number and time; postings to four books; available, held and what was short.
    numbers: [i64; 9],
    kind: String,
    operation: String,
    grants: String,
    hash: String,
    /// Operation, reason, reference, grants and terms, as the hash has them.
    words: String,
}

fn read(database: &mut Sqlite, after: i64) -> Result<Vec<Row>, SqlError> {
    database.every_row(ENTRIES, &[after.into()], |row| {
        let mut numbers = [0; 9];
        for (at, number) in numbers.iter_mut().enumerate() {
            *number = row.get(at)?;
        }
        let (kind, operation, grants) = (row.get(9)?, row.get(10)?, row.get(11)?);
        Ok(Row { numbers, kind, operation, grants, hash: row.get(12)?, words: row.get(13)? })
    })
}

/// Walks on from where the last walk ended, to the end of the ledger.
pub fn walk(database: &mut Sqlite, model: &Model, from: &mut Walked) -> Result<(), String> {
    let expected = &model.logs.entries[from.entries.min(model.logs.entries.len())..];
    let rows = read(database, from.seq).map_err(|error| error.to_string())?;
    same("new entries", &rows.len(), &expected.len())?;
    for (row, entry) in rows.iter().zip(expected) {
        compare(row, entry)?;
        let [seq, at_ms, owned, issued, charged, expired, available, held, shortfall] = row.numbers;
        let place = (from.hash.as_str(), seq, at_ms, row.kind.as_str());
        let numbers = (place, [owned, issued, charged, expired], [available, held, shortfall]);
        let mut hashed = serde_json::to_string(&numbers).map_err(|error| error.to_string())?;
        // The words go into the same list, as one more of its own.
        hashed.pop();
        hashed.extend([",[", row.words.as_str(), "]]"]);
        let hash = format!("{:x}", Sha256::digest(hashed.as_bytes()));
        same("hash of an entry", &row.hash, &hash)?;
        same("the postings of an entry, summed", &(owned + issued + charged + expired), &0)?;
        let books = Books {
            owned: from.books.owned + owned,
            issued: from.books.issued + issued,
            charged: from.books.charged + charged,
            expired: from.books.expired + expired,
        };
        from.entries += 1;
        (from.seq, from.hash, from.books) = (seq, hash, books);
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
    same("numbers of an entry", &row.numbers, &wanted)?;
    let operation = match entry.operation {
        Operation::Opening => "opening".to_owned(),
        Operation::Adjust(id) => operation_id(id),
        Operation::Hold(id) => hold_id(id),
        Operation::Part(id, seq) => format!("{}-part-{seq}", hold_id(id)),
        Operation::ExpiryOf(grant, seq) => format!("expiry-of-{grant}-{seq}"),
    };
    let found = (row.kind.as_str(), row.operation.as_str());
    same("kind and operation of an entry", &found, &(kind, operation.as_str()))?;
    let parts = serde_json::to_string(&entry.parts).map_err(|error| error.to_string())?;
    same("grants of an entry", &row.grants, &parts)
}
