//! What every test of jobs does: makes one, waits for its end, looks at the books.

use http_tests::poll::eventually;
use http_tests::world::{Tenant, World, text};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

pub const JOBS: &str = "/api/jobs";
/// What one ask costs that is answered with [`http_tests::provider::PLAIN_USAGE`].
pub const CHARGE: f64 = 0.012;
/// Two loaded cores, an alarm that is late, a retry or two.
pub const BOUND: Duration = Duration::from_secs(20);

/// A job of type `si` that asks `input`.
pub fn asking(input: &str) -> Value {
    json!({"params": {"input": input}})
}

/// `body` with `members` besides.
pub fn with(mut body: Value, members: Value) -> Value {
    let (Some(all), Some(more)) = (body.as_object_mut(), members.as_object()) else {
        panic!("both are objects");
    };
    all.extend(more.clone());
    body
}

/// Makes a job, and gives it as it was then.
pub async fn made(tenant: &Tenant, body: &Value) -> Value {
    let reply = tenant.post(JOBS).json(body).send().await.expect(200).json();
    reply["job"].clone()
}

pub fn id(job: &Value) -> &str {
    text(job, "id")
}

pub fn status(job: &Value) -> &str {
    text(job, "status")
}

pub async fn job(tenant: &Tenant, id: &str) -> Value {
    let reply = tenant.get(&format!("{JOBS}/{id}")).send().await.expect(200);
    reply.json()["job"].clone()
}

/// Waits until the job is so.
pub async fn until(tenant: &Tenant, id: &str, wanted: &str, bound: Duration) -> Value {
    eventually(bound, wanted, || async {
        let job = job(tenant, id).await;
        if status(&job) == wanted { Ok(job) } else { Err(job) }
    })
    .await
}

/// Waits until the job is over, and holds its status against `wanted`.
pub async fn ended(tenant: &Tenant, id: &str, wanted: &str) -> Value {
    let job = eventually(BOUND, "the job is over", || async {
        let job = job(tenant, id).await;
        if ["queued", "running"].contains(&status(&job)) { Err(job) } else { Ok(job) }
    })
    .await;
    assert_eq!(status(&job), wanted, "{job}");
    job
}

pub async fn patch(tenant: &Tenant, id: &str, change: &Value) -> http_tests::client::Reply {
    let call = tenant.client.call(Method::PATCH, &format!("{JOBS}/{id}"));
    call.user(&tenant.email).json(change).send().await
}

/// `POST /api/jobs/:id/<what>`
pub async fn act(tenant: &Tenant, id: &str, what: &str) -> http_tests::client::Reply {
    tenant.post(&format!("{JOBS}/{id}/{what}")).send().await
}

/// The books are whole, and nothing is set aside any more.
pub async fn settled(tenant: &Tenant) {
    tenant.verified().await;
    assert_eq!(tenant.open_holds().await, Vec::<Value>::new(), "no hold is left");
}

/// Waits until the provider was asked with `marker`.
pub async fn asked(world: &World, marker: &str) {
    eventually(BOUND, "the provider is asked", || async {
        if world.calls_anywhere(marker) == 0 { Err("no call yet") } else { Ok(()) }
    })
    .await;
}

/// The tenant, after its stack was started again.
pub fn returned(world: &World, tenant: Tenant) -> Tenant {
    Tenant { client: world.client(), ..tenant }
}

/// Nothing was made, and nothing is set aside.
pub async fn none_made(tenant: &Tenant) {
    assert!(tenant.items(JOBS).await.is_empty() && tenant.items("/api/jobs/schedules").await.is_empty());
    settled(tenant).await;
}
