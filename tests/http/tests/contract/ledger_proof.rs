//! Whoever reads the ledger over HTTP can check it: exact amounts, and a hash that everybody can compute again.

use http_tests::client::unique_marker;
use http_tests::provider_script::{Behaviour, Completion};
use http_tests::world::{Tenant, World, text, whole};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::Duration;

fn moment_ms(value: &Value) -> Value {
    match value.as_str() {
        None => Value::Null,
        Some(time) => {
            json!(chrono::DateTime::parse_from_rfc3339(time).expect("a time").timestamp_millis())
        }
    }
}

/// The hash of an entry after one with the hash `before`, as `ops/decisions/0013-the-ledger-over-http.md` writes it down.
fn hash_after(before: &str, entry: &Value) -> String {
    let book = |name: &str| entry["postings_micro"].get(name).cloned().unwrap_or(json!(0));
    let grants = entry["grants"].as_array().cloned().unwrap_or_default();
    let grants: Vec<Value> = grants.iter().map(|part| json!([part["id"], part["amount_micro"]])).collect();
    let terms = match &entry["terms"] {
        Value::Null => "null".to_owned(),
        // In this order, which a JSON value of this program would not keep.
        terms => format!(
            r#"{{"kind":{},"priority":{},"expires_at_ms":{}}}"#,
            terms["kind"],
            terms["priority"],
            moment_ms(&terms["expires_at"])
        ),
    };
    let hashed = format!(
        "[{},{},{},[{},{},{},{},{terms}]]",
        json!([before, entry["seq"], moment_ms(&entry["created_at"]), entry["kind"]]),
        json!([book("owned"), book("issued"), book("charged"), book("expired")]),
        json!([entry["balance_micro"], entry["held_micro"], entry["shortfall_micro"]]),
        entry["operation"],
        entry["reason"],
        entry["reference"],
        json!(grants),
    );
    format!("{:x}", Sha256::digest(hashed))
}

async fn with_entries_of_every_kind(world: &World, tenant: &Tenant) {
    tenant.set_balance(1.0).await;
    // Half a thousandth: credits on the wire are rounded, what is booked is not.
    tenant.adjust(json!({"delta": 0.0005, "reason": "a \"half\" – ½"})).await.expect(200);
    let gift = json!({"delta": 0.3, "kind": "promotional", "expires_at": "2030-01-01T00:00:00.123Z"});
    tenant.adjust(gift).await.expect(200);
    let soon = (chrono::Utc::now() + chrono::Duration::milliseconds(300)).to_rfc3339();
    tenant.adjust(json!({"delta": 0.25, "expires_at": soon, "reference": "soon"})).await.expect(200);
    http_tests::poll::eventually(Duration::from_secs(10), "the grant has expired", || async {
        let newest = tenant.ledger().await.remove(0);
        if text(&newest, "kind") == "expire" { Ok(()) } else { Err(newest) }
    })
    .await;
    // A stream that is topped up is charged in parts, while something of it is held.
    let marker = unique_marker();
    let answer = Completion::numbered(500, Duration::from_millis(1));
    world.groq.script(&marker, [Behaviour::Complete(answer)]);
    let body = json!({"input": marker, "max_tokens": 1_000, "on_hold_used": "top_up"});
    tenant.ask(&body).open().await.expect_stream().await.drain().await;
    tenant.settled_balance().await;
    tenant.adjust(json!({"delta": -100})).await.expect(200);
}

#[tokio::test]
async fn the_chain_and_the_postings_can_be_checked_from_outside() {
    let world = World::verified().await;
    let tenant = world.tenant("proof", 0.0).await;
    let mut before = text(&tenant.verified().await, "head").to_owned();
    with_entries_of_every_kind(world, &tenant).await;
    let (mut owned, mut kinds, mut held) = (0, Vec::new(), false);
    for entry in tenant.ledger().await.iter().rev() {
        before = hash_after(&before, entry);
        assert_eq!(text(entry, "hash"), before, "the hash cannot be computed again: {entry}");
        let postings = entry["postings_micro"].as_object().cloned().unwrap_or_default();
        let sum: i64 = postings.values().filter_map(Value::as_i64).sum();
        assert_eq!(sum, 0, "{entry}");
        owned += whole(&entry["postings_micro"], "owned");
        let after = whole(entry, "balance_micro") + whole(entry, "held_micro");
        assert_eq!(owned, after, "the balance after it is the sum so far: {entry}");
        let parts = entry["grants"].as_array().cloned().unwrap_or_default();
        let parts: i64 = parts.iter().map(|part| whole(part, "amount_micro")).sum();
        assert_eq!(parts.abs(), whole(entry, "amount_micro").abs(), "{entry}");
        kinds.push(text(entry, "kind").to_owned());
        held |= whole(entry, "held_micro") > 0;
    }
    assert_eq!(text(&tenant.verified().await, "head"), before);
    kinds.dedup();
    assert_eq!(kinds, ["set", "delta", "grant", "expire", "charge", "delta"]);
    assert!(held, "no entry was made while something was held");
    let newest = tenant.ledger().await.remove(0);
    assert!(whole(&newest, "shortfall_micro") > 0, "more was taken than there was: {newest}");
}

#[tokio::test]
async fn a_small_amount_is_booked_as_it_is() {
    let world = World::verified().await;
    let tenant = world.tenant("half", 0.0).await;
    tenant.adjust(json!({"delta": 0.0005})).await.expect(200);
    let entry = tenant.ledger().await.remove(0);
    assert_eq!(entry["postings_micro"], json!({"owned": 500, "issued": -500}), "{entry}");
    assert_eq!((whole(&entry, "balance_micro"), whole(&entry, "amount_micro")), (500, 500));
    let at = tenant.get("/api/credits").query("entry", &whole(&entry, "seq").to_string());
    let at = at.send().await.expect(200).json();
    assert_eq!((whole(&at, "balance_micro"), whole(&at, "held_micro")), (500, 0));
}
