//! `POST /auth/exchange` with a real OpenID provider: people sign in there, and come with the ID token they got.

use http_tests::client::{Client, Reply, unique_email};
use http_tests::keys;
use http_tests::oidc_provider::{ANOTHER_APP, BRIEF_APP, HMAC_APP, OUR_APP, OidcProvider};
use http_tests::tokens::{decoded, signed, unsigned};
use http_tests::world::{World, text};
use serde_json::{Value, json};
use std::time::Duration;

async fn trusting(provider: &OidcProvider) -> World {
    let trusted = json!({ provider.issuer(): [OUR_APP, BRIEF_APP, HMAC_APP] });
    World::private(json!({"TRUSTED_ISSUERS": trusted.to_string(), "EXCHANGES_PER_MINUTE": "0"})).await
}

async fn exchange(client: &Client, id_token: &str) -> Reply {
    client.post("/auth/exchange").json(&json!({"id_token": id_token})).send().await
}

#[tokio::test]
async fn who_signs_in_there_is_somebody_here() {
    let provider = OidcProvider::start();
    let world = trusting(&provider).await;
    let client = world.client();
    let email = unique_email("Signs-In");
    let id_token = provider.id_token(OUR_APP, &email).await;
    assert_eq!(text(&decoded(&id_token).1, "iss"), provider.issuer());
    let reply = exchange(&client, &id_token).await.expect(200).json();
    assert_eq!(text(&reply, "email"), email.to_lowercase());
    let account = client.get("/api/credits").bearer(text(&reply, "token")).send().await.expect(200).json();
    assert_eq!(text(&account, "email"), email.to_lowercase());
    // The provider insists on PKCE: a code that was stolen on its way is worth nothing.
    let verifier = "v".repeat(64);
    let code = provider.code(OUR_APP, &email, &verifier).await;
    let stolen = provider.redeem(OUR_APP, &code, &"w".repeat(64)).await;
    assert_eq!(stolen.status().as_u16(), 400);
    // An ID token opens the exchange, and nothing else.
    let direct = client.get("/api/credits").bearer(&id_token).send().await;
    direct.expect_error(401, "token_invalid");
}

#[tokio::test]
async fn tokens_of_others_for_others_and_of_other_times_are_refused() {
    let (provider, elsewhere) = (OidcProvider::start(), OidcProvider::start());
    let world = trusting(&provider).await;
    let client = world.client();
    let email = unique_email("refused");
    let good = provider.id_token(OUR_APP, &email).await;
    exchange(&client, &good).await.expect(200);

    let brief = provider.id_token(BRIEF_APP, &email).await;
    let hmac = provider.id_token(HMAC_APP, &email).await;
    assert_eq!(text(&decoded(&hmac).0, "alg"), "HS256");
    let (header, claims) = decoded(&good);
    let (_, signature) = good.rsplit_once('.').expect("three parts");
    let mut none = header.clone();
    none["alg"] = json!("none");
    let mut raised = claims.clone();
    raised["email"] = json!("victim@x.io");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    for (what, token) in [
        ("of another client", provider.id_token(ANOTHER_APP, &email).await),
        ("of another issuer", elsewhere.id_token(OUR_APP, &email).await),
        ("expired", brief),
        ("signed with a client's secret", hmac),
        ("not signed", format!("{}.", unsigned(&none, &claims))),
        ("said not to be signed", format!("{}.{signature}", unsigned(&none, &claims))),
        ("changed", format!("{}.{signature}", unsigned(&header, &raised))),
        ("signed by a stranger under a known key id", signed(&header, &claims, keys::foreign())),
    ] {
        let reply = exchange(&client, &token).await;
        assert_eq!((reply.status, reply.error().as_str()), (401, "token_invalid"), "{what}: {reply:?}");
    }
    let unverified = provider.id_token(OUR_APP, "unverified@x.io").await;
    exchange(&client, &unverified).await.expect_error(403, "email_unverified");
    exchange(&client, &good).await.expect(200);
}

#[tokio::test]
async fn when_the_provider_changes_its_key_its_keys_are_read_again_and_not_for_every_forgery() {
    let mut provider = OidcProvider::start();
    let world = trusting(&provider).await;
    let client = world.client();
    let email = unique_email("rotates");
    let kid = |token: &str| -> Value { decoded(token).0["kid"].clone() };
    let before = provider.id_token(OUR_APP, &email).await;
    exchange(&client, &before).await.expect(200);
    assert_eq!(provider.key_reads(), 1);

    // With the old key published still, then without it; the second change is a surprise.
    provider.rotate("second", true);
    let after = provider.id_token(OUR_APP, &email).await;
    assert_eq!((kid(&before), kid(&after)), (json!("first"), json!("second")));
    for token in [&after, &before] {
        exchange(&client, token).await.expect(200);
    }
    assert_eq!(provider.key_reads(), 2, "the unknown key id was looked for at once");

    let (_, claims) = decoded(&after);
    for n in 0..20 {
        let header = json!({"alg": "RS256", "kid": format!("forged-{n}")});
        let forged = signed(&header, &claims, keys::foreign());
        exchange(&client, &forged).await.expect_error(401, "token_invalid");
    }
    assert_eq!(provider.key_reads(), 2, "forged key ids make the provider no work");

    provider.rotate("third", false);
    let third = provider.id_token(OUR_APP, &email).await;
    // Half a minute after the last look there is another one.
    exchange(&client, &third).await.expect_error(401, "token_invalid");
    tokio::time::sleep(Duration::from_millis(30_200)).await;
    exchange(&client, &third).await.expect(200);
    assert_eq!(provider.key_reads(), 3);
    exchange(&client, &after).await.expect_error(401, "token_invalid");
}
