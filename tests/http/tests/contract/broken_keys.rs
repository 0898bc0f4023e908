//! A Worker without a usable signing key: it says which mistake it is and how to mend it, and never the key.

use crate::aliases::{GUEST, HEALTH};
use http_tests::client::unique_email;
use http_tests::keys;
use http_tests::world::{World, text};
use serde_json::{Value, json};

/// Runs a stack with `pem` and gives what `/ready` says of it.
async fn told_of(pem: Value) -> String {
    // An empty admin key beside it: no header may ever match it.
    let vars = json!({"PRIVATE_KEY_PEM": pem, "ADMIN_API_KEY": "", "ADMIN_API_KEY_NEXT": null});
    let world = World::private(vars).await;
    let client = world.client();
    for path in GUEST {
        client.post(path).send().await.expect_error(500, "signing_unconfigured");
    }
    for path in HEALTH {
        client.get(path).send().await.expect(200);
    }
    let served = client.get("/.well-known/jwks.json").send().await.expect(200).json();
    assert_eq!(served.get("keys"), Some(&json!([])), "nothing can be served");
    let call = client.get("/api/credits").user(&unique_email("unsigned"));
    call.send().await.expect_error(401, "token_invalid");
    for key in ["", " ", "undefined"] {
        let call = client.get("/api/admin/ping").header("x-admin-key", key);
        assert_eq!(call.send().await.status, 401, "the admin key {key:?}");
    }
    let ready = client.get("/ready").send().await.expect(503);
    let body = ready.json();
    assert_eq!(body.get("ok"), Some(&json!(false)));
    let problems = body.get("problems").and_then(Value::as_array).cloned().unwrap_or_default();
    let problem = problems
        .iter()
        .find(|problem| text(problem, "variable") == "PRIVATE_KEY_PEM")
        .unwrap_or_else(|| panic!("PRIVATE_KEY_PEM is not named in {body}"));
    let cure = text(problem, "cure").to_owned();
    assert!(cure.contains("openssl"), "no command that mends it: {cure}");
    let log = world.stack.log().text();
    assert!(log.contains("PRIVATE_KEY_PEM"), "the log does not name the mistake:\n{log}");
    cure
}

#[tokio::test]
async fn no_key_at_all() {
    let cure = told_of(Value::Null).await;
    assert!(cure.contains("not set") && cure.contains("genpkey"), "{cure}");
}

#[tokio::test]
async fn a_pkcs1_key() {
    let cure = told_of(json!(keys::foreign().pkcs1_pem())).await;
    assert!(cure.contains("PKCS#1") && cure.contains("pkcs8 -topk8"), "{cure}");
}

#[tokio::test]
async fn garbage_in_the_place_of_a_key() {
    let cure = told_of(json!("-----BEGIN PRIVATE KEY-----\nZ2FyYmFnZQ==\n-----END PRIVATE KEY-----")).await;
    assert!(cure.contains("PKCS#8") && cure.contains("genpkey"), "{cure}");
}

/// Dashboards and env files keep a PEM on one line.
#[tokio::test]
async fn a_key_on_one_line_is_a_good_key() {
    let one_line = keys::worker().pkcs8_pem().trim().replace('\n', "\\n");
    let world = World::private(json!({"PRIVATE_KEY_PEM": one_line})).await;
    world.client().get("/ready").send().await.expect(200);
    world.client().post("/auth/guest").send().await.expect(200);
}
