//! `POST /auth/exchange`: an ID token of a trusted issuer for a token of ours. The issuer here is a few lines that can
//! also be wrong on purpose.

use http_tests::json_service::JsonService;
use http_tests::keys::{self, KeyPair};
use http_tests::poll::eventually;
use http_tests::tokens::{now_s, signed};
use http_tests::vars::APP_ORIGIN;
use http_tests::world::{World, text};
use serde_json::{Value, json};
use std::time::Duration;

const PATH: &str = "/auth/exchange";
const CLIENT_ID: &str = "our-app";
const DISCOVERY: &str = "/.well-known/openid-configuration";
const KEY_SET: &str = "/keys";

struct Issuer {
    service: JsonService,
}

impl Issuer {
    async fn start() -> Self {
        let service = JsonService::start().await;
        let origin = service.origin().to_owned();
        service.answers(DISCOVERY, 200, json!({"issuer": origin, "jwks_uri": format!("{origin}{KEY_SET}")}));
        let issuer = Self { service };
        issuer.publish(&[("id-1", keys::foreign())]);
        issuer
    }

    fn publish(&self, pairs: &[(&str, &KeyPair)]) {
        let keys: Vec<Value> = pairs.iter().map(|(kid, pair)| pair.public_jwk(kid)).collect();
        self.service.answers(KEY_SET, 200, json!({"keys": keys}));
    }

    async fn world(&self) -> World {
        self.world_with(json!([CLIENT_ID, "our-other-app"]), json!({"EXCHANGES_PER_MINUTE": "0"})).await
    }

    /// One that trusts it on `terms`.
    async fn world_with(&self, terms: Value, mut changes: Value) -> World {
        changes["TRUSTED_ISSUERS"] = json!({ self.service.origin(): terms }).to_string().into();
        World::private(changes).await
    }

    fn claims(&self) -> Value {
        json!({
            "iss": self.service.origin(), "aud": CLIENT_ID, "sub": "7", "iat": now_s(), "exp": now_s() + 300,
            "email": "Ada@X.io", "email_verified": true,
        })
    }

    fn token(&self, changes: Value) -> String {
        let mut claims = self.claims();
        let members = claims.as_object_mut().expect("an object");
        for (name, value) in changes.as_object().expect("an object") {
            members.insert(name.clone(), value.clone());
        }
        signed(&json!({"alg": "RS256", "typ": "JWT", "kid": "id-1"}), &claims, keys::foreign())
    }

    fn key_reads(&self) -> usize {
        self.service.calls().iter().filter(|call| call.path == KEY_SET).count()
    }
}

#[tokio::test]
async fn an_id_token_becomes_a_token_of_ours() {
    let issuer = Issuer::start().await;
    let world = issuer.world().await;
    let client = world.client();
    for changes in [
        json!({}),
        json!({"aud": ["our-other-app"]}),
        json!({"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID}),
        json!({"email_verified": "true"}),
        json!({"iat": now_s() - 80_000, "exp": now_s() + 315_360_000}),
    ] {
        let body = json!({"id_token": issuer.token(changes)});
        let reply = client.post(PATH).json(&body).send().await.expect(200).json();
        assert_eq!(text(&reply, "email"), "ada@x.io");
        let account = client.get("/api/credits").bearer(text(&reply, "token")).send().await.expect(200);
        assert_eq!(text(&account.json(), "email"), "ada@x.io");
    }
    assert_eq!(issuer.key_reads(), 1, "keys are remembered");
}

#[tokio::test]
async fn what_is_not_for_us_or_not_good_is_refused() {
    let issuer = Issuer::start().await;
    let world = issuer.world().await;
    let client = world.client();
    let exchange = |token: String| client.post(PATH).json(&json!({"id_token": token}));
    let elsewhere = format!("{}/", issuer.service.origin());
    for changes in [
        json!({"aud": "another"}),
        json!({"aud": [CLIENT_ID, "another"]}),
        json!({"azp": "another"}),
        json!({"exp": now_s() - 1}),
        json!({"exp": null}),
        json!({"iat": now_s() + 3_600}),
        json!({"iat": null}),
        json!({"iat": now_s() - 90_000, "exp": now_s() + 315_360_000}),
        json!({"iss": elsewhere}),
        json!({"iss": "https://accounts.google.com"}),
    ] {
        exchange(issuer.token(changes.clone())).send().await.expect_error(401, "token_invalid");
    }
    for changes in [
        json!({"email_verified": false}),
        json!({"email_verified": null}),
        json!({"email": null}),
        json!({"email": "no address"}),
    ] {
        exchange(issuer.token(changes)).send().await.expect_error(403, "email_unverified");
    }
    let forged = signed(&json!({"alg": "RS256", "kid": "id-1"}), &issuer.claims(), keys::worker());
    exchange(forged).send().await.expect_error(401, "token_invalid");
    let header = json!({"alg": "RS256", "kid": "id-1", "jku": "https://evil.io/keys"});
    exchange(signed(&header, &issuer.claims(), keys::foreign()))
        .send()
        .await
        .expect_error(401, "token_invalid");
    client.post(PATH).json(&json!({})).send().await.expect_error(400, "invalid_field");
    // An ID token is a ticket to the exchange, and to nothing else.
    let direct = client.get("/api/credits").bearer(&issuer.token(json!({})));
    direct.send().await.expect_error(401, "token_invalid");
}

#[tokio::test]
async fn unknown_keys_make_the_issuer_no_work() {
    let issuer = Issuer::start().await;
    let world = issuer.world().await;
    let client = world.client();
    client.post(PATH).json(&json!({"id_token": issuer.token(json!({}))})).send().await.expect(200);
    for n in 0..20 {
        let header = json!({"alg": "RS256", "kid": format!("forged-{n}")});
        let token = signed(&header, &issuer.claims(), keys::worker());
        client.post(PATH).json(&json!({"id_token": token})).send().await.expect_error(401, "token_invalid");
    }
    assert_eq!(issuer.key_reads(), 2, "once for the first unknown id, and not again for half a minute");
}

#[tokio::test]
async fn who_comes_first_together_is_let_in_together() {
    let issuer = Issuer::start().await;
    let world = issuer.world().await;
    let client = world.client();
    let body = json!({"id_token": issuer.token(json!({}))});
    let replies = futures::future::join_all((0..10).map(|_| client.post(PATH).json(&body).send())).await;
    for reply in replies {
        reply.expect(200);
    }
    assert_eq!(issuer.key_reads(), 1, "one asks, the others wait");
}

#[tokio::test]
async fn an_issuer_vouches_only_for_the_domains_it_is_trusted_with() {
    let issuer = Issuer::start().await;
    let terms = json!({"audiences": CLIENT_ID, "email_domains": ["x.io", "Example.COM"]});
    let world = issuer.world_with(terms, json!({})).await;
    let client = world.client();
    let exchange = |email: &str| {
        client.post(PATH).json(&json!({"id_token": issuer.token(json!({"email": email}))})).send()
    };
    for email in ["ada@x.io", "ADA@X.IO", "bob@example.com"] {
        assert_eq!(text(&exchange(email).await.expect(200).json(), "email"), email.to_lowercase());
    }
    for email in ["ada@gmail.com", "ada@sub.x.io", "ada@notx.io", "x.io@evil.io", "ada@x.io.evil.io"] {
        exchange(email).await.expect_error(403, "email_domain_forbidden");
    }
}

#[tokio::test]
async fn an_address_exchanges_no_thousand_tokens() {
    let issuer = Issuer::start().await;
    let world = issuer.world_with(json!(CLIENT_ID), json!({"EXCHANGES_PER_MINUTE": "8"})).await;
    let (crowd, other) = (world.client(), world.client());
    let good = json!({"id_token": issuer.token(json!({}))});
    // Good or not, each is counted: half of them at once.
    for n in 0..4 {
        let body = if n % 2 == 0 { good.clone() } else { json!({"id_token": "a.b.c"}) };
        let reply = crowd.post(PATH).json(&body).send().await;
        assert_eq!(reply.status, if n % 2 == 0 { 200 } else { 401 });
    }
    let refused = crowd.post(PATH).json(&good).send().await.expect_error(429, "rate_limited");
    assert_eq!(text(&refused.json(), "policy"), "exchanges");
    let wait_s: u64 = refused.must_header("retry-after").parse().expect("whole seconds");
    assert!((1..=60).contains(&wait_s), "wait {wait_s} s");
    other.post(PATH).json(&good).send().await.expect(200);
    crowd.post("/auth/guest").send().await.expect(200);
    tokio::time::sleep(std::time::Duration::from_secs(wait_s)).await;
    crowd.post(PATH).json(&good).send().await.expect(200);
}

#[tokio::test]
async fn an_exchanged_token_may_be_a_cookie() {
    let issuer = Issuer::start().await;
    let world = issuer.world().await;
    let client = world.client();
    let body = json!({"id_token": issuer.token(json!({})), "cookie": true});
    client.post(PATH).json(&body).send().await.expect_error(403, "origin_forbidden");
    let reply = client.post(PATH).header("origin", APP_ORIGIN).json(&body).send().await.expect(200);
    let cookie = reply.must_header("set-cookie").to_owned();
    assert_eq!(text(&reply.json(), "email"), "ada@x.io");
    assert_eq!((reply.json().get("token"), text(&reply.json(), "cookie")), (None, "__Host-cog_auth_jwt"));
    let pair = cookie.split(';').next().unwrap_or_default();
    let read = client.get("/api/credits").header("cookie", pair).send().await.expect(200);
    assert_eq!(text(&read.json(), "email"), "ada@x.io");
}

#[tokio::test]
async fn a_document_of_another_issuer_is_not_believed() {
    let issuer = Issuer::start().await;
    let origin = issuer.service.origin();
    let other = json!({"issuer": "https://evil.io", "jwks_uri": format!("{origin}{KEY_SET}")});
    issuer.service.answers(DISCOVERY, 200, other);
    let world = issuer.world().await;
    let body = json!({"id_token": issuer.token(json!({}))});
    world.client().post(PATH).json(&body).send().await.expect_error(401, "token_invalid");
    assert_eq!(issuer.key_reads(), 0);
}

#[tokio::test]
async fn without_trusted_issuers_there_is_no_exchange() {
    let world = World::verified().await;
    let body = json!({"id_token": "a.b.c"});
    world.client().post(PATH).json(&body).send().await.expect_error(501, "exchange_unconfigured");
}

/// Nobody can tell whether the token is good, so it is not called bad; and nothing is left of the outage.
#[tokio::test]
async fn an_issuer_that_is_down_makes_no_token_bad_and_is_believed_as_soon_as_it_is_back() {
    let issuer = Issuer::start().await;
    issuer.service.answers(DISCOVERY, 500, json!({}));
    let world = issuer.world().await;
    let body = json!({"id_token": issuer.token(json!({}))});
    for _ in 0..3 {
        let reply = world.client().post(PATH).json(&body).send().await.expect_error(503, "unavailable");
        assert!(reply.header("retry-after").is_some());
    }
    let origin = issuer.service.origin().to_owned();
    let document = json!({"issuer": origin, "jwks_uri": format!("{origin}{KEY_SET}")});
    issuer.service.answers(DISCOVERY, 200, document);
    eventually(Duration::from_secs(5), "it is believed again", || async {
        let reply = world.client().post(PATH).json(&body).send().await;
        if reply.status == 200 { Ok(()) } else { Err(reply.status) }
    })
    .await;
}
