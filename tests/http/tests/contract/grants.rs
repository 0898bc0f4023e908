//! Grants: credit with terms, spent in an order that is known, and gone when its time is over.

use http_tests::client::unique_marker;
use http_tests::poll::eventually;
use http_tests::provider_script::{Behaviour, Usage};
use http_tests::vars::GUEST_GRANT_CREDITS;
use http_tests::world::{Tenant, World, assert_credits, number, text, whole};
use serde_json::{Value, json};
use std::time::Duration;

/// An alarm may be late on a busy machine.
const EXPIRY_BOUND: Duration = Duration::from_secs(10);
const GRANTS_LIVE_MAX: usize = 64;

/// A moment this far ahead, as the operator writes it.
fn ahead(milliseconds: i64) -> String {
    (chrono::Utc::now() + chrono::Duration::milliseconds(milliseconds)).to_rfc3339()
}

async fn live_grants(tenant: &Tenant) -> Vec<Value> {
    let body = tenant.get("/api/credits").send().await.expect(200).json();
    let grants = body.get("grants").and_then(Value::as_array).cloned();
    grants.unwrap_or_else(|| panic!("no grants in {body}"))
}

async fn newest_entry(tenant: &Tenant) -> Value {
    tenant.items("/api/credits/ledger?limit=1").await.remove(0)
}

#[tokio::test]
async fn what_expires_first_is_spent_first_and_gifts_before_what_was_paid_for() {
    let world = World::verified().await;
    let tenant = world.tenant("order", 0.0).await;
    // As they are given; each is worth less than one answer of 0.012, so every answer draws on two.
    let in_order_of_giving = [
        json!({"delta": 0.01, "kind": "paid"}),
        json!({"delta": 0.01, "kind": "promotional"}),
        json!({"delta": 0.01, "kind": "paid", "expires_at": ahead(7_200_000)}),
        json!({"delta": 0.01, "kind": "promotional", "expires_at": ahead(3_600_000)}),
        json!({"delta": 0.01, "kind": "paid", "priority": 10}),
    ];
    for grant in in_order_of_giving {
        tenant.adjust(grant).await.expect(200);
    }
    let grants = live_grants(&tenant).await;
    let seen: Vec<(&str, i64, bool)> = grants
        .iter()
        .map(|grant| (text(grant, "kind"), whole(grant, "priority"), grant["expires_at"].is_string()))
        .collect();
    let order = [
        ("paid", 10, false),
        ("promotional", 100, true),
        ("paid", 100, true),
        ("promotional", 100, false),
        ("paid", 100, false),
    ];
    assert_eq!(seen, order, "the order of spending");
    let ids: Vec<i64> = grants.iter().map(|grant| whole(grant, "id")).collect();
    // Answers of 0.012 walk through grants of 0.010.
    let draws: [&[(usize, f64)]; 3] =
        [&[(0, -0.01), (1, -0.002)], &[(1, -0.008), (2, -0.004)], &[(2, -0.006), (3, -0.006)]];
    for draw in draws {
        tenant.ask(&json!({"input": "hi", "max_tokens": 200})).send().await.expect(200);
        let charge = newest_entry(&tenant).await;
        assert_eq!(text(&charge, "kind"), "charge");
        let parts = charge.get("grants").and_then(Value::as_array).cloned().unwrap_or_default();
        assert_eq!(parts.len(), draw.len(), "{charge}");
        for (part, (index, amount)) in parts.iter().zip(draw) {
            assert_eq!(whole(part, "id"), ids[*index], "{charge}");
            assert_credits(number(part, "amount").abs(), amount.abs(), "its part of the charge");
        }
    }
    let left = live_grants(&tenant).await;
    assert_eq!(left.iter().map(|grant| whole(grant, "id")).collect::<Vec<_>>(), ids[3..]);
    assert_credits(number(&left[0], "left"), 0.004, "what is left of the gift");
    assert_credits(tenant.balance().await, 0.014, "the balance");
    tenant.verified().await;
}

#[tokio::test]
async fn credit_whose_time_is_over_is_gone_with_an_entry() {
    let world = World::verified().await;
    let tenant = world.tenant("expiring", 1.0).await;
    let reply = tenant.adjust(json!({"delta": 2, "expires_at": ahead(1_500)})).await.expect(200);
    assert_credits(number(&reply.json(), "balance"), 3.0, "before its time");
    let grant = newest_entry(&tenant).await;
    assert_eq!(text(&grant, "kind"), "grant");
    assert!(grant["terms"]["expires_at"].is_string(), "{grant}");
    let entry = eventually(EXPIRY_BOUND, "the grant expires", || async {
        let entry = newest_entry(&tenant).await;
        if text(&entry, "kind") == "expire" { Ok(entry) } else { Err(entry) }
    })
    .await;
    assert_credits(number(&entry, "amount"), -2.0, "what expired");
    assert_credits(number(&entry, "balance"), 1.0, "the balance after it");
    assert_eq!(entry["grants"][0]["id"], grant["seq"], "{entry}");
    assert!(text(&entry, "created_at") >= text(&grant["terms"], "expires_at"), "not before its time");
    assert_credits(tenant.balance().await, 1.0, "after its time");
    assert_eq!(live_grants(&tenant).await.len(), 1);
    tenant.verified().await;
}

#[tokio::test]
async fn expired_credit_pays_for_nothing() {
    let world = World::verified().await;
    let tenant = world.tenant("expired", 0.0).await;
    tenant.adjust(json!({"delta": 1, "expires_at": ahead(700)})).await.expect(200);
    eventually(EXPIRY_BOUND, "the balance is gone", || async {
        let balance = tenant.balance().await;
        if balance == 0.0 { Ok(()) } else { Err(balance) }
    })
    .await;
    let marker = unique_marker();
    tenant.ask(&json!({"input": marker})).send().await.expect_error(402, "insufficient_credits");
    assert_eq!(world.calls_anywhere(&marker), 0);
}

#[tokio::test]
async fn what_was_set_aside_before_its_time_was_over_still_pays() {
    let world = World::verified().await;
    let tenant = world.tenant("held-over", 0.0).await;
    let marker = unique_marker();
    let answer = Behaviour::answer("in time", Usage::new(52, 192));
    world.groq.script(&marker, [Behaviour::late(Duration::from_millis(1_400), answer)]);
    tenant.adjust(json!({"delta": 0.1, "expires_at": ahead(900)})).await.expect(200);
    let reply = tenant.ask(&json!({"input": marker})).send().await.expect(200);
    assert_eq!(reply.must_header("x-credits-used"), "0.012");
    assert_eq!(reply.must_header("x-credits-balance"), "0.000", "what the hold gave back is over");
    let kinds: Vec<String> = tenant.ledger().await.iter().map(|e| text(e, "kind").to_owned()).collect();
    assert_eq!(kinds.iter().filter(|kind| *kind == "charge").count(), 1, "{kinds:?}");
    assert!(kinds.contains(&"expire".to_owned()), "{kinds:?}");
    tenant.verified().await;
}

#[tokio::test]
async fn a_guests_credit_expires() {
    let world = World::private(json!({
        "GUEST_GRANT_TTL_SEC": "3",
        "PREFERRED_PROVIDER": "local",
    }))
    .await;
    let client = world.client();
    let guest = client.post("/auth/guest").send().await.expect(200).json();
    let token = text(&guest, "token");
    let ask = || client.post("/api/si/ask").bearer(token).json(&json!({"input": "hi"})).send();
    ask().await.expect(200);
    let credits = || client.get("/api/credits").bearer(token).send();
    let body = credits().await.expect(200).json();
    assert_credits(number(&body, "balance"), GUEST_GRANT_CREDITS - 0.012, "before its time");
    assert_eq!(text(&body["grants"][0], "kind"), "promotional");
    assert!(body["grants"][0]["expires_at"].is_string(), "{body}");
    eventually(EXPIRY_BOUND, "the guest's credit is over", || async {
        let body = credits().await.expect(200).json();
        if number(&body, "balance") == 0.0 { Ok(()) } else { Err(body) }
    })
    .await;
    ask().await.expect(402);
    let body = credits().await.expect(200).json();
    assert_eq!(body.get("grants"), Some(&json!([])));
}

#[tokio::test]
async fn wrong_terms_are_refused_and_change_nothing() {
    let world = World::verified().await;
    let tenant = world.tenant("terms", 5.0).await;
    let rows = [
        (json!({"delta": 1, "kind": "gift"}), "invalid_field", "kind"),
        (json!({"delta": 1, "kind": 7}), "invalid_field", "kind"),
        (json!({"delta": 1, "priority": -1}), "invalid_setting", "priority"),
        (json!({"delta": 1, "priority": 1_001}), "invalid_setting", "priority"),
        (json!({"delta": 1, "priority": 1.5}), "invalid_field", "priority"),
        (json!({"delta": 1, "priority": "high"}), "invalid_field", "priority"),
        (json!({"delta": 1, "expires_at": ahead(-1_000)}), "invalid_setting", "expires_at"),
        (json!({"delta": 1, "expires_at": "tomorrow"}), "invalid_field", "expires_at"),
        (json!({"delta": 1, "expires_at": true}), "invalid_field", "expires_at"),
        (json!({"delta": 1, "expires_at": {}}), "invalid_field", "expires_at"),
        (json!({"set": 9, "kind": "paid"}), "invalid_field", "delta"),
        (json!({"set": 9, "expires_at": ahead(60_000)}), "invalid_field", "delta"),
        (json!({"delta": -1, "kind": "paid"}), "invalid_field", "delta"),
        (json!({"delta": 0, "priority": 5}), "invalid_field", "delta"),
    ];
    for (change, code, field) in rows {
        let reply = tenant.adjust(change.clone()).await;
        assert_eq!((reply.status, reply.error().as_str()), (400, code), "{change}: {reply:?}");
        assert_eq!(text(&reply.json(), "field"), field, "{change}");
    }
    assert_credits(tenant.balance().await, 5.0, "after all refusals");
    assert_eq!(tenant.ledger().await.len(), 1);
}

#[tokio::test]
async fn credit_on_the_same_terms_is_one_grant_and_grants_are_bounded() {
    let world = World::verified().await;
    let tenant = world.tenant("many-grants", 1.0).await;
    for _ in 0..3 {
        tenant.adjust(json!({"delta": 1})).await.expect(200);
    }
    let grants = live_grants(&tenant).await;
    assert_eq!(grants.len(), 1, "{grants:?}");
    assert_credits(number(&grants[0], "left"), 4.0, "all of it");
    // Each with an end of its own: on the same terms they would join.
    let expiring = (1..GRANTS_LIVE_MAX).map(|n| {
        let later_ms = i64::try_from(n).expect("a small number");
        let change = json!({"delta": 0.001, "expires_at": ahead(3_600_000 + 1_000 * later_ms)});
        tenant.adjust(change)
    });
    for reply in futures::future::join_all(expiring).await {
        reply.expect(200);
    }
    let one_more = tenant.adjust(json!({"delta": 1, "expires_at": ahead(3_600_000)})).await;
    one_more.expect_error(409, "too_many_grants");
    // What joins a grant that is there needs no room.
    tenant.adjust(json!({"delta": 1})).await.expect(200);
    assert_eq!(live_grants(&tenant).await.len(), GRANTS_LIVE_MAX);
}
