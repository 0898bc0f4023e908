//! Canaries: every secret, of the configuration and of those who call, has a value that can be recognised. After a broad
//! run it is in no log line, and in no reply but the one that is there to show it.

use crate::log_lines;
use http_tests::client::{Call, Client, Reply, unique_email};
use http_tests::json_service::JsonService;
use http_tests::keys;
use http_tests::poll::eventually;
use http_tests::provider_script::{Behaviour, Completion, Ending, Usage};
use http_tests::tokens::{honest_header, signed, unsigned, user_claims, user_token};
use http_tests::vars::{ADMIN_KEY, GROQ_KEY, OPENAI_KEY};
use http_tests::web_socket::{SocketCall, refusable};
use http_tests::webhook_receiver::{Answer, WebhookReceiver};
use http_tests::world::{World, text};
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Mutex;
use std::time::Duration;

const LOCAL_KEY: &str = "local-canary-6a5b4c3d2e1f0a9b8c7d6e5f4a3b2c1d";
const TURNSTILE_SECRET: &str = "turnstile-canary-1d2c3b4a5f6e7d8c9b0a1f2e3d4c5b6a";
const JUDGE: &str = "/siteverify";
const BOUND: Duration = Duration::from_secs(10);

/// What was sent, and all that came back.
struct Run {
    client: Client,
    email: String,
    /// Name and text of what those who call keep secret.
    secrets: Mutex<Vec<(String, String)>>,
    replies: Mutex<Vec<String>>,
}

impl Run {
    fn secret(&self, name: &str, text: impl Into<String>) -> String {
        let text = text.into();
        assert!(text.len() >= 12, "{name} would be found everywhere");
        self.secrets.lock().expect("the secrets").push((name.to_owned(), text.clone()));
        text
    }

    /// A prompt that nobody but its model may see.
    fn prompt(&self) -> String {
        self.secret("a prompt", format!("prompt-canary-{}", uuid::Uuid::new_v4().simple()))
    }

    fn note(&self, reply: &Reply) {
        let whole = format!("{:?} {}", reply.headers, reply.text());
        self.replies.lock().expect("the replies").push(whole);
    }

    /// Sends, and keeps the reply for the search. The harness itself searches it for secrets of the configuration.
    async fn send(&self, call: Call) -> Reply {
        let reply = call.send().await;
        self.note(&reply);
        reply
    }

    /// The reply that shows a secret this once: searched for no more than those of the configuration.
    async fn shown(&self, name: &str, call: Call, member: &str) -> String {
        let reply = call.send().await;
        assert!(matches!(reply.status, 200 | 201), "{name} is not shown: {reply:?}");
        let body = reply.json();
        let found = body.pointer(member).and_then(Value::as_str);
        self.secret(name, found.unwrap_or_else(|| panic!("no {member} in {body}")))
    }

    fn mine(&self, method: Method, path: &str) -> Call {
        self.client.call(method, path).user(&self.email)
    }
}

#[tokio::test]
async fn no_secret_is_in_a_log_line_or_in_a_reply_that_is_not_there_to_show_it() {
    let judge = JsonService::start().await;
    judge.answers(JUDGE, 200, json!({"success": true, "hostname": "app.cognomega.com"}));
    let world = World::private(json!({
        "LOG_LEVEL": "debug",
        "LOCAL_API_KEY": LOCAL_KEY,
        "TURNSTILE_SECRET": TURNSTILE_SECRET,
        "TURNSTILE_VERIFY_URL": format!("{}{JUDGE}", judge.origin()),
    }))
    .await;
    let tenant = world.tenant("canary-of-an-address", 20.0).await;
    let run = Run {
        client: world.client(),
        email: tenant.email.clone(),
        secrets: Mutex::default(),
        replies: Mutex::default(),
    };
    run.secret("a user's token", user_token(&run.email));
    good(&run).await;
    hostile_providers(&run, &world).await;
    bad(&run).await;
    webhook(&run).await;
    sockets(&run).await;
    let lines = eventually(BOUND, "the last lines are written", || async {
        let lines = log_lines::lines(&world);
        let requests = lines.iter().filter(|line| text(line, "event") == "request").count();
        let replies = run.replies.lock().expect("the replies").len();
        if requests >= replies { Ok(lines) } else { Err((requests, replies)) }
    })
    .await;
    log_lines::assert_fields(&lines);
    searched(&run, &world);
}

fn searched(run: &Run, world: &World) {
    world.stack.log().assert_no_secret();
    let log = world.stack.log().text();
    let replies = run.replies.lock().expect("the replies");
    assert!(replies.len() > 40 && log.lines().count() > 60, "too little to search");
    for (name, secret) in run.secrets.lock().expect("the secrets").iter() {
        assert!(!log.contains(secret.as_str()), "{name} is in the log");
        let found = replies.iter().find(|reply| reply.contains(secret.as_str()));
        assert!(found.is_none(), "{name} is in a reply: {found:?}");
    }
    // An address is told to its own tenant, and to no log.
    assert!(!log.contains(&run.email), "the address is in the log");
    assert!(!log.contains("@x.io"), "an address is in the log");
}

/// What works: tokens, keys, asks whole and streamed, credits, usage.
async fn good(run: &Run) {
    let solved = run.secret("a solved challenge", "turnstile-answer-canary-77");
    let guest = run.client.post("/auth/guest").json(&json!({"turnstile_token": solved}));
    let guest = run.shown("a guest's token", guest, "/token").await;
    let minted = run.client.post("/api/admin/tokens").admin().json(&json!({"email": run.email}));
    let minted = run.shown("a minted token", minted, "/token").await;
    let key = run.mine(Method::POST, "/api/keys").json(&json!({"name": "canary"}));
    let key = run.shown("an API key", key, "/key").await;
    for proof in [guest, minted, key] {
        run.send(run.client.get("/api/credits").bearer(&proof)).await.expect(200);
        let shaped = format!(r#"Bearer {{"token":"{proof}","exp":1}}"#);
        run.send(run.client.get("/usage").header("authorization", &shaped)).await.expect(200);
        let ask = run.client.post("/api/si/ask").bearer(&proof).json(&json!({"input": run.prompt()}));
        run.send(ask).await.expect(200);
    }
    for _ in 0..2 {
        let key = run.secret("an idempotency key", "idempotency-canary-4b5a6978");
        let ask = run.mine(Method::POST, "/si/ask").idempotency_key(&key).json(&json!({"input": "the same"}));
        run.send(ask).await.expect(200);
    }
    let body = json!({"input": run.prompt(), "system": run.prompt()});
    let stream = run.mine(Method::POST, "/si/ask").json(&body).open().await.expect_stream().await;
    let transcript = format!("{:?}", stream.drain().await);
    run.replies.lock().expect("the replies").push(transcript);
    for path in ["/api/credits/ledger", "/api/credits/holds", "/api/credits/limits", "/api/keys", "/usage"] {
        run.send(run.mine(Method::GET, path)).await.expect(200);
    }
    for path in [
        "/ready",
        "/api/admin/providers",
        "/api/admin/env-snapshot",
        "/api/admin/ping",
        "/.well-known/jwks.json",
    ] {
        run.send(run.client.get(path).admin()).await.expect(200);
    }
    run.send(run.client.post("/api/ai/test").admin().json(&json!({"prompt": run.prompt()})))
        .await
        .expect(200);
}

/// Providers that send back what they were sent, in every way there is.
async fn hostile_providers(run: &Run, world: &World) {
    for stream in [false, true] {
        let prompt = run.prompt();
        let told = format!("you sent {GROQ_KEY} {OPENAI_KEY} {LOCAL_KEY} and {prompt}");
        let error = json!({"error": {"message": told}}).to_string();
        world.groq.script(&prompt, [Behaviour::page(500, "application/json", error)]);
        world.workers_ai.script(&prompt, [Behaviour::page(200, "text/html", told.clone())]);
        world.openai.script(&prompt, [Behaviour::page(200, "application/json", told.clone())]);
        let to = format!("{}/?key={OPENAI_KEY}&prompt={prompt}", world.local.origin());
        world.local.script(&prompt, [Behaviour::Redirect { status: 302, to }]);
        let ask = run.mine(Method::POST, "/api/si/ask").json(&json!({"input": prompt}));
        let reply = if stream { ask.open().await.into_reply().await } else { ask.send().await };
        run.note(&reply);
        reply.expect_error(502, "si_ask_failed");
    }
    // Broken in the middle, and a stream that its provider ends with an error.
    let prompt = run.prompt();
    let half = Completion::of(&["half"]).usage(Usage::new(1, 1)).ending(Ending::Broken);
    world.groq.script(&prompt, [Behaviour::Complete(half)]);
    let ask = run.mine(Method::POST, "/api/si/ask").json(&json!({"input": prompt}));
    let stream = ask.open().await.expect_stream().await.drain().await;
    run.replies.lock().expect("the replies").push(format!("{stream:?}"));
}

/// What is refused, at every stage of a request, with secrets in every place that one can be in.
async fn bad(run: &Run) {
    let client = &run.client;
    let near = run.secret("a near miss of an admin key", format!("{ADMIN_KEY}x"));
    let stranger = run.secret("a stranger's address", unique_email("stranger-canary"));
    let forged =
        run.secret("a forged token", signed(&honest_header(), &user_claims(&stranger), keys::foreign()));
    let nobody = run
        .secret("an unsigned token", format!("{}.AAAA", unsigned(&honest_header(), &user_claims(&stranger))));
    let guessed = run.secret("a guessed API key", format!("cog_{}", "canary_".repeat(13)));
    let prompt = run.prompt();
    let calls = vec![
        client.get("/api/admin/ping").header("x-admin-key", &near),
        client.get("/api/credits").claim(&stranger),
        client.get("/api/credits").query("email", &stranger),
        run.mine(Method::GET, "/api/credits").claim(&stranger),
        client.get("/api/credits").bearer(&forged),
        client.get("/api/credits").bearer(&nobody),
        client.get("/api/credits").bearer(&guessed),
        client.get("/api/credits").header("cookie", &format!("cog_auth_jwt={forged}")),
        client
            .post("/si/ask")
            .header("cookie", &format!("cog_auth_jwt={forged}"))
            .header("origin", "https://evil.io"),
        client.get(&format!("/{forged}/{prompt}")),
        client.get(&format!("/api/keys/{guessed}?email={stranger}")),
        client.call(Method::DELETE, &format!("/api/keys/{guessed}")).user(&run.email),
        run.mine(Method::POST, "/si/ask").raw_json(format!(r#"{{"input":"{prompt}"#)),
        run.mine(Method::POST, "/si/ask")
            .json(&json!({"input": {"deep": prompt}, "skill": prompt, "max_tokens": prompt})),
        run.mine(Method::POST, "/si/ask")
            .json(&json!({"input": prompt}))
            .header("x-intelligence-tier", &forged),
        run.mine(Method::POST, "/si/ask").typed_body("text/plain", prompt.clone()),
        run.mine(Method::POST, "/si/ask").raw_json(format!("{prompt}{}", "x".repeat(1_100_000))),
        run.mine(Method::POST, "/si/ask")
            .idempotency_key(&format!("two words {prompt}"))
            .json(&json!({"input": "x"})),
        run.mine(Method::GET, &format!("/usage?cursor={prompt}&since={prompt}&limit={prompt}")),
        client.get(&format!("/healthz?{}", prompt.repeat(300))),
        client.get("/healthz").header("cookie", &prompt.repeat(1_000)),
        client.get("/healthz").header("cf-ray", &format!("{prompt} {stranger}")),
        client.post("/api/credits/adjust").admin().json(&json!({"email": prompt, "set": 1})),
        client.post("/api/credits/adjust").admin().json(&json!({"email": run.email, "set": prompt})),
        client.post("/auth/exchange").json(&json!({"id_token": forged})),
        client.post("/auth/guest").json(&json!({"turnstile_token": 7, "x": prompt})),
        client
            .call(Method::PUT, "/api/credits/limits")
            .admin()
            .json(&json!({"email": run.email, "plan": prompt})),
        client.post("/api/jobs").bearer(&forged).json(&json!({"params": {"input": prompt}})),
    ];
    for call in calls {
        let reply = run.send(call).await;
        assert!(reply.status >= 200, "{reply:?}");
    }
    let poor = run.secret("a poor one's prompt", format!("poor-canary-{}", uuid::Uuid::new_v4().simple()));
    let ask = client.post("/si/ask").user(&unique_email("poor")).json(&json!({"input": poor}));
    run.send(ask).await.expect_error(402, "insufficient_credits");
}

/// Tickets: used, used again, from elsewhere, in the wrong places; and what comes over a socket.
async fn sockets(run: &Run) {
    let mint = || run.mine(Method::POST, "/api/tickets").json(&json!({"purpose": "events"}));
    let used = run.shown("a used ticket", mint(), "/ticket").await;
    let kept = run.shown("a ticket nobody used", mint(), "/ticket").await;
    let open = SocketCall::new(&run.client, "/api/events").ticket("cog.events.v1", &used);
    let mut socket = open.open().await;
    run.send(run.mine(Method::POST, "/si/ask").json(&json!({"input": run.prompt()}))).await.expect(200);
    let mut heard = format!("{:?}", socket.headers);
    for _ in 0..3 {
        heard.push_str(&socket.text().await);
    }
    let prompt = run.prompt();
    socket.send(&prompt).await;
    heard.push_str(&socket.text().await);
    run.replies.lock().expect("the replies").push(heard);
    let show = |ticket: &str, path: &str| {
        let protocols = format!("cog.events.v1, cog.ticket.{ticket}");
        refusable(&run.client, path).header("sec-websocket-protocol", &protocols)
    };
    let broken = &kept[1..];
    for call in [
        show(&used, "/api/events"),
        show(&kept, "/api/events").header("origin", "https://evil.io"),
        show(&kept, "/api/events").header("origin", "https://app.cognomega.com"),
        show(&kept, &format!("/api/events?after={kept}")),
        show(broken, "/api/events"),
        run.client.get(&format!("/api/events?ticket={kept}")),
        run.client.get(&format!("/api/{kept}")),
        run.client.get("/api/credits").bearer(&kept),
        run.mine(Method::POST, "/api/tickets").json(&json!({"purpose": kept})),
    ] {
        assert!(run.send(call).await.status >= 400);
    }
}

/// A webhook's address and secret, with deliveries that fail.
async fn webhook(run: &Run) {
    let receiver = WebhookReceiver::start([Answer::Status(500)]).await;
    let url = format!("{}/webhook-path-canary", receiver.url());
    run.secret("a webhook's path", "webhook-path-canary");
    let settings = json!({"email": run.email, "webhook": {"url": url}, "low_balance": 1_000});
    let call = run.client.call(Method::PUT, "/api/credits/limits").admin().json(&settings);
    let set = call.send().await.expect(200).json();
    let secret = set.get("webhook_secret").and_then(Value::as_str);
    let secret = secret.unwrap_or_else(|| panic!("no secret of the webhook in {set}"));
    run.secret("a webhook's secret", secret);
    let change = json!({"email": run.email, "delta": -1});
    run.send(run.client.post("/api/credits/adjust").admin().json(&change)).await.expect(200);
    run.send(run.mine(Method::POST, "/si/ask").json(&json!({"input": run.prompt()}))).await;
    eventually(BOUND, "a notice is sent", || async {
        let calls = receiver.calls().len();
        if calls > 0 { Ok(()) } else { Err(calls) }
    })
    .await;
    run.send(run.mine(Method::GET, "/api/credits/notices")).await.expect(200);
}
