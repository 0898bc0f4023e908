//! `POST /api/jobs`: a job is made with its credit set aside, and called for.

use std::rc::Rc;

use actors::jobs::{Job, NewJob, PARAMS_BYTES_MAX, PRIORITY_DEFAULT, Terms};
use actors::shared::Refusal;
use actors::tenant::{Command, Idempotency, JobCommand, JobReply, Reply as ActorReply};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::shown::{job_object, params_of, shown_params};
use crate::edge::context::{Context, unexpected};
use crate::edge::error::ApiError;
use crate::edge::identity::Caller;
use crate::edge::limits::JSON_BODY_BYTES_MAX;
use crate::edge::moment::moment_ms;
use crate::edge::operation::Operation;
use crate::edge::reply::Reply;
use crate::edge::{catalog, json_body, meter, offer, refusals};
use crate::jobs::Stored;
use crate::jobs::kinds::{self, FINAL_ERRORS, Kind, Making, Prepared};
use crate::platform::{detached, job_id, now_ms, tenant_stub};

/// What a job is of that does not say so.
const USUAL_KIND: &str = "si";

/// Known fields as raw values, so that each wrong type gets its own answer.
#[derive(Deserialize)]
pub struct JobBody<'a> {
    #[serde(rename = "type")]
    kind: Option<Value>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    priority: Option<Value>,
    delay_s: Option<Value>,
    run_at: Option<Value>,
    dedupe_key: Option<Value>,
}

/// When a job is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// In its turn, and again after a failure.
    Later,
    /// While its client waits: before others, and once.
    Now,
    /// Each time a schedule says so.
    Scheduled,
}

/// A job that was made, or was there already.
pub struct Made {
    pub caller: Caller,
    pub job: Job,
    pub params: Option<Value>,
    pub deduped: bool,
    pub replayed: bool,
}

pub async fn create(context: &Rc<Context>) -> Result<Reply, ApiError> {
    let made = make(context, Manner::Later).await?;
    let mut job = job_object(&made.caller.tenant, &made.job);
    if let Some(params) = made.params {
        job.insert("params".to_owned(), params);
    }
    let mut body = Map::from_iter([("job".to_owned(), Value::Object(job))]);
    if made.deduped {
        body.insert("deduped".to_owned(), json!(true));
    }
    let reply = Reply::json(200, &Value::Object(body));
    Ok(if made.replayed { reply.with("idempotency-replayed", "true") } else { reply })
}

/// Makes the job that the request asks for.
///
/// # Errors
/// One code for each mistake, and every reason of the actor's not to take it.
pub async fn make(context: &Rc<Context>, manner: Manner) -> Result<Made, ApiError> {
    let caller = context.caller().await?;
    meter::refused_before(context, &caller)?;
    let bytes = context.inbound.json_bytes(JSON_BODY_BYTES_MAX).await?;
    let idempotency = context.idempotency(&caller, &bytes)?;
    let body: JobBody<'_> = json_body::parse(&bytes)?;
    let new = match new_job(context, &caller, &body, manner).await {
        // What was made once is told again, also when its files were deleted since.
        Err(gone @ ApiError::AttachmentNotFound { .. }) => {
            return made_before(context, caller, &body, idempotency).await?.ok_or(gone);
        }
        new => new?,
    };
    let params = params_of(&new.params);
    let weight = new.terms.owner.weight.requests;
    let command = Command::Jobs(Box::new(JobCommand::Create { job: new, idempotency }));
    let answer = context.send_metered(&caller, command).await.map_err(|refusal: Refusal| {
        refusals::remember(&caller.tenant, weight, &refusal, now_ms());
        meter::of_caller(refusal, &caller)
    });
    let ActorReply::Jobs(reply) = answer? else { return Err(unexpected()) };
    let JobReply::Created { job, deduped, replayed } = *reply else { return Err(unexpected()) };
    // Another job's params are not these.
    let params = params.filter(|_| !deduped);
    Ok(Made { caller, job, params, deduped, replayed })
}

/// The job that this very request made before; `None` when there is none.
async fn made_before(
    context: &Context,
    caller: Caller,
    body: &JobBody<'_>,
    idempotency: Option<Idempotency>,
) -> Result<Option<Made>, ApiError> {
    let Some(idempotency) = idempotency else { return Ok(None) };
    let stored = match context.ask_actor(&caller, Command::Recall { idempotency }).await? {
        ActorReply::Replay(stored) => stored,
        ActorReply::NotAnswered => return Ok(None),
        _ => return Err(unexpected()),
    };
    let (job, deduped): (Job, bool) = serde_json::from_str(stored.reply.get()).map_err(|_| unexpected())?;
    let params = body.params.and_then(shown_params).filter(|_| !deduped);
    Ok(Some(Made { caller, job, params, deduped, replayed: true }))
}

/// Reads what is asked for, and prices it.
///
/// # Errors
/// One code for each mistake.
pub async fn new_job(
    context: &Rc<Context>,
    caller: &Caller,
    body: &JobBody<'_>,
    manner: Manner,
) -> Result<NewJob, ApiError> {
    let kind = kind_of(body.kind.as_ref())?;
    let params = match body.params.filter(|params| params.get().starts_with('{')) {
        // The client's own bytes: what is kept beside them is no business of its.
        Some(params) if params.get().len() > PARAMS_BYTES_MAX => {
            return Err(ApiError::invalid_setting("params", "at most 65536 bytes of JSON"));
        }
        Some(params) => params.to_owned(),
        None => return Err(ApiError::InvalidField { field: "params", expected: "an object" }),
    };
    let known = catalog::current(context).await;
    let tier = offer::tier(context, &context.config)?;
    let tier = tier.map(|tier| tier.name.clone());
    let making =
        Making { operation: Operation::clone(context), known, caller: caller.clone(), tier: tier.clone() };
    // Apart from the connection: of a client that goes away nothing is heard, and its files would stay in memory.
    let prepared = detached::first_value(&context.event, move |reply_to| async move {
        let prepared = (kind.prepare)(&making, &params).await;
        let _gone = reply_to.send(prepared.map(|prepared| (prepared, params)));
    });
    let (prepared, params) = prepared.await.unwrap_or(Err(ApiError::Unavailable))?;
    let Prepared { amount, owner, quote, file_bytes } = prepared;
    let stored = Stored { params, quote, file_bytes };
    let params = to_raw_value(&stored).map_err(|_| ApiError::InvalidJson)?;
    let rules = (kind.rules)(context.config.jobs);
    let terms = Terms {
        amount,
        owner,
        tier,
        ttl_ms: rules.ttl_ms,
        lease_ms: rules.lease_ms,
        attempts_max: if manner == Manner::Now { 1 } else { rules.attempts_max },
        wait_first_ms: rules.wait_first_ms,
        wait_max_ms: rules.wait_max_ms,
        final_errors: final_errors(kind),
        result_ttl_ms: rules.result_ttl_ms,
        schedule: None,
    };
    let usual_priority = if manner == Manner::Now { actors::jobs::PRIORITY_MAX } else { PRIORITY_DEFAULT };
    Ok(NewJob {
        id: job_id::fresh(&tenant_stub::name_of(&caller.tenant)),
        kind: kind.name.to_owned(),
        params,
        priority: priority(body.priority.as_ref(), usual_priority)?,
        run_at_ms: if manner == Manner::Later { run_at_ms(body)? } else { None },
        dedupe: dedupe(body.dedupe_key.as_ref())?,
        terms,
    })
}

fn final_errors(kind: &Kind) -> Vec<String> {
    FINAL_ERRORS.iter().chain(kind.final_errors).map(|code| (*code).to_owned()).collect()
}

fn kind_of(asked: Option<&Value>) -> Result<&'static Kind, ApiError> {
    let name = match asked {
        None | Some(Value::Null) => USUAL_KIND,
        Some(Value::String(name)) => name,
        Some(_) => return Err(ApiError::InvalidField { field: "type", expected: "a text" }),
    };
    kinds::find(name).ok_or_else(|| ApiError::UnsupportedType { kind: name.chars().take(64).collect() })
}

fn priority(asked: Option<&Value>, usual: i64) -> Result<i64, ApiError> {
    match asked {
        None | Some(Value::Null) => Ok(usual),
        Some(value) => value
            .as_i64()
            .filter(|priority| (0..=actors::jobs::PRIORITY_MAX).contains(priority))
            .ok_or(ApiError::InvalidField { field: "priority", expected: "a whole number from 0 to 9" }),
    }
}

fn dedupe(asked: Option<&Value>) -> Result<Option<String>, ApiError> {
    match asked {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(key)) if (1..=actors::jobs::DEDUPE_BYTES_MAX).contains(&key.len()) => {
            Ok(Some(key.clone()))
        }
        Some(_) => Err(ApiError::InvalidField { field: "dedupe_key", expected: "a text of 1 to 255 bytes" }),
    }
}

/// When it is to run: so many seconds from now, or at a time.
fn run_at_ms(body: &JobBody<'_>) -> Result<Option<i64>, ApiError> {
    let (now_ms, latest_ms) = (now_ms(), actors::jobs::DELAY_MS_MAX);
    let delay_ms = match &body.delay_s {
        None | Some(Value::Null) => None,
        Some(value) => {
            let seconds = value.as_f64().filter(|seconds| (0.0..=2_592_000.0).contains(seconds));
            let wrong = ApiError::InvalidField { field: "delay_s", expected: "seconds from 0 to 2592000" };
            #[allow(clippy::cast_possible_truncation)]
            let ms = seconds.map(|seconds| (seconds * 1_000.0) as i64);
            Some(ms.ok_or(wrong)?)
        }
    };
    let wrong = ApiError::InvalidField {
        field: "run_at",
        expected: "an RFC 3339 time or a number since 1970, at most 30 days ahead, and no `delay_s` beside it",
    };
    let run_at_ms = match &body.run_at {
        None | Some(Value::Null) => return Ok(delay_ms.map(|delay_ms| now_ms.saturating_add(delay_ms))),
        Some(Value::String(text)) => moment_ms(text),
        Some(Value::Number(number)) => moment_ms(&number.to_string()),
        Some(_) => None,
    };
    let within = |at_ms: &i64| *at_ms <= now_ms.saturating_add(latest_ms);
    run_at_ms.filter(within).filter(|_| delay_ms.is_none()).map(Some).ok_or(wrong)
}
