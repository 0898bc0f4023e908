//! Commands that reach one tenant together share a commit: each is done exactly once, and none undoes another.

use http_tests::world::{Tenant, World, assert_credits, number, text, whole};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn times<'a>(values: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut times = BTreeMap::new();
    values.for_each(|value| *times.entry(value).or_default() += 1);
    times
}

async fn sequence_is_unique(tenant: &Tenant) -> Vec<Value> {
    let entries = tenant.ledger().await;
    let sequence: Vec<i64> = entries.iter().map(|entry| whole(entry, "seq")).collect();
    assert!(sequence.is_sorted_by(|newer, older| newer > older), "{sequence:?}");
    assert_eq!(whole(&tenant.verified().await, "entries"), i64::try_from(entries.len()).expect("a count"));
    entries
}

#[tokio::test]
async fn two_hundred_at_once_are_all_there_exactly_once() {
    const EACH: usize = 100;
    let world = World::verified().await;
    let tenant = world.tenant("group", 10.0).await;
    let adjusts = (0..EACH).map(|n| tenant.adjust(json!({"delta": 0.01, "reference": format!("gift-{n}")})));
    let bodies: Vec<Value> = (0..EACH).map(|n| json!({"input": format!("question {n}")})).collect();
    let asks = bodies.iter().map(|body| tenant.ask(body).send());
    let (adjusts, asks) =
        futures::future::join(futures::future::join_all(adjusts), futures::future::join_all(asks)).await;
    adjusts.into_iter().for_each(|reply| drop(reply.expect(200)));
    let asks: Vec<_> = asks.into_iter().map(|reply| reply.expect(200)).collect();
    assert_credits(tenant.settled_balance().await, 10.0 + 1.0 - 1.2, "all of them together");
    let entries = sequence_is_unique(&tenant).await;
    let references = times(entries.iter().filter_map(|entry| entry["reference"].as_str()));
    assert_eq!(references.len(), EACH);
    assert!(references.values().all(|count| *count == 1), "{references:?}");
    let usage = tenant.walk("/api/billing/usage").await;
    let recorded = times(usage.iter().map(|item| text(&item["meta"], "request_id")));
    assert_eq!(recorded.len(), EACH);
    for reply in &asks {
        let request_id = reply.must_header("x-request-id");
        assert_eq!(recorded.get(request_id), Some(&1), "{request_id} was acknowledged");
    }
    let charges = entries.iter().filter(|entry| text(entry, "kind") == "charge").count();
    assert_eq!(charges, EACH, "each answer is one charge");
}

#[tokio::test]
async fn a_refused_command_among_many_undoes_nothing_of_the_others() {
    const ALL: usize = 120;
    let world = World::verified().await;
    let tenant = world.tenant("group-refused", 1.0).await;
    // Every third is refused by the actor itself: beyond what a tenant may own, or with a time that is over.
    let change = |n: usize| match n % 6 {
        0 => json!({"delta": 999_999_999.5, "reference": format!("n-{n}")}),
        3 => json!({"delta": 1, "expires_at": "2020-01-01T00:00:00Z", "reference": format!("n-{n}")}),
        _ => json!({"delta": 0.002, "reference": format!("n-{n}")}),
    };
    let replies = futures::future::join_all((0..ALL).map(|n| tenant.adjust(change(n)))).await;
    for (n, reply) in replies.iter().enumerate() {
        let expected = if n % 3 == 0 { 400 } else { 200 };
        assert_eq!(reply.status, expected, "{n}: {reply:?}");
    }
    assert_credits(tenant.balance().await, 1.0 + 80.0 * 0.002, "those that were done");
    let entries = sequence_is_unique(&tenant).await;
    let references = times(entries.iter().filter_map(|entry| entry["reference"].as_str()));
    for n in 0..ALL {
        let expected = if n % 3 == 0 { None } else { Some(&1) };
        assert_eq!(references.get(format!("n-{n}").as_str()), expected, "{n}");
    }
}

/// Replies of commands that ran in one turn are each the state right after their own command.
#[tokio::test]
async fn each_reply_tells_the_balance_right_after_its_own_command() {
    let world = World::verified().await;
    let tenant = world.tenant("group-order", 0.0).await;
    let replies = futures::future::join_all((0..100).map(|_| tenant.adjust(json!({"delta": 0.001})))).await;
    let mut seen: Vec<i64> = replies
        .into_iter()
        .map(|reply| {
            let balance = number(&reply.expect(200).json(), "balance") * 1_000.0;
            #[allow(clippy::cast_possible_truncation)]
            let thousandths = balance.round() as i64;
            thousandths
        })
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, (1..=100).collect::<Vec<i64>>(), "no two saw the same balance, and none was lost");
}
