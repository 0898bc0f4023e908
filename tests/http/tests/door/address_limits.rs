//! What one network address may do.

use http_tests::client::Client;
use http_tests::world::{World, number};
use serde_json::json;
use std::time::Duration;

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

/// How many of so many guest tokens are given to callers who ask one after the other, and the policy of the last refusal.
async fn given(callers: &[Client], asks: usize) -> (usize, Option<String>) {
    let (mut given, mut policy) = (0, None);
    for n in 0..asks {
        let reply = callers[n % callers.len()].post("/auth/guest").send().await;
        if reply.status == 200 {
            given += 1;
            continue;
        }
        let reply = reply.expect_error(429, "rate_limited");
        policy = reply
            .must_header("ratelimit-policy")
            .split(';')
            .next()
            .map(|name| name.trim_matches('"').to_owned());
    }
    (given, policy)
}

#[tokio::test]
async fn an_address_has_one_budget_at_all_workers_and_a_restart_forgets_nothing() {
    let vars = json!({"GUEST_TOKENS_PER_MINUTE": "10"});
    let mut world = World::private_pair(vars, json!({})).await;
    let one = world.client();
    let callers = [one.clone(), world.stack.beside_client().from_where(&one)];
    let (made, policy) = given(&callers, 20).await;
    assert!((5..=7).contains(&made), "half of ten at once, and what came back since: {made}");
    assert_eq!(policy.as_deref(), Some("guest-tokens"));
    world.stack.restart();
    let again = world.client().from_where(&one);
    let (made, _) = given(&[again], 10).await;
    assert!(made <= 2, "{made} more after a restart");
    given(&[world.client()], 1).await;
}

#[tokio::test]
async fn all_guests_of_a_day_have_a_ceiling_that_no_number_of_addresses_lifts() {
    let vars = json!({"GUEST_TOKENS_PER_DAY": "8", "GUEST_TOKENS_PER_MINUTE": "0"});
    let world = World::private(vars).await;
    let callers: Vec<Client> = (0..12).map(|_| world.client()).collect();
    let (made, policy) = given(&callers, 12).await;
    assert_eq!((made, policy.as_deref()), (4, Some("guest-tokens-of-all")), "half of a day's at once");
    let refused = world.client().post("/auth/guest").send().await.expect_error(429, "rate_limited");
    let wait_s: u64 = refused.must_header("retry-after").parse().expect("whole seconds");
    assert!(wait_s > 3_600, "a fifth of a day comes back at a time: {wait_s}");
}

#[tokio::test]
async fn an_address_that_was_quiet_is_forgotten_whole_and_counted_again() {
    let world = World::private(json!({"GUEST_TOKENS_PER_MINUTE": "1000000"})).await;
    let caller = world.client();
    for _ in 0..5 {
        caller.post("/auth/guest").send().await.expect(200);
        // With so large a budget one token is forgotten in a millisecond, and the object ends.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    let log = world.stack.log().text();
    assert!(!log.contains("address_not_"), "{log}");
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
