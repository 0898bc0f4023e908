//! Every charge can be computed again from two pages that anybody entitled can read: the usage row, and the version of
//! the price table that it names. The arithmetic here is the test's own.

use crate::aliases;
use crate::prices::{TTL_MS, put, shown};
use http_tests::client::unique_marker;
use http_tests::provider_script::{Behaviour, Completion, Ending};
use http_tests::recording::{form, wav};
use http_tests::vars::{GROQ_MODEL, OPENAI_MODEL, STT_MODELS, TTS_MODELS};
use http_tests::world::{Tenant, World, number, text};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// A price in whole micro-credits.
#[allow(clippy::cast_possible_truncation)]
fn micro(price: &Value) -> i128 {
    (price.as_f64().unwrap_or_else(|| panic!("no price: {price}")) * 1e6).round() as i128
}

/// Micro-credits of a thousand tokens in, of those from a cache, and out.
fn token_prices(price: &Value) -> [i128; 3] {
    if price.is_number() {
        return [micro(price); 3];
    }
    let input = price.get("input").map_or(0, micro);
    let cached = price.get("cached_input").map_or(input, micro);
    [input, cached, price.get("output").map_or(input, micro)]
}

/// Micro-credits of a thousand characters, and of a minute.
fn sound_prices(price: &Value) -> [i128; 2] {
    ["per_1k_characters", "per_minute"].map(|name| price.get(name).map_or(0, micro))
}

/// Thousandths of a credit that a row should have cost.
fn recomputed(item: &Value, prices: &Value) -> i128 {
    let meta = &item["meta"];
    let table = prices["models"].get(text(meta, "priced_model")).unwrap_or(&prices["default"]);
    let times = meta.get("price_multiplier").map_or(1_000, |times| micro(times) / 1_000);
    let price = meta.get("skill_price").unwrap_or(table);
    let scaled = |price: i128| (price * times + 500) / 1_000;
    let [input, cached, output] = token_prices(price).map(scaled);
    let [characters, minute] = sound_prices(price).map(scaled);
    let per_image = scaled(price.get("per_image").map_or(0, micro));
    let count = |name: &str| i128::from(meta["units"].get(name).and_then(Value::as_u64).unwrap_or(0));
    let from_cache = count("tokens_cached");
    let thousands = (count("tokens_in") - from_cache) * input
        + from_cache * cached
        + count("tokens_out") * output
        + count("characters") * characters
        + count("images") * per_image * 1_000;
    // Parts of a micro-credit, of which there are 60,000.
    let exact = thousands * 60 + count("milliseconds") * minute;
    let micro = (exact + 30_000_000) / 60_000_000 * 1_000;
    let most = meta.get("charge_max_micro").and_then(Value::as_i64).map_or(i128::MAX, i128::from);
    // Amounts are shown rounded down.
    micro.min(most).div_euclid(1_000)
}

fn cached_usage(prompt: u64, cached: u64, completion: u64) -> Value {
    json!({
        "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": completion},
    })
}

/// An upload, by its key.
async fn picture(tenant: &Tenant) -> Value {
    let upload = tenant.post(aliases::UPLOAD).typed_body("image/png", b"\x89PNG\r\n\x1a\n".as_slice());
    upload.send().await.expect(200).json()["key"].clone()
}

/// Some of everything: plain, cached, limited, cut, streamed, topped up, with pictures, and of skills with prices of
/// their own.
async fn mixture(world: &World, tenant: &Tenant) {
    let shown = picture(tenant).await;
    for skill in ["general", "fixed", "times"] {
        let body = json!({"skill": skill, "input": unique_marker(), "attachments": [shown, shown]});
        tenant.ask(&body).send().await.expect(200);
    }
    let long = "x".repeat(900);
    for (skill, cached) in [("general", 0), ("general", 700), ("fixed", 300), ("times", 901)] {
        let marker = unique_marker();
        let answer = Completion::of(&["an answer"]).raw_usage(cached_usage(900, cached, 120));
        world.groq.script(&marker, [Behaviour::Complete(answer)]);
        let body = json!({"skill": skill, "input": format!("{marker} {long}"), "max_tokens": 300});
        tenant.ask(&body).send().await.expect(200);
        tenant.ask(&body).open().await.expect_stream().await.drain().await;
    }
    // Another model, when the first one fails.
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::status(500)]);
    world.workers_ai.script(&marker, [Behaviour::status(500)]);
    tenant.ask(&json!({"input": marker})).send().await.expect(200);
    // A limit that is no whole step, of an answer that reports more than its prompt was held for.
    let marker = unique_marker();
    world
        .groq
        .script(&marker, [Behaviour::Complete(Completion::of(&["x"]).raw_usage(cached_usage(500, 0, 9)))]);
    tenant.ask(&json!({"input": marker, "max_tokens": 30, "max_credits": 0.2215})).send().await.expect(200);
    // Streams that end where their credits do, and one that goes on by more of them.
    for (on_hold_used, max_credits) in [("cut", 0.3), ("top_up", 0.5)] {
        let marker = unique_marker();
        let answer = Completion::numbered(400, Duration::ZERO);
        let answer = if on_hold_used == "cut" { answer.ending(Ending::Endless) } else { answer };
        world.groq.script(&marker, [Behaviour::Complete(answer)]);
        let body = json!({
            "input": marker, "max_tokens": 1_500, "max_credits": max_credits, "on_hold_used": on_hold_used,
        });
        tenant.ask(&body).open().await.expect_stream().await.drain().await;
    }
    // A stream that breaks off is counted.
    let marker = unique_marker();
    let broken = Completion::numbered(40, Duration::ZERO).ending(Ending::Broken);
    world.groq.script(&marker, [Behaviour::Complete(broken)]);
    tenant.ask(&json!({"input": marker})).open().await.expect_stream().await.drain().await;
}

const ASKS_OF_A_MIXTURE: usize = 16;

/// Speech, and recordings whose length is reported, counted and estimated.
async fn sounds(tenant: &Tenant) {
    for model in TTS_MODELS {
        let body = json!({"model": model, "voice": "alloy", "input": "x".repeat(1_111)});
        tenant.post("/v1/audio/speech").json(&body).send().await.expect(200);
    }
    let (wav, unknown) = (wav(77_777), vec![0x55; 99_999]);
    for (model, file) in STT_MODELS.into_iter().zip([&wav, &unknown, &wav, &unknown]) {
        let (content_type, body) = form(&[("model", model)], &[("file", ("a", "audio/x", file))]);
        tenant.post("/v1/audio/transcriptions").typed_body(&content_type, body).send().await.expect(200);
    }
}

const SOUNDS: usize = 7;

#[tokio::test]
async fn every_charge_of_a_mixed_run_can_be_computed_again() {
    let configured = |input: f64| {
        json!({GROQ_MODEL: {"input": input, "output": 0.75, "cached_input": 0.05, "per_image": 0.013}})
            .to_string()
    };
    let changes = |input| json!({"CATALOG_TTL_MS": TTL_MS.to_string(), "MODEL_PRICES": configured(input)});
    let mut world = World::private(changes(0.45)).await;
    let tenant = world.tenant("recomputed", 1_000.0).await;
    let skills = [
        (
            "fixed",
            json!({"system": "Fixed.", "reason": "r", "price": {"input": 0.3, "output": 1.2, "cached_input": 0.1, "per_image": 0.0455}}),
        ),
        ("times", json!({"system": "Times.", "reason": "r", "price_multiplier": 1.333})),
    ];
    for (name, skill) in skills {
        let path = format!("/api/admin/skills/{name}");
        tenant.client.call(Method::PUT, &path).admin().json(&skill).send().await.expect(200);
    }
    mixture(&world, &tenant).await;
    sounds(&tenant).await;
    // The configuration says something else from now on, and what it said once is still known.
    let vars = world.vars.clone().with(changes(0.61));
    world.stack.redeploy(&vars);
    let tenant = Tenant { client: world.client(), ..tenant };
    mixture(&world, &tenant).await;
    let first = json!({"default": 0.111, "models": {
        GROQ_MODEL: {"input": 0.7, "output": 2.1}, OPENAI_MODEL: 0.333,
        TTS_MODELS[0]: {"per_1k_characters": 0.123457}, TTS_MODELS[1]: {"per_minute": 0.654321},
        STT_MODELS[0]: {"per_minute": 0.345679}, STT_MODELS[1]: {"per_1k_characters": 0.4},
        STT_MODELS[2]: {"input": 0.2, "per_minute": 1.2}, STT_MODELS[3]: {"input": 0, "output": 0.3},
    }});
    put(&tenant.client, Some(0), &first).await.expect(200);
    mixture(&world, &tenant).await;
    sounds(&tenant).await;
    let second =
        json!({"default": 0.222, "models": {GROQ_MODEL: {"input": 0.5, "output": 1, "cached_input": 0}}});
    put(&tenant.client, Some(1), &second).await.expect(200);
    mixture(&world, &tenant).await;

    tenant.settled_balance().await;
    let items = tenant.walk("/api/billing/usage").await;
    assert_eq!(items.len(), 4 * ASKS_OF_A_MIXTURE + 2 * SOUNDS);
    let mut tables: HashMap<String, Value> = HashMap::new();
    let (mut kinds, mut bases, mut charged) = (BTreeSet::new(), BTreeSet::new(), 0);
    for item in &items {
        let meta = &item["meta"];
        let version = text(meta, "price_version").to_owned();
        if !tables.contains_key(&version) {
            let table = shown(&tenant.client, &format!("?version={version}")).await;
            assert_eq!(text(&table, "price_version"), version);
            tables.insert(version.clone(), table["prices"].clone());
        }
        #[allow(clippy::cast_possible_truncation)]
        let cost = (number(item, "cost_credits") * 1e3).round() as i128;
        assert_eq!(recomputed(item, &tables[&version]), cost, "{item} by {}", tables[&version]);
        charged += cost;
        for kind in ["charge_max_micro", "skill_price", "price_multiplier"] {
            if meta.get(kind).is_some() {
                kinds.insert(kind);
            }
        }
        for unit in ["tokens_cached", "characters", "milliseconds"] {
            if meta["units"].get(unit).is_some() {
                kinds.insert(unit);
            }
        }
        bases.insert(text(meta, "basis").to_owned());
    }
    assert_eq!(tables.len(), 4, "two configurations and two stored tables: {:?}", tables.keys());
    let all = [
        "characters",
        "charge_max_micro",
        "milliseconds",
        "price_multiplier",
        "skill_price",
        "tokens_cached",
    ];
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), all, "the run was not mixed");
    assert_eq!(bases.into_iter().collect::<Vec<_>>(), ["counted", "estimated", "reported"]);
    assert!(charged > 1_000, "{charged} thousandths were charged in all");
    tenant.verified().await;
}
