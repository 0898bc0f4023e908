//! How many attachments, and how large.

use crate::stage::{ask, in_order, picture, uploaded};
use http_tests::client::{Reply, unique_marker};
use http_tests::poll::eventually;
use http_tests::provider_script::{Behaviour, Usage};
use http_tests::raw_http;
use http_tests::tokens::user_token;
use http_tests::world::{SETTLE_BOUND, World};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn too_many_or_none_at_all_are_no_list() {
    let world = World::verified().await;
    let tenant = world.tenant("many", 5.0).await;
    let key = uploaded(&tenant, "a.txt", "text/plain", "text").await;
    let marker = unique_marker();
    for wrong in [
        json!(vec![&key; 9]),
        json!(key),
        json!({"key": key}),
        json!([1]),
        json!([null]),
        json!([[key]]),
        json!([{"name": "a"}]),
        json!([{"key": key, "name": 1}]),
    ] {
        let refused = ask(&tenant, &marker, wrong.clone(), json!({})).send().await;
        let refused = refused.expect_error(400, "invalid_field").json();
        assert_eq!(refused["field"], "attachments", "{wrong}");
    }
    assert_eq!(world.calls_anywhere(&marker), 0);
    ask(&tenant, &marker, json!(vec![&key; 8]), json!({})).send().await.expect(200);
    for none in [json!([]), json!(null)] {
        ask(&tenant, &marker, none, json!({})).send().await.expect(200);
    }
    tenant.settled_balance().await;
    tenant.verified().await;
}

#[tokio::test]
async fn each_and_all_together_have_their_limits() {
    const TEXT: usize = 524_288;
    const IMAGE: usize = 5_242_880;
    let world = World::verified().await;
    let tenant = world.tenant("large", 500.0).await;
    let text = uploaded(&tenant, "t", "text/plain", "x".repeat(TEXT)).await;
    let over = uploaded(&tenant, "o", "text/plain", "x".repeat(TEXT + 1)).await;
    let image = uploaded(&tenant, "i", "image/png", picture(IMAGE)).await;
    let over_image = uploaded(&tenant, "p", "image/png", picture(IMAGE + 1)).await;
    let marker = unique_marker();
    for (attachments, index, max_bytes) in [
        (json!([over]), 0, TEXT),
        (json!([text, over]), 1, TEXT),
        (json!([text, text, text]), 2, 2 * TEXT),
        (json!([over_image]), 0, IMAGE),
        (json!([image, image]), 1, 6_291_456),
    ] {
        let refused = ask(&tenant, &marker, attachments, json!({})).send().await;
        let refused = refused.expect_error(413, "attachment_too_large").json();
        assert_eq!((&refused["index"], &refused["max_bytes"]), (&json!(index), &json!(max_bytes)));
    }
    assert_eq!(world.calls_anywhere(&marker), 0);
    in_order(&tenant, 500.0).await;
    // All that may be: both texts and the picture.
    ask(&tenant, &marker, json!([text, text]), json!({})).send().await.expect(200);
    let body = world.groq.calls(&marker).remove(0).body;
    assert!(body.matches('x').count() >= 2 * TEXT);
}

/// Small requests that name large files do not fill the memory that all requests share.
#[tokio::test]
async fn so_much_of_attachments_is_in_memory_at_one_time() {
    let world = World::private(json!({})).await;
    let tenant = world.tenant("room", 500.0).await;
    // Three of them fit into 16 MiB, a fourth does not.
    let key = uploaded(&tenant, "i", "image/png", picture(5_242_880)).await;
    let marker = unique_marker();
    let plain = Behaviour::answer("Seen.", Usage::new(1_000, 5));
    world.groq.script(&marker, [Behaviour::Late(Duration::from_millis(1_500), Box::new(plain))]);
    let crowd = async |asks: usize| -> Vec<Reply> {
        let asks = (0..asks).map(|_| ask(&tenant, &marker, json!([key]), json!({})).send());
        futures::future::join_all(asks).await
    };
    let replies = crowd(5).await;
    let refused: Vec<&Reply> = replies.iter().filter(|reply| reply.status == 503).collect();
    assert_eq!((refused.len(), replies.iter().filter(|reply| reply.status == 200).count()), (2, 3));
    assert!(
        refused
            .iter()
            .all(|reply| reply.error() == "unavailable" && reply.header("retry-after") == Some("1"))
    );
    // Clients that leave give it back too, wherever they leave.
    let body = json!({"input": marker, "attachments": [key]}).to_string();
    let head = format!(
        "Authorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
        user_token(&tenant.email),
        body.len()
    );
    for after_ms in [1, 3, 8, 20, 50, 120, 300] {
        let moment = tokio::time::sleep(Duration::from_millis(after_ms));
        raw_http::leave(&world.stack.target(), "/api/si/ask", &head, body.as_bytes(), moment).await;
    }
    eventually(SETTLE_BOUND, "the room is given back", || async {
        let replies = crowd(3).await;
        if replies.iter().all(|reply| reply.status == 200) { Ok(()) } else { Err(replies) }
    })
    .await;
    tenant.settled_balance().await;
    tenant.verified().await;
}
