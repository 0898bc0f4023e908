//! Live events: what comes, in which order, and that a listener which comes again misses nothing and hears nothing twice.

use crate::stage::{EVENTS, PROTOCOL, by_ticket, data, events, opened, ticket, types};
use http_tests::vars::APP_ORIGIN;
use http_tests::web_socket::{Socket, refusable};
use http_tests::world::{Tenant, World, text};
use serde_json::{Value, json};
use std::collections::BTreeSet;

async fn ask(tenant: &Tenant) {
    tenant.ask(&json!({"input": "hello"})).send().await.expect(200);
}

#[tokio::test]
async fn a_charge_comes_as_its_entry_and_its_usage() {
    let world = World::verified().await;
    let tenant = world.tenant("charged", 2.0).await;
    let (mut socket, hello) = opened(&tenant, None).await;
    assert_eq!(data(&hello, "begins"), "new");
    assert_eq!((data(&hello, "ping_ms"), data(&hello, "idle_ms")), (&json!(60_000), &json!(300_000)));
    assert_eq!(socket.soon().await, None, "what was before is not told");
    ask(&tenant).await;
    let seen = events(&mut socket, 2).await;
    let ledger = tenant.ledger().await;
    let usage = tenant.usage().await;
    let of = |kind: &str| {
        let found = seen.iter().find(|event| text(event, "type") == kind);
        found.and_then(|event| event.get("data")).unwrap_or_else(|| panic!("no {kind} in {seen:?}"))
    };
    assert_eq!(of("balance"), &ledger[0], "as the ledger has it");
    assert_eq!(of("usage"), &usage[0], "as the usage feed has it");
    assert_eq!(socket.soon().await, None, "and nothing else");
    socket.close().await;
}

#[tokio::test]
async fn grants_reported_usage_and_notices_come_too() {
    let world = World::verified().await;
    let tenant = world.tenant("all-kinds", 1.0).await;
    tenant.put_limits(json!({"low_balance": 5})).await.expect(200);
    let (mut socket, _) = opened(&tenant, None).await;
    tenant.adjust(json!({"delta": 7, "reason": "gift"})).await.expect(200);
    tenant.adjust(json!({"delta": -6})).await.expect(200);
    // Of long ago, by the client's word: it comes now all the same.
    let old = json!({"id": "e-1", "route": "/mine", "tokens_in": 3, "created_at": "2020-01-01T00:00:00Z"});
    tenant.post("/usage").json(&old).send().await.expect(200);
    let seen = events(&mut socket, 4).await;
    let mut kinds = types(&seen);
    kinds.sort_unstable();
    assert_eq!(kinds, ["balance", "balance", "notice", "usage"]);
    let notice = seen.iter().find(|event| text(event, "type") == "notice").expect("a notice");
    let listed = tenant.notices().await;
    assert_eq!(data(notice, "type"), &listed[0]["type"]);
    assert_eq!(data(notice, "data"), &listed[0]["data"]);
    let usage = seen.iter().find(|event| text(event, "type") == "usage").expect("usage");
    assert_eq!(data(usage, "id"), "e-1");
}

#[tokio::test]
async fn two_sockets_hear_the_same() {
    let world = World::verified().await;
    let tenant = world.tenant("two", 3.0).await;
    let ((mut first, _), (mut second, _)) = (opened(&tenant, None).await, opened(&tenant, None).await);
    futures::future::join_all((0..5).map(|_| ask(&tenant))).await;
    let (left, right) = (events(&mut first, 10).await, events(&mut second, 10).await);
    assert_eq!(left, right);
    let stranger = world.tenant("hears-nothing", 3.0).await;
    let (mut theirs, _) = opened(&stranger, None).await;
    ask(&tenant).await;
    assert_eq!(theirs.soon().await, None, "what is another's");
}

/// Listens, is cut at random, and comes again where it was, until it has heard `count` events.
async fn listener(tenant: Tenant, from: String, count: usize, seed: u64) -> Vec<Value> {
    let (mut seen, mut random) = (Vec::<Value>::new(), seed);
    while seen.len() < count {
        let after = seen.last().map_or(from.as_str(), |last| text(last, "id")).to_owned();
        let (mut socket, hello) = opened(&tenant, Some(&after)).await;
        assert_eq!(data(&hello, "begins"), "resumed", "{hello}");
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let stay = usize::try_from(random >> 60).expect("small");
        for _ in 0..stay.min(count - seen.len()) {
            seen.push(socket.json().await);
        }
        if stay % 2 == 0 {
            socket.cut();
        } else {
            socket.close().await;
        }
    }
    seen
}

fn listened_to(event: &Value) -> String {
    let id = ["seq", "id"].iter().find_map(|name| event.pointer(&format!("/data/{name}")));
    format!("{} {}", text(event, "type"), id.expect("something to tell it by"))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_cut_and_comes_again_has_every_event_once() {
    const ASKS: usize = 60;
    let world = World::verified().await;
    let tenant = world.tenant("cut", 5.0).await;
    let (socket, hello) = opened(&tenant, None).await;
    socket.cut();
    let from = text(&hello, "id").to_owned();
    let spending = async {
        for burst in 0..ASKS / 6 {
            futures::future::join_all((0..6).map(|_| ask(&tenant))).await;
            if burst % 3 == 0 {
                let event = json!({"id": format!("r-{burst}"), "created_at": "2021-05-05T00:00:00Z"});
                tenant.post("/usage").json(&event).send().await.expect(200);
            }
        }
    };
    let count = ASKS * 2 + 4;
    let listeners = (1..=3).map(|seed| listener(tenant.clone(), from.clone(), count, seed));
    let (heard, ()) = futures::join!(futures::future::join_all(listeners), spending);
    let ledger = tenant.ledger().await;
    let charges = ledger.iter().filter(|entry| text(entry, "kind") == "charge");
    let mut expected: BTreeSet<String> = charges.map(|entry| format!("balance {}", entry["seq"])).collect();
    let usage = tenant.walk("/api/billing/usage").await;
    expected.extend(usage.iter().map(|item| format!("usage {}", item["id"])));
    assert_eq!(expected.len(), count, "the books have as many");
    for seen in heard {
        let distinct: BTreeSet<String> = seen.iter().map(listened_to).collect();
        assert_eq!(distinct.len(), seen.len(), "nothing twice");
        assert_eq!(distinct, expected, "and nothing is missing");
    }
}

async fn report(tenant: &Tenant, name: &str, count: usize) {
    for some in (0..count).collect::<Vec<_>>().chunks(64) {
        let reports = some.iter().map(|n| {
            let event = json!({"id": format!("{name}-{n}"), "tokens_in": n});
            tenant.post("/usage").json(&event).send()
        });
        for reply in futures::future::join_all(reports).await {
            reply.expect(200);
        }
    }
}

/// Reads so many, and says each time that it has all of `between`.
async fn acknowledged(socket: &mut Socket, count: usize, between: usize) -> Vec<Value> {
    let mut seen = Vec::new();
    while seen.len() < count {
        seen.push(socket.json().await);
        if seen.len() % between == 0 {
            let id = text(seen.last().expect("it came"), "id");
            socket.send_json(&json!({"type": "ack", "id": id})).await;
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_cuts_nobody_who_acknowledges() {
    const BURST: usize = 1_500;
    let world = World::verified().await;
    let tenant = world.tenant("burst", 1.0).await;
    let (mut steady, from) = opened(&tenant, None).await;
    let (mut late, _) = opened(&tenant, None).await;
    let (steadily, ()) = futures::join!(acknowledged(&mut steady, BURST, 100), report(&tenant, "b", BURST));
    // This one said nothing until all was written, and hears the rest as it says that it has what came.
    let lately = acknowledged(&mut late, BURST, 512).await;
    let (mut again, hello) = opened(&tenant, Some(text(&from, "id"))).await;
    assert_eq!(data(&hello, "begins"), "resumed");
    let resumed = acknowledged(&mut again, BURST, 37).await;
    let heard = [steadily, lately, resumed].map(|seen| seen.iter().map(listened_to).collect::<Vec<String>>());
    for seen in &heard {
        let distinct: BTreeSet<&String> = seen.iter().collect();
        assert_eq!(distinct.len(), BURST, "nothing twice and nothing missing");
        assert_eq!(seen, &heard[0], "in one order");
    }
    for socket in [&mut steady, &mut late, &mut again] {
        assert_eq!(socket.soon().await, None, "and nothing else");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_missed_too_much_is_told_so_and_begins_anew() {
    const REPLAY_MAX: usize = 4_096;
    let world = World::verified().await;
    let tenant = world.tenant("window", 1.0).await;
    let (socket, hello) = opened(&tenant, None).await;
    socket.close().await;
    let from = text(&hello, "id");
    report(&tenant, "first", REPLAY_MAX).await;
    let (mut whole, hello) = opened(&tenant, Some(from)).await;
    assert_eq!(data(&hello, "begins"), "resumed");
    let seen: BTreeSet<String> =
        acknowledged(&mut whole, REPLAY_MAX, 256).await.iter().map(listened_to).collect();
    assert_eq!(seen.len(), REPLAY_MAX, "as many as the window has");
    tenant.adjust(json!({"set": 4})).await.expect(200);
    assert_eq!(text(&whole.json().await, "type"), "balance", "and what comes after");
    let (mut anew, hello) = opened(&tenant, Some(from)).await;
    assert_eq!((data(&hello, "begins"), data(&hello, "balance")), (&json!("window_passed"), &json!(4.0)));
    let passed = anew.json().await;
    assert_eq!((text(&passed, "type"), data(&passed, "balance")), ("window_passed", &json!(4.0)));
    assert_eq!(text(&passed, "id"), text(&hello, "id"));
    report(&tenant, "then", 1).await;
    assert_eq!(data(&anew.json().await, "id"), "then-0", "live from there on");
    // And from the place that it was given it can come again.
    let (mut again, _) = opened(&tenant, Some(text(&passed, "id"))).await;
    assert_eq!(data(&again.json().await, "id"), "then-0");
}

#[tokio::test]
async fn a_place_that_is_none_or_anothers_is_refused_and_costs_no_ticket() {
    let world = World::verified().await;
    let tenant = world.tenant("places", 1.0).await;
    let other = world.tenant("others-place", 1.0).await;
    let (_, hello) = opened(&other, None).await;
    let ticket = ticket(&tenant).await;
    for after in [text(&hello, "id"), "1-2-3-000000000000", "0", "-1--1--1-x", "99999999999999999999-1-1-x"] {
        let call = refusable(&tenant.client, &format!("{EVENTS}?after={after}")).header("origin", APP_ORIGIN);
        let call = call.header("sec-websocket-protocol", &format!("{PROTOCOL}, cog.ticket.{ticket}"));
        call.send().await.expect_error(400, "invalid_cursor");
    }
    by_ticket(&tenant.client, &ticket, None).open().await.close().await;
}
