//! Plans: what tenants may do, by name, and the same limits as an operator sets them for one tenant.

use std::collections::BTreeMap;

use actors::rate::{Limits, Plans};
use actors::shared::Micro;
use actors::tenant::Policy;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::reader::Reader;
use super::tiers::Tier;

/// The name of the plan that is there without any configuration.
const FREE: &str = "free";
/// How long a guest's credit lasts when nothing is said: a day, as its token at most.
const GUEST_GRANT_TTL_S: i64 = 86_400;
/// The longest it may last: a year.
const GUEST_GRANT_TTL_S_MAX: i64 = 31_536_000;

/// Limits as JSON has them: credits as numbers. Absent and `null` leave what is there, zero switches off.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireLimits {
    requests_per_minute: Option<i64>,
    requests_burst: Option<i64>,
    tokens_per_minute: Option<i64>,
    tokens_burst: Option<i64>,
    credits_per_day: Option<f64>,
    credits_burst: Option<f64>,
    in_flight: Option<i64>,
    tiers: Option<Vec<String>>,
}

/// What limits that are none of these are told.
const LIMITS: &str = "an object of `requests_per_minute`, `requests_burst`, `tokens_per_minute`, `tokens_burst` and \
    `in_flight` (whole numbers), `credits_per_day` and `credits_burst` (credits), `tiers` (a list of names)";

/// # Errors
/// What is wrong, in words of ours.
pub fn limits_from_json(value: &Value) -> Result<Limits, String> {
    let wire = WireLimits::deserialize(value).map_err(|_| LIMITS.to_owned())?;
    let credits = |amount: Option<f64>, name: &str| match amount {
        None => Ok(None),
        Some(amount) => Micro::from_credits(amount).map(Some).ok_or_else(|| format!("{name} is no amount")),
    };
    let limits = Limits {
        requests_per_minute: wire.requests_per_minute,
        requests_burst: wire.requests_burst,
        tokens_per_minute: wire.tokens_per_minute,
        tokens_burst: wire.tokens_burst,
        credits_per_day: credits(wire.credits_per_day, "credits_per_day")?,
        credits_burst: credits(wire.credits_burst, "credits_burst")?,
        in_flight: wire.in_flight,
        tiers: wire.tiers,
    };
    limits.check().map_err(|refusal| refusal.to_string())?;
    let micro = |amount: Option<Micro>| amount.map(|amount| amount.0);
    for (burst, name, limit, of) in [
        (limits.requests_burst, "requests_burst", limits.requests_per_minute, "requests_per_minute"),
        (limits.tokens_burst, "tokens_burst", limits.tokens_per_minute, "tokens_per_minute"),
        (micro(limits.credits_burst), "credits_burst", micro(limits.credits_per_day), "credits_per_day"),
    ] {
        // Zero is no limit.
        if limit.is_some_and(|limit| limit > 0 && burst.is_some_and(|burst| burst > limit)) {
            return Err(format!("`{name}` is no more than `{of}`"));
        }
    }
    Ok(limits)
}

/// Limits as [`limits_from_json`] reads them; what is not set is absent.
pub fn limits_to_json(limits: &Limits) -> Value {
    let credits = |amount: Option<Micro>| amount.map(|amount| json!(amount.credits()));
    let number = |number: Option<i64>| number.map(|number| json!(number));
    let fields = [
        ("requests_per_minute", number(limits.requests_per_minute)),
        ("requests_burst", number(limits.requests_burst)),
        ("tokens_per_minute", number(limits.tokens_per_minute)),
        ("tokens_burst", number(limits.tokens_burst)),
        ("credits_per_day", credits(limits.credits_per_day)),
        ("credits_burst", credits(limits.credits_burst)),
        ("in_flight", number(limits.in_flight)),
        ("tiers", limits.tiers.as_ref().map(|tiers| json!(tiers))),
    ];
    let set = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(set.collect::<Map<_, _>>())
}

/// What tenants may do and begin with. `REQUESTS_PER_MINUTE` is for every plan that does not say.
pub(super) fn policy(reader: &mut Reader<'_>, tiers: &[Tier]) -> Policy {
    let requests_per_minute = reader.number("REQUESTS_PER_MINUTE", 600, 0, 1_000_000);
    let base = Limits { requests_per_minute: Some(requests_per_minute), ..Limits::default() };
    let mut plans = read(reader, &base);
    if plans.is_empty() {
        plans.insert(FREE.to_owned(), base);
    }
    let unknown = plans.values().flat_map(|plan| plan.tiers.iter().flatten());
    if unknown.into_iter().any(|named| tiers.iter().all(|tier| tier.name != *named)) {
        reader.problem("PLANS", "name only tiers that TIERS has");
    }
    let first = plans.keys().next().cloned().unwrap_or_default();
    let usual = if plans.contains_key(FREE) { FREE.to_owned() } else { first };
    let default_plan = named(reader, "DEFAULT_PLAN", &plans, &usual);
    let guest_plan = named(reader, "GUEST_PLAN", &plans, &default_plan);
    let ttl_s = reader.number("GUEST_GRANT_TTL_SEC", GUEST_GRANT_TTL_S, 1, GUEST_GRANT_TTL_S_MAX);
    Policy {
        plans,
        default_plan,
        guest_plan,
        guest_grant: reader.credits("GUEST_GRANT_CREDITS", Micro::ZERO),
        guest_grant_ttl_ms: ttl_s.saturating_mul(1_000),
    }
}

fn named(reader: &mut Reader<'_>, variable: &'static str, plans: &Plans, usual: &str) -> String {
    let name = reader.text(variable, usual);
    if plans.contains_key(&name) {
        return name;
    }
    reader.problem(variable, "name a plan that PLANS has");
    usual.to_owned()
}

fn read(reader: &mut Reader<'_>, base: &Limits) -> Plans {
    let Some(text) = (reader.look_up)("PLANS") else {
        return Plans::new();
    };
    let Ok(table) = serde_json::from_str::<BTreeMap<String, Value>>(&text) else {
        reader.problem("PLANS", "give a JSON object: a plan's name to its limits");
        return Plans::new();
    };
    let mut plans = Plans::new();
    for (name, limits) in table {
        match limits_from_json(&limits) {
            Ok(limits) => drop(plans.insert(name, base.overridden_by(&limits))),
            Err(wrong) => reader.problem("PLANS", format!("in the plan `{name}`: {wrong}")),
        }
    }
    plans
}
