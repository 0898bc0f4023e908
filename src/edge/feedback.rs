//! `POST /api/si/feedback`: how good an answer was, said by whose answer it is.

use actors::credits::UsageFilter;
use actors::experiment::{Command, Feedback, Reply as ExperimentReply, SCORE_PPM};
use actors::tenant::{Command as TenantCommand, Reply as TenantReply};
use serde::Deserialize;
use serde_json::{Value, json};

use super::context::{Context, unexpected};
use super::error::ApiError;
use super::identity::Caller;
use super::json_body;
use super::limits::{JSON_BODY_BYTES_MAX, LIST_ROWS_MAX, REQUEST_ID_BYTES_MAX};
use super::question::is_skill;
use super::reply::Reply;
use super::{known_experiments, variant};
use crate::platform::experiment_stub;

#[derive(Deserialize)]
struct FeedbackBody {
    request_id: Option<Value>,
    score: Option<Value>,
    success: Option<Value>,
    skill: Option<Value>,
}

/// `{request_id, score or success, skill?}`. `request_id` is the answer's `X-Request-Id`, and the skill is the part of
/// its `X-Variant` before the slash; without it, the skill is looked up among the tenant's latest asks.
pub async fn take(context: &Context) -> Result<Reply, ApiError> {
    let caller = context.caller().await?;
    let bytes = context.inbound.json_bytes(JSON_BODY_BYTES_MAX).await?;
    let body: FeedbackBody = json_body::parse(&bytes)?;
    let request_id = request_id(body.request_id.as_ref())?;
    let score_ppm = score_ppm(body.score.as_ref(), body.success.as_ref())?;
    let skill = match body.skill {
        None | Some(Value::Null) => skill_of(context, &caller, &request_id).await?,
        Some(Value::String(skill)) if is_skill(&skill) => variant::skill_key(&skill),
        Some(_) => return Err(ApiError::InvalidField { field: "skill", expected: "the name of a skill" }),
    };
    // A name that anybody can make up wakes no actor.
    if !known_experiments::has(context.origin(), &skill, context.config.experiments_ttl_ms).await {
        return Err(ApiError::NotFound);
    }
    let tenant = variant::tenant_digest(&caller.tenant);
    let feedback = Feedback { request_id: request_id.clone(), tenant, score_ppm };
    let answer = experiment_stub::send(context.origin(), &skill, Command::Feedback(feedback)).await?;
    let ExperimentReply::Scored(scored) = answer else {
        return Err(unexpected());
    };
    let body = json!({
        "ok": true,
        "request_id": request_id,
        "variant": format!("{skill}/{}", scored.arm),
        "first": scored.first,
        "counted": scored.counted,
    });
    Ok(Reply::json(200, &body))
}

fn request_id(value: Option<&Value>) -> Result<String, ApiError> {
    let is_id = |id: &&str| {
        (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let expected = "the X-Request-Id of an answer";
    let id = value.and_then(Value::as_str).filter(is_id);
    id.map(str::to_owned).ok_or(ApiError::InvalidField { field: "request_id", expected })
}

/// A score in millionths; success is one, and failure zero.
fn score_ppm(score: Option<&Value>, success: Option<&Value>) -> Result<i64, ApiError> {
    let said = |value: Option<&Value>| value.filter(|value| !value.is_null()).cloned();
    let wrong = |field, expected| Err(ApiError::InvalidField { field, expected });
    match (said(score), said(success)) {
        (Some(score), None) => match score.as_f64().filter(|score| (0.0..=1.0).contains(score)) {
            Some(score) => {
                #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
                let ppm = (score * SCORE_PPM as f64).round() as i64;
                Ok(ppm)
            }
            None => wrong("score", "a number from 0 to 1"),
        },
        (None, Some(Value::Bool(success))) => Ok(if success { SCORE_PPM } else { 0 }),
        (None, Some(_)) => wrong("success", "true or false"),
        (None, None) => wrong("score", "there, or `success`"),
        (Some(_), Some(_)) => wrong("score", "alone, or `success` instead of it"),
    }
}

/// The skill of one of the tenant's latest asks, as its usage has it.
async fn skill_of(context: &Context, caller: &Caller, request_id: &str) -> Result<String, ApiError> {
    let latest = UsageFilter { limit: LIST_ROWS_MAX, cursor: None, since_ms: None };
    let TenantReply::Usage(page) = context.ask_actor(caller, TenantCommand::ListUsage(latest)).await? else {
        return Err(unexpected());
    };
    let metas = page.items.iter().filter_map(|event| event.meta.as_deref());
    metas.filter_map(|meta| skill_in(meta.get(), request_id)).next().ok_or(ApiError::NotFound)
}

#[derive(Deserialize)]
struct AskMeta {
    request_id: Option<String>,
    variant: Option<String>,
}

fn skill_in(meta: &str, request_id: &str) -> Option<String> {
    let meta: AskMeta = serde_json::from_str(meta).ok()?;
    let variant = meta.variant.filter(|_| meta.request_id.as_deref() == Some(request_id))?;
    variant.split_once('/').map(|(skill, _)| skill.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_said_in_one_way() {
        let ppm = |score: Value, success: Value| score_ppm(Some(&score), Some(&success)).ok();
        assert_eq!(ppm(json!(0.25), Value::Null), Some(250_000));
        assert_eq!((ppm(json!(0), Value::Null), ppm(json!(1), Value::Null)), (Some(0), Some(1_000_000)));
        assert_eq!(
            (ppm(Value::Null, json!(true)), ppm(Value::Null, json!(false))),
            (Some(1_000_000), Some(0))
        );
        for (score, success) in [
            (json!(1.000_001), Value::Null),
            (json!(-0.1), Value::Null),
            (json!("1"), Value::Null),
            (Value::Null, json!(1)),
            (Value::Null, Value::Null),
            (json!(1), json!(true)),
        ] {
            assert_eq!(ppm(score.clone(), success.clone()), None, "{score} {success}");
        }
    }

    #[test]
    fn a_request_id_is_one_of_ours() {
        assert!(request_id(Some(&json!("8f3c-AB12"))).is_ok());
        for bad in [json!(""), json!("a b"), json!("x".repeat(65)), json!(7), Value::Null] {
            assert!(request_id(Some(&bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_skill_is_found_by_the_request_and_its_variant() {
        let meta = r#"{"request_id":"r1","variant":"summary/b","skill":"Summary"}"#;
        assert_eq!(skill_in(meta, "r1").as_deref(), Some("summary"));
        assert_eq!(skill_in(meta, "r2"), None);
        assert_eq!(skill_in(r#"{"request_id":"r1"}"#, "r1"), None);
        assert_eq!(skill_in("[]", "r1"), None);
    }
}
