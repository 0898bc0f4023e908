//! How a tenant likes to be spoken to.

use crate::stage::{FRAME_BYTES, Stage, finished, welcome};
use http_tests::client::Call;
use http_tests::voice_provider as provider;
use http_tests::world::{Tenant, text};
use reqwest::Method;
use serde_json::{Value, json};

const PREFS: &str = "/api/voice/prefs";

fn put(tenant: &Tenant, body: &Value) -> Call {
    tenant.client.call(Method::PUT, PREFS).user(&tenant.email).json(body)
}

#[tokio::test]
async fn preferences_are_kept_and_a_session_goes_by_them() {
    let stage = Stage::shared().await;
    let tenant = stage.world.tenant("likes", 100.0).await;
    let fresh = tenant.get(PREFS).send().await.expect(200).json();
    assert_eq!((text(&fresh, "email"), &fresh["prefs"]), (tenant.email.as_str(), &json!({})));
    let likes = json!({"voice": "nova", "language": "en", "speed": 1.25, "theme": "dark"});
    let kept = put(&tenant, &json!({"prefs": likes})).send().await.expect(200).json();
    assert_eq!((&kept["ok"], &kept["prefs"]), (&json!(true), &likes));
    put(&tenant, &likes).send().await.expect(200);
    assert_eq!(tenant.get(PREFS).send().await.expect(200).json()["prefs"], likes);
    for wrong in [json!({"speed": 0}), json!({"prefs": 7}), json!({"voice": []})] {
        put(&tenant, &wrong).send().await.expect_error(400, "invalid_field");
    }
    put(&tenant, &json!({"theme": "x".repeat(3_000)})).send().await.expect_error(413, "payload_too_large");
    put(&tenant, &json!({"theme": "x".repeat(9_000)})).send().await.expect_error(413, "payload_too_large");
    assert_eq!(tenant.get(PREFS).send().await.expect(200).json()["prefs"], likes);
    // Whoever speaks is told.
    let mut client = welcome(&tenant, &json!({"prefs": {"speed": null}}), 31).await;
    client.say("one", &format!("Say {}", provider::mark_of(b"liked"))).await;
    finished(&mut client, "one").await;
    assert!(client.heard.pcm_of("one").len() > FRAME_BYTES);
}
