//! SIGKILL at the worst moments: what was acknowledged is there afterwards, and no hold outlives its deadline.

use http_tests::client::unique_marker;
use http_tests::poll::eventually;
use http_tests::provider_script::{Behaviour, Completion, Ending};
use http_tests::world::{Tenant, World, assert_credits, number};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const HOLD_TTL_MS: u64 = 4_000;
/// The alarm may be late, above all on a machine that has just started the runtime again.
const ALARM_LATENESS: Duration = Duration::from_secs(8);

async fn short_holds() -> World {
    World::private(json!({
        "ASK_TIMEOUT_MS": "3000",
        "HOLD_TTL_MS": HOLD_TTL_MS.to_string(),
        "PREFERRED_PROVIDER": "groq,local",
    }))
    .await
}

/// The same tenant, called at the restarted stack.
fn returned(world: &World, tenant: Tenant) -> Tenant {
    Tenant { client: world.client(), ..tenant }
}

async fn provider_is_asked(world: &World, marker: &str) {
    eventually(Duration::from_secs(5), "the provider is asked", || async {
        if world.groq.calls(marker).is_empty() { Err("no call yet") } else { Ok(()) }
    })
    .await;
}

#[tokio::test]
async fn a_kill_during_a_providers_call_loses_nothing() {
    let mut world = short_holds().await;
    let tenant = world.tenant("killed", 2.0).await;
    let charged = tenant.ask(&json!({"input": "before"})).send().await.expect(200);
    assert_eq!(charged.must_header("x-credits-balance"), "1.988");
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::silent()]);
    let asked = Instant::now();
    tokio::select! {
        reply = tenant.ask(&json!({"input": marker})).try_send() => panic!("answered: {reply:?}"),
        () = provider_is_asked(&world, &marker) => world.stack.kill_workerd(),
    }
    world.stack.restart();
    let tenant = returned(&world, tenant);
    let items = tenant.usage().await;
    assert_eq!(items.len(), 1, "the acknowledged charge survives: {items:?}");
    assert_credits(number(&items[0], "cost_credits"), 0.012, "the charge");
    let bound = Duration::from_millis(HOLD_TTL_MS) + ALARM_LATENESS;
    eventually(bound, "the hold has ended by its deadline", || async {
        let holds = tenant.open_holds().await;
        if holds.is_empty() { Ok(()) } else { Err(holds) }
    })
    .await;
    assert!(asked.elapsed() >= Duration::from_millis(HOLD_TTL_MS), "released before its deadline");
    assert_credits(tenant.balance().await, 1.988, "the balance is whole again");
    assert_eq!(tenant.usage().await.len(), 1, "nothing was charged for it");
    tenant.ask(&json!({"input": "after"})).send().await.expect(200);
    assert_credits(tenant.settled_balance().await, 1.976, "and it serves");
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_stream_loses_nothing() {
    let mut world = short_holds().await;
    let tenant = world.tenant("killed-stream", 2.0).await;
    let marker = unique_marker();
    let endless = Completion::numbered(100, Duration::from_millis(50)).ending(Ending::Endless);
    world.groq.script(&marker, [Behaviour::Complete(endless)]);
    let mut stream = tenant.ask(&json!({"input": marker})).open().await.expect_stream().await;
    assert_eq!(stream.next_text().await.as_deref(), Some("w0 "));
    world.stack.kill_workerd();
    assert!(stream.drain().await.broken, "the client sees that it was cut");
    world.stack.restart();
    let tenant = returned(&world, tenant);
    let bound = Duration::from_millis(HOLD_TTL_MS) + ALARM_LATENESS;
    eventually(bound, "the hold has ended by its deadline", || async {
        let holds = tenant.open_holds().await;
        if holds.is_empty() { Ok(()) } else { Err(holds) }
    })
    .await;
    assert_credits(tenant.balance().await, 2.0, "the house pays for what it could not settle");
}

/// Kills while many requests run: every acknowledged one is there, none twice, and the sum fits.
#[tokio::test]
async fn acknowledged_work_survives_kills_under_load() {
    let mut world = short_holds().await;
    let mut tenant = world.tenant("loaded", 100.0).await;
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 0..2 {
        acknowledged.extend(load_and_kill(&world, &tenant, round).await);
        world.stack.restart();
        tenant = returned(&world, tenant);
    }
    assert!(acknowledged.len() > 4, "only {} were acknowledged", acknowledged.len());
    let bound = Duration::from_millis(HOLD_TTL_MS) + ALARM_LATENESS;
    eventually(bound, "every hold has ended", || async {
        let holds = tenant.open_holds().await;
        if holds.is_empty() { Ok(()) } else { Err(holds.len()) }
    })
    .await;
    let items = tenant.usage().await;
    let recorded: Vec<&str> =
        items.iter().filter_map(|item| item.pointer("/meta/request_id").and_then(Value::as_str)).collect();
    for request_id in &acknowledged {
        let times = recorded.iter().filter(|recorded| *recorded == request_id).count();
        assert_eq!(times, 1, "{request_id} was acknowledged and is recorded {times} times");
    }
    #[allow(clippy::cast_precision_loss)]
    let charged = items.len() as f64 * 0.012;
    let left = tenant.balance().await;
    assert_credits((left * 1e3).round(), ((100.0 - charged) * 1e3).round(), "balance and usage agree");
}

/// Of the answers a provider finished, those of the last four asks may never have reached their clients.
const ANSWERED_BEFORE_KILL: usize = 16;

/// Asks from four clients until workerd is killed; the request ids of the answers that arrived whole.
async fn load_and_kill(world: &World, tenant: &Tenant, round: usize) -> Vec<String> {
    let clients = (0..4).map(|client| async move {
        let mut answered = Vec::new();
        for turn in 0..10 {
            let body = json!({"input": format!("{round} {client} {turn}")});
            match tenant.ask(&body).try_send().await {
                Ok(reply) if reply.status == 200 => {
                    answered.push(reply.must_header("x-request-id").to_owned())
                }
                Ok(_) | Err(_) => break,
            }
        }
        answered
    });
    let kill = async {
        eventually(Duration::from_secs(10), "some asks were answered", || async {
            let finished = world.groq.all_calls().iter().filter(|call| call.finished()).count();
            if finished >= ANSWERED_BEFORE_KILL * (round + 1) { Ok(()) } else { Err(finished) }
        })
        .await;
        world.stack.kill_workerd();
    };
    let (answered, ()) = futures::future::join(futures::future::join_all(clients), kill).await;
    answered.into_iter().flatten().collect()
}

#[tokio::test]
async fn a_restart_changes_nothing() {
    let mut world = short_holds().await;
    let tenant = world.tenant("restarted", 3.0).await;
    let body = json!({"input": "kept"});
    let first = tenant.ask(&body).idempotency_key("kept").send().await.expect(200);
    let before = (tenant.usage().await, tenant.items("/api/credits/ledger").await);
    world.stack.restart();
    let tenant = returned(&world, tenant);
    assert_credits(tenant.balance().await, 2.988, "the balance");
    assert_eq!((tenant.usage().await, tenant.items("/api/credits/ledger").await), before);
    let again = tenant.ask(&body).idempotency_key("kept").send().await.expect(200);
    assert_eq!(again.must_header("idempotency-replayed"), "true");
    assert_eq!(again.json(), first.json());
    let World { stack, .. } = world;
    stack.stop();
}

/// What was charged on the way stays charged, and the answer is lost with the process: the key cannot give it again,
/// and says so with what it cost.
#[tokio::test]
async fn a_key_that_was_charged_without_a_reply_says_so() {
    let mut world = short_holds().await;
    let tenant = world.tenant("charged-lost", 2.0).await;
    let marker = unique_marker();
    let endless = Completion::numbered(1_000, Duration::from_millis(2)).ending(Ending::Endless);
    world.groq.script(&marker, [Behaviour::Complete(endless)]);
    let body = json!({"input": marker, "max_tokens": 4_000, "on_hold_used": "top_up"});
    let stream = tenant.ask(&body).idempotency_key("lost").open().await.expect_stream().await;
    eventually(Duration::from_secs(3), "a part is charged", || async {
        let entries = tenant.ledger().await;
        if entries.len() > 1 { Ok(()) } else { Err(entries) }
    })
    .await;
    world.stack.kill_workerd();
    assert!(stream.drain().await.broken, "the client sees that it was cut");
    world.stack.restart();
    let tenant = returned(&world, tenant);
    let bound = Duration::from_millis(HOLD_TTL_MS) * 2 + ALARM_LATENESS;
    eventually(bound, "the hold has ended by its deadline", || async {
        let holds = tenant.open_holds().await;
        if holds.is_empty() { Ok(()) } else { Err(holds) }
    })
    .await;
    let balance = tenant.balance().await;
    assert!(balance < 2.0, "a part was charged");
    for streams in [false, true] {
        let call = tenant.ask(&body).idempotency_key("lost");
        let reply = if streams { call.open().await.into_reply().await } else { call.send().await };
        let reply = reply.expect_error(409, "charged_without_reply");
        let said = reply.json();
        assert_credits(
            (number(&said, "charged") * 1e3).round(),
            ((2.0 - balance) * 1e3).round(),
            "the charge",
        );
        assert_credits(number(&said, "balance"), balance, "the balance");
        assert_eq!(reply.header("retry-after"), None, "waiting does not help");
    }
    let call = tenant.ask(&json!({"input": "again"})).idempotency_key("another");
    call.send().await.expect(200);
    assert_eq!(world.calls_anywhere(&marker), 1, "it ran once");
}
