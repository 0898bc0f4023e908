//! `max_credits`: what a client says an answer may cost, and what becomes of one that would cost more.

use http_tests::client::unique_marker;
use http_tests::event_stream::Transcript;
use http_tests::poll::eventually;
use http_tests::provider_script::{Behaviour, Completion, Ending, Usage};
use http_tests::vars::CREDIT_PER_1K;
use http_tests::world::{Tenant, World, assert_credits, number, text};
use serde_json::{Value, json};
use std::time::Duration;

const GAP: Duration = Duration::from_millis(2);
const BOUND: Duration = Duration::from_secs(6);
/// Pays for 400 tokens, the prompt among them.
const MAX_CREDITS: f64 = 0.02;

/// A provider that sends numbered words for ever, whatever it was asked for.
fn endless() -> Behaviour {
    Behaviour::Complete(Completion::numbered(1_000, GAP).ending(Ending::Endless))
}

fn question(marker: &str, max_credits: f64) -> Value {
    json!({"input": marker, "max_tokens": 4_000, "max_credits": max_credits})
}

async fn streamed(tenant: &Tenant, path: &str, body: &Value) -> Transcript {
    tenant.post(path).json(body).open().await.expect_stream().await.drain().await
}

/// What the error at the end says, in either form.
fn cut_error(transcript: &Transcript, named: bool) -> Value {
    let error = if named {
        transcript.event_json("error")
    } else {
        assert_eq!(transcript.event("error").as_deref(), Some(""), "a data line without text");
        transcript.comment("error").unwrap_or_else(|| panic!("no error comment in {transcript:?}"))
    };
    assert!(transcript.comment("done").is_none() && transcript.event("done").is_none(), "{transcript:?}");
    assert_eq!(text(&error, "error"), "hold_used_up");
    error
}

/// The one usage item of a tenant whose only request was cut, after its hold has ended.
async fn assert_cut_and_charged(tenant: &Tenant, before: f64, error: &Value, max: f64) {
    let used = number(&error["usage"], "credits_used");
    assert!(used > 0.0 && used <= max, "{used} of {max} were charged");
    let left = tenant.settled_balance().await;
    assert_credits((left * 1e3).round(), ((before - used) * 1e3).round(), "the balance");
    let item = tenant.usage_of(1).await.remove(0);
    assert_eq!(text(&item["meta"], "outcome"), "hold_used_up", "{item}");
    assert_credits(number(&item, "cost_credits"), used, "the usage item");
    assert!(tenant.open_holds().await.is_empty());
    tenant.verified().await;
}

#[tokio::test]
async fn no_more_is_asked_for_than_the_credits_pay() {
    let world = World::verified().await;
    let tenant = world.tenant("asked-less", 5.0).await;
    for stream in [false, true] {
        let marker = unique_marker();
        let body = question(&marker, MAX_CREDITS);
        if stream {
            let stream = tenant.ask(&body).open().await.expect_stream().await;
            assert_eq!(stream.header("x-credits-held"), Some("0.020"), "no more is set aside");
            stream.drain().await;
        } else {
            tenant.ask(&body).send().await.expect(200);
        }
        let asked = number(&world.groq.calls(&marker)[0].json(), "max_tokens");
        let paid_for = MAX_CREDITS / CREDIT_PER_1K * 1_000.0;
        assert!(asked > 200.0 && asked < paid_for, "{asked} tokens are asked for");
    }
    // A limit above what the request could cost changes nothing.
    let marker = unique_marker();
    let body = json!({"input": marker, "max_tokens": 100, "max_credits": 1});
    tenant.ask(&body).send().await.expect(200);
    assert_credits(number(&world.groq.calls(&marker)[0].json(), "max_tokens"), 100.0, "max_tokens");
}

#[tokio::test]
async fn a_provider_that_reports_more_is_charged_no_more() {
    let world = World::verified().await;
    // The prompt may have many tokens by a template's count, so reports of them are believed.
    let usage = Usage::new(600, 300);
    for stream in [false, true] {
        let tenant = world.tenant("reports-more", 5.0).await;
        let marker = unique_marker();
        world.groq.script(&marker, [Behaviour::answer("a short answer", usage)]);
        let body = question(&marker, MAX_CREDITS);
        if stream {
            streamed(&tenant, "/api/si/ask", &body).await;
        } else {
            tenant.ask(&body).send().await.expect(200);
        }
        let item = tenant.usage_of(1).await.remove(0);
        let cost = number(&item, "cost_credits");
        assert!(cost > 0.0 && cost <= MAX_CREDITS, "stream={stream}: {cost} were charged: {item}");
        let left = tenant.settled_balance().await;
        assert_credits((left * 1e3).round(), ((5.0 - cost) * 1e3).round(), "the balance");
    }
}

#[tokio::test]
async fn a_whole_answer_that_is_longer_than_asked_for_costs_no_more() {
    let world = World::verified().await;
    let tenant = world.tenant("json-longer", 5.0).await;
    let marker = unique_marker();
    let answer = Completion::numbered(3_000, Duration::ZERO);
    world.groq.script(&marker, [Behaviour::Complete(answer.clone())]);
    let reply = tenant.ask(&question(&marker, MAX_CREDITS)).send().await.expect(200);
    let used: f64 = reply.must_header("x-credits-used").parse().expect("credits");
    assert!(used > 0.0 && used <= MAX_CREDITS, "{used} were charged");
    assert_credits(tenant.settled_balance().await, 5.0 - used, "the balance");
}

#[tokio::test]
async fn a_stream_that_goes_on_is_cut_where_its_credits_end() {
    let world = World::verified().await;
    for (path, named) in [("/api/si/ask", false), ("/api/si/ask?events=1", true)] {
        let tenant = world.tenant("cut", 5.0).await;
        let marker = unique_marker();
        world.groq.script(&marker, [endless()]);
        let transcript = streamed(&tenant, path, &question(&marker, MAX_CREDITS)).await;
        let error = cut_error(&transcript, named);
        let shown = transcript.text();
        assert!(shown.starts_with("w0 w1 w2 "), "what is paid for is delivered: {shown}");
        let words = shown.split_whitespace().count();
        // 400 tokens are paid for, and each word is one to three by any count.
        assert!((80..400).contains(&words), "{words} words for {MAX_CREDITS} credits");
        assert!(number(&error["usage"], "tokens_out") >= 80.0, "{error}");
        assert_cut_and_charged(&tenant, 5.0, &error, MAX_CREDITS).await;
        eventually(BOUND, "the provider is told to stop", || async {
            let call = world.groq.calls(&marker).remove(0);
            if call.abandoned() { Ok(()) } else { Err(call.pieces_sent()) }
        })
        .await;
    }
}

#[tokio::test]
async fn topping_up_goes_on_to_the_end_of_the_answer() {
    let world = World::verified().await;
    let tenant = world.tenant("topped", 5.0).await;
    let marker = unique_marker();
    let answer = Completion::numbered(300, Duration::from_millis(1)).usage(Usage::new(60, 300));
    let whole = answer.text();
    world.groq.script(&marker, [Behaviour::Complete(answer)]);
    let body = json!({
        "input": marker, "max_tokens": 400, "max_credits": 0.008, "on_hold_used": "top_up",
    });
    let stream = tenant.post("/api/si/ask").json(&body).open().await.expect_stream().await;
    assert_eq!(stream.header("x-credits-held"), Some("0.008"), "no more is set aside at first");
    let transcript = stream.drain().await;
    assert_eq!(transcript.text(), whole);
    assert!(transcript.comment("done").is_some(), "{transcript:?}");
    let usage = transcript.comment("usage").expect("a usage comment");
    assert_credits(number(&usage, "credits_used"), 0.018, "360 tokens");
    assert_credits(tenant.settled_balance().await, 5.0 - 0.018, "charged once, in parts");
    assert_eq!(tenant.usage().await.len(), 1, "one request is one event");
    tenant.verified().await;
}

#[tokio::test]
async fn topping_up_ends_where_the_request_said_it_would() {
    let world = World::verified().await;
    let tenant = world.tenant("topped-full", 5.0).await;
    let marker = unique_marker();
    world.groq.script(&marker, [endless()]);
    let without_limit = json!({"input": marker, "max_tokens": 500});
    let poor = world.tenant("topped-poor", 0.0).await;
    let full = number(&poor.ask(&without_limit).send().await.expect(402).json(), "needed");
    let body = json!({
        "input": marker, "max_tokens": 500, "max_credits": 0.01, "on_hold_used": "top_up",
    });
    let transcript = streamed(&tenant, "/api/si/ask?events=1", &body).await;
    let error = cut_error(&transcript, true);
    let used = number(&error["usage"], "credits_used");
    assert!(used > 0.015, "it was topped up beyond the first 0.010: {used}");
    assert_cut_and_charged(&tenant, 5.0, &error, full).await;
}

#[tokio::test]
async fn topping_up_ends_when_the_balance_is_used_up() {
    let world = World::verified().await;
    // Not a whole number of steps: the last one is what is left.
    let tenant = world.tenant("topped-out", 0.018).await;
    let marker = unique_marker();
    world.groq.script(&marker, [endless()]);
    let body = json!({
        "input": marker, "max_tokens": 4_000, "max_credits": 0.008, "on_hold_used": "top_up",
    });
    let transcript = streamed(&tenant, "/api/si/ask", &body).await;
    let error = cut_error(&transcript, false);
    let used = number(&error["usage"], "credits_used");
    assert!(used >= 0.017, "all of the balance was used: {used}");
    assert_cut_and_charged(&tenant, 0.018, &error, 0.018).await;
}

#[tokio::test]
async fn a_cut_answer_is_replayed_as_it_was() {
    let world = World::verified().await;
    let tenant = world.tenant("cut-again", 5.0).await;
    let marker = unique_marker();
    world.groq.script(&marker, [endless()]);
    let body = question(&marker, MAX_CREDITS);
    let open = || async {
        let call = tenant.post("/api/si/ask?events=1").idempotency_key("cut").json(&body);
        call.open().await.expect_stream().await
    };
    let first = open().await.drain().await;
    let used = number(&cut_error(&first, true)["usage"], "credits_used");
    let again = open().await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    let again = again.drain().await;
    assert_eq!(again.text(), first.text());
    assert_eq!(cut_error(&again, true)["usage"], cut_error(&first, true)["usage"]);
    let whole = tenant.ask(&body).idempotency_key("cut").send().await.expect(200);
    assert_eq!(whole.must_header("idempotency-replayed"), "true");
    assert_eq!(whole.json(), json!({"result": {"content": first.text(), "cut": "hold_used_up"}}));
    assert_eq!(whole.must_header("x-credits-used"), format!("{used:.3}"));
    assert_credits(tenant.settled_balance().await, 5.0 - used, "charged once");
    assert_eq!(world.calls_anywhere(&marker), 1);
}

#[tokio::test]
async fn limits_that_are_none_are_refused_before_anybody_is_asked() {
    let world = World::verified().await;
    let tenant = world.tenant("odd-limits", 5.0).await;
    let marker = unique_marker();
    let rows = [
        ("max_credits", json!(0)),
        ("max_credits", json!(-1)),
        ("max_credits", json!("1")),
        ("max_credits", json!(true)),
        ("max_credits", json!(1e30)),
        ("max_credits", json!([0.5])),
        // Too small to be an amount, and too small for the prompt alone.
        ("max_credits", json!(1e-9)),
        ("max_credits", json!(0.001)),
        ("on_hold_used", json!("stop")),
        ("on_hold_used", json!("CUT")),
        ("on_hold_used", json!(7)),
    ];
    for (field, value) in rows {
        let mut body = json!({"input": marker});
        body[field] = value.clone();
        let reply = tenant.ask(&body).send().await;
        assert_eq!((reply.status, reply.error().as_str()), (400, "invalid_field"), "{field}: {value}");
        assert_eq!(text(&reply.json(), "field"), field, "{value}");
    }
    assert_eq!(world.calls_anywhere(&marker), 0);
    assert!(tenant.open_holds().await.is_empty());
    for body in [json!({"max_credits": null}), json!({"on_hold_used": "cut"})] {
        let mut asked = body;
        asked["input"] = json!("hi");
        tenant.ask(&asked).send().await.expect(200);
    }
}
