//! The runtime dies with sockets open, and comes up again on the same storage.

use crate::stage::{data, events, opened, types};
use http_tests::client::Client;
use http_tests::web_socket::Ended;
use http_tests::world::{Tenant, World, text};
use serde_json::json;

fn returned(client: Client, tenant: &Tenant) -> Tenant {
    Tenant { client, email: tenant.email.clone() }
}

#[tokio::test]
async fn after_a_kill_a_listener_comes_again_and_hears_what_it_missed() {
    let mut world = World::private(json!({})).await;
    let tenant = world.tenant("killed", 2.0).await;
    let (mut socket, _) = opened(&tenant, None).await;
    tenant.ask(&json!({"input": "hello"})).send().await.expect(200);
    let before = events(&mut socket, 2).await;
    // One is told and one is not, when everything in memory is lost.
    let heard = text(&before[0], "id").to_owned();
    world.stack.kill_workerd();
    assert_eq!(socket.ended().await, Ended::Cut);
    world.stack.restart();
    let tenant = returned(world.client(), &tenant);
    tenant.adjust(json!({"delta": 1})).await.expect(200);
    let (mut socket, hello) = opened(&tenant, Some(&heard)).await;
    assert_eq!(data(&hello, "begins"), "resumed");
    let after = events(&mut socket, 2).await;
    assert_eq!(after[0], before[1], "the same event with the same id");
    assert_eq!(types(&after[1..]), ["balance"]);
    tenant.ask(&json!({"input": "hello"})).send().await.expect(200);
    assert_eq!(events(&mut socket, 2).await.len(), 2, "and it listens on");
}
