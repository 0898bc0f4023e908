//! `/api/admin/prices`: what models cost, edited while the service runs, with every version there ever was.

use http_tests::client::{Client, Reply, unique_marker};
use http_tests::poll::eventually;
use http_tests::vars::GROQ_MODEL;
use http_tests::world::{Tenant, World, number, text, whole};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

pub const PRICES: &str = "/api/admin/prices";
/// How old a copy may be in these tests.
pub const TTL_MS: u64 = 300;
/// A refresh begins with the first ask after its time, and two loaded cores may be slow.
pub const TTL_BOUND: Duration = Duration::from_secs(10);

/// Stores a table as the operator, after the version `expected`.
pub async fn put(client: &Client, expected: Option<i64>, prices: &Value) -> Reply {
    let body = json!({"expected_version": expected, "prices": prices, "reason": "a test of prices"});
    client.call(Method::PUT, PRICES).admin().json(&body).send().await
}

pub async fn shown(client: &Client, query: &str) -> Value {
    client.get(&format!("{PRICES}{query}")).admin().send().await.expect(200).json()
}

/// Asks once, and says what it cost and by which version.
async fn cost_of(tenant: &Tenant) -> (String, String) {
    let marker = unique_marker();
    let reply = tenant.ask(&json!({"input": marker})).send().await.expect(200);
    let charge = reply.must_header("x-credits-used").to_owned();
    let request_id = reply.must_header("x-request-id");
    let items = tenant.usage().await;
    let item = items.iter().find(|item| item["meta"]["request_id"] == request_id);
    let item = item.unwrap_or_else(|| panic!("no usage of {request_id} in {items:?}"));
    (charge, text(&item["meta"], "price_version").to_owned())
}

/// 52 tokens in and 192 out, which every plain answer has, cost 0.436 by it.
fn dearer() -> Value {
    json!({"default": 0.1, "models": {GROQ_MODEL: {"input": 1.0, "output": 2.0, "cached_input": 0.25}}})
}

#[tokio::test]
async fn an_edit_takes_effect_everywhere_without_a_restart_and_survives_a_kill() {
    let vars = json!({"CATALOG_TTL_MS": TTL_MS.to_string()});
    let mut world = World::private_pair(vars, json!({})).await;
    let tenant = world.tenant("edited", 50.0).await;
    let beside = Tenant { client: world.stack.beside_client(), ..tenant.clone() };
    let before = shown(&tenant.client, "").await;
    assert_eq!((whole(&before, "version"), text(&before, "source")), (0, "configuration"));
    assert_eq!((before.get("versions"), before.get("next_cursor")), (Some(&json!([])), Some(&Value::Null)));
    let configured = text(&before, "price_version").to_owned();
    for tenant in [&tenant, &beside] {
        assert_eq!(cost_of(tenant).await, ("0.012".to_owned(), configured.clone()));
    }

    let stored = put(&tenant.client, Some(0), &dearer()).await.expect(200).json();
    assert_eq!((whole(&stored, "version"), text(&stored, "price_version")), (1, "1"));
    assert_eq!((text(&stored, "changed_by"), text(&stored, "reason")), ("first", "a test of prices"));
    // Who wrote it charges by it at once; the other within its time.
    assert_eq!(cost_of(&tenant).await, ("0.436".to_owned(), "1".to_owned()));
    eventually(TTL_BOUND, "the other Worker charges by the new version", || async {
        match cost_of(&beside).await {
            (charge, version) if version == "1" => {
                assert_eq!(charge, "0.436");
                Ok(())
            }
            other => Err(other),
        }
    })
    .await;
    assert_eq!(shown(&tenant.client, "?version=0").await.get("prices"), before.get("prices"));

    world.stack.kill_workerd();
    world.stack.restart();
    let tenant = Tenant { client: world.client(), ..tenant };
    let after = shown(&tenant.client, "").await;
    assert_eq!((whole(&after, "version"), after.get("prices")), (1, Some(&dearer())));
    assert_eq!(after["versions"].as_array().map(Vec::len), Some(1));
    let once = shown(&tenant.client, &format!("?version={configured}")).await;
    assert_eq!((once.get("prices"), text(&once, "source")), (before.get("prices"), "configuration"));
    assert_eq!(cost_of(&tenant).await, ("0.436".to_owned(), "1".to_owned()));
}

#[tokio::test]
async fn of_two_edits_at_once_one_is_refused_and_a_repeated_one_is_made_once() {
    let world = World::private(json!({"CATALOG_TTL_MS": TTL_MS.to_string()})).await;
    let client = world.client();
    let table = |price: f64| json!({"default": price});
    for round in 0..5 {
        let (one, other) = (table(0.1 + f64::from(round)), table(0.2 + f64::from(round)));
        let (one, other) =
            tokio::join!(put(&client, Some(round.into()), &one), put(&client, Some(round.into()), &other));
        let (made, refused) = if one.status == 200 { (one, other) } else { (other, one) };
        assert_eq!(whole(&made.expect(200).json(), "version"), i64::from(round) + 1);
        let refused = refused.expect_error(409, "version_conflict").json();
        assert_eq!(whole(&refused, "current_version"), i64::from(round) + 1);
    }
    // A reply that was lost: the same change again is the same version.
    let first = put(&client, Some(5), &table(9.0)).await.expect(200).json();
    let again = put(&client, Some(5), &table(9.0)).await.expect(200).json();
    assert_eq!(first, again);
    // Pages, newest first.
    let page = shown(&client, "?limit=4").await;
    let numbers = |page: &Value| -> Vec<i64> {
        page["versions"].as_array().into_iter().flatten().map(|note| whole(note, "version")).collect()
    };
    assert_eq!(numbers(&page), [6, 5, 4, 3]);
    let rest = shown(&client, &format!("?limit=4&cursor={}", text(&page, "next_cursor"))).await;
    assert_eq!((numbers(&rest), rest.get("next_cursor")), (vec![2, 1], Some(&Value::Null)));
    assert_eq!(number(&shown(&client, "?version=6").await["prices"], "default"), 9.0);
}

#[tokio::test]
async fn what_is_no_table_is_refused_and_changes_nothing() {
    let client = World::verified().await.client();
    for (field, body) in [
        ("prices", json!({"reason": "why"})),
        ("prices", json!({"prices": {}, "reason": "why"})),
        ("prices", json!({"prices": {"default": -1}, "reason": "why"})),
        ("prices", json!({"prices": {"default": "0.1"}, "reason": "why"})),
        (
            "prices",
            json!({"prices": {"default": 1, "models": {"m": {"input": 1, "cached_input": 2}}}, "reason": "why"}),
        ),
        ("prices", json!({"prices": {"default": 1, "model": {}}, "reason": "why"})),
        ("prices", json!({"prices": {"default": 1}, "reason": "why", "version": 3})),
        ("reason", json!({"prices": {"default": 1}, "reason": " "})),
        ("reason", json!({"prices": {"default": 1}, "reason": "x".repeat(513)})),
        ("reason", json!({"prices": {"default": 1}, "reason": 7})),
        ("expected_version", json!({"prices": {"default": 1}, "reason": "why", "expected_version": -1})),
    ] {
        let reply = client.call(Method::PUT, PRICES).admin().json(&body).send().await;
        let refused = reply.expect_error(400, "invalid_setting").json();
        assert_eq!(text(&refused, "field"), field, "{body}: {refused}");
    }
    let conflict = put(&client, Some(3), &json!({"default": 1})).await;
    assert_eq!(whole(&conflict.expect_error(409, "version_conflict").json(), "current_version"), 0);
    for version in ["1", "7", "x", "-1", "0-0123456789abcdef"] {
        let reply = client.get(PRICES).query("version", version).admin().send().await;
        reply.expect_error(404, "not_found");
    }
    client.get(PRICES).query("cursor", "x").admin().send().await.expect_error(400, "invalid_cursor");
    let still = shown(&client, "").await;
    assert_eq!((whole(&still, "version"), still.get("versions")), (0, Some(&json!([]))));
}
