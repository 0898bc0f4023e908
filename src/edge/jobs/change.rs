//! What a client does to its jobs: cancels them, begins them anew, works on them itself.

use std::collections::BTreeMap;

use actors::jobs::Patch;
use actors::tenant::{JobCommand, JobReply, RedriveAll};
use serde_json::{Map, Value, json};

use super::shown::job_object;
use super::{ask, id};
use crate::edge::context::{Context, unexpected};
use crate::edge::error::ApiError;
use crate::edge::identity::Caller;
use crate::edge::json_body;
use crate::edge::limits::JSON_BODY_BYTES_MAX;
use crate::edge::reply::Reply;

/// Jobs that are looked at at once, when nothing is said.
const REDRIVE_DEFAULT: u32 = 100;

/// `POST /api/jobs/:id/cancel`
pub async fn cancel(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    changed(context, &caller, JobCommand::Cancel { id: id(context) }).await
}

/// `POST /api/jobs/:id/retry`: one of the dead-letter list, begun anew.
pub async fn retry(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let id = id(context);
    // What it asks is in its path.
    let idempotency = context.idempotency(&caller, id.as_bytes())?;
    changed(context, &caller, JobCommand::Redrive { id, idempotency }).await
}

/// `PATCH /api/jobs/:id`
pub async fn patch(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let bytes = context.inbound.json_bytes(JSON_BODY_BYTES_MAX).await?;
    let body: Map<String, Value> = json_body::parse(&bytes)?;
    let patch = Patch::from_body(&body).map_err(ApiError::from)?;
    changed(context, &caller, JobCommand::Patch { id: id(context), patch }).await
}

async fn changed(context: &Context, caller: &Caller, command: JobCommand) -> Result<Reply, ApiError> {
    let (reply, replayed) = once(ask(context, caller, command).await?);
    let JobReply::Changed(job) = reply else { return Err(unexpected()) };
    let reply = Reply::json(200, &json!({ "ok": true, "job": job_object(&caller.tenant, &job) }));
    Ok(marked(reply, replayed))
}

/// What was answered, and whether to an earlier request with the same key.
fn once(reply: JobReply) -> (JobReply, bool) {
    match reply {
        JobReply::Again(first) => (*first, true),
        reply => (reply, false),
    }
}

fn marked(reply: Reply, replayed: bool) -> Reply {
    if replayed { reply.with("idempotency-replayed", "true") } else { reply }
}

/// `POST /api/jobs/dead/redrive` `{limit?, cursor?}`: the oldest of the dead-letter list. Those that are refused are passed
/// over, and counted by the code of the error.
pub async fn redrive(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let bytes = context.inbound.json_bytes(JSON_BODY_BYTES_MAX).await?;
    let idempotency = context.idempotency(&caller, &bytes)?;
    let body: Map<String, Value> = if bytes.is_empty() { Map::new() } else { json_body::parse(&bytes)? };
    let limit = match body.get("limit") {
        None | Some(Value::Null) => REDRIVE_DEFAULT,
        Some(value) => {
            let limit = value.as_u64().filter(|limit| (1..=u64::from(REDRIVE_DEFAULT)).contains(limit));
            let limit = limit.and_then(|limit| u32::try_from(limit).ok());
            limit
                .ok_or(ApiError::InvalidField { field: "limit", expected: "a whole number from 1 to 100" })?
        }
    };
    let cursor = match body.get("cursor") {
        None | Some(Value::Null) => None,
        Some(Value::String(cursor)) => Some(cursor.clone()),
        Some(_) => return Err(ApiError::InvalidCursor),
    };
    let asked = JobCommand::RedriveAll(RedriveAll { limit, cursor, idempotency });
    let (reply, replayed) = once(ask(context, &caller, asked).await?);
    let JobReply::Redriven { jobs, refused, next_cursor } = reply else { return Err(unexpected()) };
    let mut by_code: BTreeMap<&str, u32> = BTreeMap::new();
    for (refusal, count) in refused {
        let of_code = by_code.entry(ApiError::from(refusal).code()).or_default();
        *of_code = of_code.saturating_add(count);
    }
    let count: u32 = by_code.values().sum();
    let body = json!({
        "ok": true,
        "jobs": jobs,
        "refused": count,
        "refused_by": by_code,
        "more": next_cursor.is_some(),
        "next_cursor": next_cursor,
    });
    Ok(marked(Reply::json(200, &body), replayed))
}
