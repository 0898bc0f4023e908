//! `/tts/websocket`: contexts are spoken one input after the other, and a context can be cancelled while it is.

use super::context::{Contexts, FAILED, Then, Told};
use super::ledger::Entry;
use super::script::{Play, Trouble};
use super::{Query, Shared, chunks, failure, request_id};
use axum::body::Body;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Query as Asked, State};
use axum::http::{HeaderMap, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

pub async fn open(
    State(shared): State<Shared>,
    Asked(query): Asked<Query>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response<Body> {
    if let Err(refusal) = shared.may_open(&headers, &query) {
        return *refusal;
    }
    let request_id = request_id(&headers);
    upgrade.on_upgrade(move |socket| async move {
        let connection = shared.ledger.connected();
        talk(&shared, socket, connection, request_id).await;
        shared.ledger.disconnected();
    })
}

/// What the reading half hands to the writing half.
struct Job {
    told: Told,
    /// What the context was asked with.
    input: Value,
}

enum Said {
    Job(Box<Job>),
    /// As it goes on the wire.
    Error(Value),
}

async fn talk(shared: &Shared, socket: WebSocket, connection: u64, request_id: Option<String>) {
    let (mut sink, mut stream) = socket.split();
    let (jobs, mut to_do) = mpsc::unbounded_channel();
    let contexts = Arc::new(Mutex::new(Contexts::default()));
    let cancelled = Arc::new(Mutex::new(HashSet::<String>::new()));
    let read = async {
        while let Some(Ok(message)) = stream.next().await {
            let Message::Text(text) = message else {
                if matches!(message, Message::Close(_)) {
                    break;
                }
                continue;
            };
            let told = contexts.lock().expect("the contexts").take(&text, Instant::now());
            let said = match told {
                Ok(Told::Cancel { context }) => {
                    shared.ledger.cancelled(&context);
                    cancelled.lock().expect("the cancelled").insert(context);
                    continue;
                }
                Ok(told) => {
                    let input = serde_json::from_str(&text).unwrap_or_default();
                    Said::Job(Box::new(Job { told, input }))
                }
                Err((status, why, context)) => {
                    if why == FAILED {
                        continue;
                    }
                    shared.ledger.refused(why);
                    Said::Error(error(status, why, context.as_deref()))
                }
            };
            let _the_writing_half_has_ended = jobs.send(said);
        }
        drop(jobs);
    };
    let write = async {
        while let Some(said) = to_do.recv().await {
            let went_on = match said {
                Said::Error(error) => sink.send(text(&error)).await.is_ok(),
                Said::Job(job) => {
                    let speaking = Speaking {
                        shared,
                        connection,
                        request_id: request_id.clone(),
                        contexts: &contexts,
                        cancelled: &cancelled,
                    };
                    speaking.speak(*job, &mut sink).await
                }
            };
            if !went_on {
                return;
            }
        }
        let _gone = sink.close().await;
    };
    // Whoever ends first takes the connection along.
    tokio::pin!(read);
    tokio::pin!(write);
    tokio::select! {
        () = &mut write => {}
        () = &mut read => { let _said = tokio::time::timeout(Duration::from_secs(1), write).await; }
    }
}

struct Speaking<'a> {
    shared: &'a Shared,
    connection: u64,
    request_id: Option<String>,
    contexts: &'a Mutex<Contexts>,
    cancelled: &'a Mutex<HashSet<String>>,
}

type Sink = futures::stream::SplitSink<WebSocket, Message>;

impl Speaking<'_> {
    /// Speaks one input; whether the connection goes on.
    async fn speak(&self, job: Job, sink: &mut Sink) -> bool {
        let Told::Speak { context, text: transcript, flush_id, hz, timestamps, then } = job.told else {
            return true;
        };
        if self.is_cancelled(&context) {
            return true;
        }
        if !transcript.is_empty() {
            let play = self.shared.scripts.next(&transcript);
            let at = self.shared.ledger.note(self.entry(&job.input, &context, &transcript, hz));
            let chunks = chunks(&transcript, hz);
            for (number, chunk) in chunks.iter().map(Some).chain([None]).enumerate() {
                if let Some((_, trouble)) = play.trouble.filter(|(after, _)| *after == number) {
                    return self.trouble(trouble, &context, sink).await;
                }
                let Some(chunk) = chunk else { break };
                pause(&play, number).await;
                if self.is_cancelled(&context) {
                    return true;
                }
                self.shared.ledger.sent(at, chunk.len());
                let event = json!({
                    "type": "chunk", "context_id": context, "data": STANDARD.encode(chunk), "done": false,
                    "status_code": 206, "step_time": 12.5, "flush_id": flush_id,
                });
                if sink.send(text(&event)).await.is_err() {
                    return false;
                }
                self.contexts.lock().expect("the contexts").sounded(&context, Instant::now());
            }
            if timestamps && sink.send(text(&words(&context, &transcript, flush_id))).await.is_err() {
                return false;
            }
        }
        let last = match then {
            Then::More => return true,
            Then::Flushed => json!({
                "type": "flush_done", "context_id": context, "flush_done": true, "flush_id": flush_id, "done": false,
                "status_code": 206,
            }),
            Then::Done => json!({"type": "done", "context_id": context, "done": true, "status_code": 206}),
        };
        sink.send(text(&last)).await.is_ok()
    }

    fn is_cancelled(&self, context: &str) -> bool {
        self.cancelled.lock().expect("the cancelled").contains(context)
    }

    /// Whether the connection goes on.
    async fn trouble(&self, trouble: Trouble, context: &str, sink: &mut Sink) -> bool {
        let chunk = |data: &str| json!({"type": "chunk", "context_id": context, "data": data, "done": false});
        let message = match trouble {
            Trouble::Reset => return false,
            Trouble::Silence => {
                std::future::pending::<()>().await;
                return false;
            }
            Trouble::Error(status) => text(&error(status, "as it was told", Some(context))),
            Trouble::Malformed => Message::Text(r#"{"type":"chunk","data":"#.into()),
            Trouble::WrongBase64 => text(&chunk("no*base64")),
        };
        self.contexts.lock().expect("the contexts").fail(context);
        sink.send(message).await.is_ok()
    }

    fn entry(&self, input: &Value, context: &str, transcript: &str, hz: u32) -> Entry {
        let named = |at: &str| input.pointer(at).and_then(Value::as_str).map(str::to_owned);
        Entry {
            path: "/tts/websocket",
            connection: self.connection,
            context: Some(context.to_owned()),
            text: transcript.to_owned(),
            characters: transcript.chars().count() as u64,
            heard_ms: 0,
            model: named("/model_id").unwrap_or_default(),
            voice: named("/voice/id").or(named("/voice")),
            language: named("/language"),
            sample_rate_hz: hz,
            request_id: self.request_id.clone(),
            sent_bytes: 0,
            cancelled: false,
        }
    }
}

/// Waits before the chunk of that number.
pub async fn pause(play: &Play, number: usize) {
    let wait = if number == 0 { play.late } else { play.pace };
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
}

fn words(context: &str, transcript: &str, flush_id: u64) -> Value {
    let (mut words, mut start, mut end) = (Vec::new(), Vec::new(), Vec::new());
    let mut at = 0.0;
    for word in transcript.split_inclusive(' ') {
        words.push(word.trim());
        start.push(at);
        at += f64::from(super::sound::CHARACTER_MS) / 1_000.0 * word.chars().count() as f64;
        end.push(at);
    }
    json!({
        "type": "timestamps", "context_id": context, "done": false, "status_code": 206, "flush_id": flush_id,
        "word_timestamps": {"words": words, "start": start, "end": end},
    })
}

pub fn text(event: &Value) -> Message {
    Message::Text(event.to_string().into())
}

pub fn error(status: u16, why: &str, context: Option<&str>) -> Value {
    let mut error = failure(status, "Invalid request", why);
    error["done"] = json!(true);
    if let Some(context) = context {
        error["context_id"] = json!(context);
    }
    error
}
