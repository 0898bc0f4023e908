//! Balance, now and at any entry, and its operator's changes.

use actors::credits::{Account, Adjustment, Grant, GrantKind, GrantTerms};
use actors::shared::{Micro, TenantId};
use actors::tenant::{Command, Reply as ActorReply};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::context::{Context, unexpected};
use super::error::{ApiError, balance_fields};
use super::identity::Caller;
use super::json_body;
use super::limits::{JSON_BODY_BYTES_MAX, REASON_BYTES_MAX};
use super::moment::{iso_time, moment_ms};
use super::reply::Reply;
use crate::platform::random_id;

/// `GET /api/credits`; with `?entry=` the balance right after that entry of the ledger.
pub async fn balance(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    if let Some(entry) = context.inbound.query.sequence("entry")? {
        return balance_at(context, &caller, entry).await;
    }
    let ActorReply::Balance(account) = context.ask_actor(&caller, Command::Balance).await? else {
        return Err(unexpected());
    };
    Ok(Reply::json(200, &Value::Object(balance_object(&caller.tenant, &account))))
}

async fn balance_at(context: &Context, caller: &Caller, entry: i64) -> Result<Reply, ApiError> {
    let ActorReply::BalanceAt(entry) = context.ask_actor(caller, Command::BalanceAt { entry }).await? else {
        return Err(unexpected());
    };
    let mut body = Map::new();
    balance_fields(&mut body, Some(caller.tenant.label()), entry.available_micro, entry.at_ms);
    body.insert("held".to_owned(), json!(entry.held_micro.credits()));
    body.insert("balance_micro".to_owned(), json!(entry.available_micro));
    body.insert("held_micro".to_owned(), json!(entry.held_micro));
    body.insert("entry".to_owned(), json!(entry.seq));
    body.insert("hash".to_owned(), json!(entry.hash));
    Ok(Reply::json(200, &Value::Object(body)))
}

fn balance_object(tenant: &TenantId, account: &Account) -> Map<String, Value> {
    let mut body = Map::new();
    balance_fields(&mut body, Some(tenant.label()), account.available, account.updated_at_ms);
    body.insert("held".to_owned(), json!(account.held.credits()));
    let grants: Vec<Value> = account.live_grants().map(grant_object).collect();
    body.insert("grants".to_owned(), json!(grants));
    body
}

/// A live grant: what it is, what is left of it, and what is held of it.
fn grant_object(grant: &Grant) -> Value {
    json!({
        "id": grant.id,
        "kind": grant.terms.kind,
        "priority": grant.terms.priority,
        "expires_at": grant.terms.expires_at_ms.map(iso_time),
        "left": grant.left.credits(),
        "held": grant.held.credits(),
    })
}

/// Known fields as raw values, so that each wrong type gets its own answer.
#[derive(Deserialize)]
struct AdjustBody<'a> {
    email: Option<Value>,
    // As written: a number too large for a double is an amount out of bounds, not bad JSON.
    #[serde(borrow)]
    set: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    reason: Option<Value>,
    reference: Option<Value>,
    // Terms of a grant; any of them makes a positive delta one.
    kind: Option<Value>,
    priority: Option<Value>,
    expires_at: Option<Value>,
}

/// `POST /api/credits/adjust` by an operator: `{email, set?, delta?, reason?, reference?, kind?, priority?,
/// expires_at?}`.
pub async fn adjust(context: &Context) -> Result<Reply, ApiError> {
    context.require_admin()?;
    let bytes = context.inbound.json_bytes(JSON_BODY_BYTES_MAX).await?;
    let body: AdjustBody<'_> = json_body::parse(&bytes)?;
    let caller = context.named_by_operator(body.email.as_ref())?;
    let idempotency = context.idempotency(&caller, &bytes)?;
    let adjustment = match (amount(body.set)?, amount(body.delta)?) {
        (Some(_), Some(_)) => return Err(ApiError::SetAndDeltaConflict),
        (None, None) => return Err(ApiError::NothingToDo),
        (Some(balance), None) => Adjustment::Set(balance),
        (None, Some(delta)) => Adjustment::Delta(delta),
    };
    let adjustment = with_terms(adjustment, grant_terms(&body)?)?;
    let reason = text(body.reason.as_ref(), "reason")?;
    let reference = text(body.reference.as_ref(), "reference")?;
    let operation = format!("adjust-{}", random_id());
    let command = Command::Adjust { operation, adjustment, reason, reference, idempotency };
    let ActorReply::Adjusted { adjusted, replayed } = context.ask_actor(&caller, command).await? else {
        return Err(unexpected());
    };
    let mut body = balance_object(&caller.tenant, &adjusted.account);
    if adjusted.shortfall > Micro::ZERO {
        body.insert("shortfall".to_owned(), json!(adjusted.shortfall.credits()));
    }
    let reply = Reply::json(200, &Value::Object(body));
    Ok(if replayed { reply.with("idempotency-replayed", "true") } else { reply })
}

fn text(value: Option<&Value>, field: &'static str) -> Result<Option<String>, ApiError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() <= REASON_BYTES_MAX => Ok(Some(text.clone())),
        Some(_) => Err(ApiError::InvalidField { field, expected: "a text of at most 512 bytes" }),
    }
}

/// The terms a grant is given with; `None` when nothing is said of them.
fn grant_terms(body: &AdjustBody<'_>) -> Result<Option<GrantTerms>, ApiError> {
    let said = |value: &Option<Value>| value.clone().filter(|value| !value.is_null());
    let (kind, priority, expires_at) = (said(&body.kind), said(&body.priority), said(&body.expires_at));
    if kind.is_none() && priority.is_none() && expires_at.is_none() {
        return Ok(None);
    }
    let mut terms = GrantTerms::default();
    if let Some(kind) = kind {
        let expected = "`promotional` or `paid`";
        terms.kind =
            GrantKind::deserialize(kind).map_err(|_| ApiError::InvalidField { field: "kind", expected })?;
    }
    if let Some(priority) = priority {
        let expected = "a whole number from 0 to 1000";
        terms.priority = priority.as_i64().ok_or(ApiError::InvalidField { field: "priority", expected })?;
    }
    if let Some(expires_at) = expires_at {
        let text = expires_at.as_str().map_or_else(|| expires_at.to_string(), str::to_owned);
        let expected = "an RFC 3339 time or a number since 1970";
        let at_ms = moment_ms(&text).ok_or(ApiError::InvalidField { field: "expires_at", expected })?;
        terms.expires_at_ms = Some(at_ms);
    }
    Ok(Some(terms))
}

/// Only credit that is added has terms.
fn with_terms(adjustment: Adjustment, terms: Option<GrantTerms>) -> Result<Adjustment, ApiError> {
    match (adjustment, terms) {
        (adjustment, None) => Ok(adjustment),
        (Adjustment::Delta(delta), Some(terms)) if delta > Micro::ZERO => Ok(Adjustment::Grant(delta, terms)),
        (_, Some(_)) => Err(ApiError::InvalidField {
            field: "delta",
            expected: "above zero where kind, priority or expires_at are given",
        }),
    }
}

/// An amount in credits; `null` counts as absent.
fn amount(value: Option<&RawValue>) -> Result<Option<Micro>, ApiError> {
    match value.map(RawValue::get) {
        None | Some("null") => Ok(None),
        Some(number) => {
            let credits = number.parse::<f64>().ok();
            // What is too small to book is no amount; rounded away, a negative one would pass as zero.
            let micro = credits.and_then(Micro::from_credits);
            let micro = micro.filter(|micro| *micro != Micro::ZERO || credits == Some(0.0));
            micro.map(Some).ok_or(ApiError::InvalidAmount)
        }
    }
}
