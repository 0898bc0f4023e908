//! Two operator's keys live at one time, so that callers move from one to the other; taking one away ends it.

use http_tests::client::Client;
use http_tests::vars::{ADMIN_KEY, NEXT_ADMIN_KEY};
use http_tests::world::World;
use serde_json::json;

async fn opens(client: &Client, key: &str) {
    for header in ["x-admin-key", "x-admin-token"] {
        client.get("/api/admin/ping").header(header, key).send().await.expect(200);
    }
}

async fn is_refused(client: &Client, key: &str) {
    client.get("/api/admin/ping").header("x-admin-key", key).send().await.expect_error(401, "unauthorized");
}

#[tokio::test]
async fn both_keys_open_and_taking_one_away_ends_it() {
    let mut world = World::private(json!({})).await;
    let client = world.client();
    opens(&client, ADMIN_KEY).await;
    opens(&client, NEXT_ADMIN_KEY).await;
    // Two headers that disagree are no key, though each alone is one.
    let both = client.get("/api/admin/ping").header("x-admin-key", ADMIN_KEY);
    both.header("x-admin-token", NEXT_ADMIN_KEY).send().await.expect_error(401, "unauthorized");

    // The next one takes the place of the first, on the same storage.
    let moved = json!({"ADMIN_API_KEY": NEXT_ADMIN_KEY, "ADMIN_API_KEY_NEXT": null});
    let moved = world.vars.clone().with(moved);
    world.stack.redeploy(&moved);
    let client = world.client();
    opens(&client, NEXT_ADMIN_KEY).await;
    is_refused(&client, ADMIN_KEY).await;

    // The other way: the second one alone is left, under its own name.
    let left = world.vars.clone().with(json!({"ADMIN_API_KEY": null}));
    world.stack.redeploy(&left);
    let client = world.client();
    opens(&client, NEXT_ADMIN_KEY).await;
    is_refused(&client, ADMIN_KEY).await;
}
