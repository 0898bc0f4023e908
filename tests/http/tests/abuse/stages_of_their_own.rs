//! Cases that want another configuration: no operator's key, bad provider bases, a challenge for guests.

use crate::aliases::{ASK, GUEST};
use crate::table::{Mode, Seen};
use http_tests::json_service::JsonService;
use http_tests::world::{World, text};
use serde_json::{Value, json};

const JUDGE: &str = "/siteverify";
const SECRET: &str = "turnstile-canary-0a1b2c3d4e5f60718293a4b5c6d7e8f9";

pub async fn run(mode: Mode, seen: &Seen) {
    provider_bases(mode, seen).await;
    challenges_and_no_operator(mode, seen).await;
}

async fn provider_bases(mode: Mode, seen: &Seen) {
    let world = World::private(json!({
        "IDENTITY_MODE": mode.name(),
        "GROQ_BASE": "https://user:base-password@api.groq.com/v1",
        "OPENAI_BASE": "https://10.0.0.1/v1",
        "LOCAL_BASE": "http://plain.example.com/v1",
    }))
    .await;
    let client = world.client();
    let ready = client.get("/ready").send().await;
    let problems = ready.json().get("problems").and_then(Value::as_array).cloned().unwrap_or_default();
    let named = |variable: &str| problems.iter().any(|problem| text(problem, "variable") == variable);
    for (what, variable) in [
        ("a provider base with user info", "GROQ_BASE"),
        ("a provider base with an IP literal", "OPENAI_BASE"),
        ("a provider base with plain http", "LOCAL_BASE"),
    ] {
        let observed = format!("{}, names {variable}: {}", ready.status, named(variable));
        let expected = format!("503, names {variable}: true");
        seen.note((31, what), mode, "GET /ready", &expected, &observed, observed == expected);
    }
    for path in ASK {
        let reply = client.post(path).user("me@x.io").json(&json!({"input": "hi"})).send().await;
        let observed =
            format!("{} {}, {} provider calls", reply.status, reply.error(), world.calls_anywhere(""));
        let expected = "503 misconfigured, 0 provider calls";
        let what = (31, "an ask beside bad provider bases");
        seen.note(what, mode, &format!("POST {path}"), expected, &observed, observed == expected);
    }
}

async fn challenges_and_no_operator(mode: Mode, seen: &Seen) {
    let judge = JsonService::start().await;
    let world = World::private(json!({
        "IDENTITY_MODE": mode.name(),
        "ADMIN_API_KEY": "",
        "ADMIN_API_KEY_NEXT": null,
        "GUEST_TOKENS_PER_MINUTE": "0",
        "TURNSTILE_SECRET": SECRET,
        "TURNSTILE_VERIFY_URL": format!("{}{JUDGE}", judge.origin()),
    }))
    .await;
    let client = world.client();
    for header in ["x-admin-key", "x-admin-token"] {
        let call = client
            .post("/api/credits/adjust")
            .header(header, "")
            .json(&json!({"email": "me@x.io", "set": 9}));
        let reply = call.send().await;
        let observed = format!("{} {}", reply.status, reply.error());
        let expected = "401 unauthorized";
        let what = (13, "admin header empty while the configured key is empty");
        seen.note(what, mode, "POST /api/credits/adjust", expected, &observed, observed == expected);
    }
    let verdict = |success: bool, hostname: &str| json!({"success": success, "hostname": hostname});
    let said = [
        ("Turnstile absent", None, "400 missing_turnstile"),
        ("Turnstile passed", Some((200, verdict(true, "app.cognomega.com"))), "200"),
        ("Turnstile replayed", Some((200, verdict(false, "app.cognomega.com"))), "403 turnstile_failed"),
        ("Turnstile of another hostname", Some((200, verdict(true, "evil.io"))), "403 turnstile_failed"),
        ("Turnstile's server fails", Some((500, Value::Null)), "503 unavailable"),
    ];
    for (what, answer, expected) in said {
        for path in GUEST {
            let call = client.post(path);
            let call = match &answer {
                None => call,
                Some((status, body)) => {
                    judge.answers(JUDGE, *status, body.clone());
                    call.json(&json!({"turnstile_token": "solved"}))
                }
            };
            guest(seen, mode, what, path, expected, call).await;
        }
    }
    drop(judge);
    for path in GUEST {
        let call = client.post(path).json(&json!({"turnstile_token": "solved"}));
        guest(seen, mode, "Turnstile's server is down", path, "503 unavailable", call).await;
    }
}

async fn guest(
    seen: &Seen,
    mode: Mode,
    what: &str,
    path: &str,
    expected: &str,
    call: http_tests::client::Call,
) {
    let reply = call.send().await;
    let observed = format!("{} {}", reply.status, reply.error());
    let observed = observed.trim_end();
    seen.note((33, what), mode, &format!("POST {path}"), expected, observed, observed == expected);
}
