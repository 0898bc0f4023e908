//! SIGKILL at the worst moments: a job that was acknowledged ends exactly once, with one charge, whatever is lost.

use crate::stage::{CHARGE, asked, asking, id, made, settled, until};
use http_tests::client::unique_marker;
use http_tests::provider::PLAIN_USAGE;
use http_tests::provider_script::Behaviour;
use http_tests::world::{Tenant, World, assert_credits, whole};
use serde_json::json;
use std::time::Duration;

/// A lease that runs out, a retry, an alarm that is late; and a message that is sent again after fifteen seconds.
const BOUND: Duration = Duration::from_secs(45);

async fn short_leases() -> World {
    World::private(json!({"JOB_LEASE_MS": "2000", "PREFERRED_PROVIDER": "groq,local"})).await
}

fn returned(world: &World, tenant: Tenant) -> Tenant {
    Tenant { client: world.client(), ..tenant }
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_job_costs_an_attempt_and_no_charge() {
    let mut world = short_leases().await;
    let tenant = world.tenant("killed-job", 2.0).await;
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::silent(), Behaviour::answer("again", PLAIN_USAGE)]);
    let own = made(&tenant, &asking(&marker)).await;
    asked(&world, &marker).await;
    world.stack.kill_workerd();
    world.stack.restart();
    let tenant = returned(&world, tenant);
    let done = until(&tenant, id(&own), "succeeded", BOUND).await;
    assert_eq!((&done["result"]["content"], whole(&done, "attempts")), (&json!("again"), 2), "{done}");
    assert_eq!(tenant.usage().await.len(), 1);
    assert_credits(tenant.balance().await, 2.0 - CHARGE, "one charge");
    settled(&tenant).await;
}

#[tokio::test]
async fn jobs_whose_messages_were_lost_are_called_for_again() {
    let mut world = short_leases().await;
    let tenant = world.tenant("lost-messages", 9.0).await;
    let marker = unique_marker();
    // The workers are kept busy, so that messages wait in the broker, which keeps them in memory alone.
    world.groq.script(&marker, [Behaviour::silent()]);
    world.local.script(&marker, [Behaviour::silent()]);
    let mut jobs = Vec::new();
    for _ in 0..12 {
        jobs.push(made(&tenant, &asking(&marker)).await);
    }
    asked(&world, &marker).await;
    world.stack.kill_workerd();
    world.groq.script(&marker, [Behaviour::answer("after all", PLAIN_USAGE)]);
    world.stack.restart();
    let tenant = returned(&world, tenant);
    for job in &jobs {
        until(&tenant, id(job), "succeeded", BOUND).await;
    }
    assert_eq!(tenant.usage().await.len(), jobs.len(), "one usage row each");
    assert_credits(tenant.balance().await, 9.0 - 12.0 * CHARGE, "one charge each");
    settled(&tenant).await;
}
