//! SIGKILL at the worst moments: a job that was acknowledged ends exactly once, with one charge, whatever is lost.

use crate::stage::{CHARGE, asked, asking, id, made, returned, settled, until};
use http_tests::artifacts::repository_root;
use http_tests::client::unique_marker;
use http_tests::provider::PLAIN_USAGE;
use http_tests::provider_script::Behaviour;
use http_tests::world::{World, assert_credits, whole};
use serde_json::json;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A lease that runs out, a retry, an alarm that is late; and a message that is sent again after fifteen seconds.
const BOUND: Duration = Duration::from_secs(45);

/// With more attempts than there are kills: each may take one from the same job.
async fn short_leases() -> World {
    let changes = json!({"JOB_LEASE_MS": "2000", "JOB_ATTEMPTS": "20", "PREFERRED_PROVIDER": "groq,local"});
    World::private(changes).await
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

/// Kills again and again while jobs are made and done: each that was acknowledged ends once, with one charge.
#[tokio::test]
async fn acknowledged_jobs_survive_kills_under_load() {
    const KILLS: usize = 4;
    const JOBS_EACH: usize = 10;
    let mut world = short_leases().await;
    let mut tenant = world.tenant("load", 50.0).await;
    let mut acknowledged = Vec::new();
    for kill in 0..KILLS {
        for job in 0..JOBS_EACH {
            let marker = format!("{kill} {job} {}", unique_marker());
            let late = Behaviour::late(Duration::from_millis(100), Behaviour::answer("done", PLAIN_USAGE));
            world.groq.script(&marker, [late]);
            acknowledged.push(id(&made(&tenant, &asking(&marker)).await).to_owned());
        }
        // Some are done, some run, some wait: at another moment each time.
        tokio::time::sleep(Duration::from_millis(70 * kill as u64)).await;
        world.stack.kill_workerd();
        world.stack.restart();
        tenant = returned(&world, tenant);
    }
    for job in &acknowledged {
        until(&tenant, job, "succeeded", BOUND).await;
    }
    let mut recorded: Vec<String> =
        tenant.walk("/api/billing/usage").await.iter().map(|row| id(row).to_owned()).collect();
    recorded.sort_unstable();
    acknowledged.sort_unstable();
    assert_eq!(recorded, acknowledged, "one usage row each, and no other");
    #[allow(clippy::cast_precision_loss)]
    let left = 50.0 - acknowledged.len() as f64 * CHARGE;
    assert_credits((tenant.balance().await * 1e3).round(), (left * 1e3).round(), "one charge each");
    settled(&tenant).await;
}

/// Takes every alarm out of the runtime's own tables, as if it had given them up.
const FORGET_ALARMS: &str = "
    const { DatabaseSync } = require('node:sqlite');
    const { readdirSync } = require('node:fs');
    const folder = process.argv[1];
    let forgotten = 0;
    for (const name of readdirSync(folder).filter((name) => name.endsWith('.sqlite'))) {
      const db = new DatabaseSync(`${folder}/${name}`);
      for (const statement of ['DELETE FROM _cf_ALARM', 'DELETE FROM _cf_METADATA WHERE key = 1']) {
        try { forgotten += Number(db.prepare(statement).run().changes); } catch { /* another kind of file */ }
      }
      db.close();
    }
    console.log(forgotten);
";

fn forget_alarms(state: &Path) {
    let actors = state.join("do/cognomega-api-development-TenantActor");
    let node = repository_root().join("node_modules/.bin/node");
    let done = Command::new(node).args(["-e", FORGET_ALARMS]).arg(&actors).output().expect("node runs");
    let said = String::from_utf8_lossy(&done.stdout).trim().to_owned();
    assert!(said.parse::<u32>().is_ok_and(|forgotten| forgotten >= 2), "{said:?} {done:?}");
}

#[tokio::test]
async fn the_sweep_finds_a_job_whose_alarm_was_given_up() {
    let mut world = short_leases().await;
    let tenant = world.tenant("given-up", 2.0).await;
    let marker = unique_marker();
    let own = made(&tenant, &crate::stage::with(asking(&marker), json!({"delay_s": 6}))).await;
    // That there are jobs is noted beside the command.
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.stack.kill_workerd();
    world.stack.restart_on(forget_alarms);
    // Nobody asks this actor anything until its time is over.
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(world.calls_anywhere(&marker), 0, "nothing wakes it by itself");
    let now_ms = http_tests::tokens::now_s() * 1_000;
    for part in 0..16 {
        world.stack.run_cron(now_ms + part * 300_000).await;
    }
    asked(&world, &marker).await;
    let tenant = returned(&world, tenant);
    until(&tenant, id(&own), "succeeded", BOUND).await;
    settled(&tenant).await;
}
