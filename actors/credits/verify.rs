//! The tenant's own audit: what the account claims, computed again from what is stored beside it.
//!
//! Seen is a change of any entry; of any amount, grant or number of the account; of what open holds hold; of the costs
//! of usage events; of what a cap holds, and of a cap of the whole tenant that spent less than was charged in its
//! period. Not seen, because nothing says it twice: idempotency keys and their replies, tokens and words of usage
//! events, what clients report, what caps of a key or a model spent, meters, settings, notices and ended holds.

use serde::{Deserialize, Serialize};

use super::Account;
use super::account::within;
use super::caps::Cap;
use super::entries::{self, Entry};
use super::grant::{GrantTerms, Part, total};
use super::hold::{self, Owner};
use crate::shared::{Micro, Refusal};
use crate::sql::{Sql, row};

/// Entries one call walks: some milliseconds of one actor. A longer ledger is walked in several calls.
pub const VERIFY_ENTRIES_MAX: u32 = 2_000;
/// Grants that are compared: those that are live, and as many again that should be none.
const REPLAYED_MAX: i64 = 128;
/// Problems that are listed; the first says the most.
const PROBLEMS_MAX: usize = 20;

/// What an audit found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Entries that this call walked.
    pub entries: i64,
    /// The last of them, and its hash: where the next call goes on.
    pub last_seq: i64,
    pub last_hash: String,
    /// The whole chain was walked, and the account compared with its end.
    pub complete: bool,
    pub problems: Vec<String>,
}

/// In the order of its query.
#[derive(Deserialize)]
struct OpenHold {
    amount_micro: Micro,
    parts: Vec<Part>,
    owner: Owner,
    charged_micro: Micro,
}

/// Walks the chain after the entry `from` (zero for the first; `genesis` begins the chain), and at its end
/// compares the account, its grants, the holds, the usage and the caps with the entries and each other.
///
/// # Errors
/// `UnknownEntry` for a `from` that is none; what the database refused. What is found wrong is no error.
pub fn verify(
    sql: &mut impl Sql,
    genesis: &str,
    from: i64,
    limit: u32,
    caps: &[Cap],
) -> Result<Verified, Refusal> {
    let (mut hash, mut owned) = if from == 0 {
        (genesis.to_owned(), Micro::ZERO)
    } else {
        let entry = entries::at(sql, from)?;
        let owned = within(entry.available_micro.plus(entry.held_micro))?;
        (entry.hash, owned)
    };
    let limit = limit.clamp(1, VERIFY_ENTRIES_MAX);
    let page = entries::after(sql, from, limit)?;
    let mut found = Verified { last_seq: from, ..Verified::default() };
    for entry in &page {
        check_entry(&mut found, entry, &hash, owned)?;
        hash.clone_from(&entry.hash);
        owned = entry.available_micro.plus(entry.held_micro).unwrap_or_default();
        found.entries = found.entries.saturating_add(1);
        found.last_seq = entry.seq;
    }
    found.complete = page.len() < usize::try_from(limit).unwrap_or(usize::MAX);
    if found.complete {
        match check_account(sql, &mut found, &hash, owned, caps) {
            Err(Refusal::Broken { detail }) => found.note(detail),
            checked => checked?,
        }
    }
    found.last_hash = hash;
    Ok(found)
}

fn check_entry(found: &mut Verified, entry: &Entry, before: &str, owned: Micro) -> Result<(), Refusal> {
    let seq = entry.seq;
    if entry.hash_after(before)? != entry.hash {
        found.note(format!("entry {seq}: its hash is not that of what it says after the entry before"));
    }
    if entry.books.check().is_err() {
        found.note(format!("entry {seq}: its postings do not sum to zero"));
    }
    let after = entry.available_micro.plus(entry.held_micro);
    if after.is_none() || after != owned.plus(entry.books.owned) {
        found.note(format!("entry {seq}: the balance after it is not the one before and its posting"));
    }
    Ok(())
}

fn check_account(
    sql: &mut impl Sql,
    found: &mut Verified,
    head: &str,
    owned: Micro,
    caps: &[Cap],
) -> Result<(), Refusal> {
    let account = Account::load(sql)?;
    found.expect(account.head == head, "the account does not end the chain");
    found.expect(account.owned()? == owned, "the account owns another balance than the last entry says");
    let books = entries::sums(sql, account.next_seq)?;
    found.expect(books.check().is_ok(), "the books do not sum to zero");
    found.expect(books.owned == owned, "the postings do not add up to the balance");
    found.expect(books.charged == account.settled, "the charges are not what was settled");
    let granted = books.issued.plus(books.expired).map(Micro::negated);
    found.expect(granted == Some(account.granted), "the grants are not what was granted");
    let holds = open_holds(sql)?;
    let mut held = Micro::ZERO;
    let mut charged_open = Micro::ZERO;
    for hold in &holds {
        let left = total(&hold.parts)?;
        held = within(held.plus(left))?;
        charged_open = within(charged_open.plus(hold.charged_micro))?;
        let made = left.plus(hold.charged_micro) == Some(hold.amount_micro);
        found.expect(made, "what is held and was charged of a hold is not its amount");
    }
    found.expect(held == account.held, "what is held is not the sum of the open holds");
    found.expect(
        holds.len() == usize::try_from(account.holds_open).unwrap_or(usize::MAX),
        "holds are miscounted",
    );
    check_grants(sql, found, &account)?;
    for grant in account.live_grants() {
        let of_grant = holds.iter().flat_map(|hold| &hold.parts).filter(|part| part.0 == grant.id);
        let of_grant = total(&of_grant.copied().collect::<Vec<_>>())?;
        found.expect(of_grant == grant.held, "what is held of a grant is not what its holds say");
    }
    let usage: Option<(i64, i64)> = row(
        sql,
        "SELECT json_array(COALESCE(SUM((by_client = 0) * cost_micro), 0), COALESCE(MAX(seq), 0))
         FROM usage_events",
        &[],
    )?;
    let (costs, last_event) = usage.unwrap_or_default();
    let explained = charged_open.plus(Micro(costs));
    found.expect(explained == Some(account.settled), "the usage events do not explain the charges");
    // Every number is that of an entry or of a usage event, and neither is ever deleted.
    let last_number = last_event.max(found.last_seq);
    found.expect(
        account.next_seq == last_number.saturating_add(1),
        "the next number is not after the last one",
    );
    for cap in caps {
        check_spent(sql, found, &account, cap)?;
        let ours = holds.iter().filter(|hold| cap.counts(hold.owner.api_key.as_deref(), &hold.owner.models));
        let parts: Vec<Part> = ours.flat_map(|hold| hold.parts.iter().copied()).collect();
        found.expect(total(&parts)? == cap.held, "a cap counts other holds than are open");
    }
    Ok(())
}

/// Every live grant is what entries filled it with, less what they drew of it, on the terms of the entry that made it.
fn check_grants(sql: &mut impl Sql, found: &mut Verified, account: &Account) -> Result<(), Refusal> {
    let replayed: Option<Vec<(i64, Micro, Option<GrantTerms>)>> = row(
        sql,
        "SELECT json_group_array(json_array(id, amount, json((SELECT terms FROM entries WHERE seq = id)))) FROM
           (SELECT part.value ->> 0 AS id, SUM(CASE WHEN owned_micro > 0 THEN part.value ->> 1 ELSE -(part.value ->> 1) END) AS amount
            FROM entries, json_each(entries.grants) AS part GROUP BY 1 HAVING amount <> 0 LIMIT ?1)",
        &[REPLAYED_MAX.into()],
    )?;
    // Entries of schema version 1 name no grants: what they left became one, without terms of its own.
    let carried: Option<i64> =
        row(sql, "SELECT COALESCE(SUM(owned_micro), 0) FROM entries WHERE grants = '[]'", &[])?;
    let mut carried = Micro(carried.unwrap_or(0));
    let mut replayed = replayed.unwrap_or_default();
    for grant in account.live_grants() {
        let known = replayed.iter().position(|(id, ..)| *id == grant.id).map(|at| replayed.swap_remove(at));
        let (filled, terms) = match known {
            Some((_, filled, Some(terms))) => (filled, terms),
            Some((_, filled, None)) => {
                (within(filled.plus(std::mem::take(&mut carried)))?, GrantTerms::default())
            }
            None => (std::mem::take(&mut carried), GrantTerms::default()),
        };
        let there = grant.left.plus(grant.held);
        found.expect(there == Some(filled), "a grant has another amount than its entries gave it");
        found.expect(grant.terms == terms, "a grant has other terms than its entry gave it");
    }
    for (_, filled, terms) in replayed {
        let rest = if terms.is_none() { filled.plus(std::mem::take(&mut carried)) } else { Some(filled) };
        found.expect(rest == Some(Micro::ZERO), "a grant is gone that has something left");
    }
    found.expect(carried == Micro::ZERO, "what was carried over from version 1 is gone");
    Ok(())
}

/// A cap of the whole tenant has spent what was charged in its period, at the least: a clock that stepped back has it
/// count charges of an earlier time too. Of what a key asked or a model answered, entries say nothing.
fn check_spent(
    sql: &mut impl Sql,
    found: &mut Verified,
    account: &Account,
    cap: &Cap,
) -> Result<(), Refusal> {
    found.expect(cap.spent <= account.settled, "a cap spent more than was ever charged");
    if cap.terms.api_key.is_some() || cap.terms.model.is_some() {
        return Ok(());
    }
    let charged = entries::charged_since(sql, cap.period_start_ms)?;
    found.expect(cap.spent >= charged, "a cap spent less than was charged in its period");
    Ok(())
}

fn open_holds(sql: &mut impl Sql) -> Result<Vec<OpenHold>, Refusal> {
    hold::all_open(sql, "concat('[', amount_micro, ',', parts, ',', owner, ',', charged_micro, ']')")
}

impl Verified {
    fn expect(&mut self, holds: bool, problem: &str) {
        if !holds {
            self.note(problem.to_owned());
        }
    }

    fn note(&mut self, problem: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }
}
