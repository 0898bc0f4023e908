//! Batches whose asks fail, that are too large, that are cancelled, and that begin anew: what was answered is neither lost
//! nor asked nor charged twice.

use crate::stage::{BOUND, CHARGE, act, asked, ended, id, job, made, settled, until};
use http_tests::client::unique_marker;
use http_tests::provider_script::Behaviour;
use http_tests::world::{World, assert_credits, number, text, whole};
use serde_json::{Value, json};

fn batch(inputs: &[String]) -> Value {
    json!({"type": "batch", "params": {"inputs": inputs}})
}

/// Makes every provider fail so often at `marker`; then `groq` answers.
fn failing(world: &World, marker: &str, times: usize) {
    let down = || std::iter::repeat_with(|| Behaviour::status(500)).take(times);
    for provider in [&world.openai, &world.local, &world.workers_ai] {
        provider.script(marker, down());
    }
    world.groq.script(marker, down().chain([Behaviour::answer_without_usage("at last")]));
}

#[tokio::test]
async fn each_attempt_asks_all_that_has_no_answer() {
    let world = World::private(json!({})).await;
    let tenant = world.tenant("batch-all", 5.0).await;
    let inputs = [unique_marker(), unique_marker(), unique_marker()];
    for (marker, times) in inputs.iter().zip([2, 1, 1]) {
        failing(&world, marker, times);
    }
    let first = made(&tenant, &batch(&inputs)).await;
    let done = ended(&tenant, id(&first), "succeeded").await;
    assert_eq!((whole(&done, "attempts"), &done["result"]["failed"]), (3, &json!(0)), "{done}");
    for at in 0..3 {
        assert_eq!(text(&done["result"]["items"][at], "content"), "at last");
    }
    let calls = inputs.each_ref().map(|marker| world.groq.calls(marker).len());
    assert_eq!(calls, [3, 2, 2], "what was answered is not asked again");
    settled(&tenant).await;
}

#[tokio::test]
async fn a_batch_that_died_asks_again_when_it_begins_anew() {
    let world = World::private(json!({})).await;
    let tenant = world.tenant("batch-anew", 5.0).await;
    let marker = unique_marker();
    failing(&world, &marker, 3);
    let first = made(&tenant, &batch(&[marker])).await;
    let dead = ended(&tenant, id(&first), "failed").await;
    assert_eq!((text(&dead, "reason"), whole(&dead, "attempts")), ("attempts_exhausted", 3), "{dead}");
    act(&tenant, id(&first), "retry").await.expect(200);
    let done = until(&tenant, id(&first), "succeeded", BOUND).await;
    assert_eq!(text(&done["result"]["items"][0], "content"), "at last", "{done}");
    settled(&tenant).await;
}

#[tokio::test]
async fn a_batch_that_is_cancelled_is_charged_what_was_answered_and_keeps_it() {
    let world = World::verified().await;
    let tenant = world.tenant("batch-cancelled", 5.0).await;
    let (one, two) = (unique_marker(), unique_marker());
    for provider in [&world.openai, &world.groq, &world.local, &world.workers_ai] {
        provider.script(&two, [Behaviour::silent()]);
    }
    let first = made(&tenant, &batch(&[one, two.clone()])).await;
    asked(world, &two).await;
    let running = job(&tenant, id(&first)).await;
    let items = &running["result"]["items"];
    assert!(items[0].get("content").is_some() && items[1].is_null(), "while it runs: {running}");
    act(&tenant, id(&first), "cancel").await.expect(200);
    let over = ended(&tenant, id(&first), "cancelled").await;
    assert_eq!(over["result"]["items"], *items, "{over}");
    assert_credits(number(&over["result"], "credits_used"), CHARGE, "one was answered");
    assert_credits(tenant.balance().await, 5.0 - CHARGE, "the balance");
    assert_eq!(tenant.usage().await.len(), 1, "one usage row");
    settled(&tenant).await;
}

#[tokio::test]
async fn a_batch_that_is_too_large_pays_for_no_more_than_it_keeps() {
    let world = World::verified().await;
    let tenant = world.tenant("batch-large", 9.0).await;
    let marker = unique_marker();
    let long = "x".repeat(60_000);
    world.groq.script(&marker, vec![Behaviour::answer_without_usage(&long); 12]);
    let inputs: Vec<String> = (0..12).map(|at| format!("{marker} {at}")).collect();
    let first = made(&tenant, &batch(&inputs)).await;
    let done = ended(&tenant, id(&first), "succeeded").await;
    let items = done["result"]["items"].as_array().expect("items");
    let answered = items.iter().filter(|item| item.get("content").is_some()).count();
    assert_eq!((items.len(), answered, whole(&done, "attempts")), (12, 7, 1));
    assert!(items[7..].iter().all(|item| item["error"] == "result_too_large"));
    assert_eq!((done["result"]["failed"].as_u64(), world.calls_anywhere(&marker)), (Some(5), 7));
    assert_eq!(tenant.usage().await.len(), 1);
    settled(&tenant).await;
}
