//! Balance, its operator's changes, its entries and its holds.

use actors::credits::{Account, Adjustment};
use actors::shared::{Micro, TenantId};
use actors::tenant::{Command, Reply as ActorReply};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::context::{Context, unexpected};
use super::error::{ApiError, balance_fields};
use super::identity::{self, Caller, Proof};
use super::json_body;
use super::limits::{JSON_BODY_BYTES_MAX, LIST_ROWS_MAX, REASON_BYTES_MAX};
use super::moment::iso_time;
use super::reply::Reply;
use crate::platform::{log, now_ms, random_id};

/// `GET /api/credits`.
pub async fn balance(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let ActorReply::Balance(account) = context.ask_actor(&caller, Command::Balance).await? else {
        return Err(unexpected());
    };
    Ok(Reply::json(200, &Value::Object(balance_object(&caller.tenant, &account))))
}

fn balance_object(tenant: &TenantId, account: &Account) -> Map<String, Value> {
    let mut body = Map::new();
    balance_fields(&mut body, Some(tenant.label()), account.available, account.updated_at_ms);
    body
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
}

/// `POST /api/credits/adjust` by an operator: `{email, set?, delta?, reason?}`.
pub async fn adjust(context: &Context) -> Result<Reply, ApiError> {
    context.require_admin()?;
    let bytes = context.inbound.json_bytes(JSON_BODY_BYTES_MAX).await?;
    let idempotency = context.operator_idempotency(&bytes)?;
    let body: AdjustBody<'_> = json_body::parse(&bytes)?;
    let tenant = match body.email.as_ref().map(Value::as_str) {
        None => return Err(ApiError::MissingEmail),
        Some(None) => return Err(ApiError::InvalidEmail),
        Some(Some(email)) if email.trim().is_empty() => return Err(ApiError::MissingEmail),
        Some(Some(email)) => identity::named(email, context.admin_key())?,
    };
    let adjustment = match (amount(body.set)?, amount(body.delta)?) {
        (Some(_), Some(_)) => return Err(ApiError::SetAndDeltaConflict),
        (None, None) => return Err(ApiError::NothingToDo),
        (Some(balance), None) => Adjustment::Set(balance),
        (None, Some(delta)) => Adjustment::Delta(delta),
    };
    let reason = match body.reason.as_ref().map(Value::as_str) {
        None => None,
        Some(Some(reason)) if reason.len() <= REASON_BYTES_MAX => Some(reason.to_owned()),
        Some(_) => {
            return Err(ApiError::InvalidField { field: "reason", expected: "a text of at most 512 bytes" });
        }
    };
    let caller = Caller { tenant, proof: Proof::Admin };
    log::acted_for(&context.request_id, context.route, &caller.tenant.actor_name("tenant"));
    let operation = format!("adjust-{}", random_id());
    let command = Command::Adjust { operation, adjustment, reason, idempotency };
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

/// `GET /api/credits/ledger`: entries, newest first, each with the balance after it.
pub async fn ledger(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let command = Command::ListEntries {
        limit: context.inbound.query.limit(),
        cursor: context.inbound.query.get("cursor"),
    };
    let ActorReply::Entries(page) = context.ask_actor(&caller, command).await? else {
        return Err(unexpected());
    };
    let items: Vec<Value> = page
        .items
        .iter()
        .map(|entry| {
            json!({
                "seq": entry.seq,
                "created_at": iso_time(entry.at_ms),
                "kind": entry.kind,
                "amount": entry.amount_micro.credits(),
                "balance": entry.available_micro.credits(),
                "held": entry.held_micro.credits(),
                "shortfall": entry.shortfall_micro.credits(),
                "operation": entry.operation,
                "reason": entry.reason,
            })
        })
        .collect();
    let body = json!({ "email": caller.tenant.label(), "items": items, "next_cursor": page.next_cursor });
    Ok(Reply::json(200, &body))
}

/// `GET /api/credits/holds`: open holds with owner and deadline, the first to expire leading.
pub async fn holds(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let command = Command::ListHolds { limit: LIST_ROWS_MAX };
    let ActorReply::Holds(page) = context.ask_actor(&caller, command).await? else {
        return Err(unexpected());
    };
    let items: Vec<Value> = page
        .items
        .iter()
        .map(|hold| {
            json!({
                "id": hold.id,
                "amount": hold.amount_micro.credits(),
                "route": hold.route,
                "created_at": iso_time(hold.created_at_ms),
                "age_ms": now_ms().saturating_sub(hold.created_at_ms),
                "deadline": iso_time(hold.deadline_ms),
            })
        })
        .collect();
    let body = json!({
        "email": caller.tenant.label(), "items": items, "open": page.open, "next_cursor": Value::Null,
    });
    Ok(Reply::json(200, &body))
}
