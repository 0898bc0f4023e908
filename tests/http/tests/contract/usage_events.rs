//! Events that clients report of themselves: recorded, marked as theirs, and never debited.

use crate::aliases::USAGE;
use http_tests::world::{Tenant, World, assert_credits, number, text};
use serde_json::{Value, json};

async fn record(tenant: &Tenant, body: &Value) -> Value {
    let reply = tenant.post("/api/billing/usage").json(body).send().await.expect(200).json();
    assert_eq!(reply.get("ok"), Some(&json!(true)), "{reply}");
    reply.get("event").cloned().unwrap_or_else(|| panic!("no event in {reply}"))
}

#[tokio::test]
async fn an_event_is_recorded_on_every_alias_and_debits_nothing() {
    let world = World::verified().await;
    let tenant = world.tenant("client-usage", 2.0).await;
    for path in USAGE {
        let body = json!({
            "route": path, "tokens_in": 10, "tokens_out": 20, "cost_credits": 1.5,
            "meta": {"note": "mine", "basis": "reported"},
        });
        let reply = tenant.post(path).json(&body).send().await.expect(200).json();
        let event = reply.get("event").cloned().unwrap_or_default();
        assert_eq!(text(&event, "route"), path);
        assert_eq!(text(&event, "email"), tenant.email);
        assert_eq!(event.get("tokens_in"), Some(&json!(10)));
        assert_eq!(event.get("tokens_out"), Some(&json!(20)));
        assert_credits(number(&event, "cost_credits"), 1.5, path);
        assert_eq!(event.pointer("/meta/note"), Some(&json!("mine")));
        assert_eq!(
            event.pointer("/meta/basis"),
            Some(&json!("client")),
            "a client cannot mark it as measured"
        );
        assert!(chrono::DateTime::parse_from_rfc3339(text(&event, "created_at")).is_ok());
    }
    assert_credits(tenant.balance().await, 2.0, "nothing is debited");
    let routes: Vec<String> =
        tenant.usage().await.iter().map(|item| text(item, "route").to_owned()).collect();
    assert_eq!(routes, USAGE.iter().rev().map(|path| (*path).to_owned()).collect::<Vec<_>>(), "newest first");
}

#[tokio::test]
async fn every_member_may_be_absent() {
    let world = World::verified().await;
    let tenant = world.tenant("sparse-usage", 0.0).await;
    let event = record(&tenant, &json!({})).await;
    assert!(!text(&event, "id").is_empty());
    for member in ["route", "tokens_in", "tokens_out", "cost_credits"] {
        assert_eq!(event.get(member), None, "{member} was never said");
    }
}

/// A clock may be a little ahead; an event of tomorrow would stay the newest of the list for a day.
#[tokio::test]
async fn an_event_may_be_dated_a_few_minutes_ahead_and_no_more() {
    let world = World::verified().await;
    let tenant = world.tenant("ahead-usage", 0.0).await;
    let at = |minutes: i64| (chrono::Utc::now() + chrono::Duration::minutes(minutes)).to_rfc3339();
    record(&tenant, &json!({"created_at": at(4)})).await;
    record(&tenant, &json!({"created_at": at(-60 * 24 * 400)})).await;
    for minutes in [6, 60 * 24, 60 * 24 * 365 * 50] {
        let body = json!({"created_at": at(minutes)});
        let reply = tenant.post("/api/billing/usage").json(&body).send().await;
        let reply = reply.expect_error(400, "invalid_field");
        assert_eq!(text(&reply.json(), "field"), "created_at", "{minutes} minutes ahead");
    }
    assert_eq!(tenant.usage().await.len(), 2);
}

#[tokio::test]
async fn the_same_id_twice_is_one_event() {
    let world = World::verified().await;
    let tenant = world.tenant("twice", 0.0).await;
    let first = record(&tenant, &json!({"id": "event-1", "route": "/first", "tokens_in": 1})).await;
    let again = record(&tenant, &json!({"id": "event-1", "route": "/second", "tokens_in": 2})).await;
    assert_eq!(first, again);
    record(&tenant, &json!({"id": "event-2"})).await;
    assert_eq!(tenant.usage().await.len(), 2);
    let other = world.tenant("twice-other", 0.0).await;
    let event = record(&other, &json!({"id": "event-1", "route": "/other"})).await;
    assert_eq!(text(&event, "route"), "/other", "ids are a tenant's own");
}

#[tokio::test]
async fn a_clients_id_cannot_take_the_place_of_a_measured_event() {
    let world = World::verified().await;
    let tenant = world.tenant("forged-usage", 1.0).await;
    tenant.ask(&json!({"input": "hi"})).send().await.expect(200);
    let measured = tenant.usage_of(1).await.remove(0);
    let body = json!({"id": text(&measured, "id"), "tokens_in": 0, "cost_credits": 0});
    record(&tenant, &body).await;
    assert!(tenant.usage().await.contains(&measured), "the measured event stays as it was");
}

#[tokio::test]
async fn wrong_events_are_refused() {
    let world = World::verified().await;
    let tenant = world.tenant("wrong-usage", 1.0).await;
    let long = "x".repeat(5_000);
    let rows = [
        json!({"tokens_in": -1}),
        json!({"tokens_in": 1.5}),
        json!({"tokens_in": "10"}),
        json!({"tokens_out": 1e18}),
        json!({"cost_credits": -0.1}),
        json!({"cost_credits": 1e30}),
        json!({"cost_credits": "1"}),
        json!({"route": 7}),
        json!({"route": long}),
        json!({"id": ""}),
        json!({"id": {}}),
        json!({"id": long}),
        json!({"meta": "text"}),
        json!({"meta": [1]}),
        json!({"meta": {"filler": long}}),
        json!({"created_at": "yesterday"}),
        json!({"created_at": true}),
        json!({"created_at": 1e20}),
    ];
    for body in rows {
        let reply = tenant.post("/api/billing/usage").json(&body).send().await;
        assert_eq!(reply.status, 400, "{body}: {reply:?}");
    }
    assert!(tenant.usage().await.is_empty());
}

#[tokio::test]
async fn times_are_read_in_every_form() {
    let world = World::verified().await;
    let tenant = world.tenant("times", 0.0).await;
    let rows = [
        json!("2026-01-02T03:04:05Z"),
        json!("2026-01-02T04:04:05+01:00"),
        json!(1_767_323_045_i64),
        json!(1_767_323_045_000_i64),
    ];
    for created_at in rows {
        let event = record(&tenant, &json!({"created_at": created_at})).await;
        let at = chrono::DateTime::parse_from_rfc3339(text(&event, "created_at")).expect("a time");
        assert_eq!(at.timestamp(), 1_767_323_045, "{created_at}");
    }
}
