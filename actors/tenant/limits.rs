//! The row of limits: settings, meters and caps, read and written whole; and what follows when they are touched.

use std::cell::RefCell;
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::settings::{Settings, TopUp};
use super::{Actor, Policy};
use crate::credits::caps::{self, Cap, CapTold, Told};
use crate::credits::{self, Account, HoldChange, HoldEnd};
use crate::notices::{self, NoticeKind};
use crate::planted::{self, Bug};
use crate::rate::{self, Limits, Meters, Weight};
use crate::shared::{Micro, Refusal, TenantId};
use crate::sql::Sql;

/// How long a request for a top-up is given while the balance stays low, before it is made again: six hours. What is
/// asked once may be lost; what is asked often is noise.
pub const TOP_UP_AGAIN_MS: i64 = 21_600_000;

/// What budgets and caps have counted, and what the owner has been told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counters {
    pub meters: Meters,
    pub caps: Vec<Cap>,
    /// The balance is below its threshold, and the owner was told.
    #[serde(default)]
    pub low_told: bool,
    /// The balance is below its threshold, and a top-up was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_up: Option<TopUpAsked>,
    /// Top-ups that were ever asked for: no two requests have one id.
    #[serde(default)]
    pub top_ups: i64,
    /// When settings changed last, and no earlier than any request that was under way then.
    #[serde(default)]
    pub set_at_ms: i64,
    /// Jobs that are not over. Each has an open hold, which is none of a request in flight.
    #[serde(default, skip_serializing_if = "is_none")]
    pub jobs_open: u32,
}

const fn is_none(count: &u32) -> bool {
    *count == 0
}

/// The last request for a top-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TopUpAsked {
    pub at_ms: i64,
    /// The lowest balance since: when there is more, somebody topped up.
    #[serde(rename = "lowest_micro")]
    pub lowest: Micro,
}

/// The row as it was loaded, and as it is.
pub(super) struct LimitsRow {
    pub settings: Rc<Settings>,
    pub counters: Counters,
    /// When what was told or asked here is to be delivered, or asked again; never, when there is nothing.
    pub due_ms: i64,
    /// The counters as they are stored.
    stored: String,
}

/// Opens the row once. The tables are there already.
pub(super) fn open(sql: &mut impl Sql) -> Result<(), Refusal> {
    let (settings, counters) = (text(&Settings::default())?, text(&Counters::default())?);
    sql.execute("INSERT INTO limits VALUES (1, ?1, ?2)", &[settings.into(), counters.into()])?;
    Ok(())
}

fn text(value: &impl Serialize) -> Result<String, Refusal> {
    serde_json::to_string(value).map_err(|error| Refusal::Broken { detail: error.to_string() })
}

fn unreadable(error: &serde_json::Error) -> Refusal {
    Refusal::Storage { detail: format!("stored limits have another shape: {error}") }
}

/// The settings that an actor has read last: they change seldom, and every command needs them.
#[derive(Debug, Clone, Default)]
pub struct SettingsRead(Rc<RefCell<Read>>);

#[derive(Debug, Default)]
struct Read {
    /// None before the first time.
    text: Option<String>,
    settings: Rc<Settings>,
}

impl SettingsRead {
    fn read(&self, text: &str) -> serde_json::Result<Rc<Settings>> {
        if self.0.borrow().text.as_deref() != Some(text) {
            let settings = Rc::new(serde_json::from_str(text)?);
            self.0.replace(Read { text: Some(text.to_owned()), settings });
        }
        Ok(self.0.borrow().settings.clone())
    }
}

impl LimitsRow {
    /// Reads the row; settings that `actor` has read before are not parsed again.
    pub fn load(sql: &mut impl Sql, actor: &Actor) -> Result<Self, Refusal> {
        // One cell for two texts: how many bytes the first has, and both.
        let row =
            sql.text("SELECT concat(octet_length(settings), ' ', settings, counters) FROM limits", &[])?;
        let row = row.ok_or_else(|| Refusal::Broken { detail: "the limits row is missing".to_owned() })?;
        let texts =
            row.split_once(' ').and_then(|(bytes, texts)| texts.split_at_checked(bytes.parse().ok()?));
        let (settings, counters) = texts.unwrap_or_default();
        let settings = actor.settings.0.read(settings).map_err(|error| unreadable(&error))?;
        let stored = counters.to_owned();
        let counters = serde_json::from_str(counters).map_err(|error| unreadable(&error))?;
        Ok(Self { settings, counters, due_ms: i64::MAX, stored })
    }

    /// Writes what was counted, when it changed.
    pub fn store(&mut self, sql: &mut impl Sql) -> Result<(), Refusal> {
        let counters = text(&self.counters)?;
        if counters != self.stored {
            sql.execute("UPDATE limits SET counters = ?1", &[counters.as_str().into()])?;
            self.stored = counters;
        }
        Ok(())
    }

    /// Writes settings, and begins to count for caps that are new: from what was charged in their period so far.
    pub fn set(&mut self, sql: &mut impl Sql, settings: Settings, now_ms: i64) -> Result<(), Refusal> {
        settings.check()?;
        // Nobody is told twice of the same, except when nobody could be told before.
        let heard = self.settings.webhook.is_some() || settings.webhook.is_none();
        let open = credits::open_amounts(sql)?;
        let mut caps = Vec::with_capacity(settings.caps.len());
        for terms in &settings.caps {
            let alike = |cap: &Cap| {
                let (a, b) = (&cap.terms, terms);
                (&a.id, a.period, &a.api_key, &a.model) == (&b.id, b.period, &b.api_key, &b.model)
            };
            if let Some(known) = self.counters.caps.iter().find(|cap| alike(cap)) {
                let told = if heard && known.terms == *terms { known.told } else { Told::Nothing };
                caps.push(Cap { terms: terms.clone(), told, ..known.clone() });
                continue;
            }
            let since_ms = terms.period.start_ms(now_ms);
            let (key, model) = (terms.api_key.as_deref(), terms.model.as_deref());
            let whole = key.is_none() && model.is_none();
            // What the whole tenant was charged is in the ledger, parts of open holds and all.
            let spent = if whole {
                credits::charged_since(sql, since_ms)?
            } else {
                credits::spent_since(sql, since_ms, key, model)?
            };
            let mut cap = Cap::new(terms.clone(), spent, Micro::ZERO, now_ms);
            for hold in &open {
                let key = hold.owner.api_key.as_deref();
                if cap.counts(key, &hold.owner.models) {
                    cap.held = cap.held.plus(hold.held()?).ok_or(Refusal::InvalidAmount)?;
                }
                // Partial settles have no usage event yet. One from before the period counts too: never too little.
                if !whole && cap.counts_charge(key, hold.model.as_deref()) {
                    cap.spent = cap.spent.plus(hold.charged).ok_or(Refusal::InvalidAmount)?;
                }
            }
            caps.push(cap);
        }
        let newest_ms = open.iter().map(|hold| hold.created_at_ms).max().unwrap_or(now_ms);
        self.counters.set_at_ms = self.counters.set_at_ms.max(now_ms).max(newest_ms);
        self.counters.caps = caps;
        let keys = &settings.keys;
        self.counters.meters.retain(|name, _| rate::key_of(name).is_none_or(|key| keys.contains_key(key)));
        self.counters.low_told &= heard && self.settings.low_balance == settings.low_balance;
        self.counters.top_up =
            self.counters.top_up.filter(|_| heard && self.settings.top_up == settings.top_up);
        sql.execute("UPDATE limits SET settings = ?1", &[text(&settings)?.into()])?;
        self.settings = Rc::new(settings);
        self.store(sql)
    }

    /// Requests under way: holds that are open, but for those of jobs.
    pub fn in_flight(&self, account: &Account) -> u32 {
        account.holds_open.saturating_sub(self.counters.jobs_open)
    }

    /// A job is over, and its hold with it.
    pub fn job_ended(&mut self) -> Result<(), Refusal> {
        let open = self.counters.jobs_open.checked_sub(1);
        let miscounted = || Refusal::Broken { detail: "more jobs ended than were open".to_owned() };
        self.counters.jobs_open = open.ok_or_else(miscounted)?;
        Ok(())
    }

    /// What the tenant may do: its plan, and what differs from it.
    pub fn effective(&self, policy: &Policy, tenant: &TenantId) -> Limits {
        policy.plan(tenant, self.settings.plan.as_deref()).overridden_by(&self.settings.limits)
    }

    /// Counts what a command did to a hold, and tells the owner what there is to tell.
    pub fn apply(
        &mut self,
        sql: &mut impl Sql,
        (policy, tenant): (&Policy, &TenantId),
        change: &HoldChange,
        (model, actual): (Option<&str>, Option<Weight>),
        now_ms: i64,
    ) -> Result<(), Refusal> {
        // Of an open hold, what left it and was not charged is below zero when more was set aside for it.
        let more = change.charged.minus(change.unheld).filter(|more| *more > Micro::ZERO);
        if let Some(more) = more.filter(|_| change.end.is_none()) {
            self.admit_more((policy, tenant), change, more, now_ms)?;
            caps::allow_more(&self.counters.caps, &change.owner, more, model, now_ms)?;
        }
        let told = caps::apply(&mut self.counters.caps, change, model, now_ms)?;
        if let Some(actual) = actual.filter(|_| !planted::on(Bug::TokensNotReconciled)) {
            self.reconcile((policy, tenant), change, actual, now_ms);
        }
        self.tell_caps(sql, told, now_ms)
    }

    /// Tells the owner of caps that are used up for what is asked, the first time in their period; whether any was.
    pub fn tell_used_up(
        &mut self,
        sql: &mut impl Sql,
        amount: Micro,
        (api_key, models): (Option<&str>, &[String]),
        now_ms: i64,
    ) -> Result<bool, Refusal> {
        let told = caps::tell_used_up(&mut self.counters.caps, amount, api_key, models, now_ms);
        let any = !told.is_empty();
        self.tell_caps(sql, told, now_ms)?;
        Ok(any)
    }

    fn tell_caps(&mut self, sql: &mut impl Sql, told: Vec<CapTold>, now_ms: i64) -> Result<(), Refusal> {
        for CapTold { told, cap } in told {
            let kind = if told == Told::Limit { NoticeKind::CapReached } else { NoticeKind::CapSoft };
            let body = json!({
                "cap": cap.terms.id,
                "period": cap.terms.period,
                "limit_micro": cap.terms.limit,
                "soft_micro": cap.terms.soft,
                "spent_micro": cap.spent,
            });
            self.tell(sql, kind, &body, now_ms)?;
        }
        Ok(())
    }

    /// Counts in the budgets what a hold grows by. On `Err` the caller drops all of it.
    fn admit_more(
        &mut self,
        (policy, tenant): (&Policy, &TenantId),
        change: &HoldChange,
        more: Micro,
        now_ms: i64,
    ) -> Result<(), Refusal> {
        if planted::on(Bug::GrowthNotCounted) {
            return Ok(());
        }
        let (own, meters) = (self.effective(policy, tenant), &mut self.counters.meters);
        let mut grown = rate::admit_more(meters, &own, None, more, now_ms);
        let key = change.owner.api_key.as_deref();
        if let Some((key, limits)) = key.and_then(|key| Some((key, self.settings.keys.get(key)?))) {
            grown = rate::both(grown, rate::admit_more(meters, limits, Some(key), more, now_ms));
        }
        grown.map(drop)
    }

    /// Replaces in the budgets what a hold was estimated to weigh by what it weighed.
    fn reconcile(
        &mut self,
        (policy, tenant): (&Policy, &TenantId),
        change: &HoldChange,
        actual: Weight,
        now_ms: i64,
    ) {
        let estimated = change.owner.weight;
        let since_ms = change.created_at_ms;
        // Of an expired hold nobody knows what was used, so the estimate stands for what was not reported. Budgets
        // that were set since may not have counted the estimate, so they give nothing of it back.
        let known = change.end != Some(HoldEnd::Expired) && since_ms > self.counters.set_at_ms;
        let actual = if known { actual } else { actual.at_least(estimated) };
        let limits = self.effective(policy, tenant);
        let meters = &mut self.counters.meters;
        rate::reconcile(meters, &limits, None, estimated, actual, since_ms, now_ms);
        let key = change.owner.api_key.as_deref();
        if let Some((key, limits)) = key.and_then(|key| Some((key, self.settings.keys.get(key)?))) {
            rate::reconcile(meters, limits, Some(key), estimated, actual, since_ms, now_ms);
        }
    }

    /// Looks whether the balance passed a threshold. What is held still counts: it may come back.
    pub fn watch_balance(
        &mut self,
        sql: &mut impl Sql,
        account: &Account,
        now_ms: i64,
    ) -> Result<(), Refusal> {
        let owned = account.owned()?;
        if let Some(threshold) = self.settings.low_balance {
            let low = owned < threshold;
            if low && (!self.counters.low_told || planted::on(Bug::LowBalanceToldAgain)) {
                let body = json!({ "balance_micro": owned, "threshold_micro": threshold });
                self.tell(sql, NoticeKind::BalanceLow, &body, now_ms)?;
            }
            self.counters.low_told = low;
        }
        match self.settings.top_up {
            Some(top_up) if owned < top_up.below => self.ask_top_up(sql, top_up, owned, account, now_ms),
            _ => {
                self.counters.top_up = None;
                Ok(())
            }
        }
    }

    /// Asks for a top-up of a balance that is low: at first, when there was one that did not suffice, and now and then.
    fn ask_top_up(
        &mut self,
        sql: &mut impl Sql,
        top_up: TopUp,
        owned: Micro,
        account: &Account,
        now_ms: i64,
    ) -> Result<(), Refusal> {
        let again = |asked: &TopUpAsked| {
            !planted::on(Bug::TopUpAskedOnce) && now_ms >= asked.at_ms.saturating_add(TOP_UP_AGAIN_MS)
        };
        if let Some(asked) =
            self.counters.top_up.as_mut().filter(|asked| owned <= asked.lowest && !again(asked))
        {
            asked.lowest = owned;
            return Ok(());
        }
        self.counters.top_ups = self.counters.top_ups.saturating_add(1);
        self.counters.top_up = Some(TopUpAsked { at_ms: now_ms, lowest: owned });
        self.due_ms = self.due_ms.min(now_ms.saturating_add(TOP_UP_AGAIN_MS));
        // The same over all attempts to deliver this request, and no other's.
        let key = format!("top-up-{}-{}", account.next_seq, self.counters.top_ups);
        let body = json!({
            "balance_micro": owned,
            "amount_micro": top_up.amount,
            "idempotency_key": key,
        });
        self.tell(sql, NoticeKind::TopUpRequested, &body, now_ms)
    }

    fn tell(
        &mut self,
        sql: &mut impl Sql,
        kind: NoticeKind,
        body: &serde_json::Value,
        now_ms: i64,
    ) -> Result<(), Refusal> {
        let deliver = self.settings.webhook.is_some();
        if deliver {
            self.due_ms = self.due_ms.min(now_ms);
        }
        notices::record(sql, kind, body, deliver, now_ms)
    }
}
