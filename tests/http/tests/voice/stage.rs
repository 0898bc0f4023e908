//! A stack whose providers hear, think and speak, and what every test of voice does with it.

use http_tests::client::Reply;
use http_tests::poll::eventually;
use http_tests::vars::APP_ORIGIN;
use http_tests::voice_client::{Dial, Manner, VoiceClient, Waited};
use http_tests::voice_provider::{self as provider, VoiceProvider};
use http_tests::voice_wire::PROTOCOL;
use http_tests::web_socket::{Socket, SocketCall};
use http_tests::world::{SETTLE_BOUND, Tenant, World, text};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

pub const SESSIONS: &str = "/api/voice/sessions";
/// Samples a second, and bytes of a frame of 100 ms.
pub const RATE_HZ: usize = 24_000;
pub const FRAME_BYTES: usize = RATE_HZ / 10 * 2;

pub struct Stage {
    pub world: World,
    pub provider: VoiceProvider,
}

/// What is different from the base variables: one provider of all three stages, and prices that can be told apart.
pub fn vars(provider: &VoiceProvider) -> Value {
    let prices = json!({
        "gpt-4o-mini": 0.1,
        "whisper-1": {"per_minute": 0.6},
        "tts-1": {"per_1k_characters": 1.0},
        "voice-session": {"per_minute": 0.06},
    });
    json!({
        "OPENAI_BASE": provider.base(),
        "PREFERRED_PROVIDER": "openai",
        "TTS_PROVIDERS": "openai=tts-1",
        "STT_PROVIDERS": "openai=whisper-1",
        "MODEL_PRICES": prices.to_string(),
    })
}

impl Stage {
    /// The one that all tests of this binary share.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Stage> = OnceCell::const_new();
        SHARED
            .get_or_init(|| async {
                let provider = VoiceProvider::start().await;
                Self { world: World::lasting(vars(&provider)).await, provider }
            })
            .await
    }

    /// One of the test's own, with `changes` over those variables.
    pub async fn private(changes: Value) -> Self {
        let provider = VoiceProvider::start().await;
        let mut all = vars(&provider);
        if let (Some(all), Value::Object(changes)) = (all.as_object_mut(), changes) {
            all.extend(changes);
        }
        Self { world: World::private(all).await, provider }
    }
}

/// Opens a session as our page does.
pub async fn try_open(tenant: &Tenant, body: &Value) -> Reply {
    tenant.post(SESSIONS).header("origin", APP_ORIGIN).json(body).send().await
}

pub async fn open(tenant: &Tenant, body: &Value) -> Value {
    try_open(tenant, body).await.expect(201).json()
}

pub fn path(session: &str) -> String {
    format!("{SESSIONS}/{session}")
}

pub fn ws(session: &str) -> String {
    format!("{SESSIONS}/{session}/ws")
}

/// A client of a session that was opened.
pub fn client(tenant: &Tenant, opened: &Value, seed: u64) -> VoiceClient {
    let host = tenant.client.url().trim_start_matches("http://").to_owned();
    let session = text(opened, "session").to_owned();
    let dial = Dial {
        address: host.parse().expect("an address"),
        host,
        path: ws(&session),
        session,
        ticket: text(opened, "ticket").to_owned(),
        headers: vec![
            ("origin".to_owned(), APP_ORIGIN.to_owned()),
            ("cf-connecting-ip".to_owned(), tenant.client.address().to_owned()),
        ],
    };
    VoiceClient::new(dial, Manner::quick(seed))
}

/// A client that is welcome in a new session.
pub async fn welcome(tenant: &Tenant, body: &Value, seed: u64) -> VoiceClient {
    let opened = open(tenant, body).await;
    let mut client = client(tenant, &opened, seed);
    assert_eq!(client.until_client("the welcome", VoiceClient::is_live).await, Waited::Holds);
    client
}

/// An utterance of so many frames, which no other seed has.
pub fn utterance(seed: usize, frames: usize) -> Vec<u8> {
    let byte = |at: usize| u8::try_from((at * 7 + seed * 31 + at / 251) % 256).expect("a byte");
    (0..frames * FRAME_BYTES).map(byte).collect()
}

/// Says an utterance and ends it; its mark.
pub async fn speak(client: &mut VoiceClient, turn: &str, pcm: &[u8]) -> String {
    for frame in pcm.chunks(FRAME_BYTES) {
        assert!(client.speak(frame.to_vec()).await, "the client's buffer is full");
    }
    client.commit(turn).await;
    provider::mark_of(pcm)
}

/// All sound of the answer to a mark.
pub fn answer_pcm(mark: &str) -> Vec<u8> {
    provider::sentences(mark).iter().flat_map(|sentence| provider::sound(sentence)).collect()
}

/// Goes on until the turn is over and all of it is acknowledged.
pub async fn finished(client: &mut VoiceClient, turn: &str) {
    let name = turn.to_owned();
    let over = client.until_client("the turn ends", |c| c.heard.has_ended(&name) && c.is_even()).await;
    assert_eq!(over, Waited::Holds, "{:?}", client.heard);
}

/// The session as its tenant can read it.
pub async fn shown(tenant: &Tenant, session: &str) -> Value {
    tenant.get(&path(session)).send().await.expect(200).json()
}

/// The same once so many turns were charged and nothing of them is held.
pub async fn settled(tenant: &Tenant, session: &str, turns: usize) -> Value {
    eventually(SETTLE_BOUND, "the turns are settled", || async {
        let shown = shown(tenant, session).await;
        let items = shown["items"].as_array().expect("items");
        let used = items.iter().filter(|turn| !turn["used"].is_null()).count();
        if used == turns { Ok(shown) } else { Err(shown) }
    })
    .await
}

/// A socket that speaks the protocol, without a client around it.
pub fn raw(tenant: &Tenant, session: &str) -> SocketCall {
    SocketCall::new(&tenant.client, &ws(session)).origin(APP_ORIGIN)
}

pub async fn by_ticket(tenant: &Tenant, opened: &Value) -> (Socket, Value) {
    let mut socket =
        raw(tenant, text(opened, "session")).ticket(PROTOCOL, text(opened, "ticket")).open().await;
    let welcome = socket.json().await;
    assert_eq!(text(&welcome, "type"), "welcome", "{welcome}");
    (socket, welcome)
}

/// A socket without a ticket, and what is answered to its first message.
pub async fn resumes(tenant: &Tenant, session: &str, token: &str, last_down: u32) -> (Socket, Value) {
    let mut socket = raw(tenant, session).protocols(PROTOCOL).open().await;
    socket.send_json(&http_tests::voice_wire::resume(session, token, last_down, 1)).await;
    let answer = socket.json().await;
    (socket, answer)
}
