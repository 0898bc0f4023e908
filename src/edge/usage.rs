//! The usage feed, and events that clients report themselves.

use actors::credits::{Usage, UsageFilter};
use actors::shared::Micro;
use actors::tenant::{Command, Reply as ActorReply};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::context::{Context, unexpected};
use super::error::ApiError;
use super::json_body;
use super::limits::{
    JSON_BODY_BYTES_MAX, USAGE_AHEAD_MS_MAX, USAGE_META_BYTES_MAX, USAGE_TEXT_BYTES_MAX, USAGE_TOKENS_MAX,
};
use super::moment::moment_ms;
use super::refusals;
use super::reply::Reply;
use crate::platform::{now_ms, random_id};
use crate::shown::usage_item;

/// `GET /api/billing/usage`: newest first.
pub async fn list(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let query = &context.inbound.query;
    let filter = UsageFilter {
        limit: query.limit(),
        cursor: query.get("cursor"),
        since_ms: query.since_ms(now_ms())?,
    };
    let ActorReply::Usage(page) = context.ask_actor(&caller, Command::ListUsage(filter)).await? else {
        return Err(unexpected());
    };
    let items: Vec<Value> = page.items.iter().map(|event| usage_item(&caller.tenant, event)).collect();
    let body = json!({ "email": caller.tenant.label(), "items": items, "next_cursor": page.next_cursor });
    Ok(Reply::json(200, &body))
}

#[derive(Deserialize)]
struct UsageBody {
    id: Option<Value>,
    created_at: Option<Value>,
    route: Option<Value>,
    tokens_in: Option<Value>,
    tokens_out: Option<Value>,
    cost_credits: Option<Value>,
    meta: Option<Value>,
}

/// `POST /api/billing/usage`: records what a client says it used. Debits nothing.
pub async fn record(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let bytes = context.inbound.json_bytes(JSON_BODY_BYTES_MAX).await?;
    let idempotency = context.idempotency(&caller, &bytes)?;
    let body: UsageBody = json_body::parse(&bytes)?;
    let created_at_ms = match &body.created_at {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(moment_ms(text).ok_or(bad_time())?),
        Some(Value::Number(number)) => Some(moment_ms(&number.to_string()).ok_or(bad_time())?),
        Some(_) => return Err(bad_time()),
    };
    if created_at_ms.is_some_and(|at_ms| at_ms > now_ms().saturating_add(USAGE_AHEAD_MS_MAX)) {
        let expected = "a time that is not in the future";
        return Err(ApiError::InvalidField { field: "created_at", expected });
    }
    let cost = match &body.cost_credits {
        None | Some(Value::Null) => None,
        Some(value) => {
            let cost = value.as_f64().and_then(Micro::from_credits).filter(|cost| *cost >= Micro::ZERO);
            Some(cost.ok_or(ApiError::InvalidField {
                field: "cost_credits",
                expected: "a number of credits, zero or more",
            })?)
        }
    };
    let usage = Usage {
        route: text(body.route.as_ref(), "route")?,
        tokens_in: tokens(body.tokens_in.as_ref(), "tokens_in")?,
        tokens_out: tokens(body.tokens_out.as_ref(), "tokens_out")?,
        model: None,
        meta: Some(meta(body.meta.as_ref())?),
    };
    let id = text(body.id.as_ref(), "id")?.unwrap_or_else(random_id);
    let has_key = idempotency.is_some();
    if let Some(refusal) = refusals::recall(&caller.tenant, 1, has_key, now_ms()) {
        return Err(ApiError::from(refusal));
    }
    let command = Command::RecordUsage { id, usage, cost, created_at_ms, idempotency };
    let answer = context.send_metered(&caller, command).await;
    let answer = answer.inspect_err(|refusal| refusals::remember(&caller.tenant, 1, refusal, now_ms()));
    let ActorReply::Recorded { event, replayed } = Context::heard(&caller, answer)? else {
        return Err(unexpected());
    };
    let reply = Reply::json(200, &json!({ "ok": true, "event": usage_item(&caller.tenant, &event) }));
    Ok(if replayed { reply.with("idempotency-replayed", "true") } else { reply })
}

const fn bad_time() -> ApiError {
    ApiError::InvalidField { field: "created_at", expected: "an RFC 3339 time or a number since 1970" }
}

fn text(value: Option<&Value>, field: &'static str) -> Result<Option<String>, ApiError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if (1..=USAGE_TEXT_BYTES_MAX).contains(&text.len()) => {
            Ok(Some(text.clone()))
        }
        Some(_) => Err(ApiError::InvalidField { field, expected: "a text of 1 to 255 bytes" }),
    }
}

fn tokens(value: Option<&Value>, field: &'static str) -> Result<Option<i64>, ApiError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let count = value.as_u64().filter(|count| *count <= USAGE_TOKENS_MAX);
            let count = count.and_then(|count| i64::try_from(count).ok());
            count
                .map(Some)
                .ok_or(ApiError::InvalidField { field, expected: "a whole number from 0 to 10000000" })
        }
    }
}

/// The client's own object, marked as the client's: what we measure has another basis.
fn meta(value: Option<&Value>) -> Result<Box<RawValue>, ApiError> {
    const WRONG: ApiError =
        ApiError::InvalidField { field: "meta", expected: "an object of at most 4096 bytes" };
    let mut object = match value {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(object)) => object.clone(),
        Some(_) => return Err(WRONG),
    };
    object.insert("basis".to_owned(), json!("client"));
    let json = Value::Object(object).to_string();
    if json.len() > USAGE_META_BYTES_MAX {
        return Err(WRONG);
    }
    RawValue::from_string(json).map_err(|_| WRONG)
}
