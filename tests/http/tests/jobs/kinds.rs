//! Types of jobs beside `si`: a signed webhook, and many asks in one.

use crate::stage::{BOUND, CHARGE, JOBS, ended, id, job, made, settled, until};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use http_tests::client::unique_marker;
use http_tests::provider_script::Behaviour;
use http_tests::webhook_receiver::{Answer, WebhookReceiver};
use http_tests::world::{World, assert_credits, number, text, whole};
use serde_json::{Value, json};
use sha2::Sha256;
use std::time::Duration;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn posting(url: &str) -> Value {
    json!({"type": "webhook", "params": {"url": url, "secret": SECRET, "body": {"order": 7}}})
}

#[tokio::test]
async fn a_webhook_is_posted_signed_until_it_is_taken() {
    let world = World::verified().await;
    let tenant = world.tenant("hook", 0.0).await;
    let receiver = WebhookReceiver::start([Answer::Status(503), Answer::Status(200)]).await;
    let first = made(&tenant, &posting(&receiver.url())).await;
    assert_eq!(first["params"], json!({"url": receiver.url(), "body": {"order": 7}}), "no secret is shown");
    let done = ended(&tenant, id(&first), "succeeded").await;
    assert_eq!((&done["result"]["status"], whole(&done, "attempts")), (&json!(200), 2), "{done}");
    let calls = receiver.calls_of(2, BOUND).await;
    assert_eq!(calls.len(), 2);
    for call in &calls {
        assert_eq!((call.json(), call.header("webhook-id")), (json!({"order": 7}), id(&first)));
        let key = STANDARD.decode(SECRET.trim_start_matches("whsec_")).expect("base64");
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key");
        let signed = format!("{}.{}.", id(&first), call.header("webhook-timestamp"));
        mac.update(signed.as_bytes());
        mac.update(&call.body);
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        assert_eq!(call.header("webhook-signature"), expected);
    }
    assert_credits(number(&done["result"], "credits_used"), 0.0, "it costs nothing");
    settled(&tenant).await;
}

#[tokio::test]
async fn what_a_receiver_refuses_or_may_not_be_called_is_not_tried_again() {
    let world = World::verified().await;
    let tenant = world.tenant("refused", 0.0).await;
    let elsewhere = WebhookReceiver::start([]).await;
    let receiver = WebhookReceiver::start([Answer::Redirect(elsewhere.url())]).await;
    let first = made(&tenant, &posting(&receiver.url())).await;
    let failed = ended(&tenant, id(&first), "failed").await;
    assert_eq!(text(&failed["result"], "error"), "webhook_refused", "{failed}");
    assert_eq!((receiver.calls().len(), elsewhere.calls().len()), (1, 0), "a redirect is not followed");
    for url in [
        "http://169.254.169.254/latest",
        "ftp://x.io/",
        "https://user:pass@x.io/",
        "https://10.0.0.1/",
        "https://intranet/",
        "https://printer.local/",
        "https://metadata.google.internal/",
        "https://x.io:22/",
        "https://x.io:6379/",
        "x",
    ] {
        let refused = tenant.post(JOBS).json(&posting(url)).send().await.expect_error(400, "invalid_field");
        assert_eq!(refused.json()["field"], "url", "{url}");
    }
    let mut weak = posting(&receiver.url());
    weak["params"]["secret"] = json!("whsec_short");
    tenant.post(JOBS).json(&weak).send().await.expect_error(400, "invalid_field");
    settled(&tenant).await;
}

#[tokio::test]
async fn a_batch_is_many_asks_and_one_charge() {
    let world = World::verified().await;
    let tenant = world.tenant("batch", 5.0).await;
    let marker = unique_marker();
    for provider in [&world.openai, &world.groq] {
        provider.script(&marker, [Behaviour::status(400)]);
    }
    let body =
        json!({"type": "batch", "params": {"skill": "general", "inputs": ["one", marker, {"three": 3}]}});
    let call = tenant.post(JOBS).header("x-intelligence-tier", "high").json(&body);
    let first = call.send().await.expect(200).json()["job"].clone();
    let done = ended(&tenant, id(&first), "succeeded").await;
    let items = done["result"]["items"].as_array().expect("items");
    assert_eq!(items.len(), 3, "{done}");
    assert!(items[0].get("content").is_some() && items[2].get("content").is_some(), "{done}");
    assert_eq!((text(&items[1], "error"), &done["result"]["failed"]), ("request_refused", &json!(1)));
    assert_eq!(done["progress"], json!({"done": 3, "of": 3, "failed": 1}));
    assert_credits(number(&done["result"], "credits_used"), 2.0 * CHARGE, "two were answered");
    assert_credits(tenant.balance().await, 5.0 - 2.0 * CHARGE, "the balance");
    assert_eq!(tenant.usage().await.len(), 1, "one job, one usage row");
    settled(&tenant).await;
    for wrong in [json!([]), json!("x"), json!(vec!["x"; 51])] {
        let body = json!({"type": "batch", "params": {"inputs": wrong}});
        tenant.post(JOBS).json(&body).send().await.expect_error(400, "invalid_field");
    }
    let empty = json!({"type": "batch", "params": {"inputs": ["one", ""]}});
    tenant.post(JOBS).json(&empty).send().await.expect_error(400, "missing_input");
}

#[tokio::test]
async fn another_attempt_at_a_batch_goes_on_where_the_last_one_stopped() {
    let world = World::verified().await;
    let tenant = world.tenant("goes-on", 5.0).await;
    let (one, two) = (unique_marker(), unique_marker());
    let down = Behaviour::late(Duration::from_millis(300), Behaviour::status(500));
    world.groq.script(&two, [down, Behaviour::answer_without_usage("at last")]);
    for provider in [&world.openai, &world.local, &world.workers_ai] {
        provider.script(&two, [Behaviour::status(500)]);
    }
    let body = json!({"type": "batch", "params": {"inputs": [one, two]}});
    let first = made(&tenant, &body).await;
    until(&tenant, id(&first), "succeeded", BOUND).await;
    let done = job(&tenant, id(&first)).await;
    assert_eq!((whole(&done, "attempts"), &done["result"]["failed"]), (2, &json!(0)), "{done}");
    assert_eq!(world.calls_anywhere(&one), 1, "what was answered is not asked again");
    assert_eq!(text(&done["result"]["items"][1], "content"), "at last");
    settled(&tenant).await;
}

/// When the job goes on, in milliseconds after it was put back.
fn goes_on_after_ms(job: &Value) -> i64 {
    let ms = |name: &str| {
        chrono::DateTime::parse_from_rfc3339(text(job, name)).expect("a time").timestamp_millis()
    };
    ms("run_at") - ms("updated_at")
}

/// Until the attempt that is refused is over, and told when it is made again.
async fn put_back(tenant: &http_tests::world::Tenant, own: &str) -> Value {
    http_tests::poll::eventually(BOUND, "it waits for its next attempt", || async {
        let job = job(tenant, own).await;
        if text(&job, "status") == "queued" && whole(&job, "attempts") == 1 { Ok(job) } else { Err(job) }
    })
    .await
}

#[tokio::test]
async fn who_says_when_to_come_back_is_left_alone_until_then() {
    let world = World::private(json!({"JOB_WAIT_MAX_MS": "60000"})).await;
    let tenant = world.tenant("later", 2.0).await;
    // A receiver: what it says, and of more than the longest wait no more than that.
    for (asked_s, wait_ms) in [(20, 20_000), (3_600, 60_000)] {
        let receiver = WebhookReceiver::start([Answer::Busy(429, asked_s)]).await;
        let first = made(&tenant, &posting(&receiver.url())).await;
        let waits = put_back(&tenant, id(&first)).await;
        assert_eq!((goes_on_after_ms(&waits), receiver.calls().len()), (wait_ms, 1), "{waits}");
        crate::stage::act(&tenant, id(&first), "cancel").await.expect(200);
    }
    // Providers: the first that may be asked again.
    let marker = unique_marker();
    for (provider, after_s) in world.providers().into_iter().zip(["50", "40", "3600", "45"]) {
        provider.script(&marker, [Behaviour::busy(429, after_s)]);
    }
    let first = made(&tenant, &crate::stage::asking(&marker)).await;
    let waits = put_back(&tenant, id(&first)).await;
    assert!((30_000..=50_000).contains(&goes_on_after_ms(&waits)), "{waits}");
    crate::stage::act(&tenant, id(&first), "cancel").await.expect(200);
    settled(&tenant).await;
}
