//! Delivery of notices: signed by the Standard Webhooks scheme, tried again with the same id, to safe addresses only.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use http_tests::poll::eventually;
use http_tests::webhook_receiver::{Answer, WebhookCall, WebhookReceiver};
use http_tests::world::{Tenant, World, number, text};
use serde_json::{Value, json};
use sha2::Sha256;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(10);
/// The first wait after a failure, spread by a quarter, and how late an alarm may be on a busy machine.
const FIRST_RETRY: std::ops::Range<Duration> = Duration::from_secs(9)..Duration::from_secs(25);
/// Retries so long after the first attempt are not waited for: nothing may come in this time.
const QUIET: Duration = Duration::from_millis(1_500);

/// A tenant whose next charge makes a notice for `url`; and the reply that set it.
async fn about_to_be_told(world: &World, name: &str, webhook: Value) -> (Tenant, Value) {
    let tenant = world.tenant(name, 1.005).await;
    let set = tenant.put_limits(json!({"low_balance": 1, "webhook": webhook})).await.expect(200).json();
    (tenant, set)
}

async fn ask(tenant: &Tenant) {
    tenant.ask(&json!({"input": "hi"})).send().await.expect(200);
}

/// The scheme of the Standard Webhooks specification, on its own.
fn signature(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> String {
    let key = secret.strip_prefix("whsec_").expect("a secret's prefix");
    let key = STANDARD.decode(key).expect("a key in base64");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length");
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

fn assert_signed(call: &WebhookCall, secret: &str) {
    let (id, timestamp) = (call.header("webhook-id"), call.header("webhook-timestamp"));
    assert_eq!(call.header("webhook-signature"), signature(secret, id, timestamp, &call.body));
    let age_s = chrono::Utc::now().timestamp() - timestamp.parse::<i64>().expect("whole seconds");
    assert!((-2..60).contains(&age_s), "signed {age_s} s ago");
    assert_eq!(call.header("content-type"), "application/json");
}

async fn noted(tenant: &Tenant, state: &str, outcome: &str) -> Value {
    eventually(BOUND, "the attempt is noted", || async {
        let notice = tenant.notices().await.remove(0);
        let seen = (text(&notice, "state"), notice["last_outcome"].as_str().unwrap_or_default());
        if seen == (state, outcome) { Ok(notice) } else { Err(notice) }
    })
    .await
}

#[tokio::test]
async fn a_notice_is_delivered_and_signed() {
    let world = World::verified().await;
    let receiver = WebhookReceiver::start([]).await;
    let (tenant, set) = about_to_be_told(world, "delivered", json!({"url": receiver.url()})).await;
    let secret = text(&set, "webhook_secret");
    ask(&tenant).await;
    let call = receiver.calls_of(1, BOUND).await.remove(0);
    assert_signed(&call, secret);
    let body = call.json();
    assert_eq!(text(&body, "id"), call.header("webhook-id"));
    assert_eq!(text(&body, "type"), "balance.low");
    assert_eq!(text(&body, "email"), tenant.email, "one receiver may serve many tenants");
    let told = json!({
        "balance": 0.993, "balance_micro": 993_000, "threshold": 1.0, "threshold_micro": 1_000_000,
    });
    assert_eq!(body["data"], told);
    let notice = noted(&tenant, "delivered", "204").await;
    assert_eq!(number(&notice, "attempts"), 1.0);
    let log = notice["log"].as_array().expect("a line for each attempt");
    assert_eq!(
        (log.len(), &log[0]["attempt"], &log[0]["outcome"]),
        (1, &json!(1), &json!("204")),
        "{notice}"
    );
    assert_eq!(log[0]["at"], notice["delivered_at"]);
    assert_eq!(notice["data"], body["data"]);
    assert_eq!(notice["next_attempt_at"], Value::Null);
    assert!(notice["delivered_at"].is_string(), "{notice}");
    // Another notice has another id.
    tenant.set_balance(1.005).await;
    ask(&tenant).await;
    let calls = receiver.calls_of(2, BOUND).await;
    assert_ne!(calls[0].header("webhook-id"), calls[1].header("webhook-id"));
    assert_signed(&calls[1], secret);
}

#[tokio::test]
async fn a_failed_delivery_is_tried_again_with_the_same_id() {
    let world = World::verified().await;
    let receiver = WebhookReceiver::start([Answer::Status(500)]).await;
    let (tenant, set) = about_to_be_told(world, "retried", json!({"url": receiver.url()})).await;
    ask(&tenant).await;
    receiver.calls_of(1, BOUND).await;
    let notice = noted(&tenant, "pending", "500").await;
    assert_eq!(number(&notice, "attempts"), 1.0);
    assert!(notice["next_attempt_at"].is_string() && notice["delivered_at"].is_null(), "{notice}");
    let calls = receiver.calls_of(2, FIRST_RETRY.end).await;
    let waited = calls[1].at - calls[0].at;
    assert!(FIRST_RETRY.contains(&waited), "{waited:?}");
    assert_eq!(calls[0].header("webhook-id"), calls[1].header("webhook-id"));
    assert_eq!(calls[0].body, calls[1].body);
    assert_ne!(calls[0].header("webhook-timestamp"), calls[1].header("webhook-timestamp"));
    for call in &calls {
        assert_signed_then(call, text(&set, "webhook_secret"));
    }
    let notice = noted(&tenant, "delivered", "204").await;
    assert_eq!(number(&notice, "attempts"), 2.0);
}

/// Like [`assert_signed`], of a call some time ago.
fn assert_signed_then(call: &WebhookCall, secret: &str) {
    let (id, timestamp) = (call.header("webhook-id"), call.header("webhook-timestamp"));
    assert_eq!(call.header("webhook-signature"), signature(secret, id, timestamp, &call.body));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let world = World::verified().await;
    let lure = WebhookReceiver::start([]).await;
    let receiver = WebhookReceiver::start([Answer::Redirect(lure.url())]).await;
    let (tenant, _) = about_to_be_told(world, "redirected", json!({"url": receiver.url()})).await;
    ask(&tenant).await;
    noted(&tenant, "pending", "302").await;
    tokio::time::sleep(QUIET).await;
    assert!(lure.calls().is_empty(), "{:?}", lure.calls());
    assert_eq!(receiver.calls().len(), 1);
}

#[tokio::test]
async fn an_address_nobody_answers_at_is_noted() {
    let world = World::verified().await;
    let receiver = WebhookReceiver::start([]).await;
    let url = receiver.url();
    drop(receiver);
    let (tenant, _) = about_to_be_told(world, "unreachable", json!({"url": url})).await;
    ask(&tenant).await;
    let notice = noted(&tenant, "pending", "unreachable").await;
    assert_eq!(number(&notice, "attempts"), 1.0);
    // A webhook that does not answer takes nothing from those who ask.
    ask(&tenant).await;
}

#[tokio::test]
async fn a_secret_is_made_once_and_shown_once() {
    let world = World::verified().await;
    let receiver = WebhookReceiver::start([]).await;
    let webhook = json!({"url": receiver.url()});
    let (tenant, set) = about_to_be_told(world, "secret", webhook.clone()).await;
    let secret = text(&set, "webhook_secret").to_owned();
    let key = STANDARD.decode(secret.strip_prefix("whsec_").expect("the prefix")).expect("base64");
    assert!(key.len() >= 24, "{} bytes", key.len());
    let again = tenant.put_limits(json!({"low_balance": 1, "webhook": webhook})).await.expect(200);
    assert_eq!(again.json().get("webhook_secret"), None, "it was shown before");
    let shown = tenant.get("/api/credits/limits").send().await.expect(200);
    assert!(!shown.text().contains(&secret) && !shown.text().contains("whsec_"), "{shown:?}");
    // The path may be a secret of the receiver's: only the operator, who set it, sees it.
    let whole = receiver.url();
    let origin = whole.split('/').take(3).collect::<Vec<_>>().join("/");
    assert_eq!(shown.json().get("webhook"), Some(&json!({"url": origin})));
    let call = tenant.client.get("/api/credits/limits").admin().claim(&tenant.email);
    let seen = call.send().await.expect(200).json();
    assert_eq!(seen.get("webhook"), Some(&json!({"url": whole})));
    ask(&tenant).await;
    assert_signed(&receiver.calls_of(1, BOUND).await[0], &secret);
    let listed = tenant.get("/api/credits/notices").send().await.expect(200);
    assert!(!listed.text().contains(&secret), "{listed:?}");
    assert!(!world.stack.log().text().contains(&secret), "it was logged");
    // Another address has another secret: who had the first one learns nothing of it.
    let other = WebhookReceiver::start([]).await;
    let moved = tenant.put_limits(json!({"webhook": {"url": other.url()}})).await.expect(200).json();
    assert_ne!(text(&moved, "webhook_secret"), secret);
}

#[tokio::test]
async fn the_owners_own_secret_signs_and_is_never_shown() {
    let world = World::verified().await;
    let receiver = WebhookReceiver::start([]).await;
    let secret = format!("whsec_{}", STANDARD.encode([7_u8; 32]));
    let webhook = json!({"url": receiver.url(), "secret": secret});
    let (tenant, set) = about_to_be_told(world, "own-secret", webhook).await;
    assert!(!set.to_string().contains("whsec_"), "{set}");
    ask(&tenant).await;
    assert_signed(&receiver.calls_of(1, BOUND).await[0], &secret);
    let long = format!("whsec_{}", STANDARD.encode([7_u8; 65]));
    let short = format!("whsec_{}", STANDARD.encode([7_u8; 23]));
    for wrong in ["whsec_***", "no base64 at all!", "whsec_", "whsec_AAAA", &short, &long] {
        let webhook = json!({"url": receiver.url(), "secret": wrong});
        let reply = tenant.put_limits(json!({"webhook": webhook})).await;
        let reply = reply.expect_error(400, "invalid_setting");
        assert_eq!(text(&reply.json(), "field"), "webhook");
        assert!(wrong == "whsec_" || !reply.text().contains(wrong), "{reply:?}");
    }
    let empty = json!({"url": receiver.url(), "secret": ""});
    tenant.put_limits(json!({"webhook": empty})).await.expect_error(400, "invalid_setting");
}

#[tokio::test]
async fn unsafe_addresses_are_refused() {
    let world = World::verified().await;
    let tenant = world.tenant("unsafe-url", 1.0).await;
    let long = format!("https://example.com/{}", "x".repeat(2_048));
    let rows = [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/hook",
        "https://[fd00::1]/hook",
        "https://127.0.0.1/hook",
        "https://localhost/hook",
        "https://2130706433/hook",
        "http://example.com/hook",
        "ftp://example.com/hook",
        "file:///etc/passwd",
        "https://user@example.com/hook",
        "https://user:password@example.com/hook",
        "https://example.com/hook#part",
        "example.com/hook",
        "",
        long.as_str(),
    ];
    for url in rows {
        let reply = tenant.put_limits(json!({"webhook": {"url": url}})).await;
        let seen = (reply.status, reply.error());
        assert_eq!(seen, (400, "invalid_setting".to_owned()), "{url:.60}: {reply:?}");
        assert_eq!(text(&reply.json(), "field"), "webhook", "{url:.60}");
    }
    assert_eq!(tenant.limits().await.get("webhook"), Some(&Value::Null));
    tenant.put_limits(json!({"webhook": {"url": "https://example.com/hook?a=b"}})).await.expect(200);
}
