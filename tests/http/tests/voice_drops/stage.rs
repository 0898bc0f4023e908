//! The Worker on workerd, with one provider for all three stages of a turn.

use http_tests::client::Client;
use http_tests::voice_drops::{Account, Opened, Stage, Window};
use http_tests::voice_provider::VoiceProvider;
use http_tests::world::{Tenant, World, text};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SESSIONS: &str = "/api/voice/sessions";
/// More than every turn of a session can cost.
const CREDITS: f64 = 1_000.0;
const RESTART_BOUND: Duration = Duration::from_secs(60);
/// What a provider may take. Some wait at a gate for as long as their client is away.
const PATIENCE_MS: &str = "60000";
/// Longer than that.
const HOLDS_MS: &str = "90000";

pub struct OnWorkerd {
    provider: VoiceProvider,
    world: tokio::sync::Mutex<World>,
    address: SocketAddr,
    client: Client,
    window: Window,
    /// Whose each session is.
    tenants: Mutex<HashMap<String, Tenant>>,
}

impl OnWorkerd {
    pub async fn new(window: Window) -> Arc<Self> {
        let provider = VoiceProvider::start().await;
        let world = World::private(json!({
            "OPENAI_BASE": provider.base(),
            "PREFERRED_PROVIDER": "openai",
            "TTS_PROVIDERS": "openai=tts-1",
            "STT_PROVIDERS": "openai=whisper-1",
            // As in production: one whose connection breaks before it says anything is asked once more.
            "PROVIDER_RETRIES": "2",
            "FIRST_BYTE_TIMEOUT_MS": PATIENCE_MS,
            "ANSWER_TIMEOUT_MS": PATIENCE_MS,
            "IDLE_TIMEOUT_MS": PATIENCE_MS,
            "ASK_TIMEOUT_MS": PATIENCE_MS,
            "HOLD_TTL_MS": HOLDS_MS,
        }))
        .await;
        let client = world.client();
        let authority = client.url().trim_start_matches("http://").to_owned();
        Arc::new(Self {
            provider,
            world: tokio::sync::Mutex::new(world),
            address: authority.parse().expect("an address"),
            client,
            window,
            tenants: Mutex::default(),
        })
    }

    async fn tenant(&self) -> Tenant {
        let world = self.world.lock().await;
        world.tenant("voice", CREDITS).await
    }
}

impl Stage for OnWorkerd {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn provider(&self) -> &VoiceProvider {
        &self.provider
    }

    fn dies_whole(&self) -> bool {
        true
    }

    async fn open(&self) -> Opened {
        let tenant = self.tenant().await;
        let window_ms = u64::try_from(self.window.0.as_millis()).expect("a short window");
        let opened =
            tenant.post(SESSIONS).json(&json!({"window_ms": window_ms})).send().await.expect(201).json();
        let url = text(&opened, "url");
        let path = url.split_once(&self.address.to_string()).map_or(url, |(_, path)| path).to_owned();
        let session = text(&opened, "session").to_owned();
        let headers = vec![("cf-connecting-ip".to_owned(), tenant.client.address().to_owned())];
        self.tenants.lock().expect("the tenants").insert(session.clone(), tenant);
        Opened { session, ticket: text(&opened, "ticket").to_owned(), path, headers }
    }

    async fn kill(&self, _: &str) {
        let mut world = self.world.lock().await;
        world.stack.crash_workerd();
        world.stack.restarted(RESTART_BOUND).await;
        assert_eq!(world.client().url(), self.client.url(), "it came up somewhere else");
    }

    async fn account(&self, session: &str) -> Account {
        let tenant = self.tenants.lock().expect("the tenants").get(session).cloned();
        let tenant = tenant.expect("somebody's session");
        // A connection that was kept for the next request may be closed in the moment that it is used.
        let call = tenant.get(&format!("{SESSIONS}/{session}")).header("connection", "close");
        let shown = call.send().await.expect(200).json();
        let turns: Vec<Value> = shown["items"].as_array().cloned().unwrap_or_default();
        Account::read(&shown, &turns)
    }
}
