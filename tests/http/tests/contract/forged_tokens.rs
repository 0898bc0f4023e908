//! Tokens that are not ours, on every path that acts for a tenant.

use crate::aliases;
use http_tests::client::{Client, unique_email};
use http_tests::keys;
use http_tests::provider::Provider;
use http_tests::tokens::{self, honest_header, now_s, signed, signed_as, unsigned, user_claims, with};
use http_tests::vars::{ISSUER, KEY_ID};
use http_tests::world::World;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

const TOKEN_BYTES_OVER: usize = 9 * 1024;

type Forgery = (&'static str, String);

fn forged_signatures(claims: &Value) -> Vec<Forgery> {
    let hmac = |alg: &str, algorithm: Algorithm| {
        let secret = EncodingKey::from_secret(keys::worker().public_pem().as_bytes());
        signed_as(&with(honest_header(), json!({"alg": alg})), claims, &secret, algorithm)
    };
    let rsa = |alg: &str, algorithm: Algorithm| {
        let header = with(honest_header(), json!({"alg": alg}));
        signed_as(&header, claims, &keys::worker().signing_key(), algorithm)
    };
    let none = |alg: &str| format!("{}.", unsigned(&with(honest_header(), json!({"alg": alg})), claims));
    let good = signed(&honest_header(), claims, keys::worker());
    let other_claims = unsigned(&honest_header(), &user_claims("victim@x.io"));
    let signature = good.rsplit('.').next().unwrap_or_default();
    vec![
        ("alg none", none("none")),
        ("alg nOnE", none("nOnE")),
        ("no signature", format!("{}.", unsigned(&honest_header(), claims))),
        ("only two parts", unsigned(&honest_header(), claims)),
        ("HS256 with the public key", hmac("HS256", Algorithm::HS256)),
        ("HS512 with the public key", hmac("HS512", Algorithm::HS512)),
        ("RS384", rsa("RS384", Algorithm::RS384)),
        ("RS512", rsa("RS512", Algorithm::RS512)),
        ("PS256", rsa("PS256", Algorithm::PS256)),
        ("RS256 in the header, RS512 in truth", rsa("RS256", Algorithm::RS512)),
        ("a stranger's key", signed(&honest_header(), claims, keys::foreign())),
        ("another token's signature", format!("{other_claims}.{signature}")),
        ("a signature cut short", good.get(..good.len() - 8).unwrap_or_default().to_owned()),
        ("four parts", format!("{good}.{signature}")),
    ]
}

fn forged_headers(claims: &Value, lure: &str) -> Vec<Forgery> {
    let own_jwk = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": KEY_ID});
    let rows = [
        ("no kid", json!({"kid": null})),
        ("an unknown kid", json!({"kid": "k-unknown"})),
        ("an empty kid", json!({"kid": ""})),
        ("a kid that is a path", json!({"kid": "../../jwks"})),
        ("a kid that is no text", json!({"kid": 7})),
        ("jku", json!({"jku": format!("{lure}/jwks.json")})),
        ("x5u", json!({"x5u": format!("{lure}/cert.pem")})),
        ("x5c", json!({"x5c": ["MIIB"]})),
        ("jwk", json!({"jwk": own_jwk})),
        ("crit", json!({"crit": ["exp"]})),
        ("b64", json!({"crit": ["b64"], "b64": false})),
        ("zip", json!({"zip": "DEF"})),
        ("a type that is no JWT", json!({"typ": "at+jwt"})),
    ];
    let forge = |change: Value| signed(&with(honest_header(), change), claims, keys::worker());
    rows.into_iter().map(|(what, change)| (what, forge(change))).collect()
}

/// Signed by the right key, and yet not good here and now.
fn bad_claims(claims: &Value) -> Vec<Forgery> {
    let now_s = now_s();
    let rows = [
        ("expired", json!({"exp": now_s - 1, "iat": now_s - 600})),
        ("without exp", json!({"exp": null})),
        ("exp as a text", json!({"exp": (now_s + 600).to_string()})),
        ("not yet valid", json!({"nbf": now_s + 300})),
        ("issued in the future", json!({"iat": now_s + 300})),
        ("wrong iss", json!({"iss": "https://evil.io"})),
        ("iss with a slash more", json!({"iss": format!("{ISSUER}/")})),
        ("without iss", json!({"iss": null})),
        ("wrong aud", json!({"aud": "https://evil.io"})),
        ("wrong auds", json!({"aud": ["https://evil.io", "x"]})),
        ("aud that is no text", json!({"aud": 7})),
        ("nobody", json!({"sub": null, "email": null})),
        ("an address that is none", json!({"email": "nobody"})),
        ("an address that is no text", json!({"email": ["a@x.io"]})),
        ("9 KB", json!({"filler": "x".repeat(TOKEN_BYTES_OVER)})),
    ];
    let forge = |change: Value| signed(&honest_header(), &with(claims.clone(), change), keys::worker());
    rows.into_iter().map(|(what, change)| (what, forge(change))).collect()
}

fn garbage() -> Vec<Forgery> {
    vec![
        ("an empty token", String::new()),
        ("a word", "token".to_owned()),
        ("dots", "..".to_owned()),
        ("no JSON inside", "YQ.YQ.YQ".to_owned()),
        ("an API key", "cog_0123456789abcdef0123456789abcdef".to_owned()),
    ]
}

async fn refuses(client: &Client, forgeries: &[Forgery], email: &str) {
    for (method, path) in aliases::for_a_tenant() {
        for (what, token) in forgeries {
            // The honest header beside it must not rescue the token.
            let call = aliases::good_call(client, &method, path).bearer(token).claim(email);
            let reply = call.send().await;
            let seen = (reply.status, reply.error());
            assert_eq!(seen, (401, "token_invalid".to_owned()), "{method} {path}: {what}");
        }
    }
}

#[tokio::test]
async fn forged_signatures_are_refused() {
    let email = unique_email("forged");
    let forgeries = forged_signatures(&user_claims(&email));
    refuses(&World::verified().await.client(), &forgeries, &email).await;
}

#[tokio::test]
async fn forged_headers_are_refused_and_nothing_is_fetched() {
    let lure = Provider::start().await;
    let email = unique_email("lured");
    let forgeries = forged_headers(&user_claims(&email), lure.origin());
    refuses(&World::verified().await.client(), &forgeries, &email).await;
    assert!(lure.all_calls().is_empty(), "the Worker fetched {:?}", lure.all_calls());
}

#[tokio::test]
async fn bad_claims_are_refused() {
    let email = unique_email("stale");
    let forgeries = bad_claims(&user_claims(&email));
    refuses(&World::verified().await.client(), &forgeries, &email).await;
}

#[tokio::test]
async fn garbage_is_refused() {
    refuses(&World::verified().await.client(), &garbage(), "garbage@x.io").await;
}

/// The control: what the forgeries were made from is good, before and after.
#[tokio::test]
async fn the_honest_token_is_taken() {
    let client = World::verified().await.client();
    let email = unique_email("honest");
    let audiences = [json!({}), json!({"aud": ISSUER}), json!({"aud": [ISSUER, "other"]})];
    for change in audiences {
        let token = signed(&honest_header(), &with(user_claims(&email), change), keys::worker());
        client.get("/api/credits").bearer(&token).send().await.expect(200);
        client.get("/api/credits").bearer(&token).claim(&email).send().await.expect(200);
    }
}

/// A token verified once is remembered; its end must still be kept.
#[tokio::test]
async fn a_token_that_was_good_ends_with_its_exp() {
    let client = World::verified().await.client();
    let claims = with(user_claims(&unique_email("ends")), json!({"exp": now_s() + 2}));
    let token = tokens::signed(&honest_header(), &claims, keys::worker());
    client.get("/api/credits").bearer(&token).send().await.expect(200);
    http_tests::poll::eventually(std::time::Duration::from_secs(5), "the token has ended", || async {
        let reply = client.get("/api/credits").bearer(&token).send().await;
        if (reply.status, reply.error().as_str()) == (401, "token_invalid") { Ok(()) } else { Err(reply) }
    })
    .await;
}
