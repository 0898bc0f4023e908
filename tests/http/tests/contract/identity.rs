//! Who is calling, in `verified` mode: an address in a query or a header is a claim to be proven.

use crate::aliases;
use http_tests::client::{Call, unique_email};
use http_tests::tokens::{self, now_s};
use http_tests::world::{World, assert_credits, number, text};
use http_tests::{keys, vars};
use reqwest::Method;
use serde_json::{Value, json};

/// A guest token whose subject is whatever the test wants, signed by the Worker's own key.
fn guest_token(subject: &str) -> String {
    let now_s = now_s();
    let claims = json!({
        "iat": now_s, "exp": now_s + 600, "iss": vars::ISSUER, "sub": subject, "role": "guest",
    });
    tokens::signed(&tokens::honest_header(), &claims, keys::worker())
}

/// One way to call, and what must come of it.
struct Case {
    what: &'static str,
    dress: Box<dyn Fn(Call) -> Call>,
    status: u16,
    code: &'static str,
}

fn case(what: &'static str, status: u16, code: &'static str, dress: impl Fn(Call) -> Call + 'static) -> Case {
    Case { what, dress: Box::new(dress), status, code }
}

/// Runs every case on every path that acts for a tenant.
async fn run(cases: &[Case]) {
    let world = World::verified().await;
    for (method, path) in aliases::for_a_tenant() {
        // From an address of its own: wrong admin keys are counted by address.
        let client = world.client();
        for case in cases {
            let call = aliases::good_call(&client, &method, path);
            let reply = (case.dress)(call).send().await;
            let seen = (reply.status, reply.error());
            assert_eq!(seen, (case.status, case.code.to_owned()), "{method} {path}: {}", case.what);
        }
    }
}

#[tokio::test]
async fn claims_without_proof_are_refused() {
    let victim = "victim@x.io";
    run(&[
        case("nothing at all", 400, "missing_email", |call| call),
        case("query alone", 401, "identity_unproven", move |call| call.query("email", victim)),
        case("header alone", 401, "identity_unproven", move |call| call.claim(victim)),
        case("both, agreeing", 401, "identity_unproven", move |call| {
            call.query("email", victim).claim(" VICTIM@x.io")
        }),
        case("both, disagreeing", 403, "identity_mismatch", move |call| {
            call.query("email", victim).claim("other@x.io")
        }),
        case("two in the query", 403, "identity_mismatch", move |call| {
            call.query("email", "other@x.io").query("email", victim)
        }),
    ])
    .await;
}

#[tokio::test]
async fn a_token_may_not_be_contradicted() {
    let (me, victim) = ("me@x.io", "victim@x.io");
    let (guest, namesake) = (guest_token("guest:1"), guest_token(victim));
    let guest_again = guest.clone();
    run(&[
        case("own token, victim's header", 403, "identity_mismatch", move |call| call.user(me).claim(victim)),
        case("own token, victim's query", 403, "identity_mismatch", move |call| {
            call.user(me).query("email", victim)
        }),
        case("own token and header, victim's query", 403, "identity_mismatch", move |call| {
            call.user(me).claim(me).query("email", victim)
        }),
        case("own token, own query, then the victim's", 403, "identity_mismatch", move |call| {
            call.user(me).query("email", me).query("email", victim)
        }),
        case("own token, the victim's query, then one's own", 403, "identity_mismatch", move |call| {
            call.user(me).query("email", victim).query("email", me)
        }),
        case("guest token and a header", 403, "identity_mismatch", move |call| {
            call.bearer(&guest).claim(victim)
        }),
        case("guest token and a query", 403, "identity_mismatch", move |call| {
            call.bearer(&guest_again).query("email", victim)
        }),
        case("guest token that names the victim, and the victim", 403, "identity_mismatch", move |call| {
            call.bearer(&namesake).claim(victim)
        }),
        case("bad token, good header", 401, "token_invalid", move |call| {
            call.bearer("not.a.token").claim(me)
        }),
        case("another scheme, good header", 401, "token_invalid", move |call| {
            call.header("authorization", "Basic bWU6bWU=").claim(me)
        }),
        case("wrong admin key, own token", 401, "unauthorized", move |call| {
            call.user(me).header("x-admin-key", "wrong")
        }),
    ])
    .await;
}

#[tokio::test]
async fn odd_addresses_are_refused() {
    let long = format!("{}@x.io", "a".repeat(5 * 1024));
    run(&[
        case("dotless i in the query", 400, "invalid_email", |call| call.query("email", "vıctim@x.io")),
        case("dotless i in the header", 400, "invalid_email", |call| {
            call.header_bytes("x-user-email", "vıctim@x.io".as_bytes())
        }),
        case("a comma", 400, "invalid_email", |call| call.claim("a,b@x.io")),
        case("two headers", 400, "invalid_email", |call| call.claim("a@x.io").claim("b@x.io")),
        case("a NUL", 400, "invalid_email", |call| call.query("email", "a\0@x.io")),
        case("a line end", 400, "invalid_email", |call| call.query("email", "a@x.io\r\nb")),
        case("two at signs", 400, "invalid_email", |call| call.claim("a@b@x.io")),
        case("no domain", 400, "invalid_email", |call| call.claim("a@")),
        case("5 KB", 400, "invalid_email", move |call| call.query("email", &long)),
        case("odd beside a good token", 400, "invalid_email", |call| call.user("me@x.io").claim("me")),
    ])
    .await;
}

#[tokio::test]
async fn a_proven_address_is_served_in_every_spelling() {
    let world = World::verified().await;
    let tenant = world.tenant("proven", 4.0).await;
    let email = &tenant.email;
    let shouted = format!("  {} ", email.to_uppercase());
    for path in aliases::BALANCE {
        let calls = [
            tenant.get(path),
            tenant.get(path).claim(email),
            tenant.get(path).claim(&shouted),
            tenant.get(path).query("email", &shouted),
            tenant.get(path).query("email", &shouted).query("email", "").query("email", email),
            tenant.client.get(path).user(&email.to_uppercase()).claim(email),
        ];
        for call in calls {
            let reply = call.send().await.expect(200);
            assert_eq!(reply.header("x-identity-source"), None, "{path}");
            let body = reply.json();
            assert_eq!(text(&body, "email"), email, "{path}");
            assert_credits(number(&body, "balance"), 4.0, path);
        }
    }
}

#[tokio::test]
async fn tags_and_dots_are_other_tenants() {
    let world = World::verified().await;
    let tenant = world.tenant("tagged", 4.0).await;
    for other in [tenant.email.replace('@', "+a@"), format!("x.{}", tenant.email)] {
        let body = world.client().get("/api/credits").user(&other).send().await.expect(200).json();
        assert_credits(number(&body, "balance"), 0.0, &other);
    }
}

#[tokio::test]
async fn the_tokens_other_claims_name_the_tenant_too() {
    let world = World::verified().await;
    let tenant = world.tenant("claims", 4.0).await;
    let changes = [
        json!({"sub": "user-7"}),
        json!({"email": null, "em": tenant.email, "sub": "user-7"}),
        json!({"email": null}),
    ];
    for change in changes {
        let claims = tokens::with(tokens::user_claims(&tenant.email), change);
        let token = tokens::signed(&tokens::honest_header(), &claims, keys::worker());
        let body = world.client().get("/api/credits").bearer(&token).send().await.expect(200).json();
        assert_eq!(text(&body, "email"), tenant.email, "{claims}");
    }
}

#[tokio::test]
async fn the_token_may_come_wrapped_in_json() {
    let world = World::verified().await;
    let tenant = world.tenant("wrapped", 4.0).await;
    let wrapped = json!({"token": tokens::user_token(&tenant.email), "exp": now_s() + 600}).to_string();
    let body = tenant.client.get("/api/credits").bearer(&wrapped).send().await.expect(200).json();
    assert_eq!(text(&body, "email"), tenant.email);
    for broken in ["{", "{}", r#"{"token":7}"#, r#"{"token":""}"#] {
        let call = tenant.client.get("/api/credits").bearer(broken).claim(&tenant.email);
        call.send().await.expect_error(401, "token_invalid");
    }
}

#[tokio::test]
async fn a_guest_named_like_a_victim_is_its_own_tenant() {
    let world = World::verified().await;
    let victim = world.tenant("victim", 7.0).await;
    let token = guest_token(&victim.email);
    for path in aliases::BALANCE {
        let body = world.client().get(path).bearer(&token).send().await.expect(200).json();
        assert_credits(number(&body, "balance"), vars::GUEST_GRANT_CREDITS, path);
    }
    let ask = world.client().post("/api/si/ask").bearer(&token).json(&json!({"input": "whose?"}));
    ask.send().await.expect(200);
    assert_credits(victim.balance().await, 7.0, "the victim's balance");
    assert!(victim.usage().await.is_empty());
}

/// `/api/credits` says it as `email`, so a client sends it back.
#[tokio::test]
async fn a_guest_may_say_its_own_name_and_no_other_guests() {
    let client = World::verified().await.client();
    let guest = client.post("/auth/guest").send().await.expect(200).json();
    let token = text(&guest, "token");
    let own = client.get("/api/credits").bearer(token).send().await.expect(200).json();
    let own = text(&own, "email");
    let other = format!("guest:{}", uuid::Uuid::new_v4());
    for path in aliases::BALANCE {
        let call = || client.get(path).bearer(token);
        for call in [call().query("email", own), call().claim(own), call().claim(own).query("email", own)] {
            assert_eq!(text(&call.send().await.expect(200).json(), "email"), own);
        }
        call().query("email", &other).send().await.expect_error(400, "invalid_email");
        client.get(path).query("email", own).send().await.expect_error(400, "invalid_email");
        client.get(path).user("me@x.io").claim(own).send().await.expect_error(400, "invalid_email");
    }
}

#[tokio::test]
async fn a_guests_subject_is_no_address_of_a_user() {
    let world = World::verified().await;
    let subject = format!("guest:{}", uuid::Uuid::new_v4());
    let user = unique_email("not-guest");
    let claims = tokens::with(tokens::user_claims(&user), json!({"email": null, "sub": subject}));
    let token = tokens::signed(&tokens::honest_header(), &claims, keys::worker());
    let reply = world.client().get("/api/credits").bearer(&token).send().await;
    reply.expect_error(401, "token_invalid");
}

#[tokio::test]
async fn one_tenant_sees_nothing_of_another() {
    let world = World::verified().await;
    let (one, other) = (world.tenant("one", 2.0).await, world.tenant("other", 3.0).await);
    one.ask(&json!({"input": "mine"})).send().await.expect(200);
    one.usage_of(1).await;
    assert!(other.usage().await.is_empty());
    assert_credits(other.balance().await, 3.0, "the other's balance");
    let entries: Vec<Value> = other.items("/api/credits/ledger").await;
    assert_eq!(entries.len(), 1, "only its own first credit: {entries:?}");
    let foreign = Method::GET;
    let call = other.client.call(foreign, "/api/credits").user(&other.email).query("email", &one.email);
    call.send().await.expect_error(403, "identity_mismatch");
}
