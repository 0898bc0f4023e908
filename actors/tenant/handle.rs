//! One command, one transaction: what each command does to the database, and what is due afterwards.

use serde::Serialize;
use serde_json::value::RawValue;

use super::command::LimitsReport;
use super::due::batched;
use super::idempotency::{self, KEY_TTL_MS, Seen};
use super::limits::LimitsRow;
use super::live;
use super::settings::Settings;
use super::voice::VoiceCommand;
use super::{
    Actor, Call, Command, Effect, Idempotency, KeyCap, Outcome, Policy, Reply, Stored, admission, genesis,
};
use crate::credits::caps::CapTerms;
use crate::credits::{self, Account, Adjustment, Cause, HOLD_HISTORY_MS, HoldChange, Progress, Usage};
use crate::jobs;
use crate::keys::{self, NewKey};
use crate::notices;
use crate::planted::{self, Bug};
use crate::rate::{self, Weight};
use crate::shared::{Micro, Refusal};
use crate::sql::Sql;
use crate::tickets;

/// Carries out `call` at `now_ms`, inside the transaction that the caller opened. On `Err` the caller undoes
/// everything: a refusal changes nothing.
///
/// # Errors
/// Every [`Refusal`] a command can meet; `TenantMismatch` and `Quarantined` for any.
pub fn handle(
    sql: &mut impl Sql,
    actor: &Actor,
    policy: &Policy,
    call: Call,
    now_ms: i64,
) -> Result<Outcome, Refusal> {
    if let Command::Identify { digest } = &call.command {
        let key = keys::identify(sql, digest, now_ms)?;
        return Ok(Outcome {
            reply: Reply::Identified { tenant: actor.tenant.clone(), key },
            effects: Vec::new(),
        });
    }
    if let Command::OpenSocket(asked) = &call.command
        && asked.ticket.is_some()
    {
        return live::open(sql, actor, asked, None, now_ms);
    }
    if let Command::Voice(asked) = &call.command
        && let VoiceCommand::Redeem(shown) = &**asked
    {
        return super::voice::redeem(sql, actor, shown, now_ms);
    }
    if call.tenant != actor.tenant && !planted::on(Bug::WrongTenantAccepted) {
        return Err(Refusal::TenantMismatch);
    }
    // Work that is under way ends as it began, also when its key was revoked since.
    if let Some(id) = call.api_key.as_ref().filter(|_| !call.command.ends_work()) {
        let key = keys::check(sql, id, now_ms)?;
        if !actor.quarantined {
            keys::note_use(sql, &key, now_ms)?;
        }
    }
    if let Command::OpenSocket(asked) = &call.command {
        return live::open(sql, actor, asked, call.api_key.as_deref(), now_ms);
    }
    if !call.command.changes() {
        return answer(sql, actor, policy, call.command, now_ms);
    }
    if actor.quarantined {
        return Err(Refusal::Quarantined);
    }
    let at = At { actor, policy, now_ms };
    match call.command {
        Command::Admit(asked) => {
            let (reply, at_ms) = admission::admit(sql, actor, policy, *asked, now_ms)?;
            woken(reply, at_ms)
        }
        Command::Progress { hold, charge_total, hold_total, ttl_ms, usage } => {
            let deadline_ms = now_ms.saturating_add(ttl_ms);
            at.progress(sql, &hold, Progress { charge_total, hold_total, deadline_ms }, &usage)
        }
        Command::Settle { hold, charge, usage, reply } => at.settle(sql, &hold, charge, &usage, reply),
        Command::Release { hold } => at.release(sql, &hold),
        Command::Adjust { operation, adjustment, reason, reference, idempotency } => {
            let cause =
                Cause { operation: &operation, reason: reason.as_deref(), reference: reference.as_deref() };
            at.adjust(sql, adjustment, cause, idempotency.as_ref())
        }
        Command::RecordUsage { id, usage, cost, created_at_ms, idempotency } => {
            at.record_usage(sql, &id, &usage, cost, created_at_ms, idempotency.as_ref())
        }
        Command::Count => {
            at.count_one(sql)?;
            woken(Reply::Counted, i64::MAX)
        }
        Command::SetLimits { settings, fresh_secret } => at.set_limits(sql, *settings, fresh_secret),
        Command::CreateKey { key, cap, idempotency } => at.create_key(sql, &key, cap, idempotency.as_ref()),
        Command::RevokeKey { id } => at.revoke_key(sql, &id),
        Command::MintTicket(ticket) => {
            let expires_at_ms = tickets::mint(sql, &ticket, call.api_key.as_deref(), now_ms)?;
            woken(Reply::Ticket { expires_at_ms }, batched(expires_at_ms))
        }
        Command::Jobs(asked) => at.jobs(sql, *asked),
        Command::Voice(asked) => at.voice(sql, *asked, call.api_key.as_deref()),
        _ => Err(Refusal::Storage { detail: "a question among the changes".to_owned() }),
    }
}

/// Questions: nothing is written, and a quarantined actor answers them too.
fn answer(
    sql: &mut impl Sql,
    actor: &Actor,
    policy: &Policy,
    question: Command,
    now_ms: i64,
) -> Result<Outcome, Refusal> {
    let tenant = &actor.tenant;
    let reply = match question {
        Command::Balance => Reply::Balance(Account::view_at(sql, now_ms)?),
        Command::Recall { idempotency } => match idempotency::look_up(sql, &idempotency, now_ms)? {
            Seen::Done(stored) => Reply::Replay(stored),
            Seen::Free => Reply::NotAnswered,
        },
        Command::BalanceAt { entry } => Reply::BalanceAt(Box::new(credits::entry_at(sql, entry)?)),
        Command::ListUsage(filter) => Reply::Usage(credits::list_usage(sql, tenant, &filter)?),
        Command::ListEntries { limit, cursor } => {
            Reply::Entries(credits::list_entries(sql, tenant, limit, cursor.as_deref())?)
        }
        Command::ListHolds { state, limit, cursor } => {
            Reply::Holds(credits::list_holds(sql, tenant, state, limit, cursor.as_deref())?)
        }
        Command::ListNotices { limit, cursor } => {
            Reply::Notices(notices::list(sql, tenant, limit, cursor.as_deref())?)
        }
        Command::ListKeys => Reply::Keys(keys::list(sql)?),
        Command::Limits => {
            Reply::Limits(Box::new(report(&LimitsRow::load(sql, actor)?, actor, policy, now_ms)))
        }
        Command::Jobs(asked) => super::jobs::answer(sql, tenant, *asked, now_ms)?,
        Command::Voice(asked) => super::voice::answer(sql, tenant, *asked, now_ms)?,
        Command::Verify { from, limit } => {
            let counters = LimitsRow::load(sql, actor)?.counters;
            let mut found = credits::verify(sql, &genesis(tenant), from, limit, &counters.caps)?;
            if found.complete && jobs::exists(sql)? {
                found.problems.extend(jobs::verify(sql, counters.jobs_open)?);
            }
            let detail = found.problems.first().filter(|_| !actor.quarantined).cloned();
            let effects = detail.map(|detail| Effect::Quarantine { detail }).into_iter().collect();
            return Ok(Outcome { reply: Reply::Verified(found), effects });
        }
        _ => return Err(Refusal::Storage { detail: "a change among the questions".to_owned() }),
    };
    Ok(Outcome { reply, effects: Vec::new() })
}

fn report(limits: &LimitsRow, actor: &Actor, policy: &Policy, now_ms: i64) -> LimitsReport {
    let LimitsRow { settings, counters, .. } = limits;
    let effective = policy.plan(&actor.tenant, settings.plan.as_deref()).overridden_by(&settings.limits);
    let budgets = rate::windows_left(&counters.meters, &effective, None, now_ms);
    let caps = counters.caps.iter().map(|cap| cap.clone().at(now_ms)).collect();
    LimitsReport { settings: (**settings).clone(), effective, budgets, caps }
}

/// The actor, its policy and the time of one command.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub actor: &'a Actor,
    pub policy: &'a Policy,
    pub now_ms: i64,
}

impl At<'_> {
    fn adjust(
        self,
        sql: &mut impl Sql,
        adjustment: Adjustment,
        cause: Cause<'_>,
        key: Option<&Idempotency>,
    ) -> Result<Outcome, Refusal> {
        let now_ms = self.now_ms;
        let mut noticed_ms = i64::MAX;
        let run = |sql: &mut _| {
            let adjusted = credits::adjust(sql, adjustment, cause, now_ms)?;
            let mut limits = LimitsRow::load(sql, self.actor)?;
            limits.watch_balance(sql, &adjusted.account, now_ms)?;
            limits.store(sql)?;
            noticed_ms = limits.due_ms;
            Ok(adjusted)
        };
        let (adjusted, replayed) = once(sql, key, now_ms, run)?;
        let expiry_ms = adjusted.account.next_expiry_ms();
        let due_ms = key_due(key, now_ms).min(expiry_ms).min(noticed_ms);
        woken(Reply::Adjusted { adjusted, replayed }, due_ms)
    }

    /// Free of charge, so the budget is what slows a client down. A replay costs nothing here either.
    fn record_usage(
        self,
        sql: &mut impl Sql,
        id: &str,
        usage: &Usage,
        cost: Option<Micro>,
        created_at_ms: Option<i64>,
        key: Option<&Idempotency>,
    ) -> Result<Outcome, Refusal> {
        let run = |sql: &mut _| {
            self.count_one(sql)?;
            credits::record_client(sql, id, usage, cost, created_at_ms.unwrap_or(self.now_ms))
        };
        let (event, replayed) = once(sql, key, self.now_ms, run)?;
        woken(Reply::Recorded { event, replayed }, key_due(key, self.now_ms))
    }

    fn progress(
        self,
        sql: &mut impl Sql,
        hold: &str,
        asked: Progress,
        usage: &Usage,
    ) -> Result<Outcome, Refusal> {
        let mut account = Account::load_at(sql, self.now_ms)?;
        let progressed = credits::progress(sql, &mut account, hold, asked, usage, self.now_ms)?;
        let (reply, due_ms) = match progressed {
            Err(ended) => (Reply::Ended(ended), i64::MAX),
            Ok((progressed, change)) => {
                let noticed_ms = self.count(sql, &account, &change, usage, None)?;
                let due_ms = progressed.deadline_ms.min(noticed_ms);
                (Reply::Progressed(progressed), due_ms)
            }
        };
        account.store(sql)?;
        woken(reply, due_ms.min(account.next_expiry_ms()))
    }

    fn settle(
        self,
        sql: &mut impl Sql,
        hold: &str,
        charge: Micro,
        usage: &Usage,
        reply: Option<Box<RawValue>>,
    ) -> Result<Outcome, Refusal> {
        let mut account = Account::load_at(sql, self.now_ms)?;
        let (ended, change) = credits::settle(sql, &mut account, hold, charge, usage, self.now_ms)?;
        let mut due_ms = self.now_ms.saturating_add(HOLD_HISTORY_MS);
        if let Some(change) = &change {
            // What ended late was counted when its hold expired.
            if ended.first {
                let actual = Weight { requests: 0, tokens: usage.tokens(), micro: ended.charged };
                due_ms = due_ms.min(self.count(sql, &account, change, usage, Some(actual))?);
            }
            if let Some(key) = &change.owner.idempotency_key {
                // Charged is charged: without a reply to give again, the key is used all the same.
                let reply = reply.unwrap_or_else(|| RawValue::NULL.to_owned());
                let stored = Stored { reply, charged: ended.charged, available: ended.available };
                idempotency::finish(sql, key, hold, &stored, self.now_ms)?;
            }
        }
        account.store(sql)?;
        woken(Reply::Ended(ended), due_ms.min(account.next_expiry_ms()))
    }

    fn release(self, sql: &mut impl Sql, hold: &str) -> Result<Outcome, Refusal> {
        let mut account = Account::load_at(sql, self.now_ms)?;
        let (ended, change) = credits::release(sql, &mut account, hold, self.now_ms)?;
        let mut due_ms = self.now_ms.saturating_add(HOLD_HISTORY_MS);
        if let Some(change) = &change {
            // What was reported on the way was used, whatever came of the request.
            let so_far = Weight { requests: 0, tokens: change.tokens, micro: ended.charged };
            due_ms = due_ms.min(self.count(sql, &account, change, &Usage::default(), Some(so_far))?);
            idempotency::end(sql, change, account.available, self.now_ms)?;
        }
        account.store(sql)?;
        woken(Reply::Ended(ended), due_ms.min(account.next_expiry_ms()))
    }

    /// Has caps, meters and thresholds take notice of what became of a hold; when a notice is to be delivered.
    fn count(
        self,
        sql: &mut impl Sql,
        account: &Account,
        change: &HoldChange,
        usage: &Usage,
        actual: Option<Weight>,
    ) -> Result<i64, Refusal> {
        // A job's hold ends with its job, and by no other command.
        if change.owner.job.is_some() {
            return Err(Refusal::UnknownHold);
        }
        let mut limits = LimitsRow::load(sql, self.actor)?;
        let model = usage.model.as_deref();
        limits.apply(sql, (self.policy, &self.actor.tenant), change, (model, actual), self.now_ms)?;
        limits.watch_balance(sql, account, self.now_ms)?;
        limits.store(sql)?;
        Ok(limits.due_ms)
    }

    /// Counts one request that needs no hold.
    pub(super) fn count_one(self, sql: &mut impl Sql) -> Result<(), Refusal> {
        let mut limits = LimitsRow::load(sql, self.actor)?;
        let own = limits.effective(self.policy, &self.actor.tenant);
        let weight = Weight { requests: 1, ..Weight::default() };
        // It uses no tokens and no credit, and ends here: budgets of those and of requests in flight, used up, must
        // not keep it from being reported.
        let requests_only = rate::Limits {
            requests_per_minute: own.requests_per_minute,
            requests_burst: own.requests_burst,
            ..rate::Limits::default()
        };
        rate::admit(&mut limits.counters.meters, &requests_only, None, weight, 0, self.now_ms)?;
        limits.store(sql)
    }

    fn set_limits(
        self,
        sql: &mut impl Sql,
        mut settings: Settings,
        fresh_secret: String,
    ) -> Result<Outcome, Refusal> {
        let mut limits = LimitsRow::load(sql, self.actor)?;
        if let Some(new) = settings.webhook.as_mut().filter(|new| new.secret.is_empty()) {
            let kept = limits.settings.webhook.as_ref().filter(|old| old.url == new.url);
            new.secret = kept.map_or(fresh_secret, |old| old.secret.clone());
        }
        if settings.plan.as_ref().is_some_and(|plan| !self.policy.plans.contains_key(plan)) {
            let expected = "the name of a plan that is configured".to_owned();
            return Err(Refusal::InvalidSetting { field: "plan".to_owned(), expected });
        }
        let account = Account::view_at(sql, self.now_ms)?;
        // What keys may spend was said when they were made, and is not the operator's list.
        let of_keys = limits.settings.caps.iter().filter(|cap| cap.id.starts_with(KEY_CAP));
        let of_keys = of_keys.filter(|cap| settings.caps.iter().all(|other| other.id != cap.id)).cloned();
        let of_keys: Vec<CapTerms> = of_keys.collect();
        settings.caps.extend(of_keys);
        // A clock that stepped back must not have a new cap begin in a period that is over.
        let more_jobs = limits.settings.jobs != settings.jobs;
        limits.set(sql, settings, self.now_ms.max(account.updated_at_ms))?;
        if more_jobs {
            // Who waits for a place to run in may have one now.
            limits.due_ms = self.now_ms;
        }
        limits.watch_balance(sql, &account, self.now_ms)?;
        limits.store(sql)?;
        let report = report(&limits, self.actor, self.policy, self.now_ms);
        woken(Reply::Limits(Box::new(report)), limits.due_ms)
    }
}

/// What the id of a cap begins with that came with an API key; the key's id follows.
const KEY_CAP: &str = "key:";

impl At<'_> {
    fn create_key(
        self,
        sql: &mut impl Sql,
        new: &NewKey,
        cap: Option<KeyCap>,
        asked: Option<&Idempotency>,
    ) -> Result<Outcome, Refusal> {
        let run = |sql: &mut _| {
            let key = keys::create(sql, new, self.now_ms)?;
            if let Some(KeyCap { period, limit }) = cap {
                let mut limits = LimitsRow::load(sql, self.actor)?;
                let mut settings = (*limits.settings).clone();
                let api_key = Some(key.id.clone());
                let id = format!("{KEY_CAP}{}", key.id);
                settings.caps.push(CapTerms { id, period, limit, soft: None, api_key, model: None });
                let at_ms = self.settings_at_ms(sql)?;
                limits.set(sql, settings, at_ms)?;
            }
            Ok(key)
        };
        let (key, replayed) = once(sql, asked, self.now_ms, run)?;
        let reply = if replayed { Reply::KeyAgain(key) } else { Reply::Key(key) };
        woken(reply, key_due(asked, self.now_ms))
    }

    /// Revokes a key; what was set for it goes with it.
    fn revoke_key(self, sql: &mut impl Sql, id: &str) -> Result<Outcome, Refusal> {
        let key = keys::revoke(sql, id, self.now_ms)?;
        let mut limits = LimitsRow::load(sql, self.actor)?;
        let mut settings = (*limits.settings).clone();
        settings.caps.retain(|cap| cap.api_key.as_deref() != Some(id));
        settings.keys.remove(id);
        if settings != *limits.settings {
            let at_ms = self.settings_at_ms(sql)?;
            limits.set(sql, settings, at_ms)?;
        }
        let effects = vec![Effect::EndSocketsOf { api_key: id.to_owned() }];
        Ok(Outcome { reply: Reply::Key(key), effects })
    }

    /// A clock that stepped back must not have a new cap begin in a period that is over.
    fn settings_at_ms(self, sql: &mut impl Sql) -> Result<i64, Refusal> {
        Ok(self.now_ms.max(Account::view_at(sql, self.now_ms)?.updated_at_ms))
    }
}

/// Runs a command of one step at most once per key; a later request gets the first one's result.
fn once<S: Sql, T: Serialize + serde::de::DeserializeOwned>(
    sql: &mut S,
    asked: Option<&Idempotency>,
    now_ms: i64,
    run: impl FnOnce(&mut S) -> Result<T, Refusal>,
) -> Result<(T, bool), Refusal> {
    let Some(asked) = asked else {
        return Ok((run(sql)?, false));
    };
    match idempotency::look_up(sql, asked, now_ms)? {
        Seen::Done(stored) => {
            let first = serde_json::from_str(stored.reply.get()).map_err(|error| unreadable(&error))?;
            Ok((first, true))
        }
        Seen::Free => {
            idempotency::make_room(sql)?;
            let result = run(sql)?;
            let json = serde_json::to_string(&result).map_err(|error| unreadable(&error))?;
            let reply = RawValue::from_string(json).map_err(|error| unreadable(&error))?;
            let stored = Stored { reply, charged: Micro::ZERO, available: Micro::ZERO };
            idempotency::remember(sql, asked, &stored, now_ms)?;
            Ok((result, false))
        }
    }
}

impl Command {
    /// Whether it is about work that was admitted before.
    fn ends_work(&self) -> bool {
        match self {
            Self::Jobs(asked) => asked.ends_work(),
            Self::Voice(asked) => asked.ends_work(),
            _ => matches!(self, Self::Progress { .. } | Self::Settle { .. } | Self::Release { .. }),
        }
    }

    /// Whether the command may change the database. A quarantined actor still answers the others.
    pub(super) fn changes(&self) -> bool {
        if let Self::Jobs(asked) = self {
            return asked.changes();
        }
        if let Self::Voice(asked) = self {
            return asked.changes();
        }
        !matches!(
            self,
            Self::Balance
                | Self::Recall { .. }
                | Self::BalanceAt { .. }
                | Self::ListUsage(_)
                | Self::ListEntries { .. }
                | Self::ListHolds { .. }
                | Self::ListNotices { .. }
                | Self::Verify { .. }
                | Self::Limits
                | Self::ListKeys
                | Self::Identify { .. }
        )
    }
}

pub(super) fn woken(reply: Reply, at_ms: i64) -> Result<Outcome, Refusal> {
    let effects = if at_ms == i64::MAX { Vec::new() } else { vec![Effect::WakeBy { at_ms }] };
    Ok(Outcome { reply, effects })
}

/// When the key of this request is to be forgotten; never, when it has none.
pub(super) fn key_due(asked: Option<&Idempotency>, now_ms: i64) -> i64 {
    asked.map_or(i64::MAX, |_| now_ms.saturating_add(KEY_TTL_MS))
}

pub(super) fn unreadable(error: &serde_json::Error) -> Refusal {
    Refusal::Storage { detail: format!("stored reply: {error}") }
}
