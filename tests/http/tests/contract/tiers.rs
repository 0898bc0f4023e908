//! `X-Intelligence-Tier`: which models stand behind a name, who may ask for it, and what it weighs.

use http_tests::client::unique_marker;
use http_tests::provider_script::Behaviour;
use http_tests::rate_limit;
use http_tests::vars::{GROQ_MODEL, HIGH_TIER_MODEL, HIGH_TIER_WEIGHT};
use http_tests::world::{World, assert_credits, text};
use serde_json::json;

const TIER: &str = "x-intelligence-tier";

#[tokio::test]
async fn a_tier_picks_providers_and_models_and_is_told_again() {
    let world = World::verified().await;
    let tenant = world.tenant("high", 5.0).await;
    for (stream, spelling) in [(false, "high"), (true, "high"), (false, " HIGH ")] {
        let marker = unique_marker();
        let call = tenant.ask(&json!({"input": marker})).header(TIER, spelling);
        let headers = if stream {
            let stream = call.open().await.expect_stream().await;
            let headers = stream.headers.clone();
            stream.drain().await;
            headers
        } else {
            call.send().await.expect(200).headers
        };
        let told = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        assert_eq!(told("x-provider"), Some("openai"), "{spelling}");
        assert_eq!(told("x-model"), Some(HIGH_TIER_MODEL));
        assert_eq!(told(TIER), Some("high"));
        let calls = world.openai.calls(&marker);
        assert_eq!(calls.len(), 1);
        assert_eq!(text(&calls[0].json(), "model"), HIGH_TIER_MODEL, "the model that is asked for");
        assert_eq!(world.calls_anywhere(&marker), 1);
    }
    let models = tenant.usage_of(3).await;
    assert!(models.iter().all(|item| item["meta"]["model"] == json!(HIGH_TIER_MODEL)), "{models:?}");
}

#[tokio::test]
async fn without_a_tier_nothing_changes_and_none_is_told() {
    let world = World::verified().await;
    let tenant = world.tenant("no-tier", 5.0).await;
    let reply = tenant.ask(&json!({"input": "hi"})).send().await.expect(200);
    assert_eq!(reply.header(TIER), None);
    assert_eq!((reply.must_header("x-provider"), reply.must_header("x-model")), ("groq", GROQ_MODEL));
    let reply = tenant.ask(&json!({"input": "hi"})).header(TIER, "standard").send().await.expect(200);
    assert_eq!(reply.must_header(TIER), "standard");
    assert_eq!((reply.must_header("x-provider"), reply.must_header("x-model")), ("groq", GROQ_MODEL));
}

#[tokio::test]
async fn a_tier_falls_over_to_its_own_providers_only() {
    let world = World::verified().await;
    let tenant = world.tenant("tier-fallback", 5.0).await;
    let (some, all) = (unique_marker(), unique_marker());
    world.openai.script(&some, [Behaviour::status(503)]);
    let reply = tenant.ask(&json!({"input": some})).header(TIER, "high").send().await.expect(200);
    assert_eq!((reply.must_header("x-provider"), reply.must_header("x-model")), ("groq", GROQ_MODEL));
    for provider in [&world.openai, &world.groq] {
        provider.script(&all, [Behaviour::status(503)]);
    }
    let reply = tenant.ask(&json!({"input": all})).header(TIER, "high").send().await;
    reply.expect_error(502, "si_ask_failed");
    assert_eq!(world.calls_anywhere(&all), 2, "the two providers of the tier, and nobody else");
    assert_credits(tenant.settled_balance().await, 5.0 - 0.012, "one was answered");
}

#[tokio::test]
async fn a_tier_nobody_knows_is_refused() {
    let world = World::verified().await;
    let tenant = world.tenant("unknown-tier", 5.0).await;
    let marker = unique_marker();
    for name in ["highest", "high,standard", "*"] {
        let reply = tenant.ask(&json!({"input": marker})).header(TIER, name).send().await;
        reply.expect_error(400, "unknown_tier");
    }
    assert_eq!(world.calls_anywhere(&marker), 0);
}

#[tokio::test]
async fn a_plan_without_the_tier_does_not_get_it() {
    let world = World::verified().await;
    let tenant = world.tenant("plain-tier", 5.0).await;
    tenant.put_limits(json!({"plan": "plain-tier"})).await.expect(200);
    let marker = unique_marker();
    let ask = |tier: &str| tenant.ask(&json!({"input": marker})).header(TIER, tier).send();
    let reply = ask("high").await.expect_error(403, "tier_not_allowed");
    assert_eq!(text(&reply.json(), "tier"), "high");
    assert_eq!(world.calls_anywhere(&marker), 0);
    assert!(tenant.open_holds().await.is_empty());
    ask("standard").await.expect(200);
    // What is set for the tenant goes before its plan.
    let limits = json!({"tiers": ["high"]});
    tenant.put_limits(json!({"plan": "plain-tier", "limits": limits})).await.expect(200);
    ask("high").await.expect(200);
    ask("standard").await.expect_error(403, "tier_not_allowed");
}

#[tokio::test]
async fn a_heavy_request_counts_as_several() {
    let world = World::verified().await;
    let tenant = world.tenant("heavy", 5.0).await;
    let limits = json!({"requests_per_minute": 6, "requests_burst": 6});
    tenant.put_limits(json!({"limits": limits})).await.expect(200);
    let ask = |tier: &str| tenant.ask(&json!({"input": "hi"})).header(TIER, tier).send();
    let reply = ask("high").await.expect(200);
    assert_eq!(rate_limit::budgets_of(&reply)["requests"].remaining, 6 - HIGH_TIER_WEIGHT);
    for _ in 0..2 {
        let refused = ask("high").await.expect_error(429, "rate_limited");
        assert_eq!(rate_limit::budgets_of(&refused)["requests"].remaining, 6 - HIGH_TIER_WEIGHT);
    }
    // What weighs less still fits, although a heavier one was just refused.
    ask("standard").await.expect(200);
    let reply = ask("standard").await.expect(200);
    assert_eq!(rate_limit::budgets_of(&reply)["requests"].remaining, 0);
    ask("standard").await.expect_error(429, "rate_limited");
    // One that is heavier than all that may come at once never fits.
    let small = world.tenant("too-heavy", 5.0).await;
    let limits = json!({"requests_per_minute": 6, "requests_burst": 3});
    small.put_limits(json!({"limits": limits})).await.expect(200);
    let reply = small.ask(&json!({"input": "hi"})).header(TIER, "high").send().await;
    reply.expect_error(400, "exceeds_budget");
}

/// Who shares a place of a tier answers by its weight, and falls back for the other before the next place is asked.
#[tokio::test]
async fn providers_of_a_tier_share_a_place_by_their_weights() {
    const ASKS: usize = 200;
    let tiers = json!({"mixed": {"providers": ["openai:3|groq:1", "local"]}, "strict": {"providers": ["local", "groq"]}});
    let world = World::private(json!({"TIERS": tiers.to_string(), "PLANS": null})).await;
    let tenant = world.tenant("mixed-tier", 50.0).await;
    let ask = async |tier: &str, marker: &str| {
        let reply = tenant.ask(&json!({"input": marker})).header(TIER, tier).send().await.expect(200);
        reply.must_header("x-provider").to_owned()
    };
    let mut first = 0;
    for _ in 0..ASKS {
        let provider = ask("mixed", "share").await;
        assert!(["openai", "groq"].contains(&provider.as_str()), "{provider}");
        first += usize::from(provider == "openai");
    }
    // Three of four; outside this range chance is less than one in a million.
    assert!((118..=179).contains(&first), "{first} of {ASKS}");
    let marker = unique_marker();
    for provider in [&world.openai, &world.groq] {
        provider.script(&marker, [Behaviour::status(400)]);
    }
    assert_eq!(ask("mixed", &marker).await, "local");
    assert_eq!(world.calls_anywhere(&marker), 3);
    for _ in 0..8 {
        assert_eq!(ask("strict", "share").await, "local");
    }
}
