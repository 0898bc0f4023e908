//! Looking at jobs: one, a list, the dead-letter list, what there is of each kind, a result as a file.

use actors::jobs::{JobFilter, JobPage, JobStats, JobWithBody, Rates, Status, TypeCounts};
use actors::tenant::{JobCommand, JobReply};
use serde_json::{Map, Value, json};

use super::shown::{job_object, result_of, whole_object};
use super::{ask, id};
use crate::edge::context::{Context, unexpected};
use crate::edge::error::ApiError;
use crate::edge::identity::Caller;
use crate::edge::reply::Reply;

/// A job of the caller's with all that is kept of it.
///
/// # Errors
/// `NotFound`, also for another tenant's.
pub async fn found(context: &Context, caller: &Caller, id: String) -> Result<JobWithBody, ApiError> {
    match ask(context, caller, JobCommand::Get { id }).await? {
        JobReply::Job(found) => Ok(found),
        _ => Err(unexpected()),
    }
}

/// `GET /api/jobs/:id`
pub async fn show(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let found = found(context, &caller, id(context)).await?;
    Ok(Reply::json(200, &json!({ "job": whole_object(&caller.tenant, &found) })))
}

/// `GET /api/jobs/:id/download`: the result of a job that is over, as a file.
pub async fn download(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let found = found(context, &caller, id(context)).await?;
    let status = found.job.state.status();
    if !found.job.state.is_final() {
        return Err(ApiError::NotFinished { status: status.name().to_owned() });
    }
    // It was cancelled, or its result was forgotten: there is nothing to give.
    let result = result_of(&caller.tenant, &found).ok_or(ApiError::NotFound)?;
    let name = format!("attachment; filename=\"job-{}.json\"", found.job.id);
    Ok(Reply::json(200, &result).with("content-disposition", name))
}

/// `GET /api/jobs`: newest first; `status` and `type` narrow it.
pub async fn list(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let query = &context.inbound.query;
    let status = query.get("status").or_else(|| query.get("state"));
    let status: Option<Status> = match status {
        None => None,
        Some(name) => Some(serde_json::from_value(json!(name)).map_err(|_| ApiError::InvalidField {
            field: "status",
            expected: "queued, running, succeeded, failed or cancelled",
        })?),
    };
    let filter =
        JobFilter { limit: query.limit(), cursor: query.get("cursor"), status, kind: query.get("type") };
    page(&caller, ask(context, &caller, JobCommand::List(filter)).await?)
}

/// `GET /api/jobs/dead`: jobs that failed, the last one first.
pub async fn dead(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let query = &context.inbound.query;
    let asked = JobCommand::DeadLetters { limit: query.limit(), cursor: query.get("cursor") };
    page(&caller, ask(context, &caller, asked).await?)
}

fn page(caller: &Caller, reply: JobReply) -> Result<Reply, ApiError> {
    let JobReply::Page(JobPage { items, next_cursor }) = reply else { return Err(unexpected()) };
    let items: Vec<Map<String, Value>> = items.iter().map(|job| job_object(&caller.tenant, job)).collect();
    let body = json!({ "email": caller.tenant.label(), "items": items, "next_cursor": next_cursor });
    Ok(Reply::json(200, &body))
}

/// `GET /api/jobs/stats`
pub async fn stats(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let JobReply::Stats(stats) = ask(context, &caller, JobCommand::Stats).await? else {
        return Err(unexpected());
    };
    let JobStats { depth, delayed, running, oldest_ms, by_type, rates } = stats;
    let rates: Vec<Value> = rates.iter().map(rates_object).collect();
    Ok(Reply::json(
        200,
        &json!({
            "email": caller.tenant.label(),
            "depth": depth,
            "delayed": delayed,
            "running": running,
            "oldest_ms": oldest_ms,
            "by_type": by_type,
            "rates": rates,
        }),
    ))
}

/// Each count, per minute.
fn rates_object(rates: &Rates) -> Value {
    let Rates { minutes, at_least, counted_ms, by_type } = rates;
    let per_minute = |count: u32| f64::from(count) / f64::from((*minutes).max(1));
    let of_type = |counts: &TypeCounts| {
        let TypeCounts { kind, made, started, retried, succeeded, failed, cancelled } = counts;
        json!({
            "type": kind,
            "made": per_minute(*made),
            "started": per_minute(*started),
            "retried": per_minute(*retried),
            "succeeded": per_minute(*succeeded),
            "failed": per_minute(*failed),
            "cancelled": per_minute(*cancelled),
        })
    };
    let by_type: Vec<Value> = by_type.iter().map(of_type).collect();
    json!({ "minutes": minutes, "at_least": at_least, "counted_ms": counted_ms, "by_type": by_type })
}
