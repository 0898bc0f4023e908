//! The ledger: every new entry against the model, and the hash chain worked out again.

use std::borrow::Cow;

use actors::sql::Sql;
use actors::sqlite::Sqlite;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
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
    /// How many usage events there were, and what they cost.
    pub costs: (i64, i64),
}

impl Walked {
    /// The chain begins with the tenant's own name.
    pub fn start(model: &Model) -> Self {
        let (hash, books) = (model.tenant.actor_name("ledger"), Books::default());
        Self { entries: 0, seq: 0, hash, books, costs: (0, 0) }
    }
}

/// The database makes the text that is hashed: no code of the rules is in it.
const ENTRIES: &str = "SELECT json_group_array(json_array(hash, json_array(seq, at_ms, kind),
  json_array(json_array(owned_micro, issued_micro, charged_micro, expired_micro),
    json_array(available_micro, held_micro, shortfall_micro),
    json_array(operation, reason, reference, json(grants), json(terms)))))
FROM (SELECT * FROM entries WHERE seq > ?1 ORDER BY seq)";

/// The hash of an entry, and the two texts it is made of.
#[derive(serde::Deserialize)]
struct Row<'a>(&'a str, #[serde(borrow)] &'a RawValue, #[serde(borrow)] &'a RawValue);

/// Number, time and kind.
type Place<'a> = (i64, i64, &'a str);

/// Postings; balances after it and what was short; operation, reason, reference, grants, terms.
type Rest<'a> = ([i64; 4], [i64; 3], (&'a str, Text<'a>, Text<'a>, Vec<(i64, i64)>, IgnoredAny));
type Text<'a> = Option<Cow<'a, str>>;

/// Walks on from where the last walk ended, to the end of the ledger.
pub fn walk(database: &mut Sqlite, model: &Model, from: &mut Walked) -> Result<(), String> {
    let expected = &model.logs.entries[from.entries.min(model.logs.entries.len())..];
    let text =
        database.text(ENTRIES, &[from.seq.into()]).map_err(|error| error.to_string())?.unwrap_or_default();
    let wrong = |error: serde_json::Error| format!("{error}: {text}");
    let rows: Vec<Row> = serde_json::from_str(&text).map_err(wrong)?;
    same("new entries", &rows.len(), &expected.len())?;
    for (Row(stored, place, rest), entry) in rows.iter().zip(expected) {
        let (place, rest) = (place.get(), rest.get());
        let numbered: Place = serde_json::from_str(place).map_err(wrong)?;
        let posted: Rest = serde_json::from_str(rest).map_err(wrong)?;
        compare(&numbered, &posted, entry)?;
        let hashed = format!("[[\"{}\",{},{}", from.hash, &place[1..], &rest[1..]);
        let hash = format!("{:x}", Sha256::digest(hashed.as_bytes()));
        same("hash of an entry", stored, &hash.as_str())?;
        let (seq, [owned, issued, charged, expired]) = (numbered.0, posted.0);
        same("the postings of an entry, summed", &(owned + issued + charged + expired), &0)?;
        let books = Books {
            owned: from.books.owned + owned,
            issued: from.books.issued + issued,
            charged: from.books.charged + charged,
            expired: from.books.expired + expired,
        };
        *from = Walked { entries: from.entries + 1, seq, hash, books, costs: from.costs };
    }
    Ok(())
}

fn compare(place: &Place, rest: &Rest, entry: &Entry) -> Result<(), String> {
    let (
        (seq, at_ms, stored_kind),
        (postings, [available, held, shortfall], (stored_operation, .., parts, _)),
    ) = (place, rest);
    let [owned, issued, charged, expired] = postings;

    let kind = match entry.kind {
        EntryKind::Grant => "grant",
        EntryKind::Set => "set",
        EntryKind::Delta => "delta",
        EntryKind::Charge => "charge",
        EntryKind::Expire => "expire",
    };
    let numbers =
        [seq, at_ms, owned, issued, charged, expired, available, held, shortfall].map(|number| *number);
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
    same("kind and operation of an entry", &(*stored_kind, *stored_operation), &(kind, operation.as_str()))?;
    same("grants of an entry", parts, &entry.parts)
}
