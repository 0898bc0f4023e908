//! What a client does to its jobs: cancels them, begins them anew, works on them itself.

use actors::jobs::Patch;
use actors::tenant::{JobCommand, JobReply};
use serde_json::{Map, Value, json};

use super::shown::job_object;
use super::{ask, id};
use crate::edge::context::{Context, unexpected};
use crate::edge::error::ApiError;
use crate::edge::identity::Caller;
use crate::edge::json_body;
use crate::edge::limits::JSON_BODY_BYTES_MAX;
use crate::edge::reply::Reply;

/// Jobs that are begun anew at once, when nothing is said.
const REDRIVE_DEFAULT: u32 = 100;

/// `POST /api/jobs/:id/cancel`
pub async fn cancel(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    changed(context, &caller, JobCommand::Cancel { id: id(context) }).await
}

/// `POST /api/jobs/:id/retry`: one of the dead-letter list, begun anew.
pub async fn retry(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    changed(context, &caller, JobCommand::Redrive { id: id(context) }).await
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
    let JobReply::Changed(job) = ask(context, caller, command).await? else { return Err(unexpected()) };
    Ok(Reply::json(200, &json!({ "ok": true, "job": job_object(&caller.tenant, &job) })))
}

/// `POST /api/jobs/dead/redrive` `{limit?}`: the oldest of the dead-letter list, as far as the credit lasts.
pub async fn redrive(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let bytes = context.inbound.json_bytes(JSON_BODY_BYTES_MAX).await?;
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
    let JobReply::Redriven { jobs, more, refused } =
        ask(context, &caller, JobCommand::RedriveAll { limit }).await?
    else {
        return Err(unexpected());
    };
    let refused = refused.map(|refusal| json!(ApiError::from(refusal).code()));
    Ok(Reply::json(200, &json!({ "ok": true, "jobs": jobs, "more": more, "refused": refused })))
}
