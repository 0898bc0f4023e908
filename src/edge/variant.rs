//! The variant of its skill that answers an ask, where the skill has an experiment: the version of the skill that an arm
//! holds, with what the arm says besides.
//!
//! An experiment never stands between a client and its answer: where its actor does not answer in time, or the arm's
//! version cannot be read, the ask goes on as if there were none.

use std::rc::Rc;

use actors::experiment::{Answered, Arm, Ask, Assigned, By, Command, Reply};
use actors::shared::{Micro, TenantId};
use sha2::{Digest, Sha256};

use super::catalog::Skill;
use super::context::Context;
use super::identity::Caller;
use super::known_experiments;
use super::question::Question;
use super::skill_versions;
use crate::platform::config::Provider;
use crate::platform::{experiment_stub, log, now_ms, timer};

/// How long an ask waits to hear which arm it gets, or that its answer was noted.
const PATIENCE_MS: i64 = 1_000;
/// The kind in the digest that an experiment keeps of a tenant.
const KIND: &str = "experiment";

/// Which arm of which experiment answers.
pub struct Variant {
    /// The skill, as experiments name it.
    skill: String,
    pub arm: Arm,
    by: By,
    round: i64,
    unit: String,
    began_ms: i64,
}

impl Variant {
    /// As clients and usage rows name it: `skill/arm`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.skill, self.arm.name)
    }

    /// `providers` with the arm's model before all others; the others stay, in case it does not answer.
    fn ordered(&self, providers: &[Provider]) -> Option<Vec<Provider>> {
        let (name, model) = self.arm.model.as_deref()?.split_once(':')?;
        let own = providers.iter().find(|provider| *provider.name == *name)?;
        // A place of its own, so that no weight puts another one before it.
        let first = Provider { place: 0, ..own.with_model(model) };
        let others = providers.iter().filter(|provider| *provider.name != *name);
        let others = others.map(|other| Provider { place: other.place.saturating_add(1), ..other.clone() });
        Some(std::iter::once(first).chain(others).collect())
    }
}

/// The skill as experiments name it: paths have no case.
pub fn skill_key(skill: &str) -> String {
    skill.to_ascii_lowercase()
}

/// What an experiment knows a tenant by.
pub fn tenant_digest(tenant: &TenantId) -> String {
    tenant.actor_name(KIND)
}

/// What keeps an arm: the tenant, or that client of its.
fn unit_of(tenant: &str, client: Option<&str>) -> String {
    // A tenant's digest has one length, so no two pairs make the same bytes.
    let mut unit =
        format!("{:x}", Sha256::new_with_prefix(tenant).chain_update(client.unwrap_or_default()).finalize());
    // Half of it is plenty to tell a hundred thousand apart.
    unit.truncate(32);
    unit
}

/// Finds out which arm answers, and which version of the skill with it. A question that brings its own system prompt is
/// asked as it is, and is no part of an experiment: its answer says nothing of the skill's.
pub async fn assign(context: &Context, caller: &Caller, question: &mut Question) {
    let Some(skill) = question.skill.as_deref().map(skill_key) else { return };
    if question.own_system
        || !known_experiments::has(context.origin(), &skill, context.config.experiments_ttl_ms).await
    {
        return;
    }
    let header = |name| context.inbound.header_filled(name).map(|value| value.trim().to_owned());
    let unit = unit_of(&tenant_digest(&caller.tenant), header("x-client-id").as_deref());
    let wanted = header("x-ab-variant").map(|wanted| wanted.to_ascii_lowercase());
    // As `X-Variant` says it is good as well.
    let wanted =
        wanted.map(|wanted| wanted.strip_prefix(&format!("{skill}/")).map_or(wanted.clone(), str::to_owned));
    let asked =
        experiment_stub::send(context.origin(), &skill, Command::Assign(Ask { unit: unit.clone(), wanted }));
    let Ok(Ok(Reply::Assigned(Some(Assigned { arm, by, round })))) = timer::within(PATIENCE_MS, asked).await
    else {
        return;
    };
    if let Some(version) = arm.skill_version {
        let is_current = |by: &&Rc<Skill>| by.version == version && by.name == skill;
        let found = match question.answered_by.as_ref().filter(is_current) {
            Some(current) => Some(Rc::clone(current)),
            None => skill_versions::at_hand(context.origin(), &skill, version).await,
        };
        let Some(found) = found else { return };
        question.answered_by = Some(found);
    }
    question.variant = Some(Variant { skill, arm, by, round, unit, began_ms: now_ms() });
}

/// Those that may answer, in the order that the arm wants.
pub fn providers(variant: Option<&Variant>, usual: Vec<Provider>) -> Vec<Provider> {
    variant.and_then(|variant| variant.ordered(&usual)).unwrap_or(usual)
}

/// Notes an answer that was charged, so that it can be scored. Without this it is an answer like any other.
pub async fn note(context: &Context, caller: &Caller, variant: Option<&Variant>, charged: Micro) {
    let Some(variant) = variant else { return };
    let answered = Answered {
        request_id: context.request_id.clone(),
        tenant: tenant_digest(&caller.tenant),
        unit: variant.unit.clone(),
        arm: variant.arm.name.clone(),
        by: variant.by,
        round: variant.round,
        cost: charged,
        latency_ms: now_ms().saturating_sub(variant.began_ms),
    };
    let noted = experiment_stub::send(context.origin(), &variant.skill, Command::Answered(answered));
    if !matches!(timer::within(PATIENCE_MS, noted).await, Ok(Ok(Reply::Noted))) {
        log::fault_of(&context.request_id, "answer_not_noted", "its experiment did not say that it was");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::config::{AttemptDeadlines, Images, ProviderKind};

    fn provider(name: &str) -> Provider {
        let model = format!("{name}-usual");
        let models = [model.clone()].into();
        let deadlines =
            AttemptDeadlines { connect_ms: 1, first_token_ms: 1, idle_ms: 1, answer_ms: 1, stream_ms: 1 };
        let (kind, base) = (ProviderKind::OpenAiCompatible, String::new());
        let images = Images::All(true).into();
        Provider {
            name: name.into(),
            kind,
            base,
            key: None,
            model,
            models,
            images,
            deadlines,
            place: 0,
            weight: 1,
        }
    }

    fn ordered(model: Option<&str>) -> Vec<String> {
        let arm =
            Arm { name: "a".to_owned(), skill_version: None, system: None, model: model.map(str::to_owned) };
        let variant = Variant {
            skill: "s".to_owned(),
            arm,
            by: By::Chance,
            round: 1,
            unit: String::new(),
            began_ms: 0,
        };
        let usual = vec![provider("groq"), provider("local")];
        let providers = providers(Some(&variant), usual);
        providers.into_iter().map(|provider| format!("{}={}", provider.name, provider.model)).collect()
    }

    #[test]
    fn the_model_of_an_arm_is_asked_first_and_the_others_stay() {
        let usual = ["groq=groq-usual", "local=local-usual"];
        assert_eq!(ordered(Some("local:@cf/x:1")), ["local=@cf/x:1", "groq=groq-usual"]);
        assert_eq!(ordered(Some("groq:other")), ["groq=other", "local=local-usual"]);
        for none in [None, Some("openai:x"), Some("groq")] {
            assert_eq!(ordered(none), usual, "{none:?}");
        }
    }

    #[test]
    fn a_client_is_a_unit_of_its_own_within_its_tenant() {
        let (me, you) = ("v1-aa", "v1-bb");
        let units = [
            unit_of(me, None),
            unit_of(me, Some("1")),
            unit_of(me, Some("2")),
            unit_of(you, None),
            unit_of(you, Some("1")),
        ];
        let distinct: std::collections::BTreeSet<&String> = units.iter().collect();
        assert_eq!(distinct.len(), units.len());
        assert!(units.iter().all(|unit| unit.len() == 32));
        assert_eq!(unit_of(me, Some("1")), units[1]);
    }
}
