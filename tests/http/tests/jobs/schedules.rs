//! Jobs by the clock.

use crate::stage::{CHARGE, JOBS, ended, id, settled};
use http_tests::client::Reply;
use http_tests::poll::eventually;
use http_tests::vars::GROQ_MODEL;
use http_tests::world::{Tenant, World, assert_credits, text};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

const SCHEDULES: &str = "/api/jobs/schedules";

async fn put(tenant: &Tenant, name: &str, body: &Value) -> Reply {
    let call = tenant.client.call(Method::PUT, &format!("{SCHEDULES}/{name}"));
    call.user(&tenant.email).json(body).send().await
}

fn every_minute() -> Value {
    json!({"cron": "* * * * *", "job": {"params": {"input": "by the clock"}}})
}

#[tokio::test]
async fn a_schedule_is_set_seen_replaced_and_deleted() {
    let world = World::verified().await;
    let tenant = world.tenant("schedule", 2.0).await;
    let other = world.tenant("elsewhere", 2.0).await;
    assert!(tenant.items(SCHEDULES).await.is_empty());
    let body = json!({
        "cron": "30 9 * * MON-FRI", "time_zone": "Europe/Berlin",
        "job": {"params": {"input": "daily"}, "priority": 7, "dedupe_key": "daily"},
    });
    let set = put(&tenant, "daily-report", &body).await.expect(200).json();
    let schedule = &set["schedule"];
    assert_eq!((text(schedule, "id"), text(schedule, "time_zone")), ("daily-report", "Europe/Berlin"));
    assert_eq!(schedule["job"]["params"], json!({"input": "daily"}));
    assert_eq!((&schedule["paused"], &schedule["last_run"]), (&json!(false), &json!(null)));
    // Half past nine in Berlin is half past eight or half past seven in UTC.
    let next = text(schedule, "next_run_at");
    assert!(next.ends_with("T08:30:00.000Z") || next.ends_with("T07:30:00.000Z"), "{next}");
    let listed = tenant.items(SCHEDULES).await;
    assert_eq!((listed.len(), listed.first()), (1, Some(schedule)));
    let paused = json!({"cron": "0 0 1 * *", "paused": true, "job": {"params": {"input": "monthly"}}});
    put(&tenant, "daily-report", &paused).await.expect(200);
    let path = format!("{SCHEDULES}/daily-report");
    let seen = tenant.get(&path).send().await.expect(200).json();
    assert_eq!((&seen["schedule"]["paused"], &seen["schedule"]["next_run_at"]), (&json!(true), &json!(null)));
    other.get(&path).send().await.expect_error(404, "not_found");
    let delete = |tenant: &Tenant| tenant.client.call(Method::DELETE, &path).user(&tenant.email);
    delete(&other).send().await.expect_error(404, "not_found");
    delete(&tenant).send().await.expect(200);
    delete(&tenant).send().await.expect_error(404, "not_found");
    assert!(tenant.items(SCHEDULES).await.is_empty());
    assert!(tenant.open_holds().await.is_empty(), "credit is set aside when it runs");
}

#[tokio::test]
async fn what_is_no_schedule_is_refused() {
    let world = World::verified().await;
    let tenant = world.tenant("no-schedule", 2.0).await;
    for (change, field) in [
        (json!({"cron": "* * * *"}), "cron"),
        (json!({"cron": "0 0 30 2 *"}), "cron"),
        (json!({"cron": "* * * * * *"}), "cron"),
        (json!({"cron": 5}), "cron"),
        (json!({"time_zone": "Mars/Olympus"}), "time_zone"),
        (json!({"paused": "no"}), "paused"),
        (json!({"job": null}), "job"),
        (json!({"job": {"params": {"input": "x"}, "delay_s": 5}}), "delay_s"),
        (json!({"job": {"params": {"input": "x"}, "run_at": "x"}}), "run_at"),
        (json!({"job": {"params": {"input": "x"}, "prio": 5}}), "job"),
    ] {
        let body = crate::stage::with(every_minute(), change.clone());
        let refused = put(&tenant, "wrong", &body).await.expect_error(400, "invalid_field");
        assert_eq!(refused.json()["field"], field, "{change}");
    }
    let no_input = json!({"cron": "* * * * *", "job": {"params": {}}});
    put(&tenant, "wrong", &no_input).await.expect_error(400, "missing_input");
    put(&tenant, "a_b", &every_minute()).await.expect_error(400, "invalid_field");
    assert!(tenant.items(SCHEDULES).await.is_empty());
}

/// Waits for the schedule's run, and ends the schedule: as it was then.
async fn ran(tenant: &Tenant, name: &str) -> Value {
    let schedule = eventually(Duration::from_secs(75), "it ran", || async {
        let seen = tenant.get(&format!("{SCHEDULES}/{name}")).send().await.expect(200).json();
        let schedule = seen["schedule"].clone();
        if schedule["last_run"].is_null() { Err(schedule) } else { Ok(schedule) }
    })
    .await;
    let call = tenant.client.call(Method::DELETE, &format!("{SCHEDULES}/{name}"));
    call.user(&tenant.email).send().await.expect(200);
    schedule
}

/// Takes up to a minute: no clock of this runtime can be set.
#[tokio::test]
async fn a_run_is_priced_by_the_table_of_its_day() {
    let world = World::private(json!({"CATALOG_TTL_MS": "300"})).await;
    let tenant = world.tenant("dearer", 9.0).await;
    put(&tenant, "dearer", &every_minute()).await.expect(200);
    let prices = json!({"default": 0.1, "models": {GROQ_MODEL: {"input": 1.0, "output": 2.0}}});
    let table = json!({"expected_version": 0, "prices": prices, "reason": "a test of schedules"});
    tenant.client.call(Method::PUT, "/api/admin/prices").admin().json(&table).send().await.expect(200);
    let schedule = ran(&tenant, "dearer").await;
    assert_eq!(schedule["last_run"]["refused"], json!(null), "{schedule}");
    ended(&tenant, text(&schedule["last_run"], "job"), "succeeded").await;
    let usage = &tenant.usage_of(1).await[0];
    assert_eq!(usage["meta"]["price_version"], "1", "{usage}");
    // 52 tokens in and 192 out, which every plain answer has.
    assert_credits(tenant.balance().await, 9.0 - 0.436, "the new price");
    settled(&tenant).await;
}

/// Takes up to a minute, too.
#[tokio::test]
async fn a_schedule_of_a_key_that_has_ended_makes_no_run() {
    let world = World::verified().await;
    let tenant = world.tenant("ended-key", 2.0).await;
    let key = tenant.post("/api/keys").json(&json!({"name": "clock"})).send().await.expect(200).json();
    let call = tenant.client.call(Method::PUT, &format!("{SCHEDULES}/of-key")).bearer(text(&key, "key"));
    let set = call.json(&every_minute()).send().await.expect(200).json();
    assert_eq!(set["schedule"]["api_key"], key["id"], "it says whose it is");
    let path = format!("/api/keys/{}", text(&key, "id"));
    tenant.client.call(Method::DELETE, &path).user(&tenant.email).send().await.expect(200);
    let last = &ran(&tenant, "of-key").await["last_run"];
    assert_eq!((&last["job"], &last["refused"]), (&json!(null), &json!("credential_ended")), "{last}");
    assert_eq!(text(last, "message"), "the API key that it was made with has ended");
    assert!(tenant.items(JOBS).await.is_empty());
    settled(&tenant).await;
}

/// Takes up to a minute, too.
#[tokio::test]
async fn a_schedule_makes_its_job_when_its_time_comes() {
    let world = World::verified().await;
    let tenant = world.tenant("minute", 2.0).await;
    put(&tenant, "minute", &every_minute()).await.expect(200);
    let schedule = ran(&tenant, "minute").await;
    let last = &schedule["last_run"];
    assert_eq!(last["refused"], json!(null), "{schedule}");
    assert!(text(last, "run_at").ends_with(":00.000Z"), "{schedule}");
    let own = text(last, "job");
    let done = ended(&tenant, own, "succeeded").await;
    assert_eq!((text(&done, "schedule"), id(&done)), ("minute", own));
    assert_eq!(tenant.items(JOBS).await.len(), 1);
    assert_credits(tenant.balance().await, 2.0 - CHARGE, "one run, one charge");
    settled(&tenant).await;
}
