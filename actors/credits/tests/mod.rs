//! The rules of credits on the SQL that ships, each topic in its file.

mod caps;
mod entries;
mod grants;
mod holds;
mod progress;
mod schedules;
mod usage;
mod verify;

use super::*;
use crate::shared::{Micro, Refusal, TenantId};
use crate::sql::{Sql, row};
use crate::sqlite::Sqlite;

const NOW_MS: i64 = 1_000_000;
const TTL_MS: i64 = 1_000;
const GENESIS: &str = "genesis";
/// Sequence numbers that come to be before a test's own: the opening grant has one.
const OPENING_SEQ: i64 = 1;

fn due_at_ms(sql: &mut Sqlite) -> Result<Option<i64>, Refusal> {
    row(sql, HOLD_DUE_AT_MS, &[])
}

fn forget_at_ms(sql: &mut Sqlite) -> Result<Option<i64>, Refusal> {
    row(sql, HOLD_FORGOTTEN_AT_MS, &[])
}

fn me() -> TenantId {
    TenantId::Email("me@x.io".to_owned())
}

fn terms(kind: GrantKind, priority: i64, expires_at_ms: Option<i64>) -> GrantTerms {
    GrantTerms { kind, priority, expires_at_ms }
}

fn until(expires_at_ms: i64) -> GrantTerms {
    GrantTerms { expires_at_ms: Some(expires_at_ms), ..GrantTerms::default() }
}

fn total(charge: i64) -> Progress {
    Progress { charge_total: Micro(charge), hold_total: Micro::ZERO, deadline_ms: 0 }
}

fn tokens(tokens_in: i64, tokens_out: i64) -> Usage {
    Usage { tokens_in: Some(tokens_in), tokens_out: Some(tokens_out), ..Usage::default() }
}

/// One tenant's ledger, each command in a transaction of its own as the actor runs it.
struct Ledger {
    sql: Sqlite,
}

impl Ledger {
    fn with_tables() -> Self {
        let mut sql = Sqlite::in_memory().unwrap();
        sql.execute(SCHEMA, &[]).unwrap();
        Self { sql }
    }

    fn new(available: i64) -> Self {
        let mut ledger = Self::with_tables();
        let opening = Opening { amount: Micro(available), terms: GrantTerms::default() };
        ledger.sql.transaction(|sql| open(sql, GENESIS, opening, NOW_MS)).unwrap();
        ledger
    }

    fn run<T>(
        &mut self,
        now_ms: i64,
        command: impl FnOnce(&mut Sqlite, &mut Account) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        self.sql.transaction(|sql| {
            let mut account = Account::load_at(sql, now_ms)?;
            let done = command(sql, &mut account)?;
            account.store(sql)?;
            Ok(done)
        })
    }

    fn admit(&mut self, id: &str, amount: i64, now_ms: i64) -> Result<(), Refusal> {
        let owner = Owner { route: "/api/si/ask".to_owned(), ..Owner::default() };
        self.admit_as(id, amount, &owner, now_ms)
    }

    fn admit_as(&mut self, id: &str, amount: i64, owner: &Owner, now_ms: i64) -> Result<(), Refusal> {
        self.run(now_ms, |sql, account| {
            admit(sql, account, id, Micro(amount), owner, now_ms + TTL_MS, now_ms)
        })
    }

    fn hold(&mut self, id: &str, amount: i64) {
        self.admit(id, amount, NOW_MS).unwrap();
    }

    fn progress(
        &mut self,
        id: &str,
        asked: Progress,
        usage: &Usage,
        now_ms: i64,
    ) -> Result<Result<(Progressed, HoldChange), EndedHold>, Refusal> {
        self.run(now_ms, |sql, account| progress(sql, account, id, asked, usage, now_ms))
    }

    fn settle(&mut self, id: &str, charge: i64, now_ms: i64) -> (EndedHold, Option<HoldChange>) {
        self.run(now_ms, |sql, account| settle(sql, account, id, Micro(charge), &Usage::default(), now_ms))
            .unwrap()
    }

    fn charge(&mut self, id: &str, charge: i64) -> EndedHold {
        self.settle(id, charge, NOW_MS + 5).0
    }

    fn release(&mut self, id: &str, now_ms: i64) -> (EndedHold, Option<HoldChange>) {
        self.run(now_ms, |sql, account| release(sql, account, id, now_ms)).unwrap()
    }

    fn expire(&mut self, now_ms: i64) -> Vec<HoldChange> {
        self.run(now_ms, |sql, account| {
            let due = due(sql, now_ms)?;
            due.iter().map(|(id, _)| expire(sql, account, id, now_ms)).collect::<Result<Vec<_>, _>>()
        })
        .unwrap()
    }

    fn adjust(&mut self, adjustment: Adjustment, now_ms: i64) -> Result<Adjusted, Refusal> {
        let cause = Cause { operation: "op", reason: Some("why"), reference: Some("invoice-7") };
        self.sql.transaction(|sql| adjust(sql, adjustment, cause, now_ms))
    }

    fn grant(&mut self, amount: i64, terms: GrantTerms) -> i64 {
        let adjusted = self.adjust(Adjustment::Grant(Micro(amount), terms), NOW_MS).unwrap();
        adjusted.account.next_seq - 1
    }

    fn account(&mut self) -> Account {
        Account::load(&mut self.sql).unwrap()
    }

    /// Available and held.
    fn balance(&mut self) -> (i64, i64) {
        let account = self.account();
        (account.available.0, account.held.0)
    }

    /// Id, what is left and what is held of each live grant, in the order of spending.
    fn grants(&mut self) -> Vec<(i64, i64, i64)> {
        self.account().live_grants().map(|grant| (grant.id, grant.left.0, grant.held.0)).collect()
    }

    fn entries(&mut self) -> Vec<Entry> {
        let mut entries = list_entries(&mut self.sql, &me(), 100, None).unwrap().items;
        entries.reverse();
        entries
    }

    fn usage(&mut self) -> Vec<UsageEvent> {
        let filter = UsageFilter { limit: 100, ..UsageFilter::default() };
        list_usage(&mut self.sql, &me(), &filter).unwrap().items
    }

    fn number(&mut self, query: &str) -> i64 {
        self.sql.text(query, &[]).unwrap().unwrap().parse().unwrap()
    }

    fn verify(&mut self) -> Verified {
        verify(&mut self.sql, GENESIS, 0, VERIFY_ENTRIES_MAX, &[]).unwrap()
    }

    /// Changes the database as nobody should, whatever its checks say.
    fn tamper(&mut self, statement: &str) {
        let statement = format!("PRAGMA ignore_check_constraints = ON; {statement}");
        self.sql.execute(&statement, &[]).unwrap();
    }
}
