//! A tenant's jobs as the public API shows them.

use crate::operation::milli;
use http_tests::world::{Tenant, text};
use serde_json::Value;

#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    pub id: String,
    /// What it was asked, as words: the name of the one who wanted it is in them.
    pub params: String,
    pub status: String,
    pub reason: Option<String>,
    pub attempts: u64,
    /// What its result says that it cost.
    pub charged_milli: Option<i64>,
}

impl Shown {
    fn parse(job: &Value) -> Self {
        let result = |member: &str| job.pointer(&format!("/result/{member}"));
        Self {
            id: text(job, "id").to_owned(),
            params: job.get("params").map(ToString::to_string).unwrap_or_default(),
            status: text(job, "status").to_owned(),
            reason: job.get("reason").and_then(Value::as_str).map(str::to_owned),
            attempts: job.get("attempts").and_then(Value::as_u64).unwrap_or_default(),
            charged_milli: result("credits_used").and_then(Value::as_f64).map(milli),
        }
    }

    pub fn is_over(&self) -> bool {
        is_over(&self.status)
    }
}

pub fn is_over(status: &str) -> bool {
    ["succeeded", "failed", "cancelled"].contains(&status)
}

/// Every job of the tenant, each with what came of it.
pub async fn read(tenant: &Tenant) -> Vec<Shown> {
    let mut jobs = Vec::new();
    for listed in tenant.walk("/api/jobs").await {
        let reply = tenant.get(&format!("/api/jobs/{}", text(&listed, "id"))).send().await.expect(200);
        jobs.push(Shown::parse(&reply.json()["job"]));
    }
    jobs
}

/// How many jobs are not over.
pub async fn open(tenant: &Tenant) -> usize {
    let queued = tenant.walk("/api/jobs?status=queued").await.len();
    queued + tenant.walk("/api/jobs?status=running").await.len()
}
