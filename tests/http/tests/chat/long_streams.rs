//! A very long answer passes through in memory that does not grow with it, and no faster than its client takes it.

use crate::stage::{chat, post};
use http_tests::client::unique_marker;
use http_tests::event_stream::EventStream;
use http_tests::memory::Watch;
use http_tests::provider_script::{Behaviour, Usage};
use http_tests::world::{Tenant, World, number, text};
use serde_json::json;
use std::time::{Duration, Instant};

/// A hundred megabytes, or as many as `STREAM_MEMORY_MB` says.
fn stream_bytes() -> usize {
    let megabytes = std::env::var("STREAM_MEMORY_MB").ok().filter(|text| !text.is_empty());
    let megabytes =
        megabytes.map_or(100, |text| text.parse().expect("STREAM_MEMORY_MB is a number of megabytes"));
    megabytes * 1_000_000
}

/// One event of it. OpenAI pads events with a member of that name; how much makes no difference to what is tested, but
/// to how long the test takes.
const EVENT_BYTES: usize = 2_000;
const EVENT_TEXT: &str = "a piece of an answer, of some words";

/// What passes before anything is measured: the runtime gives its heap some hundred megabytes more room than it needs,
/// whatever a Worker does with a stream, and most of that until then.
const WARM_BYTES: usize = 100_000_000;
/// The most by which workerd may grow from then on, whatever the length of an answer: less than the shortest that is
/// sent. Its heap still comes and goes by some forty megabytes, as it does where JavaScript reads a stream.
const GROWTH_BYTES_MAX: u64 = 90 * 1024 * 1024;
/// Read by the Worker and not passed on yet: nothing near a megabyte, whatever the kernel's buffers are.
const WITHIN_BYTES_MAX: u64 = 1024 * 1024;

/// How often a slow client stops, and for how long a provider must then send nothing.
const STOPS: usize = 4;
const STILL: Duration = Duration::from_millis(700);
/// The longest that the buffers may take to fill up: below `IDLE_TIMEOUT_MS`, after which the client counts as gone.
const FILL: Duration = Duration::from_secs(15);

/// The most that a provider gets rid of ahead of a client that does not read. All but `WITHIN_BYTES_MAX` of it is in
/// buffers of the kernel, of two connections with two ends each, which it lets grow as far as its settings say: from
/// one machine to the next and from one run to the next that is a few megabytes or some forty.
fn ahead_bytes_max() -> u64 {
    let largest = |buffer: &str| {
        let sizes =
            std::fs::read_to_string(format!("/proc/sys/net/ipv4/{buffer}")).expect("a setting of the kernel");
        sizes.split_whitespace().last().and_then(|size| size.parse::<u64>().ok()).expect("a size in bytes")
    };
    2 * (largest("tcp_rmem") + largest("tcp_wmem")) + WITHIN_BYTES_MAX
}

/// The limits that cut answers this long are limits of tokens, which are set here to the highest there may be.
async fn world() -> World {
    let changes = json!({
        "MAX_OUTPUT_TOKENS": "1000000",
        "IDLE_TIMEOUT_MS": "20000",
        "ASK_TIMEOUT_MS": "900000",
        "HOLD_TTL_MS": "1000000",
    });
    World::private(changes).await
}

fn event() -> String {
    let around = json!({
        "id": "chatcmpl-long", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "m",
        "choices": [{"index": 0, "delta": {"content": EVENT_TEXT}, "finish_reason": null}], "obfuscation": "",
    });
    let around = format!("data: {around}\n\n");
    let padding = "x".repeat(EVENT_BYTES - around.len());
    around.replace(r#""obfuscation":"""#, &format!(r#""obfuscation":"{padding}""#))
}

/// Opens a stream of so many events.
async fn open(world: &World, tenant: &Tenant, marker: &str, events: usize) -> EventStream {
    let event = event();
    assert_eq!(event.len(), EVENT_BYTES);
    let usage = Usage::new(52, u64::try_from(events).expect("a small number"));
    world.groq.script(marker, [Behaviour::Repeated { event: event.into(), times: events, usage }]);
    let asked = chat(marker, json!({"stream": true, "max_tokens": 1_000_000}));
    post(tenant, &asked).open().await.expect_stream().await
}

/// Reads to the end: how many bytes there were, and the last of them.
async fn read_all(stream: &mut EventStream) -> (usize, String) {
    const END_BYTES: usize = 2_000;
    let (mut count, mut end) = (0, Vec::new());
    while let Some(bytes) = stream.next_bytes().await {
        count += bytes.len();
        end.extend_from_slice(&bytes);
        end.drain(..end.len().saturating_sub(END_BYTES));
    }
    (count, String::from_utf8_lossy(&end).into_owned())
}

/// It came whole, and what the provider reported was charged.
async fn assert_whole(tenant: &Tenant, (count, end): (usize, String), events: usize) {
    assert!(count >= events * EVENT_BYTES, "{count} bytes came, and at the end {end}");
    assert!(end.ends_with("data: [DONE]\n\n"), "{end}");
    let row = &tenant.usage_of(1).await[0];
    let meta = row.get("meta").expect("what it was");
    assert_eq!((text(meta, "outcome"), text(meta, "basis")), ("complete", "reported"));
    assert!((number(row, "tokens_out") - number(&json!({"events": events}), "events")).abs() < 0.5, "{row}");
    assert!(tenant.open_holds().await.is_empty());
    tenant.verified().await;
}

fn assert_constant(who: &str, before: u64, peak: u64) {
    const MIB: u64 = 1024 * 1024;
    let growth = peak.saturating_sub(before);
    println!("{who}: {} MiB before, at most {} MiB more", before / MIB, growth / MIB);
    assert!(growth <= GROWTH_BYTES_MAX, "{who}: workerd grew by {growth} bytes, from {before}");
}

#[tokio::test]
async fn a_long_answer_passes_in_constant_memory() {
    let world = world().await;
    let workerd = world.stack.workerd();
    let events = stream_bytes() / EVENT_BYTES;

    let tenant = world.tenant("long-first", 1_000.0).await;
    let warm = WARM_BYTES / EVENT_BYTES;
    let watch = Watch::begin(workerd);
    let read = read_all(&mut open(&world, &tenant, &unique_marker(), warm).await).await;
    assert_whole(&tenant, read, warm).await;
    let before = watch.peak_bytes();

    let tenant = world.tenant("long-fast", 1_000.0).await;
    let watch = Watch::begin(workerd);
    let read = read_all(&mut open(&world, &tenant, &unique_marker(), events).await).await;
    assert_constant("a fast client", before, watch.peak_bytes());
    assert_whole(&tenant, read, events).await;

    let tenant = world.tenant("long-slow", 1_000.0).await;
    let marker = unique_marker();
    let watch = Watch::begin(workerd);
    let mut stream = open(&world, &tenant, &marker, events).await;
    let mut count = 0;
    for stop in 1..=STOPS {
        while count < stream_bytes() / (STOPS + 1) * stop {
            count += stream.next_bytes().await.expect("the stream goes on").len();
        }
        let sent = assert_waits_for_its_reader(&world, &marker, count).await;
        let all = u64::try_from(stream_bytes()).expect("a count of bytes");
        // With the widest buffers there may be, the last stops come when the provider is done.
        let told = u64::try_from(count).expect("a count of bytes") + ahead_bytes_max() >= all;
        assert!(told || sent < all, "the provider had sent all of it when {count} bytes were read");
    }
    let (rest, end) = read_all(&mut stream).await;
    assert_constant("a slow client", before, watch.peak_bytes());
    assert_whole(&tenant, (count + rest, end), events).await;
}

/// Nobody reads now: the provider fills what buffers there are, and then cannot go on.
/// How much it has sent then, in bytes.
async fn assert_waits_for_its_reader(world: &World, marker: &str, read_bytes: usize) -> u64 {
    let sent = || world.groq.calls(marker).remove(0).bytes_sent();
    let began = Instant::now();
    let mut filled = sent();
    let ahead_bytes_max = ahead_bytes_max();
    loop {
        tokio::time::sleep(STILL).await;
        let now = sent();
        let ahead = now.saturating_sub(u64::try_from(read_bytes).expect("a count of bytes"));
        assert!(ahead <= ahead_bytes_max, "the provider could send {ahead} bytes ahead of its reader");
        if now == filled {
            println!("a slow client: the provider is {} KiB ahead of it, and waits", ahead / 1_024);
            return now;
        }
        assert!(began.elapsed() < FILL, "the provider goes on sending, {ahead} bytes ahead of its reader");
        filled = now;
    }
}
