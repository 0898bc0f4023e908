//! The asks: how each is put, and what became of it as its client saw it.

use crate::providers::{Run, Weather};
use crate::seeded::Seeded;
use http_tests::client::{Call, Reply};
use http_tests::world::Tenant;
use serde_json::{Value, json};
use std::fmt;
use std::time::Duration;

/// Of a hundred: streams; with a key; that leave before they have everything.
const STREAMS: usize = 50;
const KEYED: usize = 30;
const LEAVERS: usize = 15;
/// Keys are shared by about two asks each, whose bodies are the same.
const KEYS: usize = 150;
/// Of a hundred: do not take a refusal for want of credit for the last word, because a failure may give some back.
const STUBBORN: usize = 12;
const STUBBORN_TRIES: usize = 10;
const STUBBORN_WAIT: Duration = Duration::from_millis(500);
/// What an answer without an end may cost, in credits.
const ENDLESS_CREDITS_MAX: f64 = 0.01;
/// A limit that an honest answer keeps: its provider reports 60 and 200 tokens, which cost 0.013 credits.
const HONEST_CREDITS_MAX: f64 = 0.014;
const PATIENCE_MAX: Duration = Duration::from_millis(2_500);

/// One ask to be.
pub struct Planned {
    body: Value,
    stream: bool,
    key: Option<String>,
    /// How often it asks at most, while it is refused for want of credit.
    tries: usize,
    /// Leaves after this time.
    patience: Option<Duration>,
}

/// What an ask came to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    Answered,
    Streamed,
    Replayed,
    Cut,
    Interrupted,
    /// 402
    Refused,
    /// 502
    Failed,
    /// 409: the first request with the key takes longer than an ask may, or too many wait for it already.
    KeyInUse,
    Left,
    Unexpected(String),
}

/// What a client knows afterwards.
pub struct Outcome {
    pub fate: Fate,
    /// Set when it was told that its answer is whole and charged, by its own request and no earlier one.
    pub acknowledged: Option<String>,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answered => "answered whole",
            Self::Streamed => "streamed to the end",
            Self::Replayed => "given the first answer of their key",
            Self::Cut => "cut where the credits ended",
            Self::Interrupted => "broken off by the provider, charged for what came",
            Self::Refused => "refused for want of credit",
            Self::Failed => "failed at every provider, charged nothing",
            Self::KeyInUse => "refused while their key was in use",
            Self::Left => "left by their client",
            Self::Unexpected(what) => what,
        })
    }
}

pub fn plan(random: &mut Seeded, run: &Run, index: usize) -> Planned {
    let key = random.percent(KEYED).then(|| random.below(KEYS));
    // Asks that share a key ask the same thing.
    let mut of_question =
        key.map_or_else(|| Seeded::new(random.below(1 << 30) as u64), |key| Seeded::new(key as u64));
    let (weather, marker) = run.weather(of_question.below(100));
    let name = key.map_or_else(|| format!("ask {index}"), |key| format!("key {key}"));
    let mut body = json!({"input": format!("{marker} {name}")});
    // Without a limit an endless answer is cut as running away, which takes longer.
    let limited = of_question.percent(10);
    if weather == Weather::Endless {
        body["max_credits"] = json!(ENDLESS_CREDITS_MAX);
    } else if limited {
        body["max_credits"] = json!(HONEST_CREDITS_MAX);
    }
    if of_question.percent(50) && body.get("max_credits").is_some() {
        body["on_hold_used"] = json!("top_up");
    }
    let stream = weather == Weather::Endless || random.percent(STREAMS);
    let patience = random.percent(LEAVERS).then(|| random.duration_below(PATIENCE_MAX));
    let tries = if random.percent(STUBBORN) { STUBBORN_TRIES } else { 1 };
    Planned { body, stream, key: key.map(|key| format!("storm-{key}")), tries, patience }
}

pub async fn perform(tenant: &Tenant, ask: &Planned) -> Outcome {
    match ask.patience {
        // Dropping it closes its connection.
        Some(patience) => {
            let ends = tokio::time::timeout(patience, perform_with_patience(tenant, ask)).await;
            ends.unwrap_or_else(|_| just(Fate::Left))
        }
        None => perform_with_patience(tenant, ask).await,
    }
}

async fn perform_with_patience(tenant: &Tenant, ask: &Planned) -> Outcome {
    let once = async || {
        let call = tenant.post("/api/si/ask?events=1").json(&ask.body);
        let call = ask.key.iter().fold(call, |call, key| call.idempotency_key(key));
        if ask.stream { streamed(call).await } else { whole(call).await }
    };
    for _ in 1..ask.tries {
        let outcome = once().await;
        if outcome.fate != Fate::Refused {
            return outcome;
        }
        tokio::time::sleep(STUBBORN_WAIT).await;
    }
    once().await
}

fn just(fate: Fate) -> Outcome {
    Outcome { fate, acknowledged: None }
}

async fn whole(call: Call) -> Outcome {
    match call.try_send().await {
        Ok(reply) => told(&reply),
        Err(error) => just(Fate::Unexpected(format!("no reply: {error:?}"))),
    }
}

fn told(reply: &Reply) -> Outcome {
    let replayed = reply.header("idempotency-replayed").is_some();
    match (reply.status, reply.error().as_str()) {
        (200, _) if replayed => just(Fate::Replayed),
        (200, _) => {
            let request_id = reply.must_header("x-request-id").to_owned();
            Outcome { fate: Fate::Answered, acknowledged: Some(request_id) }
        }
        (402, "insufficient_credits") => just(Fate::Refused),
        (502, "si_ask_failed") => just(Fate::Failed),
        (409, "idempotency_in_progress") => just(Fate::KeyInUse),
        (status, code) => just(Fate::Unexpected(format!("{status} {code}"))),
    }
}

async fn streamed(call: Call) -> Outcome {
    let stream = call.open().await;
    if stream.status != 200 {
        return told(&stream.into_reply().await);
    }
    let replayed = stream.header("idempotency-replayed").is_some();
    let request_id = stream.header("x-request-id").map(str::to_owned);
    let transcript = stream.drain().await;
    let fate = match (transcript.event("done"), transcript.event("error")) {
        _ if transcript.broken => Fate::Unexpected("a stream without an end".to_owned()),
        _ if replayed => Fate::Replayed,
        (Some(_), None) => Fate::Streamed,
        (None, Some(error)) if error.contains("hold_used_up") => Fate::Cut,
        (None, Some(error)) if error.contains("provider_interrupted") => Fate::Interrupted,
        _ => Fate::Unexpected(format!("a stream that ends like this: {:?}", transcript.items.last())),
    };
    let charged = matches!(fate, Fate::Streamed | Fate::Cut | Fate::Interrupted);
    Outcome { fate, acknowledged: request_id.filter(|_| charged) }
}
