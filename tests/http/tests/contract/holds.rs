//! Holds: who set what aside, until when, and which of them nobody settled.

use http_tests::client::unique_marker;
use http_tests::poll::eventually;
use http_tests::provider_script::{Behaviour, Usage};
use http_tests::vars::{CF_AI_MODEL, GROQ_MODEL, LOCAL_MODEL, OPENAI_MODEL};
use http_tests::world::{Tenant, World, assert_credits, number, text};
use serde_json::{Value, json};
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(10);
/// Long enough to look at the holds meanwhile, on a busy machine too, and below the providers' deadline.
const ANSWER_DELAY: Duration = Duration::from_millis(1_200);
/// As the shared stack is configured.
const HOLD_TTL_MS: i64 = 60_000;

fn slow(world: &World, marker: &str) {
    let answer = Behaviour::answer("at last", Usage::new(52, 192));
    world.groq.script(marker, [Behaviour::late(ANSWER_DELAY, answer)]);
}

async fn open_holds_of(tenant: &Tenant, count: usize) -> Vec<Value> {
    eventually(BOUND, "the holds are open", || async {
        let holds = tenant.open_holds().await;
        if holds.len() == count { Ok(holds) } else { Err(holds) }
    })
    .await
}

fn moment_ms(value: &Value, member: &str) -> i64 {
    let moment = chrono::DateTime::parse_from_rfc3339(text(value, member)).expect("a time");
    moment.timestamp_millis()
}

/// The ids of a list of holds, two a page.
async fn ids_by_pages(tenant: &Tenant, state: &str) -> Vec<String> {
    let (mut ids, mut cursor) = (Vec::new(), None::<String>);
    for _ in 0..20 {
        let call = tenant.get("/api/credits/holds?limit=2").query("state", state);
        let call = cursor.iter().fold(call, |call, cursor| call.query("cursor", cursor));
        let page = call.send().await.expect(200).json();
        let items = page.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        assert!(items.len() <= 2, "{page}");
        ids.extend(items.iter().map(|hold| text(hold, "id").to_owned()));
        match page.get("next_cursor").and_then(Value::as_str) {
            Some(next) => cursor = Some(next.to_owned()),
            None => return ids,
        }
    }
    panic!("the walk does not end: {ids:?}");
}

#[tokio::test]
async fn an_open_hold_says_who_owns_it_and_until_when() {
    let world = World::verified().await;
    let tenant = world.tenant("owner", 1.0).await;
    let marker = unique_marker();
    slow(world, &marker);
    let (body, ray) = (json!({"input": marker}), format!("ray-{}", uuid::Uuid::new_v4().simple()));
    let asked = tenant.ask(&body).header("cf-ray", &ray).send();
    let (reply, hold) = futures::future::join(asked, async {
        let hold = open_holds_of(&tenant, 1).await.remove(0);
        let balance = tenant.get("/api/credits").send().await.expect(200).json();
        assert_credits(number(&balance, "held"), number(&hold, "amount"), "what is held of the balance");
        hold
    })
    .await;
    reply.expect(200);
    assert_eq!(text(&hold["owner"], "request_id"), ray);
    assert_eq!(hold["owner"]["models"], json!([GROQ_MODEL, CF_AI_MODEL, OPENAI_MODEL, LOCAL_MODEL]));
    assert_eq!(hold["owner"]["api_key"], Value::Null);
    assert_eq!((text(&hold, "route"), text(&hold, "state")), ("/api/si/ask", "open"));
    let (created_ms, deadline_ms) = (moment_ms(&hold, "created_at"), moment_ms(&hold, "deadline"));
    assert_eq!(deadline_ms - created_ms, HOLD_TTL_MS, "{hold}");
    let age_ms = number(&hold, "age_ms");
    assert!((0.0..10_000.0).contains(&age_ms), "{hold}");
    assert_eq!(hold["ended_at"], Value::Null);
    assert_credits(number(&hold, "charged"), 0.0, "nothing is charged yet");
    assert_credits(number(&hold, "held"), number(&hold, "amount"), "so all of it is held");
    assert!(tenant.open_holds().await.is_empty(), "a hold that was settled is not open");
    let expired = tenant.items("/api/credits/holds?state=expired").await;
    assert!(expired.is_empty(), "nor has it expired: {expired:?}");
}

#[tokio::test]
async fn open_holds_are_walked_by_pages_the_first_to_expire_leading() {
    let world = World::verified().await;
    let tenant = world.tenant("walked", 1.0).await;
    let marker = unique_marker();
    slow(world, &marker);
    let asks = (0..5).map(|n| {
        let body = json!({"input": format!("{marker} {n}")});
        tenant.ask(&body).send()
    });
    let (replies, ()) = futures::future::join(futures::future::join_all(asks), async {
        let holds = open_holds_of(&tenant, 5).await;
        let deadlines: Vec<i64> = holds.iter().map(|hold| moment_ms(hold, "deadline")).collect();
        assert!(deadlines.is_sorted(), "{deadlines:?}");
        let ids: Vec<&str> = holds.iter().map(|hold| text(hold, "id")).collect();
        assert_eq!(ids_by_pages(&tenant, "open").await, ids);
    })
    .await;
    replies.into_iter().for_each(|reply| drop(reply.expect(200)));
    let (cursor_of_other, page) = ("1-1-0123456789ab", "/api/credits/holds");
    tenant.get(page).query("cursor", cursor_of_other).send().await.expect_error(400, "invalid_cursor");
    for state in ["ended", "OPEN", "settled"] {
        let reply = tenant.get(page).query("state", state).send().await;
        assert_eq!(text(&reply.expect_error(400, "invalid_field").json(), "field"), "state");
    }
}

#[tokio::test]
async fn holds_of_a_worker_that_died_are_listed_as_expired() {
    let mut world = World::private(json!({
        "ASK_TIMEOUT_MS": "1500",
        "HOLD_TTL_MS": "2500",
        "PREFERRED_PROVIDER": "groq",
    }))
    .await;
    let tenant = world.tenant("orphaned", 1.0).await;
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::silent()]);
    let asks = (0..5).map(|n| {
        let body = json!({"input": format!("{marker} {n}")});
        tenant.ask(&body).header("cf-ray", &format!("orphan-{n}")).try_send()
    });
    tokio::select! {
        replies = futures::future::join_all(asks) => panic!("answered: {replies:?}"),
        holds = open_holds_of(&tenant, 5) => {
            assert_eq!(holds.len(), 5);
            world.stack.kill_workerd();
        }
    }
    world.stack.restart();
    let tenant = Tenant { client: world.client(), ..tenant };
    let expired = eventually(BOUND, "the holds have expired", || async {
        let expired = tenant.items("/api/credits/holds?state=expired").await;
        if expired.len() == 5 { Ok(expired) } else { Err(expired) }
    })
    .await;
    assert!(tenant.open_holds().await.is_empty());
    let mut owners: Vec<&str> = expired.iter().map(|hold| text(&hold["owner"], "request_id")).collect();
    owners.sort_unstable();
    assert_eq!(owners, ["orphan-0", "orphan-1", "orphan-2", "orphan-3", "orphan-4"]);
    for hold in &expired {
        assert_eq!((text(hold, "state"), text(hold, "route")), ("expired", "/api/si/ask"));
        assert!(
            moment_ms(hold, "ended_at") >= moment_ms(hold, "deadline"),
            "ended before its deadline: {hold}"
        );
        assert_credits(number(hold, "charged"), 0.0, "nobody settled it");
    }
    let deadlines: Vec<i64> = expired.iter().map(|hold| moment_ms(hold, "deadline")).collect();
    assert!(deadlines.iter().rev().is_sorted(), "the last to expire leads: {deadlines:?}");
    let ids: Vec<&str> = expired.iter().map(|hold| text(hold, "id")).collect();
    assert_eq!(ids_by_pages(&tenant, "expired").await, ids);
    assert_credits(tenant.balance().await, 1.0, "the balance is whole");
    tenant.verified().await;
}
