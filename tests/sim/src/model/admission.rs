//! May a request run, in the model: tier, budgets, number in flight, caps, balance.

use actors::rate::Limits;
use actors::shared::{Micro, Refusal};

use super::meter::{Denied, NAMES};
use super::{Answer, BudgetShown, Given, Hold, KEY_TTL_MS, Model, budgets};
use crate::command::{API_KEYS, Admit, Key, TIERS};

const HOLDS_OPEN_MAX: i64 = 1_000;
const IN_FLIGHT_WAIT_MS: i64 = 1_000;

/// Keys of fingerprints are numbered from here on, one block for each API key.
const FINGERPRINTS: u32 = 1_000;

impl Model {
    pub(super) fn admit(&mut self, asked: &Admit, now_ms: i64) -> Result<Answer, Refusal> {
        let key = self.key_of(asked);
        if let Some(given @ Given::Settled { .. }) = self.look_up(key.map(|(key, _)| key), now_ms)? {
            return Ok(Answer::Replay(given));
        }
        self.expire_grants(now_ms);
        let (models, budgets) = match self.hold_for(asked, now_ms)? {
            Err(refusal) => return Ok(Answer::Refused(refusal)),
            Ok(counted) => counted,
        };
        let deadline_ms = now_ms + asked.ttl_ms;
        if let Some((key, ttl_ms)) = key {
            self.state.holds.last_mut().unwrap().key = Some(key.key);
            self.take(key, asked.hold, ttl_ms, asked.ttl_ms, now_ms);
        }
        let (available, granted) = (self.state.account.available, self.state.account.granted);
        Ok(Answer::Admitted { available, granted, deadline_ms, models, budgets })
    }

    /// Counts what is asked and sets its credit aside. The inner refusal is one that is told, and committed.
    pub(super) fn hold_for(
        &mut self,
        asked: &Admit,
        now_ms: i64,
    ) -> Result<Result<(u8, Vec<BudgetShown>), Refusal>, Refusal> {
        let counted = match self.count(asked, now_ms) {
            Err(refusal) if waits_for_holds(&refusal) && self.expire_holds(now_ms) => {
                self.count(asked, now_ms)
            }
            other => other,
        };
        let capped = matches!(&counted, Err(Refusal::CapReached { .. }));
        let asks = (counted.is_ok() || capped)
            && self.tell_used_up(asked.amount, asked.api_key, asked.models, now_ms);
        let (models, budgets) = match counted {
            Err(refusal) if asks => return Ok(Err(refusal)),
            other => other?,
        };
        let parts = self.set_aside(asked.amount)?;
        if self.state.hold(asked.hold).is_some() {
            return Err(Refusal::DuplicateOperation);
        }
        self.state.account.open += 1;
        self.state.holds.push(Hold {
            id: asked.hold,
            end: None,
            amount: asked.amount,
            charged: 0,
            shortfall: 0,
            parts,
            api_key: asked.api_key,
            models,
            tokens: asked.tokens,
            requests: asked.requests,
            weight_micro: asked.amount,
            key: None,
            job: asked.job,
            reported: None,
            created_at_ms: now_ms,
            deadline_ms: now_ms + asked.ttl_ms,
            forget_at_ms: i64::MAX,
        });
        self.note_admitted(asked, now_ms);
        Ok(Ok((models, budgets)))
    }

    fn key_of(&self, asked: &Admit) -> Option<(Key, i64)> {
        if let Some(key) = asked.key {
            return Some((key, KEY_TTL_MS));
        }
        let window_ms = self.state.settings.fingerprint_window_ms;
        let digest = asked.fingerprint.filter(|_| window_ms > 0)?;
        let of_key = asked.api_key.map_or(0, |key| 1 + u32::from(key));
        Some((Key { key: FINGERPRINTS * (1 + of_key) + digest, body: FINGERPRINTS + digest }, window_ms))
    }

    /// Counts the request everywhere, or nowhere.
    fn count(&mut self, asked: &Admit, now_ms: i64) -> Result<(u8, Vec<BudgetShown>), Refusal> {
        let (meters, caps) = (self.state.meters, self.state.caps.clone());
        self.counting_job = asked.job.is_some();
        let counted = self.try_count(asked, now_ms);
        self.counting_job = false;
        if counted.is_err() {
            (self.state.meters, self.state.caps) = (meters, caps);
        }
        counted
    }

    fn try_count(&mut self, asked: &Admit, now_ms: i64) -> Result<(u8, Vec<BudgetShown>), Refusal> {
        let (settings, policy) = (self.state.settings.clone(), self.policy.clone());
        let plan = self.plan(&policy);
        let of_key =
            asked.api_key.and_then(|key| Some((key, settings.keys.get(API_KEYS[usize::from(key)])?)));
        if let Some(tier) = asked.tier {
            allow_tier(settings.limits.tiers.as_ref().or(plan.tiers.as_ref()), tier)?;
            allow_tier(of_key.and_then(|(_, limits)| limits.tiers.as_ref()), tier)?;
        }
        let weights = [asked.requests, asked.tokens, asked.amount];
        let mut shown = Vec::with_capacity(4);
        let own = self.count_budgets(&settings.limits, plan, None, weights, &mut shown, now_ms)?;
        let keyed = match of_key {
            Some((key, limits)) => {
                self.count_budgets(limits, &Limits::default(), Some(key), weights, &mut shown, now_ms)?
            }
            None => None,
        };
        // Whoever waits as long as the longest of them asks is admitted.
        let longest =
            [own, keyed].into_iter().flatten().reduce(|a, b| if wait_ms(&b) > wait_ms(&a) { b } else { a });
        if let Some(refusal) = longest {
            return Err(refusal);
        }
        let models = self.admit_caps(asked.amount, asked.api_key, asked.models, now_ms)?;
        let account = self.state.account;
        if account.available < asked.amount {
            let (available, needed) = (Micro(account.available), Micro(asked.amount));
            return Err(Refusal::InsufficientCredits {
                available,
                needed,
                updated_at_ms: account.updated_at_ms,
            });
        }
        if account.open >= HOLDS_OPEN_MAX {
            return Err(Refusal::TooManyHolds { limit: 1_000 });
        }
        Ok((models, shown))
    }

    /// Counts weights against one scope's budgets: what could never fit is an error at once, a wait is returned.
    fn count_budgets(
        &mut self,
        over: &Limits,
        plan: &Limits,
        key: Option<u8>,
        weights: [i64; 3],
        shown: &mut Vec<BudgetShown>,
        now_ms: i64,
    ) -> Result<Option<Refusal>, Refusal> {
        let scope = key.map_or(0, |key| 1 + usize::from(key));
        let name = |at: &str| {
            key.map_or_else(|| at.to_owned(), |key| format!("{at}@{}", API_KEYS[usize::from(key)]))
        };
        let mut longest: Option<Refusal> = None;
        for (at, budget) in budgets(over, plan).into_iter().enumerate() {
            let Some(budget) = budget else { continue };
            let meter = &mut self.state.meters[scope][at];
            let (limit, window_ms) = (budget.limit, budget.window_ms);
            match meter.admit(&budget, weights[at], now_ms) {
                Ok(()) => {
                    let (remaining, reset_ms) = meter.left(&budget, now_ms);
                    shown.push(BudgetShown {
                        policy: name(NAMES[at]),
                        limit,
                        remaining,
                        window_ms,
                        reset_ms,
                    });
                }
                Err(Denied::Never) => {
                    return Err(Refusal::ExceedsBudget { policy: name(NAMES[at]), limit: budget.burst });
                }
                Err(Denied::After(retry_after_ms)) => {
                    if longest.as_ref().is_none_or(|before| wait_ms(before) < retry_after_ms) {
                        let policy = name(NAMES[at]);
                        let (remaining, _) = meter.left(&budget, now_ms);
                        let refusal =
                            Refusal::RateLimited { policy, limit, window_ms, retry_after_ms, remaining };
                        longest = Some(refusal);
                    }
                }
            }
        }
        // A job is none of the requests in flight.
        let limit = over.in_flight.or(plan.in_flight).filter(|_| !self.counting_job);
        let in_flight = limit.filter(|limit| *limit > 0);
        if let Some(limit) = in_flight.filter(|_| longest.is_none()) {
            let requests = self.state.open_holds().filter(|hold| hold.job.is_none());
            let open = requests.filter(|hold| key.is_none() || hold.api_key == key).count();
            let (open, policy) = (i64::try_from(open).unwrap(), name("in-flight"));
            if open >= limit {
                return Ok(Some(Refusal::RateLimited {
                    policy,
                    limit,
                    window_ms: 0,
                    retry_after_ms: IN_FLIGHT_WAIT_MS,
                    remaining: 0,
                }));
            }
            shown.push(BudgetShown { policy, limit, remaining: limit - open - 1, window_ms: 0, reset_ms: 0 });
        }
        Ok(longest)
    }

    /// Counts a client's report: a request of no other weight, and none in flight.
    pub(super) fn count_report(&mut self, now_ms: i64) -> Result<(), Refusal> {
        let (settings, policy) = (self.state.settings.clone(), self.policy.clone());
        // The number of requests alone: a report uses no tokens, so tokens that are used up are no reason.
        let (over, plan) = (&settings.limits, self.plan(&policy));
        let requests = Limits {
            requests_per_minute: over.requests_per_minute.or(plan.requests_per_minute),
            requests_burst: over.requests_burst.or(plan.requests_burst),
            ..Limits::default()
        };
        let none = Limits::default();
        let waits = self.count_budgets(&requests, &none, None, [1, 0, 0], &mut Vec::new(), now_ms)?;
        match waits {
            Some(refusal) => Err(refusal),
            None => {
                self.note_reported(now_ms);
                Ok(())
            }
        }
    }

    /// Whether an open hold may cost more, by the credits of a day: counted, of the tenant and of its key.
    pub(super) fn grow(&mut self, hold: &Hold, more: i64, now_ms: i64) -> Result<(), Refusal> {
        let (settings, policy) = (self.state.settings.clone(), self.policy.clone());
        let credits = |over: &Limits, plan: &Limits| Limits {
            credits_per_day: over.credits_per_day.or(plan.credits_per_day),
            credits_burst: over.credits_burst.or(plan.credits_burst),
            ..Limits::default()
        };
        let (none, weights) = (Limits::default(), [0, 0, more]);
        let own = credits(&settings.limits, self.plan(&policy));
        let waits = self.count_budgets(&own, &none, None, weights, &mut Vec::new(), now_ms);
        let of_key = hold.api_key.and_then(|key| {
            let limits = credits(settings.keys.get(API_KEYS[usize::from(key)])?, &none);
            Some(self.count_budgets(&limits, &none, Some(key), weights, &mut Vec::new(), now_ms))
        });
        let waits = [waits?, of_key.transpose()?.flatten()];
        let longest =
            waits.into_iter().flatten().reduce(|a, b| if wait_ms(&b) > wait_ms(&a) { b } else { a });
        longest.map_or(Ok(()), Err)
    }

    /// What was estimated becomes what was used, in the budgets of the tenant and of the key. When not all of it is
    /// known, no less than was estimated.
    pub(super) fn reconcile(&mut self, hold: &Hold, (tokens, micro): (i64, i64), known: bool, now_ms: i64) {
        let (settings, policy) = (self.state.settings.clone(), self.policy.clone());
        let own = budgets(&settings.limits, self.plan(&policy));
        let of_key = hold.api_key.and_then(|key| {
            let limits = settings.keys.get(API_KEYS[usize::from(key)])?;
            Some((1 + usize::from(key), budgets(limits, &Limits::default())))
        });
        // What budgets of other settings counted is theirs: these give nothing of it back.
        let known = known && hold.created_at_ms > self.state.set_at_ms;
        let least = |estimated: i64| if known { 0 } else { estimated };
        let (tokens, micro) = (tokens.max(least(hold.tokens)), micro.max(least(hold.weight_micro)));
        for (scope, budgets) in [Some((0, own)), of_key].into_iter().flatten() {
            let weights = [(hold.requests, hold.requests), (hold.tokens, tokens), (hold.weight_micro, micro)];
            for (at, (estimated, actual)) in weights.into_iter().enumerate() {
                if let Some(budget) = budgets[at].filter(|_| estimated != actual) {
                    let meter = &mut self.state.meters[scope][at];
                    meter.reconcile(&budget, estimated, actual, hold.created_at_ms, now_ms);
                }
            }
        }
        self.state.weighed.push((hold.id, tokens.min(hold.tokens), micro.min(hold.weight_micro)));
    }
}

fn allow_tier(tiers: Option<&Vec<String>>, tier: u8) -> Result<(), Refusal> {
    let tier = TIERS[usize::from(tier)];
    match tiers {
        Some(known) if !known.iter().any(|name| name == tier) => {
            Err(Refusal::TierNotAllowed { tier: tier.to_owned() })
        }
        _ => Ok(()),
    }
}

fn wait_ms(refusal: &Refusal) -> i64 {
    match refusal {
        Refusal::RateLimited { retry_after_ms, .. } => *retry_after_ms,
        _ => 0,
    }
}

/// Whether the end of a hold could change this answer.
fn waits_for_holds(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::RateLimited { window_ms, .. } => *window_ms == 0,
        other => matches!(
            other,
            Refusal::InsufficientCredits { .. } | Refusal::TooManyHolds { .. } | Refusal::CapReached { .. }
        ),
    }
}
