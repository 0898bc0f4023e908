//! Turns a behaviour into an HTTP answer in the OpenAI chat-completion form.

use crate::provider_call::{InFlight, Progress};
use crate::provider_script::{Behaviour, Completion, Ending, Usage};
use axum::body::Body;
use axum::http::{Response, header};
use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use std::time::Duration;

type Piece = Result<Bytes, io::Error>;

/// Size of one piece of a giant body.
const GIANT_PIECE_BYTES: usize = 64 * 1024;
const FLUSH_DELAY: Duration = Duration::from_millis(30);

/// What the request asked for, as far as the answer depends on it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub model: String,
    pub stream: bool,
    pub include_usage: bool,
}

impl Asked {
    pub fn from_body(body: &Value) -> Self {
        Self {
            model: body.get("model").and_then(Value::as_str).unwrap_or_default().to_owned(),
            stream: body.get("stream") == Some(&Value::Bool(true)),
            include_usage: body.pointer("/stream_options/include_usage") == Some(&Value::Bool(true)),
        }
    }
}

pub async fn perform(mut behaviour: Behaviour, asked: &Asked, progress: &Arc<Progress>) -> Response<Body> {
    let in_flight = InFlight::new(progress);
    while let Behaviour::Late(delay, then) = behaviour {
        tokio::time::sleep(delay).await;
        behaviour = *then;
    }
    match behaviour {
        Behaviour::Complete(completion) if asked.stream => streamed(completion, asked, in_flight),
        Behaviour::Complete(completion) => whole(&completion, asked, in_flight).await,
        Behaviour::Page { status, content_type, body } => page(status, content_type, body, in_flight),
        Behaviour::RawEvents { pieces, gap } => raw_events(pieces, gap, in_flight),
        Behaviour::Sound { content_type, pieces, gap, ending } => {
            sound(content_type, pieces, gap, ending, in_flight)
        }
        Behaviour::Repeated { event, times, usage } => repeated(event, times, usage, asked, in_flight),
        Behaviour::Redirect { status, to } => redirect(status, &to, in_flight),
        Behaviour::Busy { status, retry_after } => busy(status, &retry_after, in_flight),
        Behaviour::Giant { body_bytes } => giant(body_bytes, in_flight),
        Behaviour::Dripping { gap } => dripping(gap, asked, in_flight),
        Behaviour::Late(..) => unreachable!("the loop above unwraps every delay"),
    }
}

/// The body of a completion that is not streamed.
pub fn whole_body(completion: &Completion, asked_model: &str) -> String {
    let mut body = json!({
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": completion.model.as_deref().unwrap_or(asked_model),
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": completion.text()},
            "finish_reason": "stop",
        }],
    });
    if let (Some(usage), Some(members)) = (&completion.usage, body.as_object_mut()) {
        members.insert("usage".to_owned(), usage.clone());
    }
    body.to_string()
}

async fn whole(completion: &Completion, asked: &Asked, in_flight: InFlight) -> Response<Body> {
    let body = Bytes::from(whole_body(completion, &asked.model));
    match completion.ending {
        Ending::Proper | Ending::HeldOpen => page(200, "application/json", body, in_flight),
        Ending::Broken => {
            let half = body.slice(..body.len() / 2);
            let body = stream::iter([Ok(half)]).chain(breaking());
            respond(200, "application/json", counted(body, in_flight))
        }
        Ending::Stalled | Ending::Endless => {
            std::future::pending::<()>().await;
            unreachable!("pending never ends")
        }
    }
}

fn streamed(completion: Completion, asked: &Asked, in_flight: InFlight) -> Response<Body> {
    let model = completion.model.clone().unwrap_or_else(|| asked.model.clone());
    // Made one by one as they are sent: making many thousands first could take longer than a first byte may.
    let texts = completion.pieces.clone().into_iter().map({
        let model = model.clone();
        move |text| chunk(&model, json!([{"index": 0, "delta": {"content": text}, "finish_reason": null}]))
    });
    let gap = completion.gap;
    let tail: stream::BoxStream<'static, Piece> = match completion.ending {
        Ending::Proper => stream::iter(closing(&completion, &model, asked.include_usage)).boxed(),
        Ending::HeldOpen => {
            let end = stream::iter(closing(&completion, &model, asked.include_usage));
            end.chain(stream::pending()).boxed()
        }
        Ending::Broken => breaking().boxed(),
        Ending::Stalled => stream::pending().boxed(),
        Ending::Endless => paced(stream::iter(texts.clone().cycle()), gap).boxed(),
    };
    let body = paced(stream::iter(texts), gap).chain(tail);
    respond(200, "text/event-stream", counted(body, in_flight))
}

/// `finish_reason`, the usage chunk as a strict provider sends it (only when asked for), `[DONE]`.
fn closing(completion: &Completion, model: &str, include_usage: bool) -> Vec<Piece> {
    let mut pieces = vec![Ok(chunk(model, json!([{"index": 0, "delta": {}, "finish_reason": "stop"}])))];
    if let (Some(usage), true) = (&completion.usage, include_usage) {
        let line = json!({
            "id": "chatcmpl-scripted", "object": "chat.completion.chunk",
            "model": model, "choices": [], "usage": usage,
        });
        pieces.push(Ok(Bytes::from(format!("data: {line}\n\n"))));
    }
    pieces.push(Ok(Bytes::from_static(b"data: [DONE]\n\n")));
    pieces
}

fn chunk(model: &str, choices: Value) -> Bytes {
    let line = json!({
        "id": "chatcmpl-scripted", "object": "chat.completion.chunk",
        "created": 1_700_000_000, "model": model, "choices": choices,
    });
    Bytes::from(format!("data: {line}\n\n"))
}

fn page(status: u16, content_type: &'static str, body: Bytes, in_flight: InFlight) -> Response<Body> {
    in_flight.piece_sent(body.len());
    in_flight.finish();
    respond(status, content_type, stream::iter(vec![Ok(body)]))
}

fn redirect(status: u16, to: &str, in_flight: InFlight) -> Response<Body> {
    in_flight.finish();
    Response::builder().status(status).header(header::LOCATION, to).body(Body::empty()).expect("a redirect")
}

fn busy(status: u16, retry_after: &str, in_flight: InFlight) -> Response<Body> {
    in_flight.finish();
    let response = Response::builder().status(status).header(header::RETRY_AFTER, retry_after);
    response.body(Body::from(crate::vars::PROVIDER_INTERNALS)).expect("a refusal")
}

fn giant(body_bytes: u64, in_flight: InFlight) -> Response<Body> {
    let filler = Bytes::from(vec![b'a'; GIANT_PIECE_BYTES]);
    let count = usize::try_from(body_bytes).unwrap_or(usize::MAX) / GIANT_PIECE_BYTES;
    let head = Bytes::from_static(br#"{"choices":[{"index":0,"message":{"role":"assistant","content":""#);
    let tail = Bytes::from_static(br#""},"finish_reason":"stop"}]}"#);
    let body = stream::iter([Ok(head)])
        .chain(stream::repeat(filler).take(count).map(Ok))
        .chain(stream::iter([Ok(tail)]));
    respond(200, "application/json", counted(body, in_flight))
}

fn dripping(gap: Duration, asked: &Asked, in_flight: InFlight) -> Response<Body> {
    let body = whole_body(&Completion::of(&["drop by drop"]), &asked.model);
    let bytes: Vec<Bytes> = body.bytes().map(|byte| Bytes::from(vec![byte])).collect();
    respond(200, "application/json", counted(paced(stream::iter(bytes), gap), in_flight))
}

fn raw_events(pieces: Vec<&'static str>, gap: Duration, in_flight: InFlight) -> Response<Body> {
    let pieces = stream::iter(pieces).map(|piece| Bytes::from_static(piece.as_bytes()));
    respond(200, "text/event-stream", counted(paced(pieces, gap), in_flight))
}

fn sound(
    content_type: &'static str,
    pieces: Vec<Bytes>,
    gap: Duration,
    ending: Ending,
    in_flight: InFlight,
) -> Response<Body> {
    let tail: stream::BoxStream<'static, Piece> = match ending {
        Ending::Proper => stream::empty().boxed(),
        Ending::Broken => breaking().boxed(),
        Ending::Stalled | Ending::HeldOpen => stream::pending().boxed(),
        Ending::Endless => paced(stream::iter(pieces.clone().into_iter().cycle()), gap).boxed(),
    };
    let body = paced(stream::iter(pieces), gap).chain(tail);
    respond(200, content_type, counted(body, in_flight))
}

fn repeated(event: Bytes, times: usize, usage: Usage, asked: &Asked, in_flight: InFlight) -> Response<Body> {
    let end = closing(&Completion::of(&[]).usage(usage), &asked.model, asked.include_usage);
    let body = stream::repeat(event).take(times).map(Ok).chain(stream::iter(end));
    respond(200, "text/event-stream", counted(body, in_flight))
}

fn respond<S>(status: u16, content_type: &'static str, body: S) -> Response<Body>
where
    S: Stream<Item = Piece> + Send + 'static,
{
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, content_type)
        .body(Body::from_stream(body))
        .expect("a scripted response")
}

/// Waits `gap` before every piece but the first.
fn paced<S>(pieces: S, gap: Duration) -> impl Stream<Item = Piece> + Send
where
    S: Stream<Item = Bytes> + Send,
{
    pieces.enumerate().then(move |(index, piece)| async move {
        if index > 0 && !gap.is_zero() {
            tokio::time::sleep(gap).await;
        }
        Ok(piece)
    })
}

/// Counts what goes out and notes whether the end was reached.
fn counted<S>(pieces: S, in_flight: InFlight) -> impl Stream<Item = Piece> + Send
where
    S: Stream<Item = Piece> + Send,
{
    stream::unfold((Box::pin(pieces), in_flight), |(mut pieces, in_flight)| async move {
        match pieces.next().await {
            Some(Ok(piece)) => {
                in_flight.piece_sent(piece.len());
                Some((Ok(piece), (pieces, in_flight)))
            }
            Some(Err(error)) => {
                // The provider broke off by itself; nobody hung up on it.
                in_flight.finish();
                Some((Err(error), (pieces, in_flight)))
            }
            None => {
                in_flight.finish();
                None
            }
        }
    })
}

/// Breaks the connection, but not before what was sent has left: the server flushes while it waits.
fn breaking() -> impl Stream<Item = Piece> + Send {
    stream::once(async {
        tokio::time::sleep(FLUSH_DELAY).await;
        Err(io::Error::new(io::ErrorKind::ConnectionReset, "the script breaks the connection"))
    })
}
