//! The account, its grants and its ledger.

use actors::shared::Refusal;

use super::{Answer, DAY_MS, Given, Model, State};
use crate::command::{Adjust, Change, Cmd, Record};
use crate::job_command::JobCmd;

/// The most an account may own: a thousand million credits.
const MICRO_MAX: i64 = 1_000_000_000_000_000;
const GRANTS_LIVE_MAX: usize = 64;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    pub available: i64,
    pub held: i64,
    pub granted: i64,
    pub settled: i64,
    pub open: i64,
    pub next_seq: i64,
    pub updated_at_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    pub id: i64,
    pub promotional: bool,
    pub priority: i64,
    pub expires_at_ms: Option<i64>,
    pub left: i64,
    pub held: i64,
}

impl Grant {
    /// Lower priority number, then soonest expiring, then promotional, then oldest.
    pub fn rank(&self) -> (i64, i64, bool, i64) {
        (self.priority, self.expires_at_ms.unwrap_or(i64::MAX), !self.promotional, self.id)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    Grant,
    Set,
    Delta,
    Charge,
    Expire,
}

/// What is behind an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Opening,
    Adjust(u32),
    Hold(u32),
    /// A part of a hold's charge, and the entry's own number.
    Part(u32, i64),
    /// A grant, and the entry's own number.
    ExpiryOf(i64, i64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub seq: i64,
    pub at_ms: i64,
    pub kind: EntryKind,
    pub owned: i64,
    pub issued: i64,
    pub charged: i64,
    pub expired: i64,
    pub available: i64,
    pub held: i64,
    pub shortfall: i64,
    pub operation: Operation,
    pub parts: Vec<(i64, i64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageRow {
    pub created_at_ms: i64,
    pub seq: i64,
    /// Our own events have the id of their hold.
    pub id: u32,
    /// What came after its hold had expired, beside what was charged of it before.
    pub late: bool,
    pub cost: Option<i64>,
    pub tokens: i64,
    pub model: Option<u8>,
    pub api_key: Option<u8>,
    pub by_client: bool,
}

impl State {
    pub fn take_seq(&mut self) -> i64 {
        let seq = self.account.next_seq;
        self.account.next_seq += 1;
        seq
    }

    /// Takes up to `amount` from what is left, the first to spend first. What is taken stays held when `hold`.
    pub fn draw(&mut self, amount: i64, hold: bool) -> Vec<(i64, i64)> {
        let (mut missing, mut parts) = (amount, Vec::new());
        while missing > 0 {
            let spendable = self.grants.iter_mut().filter(|grant| grant.left > 0);
            let Some(first) = spendable.min_by_key(|grant| grant.rank()) else { break };
            let part = first.left.min(missing);
            first.left -= part;
            first.held += if hold { part } else { 0 };
            missing -= part;
            parts.push((first.id, part));
        }
        self.drop_empty();
        parts
    }

    pub fn unhold(&mut self, parts: &[(i64, i64)], spent: bool) {
        for (id, amount) in parts {
            let grant = self.grants.iter_mut().find(|grant| grant.id == *id).expect("a held grant is there");
            grant.held -= amount;
            grant.left += if spent { 0 } else { *amount };
            self.account.held -= amount;
            self.account.available += if spent { 0 } else { *amount };
        }
        self.drop_empty();
    }

    fn drop_empty(&mut self) {
        self.grants.retain(|grant| grant.left > 0 || grant.held > 0);
    }

    fn give(
        &mut self,
        promotional: bool,
        priority: i64,
        expires_at_ms: Option<i64>,
        amount: i64,
    ) -> Result<i64, Refusal> {
        let id = self.account.next_seq;
        let alike = |grant: &&mut Grant| {
            (grant.promotional, grant.priority, grant.expires_at_ms) == (promotional, priority, expires_at_ms)
        };
        if let Some(grant) = self.grants.iter_mut().find(alike) {
            grant.left += amount;
            return Ok(grant.id);
        }
        if self.grants.len() >= GRANTS_LIVE_MAX {
            return Err(Refusal::TooManyGrants { limit: 64 });
        }
        self.grants.push(Grant { id, promotional, priority, expires_at_ms, left: amount, held: 0 });
        Ok(id)
    }
}

impl Model {
    pub(super) fn append(
        &mut self,
        kind: EntryKind,
        moved: i64,
        shortfall: i64,
        operation: Operation,
        parts: Vec<(i64, i64)>,
        now_ms: i64,
    ) {
        let of = |wanted: &[EntryKind]| if wanted.contains(&kind) { -moved } else { 0 };
        let entry = Entry {
            seq: self.state.take_seq(),
            at_ms: now_ms,
            kind,
            owned: moved,
            issued: of(&[EntryKind::Grant, EntryKind::Set, EntryKind::Delta]),
            charged: of(&[EntryKind::Charge]),
            expired: of(&[EntryKind::Expire]),
            available: self.state.account.available,
            held: self.state.account.held,
            shortfall,
            operation,
            parts,
        };
        self.logs.entries.push(entry);
        self.state.account.updated_at_ms = self.state.account.updated_at_ms.max(now_ms);
    }

    /// What a tenant begins with, and when that ends.
    pub(super) fn opening(&self, now_ms: i64) -> (i64, Option<i64>) {
        let amount = if self.tenant.is_guest() { self.policy.guest_grant.0 } else { 0 };
        (amount, Some(now_ms + self.policy.guest_grant_ttl_ms))
    }

    /// The first change opens the actor; a hold that no opening grant covers does not.
    pub(super) fn open(&mut self, cmd: &Cmd, now_ms: i64) -> Result<(), Refusal> {
        let (amount, expires_at_ms) = self.opening(now_ms);
        let asked = match cmd {
            Cmd::Admit(asked) => asked.amount,
            Cmd::Job(JobCmd::Create(spec)) => spec.amount,
            _ => 0,
        };
        if asked > amount {
            let (available, needed) = (actors::shared::Micro(amount), actors::shared::Micro(asked));
            return Err(Refusal::InsufficientCredits { available, needed, updated_at_ms: now_ms });
        }
        self.state.opened = true;
        self.state.account = Account { next_seq: 1, updated_at_ms: now_ms, ..Account::default() };
        if amount > 0 {
            let grant = self.state.give(true, 100, expires_at_ms, amount)?;
            self.state.account.available += amount;
            self.state.account.granted += amount;
            self.append(EntryKind::Grant, amount, 0, Operation::Opening, vec![(grant, amount)], now_ms);
        }
        Ok(())
    }

    /// What is left of grants that are over leaves the account, each with an entry, in the order of spending.
    pub(super) fn expire_grants(&mut self, now_ms: i64) {
        let over =
            |grant: &&Grant| grant.left > 0 && grant.expires_at_ms.is_some_and(|at_ms| at_ms <= now_ms);
        if !self.state.grants.iter().any(|grant| over(&grant)) {
            return;
        }
        let mut ended: Vec<Grant> = self.state.grants.iter().filter(over).copied().collect();
        ended.sort_by_key(Grant::rank);
        for Grant { id, left, .. } in ended {
            let grant = self.state.grants.iter_mut().find(|grant| grant.id == id).unwrap();
            grant.left = 0;
            self.state.account.available -= left;
            self.state.account.granted -= left;
            let operation = Operation::ExpiryOf(id, self.state.account.next_seq);
            self.append(EntryKind::Expire, -left, 0, operation, vec![(id, left)], now_ms);
        }
        self.state.drop_empty();
    }

    pub(super) fn adjust(&mut self, asked: &Adjust, now_ms: i64) -> Result<Answer, Refusal> {
        if let Some(Given::Adjusted { account, shortfall }) = self.look_up(asked.key, now_ms)? {
            return Ok(Answer::Adjusted { account, shortfall, replayed: true });
        }
        self.expire_grants(now_ms);
        let before = self.state.account.available;
        let (kind, target, terms) = match asked.change {
            Change::Set(amount) => (EntryKind::Set, amount, (false, 100, None)),
            Change::Delta(amount) => (EntryKind::Delta, before + amount, (false, 100, None)),
            Change::Grant { amount, promotional, priority, expires_at_ms } => {
                check_terms(priority, expires_at_ms, now_ms)?;
                (EntryKind::Grant, before + amount, (promotional, priority, expires_at_ms))
            }
        };
        let nothing = matches!(asked.change, Change::Grant { amount, .. } if amount <= 0);
        if target.abs() > MICRO_MAX || nothing || (kind == EntryKind::Set && target < 0) {
            return Err(Refusal::InvalidAmount);
        }
        let moved = target.max(0) - before;
        let shortfall = target.max(0) - target;
        let parts = if moved > 0 {
            vec![(self.state.give(terms.0, terms.1, terms.2, moved)?, moved)]
        } else {
            self.state.draw(-moved, false)
        };
        if (self.state.account.granted + moved).abs() > MICRO_MAX {
            return Err(Refusal::InvalidAmount);
        }
        self.state.account.available += moved;
        self.state.account.granted += moved;
        self.append(kind, moved, shortfall, Operation::Adjust(asked.operation), parts, now_ms);
        let account = self.state.account;
        self.watch_balance(now_ms);
        if let Some(key) = asked.key {
            self.remember(key, Given::Adjusted { account, shortfall }, now_ms);
        }
        Ok(Answer::Adjusted { account, shortfall, replayed: false })
    }

    /// A client's own event: it counts as a request, and debits nothing.
    pub(super) fn record(&mut self, asked: &Record, now_ms: i64) -> Result<Answer, Refusal> {
        let shown = |row: UsageRow, replayed| Answer::Recorded {
            id: row.id,
            created_at_ms: row.created_at_ms,
            seq: row.seq,
            cost: row.cost,
            replayed,
        };
        if let Some(Given::Recorded(at)) = self.look_up(asked.key, now_ms)? {
            return Ok(shown(self.logs.usage[at], true));
        }
        self.count_report(now_ms)?;
        let known = self.state.client_events.iter().find(|(id, _)| *id == asked.id);
        let at = match known {
            Some((_, at)) => *at,
            None => {
                let at = self.logs.usage.len();
                self.logs.usage.push(UsageRow {
                    created_at_ms: asked.created_at_ms.unwrap_or(now_ms),
                    seq: self.state.take_seq(),
                    id: asked.id,
                    late: false,
                    cost: asked.cost,
                    tokens: 0,
                    model: None,
                    api_key: None,
                    by_client: true,
                });
                self.state.client_events.push((asked.id, at));
                at
            }
        };
        if let Some(key) = asked.key {
            self.remember(key, Given::Recorded(at), now_ms);
        }
        Ok(shown(self.logs.usage[at], false))
    }
}

fn check_terms(priority: i64, expires_at_ms: Option<i64>, now_ms: i64) -> Result<(), Refusal> {
    if !(0..=1_000).contains(&priority) {
        let expected = "a whole number from 0 to 1000".to_owned();
        return Err(Refusal::InvalidSetting { field: "priority".to_owned(), expected });
    }
    if expires_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
        let expected = "a time to come".to_owned();
        return Err(Refusal::InvalidSetting { field: "expires_at".to_owned(), expected });
    }
    Ok(())
}

/// The day that holds `at_ms`, counted from 1970.
pub(super) const fn day(at_ms: i64) -> i64 {
    at_ms.div_euclid(DAY_MS)
}
