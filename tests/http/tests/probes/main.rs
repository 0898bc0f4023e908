//! The operator's probes (`ops/probes`), run as an operator runs them, against the release bundle on workerd.

mod twin;

use http_tests::artifacts;
use http_tests::json_service::JsonService;
use http_tests::vars::{ADMIN_KEY, APP_ORIGIN};
use http_tests::world::{Tenant, World};
use serde_json::json;
use std::process::Command;

/// Whose books the probes look at.
const PROBED: &str = "probe@example.com";

struct Ran {
    ok: bool,
    lines: Vec<String>,
}

impl Ran {
    fn begin_with(&self, mark: &str) -> Vec<&str> {
        self.lines.iter().filter_map(|line| line.strip_prefix(mark)).map(str::trim).collect()
    }
}

/// Runs a script of `ops/probes` while the runtime goes on with what the script asks of us.
async fn run(script: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(artifacts::repository_root().join("ops/probes").join(script));
    command.args(arguments).env_remove("ADMIN_API_KEY").env_remove("PROBE_WRITES");
    command.envs(variables.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output().expect("the script starts"));
    let output = output.await.expect("the script ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains(ADMIN_KEY), "the probes show the operator's key");
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert!(!lines.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    Ran { ok: output.status.success(), lines }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_deployment_passes_all_of_them() {
    let world = World::verified().await;
    let url = world.client().url().to_owned();
    let nobody = run("probe.sh", &[&url, APP_ORIGIN], &[]).await;
    assert!(nobody.ok, "{:#?}", nobody.lines);
    let operator = run("probe.sh", &[&url, APP_ORIGIN], &[("ADMIN_API_KEY", ADMIN_KEY)]).await;
    assert!(operator.ok && operator.lines.len() > nobody.lines.len(), "{:#?}", operator.lines);

    let tenant = Tenant { email: PROBED.to_owned(), client: world.client() };
    assert!(tenant.ledger().await.len() <= 1, "the probes changed something");
    tenant.set_balance(2.5).await;
    let writes = [("ADMIN_API_KEY", ADMIN_KEY), ("PROBE_WRITES", "1")];
    let writing = run("probe.sh", &[&url, APP_ORIGIN], &writes).await;
    assert!(writing.ok && writing.lines.len() > operator.lines.len(), "{:#?}", writing.lines);
    assert!((tenant.balance().await - 2.5).abs() < 1e-9, "what was given is taken back");
    for ran in [&nobody, &operator, &writing] {
        let said = [ran.begin_with("ok"), ran.begin_with("--")].concat();
        assert_eq!(said.len(), ran.lines.len(), "{:#?}", ran.lines);
    }
    // What is not built says so. A probe of what is built must not.
    let unbuilt = writing.begin_with("--");
    assert!(unbuilt.iter().all(|line| line.starts_with("cleanup")), "{unbuilt:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_fails() {
    let world = World::verified().await;
    let url = world.client().url().to_owned();
    // Another page than ours, and another key.
    let page = run("probe.sh", &[&url, "https://elsewhere.example"], &[]).await;
    assert!(!page.ok, "{:#?}", page.lines);
    assert_eq!(page.begin_with("FAILED").len(), 1, "{:#?}", page.lines);
    let key =
        run("probe.sh", &[&url, APP_ORIGIN], &[("ADMIN_API_KEY", "another-key-of-thirty-two-characters")])
            .await;
    assert!(!key.ok && key.begin_with("FAILED").len() >= 5, "{:#?}", key.lines);

    // A service that answers 404 to everything: nothing but its name, and what is the same there, passes.
    let service = JsonService::start().await;
    let stranger = run("probe.sh", &[service.origin()], &[("ADMIN_API_KEY", ADMIN_KEY)]).await;
    assert!(!stranger.ok && stranger.begin_with("FAILED").len() > 15, "{:#?}", stranger.lines);
    // Nobody.
    let gone = service.origin().to_owned();
    drop(service);
    let nobody = run("probe.sh", &[&gone], &[]).await;
    assert!(!nobody.ok && nobody.begin_with("FAILED").iter().any(|line| line.contains("no address")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_route_audit_says_what_the_deployment_answers() {
    let world = World::verified().await;
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().to_str().expect("text");
    let url = world.client().url().to_owned();
    let ran = run("route-audit.sh", &[&url, APP_ORIGIN, out], &[]).await;
    assert!(ran.ok, "{:#?}", ran.lines);
    let mut files = std::fs::read_dir(out).expect("the folder").flatten();
    let file = files.next().expect("one file");
    let name = file.file_name().into_string().expect("text");
    assert!(
        name.starts_with("api-route-audit-") && name.ends_with(".txt") && files.next().is_none(),
        "{name}"
    );
    let text = std::fs::read_to_string(file.path()).expect("text");
    for part in [
        "HTTP/1.1 204",
        &format!("access-control-allow-origin: {APP_ORIGIN}"),
        "{\"ai_bound\":true}",
        "\"kty\":\"RSA\"",
        "routes = [",
        "127.0.0.1 is 127.0.0.1",
        "name = \"cognomega-api\"",
        "== JWKS (first 120 chars) ==",
        "== Preflight headers ==",
        "== Change checklist (must-do when routes/DNS change) ==",
        "- [ ] Route verified in wrangler and Dashboard",
        "- [ ] Pages Functions not intercepting api host/path",
        "- [x] Preflight 204 output recorded",
        "- [x] `ai_bound: true` recorded",
        "- [x] JWKS 120-char head recorded",
        "- [ ] Proofs file committed under `/ops/proofs/`",
    ] {
        assert!(text.to_lowercase().contains(&part.to_lowercase()), "no {part} in\n{text}");
    }
    assert!(!text.contains("TENANT") && !text.contains("ADDRESS"), "a binding is no route:\n{text}");
    let wrong = JsonService::start().await;
    wrong.answers("/api/ai/binding", 500, json!({"ai_bound": false}));
    let out = tempfile::tempdir().expect("a folder");
    let ran =
        run("route-audit.sh", &[wrong.origin(), APP_ORIGIN, out.path().to_str().expect("text")], &[]).await;
    assert!(!ran.lines.iter().any(|line| line.starts_with("- [x]")), "{:#?}", ran.lines);
}
