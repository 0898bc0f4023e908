//! Further servers by configuration, and a place that is shared by weight.

use futures::StreamExt;
use http_tests::client::unique_marker;
use http_tests::provider::Provider;
use http_tests::provider_script::Behaviour;
use http_tests::vars::{GROQ_KEY, OPENAI_KEY};
use http_tests::world::{World, text};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const ONE_KEY: &str = "one-canary-5f0c2b9e8d7a6b5c4d3e2f1a0b9c8d7e";
const TWO_KEY: &str = "two-canary-6a1d3c0f9e8b7c6d5e4f3a2b1c0d9e8f";
const ASKS: usize = 400;
/// Of 400 asks at 3 to 1, 300 with a standard deviation of 8.7: seven of those away is one run in 10^11.
const FIRST_OF_400: std::ops::RangeInclusive<usize> = 240..=360;

/// 400 asks: the two of the first place by weight, the third never.
async fn weights_are_kept(world: &World) {
    let tenant = world.tenant("weights", 100.0).await;
    let asks = (0..ASKS).map(|_| async {
        let reply = tenant.ask(&json!({"input": "whoever"})).send().await.expect(200);
        (reply.must_header("x-provider").to_owned(), reply.must_header("x-model").to_owned())
    });
    let answered: Vec<(String, String)> = futures::stream::iter(asks).buffer_unordered(8).collect().await;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (provider, model) in &answered {
        assert_eq!(*model, format!("model-{provider}"));
        *counts.entry(provider).or_default() += 1;
    }
    let of = |name: &str| counts.get(name).copied().unwrap_or_default();
    assert!(FIRST_OF_400.contains(&of("one")), "{counts:?}");
    assert_eq!(of("one") + of("two"), ASKS, "{counts:?}");
}

/// Who shares a place falls back for the other before the next place is asked, each with its own key.
async fn each_falls_back_with_its_own_key(world: &World, one: &Provider, two: &Provider, three: &Provider) {
    let tenant = world.tenant("further", 1.0).await;
    let marker = unique_marker();
    for provider in [one, two] {
        provider.script(&marker, [Behaviour::status(500)]);
    }
    let reply = tenant.ask(&json!({"input": marker})).send().await.expect(200);
    assert_eq!((reply.must_header("x-provider"), reply.must_header("x-model")), ("three", "model-three"));
    let (one_key, two_key) = (format!("Bearer {ONE_KEY}"), format!("Bearer {TWO_KEY}"));
    for (provider, key) in [(one, Some(one_key.as_str())), (two, Some(two_key.as_str())), (three, None)] {
        let calls = provider.calls(&marker);
        assert_eq!(calls.len(), 1);
        assert_eq!(calls[0].header("authorization"), key);
        let everything = format!("{:?} {}", calls[0].headers, calls[0].body);
        let secrets = [ONE_KEY, TWO_KEY, GROQ_KEY, OPENAI_KEY];
        let told = secrets.iter().filter(|secret| everything.contains(**secret)).count();
        assert_eq!(told, usize::from(key.is_some()), "a key of somebody else went along: {everything}");
    }
    let item = tenant.usage_of(1).await.remove(0);
    let attempts = item.pointer("/meta/attempts").and_then(Value::as_array).cloned().unwrap_or_default();
    assert_eq!(attempts.len(), 3, "{item}");
}

/// `303` would become a GET elsewhere, `307` the same request: neither is followed, and no key leaves.
async fn a_redirect_is_refused(world: &World, one: &Provider, two: &Provider) {
    let (tenant, lure) = (world.tenant("redirected", 1.0).await, Provider::start().await);
    for status in [301, 303, 307] {
        let marker = unique_marker();
        let to = format!("{}/chat/completions", lure.base());
        for provider in [one, two] {
            provider.script(&marker, [Behaviour::Redirect { status, to: to.clone() }]);
        }
        let reply = tenant.ask(&json!({"input": marker})).send().await.expect(200);
        assert_eq!(reply.must_header("x-provider"), "three");
    }
    assert!(lure.all_calls().is_empty(), "{:?}", lure.all_calls());
}

#[tokio::test(flavor = "multi_thread")]
async fn further_servers() {
    let (one, two, three) = (Provider::start().await, Provider::start().await, Provider::start().await);
    let table = json!({
        "one": {"base": one.base(), "model": "model-one", "key": "ONE_API_KEY", "models": ["other"]},
        "two": {"base": two.base(), "model": "model-two", "key": "TWO_API_KEY"},
        "three": {"base": three.base(), "model": "model-three"},
    });
    let world = World::private(json!({
        "PROVIDERS": table.to_string(),
        "PREFERRED_PROVIDER": "one:3|two:1,three",
        "ONE_API_KEY": ONE_KEY,
        "TWO_API_KEY": TWO_KEY,
        "TIERS": null,
        "PLANS": null,
    }))
    .await;
    let ready = world.client().get("/ready").send().await.expect(200).json();
    assert_eq!(ready.get("providers"), Some(&json!(["one", "two", "three"])));
    weights_are_kept(&world).await;
    each_falls_back_with_its_own_key(&world, &one, &two, &three).await;
    a_redirect_is_refused(&world, &one, &two).await;
    let snapshot = world.client().get("/api/admin/env-snapshot").admin().send().await.expect(200);
    assert!(text(snapshot.json().get("vars").expect("vars"), "PROVIDERS").contains("model-one"));
    let overview = world.client().get("/api/admin/providers").admin().send().await.expect(200);
    for reply in [snapshot, overview] {
        let shown = reply.text();
        assert!(!shown.contains(ONE_KEY) && !shown.contains(TWO_KEY), "a key is shown: {shown}");
    }
    let log = world.stack.log().text();
    assert!(!log.contains(ONE_KEY) && !log.contains(TWO_KEY), "a key is in the log");
}

/// A table that is wrong serves nobody, and shows nothing of itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_table_is_told_and_serves_nobody() {
    let table = json!({"one": {"base": "https://llm.example/v1", "model": "m", "key": ONE_KEY}});
    let world = World::private(json!({"PROVIDERS": table.to_string()})).await;
    let ready = world.client().get("/ready").send().await.expect(503);
    let body = ready.json();
    assert_eq!(body.pointer("/problems/0/variable"), Some(&json!("PROVIDERS")), "{body}");
    assert!(!ready.text().contains(ONE_KEY), "the key is shown");
    world.client().get("/api/credits").send().await.expect_error(503, "misconfigured");
    assert!(!world.stack.log().text().contains(ONE_KEY), "the key is in the log");
}
