//! May this request run? Its tier, every budget, every cap, the number in flight and the hold, in one transaction.

use super::command::{Admission, Admitted};
use super::idempotency::{self, KEY_TTL_MS, Keeping, Seen};
use super::limits::LimitsRow;
use super::{Actor, Idempotency, Policy, Reply};
use crate::credits::{self, Account, caps};
use crate::planted::{self, Bug};
use crate::rate::{self, BudgetLeft};
use crate::shared::Refusal;
use crate::sql::Sql;

/// Admits a request, or answers it with the first one's reply. A replay costs nothing and counts against nothing.
///
/// The first refusal by a cap in its period is a reply: it is committed, with the cap's mark and its notice, and with
/// what was over anyway. Every other one undoes all.
///
/// # Errors
/// Every reason not to run; then nothing is counted.
pub(super) fn admit(
    sql: &mut impl Sql,
    actor: &Actor,
    policy: &Policy,
    mut asked: Admission,
    now_ms: i64,
) -> Result<(Reply, i64), Refusal> {
    let limits = LimitsRow::load(sql, actor)?;
    let key = key_of(&asked, &limits);
    if let Some((asked, _)) = &key
        && !planted::on(Bug::KeyNotLookedUp)
    {
        match idempotency::look_up(sql, asked, now_ms)? {
            Seen::Done(stored) => return Ok((Reply::Replay(stored), i64::MAX)),
            Seen::Free => idempotency::make_room(sql)?,
        }
    }
    asked.owner.idempotency_key = key.as_ref().map(|(key, _)| key.key.clone());
    let mut books = Books { account: Account::load_at(sql, now_ms)?, limits };
    let counted = match set_aside(sql, (actor, policy), &mut books, &mut asked, now_ms)? {
        Ok(counted) => counted,
        Err(refusal) => {
            let due_ms = books.store(sql)?;
            return Ok((Reply::Refused(refusal), due_ms));
        }
    };
    let Books { mut account, mut limits } = books;
    let deadline_ms = now_ms.saturating_add(asked.ttl_ms);
    account.store(sql)?;
    if let Err(refusal) = limits.store(sql)
        && !planted::on(Bug::HalfCommitted)
    {
        return Err(refusal);
    }
    if let Some((key, ttl_ms)) = &key {
        let keeping = Keeping { ttl_ms: *ttl_ms, under_way_ms: asked.ttl_ms };
        idempotency::take(sql, key, &asked.hold, keeping, now_ms)?;
    }
    let admitted = Admitted {
        held: asked.amount,
        available: account.available,
        granted: account.granted,
        deadline_ms,
        models: counted.models,
        budgets: counted.budgets,
    };
    // A hold that ended here may have given back what is left of a grant that ends sooner.
    let due_ms = if planted::on(Bug::AlarmNotAskedFor) { i64::MAX } else { deadline_ms };
    Ok((Reply::Admitted(admitted), due_ms.min(account.next_expiry_ms()).min(limits.due_ms)))
}

/// The two rows that a command reads and writes whole.
pub(super) struct Books {
    pub account: Account,
    pub limits: LimitsRow,
}

impl Books {
    pub fn load(sql: &mut impl Sql, actor: &Actor, now_ms: i64) -> Result<Self, Refusal> {
        Ok(Self { limits: LimitsRow::load(sql, actor)?, account: Account::load_at(sql, now_ms)? })
    }

    /// Writes both; when something of them is due.
    pub fn store(&mut self, sql: &mut impl Sql) -> Result<i64, Refusal> {
        self.account.store(sql)?;
        self.limits.store(sql)?;
        Ok(self.limits.due_ms.min(self.account.next_expiry_ms()))
    }
}

/// Counts what is asked everywhere it counts and sets its credit aside; the caller stores the books. The inner refusal
/// is one that is told and committed.
///
/// # Errors
/// Every reason not to run. Nothing is counted or set aside then, but what was over has ended: who goes on all the same
/// stores the books.
pub(super) fn set_aside(
    sql: &mut impl Sql,
    (actor, policy): (&Actor, &Policy),
    books: &mut Books,
    asked: &mut Admission,
    now_ms: i64,
) -> Result<Result<Counted, Refusal>, Refusal> {
    let Books { account, limits } = books;
    let counted = match count(sql, actor, policy, limits, account, asked, now_ms) {
        // The alarm may be late: what is over must refuse nobody.
        Err(refusal)
            if waits_for_holds(&refusal)
                && super::alarm::expire(sql, actor, policy, limits, account, now_ms)? =>
        {
            count(sql, actor, policy, limits, account, asked, now_ms)
        }
        other => other,
    };
    let first = tell_used_up(sql, limits, asked, &counted, now_ms)?;
    let counted = match counted {
        Err(refusal) if first => return Ok(Err(refusal)),
        other => other?,
    };
    asked.owner.models.clone_from(&counted.models);
    let deadline_ms = now_ms.saturating_add(asked.ttl_ms);
    credits::admit(sql, account, &asked.hold, asked.amount, &asked.owner, deadline_ms, now_ms)?;
    Ok(Ok(counted))
}

/// The key a client gave, or what its request says of itself when the tenant takes two alike for one; and how
/// long it is remembered.
fn key_of(asked: &Admission, limits: &LimitsRow) -> Option<(Idempotency, i64)> {
    if let Some(key) = &asked.idempotency {
        return Some((key.clone(), KEY_TTL_MS));
    }
    let window_ms = limits.settings.fingerprint_window_ms;
    let digest = asked.fingerprint.as_ref().filter(|_| window_ms > 0)?;
    let of_key = asked.owner.api_key.as_deref().unwrap_or_default();
    let key = Idempotency { key: format!("fingerprint:{of_key}:{digest}"), body_hash: digest.clone() };
    Some((key, window_ms))
}

/// Tells the owner of caps that refuse the request, or a model of it while another one may answer; whether any does for
/// the first time in its period. What something else refused is told nobody.
fn tell_used_up(
    sql: &mut impl Sql,
    limits: &mut LimitsRow,
    asked: &Admission,
    counted: &Result<Counted, Refusal>,
    now_ms: i64,
) -> Result<bool, Refusal> {
    if !matches!(counted, Ok(_) | Err(Refusal::CapReached { .. })) {
        return Ok(false);
    }
    let of_request = (asked.owner.api_key.as_deref(), asked.owner.models.as_slice());
    limits.tell_used_up(sql, asked.amount, of_request, now_ms)
}

pub(super) struct Counted {
    models: Vec<String>,
    budgets: Vec<BudgetLeft>,
}

/// Counts the request everywhere it counts, and looks whether its hold can be made. On `Err` the limits are as
/// they were.
fn count(
    sql: &mut impl Sql,
    actor: &Actor,
    policy: &Policy,
    limits: &mut LimitsRow,
    account: &Account,
    asked: &Admission,
    now_ms: i64,
) -> Result<Counted, Refusal> {
    let own = limits.effective(policy, &actor.tenant);
    let (weight, amount) = (asked.owner.weight, asked.amount);
    let key = asked.owner.api_key.as_deref();
    let of_key = key.and_then(|key| Some((key, limits.settings.keys.get(key)?)));
    if let Some(tier) = &asked.tier {
        own.allow_tier(tier)?;
        of_key.map_or(Ok(()), |(_, limits)| limits.allow_tier(tier))?;
    }
    let mut counters = limits.counters.clone();
    // A job that waits is not in flight, and one that runs has limits of its own.
    let is_job = asked.owner.job.is_some();
    let open = if is_job { 0 } else { limits.in_flight(account) };
    let in_flight = i64::from(open);
    let mut budgets = rate::admit(&mut counters.meters, &own, None, weight, in_flight, now_ms);
    if let Some((key, limits)) = of_key {
        let counts = limits.in_flight.is_some() && !is_job;
        let in_flight = if counts { credits::open_of_key(sql, key)? } else { 0 };
        let more = rate::admit(&mut counters.meters, limits, Some(key), weight, in_flight, now_ms);
        budgets = rate::both(budgets, more);
    }
    let budgets = budgets?;
    let models = caps::admit(&mut counters.caps, amount, key, &asked.owner.models, now_ms)?;
    if account.available < amount {
        return Err(Refusal::InsufficientCredits {
            available: account.available,
            needed: amount,
            updated_at_ms: account.updated_at_ms,
        });
    }
    if open >= credits::HOLDS_OPEN_MAX {
        return Err(Refusal::TooManyHolds { limit: credits::HOLDS_OPEN_MAX });
    }
    limits.counters = counters;
    Ok(Counted { models, budgets })
}

/// Whether the end of a hold could change this answer.
fn waits_for_holds(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::InsufficientCredits { .. } | Refusal::TooManyHolds { .. } | Refusal::CapReached { .. } => {
            true
        }
        Refusal::RateLimited { window_ms, .. } => *window_ms == 0,
        _ => false,
    }
}
