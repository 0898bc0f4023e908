//! `/api/credits/limits`: what a tenant may do, as it sees it, and as an operator sets it.

use std::collections::BTreeMap;

use actors::credits::caps::{Cap, CapTerms};
use actors::jobs::JobLimits;
use actors::notices::Webhook;
use actors::rate::{BudgetLeft, CREDITS_PER_DAY, Limits};
use actors::shared::{Micro, Period};
use actors::tenant::{Command, LimitsReport, Reply as ActorReply, Settings, TopUp};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::context::{Context, unexpected};
use super::error::ApiError;
use super::identity::{Caller, Proof};
use super::json_body;
use super::limits::JSON_BODY_BYTES_MAX;
use super::moment::iso_time;
use super::reply::Reply;
use crate::platform::config::{limits_from_json, limits_to_json};
use crate::platform::webhook_address::{WEBHOOK_URL, webhook_url};
use crate::platform::{random_bytes, webhook};

/// `GET`: the plan, what differs from it, and what is left of each budget and cap.
pub async fn show(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let ActorReply::Limits(report) = context.ask_actor(&caller, Command::Limits).await? else {
        return Err(unexpected());
    };
    Ok(Reply::json(200, &Value::Object(report_object(&caller, &report))))
}

/// Amounts in credits. Everything that is not said is as if it had never been set.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    email: Option<Value>,
    plan: Option<String>,
    limits: Option<Value>,
    #[serde(default)]
    keys: BTreeMap<String, Value>,
    #[serde(default)]
    caps: Vec<WireCap>,
    #[serde(default)]
    fingerprint_window_ms: i64,
    low_balance: Option<f64>,
    top_up: Option<WireTopUp>,
    webhook: Option<WireWebhook>,
    jobs: Option<WireJobs>,
}

/// What a body that is none of these is told.
const SETTINGS: &str = "`email`, and any of `plan`, `limits`, `keys`, `caps` (`id`, `period` of `day` or `month`, \
    `limit`, `soft`, `api_key`, `model`), `fingerprint_window_ms`, `low_balance`, `top_up` (`below`, `amount`), \
    `webhook` (`url`, `secret`) and `jobs` (`running`, `running_by_type`)";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireCap {
    id: String,
    period: Period,
    limit: f64,
    soft: Option<f64>,
    api_key: Option<String>,
    model: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireTopUp {
    below: f64,
    amount: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireWebhook {
    url: String,
    secret: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireJobs {
    running: Option<u32>,
    #[serde(default)]
    running_by_type: BTreeMap<String, u32>,
}

/// `PUT` by an operator: replaces what was set for the tenant. A secret that is made here is shown this once.
pub async fn set(context: &Context) -> Result<Reply, ApiError> {
    context.require_admin()?;
    let bytes = context.inbound.json_bytes(JSON_BODY_BYTES_MAX).await?;
    let value: Value = json_body::parse(&bytes)?;
    let body = Body::deserialize(&value).map_err(|_| ApiError::invalid_setting("settings", SETTINGS))?;
    let caller = context.named_by_operator(body.email.as_ref())?;
    let settings = settings(context, body)?;
    let fresh_secret = webhook::secret(random_bytes());
    let command = Command::SetLimits { settings: Box::new(settings), fresh_secret: fresh_secret.clone() };
    let ActorReply::Limits(report) = context.ask_actor(&caller, command).await? else {
        return Err(unexpected());
    };
    let mut shown = report_object(&caller, &report);
    let made = report.settings.webhook.as_ref().is_some_and(|hook| hook.secret == fresh_secret);
    if made {
        shown.insert("webhook_secret".to_owned(), json!(fresh_secret));
    }
    Ok(Reply::json(200, &Value::Object(shown)))
}

fn settings(context: &Context, body: Body) -> Result<Settings, ApiError> {
    let limits = |value: &Value| {
        let limits = limits_from_json(value).map_err(|wrong| ApiError::invalid_setting("limits", &wrong))?;
        let configured = |name: &String| context.config.tiers.iter().any(|tier| tier.name == *name);
        if limits.tiers.iter().flatten().all(configured) {
            return Ok(limits);
        }
        Err(ApiError::invalid_setting("limits", "in `tiers`, only names that TIERS has"))
    };
    let keys = body.keys.iter().map(|(key, value)| Ok((key.clone(), limits(value)?)));
    let webhook = body.webhook.map(|hook| hook_of(context, hook)).transpose()?;
    Ok(Settings {
        plan: body.plan,
        limits: body.limits.as_ref().map_or(Ok(Limits::default()), limits)?,
        keys: keys.collect::<Result<_, ApiError>>()?,
        caps: body.caps.into_iter().map(cap_terms).collect::<Result<_, _>>()?,
        fingerprint_window_ms: body.fingerprint_window_ms,
        low_balance: body.low_balance.map(|amount| credits("low_balance", amount)).transpose()?,
        top_up: body.top_up.map(top_up).transpose()?,
        webhook,
        jobs: body.jobs.map_or_else(JobLimits::default, |WireJobs { running, running_by_type }| JobLimits {
            running,
            running_by_type,
        }),
    })
}

fn cap_terms(cap: WireCap) -> Result<CapTerms, ApiError> {
    Ok(CapTerms {
        limit: credits("caps", cap.limit)?,
        soft: cap.soft.map(|amount| credits("caps", amount)).transpose()?,
        id: cap.id,
        period: cap.period,
        api_key: cap.api_key,
        model: cap.model,
    })
}

fn top_up(wire: WireTopUp) -> Result<TopUp, ApiError> {
    Ok(TopUp { below: credits("top_up", wire.below)?, amount: credits("top_up", wire.amount)? })
}

/// An address this service would call, so it must not point inside; and the secret, when the operator has one.
fn hook_of(context: &Context, wire: WireWebhook) -> Result<Webhook, ApiError> {
    webhook_url(&wire.url, context.config.environment)
        .ok_or_else(|| ApiError::invalid_setting("webhook", WEBHOOK_URL))?;
    if wire.secret.as_ref().is_some_and(|secret| !webhook::is_secret(secret)) {
        return Err(ApiError::invalid_setting(
            "webhook",
            "a secret of `whsec_` and 24 to 64 bytes in base64",
        ));
    }
    Ok(Webhook { url: wire.url, secret: wire.secret.unwrap_or_default() })
}

fn credits(field: &str, amount: f64) -> Result<Micro, ApiError> {
    Micro::from_credits(amount).ok_or_else(|| ApiError::invalid_setting(field, "an amount of credits"))
}

/// Settings and counts as clients see them: amounts in credits, and no secret.
fn report_object(caller: &Caller, report: &LimitsReport) -> Map<String, Value> {
    let settings = &report.settings;
    let keys: Map<String, Value> =
        settings.keys.iter().map(|(key, limits)| (key.clone(), limits_to_json(limits))).collect();
    let fields = [
        ("email", json!(caller.tenant.label())),
        ("plan", json!(settings.plan)),
        ("limits", limits_to_json(&settings.limits)),
        ("effective", limits_to_json(&report.effective)),
        ("keys", Value::Object(keys)),
        ("budgets", report.budgets.iter().map(budget_object).collect()),
        ("caps", report.caps.iter().map(cap_object).collect()),
        ("fingerprint_window_ms", json!(settings.fingerprint_window_ms)),
        ("low_balance", json!(settings.low_balance.map(Micro::credits))),
        (
            "top_up",
            json!(settings.top_up.map(|top_up| json!({
                "below": top_up.below.credits(),
                "amount": top_up.amount.credits(),
            }))),
        ),
        ("jobs", json!(settings.jobs)),
        ("webhook", json!(settings.webhook.as_ref().map(|hook| json!({ "url": shown_url(caller, hook) })))),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Paths and queries of webhooks often hold a secret of the receiver, so only an operator, who set it, sees them.
fn shown_url(caller: &Caller, hook: &Webhook) -> String {
    if caller.proof == Proof::Admin {
        return hook.url.clone();
    }
    url::Url::parse(&hook.url).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
}

fn budget_object(budget: &BudgetLeft) -> Value {
    let amount = |number: i64| {
        if budget.policy == CREDITS_PER_DAY { json!(Micro(number).credits()) } else { json!(number) }
    };
    json!({
        "policy": budget.policy,
        "limit": amount(budget.limit),
        "remaining": amount(budget.remaining),
        "window_ms": budget.window_ms,
        "reset_ms": budget.reset_ms,
    })
}

fn cap_object(cap: &Cap) -> Value {
    let CapTerms { id, period, limit, soft, api_key, model } = &cap.terms;
    json!({
        "id": id,
        "period": period,
        "limit": limit.credits(),
        "soft": soft.map(Micro::credits),
        "api_key": api_key,
        "model": model,
        "spent": cap.spent.credits(),
        "held": cap.held.credits(),
        "period_start": iso_time(cap.period_start_ms),
    })
}
