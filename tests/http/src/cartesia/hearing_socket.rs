//! `/stt/websocket`: sound goes up, and at `finalize` its text comes down, in deltas.

use super::ledger::Entry;
use super::script::Trouble;
use super::sound;
use super::speech_socket::{error, pause, text};
use super::{Query, Shared, request_id};
use axum::body::Body;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query as Asked, State};
use axum::http::{HeaderMap, Response};
use futures::SinkExt as _;
use serde_json::json;

/// What it is asked with; it must be all of it.
#[derive(Clone)]
struct Terms {
    model: String,
    language: Option<String>,
    hz: u32,
    request_id: Option<String>,
}

const KNOWN: [&str; 11] = [
    "model",
    "encoding",
    "sample_rate",
    "language",
    "keyterm",
    "min_volume",
    "max_silence_duration_secs",
    "cartesia_version",
    "api_key",
    "access_token",
    "cartesia_client",
];
/// A message of sound that is longer than this is refused, in milliseconds.
const MESSAGE_MS_MAX: u64 = 1_000;

pub async fn open(
    State(shared): State<Shared>,
    Asked(query): Asked<Query>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response<Body> {
    if let Err(refusal) = shared.may_open(&headers, &query) {
        return *refusal;
    }
    let hz = query
        .get("sample_rate")
        .and_then(|rate| rate.parse().ok())
        .filter(|hz| (8_000..=48_000).contains(hz));
    let encoding = query.get("encoding").map(String::as_str);
    let known = query.keys().all(|name| KNOWN.contains(&name.as_str()));
    let (Some(model), Some(hz), Some("pcm_s16le"), true) = (query.get("model"), hz, encoding, known) else {
        return shared.refusal(400, "query", "model, encoding or sample_rate is missing or wrong");
    };
    let language = query.get("language").cloned();
    let terms = Terms { model: model.clone(), language, hz, request_id: request_id(&headers) };
    upgrade.on_upgrade(move |mut socket| async move {
        let connection = shared.ledger.connected();
        listen(&shared, &mut socket, connection, &terms).await;
        shared.ledger.disconnected();
    })
}

async fn listen(shared: &Shared, socket: &mut WebSocket, connection: u64, terms: &Terms) {
    let request_id = uuid::Uuid::new_v4().to_string();
    let mut pcm = Vec::new();
    while let Some(Ok(message)) = socket.recv().await {
        let ended = match &message {
            Message::Binary(bytes) => {
                if bytes.len() % 2 == 1 || sound::milliseconds(bytes.len(), terms.hz) > MESSAGE_MS_MAX {
                    shared.ledger.refused("a message of sound is odd or too long");
                    let _gone = socket.send(text(&error(400, "sound", None))).await;
                    return;
                }
                pcm.extend_from_slice(bytes);
                continue;
            }
            Message::Text(command) if command.as_str() == "finalize" => "flush_done",
            Message::Text(command) if command.as_str() == "close" => "done",
            Message::Text(_) => {
                shared.ledger.refused("a command is not known");
                let _gone = socket.send(text(&error(400, "command", None))).await;
                return;
            }
            Message::Close(_) => return,
            Message::Ping(_) | Message::Pong(_) => continue,
        };
        let heard = std::mem::take(&mut pcm);
        if !heard.is_empty() && !tell(shared, socket, &heard, connection, terms, &request_id).await {
            return;
        }
        let done = text(&json!({"type": ended, "request_id": request_id}));
        if socket.send(done).await.is_err() || ended == "done" {
            break;
        }
    }
    let _gone = socket.close().await;
}

/// Tells the text of `pcm`: what is believed and then what is certain, word by word; whether the connection goes on.
async fn tell(
    shared: &Shared,
    socket: &mut WebSocket,
    pcm: &[u8],
    connection: u64,
    terms: &Terms,
    request_id: &str,
) -> bool {
    let all = sound::text_in(pcm, terms.hz);
    let play = shared.scripts.next(&all);
    let at = shared.ledger.note(Entry {
        path: "/stt/websocket",
        connection,
        context: None,
        text: all.clone(),
        characters: 0,
        heard_ms: sound::milliseconds(pcm.len(), terms.hz),
        model: terms.model.clone(),
        voice: None,
        language: terms.language.clone(),
        sample_rate_hz: terms.hz,
        request_id: terms.request_id.clone(),
        sent_bytes: 0,
        cancelled: false,
    });
    let words: Vec<&str> = all.split_inclusive(' ').collect();
    let events = words.iter().flat_map(|word| [(*word, false), (*word, true)]).map(Some).chain([None]);
    for (number, event) in events.enumerate() {
        if let Some((_, trouble)) = play.trouble.filter(|(after, _)| *after == number) {
            return trouble_of(trouble, socket).await;
        }
        let Some((word, is_final)) = event else { break };
        pause(&play, number).await;
        let message = json!({
            "type": "transcript", "text": word, "is_final": is_final, "request_id": request_id, "language": "en",
            "duration": sound::milliseconds(pcm.len(), terms.hz) as f64 / 1_000.0,
        });
        shared.ledger.sent(at, word.len());
        if socket.send(text(&message)).await.is_err() {
            return false;
        }
    }
    true
}

async fn trouble_of(trouble: Trouble, socket: &mut WebSocket) -> bool {
    let message = match trouble {
        Trouble::Reset => return false,
        Trouble::Silence => {
            while let Some(Ok(_)) = socket.recv().await {}
            return false;
        }
        Trouble::Error(status) => text(&error(status, "as it was told", None)),
        Trouble::Malformed | Trouble::WrongBase64 => Message::Text(r#"{"type":"transcript","te"#.into()),
    };
    socket.send(message).await.is_ok()
}
