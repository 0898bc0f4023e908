//! What one network address may do.

use http_tests::world::{World, number};
use serde_json::json;

const GUEST_TOKENS_PER_MINUTE: usize = 20;
const WRONG_KEYS_PER_MINUTE: usize = 10;

#[tokio::test]
async fn an_address_gets_no_thousand_guests_and_another_one_is_none_the_wiser() {
    let world = World::private(json!({"GUEST_TOKENS_PER_MINUTE": GUEST_TOKENS_PER_MINUTE.to_string()})).await;
    let crowd = world.client();
    let mut made = 0;
    let mut refused = 0;
    for _ in 0..1_000 {
        let reply = crowd.post("/auth/guest").send().await;
        match reply.status {
            200 => made += 1,
            _ => {
                let reply = reply.expect_error(429, "rate_limited");
                let wait_s: u64 = reply.must_header("retry-after").parse().expect("whole seconds");
                assert!((1..=60).contains(&wait_s), "wait {wait_s} s");
                refused += 1;
            }
        }
        if refused > 100 {
            break;
        }
    }
    assert!(made >= GUEST_TOKENS_PER_MINUTE / 2, "{made} were given");
    assert!(made <= GUEST_TOKENS_PER_MINUTE, "{made} were given");
    world.client().post("/auth/guest").send().await.expect(200);
}

#[tokio::test]
async fn wrong_admin_keys_are_counted_and_a_right_one_still_opens() {
    let world = World::private(json!({})).await;
    let client = world.client();
    let wrong =
        |client: &http_tests::client::Client| client.get("/api/admin/ping").header("x-admin-key", "wrong");
    for _ in 0..WRONG_KEYS_PER_MINUTE {
        wrong(&client).send().await.expect_error(401, "unauthorized");
    }
    let refused = wrong(&client).send().await.expect_error(429, "rate_limited");
    let wait_s: f64 = refused.must_header("retry-after").parse().expect("seconds");
    assert!((1.0..=60.0).contains(&wait_s), "{wait_s}");
    // On every route, beside every other proof, and with the other header too.
    let token = client.post("/auth/guest").send().await.expect(200).json();
    let token = http_tests::world::text(&token, "token").to_owned();
    let beside = client.get("/api/credits").bearer(&token).header("x-admin-token", "wrong");
    beside.send().await.expect_error(429, "rate_limited");
    client.get("/api/admin/ping").admin().send().await.expect(200);
    wrong(&world.client()).send().await.expect_error(401, "unauthorized");
    let balance = client.get("/api/credits").bearer(&token).send().await.expect(200).json();
    assert!(number(&balance, "balance") > 0.0);
}
