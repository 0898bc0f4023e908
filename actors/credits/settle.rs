//! A hold's life: admitted, charged in parts, and ended exactly once, as settled, released or expired.

use serde::{Deserialize, Serialize};

use super::Account;
use super::account::{broken, within};
use super::entries::{Books, Kind, NewEntry, append};
use super::grant::{Part, split, total};
use super::hold::{self, EndedHold, HoldChange, HoldEnd, HoldRow, Owner};
use super::usage::{self, Usage};
use crate::planted::{self, Bug};
use crate::shared::{Micro, Refusal};
use crate::sql::{Sql, row};

/// Rows one alarm expires or forgets: a transaction of some milliseconds. The alarm comes again for the rest.
const SWEEP_ROWS_MAX: i64 = 500;

/// What is asked of an open hold while its work goes on. Both amounts are totals since the hold was made, so a
/// repeated or late report changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Charge this much in all. No more than is set aside is charged before the end.
    pub charge_total: Micro,
    /// Have set aside this much in all.
    pub hold_total: Micro,
    /// The hold ends at this time at the earliest.
    pub deadline_ms: i64,
}

/// An open hold after some progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progressed {
    pub charged: Micro,
    /// Still set aside.
    pub held: Micro,
    pub available: Micro,
    pub deadline_ms: i64,
}

/// Sets `amount` aside until `deadline_ms`. The caller stores the account, and has looked how many holds are open: those
/// of requests and those of jobs have a limit each.
///
/// # Errors
/// `InsufficientCredits`, `DuplicateOperation`.
pub fn admit(
    sql: &mut impl Sql,
    account: &mut Account,
    id: &str,
    amount: Micro,
    owner: &Owner,
    deadline_ms: i64,
    now_ms: i64,
) -> Result<(), Refusal> {
    let parts = account.set_aside(amount)?;
    hold::insert(sql, id, amount, &parts, owner, deadline_ms, now_ms)?;
    account.holds_open = account.holds_open.saturating_add(1);
    Ok(())
}

/// Charges an open hold in part and sets more aside for it, as far as either is asked; `None` beside the end
/// when the hold had ended before. The caller stores the account.
///
/// # Errors
/// `UnknownHold`; `InsufficientCredits` when more is to be set aside than there is.
pub fn progress(
    sql: &mut impl Sql,
    account: &mut Account,
    id: &str,
    asked: Progress,
    usage: &Usage,
    now_ms: i64,
) -> Result<Result<(Progressed, HoldChange), EndedHold>, Refusal> {
    let mut hold = hold::load(sql, id)?;
    if !hold.is_open() {
        return Ok(Err(hold.ended(account)));
    }
    let before = total(&hold.parts)?;
    let more = within(asked.hold_total.minus(hold.amount_micro))?.max(Micro::ZERO);
    let mut parts = std::mem::take(&mut hold.parts);
    parts.extend(account.set_aside(more)?);
    hold.amount_micro = within(hold.amount_micro.plus(more))?;
    hold.owner.weight.micro = within(hold.owner.weight.micro.plus(more))?;
    let held = within(before.plus(more))?;
    let before_micro = if planted::on(Bug::PartialChargedTwice) { Micro::ZERO } else { hold.charged_micro };
    let due = within(asked.charge_total.minus(before_micro))?.clamp(Micro::ZERO, held);
    let (spent, rest) = split(&parts, due)?;
    let operation = format!("{id}-part-{}", account.next_seq);
    charge(sql, account, &operation, &spent, &[], Micro::ZERO, now_ms)?;
    hold.charged_micro = within(hold.charged_micro.plus(due))?;
    hold.deadline_ms = hold.deadline_ms.max(asked.deadline_ms);
    hold.usage = Some(usage::to_raw(usage)?);
    hold::update(sql, id, &hold, &rest)?;
    let held = total(&rest)?;
    let progressed = Progressed {
        charged: hold.charged_micro,
        held,
        available: account.available,
        deadline_ms: hold.deadline_ms,
    };
    let change = HoldChange {
        id: id.to_owned(),
        owner: hold.owner,
        created_at_ms: hold.created_at_ms,
        unheld: within(before.minus(held))?,
        charged: due,
        charged_total: hold.charged_micro,
        tokens: usage.tokens(),
        end: None,
    };
    Ok(Ok((progressed, change)))
}

/// Ends a hold with a charge of `charge_total` in all, and writes the usage event that says what it was for.
/// The caller stores the account.
///
/// More than is set aside is drawn from the available balance; what is not there is `shortfall`. A hold that
/// expired before is not charged: the house pays. The event is written all the same, with a cost of zero, and
/// what the house paid is the hold's `shortfall`. Of a hold that was released before, nothing is noted. In both
/// cases a change is returned that counts nothing, for whoever keeps the reply.
///
/// # Errors
/// `UnknownHold`, or what the database refused.
pub fn settle(
    sql: &mut impl Sql,
    account: &mut Account,
    id: &str,
    charge_total: Micro,
    usage: &Usage,
    now_ms: i64,
) -> Result<(EndedHold, Option<HoldChange>), Refusal> {
    let mut hold = hold::load(sql, id)?;
    let again = (planted::on(Bug::DoubleSettle) && hold.state == HoldEnd::Settled.name())
        || (planted::on(Bug::ExpiredHoldCharged) && hold.state == HoldEnd::Expired.name());
    if !hold.is_open() && !again {
        note_late(sql, account, id, &mut hold, charge_total, usage, now_ms)?;
        let ended = hold.ended(account);
        // The work was done all the same, so its owner hears of it: its key must give this answer again.
        let late = ended.end != HoldEnd::Settled;
        let change = late.then(|| changed(id, hold, Micro::ZERO, Micro::ZERO, ended.end)).transpose()?;
        return Ok((ended, change));
    }
    let held = total(&hold.parts)?;
    let due = within(charge_total.minus(hold.charged_micro))?.max(Micro::ZERO);
    let (spent, rest) = split(&hold.parts, due)?;
    let beyond = within(due.minus(total(&spent)?))?.min(if planted::on(Bug::OverdrawBeyondAvailable) {
        Micro::MAX
    } else {
        account.available
    });
    let drawn = account.grants.draw(beyond)?;
    account.available = within(account.available.minus(beyond))?;
    let charged = within(total(&spent)?.plus(beyond))?;
    let shortfall =
        if planted::on(Bug::ShortfallNotRecorded) { Micro::ZERO } else { within(due.minus(charged))? };
    account.end_aside(&rest, false)?;
    charge(sql, account, id, &spent, &drawn, shortfall, now_ms)?;
    let all = within(hold.charged_micro.plus(charged))?;
    end(sql, account, id, &hold, (HoldEnd::Settled, all, shortfall), Some(usage), now_ms)?;
    let change = changed(id, hold, held, charged, HoldEnd::Settled)?;
    let available = account.available;
    Ok((EndedHold { end: HoldEnd::Settled, charged: all, shortfall, available, first: true }, Some(change)))
}

/// Ends a hold without a further charge. The caller stores the account.
///
/// # Errors
/// `UnknownHold`, or what the database refused.
pub fn release(
    sql: &mut impl Sql,
    account: &mut Account,
    id: &str,
    now_ms: i64,
) -> Result<(EndedHold, Option<HoldChange>), Refusal> {
    let hold = hold::load(sql, id)?;
    let again = planted::on(Bug::HoldReleasedTwice) && hold.state == HoldEnd::Released.name();
    if !hold.is_open() && !again {
        return Ok((hold.ended(account), None));
    }
    let change = give_back(sql, account, id, hold, HoldEnd::Released, now_ms)?;
    let (charged, available) = (change.1, account.available);
    let ended = EndedHold { end: HoldEnd::Released, charged, shortfall: Micro::ZERO, available, first: true };
    Ok((ended, Some(change.0)))
}

/// Holds whose deadline has passed, and the job of each that is one's; the longest over first, `SWEEP_ROWS_MAX` at most.
///
/// # Errors
/// What the database refused.
pub fn due(sql: &mut impl Sql, now_ms: i64) -> Result<Vec<(String, Option<String>)>, Refusal> {
    let due = row(
        sql,
        "SELECT json_group_array(json_array(id, owner ->> '$.job')) FROM (SELECT id, owner FROM holds
           WHERE state = 'open' AND deadline_ms <= ?1 ORDER BY deadline_ms LIMIT ?2)",
        &[
            now_ms.saturating_sub(i64::from(planted::on(Bug::AlarmSkipsDueHolds))).into(),
            SWEEP_ROWS_MAX.into(),
        ],
    )?;
    Ok(due.unwrap_or_default())
}

/// Ends one of them. The caller stores the account.
///
/// # Errors
/// What the database refused.
pub fn expire(
    sql: &mut impl Sql,
    account: &mut Account,
    id: &str,
    now_ms: i64,
) -> Result<HoldChange, Refusal> {
    let hold = hold::load(sql, id)?;
    Ok(give_back(sql, account, id, hold, HoldEnd::Expired, now_ms)?.0)
}

/// Gives back what is set aside; the change, and what was charged before.
fn give_back(
    sql: &mut impl Sql,
    account: &mut Account,
    id: &str,
    hold: HoldRow,
    how: HoldEnd,
    now_ms: i64,
) -> Result<(HoldChange, Micro), Refusal> {
    let held = total(&hold.parts)?;
    if !planted::on(Bug::LostRelease) {
        account.end_aside(&hold.parts, false)?;
    }
    let charged = hold.charged_micro;
    end(sql, account, id, &hold, (how, charged, Micro::ZERO), None, now_ms)?;
    Ok((changed(id, hold, held, Micro::ZERO, how)?, charged))
}

fn changed(
    id: &str,
    hold: HoldRow,
    unheld: Micro,
    charged: Micro,
    how: HoldEnd,
) -> Result<HoldChange, Refusal> {
    let HoldRow { owner, created_at_ms, charged_micro, usage, .. } = hold;
    let tokens = usage.map_or(Ok(0), |reported| usage::from_raw(&reported).map(|usage| usage.tokens()))?;
    let charged_total = within(charged_micro.plus(charged))?;
    let (id, end) = (id.to_owned(), Some(how));
    Ok(HoldChange { id, owner, created_at_ms, unheld, charged, charged_total, tokens, end })
}

/// Marks the hold, counts it out, writes its usage, and lets go what was only held together by it.
fn end(
    sql: &mut impl Sql,
    account: &mut Account,
    id: &str,
    hold: &HoldRow,
    (how, charged, shortfall): (HoldEnd, Micro, Micro),
    usage: Option<&Usage>,
    now_ms: i64,
) -> Result<(), Refusal> {
    hold::mark(sql, id, how, charged, shortfall, now_ms)?;
    let open = account.holds_open.checked_sub(1);
    account.holds_open = open.ok_or_else(|| broken("more holds ended than were open"))?;
    let api_key = hold.owner.api_key.as_deref();
    match (usage, &hold.usage) {
        (Some(usage), _) => usage::record(sql, account, id, (usage, api_key), charged, now_ms)?,
        (None, Some(reported)) if charged > Micro::ZERO => {
            let usage = usage::from_raw(reported)?;
            usage::record(sql, account, id, (&usage, api_key), charged, now_ms)?;
        }
        (None, _) => {}
    }
    // What came back may be of a grant whose time was over while it was held.
    account.expire_grants(sql, now_ms)
}

/// Books a charge: `held` was set aside for it, `drawn` was taken from what was available.
fn charge(
    sql: &mut impl Sql,
    account: &mut Account,
    operation: &str,
    held: &[Part],
    drawn: &[Part],
    shortfall: Micro,
    now_ms: i64,
) -> Result<(), Refusal> {
    account.end_aside(held, true)?;
    let parts: Vec<Part> = held.iter().chain(drawn).copied().collect();
    let charged = total(&parts)?;
    account.settled = within(account.settled.plus(charged))?;
    if charged == Micro::ZERO && shortfall == Micro::ZERO {
        return Ok(());
    }
    let books = Books { owned: charged.negated(), charged, ..Books::default() };
    let entry = NewEntry { shortfall, grants: &parts, ..NewEntry::new(Kind::Charge, books, operation) };
    append(sql, account, &entry, now_ms).map(|_seq| ())
}

/// Work that ended after its hold did: its event, once. What was charged in part has an event already; the rest is one
/// of its own then, so that no token is in two.
fn note_late(
    sql: &mut impl Sql,
    account: &mut Account,
    id: &str,
    hold: &mut HoldRow,
    charge_total: Micro,
    usage: &Usage,
    now_ms: i64,
) -> Result<(), Refusal> {
    let unpaid = within(charge_total.minus(hold.charged_micro))?;
    let noted = hold.shortfall_micro > Micro::ZERO && !planted::on(Bug::LateWorkNotedTwice);
    if hold.state != HoldEnd::Expired.name() || noted || unpaid <= Micro::ZERO {
        return Ok(());
    }
    let api_key = hold.owner.api_key.as_deref();
    match hold.usage.as_ref().filter(|_| hold.charged_micro > Micro::ZERO) {
        Some(reported) => {
            let rest = usage.beyond(&usage::from_raw(reported)?);
            usage::record(sql, account, &format!("{id}-late"), (&rest, api_key), Micro::ZERO, now_ms)?;
        }
        None => usage::record(sql, account, id, (usage, api_key), Micro::ZERO, now_ms)?,
    }
    sql.execute("UPDATE holds SET shortfall_micro = ?2 WHERE id = ?1", &[id.into(), unpaid.0.into()])?;
    // The first answer says it too: every repetition gives the same one.
    hold.shortfall_micro = unpaid;
    Ok(())
}

/// Forgets holds that ended long ago, `SWEEP_ROWS_MAX` at most.
///
/// # Errors
/// What the database refused.
pub fn forget_ended(sql: &mut impl Sql, now_ms: i64) -> Result<(), Refusal> {
    sql.execute(
        "DELETE FROM holds WHERE id IN (SELECT id FROM holds
           WHERE state <> 'open' AND forget_at_ms <= ?1 ORDER BY forget_at_ms LIMIT ?2)",
        &[now_ms.into(), SWEEP_ROWS_MAX.into()],
    )?;
    Ok(())
}

/// When the next hold expires.
pub const HOLD_DUE_AT_MS: &str = "SELECT MIN(deadline_ms) FROM holds WHERE state = 'open'";

/// When the next ended hold may be forgotten.
pub const HOLD_FORGOTTEN_AT_MS: &str = "SELECT MIN(forget_at_ms) FROM holds WHERE state <> 'open'";
