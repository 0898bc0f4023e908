//! Arms that hold stored versions of their skill: each answers with its version's prompt, preferences, limits and price.

use crate::stage::{Experiment, unique_skill};
use http_tests::client::{Reply, unique_marker};
use http_tests::vars::{GROQ_MODEL, LOCAL_MODEL, OPENAI_MODEL};
use http_tests::world::{Tenant, World, text, whole};
use reqwest::Method;
use serde_json::{Value, json};

/// A skill whose versions say which they are.
struct Versions {
    experiment: Experiment,
    /// Stands in every one of its prompts.
    marker: String,
}

impl Versions {
    fn of(world: &World, name: &str) -> Self {
        let experiment = Experiment { skill: unique_skill(name), client: world.client() };
        Self { experiment, marker: unique_marker() }
    }

    fn path(&self) -> String {
        format!("/api/admin/skills/{}", self.experiment.skill)
    }

    fn prompt(&self, version: i64) -> String {
        format!("{} version {version}", self.marker)
    }

    /// Stores the next version, with these terms beside its prompt.
    async fn store(&self, version: i64, mut terms: Value) {
        terms["system"] = json!(self.prompt(version));
        terms["reason"] = json!("a test of versions");
        let put = self.experiment.client.call(Method::PUT, &self.path()).admin().json(&terms);
        assert_eq!(whole(&put.send().await.expect(200).json(), "version"), version);
    }

    async fn delete(&self) {
        let gone = self.experiment.client.call(Method::DELETE, &self.path()).query("reason", "no more of it");
        gone.admin().send().await.expect(200);
    }

    /// Answered by that arm, because it is wanted.
    async fn wanting(&self, tenant: &Tenant, arm: &str) -> Reply {
        let reply = self.experiment.ask(tenant).header("x-ab-variant", arm).send().await.expect(200);
        assert_eq!(self.experiment.arm_in(&reply), arm);
        reply
    }

    /// What providers were told first, in the order of the calls to each.
    fn prompts(&self, world: &World) -> Vec<String> {
        let calls = world.providers().into_iter().flat_map(|provider| provider.calls(&self.marker));
        calls.map(|call| call.json()["messages"][0]["content"].as_str().expect("a text").to_owned()).collect()
    }
}

fn two_arms() -> Value {
    json!({"arms": [{"name": "one", "skill_version": 1}, {"name": "two", "skill_version": 2}], "sticky_s": 0})
}

async fn meta_of(tenant: &Tenant, reply: &Reply) -> Value {
    let request_id = reply.must_header("x-request-id");
    let items = tenant.usage().await;
    let item = items.iter().find(|item| item["meta"]["request_id"] == request_id);
    item.unwrap_or_else(|| panic!("no usage of {request_id} in {items:?}"))["meta"].clone()
}

#[tokio::test]
async fn each_arm_answers_with_the_prompt_the_model_the_limits_and_the_price_of_its_version() {
    let world = World::verified().await;
    let versions = Versions::of(world, "versions");
    let tenant = world.tenant("versions", 20.0).await;
    versions.store(1, json!({"models": [LOCAL_MODEL], "max_tokens": 240})).await;
    versions.store(2, json!({"models": [OPENAI_MODEL], "max_tokens": 200, "price_multiplier": 2})).await;
    // The one that answers without an experiment, and is none of its arms.
    versions.store(3, json!({"max_tokens": 7, "input_bytes_max": 1})).await;
    versions.experiment.put(&two_arms()).await.expect(200);

    for (arm, version, model, max_tokens, multiplier) in
        [("one", 1, LOCAL_MODEL, 240, None), ("two", 2, OPENAI_MODEL, 200, Some(2.0))]
    {
        let before = versions.prompts(world).len();
        let reply = versions.wanting(&tenant, arm).await;
        assert_eq!(reply.must_header("x-model"), model);
        let calls: Vec<_> =
            world.providers().iter().flat_map(|provider| provider.calls(&versions.prompt(version))).collect();
        assert_eq!((calls.len(), versions.prompts(world).len()), (1, before + 1), "{arm}");
        assert_eq!(whole(&calls[0].json(), "max_tokens"), max_tokens);
        let meta = meta_of(&tenant, &reply).await;
        assert_eq!(
            (text(&meta, "skill"), whole(&meta, "skill_version")),
            (&*versions.experiment.skill, version)
        );
        assert_eq!(
            (meta.get("answered_by"), meta.get("price_multiplier")),
            (None, multiplier.map(Value::from).as_ref())
        );
        let charged = if multiplier.is_some() { "0.024" } else { "0.012" };
        assert_eq!(reply.must_header("x-credits-used"), charged, "{meta}");
    }
    // A stream is asked alike.
    let ask = versions.experiment.ask(&tenant).header("x-ab-variant", "two");
    let stream = ask.open().await.expect_stream().await;
    assert_eq!(stream.header("x-model"), Some(OPENAI_MODEL));
    stream.drain().await;
    // Where nobody chooses, chance gives one of the two, and never the current version.
    for client in 0..6 {
        let (arm, _) = versions.experiment.answered(&tenant, &format!("client-{client}")).await;
        assert!(["one", "two"].contains(&arm.as_str()));
    }
    assert!(!versions.prompts(world).contains(&versions.prompt(3)));
    let shown = versions.experiment.arm("two").await;
    assert_eq!(whole(&shown, "skill_version"), 2);
    tenant.verified().await;
}

#[tokio::test]
async fn the_limits_are_those_of_the_version_that_answers() {
    let world = World::verified().await;
    let versions = Versions::of(world, "limits");
    let tenant = world.tenant("limits", 5.0).await;
    versions.store(1, json!({"input_bytes_max": 5})).await;
    versions.store(2, json!({})).await;
    versions.experiment.put(&two_arms()).await.expect(200);
    let refused = versions.experiment.ask(&tenant).header("x-ab-variant", "one").send().await;
    refused.expect_error(413, "input_too_long");
    versions.wanting(&tenant, "two").await;
    assert_eq!(versions.prompts(world), [versions.prompt(2)]);
    assert_eq!(whole(&versions.experiment.arm("one").await, "assignments"), 0);
}

#[tokio::test]
async fn a_version_answers_after_it_was_followed_taken_back_and_deleted() {
    let world = World::verified().await;
    let versions = Versions::of(world, "lasting");
    let tenant = world.tenant("lasting", 5.0).await;
    versions.store(1, json!({"models": [GROQ_MODEL]})).await;
    versions.store(2, json!({"models": [GROQ_MODEL]})).await;
    versions.experiment.put(&two_arms()).await.expect(200);
    versions.wanting(&tenant, "two").await;
    // A version is what it was: what comes after it changes no arm.
    let back = versions.experiment.client.post(&format!("{}/rollback", versions.path())).admin();
    let back = back.json(&json!({"version": 1, "reason": "two is no good"})).send().await.expect(200).json();
    assert_eq!(whole(&back, "version"), 3);
    versions.wanting(&tenant, "two").await;
    versions.delete().await;
    versions.wanting(&tenant, "one").await;
    versions.wanting(&tenant, "two").await;
    let expected = [2, 2, 1, 2].map(|version| versions.prompt(version));
    assert_eq!(versions.prompts(world), expected);
    // The winner answers everybody, whatever they want.
    let promote = json!({"reason": "it is better", "arm": "two"});
    versions.experiment.steer("promote", &promote).await.expect(200);
    let reply = versions.experiment.ask(&tenant).header("x-ab-variant", "one").send().await.expect(200);
    assert_eq!(versions.experiment.arm_in(&reply), "two");
    assert_eq!(versions.prompts(world).last(), Some(&versions.prompt(2)));
    assert_eq!(whole(&meta_of(&tenant, &reply).await, "skill_version"), 2);
    // An arm of a version that says that the skill is gone would answer nothing.
    let gone = json!({"arms": [{"name": "a", "skill_version": 4}, {"name": "b", "skill_version": 1}]});
    let refused = versions.experiment.put(&gone).await.expect_error(400, "invalid_setting").json();
    assert_eq!(text(&refused, "field"), "arms.skill_version");
}

/// The isolate that reads a version for the first time, and the one that knows it.
#[tokio::test]
async fn another_worker_answers_by_the_same_version() {
    let world = World::private_pair(json!({}), json!({"EXPERIMENTS_TTL_MS": "50"})).await;
    let versions = Versions::of(&world, "two-workers");
    let tenant = world.tenant("two-workers", 5.0).await;
    let there = Tenant { client: world.stack.beside_client(), ..tenant.clone() };
    versions.store(1, json!({})).await;
    versions.store(2, json!({})).await;
    versions.experiment.put(&two_arms()).await.expect(200);
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    for tenant in [&tenant, &there, &there] {
        versions.wanting(tenant, "one").await;
    }
    assert_eq!(versions.prompts(&world), vec![versions.prompt(1); 3]);
}

#[tokio::test]
async fn a_version_that_is_none_is_refused_when_it_is_defined() {
    let world = World::verified().await;
    let versions = Versions::of(world, "none");
    versions.store(1, json!({})).await;
    versions.store(2, json!({"enabled": false})).await;
    for wrong in [json!(3), json!(0), json!(-1), json!(1.5), json!("v1"), json!(""), json!(2), json!([1])] {
        let arms = json!([{"name": "a", "skill_version": 1}, {"name": "b", "skill_version": wrong}]);
        let refused = versions.experiment.put(&json!({"arms": arms})).await;
        let refused = refused.expect_error(400, "invalid_setting").json();
        assert_eq!(text(&refused, "field"), "arms.skill_version", "{wrong}");
    }
    // A name that nobody stored has none at all.
    let nobody = Versions::of(world, "nobody");
    nobody.experiment.put(&two_arms()).await.expect_error(400, "invalid_setting");
    // As digits too, as elsewhere; and switched off is switched off, whichever version an arm holds.
    let arms = json!([{"name": "a", "skill_version": "1"}, {"name": "b", "system": "Be short."}]);
    let report = versions.experiment.put(&json!({"arms": arms, "sticky_s": 0})).await.expect(200).json();
    assert_eq!(report["arms"][0]["skill_version"], json!(1));
    let tenant = world.tenant("none", 1.0).await;
    let refused = versions.experiment.ask(&tenant).header("x-ab-variant", "a").send().await;
    refused.expect_error(403, "skill_disabled");
}
