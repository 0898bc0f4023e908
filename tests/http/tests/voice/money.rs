//! What a session may cost: who has too little does not begin, and who runs out is told before the end.

use crate::stage::{SESSIONS, Stage, finished, settled, shown, speak, try_open, utterance, welcome};
use http_tests::voice_client::Waited;
use http_tests::world::{assert_credits, number, text};
use serde_json::{Value, json};

/// Bounds that make a turn cheap: 5 s of sound is 0.05, tokens are 0.02 at most, 300 characters 0.3.
fn cheap() -> Value {
    json!({"bounds": {"utterance_ms": 5000, "tokens_in": 100, "tokens_out": 100, "characters": 300}})
}

#[tokio::test]
async fn without_credit_for_a_turn_nothing_is_opened() {
    let stage = Stage::shared().await;
    for credits in [0.0, 0.2] {
        let tenant = stage.world.tenant("poor", credits).await;
        let refused = try_open(&tenant, &cheap()).await.expect_error(402, "insufficient_credits");
        assert_credits(number(&refused.json(), "balance"), credits, "the balance");
        let listed = tenant.get(SESSIONS).send().await.expect(200).json();
        assert_eq!(listed["items"], json!([]));
    }
}

#[tokio::test]
async fn a_low_balance_is_announced_and_the_session_ends_when_what_is_paid_for_is_done() {
    let stage = Stage::shared().await;
    // A turn holds 0.37 and the first stretch of time 0.3: there is enough for one turn and its time, and for no second.
    let tenant = stage.world.tenant("runs-low", 0.8).await;
    let mut client = welcome(&tenant, &cheap(), 21).await;
    let mark = speak(&mut client, "one", &utterance(21, 3)).await;
    finished(&mut client, "one").await;
    assert_eq!(client.heard.pcm_of("one"), crate::stage::answer_pcm(&mark), "what was paid for is delivered");
    let low = |event: &&Value| event["type"] == "low_balance";
    assert!(client.heard.events.iter().any(|event| low(&event)), "{:?}", client.heard);
    settled(&tenant, client.session(), 1).await;
    tenant.set_balance(0.1).await;
    speak(&mut client, "two", &utterance(22, 2)).await;
    assert_eq!(client.until("the end", |_| false).await, Waited::Over);
    assert_eq!(client.heard.ended.as_deref(), Some("balance"));
    let told = client.heard.events.iter().filter(low).find(|event| event["ends_in_ms"].is_number());
    assert!(told.is_some(), "the end was announced: {:?}", client.heard);
    let session = client.session().to_owned();
    let balance = tenant.settled_balance().await;
    let shown = shown(&tenant, &session).await;
    assert_eq!(text(&shown, "why"), "balance");
    assert!(balance >= 0.0, "never overdrawn: {balance}");
    let turns = shown["items"].as_array().expect("items");
    assert!(turns.iter().skip(1).all(|turn| turn["state"] == json!("failed")), "{shown}");
    tenant.verified().await;
}

#[tokio::test]
async fn a_session_holds_and_charges_its_time_and_each_turn_apart() {
    let stage = Stage::shared().await;
    let tenant = stage.world.tenant("holds", 5.0).await;
    let mut client = welcome(&tenant, &cheap(), 23).await;
    let holds = http_tests::poll::eventually(http_tests::world::SETTLE_BOUND, "its time is held", || async {
        let holds = tenant.open_holds().await;
        if holds.len() == 1 { Ok(holds) } else { Err(holds) }
    })
    .await;
    assert_credits(number(&holds[0], "amount"), 0.3, "five minutes");
    speak(&mut client, "one", &utterance(23, 2)).await;
    finished(&mut client, "one").await;
    client.bye().await;
    client.until("the end", |_| false).await;
    let balance = tenant.settled_balance().await;
    let rows = tenant.usage_of(2).await;
    let spent: f64 = rows.iter().map(|row| number(row, "cost_credits")).sum();
    assert_credits(balance, 5.0 - spent, "two rows say it all");
    let time = rows.iter().find(|row| row["meta"]["attached_ms"].is_number()).expect("a row of its time");
    let attached_ms = time["meta"]["attached_ms"].as_f64().expect("a number");
    let due = (attached_ms / 60_000.0 * 0.06 * 1_000.0).round() / 1_000.0;
    assert_credits(number(time, "cost_credits"), due, "by the second");
}

#[tokio::test]
async fn a_key_that_is_revoked_opens_nothing_and_begins_no_turn() {
    let stage = Stage::shared().await;
    let tenant = stage.world.tenant("keyed", 5.0).await;
    let made = tenant.post("/api/keys").json(&json!({"name": "voice"})).send().await.expect(200).json();
    let (secret, id) = (text(&made, "key").to_owned(), text(&made, "id").to_owned());
    let call = tenant.client.post(SESSIONS).header("authorization", &format!("Bearer {secret}"));
    let call = call.header("origin", http_tests::vars::APP_ORIGIN);
    let opened = call.json(&cheap()).send().await.expect(201).json();
    let mut client = crate::stage::client(&tenant, &opened, 24);
    speak(&mut client, "one", &utterance(24, 2)).await;
    finished(&mut client, "one").await;
    tenant.client.call(reqwest::Method::DELETE, &format!("/api/keys/{id}")).user(&tenant.email).send().await;
    speak(&mut client, "two", &utterance(25, 2)).await;
    assert_eq!(client.until("the end", |_| false).await, Waited::Over);
    let call = tenant.client.post(SESSIONS).header("authorization", &format!("Bearer {secret}"));
    call.json(&cheap()).send().await.expect_error(401, "token_invalid");
}
