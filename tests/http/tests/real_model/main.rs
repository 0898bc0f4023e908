//! End to end with the real local model: the whole way a newcomer walks, no part of it scripted.

use http_tests::artifacts::repository_root;
use http_tests::stack::Stack;
use http_tests::vars::{LOCAL_MODEL, ProviderBases, Vars};
use http_tests::world::{Tenant, assert_credits, number, text};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// The engine that `make dev` starts. It ends when its stdin closes, so dropping it leaves no process.
struct Engine {
    process: Child,
    base: String,
}

impl Engine {
    fn start() -> Self {
        let mut process = Command::new("node_modules/.bin/node")
            .current_dir(repository_root())
            .args(["ops/engines/llm/server.mjs", "--port", "0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let stdout = process.stdout.take().expect("stdout is piped");
        let ready = BufReader::new(stdout).lines().map_while(Result::ok).find_map(|line| {
            let line: Value = serde_json::from_str(&line).ok()?;
            line.get("url").and_then(Value::as_str).map(str::to_owned)
        });
        let base = ready.expect("the model is ready: run make test, which sets it up");
        Self { process, base }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_real_model_answers_and_is_paid_for() {
    let engine = Engine::start();
    let bases = ProviderBases {
        groq: engine.base.clone(),
        openai: engine.base.clone(),
        local: engine.base.clone(),
        cartesia: engine.base.clone(),
    };
    let changes = json!({ "PREFERRED_PROVIDER": "local,cfai", "FIRST_BYTE_TIMEOUT_MS": "60000", "ANSWER_TIMEOUT_MS": "60000",
        "IDLE_TIMEOUT_MS": "60000", "ASK_TIMEOUT_MS": "110000", "HOLD_TTL_MS": "120000" });
    let stack = Stack::start(&Vars::base(&bases).with(changes), &engine.base);
    let tenant = Tenant { email: "newcomer@example.com".to_owned(), client: stack.client() };
    tenant.set_balance(1.0).await;

    let question = json!({ "input": "What is the capital of France?", "max_tokens": 40 });
    let reply = tenant.ask(&question).send().await.expect(200);
    let content = reply.json().pointer("/result/content").cloned();
    assert!(
        content.as_ref().and_then(Value::as_str).is_some_and(|text| text.contains("Paris")),
        "{content:?}"
    );
    assert_eq!(reply.header("x-provider"), Some("local"));
    assert_eq!(reply.header("x-model"), Some(LOCAL_MODEL));

    let item = tenant.usage_of(1).await.remove(0);
    let tokens = number(&item, "tokens_in") + number(&item, "tokens_out");
    assert!(number(&item, "tokens_out") <= 40.0, "{item}");
    assert_eq!(text(&item["meta"], "basis"), "reported");
    let charge = (tokens * 0.05).round() / 1_000.0;
    assert_credits(number(&item, "cost_credits"), charge, "the charge");
    assert_credits(tenant.settled_balance().await, 1.0 - charge, "the balance");

    // The same model through the Workers AI binding, unmetered, as the operator's probe asks it.
    let probe = tenant.client.post("/api/ai/test").admin().json(&json!({ "prompt": "Say hello." }));
    let probe = probe.send().await.expect(200).json();
    assert!(!text(&probe, "output").is_empty(), "{probe}");
}

#[tokio::test]
async fn a_real_stream_is_counted_by_the_model() {
    let engine = Engine::start();
    let bases = ProviderBases {
        groq: engine.base.clone(),
        openai: engine.base.clone(),
        local: engine.base.clone(),
        cartesia: engine.base.clone(),
    };
    // The Workers AI binding: another wire format, the same model behind it.
    let changes = json!({ "PREFERRED_PROVIDER": "cfai", "FIRST_BYTE_TIMEOUT_MS": "60000", "ANSWER_TIMEOUT_MS": "60000",
        "IDLE_TIMEOUT_MS": "60000", "ASK_TIMEOUT_MS": "110000", "HOLD_TTL_MS": "120000" });
    let stack = Stack::start(&Vars::base(&bases).with(changes), &engine.base);
    let tenant = Tenant { email: "listener@example.com".to_owned(), client: stack.client() };
    tenant.set_balance(1.0).await;
    let question = json!({ "input": "Count from one to five.", "max_tokens": 40 });
    let reply = tenant.ask(&question).header("accept", "text/event-stream").send().await.expect(200);
    let lines = reply.text();
    let pieces = lines.lines().filter(|line| line.starts_with("data:")).count();
    assert!(pieces > 3, "the answer came in one piece: {lines}");
    assert!(lines.contains(": done"), "{lines}");
    let item = tenant.usage_of(1).await.remove(0);
    assert_eq!(text(&item["meta"], "basis"), "reported");
    assert_eq!(text(&item["meta"], "provider"), "cfai");
}
