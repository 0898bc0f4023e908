//! Cases that are more than one request, money aside.

use crate::aliases::{BALANCE, GUEST, USAGE};
use crate::stage::{Stage, VICTIM_CREDITS};
use crate::table::Seen;
use http_tests::client::{Reply, unique_marker};
use http_tests::keys;
use http_tests::provider_script::{Behaviour, Completion, Ending};
use http_tests::raw_http;
use http_tests::tokens::{honest_header, now_s, signed, user_claims, with};
use http_tests::vars::APP_ORIGIN;
use http_tests::world::{number, text};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const ALLOW_ORIGIN: &str = "access-control-allow-origin";
const WRONG_KEYS_PER_MINUTE: usize = 10;
const GUESTS: usize = 1_000;
const GUESTS_AT_ONCE: usize = 100;
const GIB: u64 = 1_024 * 1_024 * 1_024;
/// A member that no published key may have.
const PRIVATE_MEMBER: &str = "private-exponent-canary-1f2e3d4c5b6a";

/// A key set with a private member, as a careless operator stores it.
pub fn stored_keys() -> String {
    let stored =
        with(keys::foreign().public_jwk("stored-k"), json!({"d": PRIVATE_MEMBER, "p": PRIVATE_MEMBER}));
    json!({"keys": [stored]}).to_string()
}

pub async fn run(stage: &Stage<'_>, seen: &Seen) {
    guest_with_a_victims_subject(stage, seen).await;
    spelling(stage, seen).await;
    wrong_admin_keys(stage, seen).await;
    clamped(stage, seen).await;
    foreign_cursor(stage, seen).await;
    origins(stage, seen).await;
    preflights(stage, seen).await;
    redirect(stage, seen).await;
    hostile_providers(stage, seen).await;
    guests_without_end(stage, seen).await;
    private_members(stage, seen).await;
    paths(stage, seen).await;
}

/// `200 × 1, 402 × 99`
pub fn tally(replies: &[Reply]) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for reply in replies {
        *counts.entry(format!("{} {}", reply.status, reply.error()).trim_end().to_owned()).or_default() += 1;
    }
    counts.iter().map(|(seen, count)| format!("{count} × {seen}")).collect::<Vec<_>>().join(", ")
}

async fn guest_with_a_victims_subject(stage: &Stage<'_>, seen: &Seen) {
    let claims = with(user_claims(&stage.victim.email), json!({"email": null, "role": "guest"}));
    let token = signed(&honest_header(), &claims, keys::worker());
    for path in BALANCE {
        let reply = stage.client.get(path).bearer(&token).send().await;
        let balance = if reply.status == 200 { number(&reply.json(), "balance") } else { f64::NAN };
        let observed = format!("{}, balance {balance}", reply.status);
        let holds = balance < VICTIM_CREDITS;
        let what = (10, "guest token whose `sub` is a victim's address; the victim has 50");
        seen.note(what, stage.mode, &format!("GET {path}"), "its own guest tenant", &observed, holds);
    }
}

async fn spelling(stage: &Stage<'_>, seen: &Seen) {
    for path in BALANCE {
        let upper = stage.victim.email.to_uppercase();
        let reply = stage.client.get(path).user(&upper).send().await;
        let same = reply.status == 200 && text(&reply.json(), "email") == stage.victim.email;
        let observed = if same { "200, the same tenant".to_owned() } else { format!("{reply:?}") };
        let what = (11, "`VICTIM@X.IO` and `victim@x.io`");
        seen.note(what, stage.mode, &format!("GET {path}"), "the same tenant", &observed, same);
    }
}

async fn wrong_admin_keys(stage: &Stage<'_>, seen: &Seen) {
    let routes = [
        (Method::GET, "/api/admin/ping"),
        (Method::GET, "/api/admin/env-snapshot"),
        (Method::POST, "/api/credits/adjust"),
        (Method::POST, "/api/admin/tokens"),
        (Method::GET, "/api/credits"),
    ];
    for (method, path) in routes {
        let client = stage.world.client();
        let mut replies = Vec::new();
        for header in ["x-admin-key", "x-admin-token"].into_iter().cycle().take(WRONG_KEYS_PER_MINUTE + 1) {
            let call =
                client.call(method.clone(), path).header(header, "wrong").json(&json!({"email": "me@x.io"}));
            replies.push(call.send().await);
        }
        let wait_s = replies.last().and_then(|last| last.header("retry-after")?.parse::<u64>().ok());
        let observed =
            format!("{}, Retry-After {}", tally(&replies), if wait_s.is_some() { "sent" } else { "missing" });
        let expected = "10 × 401 unauthorized, 1 × 429 rate_limited, Retry-After sent";
        let what = (14, "11 wrong admin keys from one address");
        let holds = observed == expected && wait_s.is_some_and(|wait_s| (1..=60).contains(&wait_s));
        seen.note(what, stage.mode, &format!("{method} {path}"), expected, &observed, holds);
    }
}

/// What `limit` means to a list of thirty.
async fn clamped(stage: &Stage<'_>, seen: &Seen) {
    let tenant = stage.world.tenant("clamped", 0.0).await;
    let events = (0..30).map(|n| tenant.post("/usage").json(&json!({"id": format!("event-{n}")})).send());
    futures::future::join_all(events).await;
    for path in USAGE {
        for (limit, items) in [("-1", 1), ("1e9", 30), ("abc", 25)] {
            let reply = tenant.get(path).query("limit", limit).send().await.expect(200).json();
            let count = reply.get("items").and_then(Value::as_array).map_or(0, Vec::len);
            let what = (22, &*format!("`limit={limit}` to a list of 30"));
            let (expected, observed) = (format!("{items} items"), format!("{count} items"));
            seen.note(what, stage.mode, &format!("GET {path}"), &expected, &observed, count == items);
        }
    }
}

async fn foreign_cursor(stage: &Stage<'_>, seen: &Seen) {
    let theirs = stage.world.tenant("cursor-of-another", 0.0).await;
    for id in ["one", "two"] {
        theirs.post("/usage").json(&json!({"id": id})).send().await.expect(200);
    }
    for path in USAGE {
        let page = theirs.get(path).query("limit", "1").send().await.expect(200).json();
        let reply = stage.me.get(path).query("cursor", text(&page, "next_cursor")).send().await;
        let observed = format!("{} {}", reply.status, reply.error());
        let expected = "400 invalid_cursor";
        let what = (22, "another tenant's cursor");
        seen.note(what, stage.mode, &format!("GET {path}"), expected, &observed, observed == expected);
    }
}

async fn origins(stage: &Stage<'_>, seen: &Seen) {
    let foreign = [
        "null",
        "https://app.cognomega.com.evil.io",
        "http://app.cognomega.com",
        "https://app.cognomega.com:444",
        APP_ORIGIN,
    ];
    for origin in foreign {
        for path in BALANCE.into_iter().chain(USAGE) {
            let reply = stage.me.get(path).header("origin", origin).send().await;
            let named = reply.header(ALLOW_ORIGIN);
            let observed =
                named.map_or_else(|| "no allow-origin".to_owned(), |named| format!("allow-origin {named}"));
            let listed = origin == APP_ORIGIN;
            let expected =
                if listed { format!("allow-origin {origin}") } else { "no allow-origin".to_owned() };
            let what = (26, &*format!("Origin `{origin}`"));
            seen.note(what, stage.mode, &format!("GET {path}"), &expected, &observed, observed == expected);
        }
    }
}

async fn preflights(stage: &Stage<'_>, seen: &Seen) {
    for path in BALANCE.into_iter().chain(USAGE).chain(GUEST) {
        let call = stage.client.call(Method::OPTIONS, path).header("origin", APP_ORIGIN);
        let call = call.header("access-control-request-method", "POST");
        let asked = b"x-good, x bad, x:bad, *, x\"q, x\xc3\xbc, x\tbad";
        let reply = call.header_bytes("access-control-request-headers", asked).send().await;
        let list = reply.must_header("access-control-allow-headers").to_lowercase();
        let added: Vec<&str> = list.split(", ").skip_while(|name| *name != "last-event-id").skip(1).collect();
        let observed = format!("{}, added {added:?}", reply.status);
        let what = (27, "names that are no tokens in Access-Control-Request-Headers, beside `x-good`");
        let expected = r#"204, added ["x-good"]"#;
        seen.note(what, stage.mode, &format!("OPTIONS {path}"), expected, &observed, observed == expected);
    }
    // CRLF ends a header; what stands behind it is another one, and must not come back.
    let target = stage.world.stack.target();
    let extra = "Origin: https://app.cognomega.com\r\nAccess-Control-Request-Method: POST\r\n\
                 Access-Control-Request-Headers: x-good\r\nSet-Cookie: injected=1\r\n";
    let reply = raw_http::send(&target, "OPTIONS", "/api/credits", extra, b"").await;
    let back = reply.text.to_lowercase().contains("injected");
    let observed = format!("{}, {}", reply.status, if back { "given back" } else { "dropped" });
    let what = (27, "CRLF in Access-Control-Request-Headers");
    seen.note(
        what,
        stage.mode,
        "OPTIONS /api/credits",
        "204, dropped",
        &observed,
        observed == "204, dropped",
    );
}

async fn redirect(stage: &Stage<'_>, seen: &Seen) {
    for path in crate::aliases::ASK {
        let marker = unique_marker();
        let to = format!("{}/v1/chat/completions", stage.lure.origin());
        stage.world.groq.script(&marker, [Behaviour::Redirect { status: 307, to }]);
        let reply = stage.me.post(path).json(&json!({"input": marker})).send().await;
        let followed = stage.lure.all_calls().len();
        let observed = format!(
            "{} by {}, {followed} calls elsewhere",
            reply.status,
            reply.header("x-provider").unwrap_or("nobody")
        );
        let expected = "200 by cfai, 0 calls elsewhere";
        let what = (31, "a provider redirects elsewhere");
        seen.note(what, stage.mode, &format!("POST {path}"), expected, &observed, observed == expected);
    }
}

async fn hostile_providers(stage: &Stage<'_>, seen: &Seen) {
    let slow = Duration::from_secs(1);
    let behaviours = [
        (
            "CRLF in a model name",
            Behaviour::Complete(Completion::of(&["fine"]).model("m\r\nX-Injected: yes")),
        ),
        ("a body of 1 GB", Behaviour::Giant { body_bytes: GIB }),
        ("one byte a second", Behaviour::Dripping { gap: slow }),
        ("a body that breaks off", Behaviour::Complete(Completion::of(&["half"]).ending(Ending::Broken))),
    ];
    let asks = behaviours.iter().flat_map(|(what, behaviour)| {
        crate::aliases::ASK.map(|path| async move {
            let marker = unique_marker();
            stage.world.groq.script(&marker, [behaviour.clone()]);
            let tenant = stage.world.tenant("hostile", 5.0).await;
            let reply = tenant.post(path).json(&json!({"input": marker})).send().await;
            let injected = reply.header("x-injected").is_some();
            tenant.settled_balance().await;
            let observed = format!(
                "{}, {}, no hold left",
                reply.status,
                if injected { "header injected" } else { "headers clean" }
            );
            (*what, path, observed)
        })
    });
    for (what, path, observed) in futures::future::join_all(asks).await {
        let expected = "200, headers clean, no hold left";
        let what = (32, &*format!("a provider sends {what}; the next one answers, or the name is cleaned"));
        seen.note(what, stage.mode, &format!("POST {path}"), expected, &observed, observed == expected);
    }
    let streams = crate::aliases::ASK.map(|path| async move {
        let marker = unique_marker();
        let endless = Completion::numbered(50, Duration::from_millis(100)).ending(Ending::Endless);
        stage.world.groq.script(&marker, [Behaviour::Complete(endless)]);
        let tenant = stage.world.tenant("endless", 5.0).await;
        let input = json!({"input": format!("{marker} {}", "and on ".repeat(2_000))});
        let stream = tenant.post(path).json(&input).open().await.expect_stream().await.drain().await;
        let spent = tenant.settled_balance().await < 5.0;
        let ended = stream.event("error").is_some();
        (path, format!("ended with an error event: {ended}, settled: {spent}, no hold left"))
    });
    for (path, observed) in futures::future::join_all(streams).await {
        let expected = "ended with an error event: true, settled: true, no hold left";
        let what = (32, "a provider streams without an end");
        seen.note(what, stage.mode, &format!("POST {path}"), expected, &observed, observed == expected);
    }
}

async fn guests_without_end(stage: &Stage<'_>, seen: &Seen) {
    for path in GUEST {
        let client = stage.world.client();
        let mut replies = Vec::new();
        while replies.len() < GUESTS {
            let some = (0..GUESTS_AT_ONCE).map(|_| client.post(path).send());
            replies.extend(futures::future::join_all(some).await);
        }
        let made = replies.iter().filter(|reply| reply.status == 200).count();
        let refused = replies.iter().filter(|reply| reply.error() == "rate_limited").count();
        let waits = replies.iter().filter(|reply| reply.header("retry-after").is_some()).count();
        let rest = if made <= 30 && refused + made == GUESTS && waits == refused {
            "at most 30"
        } else {
            "too many"
        };
        let observed = format!("{rest} of {GUESTS} tokens, 429 rate_limited with Retry-After for the rest");
        let expected = "at most 30 of 1000 tokens, 429 rate_limited with Retry-After for the rest";
        let what = (34, "guest tokens 1,000 times from one address");
        seen.note(what, stage.mode, &format!("POST {path}"), expected, &observed, observed == expected);
    }
}

async fn private_members(stage: &Stage<'_>, seen: &Seen) {
    let path = "/.well-known/jwks.json";
    let reply = stage.client.get(path).send().await.expect(200);
    let served = reply.json().to_string();
    let (named, leaked) = (served.contains("stored-k"), served.contains(PRIVATE_MEMBER));
    let observed = format!("the stored key served: {named}, its private members: {leaked}");
    let expected = "the stored key served: true, its private members: false";
    let what = (35, "KV's key set holds private members");
    seen.note(what, stage.mode, &format!("GET {path}"), expected, &observed, observed == expected);
    // And it is really used: a token of that key is taken.
    let header = with(honest_header(), json!({"kid": "stored-k"}));
    let claims = with(user_claims(&stage.me.email), json!({"exp": now_s() + 60}));
    let token = signed(&header, &claims, keys::foreign());
    stage.client.get("/api/credits").bearer(&token).send().await.expect(200);
}

async fn paths(stage: &Stage<'_>, seen: &Seen) {
    let target = stage.world.stack.target();
    let long = format!("/api/credits/{}", "a".repeat(10 * 1_024));
    let odd = [
        ("`//api//credits`", "//api//credits"),
        ("`%2e%2e` in a path", "/api/%2e%2e/%2e%2e/credits%00"),
        ("an encoded path", "/%61pi/credits"),
        ("a path of 10 KB", &*long),
    ];
    for (what, path) in odd {
        for method in ["GET", "POST"] {
            let reply = raw_http::send(&target, method, path, "", b"").await;
            let observed = format!("{} {}", reply.status, code_in(&reply.text));
            let holds = matches!(reply.status, 404 | 405);
            seen.note((36, what), stage.mode, method, "404 or 405", observed.trim_end(), holds);
        }
    }
}

fn code_in(reply: &str) -> String {
    let body = reply.split("\r\n\r\n").nth(1).unwrap_or_default();
    let from = body.find('{').unwrap_or_default();
    let body: Value = body
        .get(from..)
        .and_then(|body| serde_json::Deserializer::from_str(body).into_iter().next()?.ok())
        .unwrap_or_default();
    body.get("error").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The harness searches every reply and every log line for every secret, and stops at the first; so all that is left
/// to say is that there was something to search.
pub fn secrets(stage: &Stage<'_>, seen: &Seen) {
    let log = stage.world.stack.log();
    log.assert_no_secret();
    let enough = log.text().lines().count() > 1_000;
    let observed =
        if enough { "none in more than 1,000 log lines, nor in their replies" } else { "too few log lines" };
    let expected = "none in more than 1,000 log lines, nor in their replies";
    let what = (38, "canary secrets in the configuration, all the cases above");
    seen.note(
        what,
        stage.mode,
        "all of them; more in `tests/http/tests/door/canaries.rs`",
        expected,
        observed,
        enough,
    );
}
