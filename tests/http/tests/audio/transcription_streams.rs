//! Transcripts as events.

use crate::stage::{recording, settled, sound, transcribe, wav};
use bytes::Bytes;
use http_tests::client::unique_marker;
use http_tests::provider_script::{Behaviour, Ending};
use http_tests::vars::STT_MODELS;
use http_tests::world::{Tenant, World, text};
use serde_json::{Value, json};

const STREAMS: [(&str, &str); 1] = [("stream", "true")];

fn events(usage: &Value) -> Vec<Bytes> {
    let delta = |word: &str| json!({"type": "transcript.text.delta", "delta": word});
    let done = json!({"type": "transcript.text.done", "text": "Hello there.", "usage": usage});
    let events = [delta("Hello"), delta(" there."), done];
    events.iter().map(|event| Bytes::from(format!("data: {event}\n\n"))).collect()
}

async fn basis(tenant: &Tenant) -> [String; 2] {
    let rows = settled(tenant, 1).await;
    ["basis", "outcome"].map(|name| text(&rows[0]["meta"], name).to_owned())
}

#[tokio::test]
async fn events_are_passed_on_and_their_usage_is_charged() {
    let world = World::verified().await;
    let tenant = world.tenant("hear-events", 1.0).await;
    let marker = unique_marker();
    let all = events(&json!({"type": "duration", "seconds": 60}));
    world
        .openai
        .script(&marker, [sound("text/event-stream", &all, 30, Ending::Proper), Behaviour::status(500)]);
    let file = wav(60_000);
    let asked = || transcribe(&tenant, &marker, &STREAMS, recording(&file)).idempotency_key("k").send();
    let told = asked().await.expect(200);
    assert_eq!(told.body, all.concat());
    assert_eq!(told.must_header("content-type"), "text/event-stream; charset=utf-8");
    let again = asked().await.expect(200);
    assert_eq!((again.body, again.headers.contains_key("idempotency-replayed")), (told.body, true));
    assert_eq!(basis(&tenant).await, ["reported", "complete"]);
    assert_eq!(tenant.usage().await[0]["cost_credits"], json!(0.03));
}

#[tokio::test]
async fn one_that_breaks_off_or_has_no_end_is_no_whole_transcript() {
    let world = World::verified().await;
    let file = wav(1_000);
    for ending in [Ending::Broken, Ending::Stalled, Ending::Proper] {
        let tenant = world.tenant("hear-broken", 1.0).await;
        let marker = unique_marker();
        let some = events(&Value::Null)[..2].to_vec();
        world.openai.script(&marker, [sound("text/event-stream", &some, 0, ending)]);
        let stream =
            transcribe(&tenant, &marker, &STREAMS, recording(&file)).open().await.expect_stream().await;
        assert!(stream.drain().await.broken, "{ending:?}");
        assert_eq!(basis(&tenant).await, ["counted", "interrupted"], "{ending:?}");
    }
}

#[tokio::test]
async fn whoever_sends_none_is_followed_by_the_next_and_the_binding_is_not_asked() {
    let world = World::verified().await;
    let tenant = world.tenant("hear-no-events", 1.0).await;
    let marker = unique_marker();
    let file = wav(1_000);
    world.groq.script(&marker, [sound("text/event-stream", &events(&Value::Null), 0, Ending::Proper)]);
    // The first answers with a whole transcript.
    let reply = transcribe(&tenant, &marker, &STREAMS, recording(&file)).send().await.expect(200);
    assert_eq!(reply.must_header("x-provider"), "groq");
    let fields = [("stream", "true"), ("model", STT_MODELS[2])];
    let error = transcribe(&tenant, &marker, &fields, recording(&file)).send().await;
    assert_eq!(error.expect_error(400, "invalid_field").json()["error"]["param"], "stream");
    settled(&tenant, 1).await;
}
