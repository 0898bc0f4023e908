//! Settings at run time, and the thresholds of the balance.

use std::rc::Rc;

use actors::credits::caps::CapTerms;
use actors::rate::Limits;
use actors::shared::Refusal;
use actors::tenant::{Policy, Settings};

use super::caps::{charges, counts, period_bounds};
use super::meter::NAMES;
use super::{Answer, BudgetShown, CapCount, EntryKind, Model, TOP_UP_AGAIN_MS, budgets};
use crate::command::API_KEYS;

impl Model {
    /// The plan that is in force: the one set, else the usual one of guests or of others.
    pub(super) fn plan<'a>(&self, policy: &'a Policy) -> &'a Limits {
        let usual = if self.tenant.is_guest() { &policy.guest_plan } else { &policy.default_plan };
        let named = self.state.settings.plan.as_ref().and_then(|name| policy.plans.get(name));
        named.or_else(|| policy.plans.get(usual)).expect("the usual plan is configured")
    }

    pub(super) fn set_limits(
        &mut self,
        asked: &Rc<Settings>,
        secret: u32,
        now_ms: i64,
    ) -> Result<Answer, Refusal> {
        let mut settings = Settings::clone(asked);
        if let Some(hook) = settings.webhook.as_mut().filter(|hook| hook.secret.is_empty()) {
            let known = self.state.settings.webhook.as_ref().filter(|known| known.url == hook.url);
            hook.secret = known.map_or_else(|| format!("secret-{secret}"), |known| known.secret.clone());
        }
        if let Some(field) = absurd(&settings, &self.policy) {
            return Err(Refusal::InvalidSetting { field: field.to_owned(), expected: String::new() });
        }
        // Nobody is told twice of the same, except when nobody could be told before.
        let heard = self.state.settings.webhook.is_some() || settings.webhook.is_none();
        let caps = (0..settings.caps.len()).map(|at| self.cap_of(&settings, at, heard, now_ms)).collect();
        self.state.caps = caps;
        let newest_ms = self.state.open_holds().map(|hold| hold.created_at_ms).max().unwrap_or(now_ms);
        let latest_ms = now_ms.max(self.state.account.updated_at_ms).max(newest_ms);
        self.state.set_at_ms = self.state.set_at_ms.max(latest_ms);
        self.state.low_told &= heard && self.state.settings.low_balance == settings.low_balance;
        if !heard || self.state.settings.top_up != settings.top_up {
            self.state.top_up = None;
        }
        for (meters, key) in self.state.meters.iter_mut().skip(1).zip(API_KEYS) {
            if !settings.keys.contains_key(key) {
                *meters = Default::default();
            }
        }
        self.state.settings = Rc::new(settings);
        self.watch(self.owned_at(now_ms), now_ms);
        Ok(Answer::Limits(self.shown(now_ms)))
    }

    /// A cap goes on counting when only its limits changed; a new one counts from what was charged in its period.
    fn cap_of(&self, settings: &Settings, at: usize, heard: bool, now_ms: i64) -> CapCount {
        let terms = &settings.caps[at];
        let known = self.state.settings.caps.iter().position(|cap| {
            (&cap.id, cap.period, &cap.api_key, &cap.model)
                == (&terms.id, terms.period, &terms.api_key, &terms.model)
        });
        if let Some(known) = known {
            let same = heard && self.state.settings.caps[known] == *terms;
            let told = if same { self.state.caps[known].told } else { 0 };
            return CapCount { told, ..self.state.caps[known] };
        }
        // The latest time that was seen says which period it is, as it does for a cap that was there before.
        let (period_start_ms, _) = period_bounds(terms.period, now_ms.max(self.state.account.updated_at_ms));
        let held = self.state.open_holds().filter(|hold| counts(terms, hold.api_key, hold.models));
        let held = held.map(super::Hold::held).sum();
        CapCount { period_start_ms, spent: self.spent_so_far(terms, period_start_ms), held, told: 0 }
    }

    /// What a new cap counts as spent: all charges of the period; of a key or a model, costs of the period's usage, and
    /// all that open holds were charged.
    fn spent_so_far(&self, terms: &CapTerms, since_ms: i64) -> i64 {
        if terms.api_key.is_none() && terms.model.is_none() {
            let charged = self.logs.entries.iter().filter(|entry| entry.kind == EntryKind::Charge);
            return charged.filter(|entry| entry.at_ms >= since_ms).map(|entry| entry.charged).sum();
        }
        let ended = self.logs.usage.iter().filter(|row| !row.by_client && row.created_at_ms >= since_ms);
        let ended = ended.filter(|row| charges(terms, row.api_key, row.model)).filter_map(|row| row.cost);
        let model = |hold: &super::Hold| hold.reported.and_then(|used| used.model);
        let open = self.state.open_holds().filter(|hold| charges(terms, hold.api_key, model(hold)));
        ended.sum::<i64>() + open.map(|hold| hold.charged).sum::<i64>()
    }

    fn owned_at(&self, now_ms: i64) -> i64 {
        let over = |at: Option<i64>| at.is_some_and(|at_ms| at_ms <= now_ms);
        let expired = self.state.grants.iter().filter(|grant| over(grant.expires_at_ms));
        self.state.account.available + self.state.account.held - expired.map(|grant| grant.left).sum::<i64>()
    }

    /// Tells the owner once when the balance fell below a threshold, and again after it was above.
    pub(super) fn watch_balance(&mut self, now_ms: i64) {
        self.watch(self.state.account.available + self.state.account.held, now_ms);
    }

    fn watch(&mut self, owned: i64, now_ms: i64) {
        if let Some(threshold) = self.state.settings.low_balance {
            let low = owned < threshold.0;
            if low && !self.state.low_told {
                self.tell("balance.low", now_ms);
            }
            self.state.low_told = low;
        }
        let low = self.state.settings.top_up.is_some_and(|top_up| owned < top_up.below.0);
        self.state.top_up = match self.state.top_up.filter(|_| low) {
            Some((at_ms, lowest)) if owned <= lowest && now_ms < at_ms + TOP_UP_AGAIN_MS => {
                Some((at_ms, owned))
            }
            _ if low => {
                self.tell("top_up.requested", now_ms);
                Some((now_ms, owned))
            }
            _ => None,
        };
    }

    /// The tenant's budgets as a report shows them.
    pub(super) fn shown(&self, now_ms: i64) -> Vec<BudgetShown> {
        let own = budgets(&self.state.settings.limits, self.plan(&self.policy));
        let shown = own.into_iter().enumerate().filter_map(|(at, budget)| {
            let budget = budget?;
            let (remaining, reset_ms) = self.state.meters[0][at].left(&budget, now_ms);
            let (limit, window_ms) = (budget.limit, budget.window_ms);
            Some(BudgetShown { policy: NAMES[at].to_owned(), limit, remaining, window_ms, reset_ms })
        });
        shown.collect()
    }
}

/// The field that makes settings impossible, of those the schedules get wrong.
fn absurd(settings: &Settings, policy: &Policy) -> Option<&'static str> {
    if settings.plan.as_ref().is_some_and(|plan| !policy.plans.contains_key(plan)) {
        return Some("plan");
    }
    if settings.limits.requests_per_minute.is_some_and(|limit| limit < 0) {
        return Some("requests_per_minute");
    }
    let twice = |at: usize| settings.caps.iter().take(at).any(|cap| cap.id == settings.caps[at].id);
    (0..settings.caps.len()).any(twice).then_some("caps")
}
