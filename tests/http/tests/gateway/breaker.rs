//! Breakers, seen from outside: a provider that fails is left alone, one request tries it again, and it is back.

use http_tests::client::unique_marker;
use http_tests::poll::eventually;
use http_tests::provider_script::{Behaviour, Usage};
use http_tests::vars::{GROQ_MODEL, HIGH_TIER_MODEL, OPENAI_MODEL};
use http_tests::world::{Tenant, World, number, text};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const FAILURES: usize = 3;
const OPEN_MS: u64 = 1_500;
/// Chance prolongs a cool-down by no more than a tenth, and a busy machine everything.
const BOUND: Duration = Duration::from_secs(6);

/// What the operator is told of one model of one provider.
async fn health(world: &World, provider: &str, model: &str) -> Value {
    let overview = world.client().get("/api/admin/providers").admin().send().await.expect(200).json();
    let items = overview.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    let found =
        items.into_iter().find(|item| text(item, "provider") == provider && text(item, "model") == model);
    found.unwrap_or_else(|| panic!("{provider} {model} is not in {overview}"))
}

async fn state(world: &World) -> String {
    text(&health(world, "groq", GROQ_MODEL).await, "state").to_owned()
}

async fn ask(tenant: &Tenant, marker: &str) -> String {
    tenant.ask(&json!({"input": marker})).send().await.expect(200).must_header("x-provider").to_owned()
}

/// Opens the breaker of the first provider, from closed.
async fn open(world: &World, tenant: &Tenant) {
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::status(500)]);
    assert_eq!(state(world).await, "closed");
    for _ in 0..FAILURES {
        assert_eq!(ask(tenant, &marker).await, "openai");
    }
    assert_eq!(state(world).await, "open");
    assert_eq!(ask(tenant, &marker).await, "openai");
    assert_eq!(world.groq.calls(&marker).len(), FAILURES, "it is left alone");
}

/// Asks until the first provider, which is well again, answers.
async fn back(world: &World, tenant: &Tenant) {
    let marker = unique_marker();
    eventually(BOUND, "the first provider is back", || async {
        let provider = ask(tenant, &marker).await;
        if provider == "groq" { Ok(()) } else { Err(provider) }
    })
    .await;
    assert_eq!(state(world).await, "closed");
}

async fn it_opens_and_one_request_tries_again(world: &World) {
    let tenant = world.tenant("breaker", 10.0).await;
    open(world, &tenant).await;
    let opened = Instant::now();
    let newest = tenant.usage_of(FAILURES + 1).await.remove(0);
    let attempts = newest.pointer("/meta/attempts").cloned().unwrap_or_default();
    assert_eq!(attempts.pointer("/0/outcome"), Some(&json!("breaker_open")), "{newest}");
    assert_eq!(attempts.pointer("/0/provider"), Some(&json!("groq")), "{newest}");
    let told = health(world, "groq", GROQ_MODEL).await;
    let until = chrono::DateTime::parse_from_rfc3339(text(&told, "open_until")).expect("a time");
    assert!(until > chrono::Utc::now(), "{told}");
    assert_eq!(told.pointer("/failures/http_500"), Some(&json!(FAILURES)), "{told}");
    let attempts = told.get("attempts").and_then(Value::as_u64);
    assert!(
        attempts.is_some_and(|attempts| attempts > FAILURES as u64),
        "wrong questions are attempts: {told}"
    );
    assert!((number(&told, "error_rate") - 1.0).abs() < 1e-9, "{told}");
    let second = health(world, "openai", OPENAI_MODEL).await;
    assert_eq!((text(&second, "state"), number(&second, "error_rate")), ("closed", 0.0), "{second}");
    assert!(second.pointer("/latency_ms/p50").is_some_and(Value::is_u64), "{second}");
    // After the cool-down one of many at once is let through. It is slow, so that the others come meanwhile.
    eventually(BOUND, "the cool-down ends", || async {
        let state = state(world).await;
        if state == "half_open" { Ok(()) } else { Err(state) }
    })
    .await;
    assert!(opened.elapsed() >= Duration::from_millis(OPEN_MS - 500), "{:?}", opened.elapsed());
    let marker = unique_marker();
    let slow = Behaviour::late(Duration::from_millis(800), Behaviour::status(500));
    world.groq.script(&marker, [slow]);
    let asks = (0..8).map(|_| ask(&tenant, &marker));
    let answered = futures::future::join_all(asks).await;
    assert!(answered.iter().all(|provider| provider == "openai"), "{answered:?}");
    assert_eq!(world.groq.calls(&marker).len(), 1, "one probe");
    assert_eq!(state(world).await, "open", "it failed");
    back(world, &tenant).await;
}

/// What was asked is wrong, not the provider: no number of such requests takes it from everybody else.
async fn a_wrong_question_opens_nothing(world: &World) {
    let tenant = world.tenant("wrong-question", 10.0).await;
    for status in [400, 404, 413, 422] {
        let marker = unique_marker();
        world.groq.script(&marker, [Behaviour::status(status)]);
        for _ in 0..=FAILURES {
            assert_eq!(ask(&tenant, &marker).await, "openai");
        }
        assert_eq!(world.groq.calls(&marker).len(), FAILURES + 1, "{status}");
    }
    assert_eq!(state(world).await, "closed");
}

/// A breaker is of a model: another one of the same provider is asked as ever.
async fn another_model_is_another_breaker(world: &World) {
    let tenant = world.tenant("models", 10.0).await;
    let marker = unique_marker();
    for provider in [&world.groq, &world.openai] {
        provider.script(&marker, [Behaviour::status(401)]);
    }
    let high = || tenant.ask(&json!({"input": marker})).header("x-intelligence-tier", "high").send();
    for _ in 0..FAILURES {
        high().await.expect_error(502, "si_ask_failed");
    }
    assert_eq!(text(&health(world, "openai", HIGH_TIER_MODEL).await, "state"), "open");
    // It may still wait for its probe after what was before.
    assert_ne!(text(&health(world, "openai", OPENAI_MODEL).await, "state"), "open");
}

/// With every breaker open a request still asks one; when that answers, it is back for all.
async fn with_nobody_else_an_open_one_is_asked(world: &World) {
    let tenant = world.tenant("nobody-else", 10.0).await;
    let marker = unique_marker();
    for provider in [&world.groq, &world.openai] {
        provider.script(&marker, [Behaviour::status(503)]);
    }
    eventually(BOUND, "both are open", || async {
        tenant.ask(&json!({"input": marker})).send().await.expect_error(502, "si_ask_failed");
        let second = health(world, "openai", OPENAI_MODEL).await;
        if state(world).await == "open" && text(&second, "state") == "open" { Ok(()) } else { Err(second) }
    })
    .await;
    let calls = world.calls_anywhere(&marker);
    let reply = tenant.ask(&json!({"input": marker})).send().await.expect_error(502, "si_ask_failed");
    assert_eq!(world.calls_anywhere(&marker), calls + 1, "one is asked: {reply:?}");
    let well = unique_marker();
    for provider in [&world.groq, &world.openai] {
        provider.script(&well, [Behaviour::answer("well", Usage::new(52, 192))]);
    }
    let first = ask(&tenant, &well).await;
    assert_eq!(ask(&tenant, &well).await, first, "its breaker closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn breakers() {
    let world = World::private(json!({
        "BREAKER_FAILURES": FAILURES.to_string(),
        "BREAKER_OPEN_MS": OPEN_MS.to_string(),
        "BREAKER_OPEN_MAX_MS": OPEN_MS.to_string(),
        "PREFERRED_PROVIDER": "groq,openai",
    }))
    .await;
    // One after the other: they are about the same breakers.
    a_wrong_question_opens_nothing(&world).await;
    it_opens_and_one_request_tries_again(&world).await;
    with_nobody_else_an_open_one_is_asked(&world).await;
    tokio::time::sleep(Duration::from_millis(OPEN_MS * 11 / 10)).await;
    back(&world, &world.tenant("back", 10.0).await).await;
    another_model_is_another_breaker(&world).await;
    let log = world.stack.log().text();
    let line = log.lines().find(|line| line.contains("breaker_opened")).expect("its opening is in the log");
    let line: Value = serde_json::from_str(&line[line.find('{').expect("JSON")..]).expect("JSON");
    assert_eq!((text(&line, "provider"), text(&line, "model")), ("groq", GROQ_MODEL));
}
