//! Guest tokens and the keys that verify them.

use crate::aliases::{ASK, GUEST};
use http_tests::keys;
use http_tests::tokens::{decoded, now_s};
use http_tests::vars::{GUEST_GRANT_CREDITS, ISSUER, KEY_ID};
use http_tests::world::{World, assert_credits, number, text};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

async fn served_keys(world: &World) -> Vec<Value> {
    let reply = world.client().get("/.well-known/jwks.json").send().await.expect(200);
    let keys = reply.json().get("keys").and_then(Value::as_array).cloned();
    keys.unwrap_or_else(|| panic!("no keys in {reply:?}"))
}

#[tokio::test]
async fn a_guest_token_has_the_form_clients_know() {
    let client = World::verified().await.client();
    let mut subjects = Vec::new();
    for path in GUEST {
        let body = client.post(path).send().await.expect(200).json();
        let (header, claims) = decoded(text(&body, "token"));
        assert_eq!(header, json!({"alg": "RS256", "typ": "JWT", "kid": KEY_ID}), "{path}");
        assert_eq!(text(&claims, "iss"), ISSUER);
        assert_eq!(text(&claims, "role"), "guest");
        let (iat, exp) = (number(&claims, "iat"), number(&claims, "exp"));
        assert_eq!(body.get("exp"), claims.get("exp"), "{path}");
        assert!(exp - iat >= 60.0, "{path}: lives {} s", exp - iat);
        #[allow(clippy::cast_precision_loss)]
        let age_s = now_s() as f64 - iat;
        assert!((-2.0..30.0).contains(&age_s), "{path}: issued {age_s} s ago");
        let subject = text(&claims, "sub").to_owned();
        let id = subject.strip_prefix("guest:").unwrap_or_default();
        assert!(uuid::Uuid::try_parse(id).is_ok(), "{path}: {subject}");
        subjects.push(subject);
    }
    subjects.sort();
    subjects.dedup();
    assert_eq!(subjects.len(), GUEST.len(), "two guests are one");
}

#[tokio::test]
async fn the_served_keys_verify_a_guest_token() {
    let world = World::verified().await;
    let body = world.client().post("/auth/guest").send().await.expect(200).json();
    let keys = served_keys(world).await;
    let own: Vec<&Value> = keys.iter().filter(|key| key.get("kid") == Some(&json!(KEY_ID))).collect();
    assert_eq!(own.len(), 1, "one key of this id: {keys:?}");
    let (modulus, exponent) = (text(own[0], "n"), text(own[0], "e"));
    let key = DecodingKey::from_rsa_components(modulus, exponent).expect("a public key");
    let mut rules = Validation::new(Algorithm::RS256);
    rules.set_issuer(&[ISSUER]);
    let token = jsonwebtoken::decode::<Value>(text(&body, "token"), &key, &rules);
    assert!(token.is_ok(), "the token does not verify: {token:?}");
}

#[tokio::test]
async fn served_keys_are_public() {
    let world = World::verified().await;
    let keys = served_keys(world).await;
    assert!(!keys.is_empty());
    for key in keys {
        assert_eq!(text(&key, "kty"), "RSA");
        for member in PRIVATE_MEMBERS {
            assert!(key.get(member).is_none(), "{member} is served: {key}");
        }
    }
    let reply = world.client().get("/.well-known/jwks.json").send().await;
    assert!(!reply.text().contains(&keys::worker().pkcs8_pem()));
}

#[tokio::test]
async fn a_guest_is_served_as_a_tenant_of_its_own() {
    let world = World::verified().await;
    let client = world.client();
    let body = client.post("/auth/guest").send().await.expect(200).json();
    let token = text(&body, "token");
    let (_, claims) = decoded(token);
    let balance = client.get("/api/credits").bearer(token).send().await.expect(200).json();
    assert_credits(number(&balance, "balance"), GUEST_GRANT_CREDITS, "what a guest begins with");
    assert_eq!(balance.get("email"), claims.get("sub"));
    for path in ASK {
        let reply = client.post(path).bearer(token).json(&json!({"input": "hi"})).send().await.expect(200);
        assert_eq!(reply.must_header("x-credits-used"), "0.012", "{path}");
        assert_eq!(reply.header("x-credits-balance"), None, "{path}: absent for guests");
    }
    let balance = client.get("/api/credits").bearer(token).send().await.expect(200).json();
    assert_credits(number(&balance, "balance"), GUEST_GRANT_CREDITS - 0.024, "after two asks");
    let usage = client.get("/usage").bearer(token).send().await.expect(200).json();
    assert_eq!(usage.get("items").and_then(Value::as_array).map(Vec::len), Some(2));
}
