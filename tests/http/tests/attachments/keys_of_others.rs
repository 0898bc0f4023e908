//! Keys that are not the caller's, or of nothing: all are told alike.

use crate::stage::{ask, in_order, metadata, planted, said, uploaded};
use http_tests::client::unique_marker;
use http_tests::world::World;
use serde_json::{Value, json};

#[tokio::test]
async fn what_is_missing_anothers_or_no_key_is_told_alike() {
    let world = World::verified().await;
    let (me, other) = (world.tenant("keys-mine", 5.0).await, world.tenant("keys-other", 5.0).await);
    let mine = uploaded(&me, "a.txt", "text/plain", "mine").await;
    let theirs = uploaded(&other, "a.txt", "text/plain", "theirs").await;
    let deleted = uploaded(&me, "a.txt", "text/plain", "deleted").await;
    world.stack.in_bucket(json!({"delete": deleted}));
    // Objects below my own folder that do not bear my digest: by path alone they would be mine.
    let (bare, foreign) = (mine.replace("a.txt", "bare.txt"), mine.replace("a.txt", "foreign.txt"));
    planted(world, &bare, "text/plain", b"secret", json!({}));
    planted(world, &foreign, "text/plain", b"secret", metadata(world, &theirs));
    // And one that bears it, where no upload puts one.
    let outside = "backups/all.txt";
    planted(world, outside, "text/plain", b"secret", metadata(world, &mine));
    let guessed = mine.replace(&mine[mine.len() - 42..mine.len() - 6], &uuid::Uuid::new_v4().to_string());
    assert_ne!(guessed, mine);
    let marker = unique_marker();
    let mut told: Vec<Value> = Vec::new();
    let empty = "";
    for key in [
        &*theirs,
        &deleted,
        &bare,
        &foreign,
        outside,
        &guessed,
        empty,
        "uploads/",
        "../../etc/passwd",
        "x",
        &format!("/{mine}"),
        &format!("{mine}?x"),
        &mine.to_uppercase(),
        &"x".repeat(5_000),
    ] {
        for entry in [json!(key), json!({"key": key, "name": "b.txt"})] {
            let reply = ask(&me, &marker, json!([entry]), json!({})).send().await;
            told.push(said(&reply.expect_error(404, "attachment_not_found")));
        }
    }
    told.dedup();
    assert_eq!(told.len(), 1, "one answer for all: {told:#?}");
    assert_eq!(told[0]["index"], 0);
    // Streams, and the operator for somebody else, no less.
    let stream = ask(&me, &marker, json!([theirs]), json!({})).open().await.into_reply().await;
    stream.expect_error(404, "attachment_not_found");
    let body = json!({"input": marker, "attachments": [theirs]});
    let operator = |email: &str| me.client.post("/api/si/ask").admin().claim(email).json(&body);
    operator(&me.email).send().await.expect_error(404, "attachment_not_found");
    assert_eq!(world.calls_anywhere(&marker), 0);
    in_order(&me, 5.0).await;
    // Whose it is may, and an operator for them.
    ask(&me, &marker, json!([mine]), json!({})).send().await.expect(200);
    operator(&other.email).send().await.expect(200);
}

/// A tenant that owns what it names has its address in no key and no metadata.
#[tokio::test]
async fn no_address_is_in_the_bucket() {
    let world = World::verified().await;
    let tenant = world.tenant("nameless", 1.0).await;
    let key = uploaded(&tenant, "a.txt", "text/plain", "x").await;
    let object = world.stack.in_bucket(json!({"read": key})).remove(0).to_string();
    assert!(!object.contains("nameless") && !object.contains("x.io"), "{object}");
    assert!(object.contains("v1-"), "{object}");
}

/// What was answered once is answered again for its key, whole and as a stream, when its files are gone.
#[tokio::test]
async fn the_first_reply_is_given_again_without_its_files() {
    let world = World::verified().await;
    let tenant = world.tenant("replayed", 5.0).await;
    let marker = unique_marker();
    let (one, other) = (
        uploaded(&tenant, "a.txt", "text/plain", "one").await,
        uploaded(&tenant, "b.txt", "text/plain", "b").await,
    );
    let keyed = |key: &str, name: &str, tier: Option<&str>| {
        let call = ask(&tenant, &marker, json!([key]), json!({})).idempotency_key(name);
        tier.into_iter().fold(call, |call, tier| call.header("x-intelligence-tier", tier))
    };
    let whole = keyed(&one, "whole", Some("high")).send().await.expect(200);
    let stream = keyed(&one, "stream", None).open().await.expect_stream().await.drain().await;
    let before = tenant.settled_balance().await;
    for key in [&one, &other] {
        world.stack.in_bucket(json!({"delete": key}));
    }
    let again = keyed(&one, "whole", Some("high")).send().await.expect(200);
    assert_eq!((again.json(), again.header("idempotency-replayed")), (whole.json(), Some("true")));
    let again = keyed(&one, "stream", None).open().await.expect_stream().await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.drain().await.text(), stream.text());
    // Another question, another key, and no key at all find nothing.
    for (key, tier) in [(&one, None), (&other, Some("high"))] {
        keyed(key, "whole", tier).send().await.expect_error(409, "idempotency_conflict");
    }
    keyed(&one, "new", None).send().await.expect_error(404, "attachment_not_found");
    ask(&tenant, &marker, json!([one]), json!({})).send().await.expect_error(404, "attachment_not_found");
    assert_eq!(world.calls_anywhere(&marker), 2);
    in_order(&tenant, before).await;
}
