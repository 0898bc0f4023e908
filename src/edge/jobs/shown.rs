//! A job as clients see it.

use actors::jobs::{Job, JobWithBody, Reason, Status};
use actors::shared::TenantId;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::edge::moment::iso_time;
use crate::jobs::{SECRET, Stored};

/// All but what is large.
pub fn job_object(tenant: &TenantId, job: &Job) -> Map<String, Value> {
    let Job { terms, life, .. } = job;
    let status = job.state.status();
    let waits_until = (status == Status::Queued).then(|| iso_time(life.run_at_ms));
    let fields = [
        ("id", Some(json!(job.id))),
        ("email", Some(json!(tenant.label()))),
        ("type", Some(json!(job.kind))),
        ("status", Some(json!(status))),
        ("priority", Some(json!(job.priority))),
        ("attempts", Some(json!(life.attempts))),
        ("attempts_max", Some(json!(terms.attempts_max))),
        ("created_at", Some(json!(iso_time(job.created_at_ms)))),
        ("updated_at", Some(json!(iso_time(job.updated_at_ms)))),
        ("expires_at", Some(json!(iso_time(job.expires_at_ms)))),
        ("run_at", waits_until.map(|at| json!(at))),
        ("finished_at", life.finished_at_ms.map(|at_ms| json!(iso_time(at_ms)))),
        ("progress", life.progress.as_ref().map(|progress| json!(progress))),
        ("last_error", life.error.as_ref().map(|error| json!(error))),
        ("reason", life.reason.map(|reason| json!(reason))),
        ("dedupe_key", job.dedupe.as_ref().map(|key| json!(key))),
        ("schedule", terms.schedule.as_ref().map(|id| json!(id))),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// With what it was asked, and what came of it.
pub fn whole_object(tenant: &TenantId, found: &JobWithBody) -> Map<String, Value> {
    let mut object = job_object(tenant, &found.job);
    let params = found.params.as_ref().and_then(|params| params_of(params));
    for (name, value) in [("params", params), ("result", result_of(tenant, found))] {
        if let Some(value) = value {
            object.insert(name.to_owned(), value);
        }
    }
    object
}

/// What the client asked, of what is kept.
pub fn params_of(stored: &RawValue) -> Option<Value> {
    let stored: Stored = serde_json::from_str(stored.get()).ok()?;
    shown_params(&stored.params)
}

/// What the client asked, as it is shown. A secret that it gave is not shown again.
pub fn shown_params(params: &RawValue) -> Option<Value> {
    let mut params: Map<String, Value> = serde_json::from_str(params.get()).ok()?;
    params.remove(SECRET);
    Some(Value::Object(params))
}

/// What came of a job, and of one without a result what it got done so far. What was charged is not in the result itself:
/// the actor knew it only when it kept it.
pub fn result_of(tenant: &TenantId, found: &JobWithBody) -> Option<Value> {
    let life = &found.job.life;
    let mut result = found.result.as_ref().and_then(|result| serde_json::from_str(result.get()).ok());
    if found.job.state.status() == Status::Failed {
        let error = life.error.as_ref();
        let code =
            error.map_or_else(|| json!(life.reason.unwrap_or(Reason::Expired)), |error| json!(error.code));
        let members = result.get_or_insert_with(|| json!({})).as_object_mut()?;
        members.insert("error".to_owned(), code);
        if let Some(error) = error {
            members.insert("message".to_owned(), json!(error.message));
        }
        members.insert("reason".to_owned(), json!(life.reason));
    }
    // Of what is not over yet, nothing was charged.
    if let (Some(Value::Object(members)), Some(balance)) = (&mut result, life.balance) {
        members.insert("credits_used".to_owned(), json!(life.charged.credits()));
        // A guest has no balance to be told.
        if !tenant.is_guest() {
            members.insert("balance_after".to_owned(), json!(balance.credits()));
        }
    }
    result
}
