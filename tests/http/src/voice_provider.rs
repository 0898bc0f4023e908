//! A provider of all three stages of a spoken turn, over the HTTP of OpenAI's API: the same is answered to the same, every
//! call is written down, and a test may have one wait half-way, or break its connection.
//!
//! An utterance is understood as `said` and its mark, twelve digits of its hash: sound that was lost or doubled on the
//! way is another mark. The answer and its sound follow from the mark.

use crate::background;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Request, Response, StatusCode, header};
use futures::stream;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Digits of a mark.
const MARK_DIGITS: usize = 12;
const REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What stands for work.
const STT_TAKES: Duration = Duration::from_millis(60);
const PIECE_TAKES: Duration = Duration::from_millis(8);
/// Characters of the model's text, and bytes of sound, in one piece. The second is odd, as TCP's are.
const PIECE_CHARACTERS: usize = 9;
const PIECE_BYTES: usize = 4_999;
/// How long a character sounds, in bytes: 20 ms at 24 kHz.
const CHARACTER_BYTES: usize = 960;
const SENTENCES: usize = 3;
/// What every answer of the model is said to have used.
pub const TOKENS_IN: u64 = 20;
pub const TOKENS_OUT: u64 = 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    Stt,
    Llm,
    Tts,
}

/// One call, as it was made.
#[derive(Clone, Debug)]
pub struct Called {
    pub mark: String,
    pub stage: Stage,
    /// SHA-256 of what was asked: the sound, all messages, the text.
    pub input: String,
}

/// A place where calls wait: after so many characters or bytes of the answer.
#[derive(Clone)]
struct Gate {
    after: usize,
    open: watch::Sender<bool>,
}

#[derive(Default)]
struct Books {
    called: Vec<Called>,
    gates: HashMap<(String, Stage), Gate>,
    running: HashMap<String, Vec<watch::Sender<bool>>>,
    /// The next call of these is broken when it comes.
    break_next: Vec<String>,
}

type Shared = Arc<Mutex<Books>>;

/// A running provider. Dropping it ends its server.
pub struct VoiceProvider {
    origin: String,
    books: Shared,
    server: JoinHandle<()>,
}

impl Drop for VoiceProvider {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl VoiceProvider {
    pub async fn start() -> Self {
        let books = Shared::default();
        let app = Router::new().fallback(answer).with_state(books.clone());
        let (origin, server) = background::serve(app).await;
        Self { origin, books, server }
    }

    /// The base URL for a configuration.
    pub fn base(&self) -> String {
        format!("{}/v1", self.origin)
    }

    fn books(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books.lock().expect("the provider's books")
    }

    /// Calls of a stage that hold the mark wait when they have said so much.
    pub fn hold(&self, mark: &str, stage: Stage, after: usize) {
        let gate = Gate { after, open: watch::channel(false).0 };
        self.books().gates.insert((mark.to_owned(), stage), gate);
    }

    /// They go on, and none waits any more.
    pub fn release(&self, mark: &str) {
        self.books().gates.retain(|(of, _), gate| {
            if of == mark {
                gate.open.send_replace(true);
            }
            of != mark
        });
    }

    /// Breaks the connection of what is under way for the mark; or, when nothing is, of the next call.
    pub fn break_calls(&self, mark: &str) {
        let mut books = self.books();
        let running = books.running.remove(mark).unwrap_or_default();
        let live: Vec<_> = running.into_iter().filter(|call| !call.is_closed()).collect();
        if live.is_empty() {
            books.break_next.push(mark.to_owned());
        }
        for call in live {
            call.send_replace(true);
        }
    }

    /// All calls of these marks so far, in their order.
    pub fn called(&self, marks: &[String]) -> Vec<Called> {
        self.books().called.iter().filter(|called| marks.contains(&called.mark)).cloned().collect()
    }
}

/// What an utterance is known by.
pub fn mark_of(pcm: &[u8]) -> String {
    digest(pcm)[..MARK_DIGITS].to_owned()
}

fn digest(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// What it is understood as.
pub fn understood(mark: &str) -> String {
    format!("said {mark}")
}

/// The answer: some sentences.
pub fn sentences(mark: &str) -> Vec<String> {
    let hash = Sha256::digest(mark);
    let sentence = |n: usize| {
        let words: Vec<String> =
            (0..3).map(|word| format!("word{}", hash[(n * 3 + word) % hash.len()])).collect();
        format!("Answer {n} to {mark} is {}.", words.join(" "))
    };
    (0..SENTENCES).map(sentence).collect()
}

/// Characters of the answer up to somewhere in its second sentence.
pub fn past_first_sentence(mark: &str) -> usize {
    sentences(mark).first().map_or(0, String::len) + 2 * PIECE_CHARACTERS
}

/// How a text sounds.
pub fn sound(text: &str) -> Vec<u8> {
    let seed = Sha256::digest(text.trim());
    let count = text.trim().chars().count() * CHARACTER_BYTES;
    let byte =
        |at: usize| seed[at % seed.len()].wrapping_add(u8::try_from(at / seed.len() % 251).unwrap_or(0));
    (0..count).map(byte).collect()
}

/// The first mark in a text.
fn mark_in(text: &str) -> Option<String> {
    let is_mark =
        |word: &&str| word.len() == MARK_DIGITS && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split(|letter: char| !letter.is_ascii_alphanumeric()).find(is_mark).map(ToOwned::to_owned)
}

/// Where the call stands: what it waits for, and whether its connection is to break.
struct Call {
    gate: Option<Gate>,
    broken: watch::Receiver<bool>,
}

impl Call {
    fn enter(books: &Shared, mark: &str, stage: Stage, input: &[u8]) -> Self {
        let mut books = books.lock().expect("the provider's books");
        books.called.push(Called { mark: mark.to_owned(), stage, input: digest(input) });
        let gate = books.gates.get(&(mark.to_owned(), stage)).cloned();
        let (breaks, broken) = watch::channel(false);
        if let Some(at) = books.break_next.iter().position(|next| next == mark) {
            books.break_next.remove(at);
            breaks.send_replace(true);
        }
        books.running.entry(mark.to_owned()).or_default().push(breaks);
        Self { gate, broken }
    }

    /// Works for a while, with `said` of the answer given. An error when the connection breaks.
    async fn works(&mut self, said: usize, time: Duration) -> io::Result<()> {
        let gate = self.gate.clone().filter(|gate| said >= gate.after);
        let waits = async {
            tokio::time::sleep(time).await;
            if let Some(gate) = gate {
                let _ = gate.open.subscribe().wait_for(|open| *open).await;
            }
        };
        tokio::select! {
            biased;
            () = async { if self.broken.wait_for(|broken| *broken).await.is_err() { std::future::pending().await } } =>
                Err(io::Error::other("the connection breaks")),
            () = waits => Ok(()),
        }
    }
}

async fn answer(State(books): State<Shared>, request: Request<Body>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let Ok(body) = axum::body::to_bytes(request.into_body(), REQUEST_BYTES_MAX).await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE);
    };
    if path.ends_with("/audio/transcriptions") {
        transcription(&books, &body)
    } else if path.ends_with("/chat/completions") {
        completion(&books, &body)
    } else if path.ends_with("/audio/speech") {
        speech(&books, &body)
    } else {
        plain(StatusCode::NOT_FOUND)
    }
}

fn plain(status: StatusCode) -> Response<Body> {
    Response::builder().status(status).body(Body::empty()).expect("a response")
}

/// The pieces one after the other, with work before each and after the last.
fn pieces(kind: &str, call: Call, pieces: Vec<Bytes>, work: Duration, counted: bool) -> Response<Body> {
    let begin = (call, pieces.into_iter(), 0_usize, false);
    let body = stream::unfold(begin, move |(mut call, mut left, said, ended)| async move {
        if ended {
            return None;
        }
        if let Err(error) = call.works(said, work).await {
            return Some((Err(error), (call, left, said, true)));
        }
        let piece = left.next()?;
        let said = if counted { said + piece.len() } else { said + PIECE_CHARACTERS };
        Some((Ok(piece), (call, left, said, false)))
    });
    let response = Response::builder().header(header::CONTENT_TYPE, kind);
    response.body(Body::from_stream(body)).expect("a response")
}

fn transcription(books: &Shared, body: &[u8]) -> Response<Body> {
    let Some(pcm) = samples_of_wav(body) else {
        return plain(StatusCode::BAD_REQUEST);
    };
    let mark = mark_of(pcm);
    let call = Call::enter(books, &mark, Stage::Stt, pcm);
    let text = json!({"text": understood(&mark)}).to_string();
    pieces("application/json", call, vec![text.into()], STT_TAKES, true)
}

/// The samples of the WAV that is somewhere in a form.
fn samples_of_wav(body: &[u8]) -> Option<&[u8]> {
    let begin = body.windows(4).position(|four| four == b"RIFF")?;
    let wav = body.get(begin..)?;
    let data = wav.windows(4).position(|four| four == b"data")? + 4;
    let length: [u8; 4] = wav.get(data..data + 4)?.try_into().ok()?;
    wav.get(data + 4..)?.get(..usize::try_from(u32::from_le_bytes(length)).ok()?)
}

fn completion(books: &Shared, body: &[u8]) -> Response<Body> {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let last = asked["messages"].as_array().and_then(|messages| messages.last());
    let last = last.and_then(|last| last["content"].as_str()).unwrap_or_default();
    let Some(mark) = mark_in(last) else {
        return plain(StatusCode::BAD_REQUEST);
    };
    let call = Call::enter(books, &mark, Stage::Llm, asked["messages"].to_string().as_bytes());
    let chunk = |choices: Value, usage: Value| {
        let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 0,
            "model": asked["model"], "choices": choices, "usage": usage});
        Bytes::from(format!("data: {chunk}\n\n"))
    };
    let delta = |delta: Value, end: Value| json!([{"index": 0, "delta": delta, "finish_reason": end}]);
    let answer = sentences(&mark).join(" ");
    let text: Vec<char> = answer.chars().collect();
    let mut all: Vec<Bytes> = text
        .chunks(PIECE_CHARACTERS)
        .map(|piece| {
            chunk(delta(json!({"content": piece.iter().collect::<String>()}), Value::Null), Value::Null)
        })
        .collect();
    all.push(chunk(delta(json!({}), json!("stop")), Value::Null));
    all.push(chunk(
        json!([]),
        json!({"prompt_tokens": TOKENS_IN, "completion_tokens": TOKENS_OUT, "total_tokens": TOKENS_IN + TOKENS_OUT}),
    ));
    all.push(Bytes::from_static(b"data: [DONE]\n\n"));
    pieces("text/event-stream", call, all, PIECE_TAKES, false)
}

fn speech(books: &Shared, body: &[u8]) -> Response<Body> {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = asked["input"].as_str().unwrap_or_default();
    let Some(mark) = mark_in(text) else {
        return plain(StatusCode::BAD_REQUEST);
    };
    let call = Call::enter(books, &mark, Stage::Tts, text.trim().as_bytes());
    let all = sound(text).chunks(PIECE_BYTES).map(Bytes::copy_from_slice).collect();
    pieces("audio/pcm", call, all, PIECE_TAKES, true)
}
