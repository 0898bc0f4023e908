//! The ledger: postings that sum to zero, a chain of hashes, why each entry was made, and the tenant's own audit.

use http_tests::world::{Tenant, World, assert_credits, number, same_credits, text, whole};
use serde_json::{Value, json};
use std::time::Duration;

/// A tenant with an entry of every kind but `expire`, in this order: set, delta, grant, charge.
async fn with_entries(world: &World, name: &str) -> Tenant {
    let tenant = world.tenant(name, 5.0).await;
    let reasoned = json!({"delta": -1.5, "reason": "a correction", "reference": "ticket-17"});
    tenant.adjust(reasoned).await.expect(200);
    tenant.adjust(json!({"delta": 2, "kind": "promotional", "reference": "spring"})).await.expect(200);
    tenant.ask(&json!({"input": "hi"})).send().await.expect(200);
    tenant.settled_balance().await;
    tenant
}

/// Thousandths of a credit, in which every amount of these tests is whole.
fn thousandths(credits: f64) -> i64 {
    #[allow(clippy::cast_possible_truncation)]
    let rounded = (credits * 1_000.0).round() as i64;
    assert!(same_credits(credits, number(&json!({"c": credits}), "c")));
    rounded
}

fn postings(entry: &Value) -> Vec<(String, i64)> {
    let postings = entry.get("postings").and_then(Value::as_object);
    let postings = postings.unwrap_or_else(|| panic!("no postings in {entry}"));
    let amount = |amount: &Value| thousandths(amount.as_f64().expect("an amount"));
    postings.iter().map(|(book, value)| (book.clone(), amount(value))).collect()
}

#[tokio::test]
async fn the_postings_of_every_entry_sum_to_zero() {
    let world = World::verified().await;
    let tenant = with_entries(world, "postings").await;
    let expiring = chrono::Utc::now() + chrono::Duration::milliseconds(400);
    tenant.adjust(json!({"delta": 1, "expires_at": expiring.to_rfc3339()})).await.expect(200);
    let bound = Duration::from_secs(10);
    http_tests::poll::eventually(bound, "the last grant has expired", || async {
        let newest = tenant.ledger().await.remove(0);
        if text(&newest, "kind") == "expire" { Ok(()) } else { Err(newest) }
    })
    .await;
    let entries = tenant.ledger().await;
    let expected = [
        ("expire", ["expired", "owned"]),
        ("grant", ["issued", "owned"]),
        ("charge", ["charged", "owned"]),
        ("grant", ["issued", "owned"]),
        ("delta", ["issued", "owned"]),
        ("set", ["issued", "owned"]),
    ];
    assert_eq!(entries.len(), expected.len(), "{entries:?}");
    let mut owned = 0;
    for (entry, (kind, books)) in entries.iter().zip(expected).rev() {
        let postings = postings(entry);
        assert_eq!(text(entry, "kind"), kind, "{entry}");
        let named: Vec<&str> = postings.iter().map(|(book, _)| book.as_str()).collect();
        assert_eq!(named, books, "{entry}");
        assert_eq!(postings.iter().map(|(_, amount)| amount).sum::<i64>(), 0, "{entry}");
        owned += postings.iter().filter(|(book, _)| book == "owned").map(|(_, amount)| amount).sum::<i64>();
        let after = number(entry, "balance") + number(entry, "held");
        assert_eq!(owned, thousandths(after), "the balance after it is the sum so far: {entry}");
        assert_eq!(whole(entry, "amount_micro"), thousandths(number(entry, "amount")) * 1_000, "{entry}");
    }
}

#[tokio::test]
async fn the_audit_walks_the_whole_chain_to_its_newest_entry() {
    let world = World::verified().await;
    let tenant = with_entries(world, "audited").await;
    let entries = tenant.ledger().await;
    let hashes: Vec<&str> = entries.iter().map(|entry| text(entry, "hash")).collect();
    for hash in &hashes {
        assert!(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
    }
    let mut unlike = hashes.clone();
    unlike.sort_unstable();
    unlike.dedup();
    assert_eq!(unlike.len(), hashes.len(), "two entries have one hash");
    let found = tenant.verified().await;
    assert_eq!(text(&found, "email"), tenant.email);
    assert_eq!(whole(&found, "entries"), 4);
    assert_eq!(whole(&found, "last_entry"), whole(&entries[0], "seq"));
    assert_eq!(text(&found, "head"), hashes[0], "the head is the newest entry's hash");
    assert_eq!(found.get("next_from"), Some(&Value::Null));
    // The same ledger gives the same audit, and another entry another head.
    assert_eq!(tenant.verified().await, found);
    tenant.adjust(json!({"delta": 1})).await.expect(200);
    let later = tenant.verified().await;
    assert_eq!(whole(&later, "entries"), 5);
    assert_ne!(text(&later, "head"), hashes[0]);
}

#[tokio::test]
async fn the_audit_can_begin_after_any_entry() {
    let world = World::verified().await;
    let tenant = with_entries(world, "audited-from").await;
    let entries = tenant.ledger().await;
    let head = text(&entries[0], "hash");
    for (newer, entry) in entries.iter().enumerate() {
        let path = format!("/api/credits/verify?from={}", whole(entry, "seq"));
        let found = tenant.get(&path).send().await.expect(200).json();
        assert_eq!(found.get("ok"), Some(&json!(true)), "{found}");
        assert_eq!(usize::try_from(whole(&found, "entries")), Ok(newer), "{found}");
        assert_eq!(text(&found, "head"), head, "{found}");
    }
    let unknown = whole(&entries[0], "seq") + 1_000;
    let path = format!("/api/credits/verify?from={unknown}");
    tenant.get(&path).send().await.expect_error(404, "not_found");
    for from in ["abc", "-1", "1.5", "9007199254740992", "9007199254740993", "99999999999999999999"] {
        let reply = tenant.get("/api/credits/verify").query("from", from).send().await;
        let reply = reply.expect_error(400, "invalid_field");
        assert_eq!(text(&reply.json(), "field"), "from");
    }
}

/// More entries than one command of the audit walks: the parts are put together.
#[tokio::test]
async fn a_long_ledger_is_audited_whole() {
    const ENTRIES: usize = 2_050;
    const AT_ONCE: usize = 205;
    let world = World::verified().await;
    let tenant = world.tenant("long-ledger", 0.0).await;
    for _ in 0..ENTRIES / AT_ONCE {
        let changes = (0..AT_ONCE).map(|_| tenant.adjust(json!({"delta": 0.001})));
        futures::future::join_all(changes).await.into_iter().for_each(|reply| drop(reply.expect(200)));
    }
    let found = tenant.verified().await;
    assert_eq!(usize::try_from(whole(&found, "entries")), Ok(ENTRIES));
    let newest = tenant.items("/api/credits/ledger?limit=1").await.remove(0);
    assert_eq!(text(&found, "head"), text(&newest, "hash"));
    assert_credits(number(&newest, "balance"), 2.05, "all of them");
}

#[tokio::test]
async fn a_tenant_that_never_did_anything_has_a_sound_empty_ledger() {
    let world = World::verified().await;
    let tenant = world.tenant("untouched", 0.0).await;
    let found = tenant.verified().await;
    assert_eq!((whole(&found, "entries"), whole(&found, "last_entry")), (0, 0));
    assert!(tenant.ledger().await.is_empty());
    let one = tenant.get("/api/credits?entry=1").send().await;
    one.expect_error(404, "not_found");
    // Its chain begins with something of its own, so that no ledger can be put in another one's place.
    let other = world.tenant("untouched-other", 0.0).await.verified().await;
    assert_ne!(text(&found, "head"), text(&other, "head"));
}

#[tokio::test]
async fn an_entry_says_why_it_was_made() {
    let world = World::verified().await;
    let tenant = with_entries(world, "reasons").await;
    let said: Vec<(Value, Value)> = tenant
        .ledger()
        .await
        .iter()
        .map(|entry| (entry.get("reason").cloned(), entry.get("reference").cloned()))
        .map(|(reason, reference)| (reason.expect("a member"), reference.expect("a member")))
        .collect();
    let expected = [
        (Value::Null, Value::Null),
        (Value::Null, json!("spring")),
        (json!("a correction"), json!("ticket-17")),
        (Value::Null, Value::Null),
    ];
    assert_eq!(said, expected);
    let long = "r".repeat(513);
    for body in [json!({"delta": 1, "reason": 7}), json!({"delta": 1, "reference": long})] {
        tenant.adjust(body).await.expect_error(400, "invalid_field");
    }
    assert_eq!(tenant.ledger().await.len(), 4, "a refused change makes no entry");
}

#[tokio::test]
async fn the_balance_at_an_entry_is_the_one_the_ledger_has() {
    let world = World::verified().await;
    let tenant = with_entries(world, "at-entry").await;
    let entries = tenant.ledger().await;
    for entry in &entries {
        let path = format!("/api/credits?entry={}", whole(entry, "seq"));
        let body = tenant.get(&path).send().await.expect(200).json();
        for member in ["balance", "balance_credits", "credits"] {
            assert_credits(number(&body, member), number(entry, "balance"), member);
        }
        assert_credits(number(&body, "held"), number(entry, "held"), "held");
        assert_eq!(body.get("entry"), entry.get("seq"));
        assert_eq!(body.get("hash"), entry.get("hash"));
        assert_eq!(text(&body, "email"), tenant.email);
        for member in ["updated_at", "updated"] {
            assert_eq!(body.get(member), entry.get("created_at"), "{member}");
        }
    }
    for unknown in ["0", "-1", &(whole(&entries[0], "seq") + 1_000).to_string()] {
        let reply = tenant.get("/api/credits").query("entry", unknown).send().await;
        reply.expect_error(404, "not_found");
    }
    let largest = tenant.get("/api/credits").query("entry", "9007199254740991").send().await;
    largest.expect_error(404, "not_found");
    for wrong in ["abc", "1.0", "1e1", "9007199254740992", "9007199254740993", "99999999999999999999"] {
        let reply = tenant.get("/api/credits").query("entry", wrong).send().await;
        let reply = reply.expect_error(400, "invalid_field");
        assert_eq!(text(&reply.json(), "field"), "entry");
    }
}
