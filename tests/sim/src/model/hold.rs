//! A hold's life in the model: charged in parts, ended once.

use actors::shared::{Micro, Refusal};

use super::{
    Answer, Charge, EXPIRED_HISTORY_MS, Ended, EntryKind, Given, HOLD_HISTORY_MS, Model, Operation, REDRIVE,
    UsageRow,
};
use crate::command::{Progress, Settle, Used};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldEnd {
    Settled,
    Released,
    Expired,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub id: u32,
    pub end: Option<HoldEnd>,
    pub amount: i64,
    pub charged: i64,
    pub shortfall: i64,
    /// Grant and amount, in the order they are spent.
    pub parts: Vec<(i64, i64)>,
    pub api_key: Option<u8>,
    /// Models that may answer: a bit each.
    pub models: u8,
    pub tokens: i64,
    pub requests: i64,
    /// What it weighed in credits when it was admitted, and what it grew by.
    pub weight_micro: i64,
    pub key: Option<u32>,
    pub job: Option<u32>,
    pub reported: Option<Used>,
    pub created_at_ms: i64,
    pub deadline_ms: i64,
    pub forget_at_ms: i64,
}

impl Hold {
    pub fn held(&self) -> i64 {
        self.parts.iter().map(|part| part.1).sum()
    }

    fn ended(&self, available: i64) -> Option<Answer> {
        let (charged, shortfall) = (self.charged, self.shortfall);
        self.end.map(|end| Answer::Ended(Ended { end, charged, shortfall, available, first: false }))
    }
}

/// Amounts by grant.
type Parts = Vec<(i64, i64)>;

/// Splits `amount` off the front of `parts`.
fn split(parts: &[(i64, i64)], amount: i64) -> (Parts, Parts) {
    let (mut missing, mut front, mut rest) = (amount, Vec::new(), Vec::new());
    for (grant, there) in parts {
        let taken = missing.min(*there);
        missing -= taken;
        front.extend((taken > 0).then_some((*grant, taken)));
        rest.extend((*there > taken).then_some((*grant, there - taken)));
    }
    (front, rest)
}

impl Model {
    /// Sets `amount` aside, by grant.
    pub(super) fn set_aside(&mut self, amount: i64) -> Result<Vec<(i64, i64)>, Refusal> {
        let account = &mut self.state.account;
        if account.available < amount {
            return Err(Refusal::InsufficientCredits {
                available: Micro(account.available),
                needed: Micro(amount),
                updated_at_ms: account.updated_at_ms,
            });
        }
        account.available -= amount;
        account.held += amount;
        Ok(self.state.draw(amount, true))
    }

    pub(super) fn progress(&mut self, asked: &Progress, now_ms: i64) -> Result<Answer, Refusal> {
        self.expire_grants(now_ms);
        let at = self.state.hold(asked.hold).ok_or(Refusal::UnknownHold)?;
        if let Some(ended) = self.state.holds[at].ended(self.state.account.available) {
            return Ok(ended);
        }
        let more = (asked.hold_total - self.state.holds[at].amount).max(0);
        if more > 0 && more <= self.state.account.available {
            let hold = self.state.holds[at].clone();
            self.grow(&hold, more, now_ms)?;
            self.allow_more(&hold, more, asked.used.model, now_ms)?;
            self.note_grown(&hold, more, now_ms);
        }
        let added = self.set_aside(more)?;
        let hold = &mut self.state.holds[at];
        let before = hold.held();
        hold.parts.extend(added);
        hold.amount += more;
        hold.weight_micro += more;
        let due = (asked.charge_total - hold.charged).clamp(0, before + more);
        let (spent, rest) = split(&hold.parts, due);
        hold.charged += due;
        hold.deadline_ms = hold.deadline_ms.max(now_ms + asked.ttl_ms);
        hold.reported = Some(asked.used);
        hold.parts = rest;
        let (hold, held) = (hold.clone(), hold.held());
        let operation = Operation::Part(hold.id, self.state.account.next_seq);
        self.charge(operation, spent, Vec::new(), 0, now_ms);
        self.note_charge(&hold, due, asked.used.model, now_ms);
        self.count_caps(&hold, before - held, due, asked.used.model, now_ms);
        self.watch_balance(now_ms);
        Ok(Answer::Progressed {
            charged: hold.charged,
            held,
            available: self.state.account.available,
            deadline_ms: hold.deadline_ms,
        })
    }

    pub(super) fn settle(&mut self, asked: &Settle, now_ms: i64) -> Result<Answer, Refusal> {
        self.expire_grants(now_ms);
        let at = self.state.hold(asked.hold).ok_or(Refusal::UnknownHold)?;
        if self.state.holds[at].end.is_some() {
            self.note_late(at, asked, now_ms);
            let (hold, available) = (self.state.holds[at].clone(), self.state.account.available);
            // The client may have this answer: its key gives it again, if nobody took the key in between.
            if let (Some(HoldEnd::Expired | HoldEnd::Released), Some(key)) = (hold.end, hold.key) {
                let (id, charged, reply) = (hold.id, hold.charged, asked.reply);
                self.finish(key, id, Given::Settled { hold: id, charged, available, reply }, now_ms);
            }
            return Ok(hold.ended(available).unwrap());
        }
        let mut hold = self.state.holds[at].clone();
        let held = hold.held();
        let due = (asked.charge - hold.charged).max(0);
        let (spent, rest) = split(&hold.parts, due);
        let beyond = (due - held).max(0).min(self.state.account.available);
        let drawn = self.state.draw(beyond, false);
        self.state.account.available -= beyond;
        self.state.unhold(&rest, false);
        let charged = due.min(held) + beyond;
        hold.charged += charged;
        hold.shortfall = due - charged;
        self.charge(Operation::Hold(hold.id), spent, drawn, hold.shortfall, now_ms);
        self.end(at, HoldEnd::Settled, (hold.charged, hold.shortfall), Some(asked.used), now_ms);
        let available = self.state.account.available;
        self.note_charge(&hold, charged, asked.used.model, now_ms);
        self.count_caps(&hold, held, charged, asked.used.model, now_ms);
        self.reconcile(&hold, (asked.used.tokens(), hold.charged), true, now_ms);
        self.watch_balance(now_ms);
        if let Some(key) = hold.key {
            let given =
                Given::Settled { hold: hold.id, charged: hold.charged, available, reply: asked.reply };
            self.finish(key, hold.id, given, now_ms);
        }
        let (charged, shortfall) = (hold.charged, hold.shortfall);
        Ok(Answer::Ended(Ended { end: HoldEnd::Settled, charged, shortfall, available, first: true }))
    }

    pub(super) fn release(&mut self, id: u32, now_ms: i64) -> Result<Answer, Refusal> {
        self.expire_grants(now_ms);
        let at = self.state.hold(id).ok_or(Refusal::UnknownHold)?;
        if let Some(ended) = self.state.holds[at].ended(self.state.account.available) {
            return Ok(ended);
        }
        let hold = self.state.holds[at].clone();
        self.give_back(at, HoldEnd::Released, now_ms);
        let available = self.state.account.available;
        self.count_caps(&hold, hold.held(), 0, None, now_ms);
        // What the provider reported on the way was used, whatever came of the request.
        let tokens = hold.reported.map_or(0, Used::tokens);
        self.reconcile(&hold, (tokens, hold.charged), true, now_ms);
        self.watch_balance(now_ms);
        self.end_key(&hold, now_ms);
        let (end, charged) = (HoldEnd::Released, hold.charged);
        Ok(Answer::Ended(Ended { end, charged, shortfall: 0, available, first: true }))
    }

    /// A key whose work was charged in part stays used, with no reply to give again.
    fn end_key(&mut self, hold: &super::Hold, now_ms: i64) {
        let Some(key) = hold.key else { return };
        let (available, charged) = (self.state.account.available, hold.charged);
        if charged > 0 {
            self.finish(
                key,
                hold.id,
                Given::Settled { hold: hold.id, charged, available, reply: false },
                now_ms,
            );
        } else {
            self.free(key, hold.id);
        }
    }

    /// Ends what is past its deadline; whether there was any.
    pub(super) fn expire_holds(&mut self, now_ms: i64) -> bool {
        let due = |hold: &&super::Hold| hold.end.is_none() && hold.deadline_ms <= now_ms;
        let mut ended: Vec<(i64, u32)> =
            self.state.holds.iter().filter(due).map(|hold| (hold.deadline_ms, hold.id)).collect();
        ended.sort_unstable_by_key(|(deadline_ms, id)| (*deadline_ms, id % REDRIVE, *id));
        let mut changes = Vec::with_capacity(ended.len());
        for (_, id) in &ended {
            let at = self.state.hold(*id).unwrap();
            if let Some(job) = self.state.holds[at].job
                && self.job_owes(job)
            {
                self.end_job_hold(self.job_at(job).unwrap(), now_ms);
                self.expire_job(job, now_ms);
                continue;
            }
            changes.push(self.state.holds[at].clone());
            self.give_back(at, HoldEnd::Expired, now_ms);
        }
        for hold in changes {
            self.count_caps(&hold, hold.held(), 0, None, now_ms);
            let tokens = hold.reported.map_or(0, Used::tokens);
            self.reconcile(&hold, (tokens, hold.charged), false, now_ms);
            if let Some(job) = hold.job {
                self.expire_job(job, now_ms);
            }
            if hold.charged > 0 {
                self.end_key(&hold, now_ms);
            }
        }
        !ended.is_empty()
    }

    fn give_back(&mut self, at: usize, how: HoldEnd, now_ms: i64) {
        let parts = self.state.holds[at].parts.clone();
        self.state.unhold(&parts, false);
        self.end(at, how, (self.state.holds[at].charged, 0), None, now_ms);
    }

    fn end(
        &mut self,
        at: usize,
        how: HoldEnd,
        (charged, shortfall): (i64, i64),
        used: Option<Used>,
        now_ms: i64,
    ) {
        let hold = &mut self.state.holds[at];
        let history_ms = if how == HoldEnd::Expired { EXPIRED_HISTORY_MS } else { HOLD_HISTORY_MS };
        hold.end = Some(how);
        (hold.charged, hold.shortfall) = (charged, shortfall);
        hold.forget_at_ms = now_ms + history_ms;
        hold.parts.clear();
        let (id, api_key) = (hold.id, hold.api_key);
        let event = used.or_else(|| hold.reported.filter(|_| charged > 0));
        self.state.account.open -= 1;
        if let Some(used) = event {
            self.log_usage((id, false), api_key, used, charged, now_ms);
        }
        self.expire_grants(now_ms);
    }

    fn log_usage(
        &mut self,
        (id, late): (u32, bool),
        api_key: Option<u8>,
        used: Used,
        cost: i64,
        now_ms: i64,
    ) {
        let seq = self.state.take_seq();
        let (tokens, model) = (used.tokens(), used.model);
        let cost = Some(cost);
        let created_at_ms = now_ms;
        let row = UsageRow { created_at_ms, seq, id, late, cost, tokens, model, api_key, by_client: false };
        self.logs.usage.push(row);
    }

    fn charge(
        &mut self,
        operation: Operation,
        spent: Vec<(i64, i64)>,
        drawn: Vec<(i64, i64)>,
        shortfall: i64,
        now_ms: i64,
    ) {
        self.state.unhold(&spent, true);
        let parts: Vec<(i64, i64)> = spent.into_iter().chain(drawn).collect();
        let charged: i64 = parts.iter().map(|part| part.1).sum();
        self.state.account.settled += charged;
        if charged > 0 || shortfall > 0 {
            self.append(EntryKind::Charge, -charged, shortfall, operation, parts, now_ms);
        }
    }

    fn note_charge(&mut self, hold: &Hold, amount: i64, model: Option<u8>, now_ms: i64) {
        let charge = Charge { hold: hold.id, at_ms: now_ms, api_key: hold.api_key, model, amount };
        self.logs.charges.push(charge);
    }

    /// Work that ended after its hold expired: one event that cost nothing, and what the house paid.
    fn note_late(&mut self, at: usize, asked: &Settle, now_ms: i64) {
        let hold = &mut self.state.holds[at];
        let unpaid = asked.charge - hold.charged;
        if hold.end == Some(HoldEnd::Expired) && hold.shortfall == 0 && unpaid > 0 {
            hold.shortfall = unpaid;
            let (id, api_key) = (hold.id, hold.api_key);
            // What was charged in part has its event: this one says what came on top.
            let known = hold.reported.filter(|_| hold.charged > 0);
            let rest = |all: i64, known: i64| (all - known).max(0);
            let used = known.map_or(asked.used, |known| Used {
                tokens_in: rest(asked.used.tokens_in, known.tokens_in),
                tokens_out: rest(asked.used.tokens_out, known.tokens_out),
                ..asked.used
            });
            self.log_usage((id, known.is_some()), api_key, used, 0, now_ms);
        }
    }
}
