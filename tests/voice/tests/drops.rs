//! The matrix of drops on the rules in process: all of it with `VOICE_DROPS=all`, else every point and a tenth.

use actors::voice::Settings;
use http_tests::voice_drops::{
    Account, Cell, Judged, Opened, Stage, Window, cells, every_point_and_a_tenth, random_runs, run, table,
};
use http_tests::voice_provider::VoiceProvider;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use voice_tests::server::Server;

const WINDOW: Window = Window(Duration::from_secs(8));
const AT_ONCE: usize = 32;

struct InProcess {
    provider: VoiceProvider,
    server: Server,
}

impl InProcess {
    async fn new() -> Arc<Self> {
        let provider = VoiceProvider::start().await;
        let window_ms = i64::try_from(WINDOW.0.as_millis()).expect("a short window");
        let settings = Settings { window_ms, ..Settings::default() };
        let server = Server::start(settings, provider.base()).await;
        Arc::new(Self { provider, server })
    }
}

impl Stage for InProcess {
    fn address(&self) -> SocketAddr {
        self.server.address()
    }

    fn provider(&self) -> &VoiceProvider {
        &self.provider
    }

    fn dies_whole(&self) -> bool {
        false
    }

    async fn open(&self) -> Opened {
        let opened = self.server.open();
        let text = |member: &str| opened[member].as_str().expect("a text").to_owned();
        Opened { session: text("session"), ticket: text("ticket"), path: text("url"), headers: Vec::new() }
    }

    async fn kill(&self, session: &str) {
        self.server.kill(session).await;
    }

    async fn account(&self, session: &str) -> Account {
        Account::read(&self.server.view(session).await, &self.server.turns(session).await)
    }
}

fn chosen() -> Vec<Cell> {
    let only = std::env::var("VOICE_DROPS").unwrap_or_default();
    match only.as_str() {
        "all" => cells(),
        "" => every_point_and_a_tenth(),
        name => cells().into_iter().filter(|cell| cell.name().contains(name)).collect(),
    }
}

fn assert_sound(judged: &[Judged]) {
    let wrong: Vec<String> = judged
        .iter()
        .filter(|one| !one.found.is_sound())
        .map(|one| format!("{}: {:#?}", one.name, one.found))
        .collect();
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), judged.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_drop_loses_doubles_or_charges_anything() {
    let judged = run(InProcess::new().await, WINDOW, chosen(), AT_ONCE).await;
    if let Ok(path) = std::env::var("VOICE_DROPS_REPORT") {
        std::fs::write(path, table("on the rules in process", WINDOW, &judged, &[])).expect("the report");
    }
    assert_sound(&judged);
}

/// Not part of every run: on a machine with five times the work that it can do, one of forty was turned away as
/// superseded though nobody else had the session. Why is not known yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "on demand: VOICE_SEEDS=40 cargo test -p voice-tests --test drops -- --include-ignored"]
async fn nor_do_drops_at_any_moment() {
    let seeds = std::env::var("VOICE_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(40);
    let judged = random_runs(InProcess::new().await, WINDOW, 0..seeds, AT_ONCE).await;
    assert_sound(&judged);
}
