//! The public keys are served whole or not at all: whoever makes the next set of this one would lose what is missing.

use crate::log_lines::lines_of;
use http_tests::json_service::JsonService;
use http_tests::key_tool;
use http_tests::keys;
use http_tests::poll::eventually;
use http_tests::tokens::{honest_header, signed, user_claims, with};
use http_tests::world::{World, text};
use serde_json::{Value, json};
use std::time::Duration;

const JWKS: &str = "/.well-known/jwks.json";

fn kids(set: &Value) -> Vec<&str> {
    let list = set.get("keys").and_then(Value::as_array).into_iter().flatten();
    list.filter_map(|key| key.get("kid").and_then(Value::as_str)).collect()
}

#[tokio::test]
async fn a_set_that_may_lack_keys_is_not_served() {
    let mut world = World::private(json!({})).await;
    let next = keys::foreign().public_jwk("k-next");
    world.stack.put_kv("KEYS", "jwks", Some(&json!({"keys": [next]}).to_string()));
    let whole = world.client().get(JWKS).send().await.expect(200).json();
    assert_eq!(kids(&whole).len(), 2, "{whole}");
    let token = world.client().post("/auth/guest").send().await.expect(200).json();

    // A binding that answers no question.
    world.stack.redeploy(&world.vars.clone().with(json!({"KEYS": {}})));
    let client = world.client();
    let reply = client.get(JWKS).send().await.expect_error(503, "unavailable");
    assert_eq!((reply.must_header("retry-after"), reply.must_header("cache-control")), ("1", "no-store"));
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().to_str().expect("text").to_owned();
    let url = format!("{}{JWKS}", client.url());
    let refused = key_tool::try_run(&["new", "--out", &out, "--jwks", &url], folder.path());
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && words.contains("503"), "{words}");
    assert!(std::fs::read_dir(folder.path()).expect("the folder").next().is_none(), "a key was made");
    // What our own key signed is good meanwhile.
    let bearer = token.get("token").and_then(Value::as_str).expect("a token");
    let first = client.get("/api/credits").bearer(bearer).send().await.expect(200);
    lines_of(&world, first.must_header("x-request-id"), &["request", "public_keys_unread"]).await;
    // What another key signed may be good.
    let other =
        signed(&with(honest_header(), json!({"kid": "k-next"})), &user_claims("me@x.io"), keys::foreign());
    let call = || client.get("/api/credits").bearer(&other);
    for _ in 0..3 {
        let reply = call().send().await.expect_error(503, "unavailable");
        assert_eq!(reply.must_header("retry-after"), "1");
        let own = lines_of(&world, reply.must_header("x-request-id"), &["request"]).await;
        assert_eq!(own.len(), 1, "the fault is said once, and not for each token: {own:?}");
    }
    world.stack.redeploy(&world.vars);
    let again = world.client().get(JWKS).send().await.expect(200).json();
    assert_eq!(kids(&again), kids(&whole));
    world.client().get("/api/credits").bearer(&other).send().await.expect(200);
}

/// A set that a hand broke is as good as unread: nobody is told that a key is gone.
#[tokio::test]
async fn what_is_no_key_set_makes_no_key_unknown() {
    let mut world = World::private(json!({})).await;
    let set = json!({"keys": [keys::foreign().public_jwk("k-next")]}).to_string();
    let header = with(honest_header(), json!({"kid": "k-next"}));
    let token = signed(&header, &user_claims("me@x.io"), keys::foreign());
    for broken in ["not json", "[]", "{\"keys\":7}"] {
        world.stack.put_kv("KEYS", "jwks", Some(broken));
        let client = world.client();
        client.get(JWKS).send().await.expect_error(503, "unavailable");
        client.get("/api/credits").bearer(&token).send().await.expect_error(503, "unavailable");
        let guest = client.post("/auth/guest").send().await.expect(200).json();
        client.get("/api/credits").bearer(text(&guest, "token")).send().await.expect(200);
    }
    world.stack.put_kv("KEYS", "jwks", Some(&set));
    eventually(Duration::from_secs(5), "it is read again", || async {
        let reply = world.client().get("/api/credits").bearer(&token).send().await;
        if reply.status == 200 { Ok(()) } else { Err(reply.status) }
    })
    .await;
    assert_eq!(kids(&world.client().get(JWKS).send().await.expect(200).json()).len(), 2);
}

#[tokio::test]
async fn the_tool_takes_no_set_of_a_service_that_says_it_has_none() {
    let service = JsonService::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().to_str().expect("text").to_owned();
    let url = format!("{}{JWKS}", service.origin());
    let set = json!({"keys": [keys::foreign().public_jwk("k-0")]});
    for status in [201, 404, 500, 503] {
        service.answers(JWKS, status, set.clone());
        for arguments in [
            ["new", "--out", &out, "--jwks", &url].to_vec(),
            ["retire", "k-0", "--out", &out, "--jwks", &url].to_vec(),
        ] {
            let refused = key_tool::try_run(&arguments, folder.path());
            let words = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(!refused.status.success() && words.contains(&status.to_string()), "{status}: {words}");
        }
    }
    service.answers(JWKS, 200, set);
    key_tool::run(&["new", "--out", &out, "--jwks", &url]);
}
