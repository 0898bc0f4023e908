//! An operator changes a balance: every vector, every refusal, and the ledger that remembers it.

use http_tests::world::{Tenant, World, assert_credits, number, text};
use serde_json::{Value, json};

/// The three equal numbers and the two equal times of a balance object.
fn assert_balance_object(body: &Value, tenant: &Tenant, credits: f64) {
    assert_eq!(text(body, "email"), tenant.email);
    for member in ["balance", "balance_credits", "credits"] {
        assert_credits(number(body, member), credits, member);
    }
    let updated = text(body, "updated_at");
    assert_eq!(updated, text(body, "updated"));
    let at = chrono::DateTime::parse_from_rfc3339(updated).expect("a time");
    assert!((chrono::Utc::now() - at.to_utc()).num_seconds().abs() < 30, "{updated}");
}

#[tokio::test]
async fn set_and_delta_move_the_balance() {
    let world = World::verified().await;
    let tenant = world.tenant("adjusted", 0.0).await;
    // What to send, the balance after it, and the part that was not there to take.
    let steps = [
        (json!({"set": 10}), 10.0, None),
        (json!({"delta": 0.5}), 10.5, None),
        (json!({"delta": -2.25}), 8.25, None),
        (json!({"set": 3.123}), 3.123, None),
        (json!({"set": 2, "delta": null}), 2.0, None),
        (json!({"delta": 0}), 2.0, None),
        (json!({"delta": -5.5}), 0.0, Some(3.5)),
        (json!({"delta": -1}), 0.0, Some(1.0)),
        (json!({"set": 0}), 0.0, None),
        (json!({"delta": 1e3, "reason": "a gift"}), 1_000.0, None),
    ];
    for (change, credits, shortfall) in steps {
        let body = tenant.adjust(change.clone()).await.expect(200).json();
        assert_balance_object(&body, &tenant, credits);
        match shortfall {
            Some(part) => assert_credits(number(&body, "shortfall"), part, &change.to_string()),
            None => assert_eq!(body.get("shortfall"), None, "{change}"),
        }
        assert_credits(tenant.balance().await, credits, &change.to_string());
    }
    let body = tenant.get("/api/credits").send().await.expect(200).json();
    assert_balance_object(&body, &tenant, 1_000.0);
}

#[tokio::test]
async fn a_refused_change_changes_nothing() {
    let world = World::verified().await;
    let tenant = world.tenant("refused", 5.0).await;
    let email = json!(tenant.email);
    // The members beside the e-mail as raw text, so that what is no JSON can be written too.
    let rows = [
        (r#""set":1,"delta":1"#, "set_and_delta_conflict"),
        (r#""set":1,"delta":0"#, "set_and_delta_conflict"),
        (r#""x":1"#, "nothing_to_do"),
        (r#""set":null"#, "nothing_to_do"),
        (r#""set":-1"#, "invalid_amount"),
        (r#""set":-0.001"#, "invalid_amount"),
        (r#""set":1e30"#, "invalid_amount"),
        (r#""delta":1e30"#, "invalid_amount"),
        (r#""delta":-1e30"#, "invalid_amount"),
        (r#""delta":999999999"#, "invalid_amount"),
        (r#""set":"7""#, "invalid_amount"),
        (r#""delta":"-5""#, "invalid_amount"),
        (r#""set":true"#, "invalid_amount"),
        (r#""set":[1]"#, "invalid_amount"),
        (r#""set":{}"#, "invalid_amount"),
        (r#""set":NaN"#, "invalid_json"),
        (r#""set":Infinity"#, "invalid_json"),
        (r#""set":+1"#, "invalid_json"),
        (r#""set":0x10"#, "invalid_json"),
        (r#""delta":1,"#, "invalid_json"),
    ];
    for (members, code) in rows {
        let body = format!(r#"{{"email":{email},{members}}}"#);
        let reply = tenant.client.post("/api/credits/adjust").admin().raw_json(body).send().await;
        assert_eq!((reply.status, reply.error().as_str()), (400, code), "{members}: {reply:?}");
    }
    // Beyond a double: whether it is no JSON or no amount, it is refused.
    let body = format!(r#"{{"email":{email},"set":1e400}}"#);
    tenant.client.post("/api/credits/adjust").admin().raw_json(body).send().await.expect(400);
    assert_credits(tenant.balance().await, 5.0, "after all refusals");
    assert_eq!(tenant.items("/api/credits/ledger").await.len(), 1);
}

#[tokio::test]
async fn whose_balance_must_be_said_in_the_body() {
    let client = World::verified().await.client();
    let rows = [
        (json!({"set": 1}), "missing_email"),
        (json!({"email": null, "set": 1}), "missing_email"),
        (json!({"email": " ", "set": 1}), "missing_email"),
        (json!({"email": 7, "set": 1}), "invalid_email"),
        (json!({"email": "nobody", "set": 1}), "invalid_email"),
        (json!({"email": "a,b@x.io", "set": 1}), "invalid_email"),
        (json!({"email": "vıctim@x.io", "set": 1}), "invalid_email"),
        (json!({"email": "guest:not-a-uuid", "set": 1}), "invalid_email"),
    ];
    for (body, code) in rows {
        let reply = client.post("/api/credits/adjust").admin().json(&body).send().await;
        assert_eq!((reply.status, reply.error().as_str()), (400, code), "{body}: {reply:?}");
    }
}

#[tokio::test]
async fn the_address_is_canonical_before_it_names_a_tenant() {
    let world = World::verified().await;
    let tenant = world.tenant("shouted", 1.0).await;
    let body = json!({"email": format!(" {} ", tenant.email.to_uppercase()), "delta": 2});
    let reply = tenant.client.post("/api/credits/adjust").admin().json(&body).send().await.expect(200);
    assert_eq!(text(&reply.json(), "email"), tenant.email);
    assert_credits(tenant.balance().await, 3.0, "one tenant in both spellings");
}

#[tokio::test]
async fn the_ledger_tells_every_change_with_the_balance_after_it() {
    let world = World::verified().await;
    let tenant = world.tenant("ledger", 4.0).await;
    tenant.adjust(json!({"delta": -1.5, "reason": "a correction"})).await.expect(200);
    tenant.adjust(json!({"delta": -3})).await.expect(200);
    tenant.set_balance(1.0).await;
    tenant.ask(&json!({"input": "hi"})).send().await.expect(200);
    tenant.settled_balance().await;
    let entries = tenant.items("/api/credits/ledger").await;
    // Newest first: kind, amount, balance after, shortfall.
    let expected = [
        ("charge", -0.012, 0.988, 0.0),
        ("set", 1.0, 1.0, 0.0),
        ("delta", -2.5, 0.0, 0.5),
        ("delta", -1.5, 2.5, 0.0),
        ("set", 4.0, 4.0, 0.0),
    ];
    assert_eq!(entries.len(), expected.len(), "{entries:?}");
    for (entry, (kind, amount, balance, shortfall)) in entries.iter().zip(expected) {
        assert_eq!(text(entry, "kind"), kind, "{entry}");
        assert_credits(number(entry, "amount"), amount, kind);
        // While the charge is written its hold is already given back, so the balance is whole.
        assert_credits(number(entry, "balance"), balance, kind);
        assert_credits(number(entry, "shortfall"), shortfall, kind);
    }
    assert_eq!(entries[3].get("reason"), Some(&json!("a correction")));
}

#[tokio::test]
async fn changes_at_once_are_all_counted() {
    let world = World::verified().await;
    let tenant = world.tenant("crowd", 0.0).await;
    let changes = (0..40).map(|_| tenant.adjust(json!({"delta": 0.25})));
    for reply in futures::future::join_all(changes).await {
        reply.expect(200);
    }
    assert_credits(tenant.balance().await, 10.0, "40 quarters");
    assert_eq!(tenant.items("/api/credits/ledger?limit=100").await.len(), 40);
}
