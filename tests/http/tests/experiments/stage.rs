//! An experiment of a test's own, and what the tests ask of it.

use http_tests::client::{Call, Client, Reply};
use http_tests::world::{Tenant, World, text};
use reqwest::Method;
use serde_json::{Value, json};

/// Whose experiment it is, and the operator's way to it.
#[derive(Clone)]
pub struct Experiment {
    pub skill: String,
    pub client: Client,
}

/// A skill that no other test of this run has.
pub fn unique_skill(name: &str) -> String {
    format!("{name}-{}", uuid::Uuid::new_v4().simple()).chars().take(48).collect()
}

/// The system prompt of an arm, which its provider is sent.
pub fn system_of(skill: &str, arm: &str) -> String {
    format!("You are {arm} of {skill}.")
}

/// Arms of these names, each with a prompt of its own.
pub fn arms(skill: &str, names: &[&str]) -> Value {
    names.iter().map(|name| json!({"name": name, "system": system_of(skill, name)})).collect()
}

impl Experiment {
    /// Defined and running; the first arm is the control.
    pub async fn running(world: &World, name: &str, names: &[&str], sticky_s: i64) -> Self {
        let skill = unique_skill(name);
        let experiment = Self { client: world.client(), skill };
        let arms = arms(&experiment.skill, names);
        experiment.put(&json!({"arms": arms, "sticky_s": sticky_s, "reason": "to see"})).await.expect(200);
        experiment
    }

    pub fn path(&self) -> String {
        format!("/api/admin/experiments/{}", self.skill)
    }

    pub async fn put(&self, definition: &Value) -> Reply {
        self.client.call(Method::PUT, &self.path()).admin().json(definition).send().await
    }

    pub async fn report(&self) -> Value {
        self.client.get(&self.path()).admin().send().await.expect(200).json()
    }

    /// One of its arms, as the report has it.
    pub async fn arm(&self, name: &str) -> Value {
        arm_of(&self.report().await, name)
    }

    pub async fn steer(&self, what: &str, body: &Value) -> Reply {
        self.client.post(&format!("{}/{what}", self.path())).admin().json(body).send().await
    }

    /// An ask of its skill.
    pub fn ask(&self, tenant: &Tenant) -> Call {
        tenant.ask(&json!({"skill": self.skill, "input": "Say something."}))
    }

    /// The arm that a reply says answered it.
    pub fn arm_in(&self, reply: &Reply) -> String {
        let variant = reply.must_header("x-variant");
        let arm = variant.strip_prefix(&format!("{}/", self.skill));
        arm.unwrap_or_else(|| panic!("{variant} is no variant of {}", self.skill)).to_owned()
    }

    /// Asks as one client of the tenant's; the arm that answered, and the request's id.
    pub async fn answered(&self, tenant: &Tenant, client_id: &str) -> (String, String) {
        let reply = self.ask(tenant).header("x-client-id", client_id).send().await.expect(200);
        (self.arm_in(&reply), reply.must_header("x-request-id").to_owned())
    }
}

pub fn arm_of(report: &Value, name: &str) -> Value {
    let arms = report.get("arms").and_then(Value::as_array).expect("arms");
    let found = arms.iter().find(|arm| text(arm, "name") == name);
    found.unwrap_or_else(|| panic!("no arm {name} in {report}")).clone()
}

/// Says how good an answer was.
pub async fn feedback(tenant: &Tenant, body: &Value) -> Reply {
    tenant.post("/api/si/feedback").json(body).send().await
}
