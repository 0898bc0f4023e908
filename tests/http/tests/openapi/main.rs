//! Tries the API out by its own document: schemathesis makes requests of every operation, good and bad ones, as a
//! user, with an API key and as the operator, and compares each answer with what is documented.
//!
//! Ignored, because it needs Python's side: `make test-openapi`, or `make fuzz-openapi EXAMPLES=500` for longer.

use http_tests::artifacts;
use http_tests::client::unique_email;
use http_tests::vars;
use http_tests::world::{Tenant, World};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Requests of one operation that are made up at random, beside those that the document's examples and limits give.
const EXAMPLES: u32 = 8;
const SEED: u64 = 20_261_124;
/// Nobody asks so much that this is used up.
const CREDITS: f64 = 100_000.0;

/// How the document tells the operations of aliases from those of the routes themselves.
const ALIASES: &str = "_[2-9]$";

/// Who calls: a name, and the headers that prove it.
struct Caller {
    name: &'static str,
    /// Whether it tries aliases too. They lead to the same handlers, so one caller does.
    aliases: bool,
    headers: Vec<(&'static str, String)>,
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().filter(|text| !text.is_empty()).map(|text| text.parse().expect("a whole number"))
}

/// The virtual environment that `ops/setup/python-tools.sh` made.
fn environment() -> PathBuf {
    PathBuf::from(std::env::var("OPENAPI_TOOLS").expect("OPENAPI_TOOLS: run `make test-openapi`"))
}

async fn callers(tenant: &Tenant) -> Vec<Caller> {
    let body = json!({ "email": tenant.email, "ttl_s": 86_400 });
    let reply = tenant.client.post("/api/admin/tokens").admin().json(&body).send().await.expect(200);
    let token = text(&reply.json(), "token");
    let key = json!({ "name": "openapi" });
    let made = tenant.client.post("/api/keys").bearer(&token).json(&key).send().await.expect(200).json();
    let admin = ("X-Admin-Key", vars::ADMIN_KEY.to_owned());
    vec![
        Caller {
            name: "a user's token",
            aliases: true,
            headers: vec![("Authorization", format!("Bearer {token}"))],
        },
        Caller {
            name: "an API key",
            aliases: false,
            headers: vec![("Authorization", format!("Bearer {}", text(&made, "key")))],
        },
        Caller {
            name: "the operator's key",
            aliases: false,
            headers: vec![admin, ("X-User-Email", tenant.email.clone())],
        },
    ]
}

fn text(object: &Value, name: &str) -> String {
    object.get(name).and_then(Value::as_str).unwrap_or_else(|| panic!("no {name} in {object}")).to_owned()
}

/// Runs a program of the environment; its whole output when it failed.
fn run(program: &str, arguments: &[String]) -> Result<String, String> {
    let child = Command::new(environment().join("bin").join(program))
        .args(arguments)
        .current_dir(artifacts::repository_root().join("target"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let said =
        format!("{}{}", String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    if child.status.success() { Ok(said) } else { Err(said) }
}

fn try_out(url: &str, caller: &Caller, examples: u64, seed: u64) -> Result<String, String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi/schemathesis.toml");
    let mut arguments: Vec<String> =
        ["--config-file", &here.to_string_lossy(), "--no-color", "run"].map(str::to_owned).to_vec();
    arguments.push(format!("{url}/openapi.json"));
    arguments.extend(["--exclude-tag".to_owned(), "To come".to_owned()]);
    arguments.extend([
        "--max-examples".to_owned(),
        examples.to_string(),
        "--seed".to_owned(),
        seed.to_string(),
    ]);
    if !caller.aliases {
        arguments.extend(["--exclude-operation-id-regex".to_owned(), ALIASES.to_owned()]);
    }
    for (name, value) in &caller.headers {
        arguments.extend(["--header".to_owned(), format!("{name}: {value}")]);
    }
    run("st", &arguments)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs schemathesis: make test-openapi"]
async fn the_api_is_as_its_document_says() {
    let world = World::private(json!({ "GUEST_TOKENS_PER_MINUTE": "0" })).await;
    let tenant = Tenant { email: unique_email("openapi"), client: world.client() };
    tenant.set_balance(CREDITS).await;
    let url = world.client().url().to_owned();
    let document = tenant.client.get("/openapi.json").send().await.expect(200);
    let file = artifacts::repository_root().join("target/openapi.json");
    std::fs::write(&file, &document.body).expect("the document is written");
    let (examples, seed) = (number("EXAMPLES").unwrap_or(EXAMPLES.into()), number("SEED").unwrap_or(SEED));
    let mut failed = Vec::new();
    match run("openapi-spec-validator", &[file.to_string_lossy().into_owned()]) {
        Ok(said) => println!("{}", said.trim()),
        Err(said) => failed.push(said),
    }
    for caller in callers(&tenant).await {
        let started = Instant::now();
        let found = try_out(&url, &caller, examples, seed);
        let took: Duration = started.elapsed();
        let (good, said) = match found {
            Ok(said) => (true, said),
            Err(said) => (false, said),
        };
        println!("== {}, {examples} examples, seed {seed}, {:.0} s", caller.name, took.as_secs_f64());
        println!("{}", if good { summary(&said) } else { &said });
        if !good {
            failed.push(format!("{}: see above", caller.name));
        }
    }
    // Whatever was asked, no fault of ours is in the log, and the books are right.
    let log = world.stack.log().text();
    let faults: Vec<&str> = log.lines().filter(|line| line.contains("\"fault\"")).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    tenant.verified().await;
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The end of what schemathesis says: what was tested, and what was found.
fn summary(said: &str) -> &str {
    said.find("= SUMMARY =").and_then(|at| said.get(at..)).unwrap_or(said)
}
