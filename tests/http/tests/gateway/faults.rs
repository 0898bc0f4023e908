//! Everything a provider may do wrong, once with a good one behind it and once without: what becomes of the request,
//! of its time, of its charge and of its hold.

use crate::fault_table::{Does, Fault, Seen, Stage, Told, page};
use crate::faults_of_streams;
use crate::raw_provider::{RawProvider, RawReply, Then};
use futures::StreamExt;
use http_tests::provider::Provider;
use http_tests::provider_script::{Behaviour, Completion, Ending, Usage};
use http_tests::vars::FIRST_BYTE_TIMEOUT_MS;
use http_tests::world::World;
use serde_json::json;
use std::time::Duration;

/// Requests at one time: most of them wait for a deadline.
const AT_ONCE: usize = 6;
/// Where the page is written; a run without it only prints.
const REPORT: &str = "PROVIDER_FAULTS_REPORT";
/// The further server's own deadlines.
pub const CONNECT_MS: u64 = 600;
pub const IDLE_MS: u64 = 700;

const INTRODUCTION: &str = "# What a provider may do wrong\n\n\
    Written by `make provider-faults` from the replies of the release bundle on workerd; no line of it is typed. Each \
    fault is the first provider's, once with a good one behind it and once alone. In every row the reply came within \
    the deadline that applies, there is one usage row for an answer and none for a refusal, the balance is what the \
    usage row says, no hold is open and the tenant's books verify. `attempt` is the code of the usage row and the log; \
    for an answer, its outcome. The requests are in `tests/http/tests/gateway/`.\n\n";

pub fn json_page(body: &'static str) -> Does {
    Does::Scripted(Behaviour::page(200, "application/json", body))
}

fn answer(completion: Completion) -> Does {
    Does::Scripted(Behaviour::Complete(completion))
}

pub fn fine() -> Completion {
    Completion::of(&["fine"])
}

/// What goes for both forms.
fn of_both(lure: &Provider, streams: bool) -> Vec<Fault> {
    let fault = |what, does, told| Fault { what, streams, does, told, deadline_ms: 0 };
    let status = |code| Does::Scripted(Behaviour::status(code));
    let to = format!("{}/chat/completions", lure.base());
    vec![
        fault("HTML with status 200", Does::Scripted(Behaviour::html()), Told::Next("bad_content_type")),
        fault("429 with Retry-After: 30", Does::Scripted(Behaviour::busy(429, "30")), Told::Next("http_429")),
        fault("400", status(400), Told::Next("http_400")),
        fault("401", status(401), Told::Next("http_401")),
        fault("500", status(500), Told::Next("http_500")),
        fault("503", status(503), Told::Next("http_503")),
        fault(
            "a redirect to another host",
            Does::Scripted(Behaviour::Redirect { status: 307, to }),
            Told::Next("redirect_refused"),
        ),
        fault(
            "a reset before the headers",
            Does::Raw(RawReply::of("", Then::Reset)),
            Told::Next("unreachable"),
        ),
        fault(
            "a reset in the middle of the headers",
            Does::Raw(RawReply::of("HTTP/1.1 200 OK\r\nContent-Ty", Then::Reset)),
            Told::Next("unreachable"),
        ),
        fault(
            "no HTTP at all",
            Does::Raw(RawReply::of("SSH-2.0-x\r\n", Then::Close)),
            Told::Next("unreachable"),
        ),
        fault(
            "text that said it is a picture",
            Does::Scripted(Behaviour::page(200, "image/png", "x")),
            Told::Next("bad_content_type"),
        ),
        fault(
            "CR and LF in the name of its model",
            answer(fine().model("m\r\nX-Injected: yes").usage(Usage::new(52, 192))),
            Told::First("reported"),
        ),
        fault("no usage", answer(fine()), Told::First("counted")),
        fault(
            "negative usage",
            answer(fine().raw_usage(json!({"prompt_tokens": -5, "completion_tokens": -5}))),
            Told::First("counted"),
        ),
        fault(
            "usage beyond all that was asked",
            answer(fine().raw_usage(json!({"prompt_tokens": 4_000_000_000_u64, "completion_tokens": 9e15}))),
            Told::First("counted"),
        ),
        fault("usage that is a text", answer(fine().raw_usage(json!("many"))), Told::First("counted")),
    ]
}

fn of_whole_answers() -> Vec<Fault> {
    let fault = |what, does, told| Fault { what, streams: false, does, told, deadline_ms: 0 };
    let late =
        |what, does, told| Fault { what, streams: false, does, told, deadline_ms: FIRST_BYTE_TIMEOUT_MS };
    // In few large pieces: on a busy machine its size must be what ends it, and not its time.
    let endless = Then::Repeat(vec![b'a'; 1 << 20], Duration::ZERO);
    vec![
        fault("half a JSON", Does::Scripted(Behaviour::truncated_json()), Told::Next("malformed")),
        fault(
            "a reset after half a body",
            Does::Scripted(Behaviour::Complete(Completion::of(&["half"]).ending(Ending::Broken))),
            Told::Next("interrupted"),
        ),
        fault(
            "a reset after the headers",
            Does::Raw(RawReply::begun("application/json", "", Then::Reset)),
            Told::Next("interrupted"),
        ),
        fault("an empty body", json_page(""), Told::Next("malformed")),
        fault(
            "an error with status 200",
            json_page(r#"{"error":{"message":"no"}}"#),
            Told::Next("malformed"),
        ),
        fault("no choices", json_page(r#"{"choices":[]}"#), Told::Next("malformed")),
        fault(
            "a body of 1 GB",
            Does::Scripted(Behaviour::Giant { body_bytes: 1 << 30 }),
            Told::Next("too_large"),
        ),
        fault(
            "a body without an end",
            Does::Raw(RawReply::begun("application/json", "{\"choices\":\"", endless)),
            Told::Next("too_large"),
        ),
        late("silence", Does::Scripted(Behaviour::silent()), Told::Next("timeout_total")),
        late(
            "headers and then silence",
            Does::Raw(RawReply::begun("application/json", "", Then::Hold)),
            Told::Next("timeout_total"),
        ),
        late(
            "one byte a second",
            Does::Scripted(Behaviour::Dripping { gap: Duration::from_secs(1) }),
            Told::Next("timeout_total"),
        ),
    ]
}

/// All providers of the four tiers stand in the usual order, so that tiers can name them.
fn variables(raw: &RawProvider) -> serde_json::Value {
    let servers = json!({"raw": {
        "base": raw.base(), "model": "raw-model", "connect_ms": CONNECT_MS, "idle_ms": IDLE_MS,
    }});
    let tiers = json!({
        "groq-first": {"providers": ["groq", "cfai"]},
        "groq-alone": {"providers": ["groq"]},
        "raw-first": {"providers": ["raw", "cfai"]},
        "raw-alone": {"providers": ["raw"]},
    });
    json!({
        "PROVIDERS": servers.to_string(),
        "TIERS": tiers.to_string(),
        "PLANS": null,
        "PREFERRED_PROVIDER": "groq,cfai,raw",
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_is_a_clean_fallback_or_a_clear_error() {
    let (raw, lure) = (RawProvider::start().await, Provider::start().await);
    let world = World::private(variables(&raw)).await;
    let stage = Stage { world: &world, raw: &raw };
    let mut faults = of_both(&lure, false);
    faults.extend(of_whole_answers());
    faults.extend(of_both(&lure, true));
    faults.extend(faults_of_streams::all());
    let (stage, faults) = (&stage, &faults);
    let plays = (0..faults.len()).flat_map(|at| [(at, false), (at, true)]);
    let seen: Vec<Seen> = futures::stream::iter(plays)
        .map(|(at, alone)| async move { stage.play(&faults[at], alone).await })
        .buffered(AT_ONCE)
        .collect()
        .await;
    assert!(
        lure.all_calls().is_empty(),
        "a redirect was followed, and the key with it: {:?}",
        lure.all_calls()
    );
    faults_of_streams::deadlines_are_told_apart(stage).await;
    let page = page(&seen);
    println!("{page}");
    if let Ok(path) = std::env::var(REPORT) {
        std::fs::write(&path, format!("{INTRODUCTION}{page}")).expect("the report is written");
    }
    assert_eq!(seen.len(), faults.len() * 2);
}
