//! `/api/admin/experiments`: what an operator sees and decides of experiments.

use actors::experiment::directory::Entry;
use actors::experiment::{
    ARMS_MAX, Arm, ArmReport, BEST_DRAWS, CREDIBLE_SHARE, Command, Definition, Page,
    Reply as ExperimentReply, Report, Steering, Sums, Transition, Turn,
};
use actors::shared::Refusal;
use serde::Deserialize;
use serde_json::{Value, json};

use super::admin_key::Slot;
use super::context::{Context, unexpected};
use super::error::ApiError;
use super::limits::{JSON_BODY_BYTES_MAX, SEQUENCE_MAX};
use super::moment::iso_time;
use super::question::is_skill;
use super::reply::Reply;
use super::{json_body, known_experiments, skill_versions};
use crate::platform::experiment_stub;

/// Where a skill stands in the path, counted in segments.
const SKILL_SEGMENT: usize = 4;
/// How long a unit keeps its arm when nothing is said: a day.
const STICKY_S_DEFAULT: i64 = 86_400;

/// `GET /api/admin/experiments`: the skills that have one.
pub async fn list(context: &Context) -> Result<Reply, ApiError> {
    context.require_admin()?;
    let listed = experiment_stub::directory(context.origin(), Entry::List).await?;
    Ok(Reply::json(200, &json!({ "experiments": listed.skills })))
}

/// `GET /api/admin/experiments/:skill?limit=&cursor=`, which are of its events.
pub async fn show(context: &Context) -> Result<Reply, ApiError> {
    context.require_admin()?;
    let (skill, query) = (skill(context)?, &context.inbound.query);
    let limit = query.get("limit").map(|_| query.limit());
    let page = Page { limit, cursor: query.get("cursor") };
    // Without a word of pages it is the command that older actors know too.
    let command = if page == Page::default() { Command::Report } else { Command::ReportPage(page) };
    reported(context, &skill, command).await
}

#[derive(Deserialize)]
struct DefinitionBody {
    arms: Option<Value>,
    control: Option<Value>,
    sticky_s: Option<Value>,
    reason: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ArmBody {
    name: String,
    skill_version: Option<Value>,
    system: Option<String>,
    model: Option<String>,
}

/// `PUT /api/admin/experiments/:skill` `{arms, control?, sticky_s?, reason?}`.
pub async fn define(context: &Context) -> Result<Reply, ApiError> {
    context.require_admin()?;
    let skill = skill(context)?;
    let bytes = context.inbound.json_bytes(JSON_BODY_BYTES_MAX).await?;
    let body: DefinitionBody = json_body::parse(&bytes)?;
    let arms = arms(context, body.arms)?;
    are_stored(context, &skill, &arms).await?;
    let first = arms.first().map(|arm| arm.name.clone()).unwrap_or_default();
    let control = text(body.control, "control")?.unwrap_or(first);
    let definition = Definition { arms, control, sticky_ms: sticky_ms(body.sticky_s)? };
    let reason = text(body.reason, "reason")?;
    // First the list: an experiment that is not on it would be given to nobody.
    let listed = experiment_stub::directory(context.origin(), Entry::Enter(skill.clone())).await?;
    known_experiments::learn(listed);
    let command = Command::Define { definition, reason, operator: operator(context) };
    reported(context, &skill, command).await
}

fn wrong(field: &str, expected: &str) -> ApiError {
    ApiError::InvalidSetting { field: field.to_owned(), expected: expected.to_owned() }
}

fn text(value: Option<Value>, field: &str) -> Result<Option<String>, ApiError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong(field, "a text")),
    }
}

fn sticky_ms(value: Option<Value>) -> Result<i64, ApiError> {
    let seconds = match value {
        None | Some(Value::Null) => Some(STICKY_S_DEFAULT),
        Some(value) => value.as_i64(),
    };
    // What is beyond all numbers is beyond the limit too, which the rules know.
    let ms = seconds.map(|seconds| seconds.saturating_mul(1_000));
    ms.ok_or_else(|| wrong("sticky_s", "whole seconds"))
}

fn arms(context: &Context, value: Option<Value>) -> Result<Vec<Arm>, ApiError> {
    const EXPECTED: &str = "a list of {\"name\", \"skill_version\"?, \"system\"?, \"model\"?}";
    let bodies = value.and_then(|value| Vec::<ArmBody>::deserialize(value).ok());
    let bodies = bodies.ok_or_else(|| wrong("arms", EXPECTED))?;
    let known = |provider: &str| context.config.providers.iter().any(|known| *known.name == *provider);
    let is_good = |model: &String| {
        model.split_once(':').is_some_and(|(provider, model)| known(provider) && !model.trim().is_empty())
    };
    if bodies.iter().any(|arm| arm.model.as_ref().is_some_and(|model| !is_good(model))) {
        return Err(wrong("arms.model", "`provider:model`, of a provider that is configured"));
    }
    let arm = |ArmBody { name, skill_version, system, model }: ArmBody| {
        let skill_version = skill_version.as_ref().map(version_of).transpose()?;
        Ok(Arm { name, skill_version, system, model })
    };
    bodies.into_iter().map(arm).collect()
}

/// What an arm's version must be.
const VERSION: &str =
    "the number of a version of this skill that is stored, and neither deletes it nor switches it off";

fn version_of(value: &Value) -> Result<i64, ApiError> {
    let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
    let number = number.filter(|number| (0..=SEQUENCE_MAX).contains(number));
    number.ok_or_else(|| wrong("arms.skill_version", VERSION))
}

/// Whether there is a version that answers for each arm. Versions stay as they are, so what is so now remains so.
///
/// # Errors
/// `InvalidSetting`; `Unavailable` when the catalog cannot be read.
async fn are_stored(context: &Context, skill: &str, arms: &[Arm]) -> Result<(), ApiError> {
    for version in arms.iter().take(ARMS_MAX).filter_map(|arm| arm.skill_version) {
        match skill_versions::of(context.origin(), skill, version).await {
            Ok(found) if found.terms.enabled => {}
            Ok(_) | Err(Refusal::UnknownVersion) => return Err(wrong("arms.skill_version", VERSION)),
            Err(refusal) => return Err(refusal.into()),
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct SteeringBody {
    reason: Option<Value>,
    arm: Option<Value>,
}

/// What an operator can do with an experiment, by the last segment of the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    Pause,
    Resume,
    Pin,
    Promote,
    Withdraw,
}

/// `POST /api/admin/experiments/:skill/…` `{reason, arm?}`.
pub async fn steer(context: &Context, wish: Wish) -> Result<Reply, ApiError> {
    context.require_admin()?;
    let skill = skill(context)?;
    let bytes = context.inbound.json_bytes(JSON_BODY_BYTES_MAX).await?;
    let body: SteeringBody = json_body::parse(&bytes)?;
    let reason = text(body.reason, "reason")?.unwrap_or_default();
    let arm = text(body.arm, "arm")?.unwrap_or_default();
    let turn = match wish {
        Wish::Pause => Turn::Pause,
        Wish::Resume => Turn::Resume,
        Wish::Pin => Turn::Pin { arm },
        Wish::Promote => Turn::Promote { arm },
        Wish::Withdraw => Turn::Withdraw,
    };
    let steering = Steering { turn, reason, operator: operator(context) };
    let reply = reported(context, &skill, Command::Steer(steering)).await?;
    if wish == Wish::Withdraw {
        // Last the list: a skill that is on it without an experiment is asked as every other.
        let listed = experiment_stub::directory(context.origin(), Entry::Strike(skill)).await?;
        known_experiments::learn(listed);
    }
    Ok(reply)
}

/// The skill that the path names.
fn skill(context: &Context) -> Result<String, ApiError> {
    let named = context.inbound.path.split('/').nth(SKILL_SEGMENT).filter(|skill| is_skill(skill));
    named.map(str::to_owned).ok_or(ApiError::NotFound)
}

fn operator(context: &Context) -> String {
    context.admin_key().slot().map(Slot::name).unwrap_or_default().to_owned()
}

async fn reported(context: &Context, skill: &str, command: Command) -> Result<Reply, ApiError> {
    match experiment_stub::send(context.origin(), skill, command).await? {
        ExperimentReply::Report(report) => Ok(Reply::json(200, &shown(&report))),
        _ => Err(unexpected()),
    }
}

fn shown(report: &Report) -> Value {
    let uplift = report.uplift.map(|uplift| {
        json!({
            "mean": rounded(uplift.mean),
            "even": rounded(uplift.even),
            "uplift": rounded(uplift.mean - uplift.even),
        })
    });
    json!({
        "skill": report.skill,
        "state": report.state,
        "arm": report.arm,
        "control": report.control,
        "sticky_s": report.sticky_ms / 1_000,
        "round": report.round,
        "began_at": iso_time(report.began_at_ms),
        "updated_at": iso_time(report.updated_at_ms),
        "arms": report.arms.iter().map(shown_arm).collect::<Vec<_>>(),
        "uplift": uplift,
        "credible_share": CREDIBLE_SHARE,
        "best_draws": BEST_DRAWS,
        "events": report.transitions.iter().map(shown_transition).collect::<Vec<_>>(),
        "next_cursor": report.next_cursor,
    })
}

fn shown_arm(arm: &ArmReport) -> Value {
    let each = |total: f64| (arm.answers > 0).then(|| rounded(total / as_float(arm.answers)));
    let (low, high) = arm.interval;
    json!({
        "name": arm.name,
        "skill_version": arm.terms.skill_version,
        "system": arm.terms.system,
        "model": arm.terms.model,
        "live": arm.live,
        "assignments": arm.answers,
        "outcomes": arm.sums.outcomes,
        "success": arm.sums.mean().map(rounded),
        "interval": { "low": rounded(low), "high": rounded(high) },
        "probability_best": arm.best,
        "requested": requested(arm.requested, arm.requested_sums),
        "cost_credits": rounded(as_float(arm.cost.0) / 1e6),
        "cost_credits_each": each(as_float(arm.cost.0) / 1e6),
        "latency_ms_each": each(as_float(arm.latency_ms)),
    })
}

/// Answers whose arm the client chose: shown, and no part of the odds.
fn requested(assignments: i64, sums: Sums) -> Value {
    json!({ "assignments": assignments, "outcomes": sums.outcomes, "success": sums.mean().map(rounded) })
}

fn shown_transition(done: &Transition) -> Value {
    json!({
        "seq": done.seq,
        "at": iso_time(done.at_ms),
        "kind": done.kind,
        "arm": done.arm,
        "reason": done.reason,
        "operator": done.operator,
        "detail": done.detail,
    })
}

#[allow(clippy::cast_precision_loss)]
const fn as_float(number: i64) -> f64 {
    number as f64
}

/// Six digits: more says nothing of what was counted.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
