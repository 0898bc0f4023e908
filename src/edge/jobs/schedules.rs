//! `/api/jobs/schedules`: jobs that are made again and again, by the clock of a time zone.

use std::collections::BTreeMap;
use std::rc::Rc;

use actors::jobs::{LastRun, NewSchedule, Schedule};
use actors::tenant::{JobCommand, JobReply};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::ask;
use super::create::{JobBody, Manner, new_job};
use super::shown::params_of;
use crate::edge::context::{Context, unexpected};
use crate::edge::error::ApiError;
use crate::edge::identity::Caller;
use crate::edge::json_body;
use crate::edge::limits::{JSON_BODY_BYTES_MAX, SCHEDULE_ID_BYTES_MAX};
use crate::edge::meter;
use crate::edge::moment::iso_time;
use crate::edge::reply::Reply;
use crate::platform::calendar::{Misread, Times};
use crate::platform::now_ms;

/// The time zone of a schedule that names none.
const USUAL_ZONE: &str = "UTC";

#[derive(Deserialize)]
struct ScheduleBody<'a> {
    cron: Option<Value>,
    time_zone: Option<Value>,
    paused: Option<Value>,
    #[serde(borrow)]
    job: Option<&'a RawValue>,
}

/// The name in the path. Paths have no case.
fn id(context: &Context) -> Result<String, ApiError> {
    let id = context.inbound.last_segment().unwrap_or_default();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=SCHEDULE_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(plain) {
        return Ok(id);
    }
    Err(ApiError::InvalidField { field: "id", expected: "1 to 64 letters, digits and `-`" })
}

/// `PUT /api/jobs/schedules/:id`: sets it, or takes the place of the one of that name.
pub async fn set(context: &Rc<Context>) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    meter::refused_before(context, &caller)?;
    let id = id(context)?;
    let bytes = context.inbound.json_bytes(JSON_BODY_BYTES_MAX).await?;
    if context.inbound.header("idempotency-key").is_some() {
        // It is the same however often it is sent.
        let expected = "absent: what is set twice is set once";
        return Err(ApiError::InvalidField { field: "Idempotency-Key", expected });
    }
    let body: ScheduleBody<'_> = json_body::parse(&bytes)?;
    let wrong_cron = ApiError::InvalidField {
        field: "cron",
        expected: "five fields: minute, hour, day, month and day of the week, or a name such as `@daily`, at a time that comes",
    };
    let wrong_zone =
        ApiError::InvalidField { field: "time_zone", expected: "a name such as `Europe/Berlin`" };
    let cron = body.cron.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
    let time_zone = match &body.time_zone {
        None | Some(Value::Null) => USUAL_ZONE.to_owned(),
        Some(Value::String(zone)) => zone.clone(),
        Some(_) => return Err(wrong_zone),
    };
    let paused = match &body.paused {
        None | Some(Value::Null) => false,
        Some(Value::Bool(paused)) => *paused,
        Some(_) => return Err(ApiError::InvalidField { field: "paused", expected: "true or false" }),
    };
    let times = Times::read(&cron, &time_zone).map_err(|misread| match misread {
        Misread::Cron => wrong_cron.clone(),
        Misread::Zone => wrong_zone,
    })?;
    let next_run_ms = times.next_ms(now_ms()).ok_or(wrong_cron)?;
    let job = body.job.map(RawValue::get).filter(|job| job.starts_with('{'));
    let job =
        job.ok_or(ApiError::InvalidField { field: "job", expected: "an object, as a job is made of" })?;
    let members: BTreeMap<String, IgnoredAny> = json_body::parse(job.as_bytes())?;
    members.keys().try_for_each(|name| member(name))?;
    let job: JobBody<'_> = json_body::parse(job.as_bytes())?;
    let job = new_job(context, &caller, &job, Manner::Scheduled).await?;
    let next_run_ms = (!paused).then_some(next_run_ms);
    let new = NewSchedule { id, cron, time_zone, next_run_ms, job };
    match ask(context, &caller, JobCommand::SetSchedule(new)).await? {
        JobReply::Schedule(schedule) => Ok(one(&caller, &schedule)),
        _ => Err(unexpected()),
    }
}

/// Whether a schedule's job has a member of that name: what is not looked at is not taken.
fn member(name: &str) -> Result<(), ApiError> {
    let expected = "absent: its time is the schedule's";
    match name {
        "type" | "params" | "priority" | "dedupe_key" => Ok(()),
        "delay_s" => Err(ApiError::InvalidField { field: "delay_s", expected }),
        "run_at" => Err(ApiError::InvalidField { field: "run_at", expected }),
        _ => {
            let expected = "an object of `type`, `params`, `priority` and `dedupe_key`, and nothing else";
            Err(ApiError::InvalidField { field: "job", expected })
        }
    }
}

async fn all(context: &Context, caller: &Caller) -> Result<Vec<Schedule>, ApiError> {
    match ask(context, caller, JobCommand::ListSchedules).await? {
        JobReply::Schedules(all) => Ok(all),
        _ => Err(unexpected()),
    }
}

/// `GET /api/jobs/schedules`: all of them, by their names.
pub async fn list(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let items: Vec<Value> = all(context, &caller).await?.iter().map(schedule_object).collect();
    Ok(Reply::json(200, &json!({ "email": caller.tenant.label(), "items": items })))
}

/// `GET /api/jobs/schedules/:id`
pub async fn show(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let id = id(context)?;
    let found = all(context, &caller).await?.into_iter().find(|schedule| schedule.terms.id == id);
    found.map(|schedule| one(&caller, &schedule)).ok_or(ApiError::NotFound)
}

/// `DELETE /api/jobs/schedules/:id`. Jobs that it made stay.
pub async fn delete(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    match ask(context, &caller, JobCommand::DeleteSchedule { id: id(context)? }).await? {
        JobReply::Deleted => Ok(Reply::json(200, &json!({ "ok": true }))),
        _ => Err(unexpected()),
    }
}

fn one(caller: &Caller, schedule: &Schedule) -> Reply {
    Reply::json(200, &json!({ "email": caller.tenant.label(), "schedule": schedule_object(schedule) }))
}

fn schedule_object(schedule: &Schedule) -> Value {
    let Schedule { terms: NewSchedule { id, cron, time_zone, next_run_ms, job }, last } = schedule;
    let last = last.as_ref().map(|LastRun { run_at_ms, job, refused, refusal }| {
        let code = refusal.clone().map(|refusal| ApiError::from(refusal).code());
        json!({ "run_at": iso_time(*run_at_ms), "job": job, "refused": code, "message": refused })
    });
    json!({
        "id": id,
        "cron": cron,
        "time_zone": time_zone,
        "paused": next_run_ms.is_none(),
        "api_key": job.terms.owner.api_key,
        "next_run_at": next_run_ms.map(iso_time),
        "job": {
            "type": job.kind,
            "params": params_of(&job.params),
            "priority": job.priority,
            "dedupe_key": job.dedupe,
        },
        "last_run": last,
    })
}
