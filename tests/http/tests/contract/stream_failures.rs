//! A stream that fails after its first piece: it says so, and what was delivered is settled.

use http_tests::client::unique_marker;
use http_tests::event_stream::Transcript;
use http_tests::poll::eventually;
use http_tests::provider_script::{Behaviour, Completion, Ending, Usage};
use http_tests::vars::{CREDIT_PER_1K, IDLE_TIMEOUT_MS};
use http_tests::world::{Tenant, World, assert_credits, number, text};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Long enough that its tokens cost something.
const LONG_PROMPT_WORDS: usize = 2_000;
const FIRST_PIECE: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"w0 \"},\"finish_reason\":null}]}\n\n";
/// Apart enough that the first piece is delivered before the next one comes.
const PIECE_GAP: Duration = Duration::from_millis(300);

fn prompt(marker: &str) -> Value {
    json!({"input": format!("{marker} {}", "word ".repeat(LONG_PROMPT_WORDS))})
}

async fn streamed(tenant: &Tenant, path: &str, marker: &str) -> Transcript {
    let stream = tenant.post(path).json(&prompt(marker)).open().await.expect_stream().await;
    stream.drain().await
}

/// The one usage item of a tenant, charged for `pieces` numbered words and the long prompt.
async fn assert_settled_for_delivered(tenant: &Tenant, credits: f64, pieces: f64) {
    let left = tenant.settled_balance().await;
    let item = tenant.usage_of(1).await.remove(0);
    let meta = item.get("meta").cloned().unwrap_or_default();
    assert_eq!(text(&meta, "basis"), "counted", "what was delivered is counted: {item}");
    assert_ne!(text(&meta, "outcome"), "complete", "{item}");
    let (tokens_in, tokens_out) = (number(&item, "tokens_in"), number(&item, "tokens_out"));
    #[allow(clippy::cast_precision_loss)]
    let words = LONG_PROMPT_WORDS as f64;
    assert!((words..words * 2.0).contains(&tokens_in), "{item}");
    // `w0 ` is one to three tokens by any count.
    assert!((pieces..=pieces * 3.0).contains(&tokens_out), "{pieces} pieces were delivered: {item}");
    let cost = number(&item, "cost_credits");
    let thousandths = ((tokens_in + tokens_out) * CREDIT_PER_1K + 0.5 + 1e-9).floor();
    assert_credits(cost, thousandths / 1_000.0, "the charge");
    assert_credits((left * 1e3).round(), ((credits - cost) * 1e3).round(), "the balance");
}

fn broken_after(pieces: usize) -> Behaviour {
    let completion = Completion::numbered(pieces, Duration::from_millis(20));
    Behaviour::Complete(completion.usage(Usage::new(9, 9)).ending(Ending::Broken))
}

#[tokio::test]
async fn a_provider_that_keeps_its_connection_open_does_not_keep_the_answer() {
    let world = World::verified().await;
    let tenant = world.tenant("held-open", 5.0).await;
    let marker = unique_marker();
    let completion = Completion::numbered(3, Duration::from_millis(20));
    let completion = completion.usage(Usage::new(1_900, 100)).ending(Ending::HeldOpen);
    world.groq.script(&marker, [Behaviour::Complete(completion)]);
    let started = Instant::now();
    let transcript = streamed(&tenant, "/api/si/ask", &marker).await;
    assert!(
        started.elapsed() < Duration::from_millis(IDLE_TIMEOUT_MS),
        "it waited for the provider to close"
    );
    assert_eq!(transcript.text(), "w0 w1 w2 ");
    let item = tenant.usage_of(1).await.remove(0);
    let meta = item.get("meta").cloned().unwrap_or_default();
    assert_eq!((text(&meta, "outcome"), text(&meta, "basis")), ("complete", "reported"), "{item}");
    assert_credits(tenant.settled_balance().await, 4.9, "the balance");
}

#[tokio::test]
async fn a_break_is_told_in_the_default_form() {
    let world = World::verified().await;
    let tenant = world.tenant("broken", 5.0).await;
    let marker = unique_marker();
    world.groq.script(&marker, [broken_after(4)]);
    let transcript = streamed(&tenant, "/api/si/ask", &marker).await;
    assert_eq!(transcript.text(), "w0 w1 w2 w3 ");
    assert_eq!(transcript.text_of_every_data_line(), "w0 w1 w2 w3 ", "no client shows the error as text");
    let error = transcript.comment("error").expect("an error comment");
    assert_eq!(text(&error, "error"), "provider_interrupted");
    assert_eq!(transcript.event("error").as_deref(), Some(""));
    assert!(transcript.comment("done").is_none(), "it is not done");
    assert!(!transcript.broken, "the stream itself ends properly");
    assert_settled_for_delivered(&tenant, 5.0, 4.0).await;
    let elsewhere = [&world.workers_ai, &world.openai, &world.local];
    let others: usize = elsewhere.iter().map(|provider| provider.calls(&marker).len()).sum();
    assert_eq!(others, 0, "nobody else is asked after the first piece");
}

#[tokio::test]
async fn a_broken_stream_is_charged_once_for_its_key() {
    let world = World::verified().await;
    let tenant = world.tenant("keyed-broken", 5.0).await;
    let marker = unique_marker();
    world.groq.script(&marker, [broken_after(4)]);
    let ask = || tenant.post("/api/si/ask").json(&prompt(&marker)).idempotency_key("broken");
    let first = ask().open().await.expect_stream().await.drain().await;
    let balance = tenant.settled_balance().await;
    let again = ask().open().await.expect_stream().await.drain().await;
    assert_eq!(again.text(), first.text());
    let error = again.comment("error").expect("the replay says that it is a part");
    assert_eq!(text(&error, "error"), "provider_interrupted");
    let whole = ask().send().await.expect(200).json();
    assert_eq!(whole.pointer("/result/interrupted"), Some(&json!(true)), "{whole}");
    assert_credits(tenant.settled_balance().await, balance, "charged once");
    assert_eq!(world.calls_anywhere(&marker), 1, "the model was asked once");
}

#[tokio::test]
async fn a_break_is_told_as_a_named_event() {
    let world = World::verified().await;
    let tenant = world.tenant("broken-named", 5.0).await;
    let marker = unique_marker();
    world.groq.script(&marker, [broken_after(2)]);
    let transcript = streamed(&tenant, "/api/si/ask?events=1", &marker).await;
    assert_eq!(transcript.text(), "w0 w1 ");
    let error = transcript.event_json("error");
    assert_eq!(text(&error, "error"), "provider_interrupted");
    assert!(!text(&error, "message").is_empty() && !text(&error, "request_id").is_empty());
    assert!(transcript.event("done").is_none());
    assert_settled_for_delivered(&tenant, 5.0, 2.0).await;
}

/// Ends without its end mark: nobody knows whether more should have come.
#[tokio::test]
async fn an_end_without_its_mark_is_a_break() {
    let world = World::verified().await;
    let tenant = world.tenant("unmarked", 5.0).await;
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::RawEvents { pieces: vec![FIRST_PIECE], gap: PIECE_GAP }]);
    let transcript = streamed(&tenant, "/api/si/ask?events=1", &marker).await;
    assert_eq!(transcript.text(), "w0 ");
    assert_eq!(text(&transcript.event_json("error"), "error"), "provider_interrupted");
    assert_settled_for_delivered(&tenant, 5.0, 1.0).await;
}

#[tokio::test]
async fn garbage_in_the_middle_is_a_break() {
    let world = World::verified().await;
    let endings = [
        "data: {\"choices\":\n\n",
        "data: <html>\n\n",
        "data: {\"error\":{\"message\":\"overloaded\"}}\n\n",
        "data: \u{0}\n\n",
    ];
    for garbage in endings {
        let tenant = world.tenant("garbage", 5.0).await;
        let marker = unique_marker();
        let pieces = vec![FIRST_PIECE, garbage];
        world.groq.script(&marker, [Behaviour::RawEvents { pieces, gap: PIECE_GAP }]);
        let transcript = streamed(&tenant, "/api/si/ask?events=1", &marker).await;
        assert_eq!(text(&transcript.event_json("error"), "error"), "provider_interrupted", "{garbage:?}");
        assert_eq!(transcript.text(), "w0 ", "{garbage:?}");
        tenant.settled_balance().await;
        assert_eq!(tenant.usage_of(1).await.len(), 1, "{garbage:?}");
    }
}

#[tokio::test]
async fn a_stalled_stream_is_cut_at_the_idle_deadline() {
    let world = World::verified().await;
    let tenant = world.tenant("stalled", 5.0).await;
    let marker = unique_marker();
    let stalled = Completion::numbered(3, Duration::from_millis(20)).ending(Ending::Stalled);
    world.groq.script(&marker, [Behaviour::Complete(stalled)]);
    let started = Instant::now();
    let transcript = streamed(&tenant, "/api/si/ask", &marker).await;
    let lasted = started.elapsed();
    let idle = Duration::from_millis(IDLE_TIMEOUT_MS);
    assert!(lasted >= idle - Duration::from_millis(100) && lasted < idle * 2, "{lasted:?}");
    assert_eq!(transcript.text(), "w0 w1 w2 ");
    assert!(transcript.comment("error").is_some());
    assert_settled_for_delivered(&tenant, 5.0, 3.0).await;
    eventually(Duration::from_secs(5), "the stalled call is cancelled", || async {
        let call = world.groq.calls(&marker).remove(0);
        if call.abandoned() { Ok(()) } else { Err(call) }
    })
    .await;
}

/// Slow is not stalled: each piece within the idle deadline, the whole beyond it.
/// What gateways send to keep a connection open, and empty pieces: neither is an answer, and neither may keep
/// an ask alive beyond its deadlines.
#[tokio::test]
async fn pings_do_not_prolong_a_stalled_stream() {
    let world = World::verified().await;
    for (name, ping) in [
        ("comments", ": ping\n\n"),
        (
            "empty",
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},\"finish_reason\":null}]}\n\n",
        ),
    ] {
        let tenant = world.tenant(name, 5.0).await;
        let marker = unique_marker();
        let pieces = std::iter::once(FIRST_PIECE).chain(std::iter::repeat_n(ping, 200)).collect();
        world.groq.script(&marker, [Behaviour::RawEvents { pieces, gap: PIECE_GAP }]);
        let started = Instant::now();
        let transcript = streamed(&tenant, "/api/si/ask", &marker).await;
        assert!(started.elapsed() < Duration::from_millis(IDLE_TIMEOUT_MS * 3), "{name} kept it open");
        assert_eq!(transcript.text(), "w0 ");
        assert_settled_for_delivered(&tenant, 5.0, 1.0).await;
    }
}

#[tokio::test]
async fn a_provider_that_runs_away_is_cut_and_charged_for_no_more_than_was_asked() {
    let world = World::verified().await;
    let tenant = world.tenant("runaway", 5.0).await;
    let marker = unique_marker();
    let endless = Completion::numbered(100, Duration::from_millis(1)).ending(Ending::Endless);
    world.groq.script(&marker, [Behaviour::Complete(endless)]);
    let body = json!({"input": marker, "max_tokens": 5});
    let stream = tenant.post("/api/si/ask").json(&body).open().await.expect_stream().await;
    let transcript = stream.drain().await;
    assert!(transcript.comment("error").is_some(), "it ended by itself");
    let delivered = transcript.text().len();
    assert!((20..1_000).contains(&delivered), "{delivered} bytes were delivered before the cut");
    let item = tenant.usage_of(1).await.remove(0);
    assert_eq!(number(&item, "tokens_out"), 5.0, "{item}");
    assert!(number(&item, "cost_credits") <= 0.004, "{item}");
}

/// Where pieces are long, their number says little of their tokens: then their bytes are what ends it.
#[tokio::test]
async fn long_pieces_run_away_no_further() {
    let world = World::verified().await;
    let tenant = world.tenant("long-pieces", 5.0).await;
    let marker = unique_marker();
    let piece = "word ".repeat(100);
    let pieces: Vec<&str> = std::iter::repeat_n(piece.as_str(), 40).collect();
    world.groq.script(&marker, [Behaviour::Complete(Completion::of(&pieces).ending(Ending::Endless))]);
    let body = json!({"input": marker, "max_tokens": 100});
    let stream = tenant.post("/api/si/ask?events=1").json(&body).open().await.expect_stream().await;
    let transcript = stream.drain().await;
    assert_eq!(text(&transcript.event_json("error"), "error"), "hold_used_up");
    let delivered = transcript.text().len();
    assert!((500..3_000).contains(&delivered), "{delivered} bytes were delivered before the cut");
    let item = tenant.usage_of(1).await.remove(0);
    assert_eq!(number(&item, "tokens_out"), 100.0, "{item}");
}

/// Tokens of other alphabets hold several letters of two bytes each; an honest answer in one is not cut.
#[tokio::test]
async fn an_answer_in_another_alphabet_may_be_as_long_as_it_was_asked_for() {
    let world = World::verified().await;
    let tenant = world.tenant("cyrillic", 5.0).await;
    let marker = unique_marker();
    let pieces: Vec<&str> = [" при", "слов"].into_iter().cycle().take(256).collect();
    let completion = Completion::of(&pieces).usage(Usage::new(40, 256));
    let whole = completion.text();
    world.groq.script(&marker, [Behaviour::Complete(completion)]);
    let body = json!({"input": marker, "max_tokens": 256});
    let stream = tenant.post("/api/si/ask").json(&body).open().await.expect_stream().await;
    let transcript = stream.drain().await;
    assert!(transcript.comment("error").is_none(), "{transcript:?}");
    assert_eq!(transcript.text(), whole);
    let item = tenant.usage_of(1).await.remove(0);
    assert_eq!((number(&item, "tokens_in"), number(&item, "tokens_out")), (40.0, 256.0), "{item}");
}

/// However the network cuts it: what comes before the end mark is the answer, what comes after it is nothing.
#[tokio::test]
async fn nothing_after_the_end_mark_counts() {
    const STOP: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    let world = World::verified().await;
    for (name, after) in [("evil", FIRST_PIECE), ("nonsense", "data: nonsense\n\n")] {
        let tenant = world.tenant(name, 5.0).await;
        let marker = unique_marker();
        let one_write: String = [FIRST_PIECE, STOP, "data: [DONE]\n\n", after].concat();
        world.groq.script(&marker, [Behaviour::page(200, "text/event-stream", one_write)]);
        let transcript = streamed(&tenant, "/api/si/ask", &marker).await;
        assert_eq!(transcript.text(), "w0 ", "{name}");
        assert!(transcript.comment("error").is_none(), "{name}: {transcript:?}");
        assert_eq!(world.calls_anywhere(&marker), 1, "{name}");
    }
}

#[tokio::test]
async fn a_slow_stream_is_not_cut() {
    let world = World::verified().await;
    let tenant = world.tenant("slow", 5.0).await;
    let marker = unique_marker();
    let gap = Duration::from_millis(IDLE_TIMEOUT_MS / 3);
    let slow = Completion::numbered(6, gap).usage(Usage::new(52, 192));
    world.groq.script(&marker, [Behaviour::Complete(slow)]);
    let transcript = streamed(&tenant, "/api/si/ask", &marker).await;
    assert_eq!(transcript.text(), "w0 w1 w2 w3 w4 w5 ");
    assert!(transcript.comment("done").is_some(), "{transcript:?}");
    assert_credits(tenant.settled_balance().await, 5.0 - 0.012, "charged as reported");
}
