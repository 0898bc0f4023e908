//! Official clients: Cartesia's hold its stand-in against what they expect (`cartesia.rs`), and OpenAI's this service.
//!
//! OpenAI's official clients, for Node and for Python, pointed at the Worker with an API key: what each of them does is
//! in `openai.mjs` and `openai_sdk.py`, step by step; here stands what the providers answer and what was charged.
//!
//! Ignored, because it needs their packages: `make test-sdk`. SDK_REPORT names a file for what was seen.

mod cartesia;

use bytes::Bytes;
use http_tests::artifacts;
use http_tests::poll::eventually;
use http_tests::provider_script::{Behaviour, Completion, Ending, Usage};
use http_tests::recording::wav;
use http_tests::world::{SETTLE_BOUND, Tenant, World, number, text};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Charged steps of a script, each a usage row: plain, streamed, aborted, two calls of a tool, a picture, the retried
/// one, the one with a key that is sent twice, embeddings, speech twice, and three transcripts.
const CHARGED: usize = 14;

struct Client {
    name: &'static str,
    program: PathBuf,
    script: &'static str,
}

impl Client {
    /// Runs its script to the end with these variables: what it said.
    fn run(&self, variables: &[(&str, &OsStr)]) -> String {
        let script = artifacts::repository_root().join("tests/http/tests/sdk").join(self.script);
        let done = Command::new(&self.program)
            .arg(script)
            .envs(variables.iter().copied())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        let said =
            format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{} failed:\n{said}", self.name);
        said
    }
}

/// A script for Node and one for Python.
fn clients(node: &'static str, python: &'static str) -> [Client; 2] {
    let root = artifacts::repository_root();
    let tools = std::env::var("SDK_TOOLS").expect("SDK_TOOLS: run `make test-sdk`");
    [
        Client { name: "Node", program: root.join("node_modules/.bin/node"), script: node },
        Client { name: "Python", program: PathBuf::from(tools).join("bin/python"), script: python },
    ]
}

/// What the providers answer to the steps of both scripts.
fn script(world: &World) {
    let call = json!({"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Paris\"}"}});
    let message = json!({"role": "assistant", "content": null, "tool_calls": [call]});
    let tools = json!({
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 40, "completion_tokens": 12, "total_tokens": 52},
    });
    world.groq.script("sdk-plain", [Behaviour::answer("The sky is blue.", Usage::new(52, 192))]);
    let words = Completion::numbered(5, Duration::from_millis(20)).usage(Usage::new(20, 10));
    world.groq.script("sdk-stream", [Behaviour::Complete(words)]);
    world
        .groq
        .script("sdk-abort", [Behaviour::Complete(Completion::numbered(2_000, Duration::from_millis(20)))]);
    world.groq.script("sdk-tools-whole", [Behaviour::page(200, "application/json", tools.to_string())]);
    let pieces = vec![
        "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"tool_calls\":[{\"index\":0,\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"weather\",\"arguments\":\"\"}}]},\"finish_reason\":null}]}\n\n",
        "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"city\\\":\"}}]},\"finish_reason\":null}]}\n\n",
        "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"\\\"Paris\\\"}\"}}]},\"finish_reason\":null}]}\n\n",
        "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n",
    ];
    world.groq.script("sdk-tools-stream", [Behaviour::RawEvents { pieces, gap: Duration::ZERO }]);
    let sound: Vec<Bytes> = (0..10_u8).map(|n| Bytes::from(vec![n; 1_000])).collect();
    let gap = Duration::from_millis(10);
    let speech = Behaviour::Sound { content_type: "audio/mpeg", pieces: sound, gap, ending: Ending::Proper };
    world.openai.script("sdk-speech", [speech]);
    let heard = json!({
        "task": "transcribe", "language": "english", "duration": 1.5, "text": "What was said.",
        "segments": [{"id": 0, "start": 0.0, "end": 1.5, "text": " What was said."}],
        "usage": {"type": "duration", "seconds": 2},
    });
    world.openai.script("sdk-json", [Behaviour::page(200, "application/json", heard.to_string())]);
    world.openai.script("sdk-verbose", [Behaviour::page(200, "application/json", heard.to_string())]);
    world.openai.script("sdk-text", [Behaviour::page(200, "text/plain", "What was said.\n")]);
    world.groq.script("sdk-picture", [Behaviour::answer("{\"seen\":\"a cat\"}", Usage::new(300, 8))]);
}

/// Fails once at every provider, then answers; anew for each client.
fn script_retry(world: &World) {
    for provider in world.providers() {
        provider
            .script("sdk-retry", [Behaviour::status(500), Behaviour::answer("At last.", Usage::new(9, 3))]);
    }
}

async fn key_of(tenant: &Tenant) -> String {
    let made = tenant.post("/api/keys").json(&json!({"name": "sdk"})).send().await.expect(200).json();
    text(&made, "key").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the clients' packages: make test-sdk"]
async fn official_clients_do_what_they_do_with_openai() {
    let world = World::verified().await;
    script(world);
    let mut report = String::new();
    for client in clients("openai.mjs", "openai_sdk.py") {
        script_retry(world);
        let rich = world.tenant("sdk", 20.0).await;
        let poor = world.tenant("sdk-poor", 0.0).await;
        let slow = world.tenant("sdk-slow", 1.0).await;
        slow.put_limits(json!({"limits": {"requests_per_minute": 2, "requests_burst": 2}})).await.expect(200);
        let said = run(world, &client, [key_of(&rich).await, key_of(&poor).await, key_of(&slow).await]);
        report.push_str(&format!("## {}\n\n```\n{said}```\n\n", client.name));
        let rows = rich.usage_of(CHARGED).await;
        report.push_str(&table(&rows));
        let charged: f64 = rows.iter().map(|row| number(row, "cost_credits")).sum();
        let balance = rich.settled_balance().await;
        assert!((20.0 - charged - balance).abs() < 1e-9, "{charged} charged, {balance} left");
        rich.verified().await;
        let outcomes = rows.iter().filter(|row| text(&row["meta"], "outcome") == "client_gone").count();
        assert_eq!(outcomes, 1, "the aborted stream alone: {rows:?}");
        eventually(SETTLE_BOUND, "the provider of the aborted stream was told", || async {
            let calls = world.groq.calls("sdk-abort");
            if calls.iter().all(|call| call.abandoned()) { Ok(()) } else { Err(calls.len()) }
        })
        .await;
    }
    println!("{report}");
    if let Some(file) = std::env::var("SDK_REPORT").ok().filter(|file| !file.is_empty()) {
        std::fs::write(&file, head() + &report).expect("the report is written");
    }
}

fn head() -> String {
    "# OpenAI's official clients\n\nWritten by `make test-sdk SDK_REPORT=…`: what each client saw with an API key of this \
     service, and what its tenant was charged, row by row.\n\n"
        .to_owned()
}

fn table(rows: &[Value]) -> String {
    let mut table = "| outcome | basis | tokens in | out | credits |\n|---|---|---|---|---|\n".to_owned();
    for row in rows.iter().rev() {
        let (outcome, basis) = (text(&row["meta"], "outcome"), text(&row["meta"], "basis"));
        let (tokens_in, tokens_out) = (&row["tokens_in"], &row["tokens_out"]);
        table.push_str(&format!(
            "| {outcome} | {basis} | {tokens_in} | {tokens_out} | {} |\n",
            row["cost_credits"]
        ));
    }
    table + "\n"
}

fn run(world: &World, client: &Client, [key, poor, slow]: [String; 3]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let recording = folder.path().join("talk.wav");
    std::fs::write(&recording, wav(1_500)).expect("the recording is written");
    client.run(&[
        ("BASE_URL", OsStr::new(&format!("{}/v1", world.client().url()))),
        ("API_KEY", OsStr::new(&key)),
        ("POOR_KEY", OsStr::new(&poor)),
        ("SLOW_KEY", OsStr::new(&slow)),
        ("RECORDING", recording.as_os_str()),
    ])
}
