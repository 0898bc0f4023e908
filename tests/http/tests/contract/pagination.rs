//! Lists: how many, from where, since when.

use crate::aliases::USAGE;
use http_tests::world::{Tenant, World, text};
use serde_json::{Value, json};

const EVENTS: usize = 105;
/// Events of one moment, so that a cursor that knows only the time would lose or repeat some.
const EVENTS_A_MOMENT: usize = 7;
const FIRST_MOMENT_S: i64 = 1_760_000_000;

/// A tenant with `EVENTS` events, `EVENTS_A_MOMENT` of them at the same millisecond.
async fn busy_tenant(world: &World, name: &str) -> Tenant {
    let tenant = world.tenant(name, 0.0).await;
    let indexes: Vec<usize> = (0..EVENTS).collect();
    for some in indexes.chunks(15) {
        let calls = some.iter().map(|index| {
            let moment = i64::try_from(index / EVENTS_A_MOMENT).expect("a small number");
            let body = json!({"id": format!("event-{index}"), "created_at": FIRST_MOMENT_S + moment});
            tenant.post("/usage").json(&body).send()
        });
        for reply in futures::future::join_all(calls).await {
            reply.expect(200);
        }
    }
    tenant
}

async fn page(tenant: &Tenant, query: &str) -> (Vec<Value>, Option<String>) {
    let reply = tenant.get(&format!("/api/billing/usage?{query}")).send().await.expect(200);
    let body = reply.json();
    assert_eq!(text(&body, "email"), tenant.email);
    let items = body.get("items").and_then(Value::as_array).cloned();
    let cursor = match body.get("next_cursor") {
        Some(Value::Null) => None,
        Some(Value::String(cursor)) => Some(cursor.clone()),
        _ => panic!("no next_cursor in {reply:?}"),
    };
    (items.unwrap_or_else(|| panic!("no items in {reply:?}")), cursor)
}

/// Follows the cursor to the end: all ids in the order they came.
async fn walk(tenant: &Tenant, limit: usize) -> Vec<String> {
    let mut ids = Vec::new();
    let mut query = format!("limit={limit}");
    for _ in 0..=EVENTS {
        let (items, cursor) = page(tenant, &query).await;
        assert!(items.len() <= limit, "{} items of {limit}", items.len());
        ids.extend(items.iter().map(|item| text(item, "id").to_owned()));
        match cursor {
            Some(cursor) => query = format!("limit={limit}&cursor={cursor}"),
            None => return ids,
        }
    }
    panic!("the walk does not end");
}

#[tokio::test]
async fn limits_are_clamped_and_the_walk_is_whole() {
    let tenant = busy_tenant(World::verified().await, "pages").await;
    let rows = [
        ("", 25),
        ("limit=", 25),
        ("limit=abc", 25),
        ("limit=NaN", 25),
        ("limit=7", 7),
        ("limit=0", 1),
        ("limit=-1", 1),
        ("limit=-1e9", 1),
        ("limit=200", 100),
        ("limit=1e9", 100),
        ("limit=99999999999999999999", 100),
    ];
    for (query, expected) in rows {
        let (items, cursor) = page(&tenant, query).await;
        assert_eq!(items.len(), expected, "{query}");
        assert!(cursor.is_some(), "{query}: there is more");
    }
    for limit in [10, 35, 100] {
        let ids = walk(&tenant, limit).await;
        assert_eq!(ids.len(), EVENTS, "limit={limit}: gaps or duplicates");
        let mut sorted = ids.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), EVENTS, "limit={limit}: duplicates");
    }
    assert_eq!(walk(&tenant, 10).await, walk(&tenant, 35).await, "one order whatever the page");
    let (items, _) = page(&tenant, "limit=100").await;
    let times: Vec<&str> = items.iter().map(|item| text(item, "created_at")).collect();
    assert!(times.windows(2).all(|pair| pair[0] >= pair[1]), "newest first: {times:?}");
}

#[tokio::test]
async fn events_that_arrive_during_a_walk_do_not_disturb_it() {
    let world = World::verified().await;
    let tenant = world.tenant("moving", 0.0).await;
    for index in 0..6 {
        let body = json!({"id": format!("old-{index}")});
        tenant.post("/usage").json(&body).send().await.expect(200);
    }
    let (first, cursor) = page(&tenant, "limit=3").await;
    tenant.post("/usage").json(&json!({"id": "new"})).send().await.expect(200);
    let cursor = cursor.expect("there is more");
    let (second, _) = page(&tenant, &format!("limit=3&cursor={cursor}")).await;
    let ids: Vec<&str> = first.iter().chain(&second).map(|item| text(item, "id")).collect();
    assert_eq!(ids, ["old-5", "old-4", "old-3", "old-2", "old-1", "old-0"]);
}

#[tokio::test]
async fn cursors_of_others_and_forgeries_are_refused() {
    let world = World::verified().await;
    let (tenant, other) = (world.tenant("cursor", 1.0).await, world.tenant("cursor-other", 1.0).await);
    for owner in [&tenant, &other] {
        for _ in 0..3 {
            owner.post("/usage").json(&json!({})).send().await.expect(200);
            owner.adjust(json!({"delta": 1})).await.expect(200);
        }
    }
    let (_, own) = page(&tenant, "limit=1").await;
    let own = own.expect("there is more");
    let (_, foreign) = page(&other, "limit=1").await;
    let ledger = tenant.get("/api/credits/ledger?limit=1").send().await.expect(200).json();
    let ledger = text(&ledger, "next_cursor").to_owned();
    let shorter = own.get(..own.len() - 2).unwrap_or_default();
    let forgeries = [
        foreign.as_deref().unwrap_or_default(),
        &ledger,
        shorter,
        &format!("{own}AA"),
        &own.chars().rev().collect::<String>(),
        "abc",
        "0",
        "-1",
        "eyJhdF9tcyI6MCwic2VxIjowfQ",
        "' OR 1=1 --",
        &"A".repeat(5_000),
    ];
    for path in USAGE {
        for cursor in forgeries {
            let reply = tenant.get(path).query("cursor", cursor).send().await;
            let seen = (reply.status, reply.error());
            assert_eq!(seen, (400, "invalid_cursor".to_owned()), "{path} {cursor:.60}");
        }
        tenant.get(path).query("cursor", &own).send().await.expect(200);
    }
    let crossed = tenant.get("/api/credits/ledger").query("cursor", &own).send().await;
    crossed.expect_error(400, "invalid_cursor");
}

#[tokio::test]
async fn the_feed_can_begin_at_a_moment() {
    let world = World::verified().await;
    let tenant = world.tenant("since", 0.0).await;
    let now = chrono::Utc::now();
    for hours in [50_i64, 30, 10, 0] {
        let at = (now - chrono::Duration::hours(hours)).to_rfc3339();
        let body = json!({"id": format!("h{hours}"), "created_at": at});
        tenant.post("/usage").json(&body).send().await.expect(200);
    }
    let at = |hours: i64| now - chrono::Duration::hours(hours);
    let plus_escaped = at(20).to_rfc3339().replace('+', "%2B");
    let rows = [
        ("hours=24".to_owned(), 2),
        ("hours=40".to_owned(), 3),
        ("hours=0.5".to_owned(), 1),
        (format!("since={plus_escaped}"), 2),
        (format!("since={}", at(40).timestamp()), 3),
        (format!("since={}", at(40).timestamp_millis()), 3),
        (format!("since={}&hours=24", at(40).timestamp()), 2),
        ("since=2100-01-01T00:00:00Z".to_owned(), 0),
    ];
    for (query, expected) in rows {
        let (items, _) = page(&tenant, &query).await;
        assert_eq!(items.len(), expected, "{query}: {items:?}");
    }
    for query in ["since=yesterday", "hours=many", "hours=-1", "hours=inf"] {
        let reply = tenant.get(&format!("/usage?{query}")).send().await;
        assert_eq!(reply.status, 400, "{query}: {reply:?}");
    }
}

#[tokio::test]
async fn the_ledger_is_walked_like_the_feed() {
    let world = World::verified().await;
    let tenant = world.tenant("ledger-walk", 0.0).await;
    for _ in 0..9 {
        tenant.adjust(json!({"delta": 1})).await.expect(200);
    }
    let mut sequence = Vec::new();
    let mut path = "/api/credits/ledger?limit=4".to_owned();
    for _ in 0..5 {
        let body = tenant.get(&path).send().await.expect(200).json();
        let items = body.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        sequence.extend(items.iter().filter_map(|item| item.get("seq").and_then(Value::as_i64)));
        match body.get("next_cursor").and_then(Value::as_str) {
            Some(cursor) => path = format!("/api/credits/ledger?limit=4&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(sequence.len(), 9, "{sequence:?}");
    assert!(sequence.windows(2).all(|pair| pair[0] > pair[1]), "newest first: {sequence:?}");
}
