//! `/tts/bytes`, `/tts/sse` and `/stt`: one request each.

use super::context::common;
use super::ledger::Entry;
use super::script::{Play, Trouble};
use super::speech_socket::{error, pause};
use super::{Query, Shared, answer, chunks, failure, request_id, sound};
use axum::body::{Body, Bytes};
use axum::extract::{Query as Asked, State};
use axum::http::{HeaderMap, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::stream::{self, StreamExt};
use serde_json::{Map, Value, json};
use std::io;

const BODY_BYTES_MAX: usize = 33_554_432;

/// A request for speech that was understood.
struct Spoken {
    text: String,
    hz: u32,
    container: String,
    play: Play,
    at: usize,
}

pub async fn bytes(
    State(shared): State<Shared>,
    Asked(query): Asked<Query>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let spoken = match spoken(&shared, &query, &headers, &body, "/tts/bytes") {
        Ok(spoken) => spoken,
        Err(refusal) => return *refusal,
    };
    if let Some(refusal) = at_once(&spoken.play) {
        return refusal;
    }
    let media = match spoken.container.as_str() {
        "wav" => "audio/wav",
        "mp3" => "audio/mpeg",
        _ => "application/octet-stream",
    };
    let mut pieces = chunks(&spoken.text, spoken.hz);
    let length: usize = pieces.iter().map(Vec::len).sum();
    match spoken.container.as_str() {
        "wav" => pieces.insert(0, wav_head(spoken.hz, length)),
        // No encoder stands here: it is told from other sound by its first bytes, as any MP3 is.
        "mp3" => pieces.insert(0, b"ID3\x04\0\0\0\0\0\0".to_vec()),
        _ => {}
    }
    let body = sent(&shared, &spoken, pieces, |piece| piece);
    let response = Response::builder().header("content-type", media);
    response.body(body).expect("a response")
}

pub async fn events(
    State(shared): State<Shared>,
    Asked(query): Asked<Query>,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let spoken = match spoken(&shared, &query, &headers, &body, "/tts/sse") {
        Ok(spoken) => spoken,
        Err(refusal) => return *refusal,
    };
    if spoken.container != "raw" {
        return shared.refusal(400, "output_format", "the container of events is not raw");
    }
    if let Some(refusal) = at_once(&spoken.play) {
        return refusal;
    }
    let mut pieces = chunks(&spoken.text, spoken.hz);
    pieces.push(Vec::new());
    let event = |piece: Vec<u8>| {
        let event = if piece.is_empty() {
            json!({"type": "done", "done": true, "status_code": 206})
        } else {
            let data = STANDARD.encode(piece);
            json!({"type": "chunk", "data": data, "done": false, "status_code": 206, "step_time": 12.5})
        };
        let kind = event["type"].as_str().unwrap_or_default().to_owned();
        format!("event: {kind}\ndata: {event}\n\n").into_bytes()
    };
    let body = sent(&shared, &spoken, pieces, event);
    let response = Response::builder().header("content-type", "text/event-stream");
    response.body(body).expect("a response")
}

fn spoken(
    shared: &Shared,
    query: &Query,
    headers: &HeaderMap,
    body: &[u8],
    path: &'static str,
) -> Result<Spoken, Box<Response<Body>>> {
    shared.admitted(headers, query)?;
    let refuse = |why: &str| Box::new(shared.refusal(400, "Invalid request", why));
    let message: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| refuse("the body is no JSON object"))?;
    common(&message).map_err(refuse)?;
    if message.contains_key("continue") || message.contains_key("flush") {
        return Err(refuse("a request that is whole does not go on"));
    }
    let read = |at: &str| Value::Object(message.clone()).pointer(at).cloned();
    let named = |at: &str| read(at).and_then(|value| value.as_str().map(str::to_owned));
    let text = named("/transcript")
        .filter(|text| !text.trim().is_empty())
        .ok_or_else(|| refuse("transcript is empty"))?;
    let hz =
        read("/output_format/sample_rate").and_then(|rate| u32::try_from(rate.as_u64()?).ok()).unwrap_or(0);
    let at = shared.ledger.note(Entry {
        path,
        connection: 0,
        context: None,
        text: text.clone(),
        characters: text.chars().count() as u64,
        heard_ms: 0,
        model: named("/model_id").unwrap_or_default(),
        voice: named("/voice/id").or(named("/voice")),
        language: named("/language"),
        sample_rate_hz: hz,
        request_id: request_id(headers),
        sent_bytes: 0,
        cancelled: false,
    });
    let container = named("/output_format/container").unwrap_or_default();
    Ok(Spoken { play: shared.scripts.next(&text), text, hz, container, at })
}

/// What goes wrong before anything was sent.
fn at_once(play: &Play) -> Option<Response<Body>> {
    match play.trouble? {
        (0, Trouble::Error(status)) => Some(answer(status, &error(status, "as it was told", None))),
        (0, Trouble::Malformed | Trouble::WrongBase64) => {
            let page = format!("<html>{}</html>", crate::vars::PROVIDER_INTERNALS);
            let response = Response::builder().header("content-type", "text/html");
            Some(response.body(Body::from(page)).expect("a response"))
        }
        _ => None,
    }
}

/// A body of `pieces`, as the script wants it. Over HTTP every trouble in the middle is that it ends, or does not.
fn sent(shared: &Shared, spoken: &Spoken, pieces: Vec<Vec<u8>>, shape: fn(Vec<u8>) -> Vec<u8>) -> Body {
    let (play, at, ledger) = (spoken.play, spoken.at, shared.ledger.clone());
    let numbered = pieces.into_iter().map(Some).chain([None]).enumerate();
    let stream = stream::iter(numbered).filter_map(move |(number, piece)| {
        let ledger = ledger.clone();
        async move {
            match play.trouble.filter(|(after, _)| *after == number) {
                Some((_, Trouble::Silence)) => std::future::pending().await,
                Some(_) => return Some(Err(io::Error::other("as it was told"))),
                None => {}
            }
            let piece = piece?;
            pause(&play, number).await;
            ledger.sent(at, piece.len());
            Some(Ok(Bytes::from(shape(piece))))
        }
    });
    Body::from_stream(stream)
}

fn wav_head(hz: u32, sound_bytes: usize) -> Vec<u8> {
    let bytes = u32::try_from(sound_bytes).expect("short sound");
    let mut head = b"RIFF".to_vec();
    head.extend((bytes + 36).to_le_bytes());
    head.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    head.extend(hz.to_le_bytes());
    head.extend((hz * 2).to_le_bytes());
    head.extend(b"\x02\0\x10\0data");
    head.extend(bytes.to_le_bytes());
    head
}

/// `/stt`: a form with a file, of which a WAV of 16 bits is heard.
pub async fn transcript(
    State(shared): State<Shared>,
    Asked(query): Asked<Query>,
    headers: HeaderMap,
    body: Body,
) -> Response<Body> {
    if let Err(refusal) = shared.admitted(&headers, &query) {
        return *refusal;
    }
    let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
        return answer(413, &failure(413, "too large", "the body is too large"));
    };
    let Some(model) = field(&body, "model").map(|model| String::from_utf8_lossy(model).into_owned()) else {
        return shared.refusal(400, "model", "model is missing");
    };
    let Some(file) = field(&body, "file") else {
        return shared.refusal(400, "file", "file is missing");
    };
    let language = field(&body, "language").map(|language| String::from_utf8_lossy(language).into_owned());
    let hz = file.get(24..28).and_then(|rate| Some(u32::from_le_bytes(rate.try_into().ok()?)));
    let hz = hz.filter(|hz| (8_000..=48_000).contains(hz)).unwrap_or(16_000);
    let pcm = file.get(44..).unwrap_or_default();
    let text = sound::text_in(pcm, hz);
    let heard_ms = sound::milliseconds(pcm.len(), hz);
    let play = shared.scripts.next(&text);
    shared.ledger.note(Entry {
        path: "/stt",
        connection: 0,
        context: None,
        text: text.clone(),
        characters: 0,
        heard_ms,
        model,
        voice: None,
        language: language.clone(),
        sample_rate_hz: hz,
        request_id: request_id(&headers),
        sent_bytes: 0,
        cancelled: false,
    });
    pause(&play, 0).await;
    if let Some(refusal) = at_once(&play) {
        return refusal;
    }
    let (mut at, mut words) = (0.0, Vec::new());
    for word in text.split_inclusive(' ') {
        let end = at + f64::from(sound::CHARACTER_MS) / 1_000.0 * word.chars().count() as f64;
        words.push(json!({"word": word.trim(), "start": at, "end": end}));
        at = end;
    }
    let mut heard = json!({
        "type": "transcript", "text": text, "duration": heard_ms as f64 / 1_000.0,
        "language": language.as_deref().unwrap_or("en"), "request_id": uuid::Uuid::new_v4().to_string(),
    });
    if field(&body, "timestamp_granularities[]").is_some() {
        heard["words"] = Value::Array(words);
    }
    answer(200, &heard)
}

/// The bytes of a field of a form.
fn field<'a>(body: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let find = |part: &[u8], from: usize| {
        body.get(from..)?.windows(part.len()).position(|window| window == part).map(|at| at + from)
    };
    let named = find(format!("name=\"{name}\"").as_bytes(), 0)?;
    let start = find(b"\r\n\r\n", named)? + 4;
    let end = find(b"\r\n--", start)?;
    body.get(start..end)
}
