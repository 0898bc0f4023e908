//! The operator's key: what opens with it, and what does not.

use http_tests::client::{Call, unique_email};
use http_tests::tokens::user_token;
use http_tests::vars::{ADMIN_KEY, GROQ_MODEL, NEXT_ADMIN_KEY};
use http_tests::world::{World, assert_credits, number, text};
use reqwest::Method;
use serde_json::{Value, json};

const OPERATOR_ONLY: [(Method, &str); 14] = [
    (Method::GET, "/api/admin/prices"),
    (Method::PUT, "/api/admin/prices"),
    (Method::GET, "/api/admin/skills"),
    (Method::GET, "/api/admin/skills/general"),
    (Method::PUT, "/api/admin/skills/general"),
    (Method::DELETE, "/api/admin/skills/general"),
    (Method::POST, "/api/admin/skills/general/rollback"),
    (Method::POST, "/api/credits/adjust"),
    (Method::PUT, "/api/credits/limits"),
    (Method::POST, "/api/ai/test"),
    (Method::GET, "/api/admin/ping"),
    (Method::POST, "/api/admin/ping"),
    (Method::GET, "/api/admin/env-snapshot"),
    (Method::GET, "/api/admin/providers"),
];

fn without_a_key(call: Call, attempt: usize) -> Call {
    let almost = ADMIN_KEY.get(..ADMIN_KEY.len() - 1).unwrap_or_default();
    match attempt {
        0 => call,
        1 => call.header("x-admin-key", ""),
        2 => call.header("x-admin-token", " "),
        3 => call.header("x-admin-key", "wrong"),
        4 => call.header("x-admin-key", almost),
        5 => call.header("x-admin-key", &format!("{ADMIN_KEY}x")),
        6 => call.header("x-admin-key", &ADMIN_KEY.to_uppercase()),
        7 => call.header("x-admin-key", ADMIN_KEY).header("x-admin-token", "wrong"),
        8 => call.header("x-admin-key", ADMIN_KEY).header("x-admin-token", NEXT_ADMIN_KEY),
        9 => call.header("x-admin-key", ADMIN_KEY).header("x-admin-key", ADMIN_KEY),
        10 => call.bearer(ADMIN_KEY),
        11 => call.bearer(&user_token("me@x.io")),
        12 => call.header("cookie", &format!("x-admin-key={ADMIN_KEY}")),
        13 => call.query("admin_key", ADMIN_KEY),
        _ => unreachable!("there are {ATTEMPTS} attempts"),
    }
}
const ATTEMPTS: usize = 14;

#[tokio::test]
async fn nothing_opens_without_the_key() {
    let world = World::verified().await;
    let victim = world.tenant("unadjusted", 3.0).await;
    let body = json!({"email": victim.email, "set": 1000, "prompt": "free words"});
    for (method, path) in OPERATOR_ONLY {
        for attempt in 0..ATTEMPTS {
            // An address of its own each, or a limit on wrong keys would answer in the key's place.
            let call = world.client().call(method.clone(), path);
            let call = if method == Method::GET { call } else { call.json(&body) };
            let reply = without_a_key(call, attempt).send().await;
            assert_eq!(reply.status, 401, "{method} {path}, attempt {attempt}: {reply:?}");
        }
    }
    assert_credits(victim.balance().await, 3.0, "the balance nobody may change");
}

#[tokio::test]
async fn both_keys_open_in_both_headers() {
    let client = World::verified().await.client();
    for key in [ADMIN_KEY, NEXT_ADMIN_KEY] {
        for header in ["x-admin-key", "x-admin-token"] {
            let body = client.get("/api/admin/ping").header(header, key).send().await.expect(200).json();
            assert_eq!(body.get("ok"), Some(&json!(true)));
        }
        let call = client.get("/api/admin/ping").header("x-admin-key", key);
        call.header("x-admin-token", key).send().await.expect(200);
    }
}

#[tokio::test]
async fn an_operator_acts_for_a_tenant_and_it_is_logged() {
    let world = World::verified().await;
    let tenant = world.tenant("acted-for", 6.0).await;
    let calls = [
        tenant.client.get("/api/credits").admin().claim(&tenant.email),
        tenant.client.get("/api/credits").admin().query("email", &tenant.email),
    ];
    for call in calls {
        let reply = call.send().await.expect(200);
        assert_credits(number(&reply.json(), "balance"), 6.0, "the tenant's balance");
        let line = log_line(world, reply.must_header("x-request-id")).await;
        assert_eq!(line.get("operator"), Some(&json!(true)), "{line}");
        assert_actor(&line, &tenant.email);
    }
    let body = json!({"email": tenant.email, "delta": 1});
    let adjusted = tenant.client.post("/api/credits/adjust").admin().json(&body).send().await.expect(200);
    let line = log_line(world, adjusted.must_header("x-request-id")).await;
    assert_eq!(line.get("operator"), Some(&json!(true)), "{line}");
    // The tenant itself is told by the same name, and is no operator; nobody has none.
    let own = tenant.get("/api/credits").send().await.expect(200);
    let own = log_line(world, own.must_header("x-request-id")).await;
    assert_eq!((own.get("operator"), own.get("actor")), (None, line.get("actor")), "{own}");
    assert_actor(&own, &tenant.email);
    let nobody = tenant.client.get("/healthz").send().await.expect(200);
    let nobody = log_line(world, nobody.must_header("x-request-id")).await;
    assert_eq!((nobody.get("operator"), nobody.get("actor")), (None, None), "{nobody}");
}

/// The one line that the log has of a request.
async fn log_line(world: &World, request_id: &str) -> Value {
    let bound = std::time::Duration::from_secs(5);
    http_tests::poll::eventually(bound, "the request is logged", || async {
        let log = world.stack.log().text();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(request_id)).collect();
        let [line] = lines.as_slice() else { return Err(lines.len()) };
        let line = line.find('{').and_then(|start| line.get(start..)).unwrap_or_default();
        Ok(serde_json::from_str(line).expect("a line of JSON"))
    })
    .await
}

fn assert_actor(line: &Value, email: &str) {
    let actor = text(line, "actor");
    let digits = actor.strip_prefix("t1-").unwrap_or_default();
    assert!(digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line}");
    assert!(!line.to_string().contains(email), "the log holds an address: {line}");
}

#[tokio::test]
async fn the_snapshot_shows_secrets_only_as_set_or_not() {
    let client = World::verified().await.client();
    let body = client.get("/api/admin/env-snapshot").admin().send().await.expect(200).json();
    assert_eq!(body.get("ok"), Some(&json!(true)));
    assert!(!text(&body, "at").is_empty() && !text(&body, "note").is_empty());
    assert_eq!(body.pointer("/vars/GROQ_MODEL"), Some(&json!(GROQ_MODEL)));
    for (group, name, expected) in [
        ("secrets", "PRIVATE_KEY_PEM", true),
        ("secrets", "GROQ_API_KEY", true),
        ("secrets", "ADMIN_API_KEY", true),
        ("secrets", "CARTESIA_API_KEY", true),
        ("secrets", "LOCAL_API_KEY", false),
        ("bindings", "AI", true),
        ("bindings", "KEYS", true),
    ] {
        let value = body.pointer(&format!("/{group}/{name}"));
        assert_eq!(value, Some(&json!(expected)), "{group}/{name}");
    }
    let all_booleans = |group: &str| {
        let members = body.get(group).and_then(Value::as_object);
        members.is_some_and(|members| members.values().all(Value::is_boolean))
    };
    assert!(all_booleans("secrets") && all_booleans("bindings"), "{body}");
}

#[tokio::test]
async fn the_ai_binding_answers() {
    let world = World::verified().await;
    let client = world.client();
    let bound = client.get("/api/ai/binding").send().await.expect(200).json();
    assert_eq!(bound, json!({"ai_bound": true}));
    let marker = http_tests::client::unique_marker();
    let call = client.post("/api/ai/test").admin();
    let body = call.json(&json!({"prompt": marker})).send().await.expect(200).json();
    assert_eq!(body.get("ok"), Some(&json!(true)));
    assert!(!text(&body, "model").is_empty() && !text(&body, "output").is_empty());
    assert_eq!(world.workers_ai.calls(&marker).len(), 1);
}

#[tokio::test]
async fn a_failing_ai_binding_is_told_without_its_words() {
    let world = World::verified().await;
    let marker = http_tests::client::unique_marker();
    world.workers_ai.script(&marker, [http_tests::provider_script::Behaviour::status(500)]);
    let call = world.client().post("/api/ai/test").admin().json(&json!({"prompt": marker}));
    let body = call.send().await.expect(500).json();
    assert_eq!(body.get("ok"), Some(&json!(false)));
    assert_eq!(text(&body, "error"), "ai_run_failed");
    assert!(!text(&body, "detail").is_empty());
}

#[tokio::test]
async fn an_operator_can_ask_for_a_guest_by_its_subject() {
    let world = World::verified().await;
    let token = world.client().post("/auth/guest").send().await.expect(200).json();
    let (_, claims) = http_tests::tokens::decoded(text(&token, "token"));
    let subject = text(&claims, "sub").to_owned();
    let body = json!({"email": subject, "set": 2.5});
    world.client().post("/api/credits/adjust").admin().json(&body).send().await.expect(200);
    let call = world.client().get("/api/credits").bearer(text(&token, "token"));
    assert_credits(number(&call.send().await.expect(200).json(), "balance"), 2.5, "the guest's balance");
    // Nobody else can name a guest.
    let call = world.client().get("/api/credits").user(&unique_email("peeper"));
    call.query("email", &subject).send().await.expect_error(400, "invalid_email");
}
