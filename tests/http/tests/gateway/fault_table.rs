//! One row of the faults: what a provider does, what is to come of it, and what did.

use crate::raw_provider::{RawProvider, RawReply};
use http_tests::client::{Call, unique_marker};
use http_tests::poll::eventually;
use http_tests::provider_script::Behaviour;
use http_tests::world::{SETTLE_BOUND, World, assert_credits, number, text};
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::{Duration, Instant};

/// How long after a deadline a reply may come on a busy machine.
const LATENESS: Duration = Duration::from_secs(4);
const CREDITS: f64 = 5.0;

/// What the first provider does.
pub enum Does {
    Scripted(Behaviour),
    Raw(RawReply),
}

/// What becomes of a request then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The next provider answers, or with none 502; this is how the attempt failed.
    Next(&'static str),
    /// The first answers, and what is charged rests on this.
    First(&'static str),
    /// A stream that had begun is ended with an error, and what was delivered is charged.
    Cut(&'static str),
}

pub struct Fault {
    pub what: &'static str,
    pub streams: bool,
    pub does: Does,
    pub told: Told,
    /// The deadline that ends it, in milliseconds; zero where none has to.
    pub deadline_ms: u64,
}

/// What was seen of one row.
pub struct Seen {
    pub what: &'static str,
    pub streams: bool,
    pub alone: bool,
    outcome: String,
    attempt: String,
    charge: String,
}

pub struct Stage<'a> {
    pub world: &'a World,
    pub raw: &'a RawProvider,
}

impl Stage<'_> {
    /// Sends it with another provider behind the first or with none, and holds what comes against what should.
    pub async fn play(&self, fault: &Fault, alone: bool) -> Seen {
        let marker = unique_marker();
        let first = match &fault.does {
            Does::Scripted(behaviour) => {
                self.world.groq.script(&marker, [behaviour.clone()]);
                "groq"
            }
            Does::Raw(reply) => {
                self.raw.script(&marker, reply.clone());
                "raw"
            }
        };
        let row = format!("{}, {}", fault.what, if alone { "alone" } else { "with another" });
        let tenant = self.world.tenant("fault", CREDITS).await;
        let tier = if alone { format!("{first}-alone") } else { format!("{first}-first") };
        let call = tenant.ask(&json!({"input": marker})).header("x-intelligence-tier", &tier);
        let started = Instant::now();
        let answer = send(call, fault.streams, &row).await;
        let took = started.elapsed();
        let deadline = Duration::from_millis(fault.deadline_ms);
        assert!(took < deadline + LATENESS, "{row}: it took {took:?}");
        let expected = match (fault.told, alone) {
            (Told::Next(_), true) => "502 si_ask_failed".to_owned(),
            (Told::Next(_), false) => "200 from the second".to_owned(),
            (Told::First(_), _) => "200 from the first".to_owned(),
            (Told::Cut(_), _) => "200 from the first, then an error".to_owned(),
        };
        let outcome = answer.outcome(first);
        assert_eq!(outcome, expected, "{row}");
        let left = tenant.settled_balance().await;
        let rows = usize::from(answer.status == 200);
        let items = tenant.usage_of(rows).await;
        let cost = items.first().map_or(0.0, |item| number(item, "cost_credits"));
        assert_credits((left * 1e3).round(), ((CREDITS - cost) * 1e3).round(), &row);
        let holds = tenant.open_holds().await;
        assert!(holds.is_empty(), "{row}: {holds:?}");
        tenant.verified().await;
        let attempt = attempt_of(&fault.told, items.first(), &answer.detail, first, &row);
        let charge = if items.is_empty() { "nothing".to_owned() } else { charged(&items[0]) };
        Seen { what: fault.what, streams: fault.streams, alone, outcome, attempt, charge }
    }
}

fn charged(item: &Value) -> String {
    let basis = item.pointer("/meta/basis").and_then(Value::as_str).unwrap_or_default();
    format!("{:.3}, {basis}", number(item, "cost_credits"))
}

/// How the first provider's attempt is told, and whether it is as it should be.
fn attempt_of(told: &Told, item: Option<&Value>, detail: &str, first: &str, row: &str) -> String {
    let meta = item.and_then(|item| item.get("meta")).cloned().unwrap_or_default();
    match (told, item) {
        (Told::Next(code), Some(_)) => {
            let attempts = meta.get("attempts").and_then(Value::as_array).cloned().unwrap_or_default();
            let told: Vec<(&str, &str)> = attempts
                .iter()
                .map(|attempt| (text(attempt, "provider"), text(attempt, "outcome")))
                .collect();
            assert_eq!(told, [(first, *code), ("cfai", "answered")], "{row}");
            (*code).to_owned()
        }
        (Told::Next(code), None) => {
            // Clients are told of a deadline, not of which.
            let plain = if code.starts_with("timeout") { "timeout" } else { *code };
            assert_eq!(detail, format!("{first}: {plain}"), "{row}");
            (*code).to_owned()
        }
        (Told::First(basis), _) => {
            assert_eq!(text(&meta, "basis"), *basis, "{row}");
            assert_eq!(meta.get("attempts"), None, "{row}: there was one");
            text(&meta, "outcome").to_owned()
        }
        (Told::Cut(outcome), _) => {
            assert_eq!((text(&meta, "outcome"), text(&meta, "basis")), (*outcome, "counted"), "{row}");
            (*outcome).to_owned()
        }
    }
}

/// What a client got, in either form.
struct Answer {
    status: u16,
    provider: String,
    detail: String,
    error: String,
    cut: bool,
}

impl Answer {
    fn outcome(&self, first: &str) -> String {
        match (self.status, self.provider.as_str()) {
            (200, provider) if provider == first && self.cut => {
                "200 from the first, then an error".to_owned()
            }
            (200, provider) if provider == first => "200 from the first".to_owned(),
            (200, "cfai") if !self.cut => "200 from the second".to_owned(),
            (status, _) => format!("{status} {}", self.error),
        }
    }
}

async fn send(call: Call, streams: bool, row: &str) -> Answer {
    if !streams {
        let reply = call.send().await;
        let detail = detail(&reply.json());
        let provider = reply.header("x-provider").unwrap_or_default().to_owned();
        return Answer { status: reply.status, provider, detail, error: reply.error(), cut: false };
    }
    let stream = call.open().await;
    let (status, provider) = (stream.status, stream.header("x-provider").unwrap_or_default().to_owned());
    if status != 200 {
        let reply = stream.into_reply().await;
        return Answer { status, provider, detail: detail(&reply.json()), error: reply.error(), cut: false };
    }
    let transcript = stream.drain().await;
    assert!(!transcript.broken, "{row}: the stream itself ends properly");
    let (cut, done) = (transcript.comment("error").is_some(), transcript.comment("done").is_some());
    assert_ne!(cut, done, "{row}: {transcript:?}");
    Answer { status, provider, detail: String::new(), error: String::new(), cut }
}

fn detail(body: &Value) -> String {
    body.get("detail").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Waits until the raw provider's caller has hung up.
pub async fn hung_up(raw: &RawProvider, marker: &str) {
    eventually(SETTLE_BOUND, "the call is ended", || async {
        let (calls, left) = raw.calls(marker);
        if calls > 0 && calls == left { Ok(()) } else { Err((calls, left)) }
    })
    .await;
}

/// The page: a line for each fault and form.
pub fn page(seen: &[Seen]) -> String {
    let mut page = String::from(
        "| What the provider does | Form | Attempt | With another behind it | Charged | Alone | Charged |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for with in seen.iter().filter(|seen| !seen.alone) {
        let same = |other: &&Seen| other.alone && other.what == with.what && other.streams == with.streams;
        let Some(alone) = seen.iter().find(same) else { continue };
        let form = if with.streams { "stream" } else { "whole" };
        let _infallible = writeln!(
            page,
            "| {} | {form} | `{}` | {} | {} | {} | {} |",
            with.what, with.attempt, with.outcome, with.charge, alone.outcome, alone.charge
        );
    }
    page
}
