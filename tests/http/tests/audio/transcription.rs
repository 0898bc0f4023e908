//! What is heard: forms of the transcript, who is asked, and what its length costs.

use crate::stage::{
    TRANSCRIPTIONS, field_of, file_of, form, mp3, recording, settled, sha256, transcribe, wav,
};
use http_tests::client::unique_marker;
use http_tests::provider_script::Behaviour;
use http_tests::vars::STT_MODELS;
use http_tests::world::{World, assert_credits, number, text};
use serde_json::{Value, json};

fn answer(body: &Value) -> Behaviour {
    Behaviour::page(200, "application/json", body.to_string())
}

#[tokio::test]
async fn a_recording_becomes_text_and_its_length_is_charged() {
    let world = World::verified().await;
    let tenant = world.tenant("hear", 1.0).await;
    let marker = unique_marker();
    let told = json!({"text": "What was said.", "usage": {"type": "duration", "seconds": 100}, "x": [1, 2]});
    world.openai.script(&marker, [answer(&told)]);
    let file = wav(100_000);
    let fields = [("language", "en"), ("temperature", "0.2"), ("future_field", "as it came")];
    let reply = transcribe(&tenant, &marker, &fields, recording(&file)).send().await.expect(200);
    assert_eq!(reply.json(), told);
    assert_eq!((reply.must_header("x-provider"), reply.must_header("x-model")), ("openai", STT_MODELS[0]));
    // A hundred seconds are a thousand tokens, at 0.05.
    assert_eq!(
        (reply.must_header("x-credits-used"), reply.must_header("x-credits-balance")),
        ("0.050", "0.950")
    );
    let call = world.openai.calls(&marker).remove(0);
    assert_eq!((call.path.as_str(), sha256(&file_of(&call))), (TRANSCRIPTIONS, sha256(&file)));
    for (name, value) in
        [("model", STT_MODELS[0]), ("language", "en"), ("temperature", "0.2"), ("future_field", "as it came")]
    {
        assert_eq!(field_of(&call, name).as_deref(), Some(value), "{name}");
    }
    assert!(
        call.body.contains("filename=\"audio.wav\"") && !call.body.contains("talk"),
        "a name is not passed on"
    );
    let rows = settled(&tenant, 1).await;
    assert_credits(number(&rows[0], "cost_credits"), 0.05, "by its length");
    assert_eq!((text(&rows[0], "route"), text(&rows[0]["meta"], "basis")), (TRANSCRIPTIONS, "reported"));
    assert_eq!(
        rows[0]["meta"]["units"],
        json!({"milliseconds": 100_000, "tokens_in": 1_000, "tokens_out": 0})
    );
}

#[tokio::test]
async fn every_form_goes_back_as_it_came() {
    let world = World::verified().await;
    let tenant = world.tenant("hear-forms", 1.0).await;
    let file = wav(1_000);
    let cue = "00:00:00,000 --> 00:00:01,000\nHello.\n";
    for (format, says, body, media) in [
        ("json", "application/json", r#"{"text":"Hello."}"#.to_owned(), "application/json; charset=utf-8"),
        (
            "verbose_json",
            "application/json",
            r#"{"text":"Hello.","duration":"1.0","segments":[]}"#.to_owned(),
            "application/json; charset=utf-8",
        ),
        ("text", "text/plain", "Hello.\n".to_owned(), "text/plain; charset=utf-8"),
        ("srt", "text/plain", format!("1\n{cue}"), "text/plain; charset=utf-8"),
        ("vtt", "text/vtt", format!("WEBVTT\n\n{}", cue.replace(',', ".")), "text/vtt; charset=utf-8"),
    ] {
        let marker = unique_marker();
        world.openai.script(&marker, [Behaviour::page(200, says, body.clone())]);
        let fields = [("response_format", format)];
        let reply = transcribe(&tenant, &marker, &fields, recording(&file)).send().await.expect(200);
        assert_eq!((reply.text(), reply.must_header("content-type")), (body, media), "{format}");
        assert_eq!(field_of(&world.openai.calls(&marker)[0], "response_format").as_deref(), Some(format));
    }
    settled(&tenant, 5).await;
}

#[tokio::test]
async fn the_binding_s_models_answer_in_every_form() {
    let world = World::verified().await;
    let tenant = world.tenant("hear-binding", 1.0).await;
    let file = wav(3_000);
    let words = json!([{"word": "Hello.", "start": 0.0, "end": 1.25}]);
    let heard = json!({
        "text": "Hello.", "duration": 2.5, "language": "en", "words": words,
        "segments": [{"start": 0.0, "end": 1.25, "text": " Hello."}],
    });
    for (model, basis) in [(STT_MODELS[2], "reported"), (STT_MODELS[3], "counted")] {
        for (format, expected) in [
            ("json", "{\"text\":\"Hello.\"}"),
            ("text", "Hello.\n"),
            ("srt", "1\n00:00:00,000 --> 00:00:01,250\nHello.\n\n"),
            ("vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:01.250\nHello.\n\n"),
        ] {
            let marker = unique_marker();
            // Deepgram's model takes no prompt, so there the file's name cannot say which test it is either.
            let key = if model == STT_MODELS[2] { marker.as_str() } else { "filename=\"audio.bin\"" };
            world.workers_ai.script(key, [answer(&heard)]);
            let fields = [("model", model), ("response_format", format), ("language", "en")];
            let reply = transcribe(&tenant, &marker, &fields, recording(&file)).send().await.expect(200);
            assert_eq!(
                (reply.text().as_str(), reply.must_header("x-provider")),
                (expected, "cfai"),
                "{model} {format}"
            );
        }
        tenant.settled_balance().await;
        let row = &tenant.usage().await[0];
        assert_eq!(text(&row["meta"], "basis"), basis, "{model}");
    }
    let call = world
        .workers_ai
        .all_calls()
        .into_iter()
        .rfind(|call| call.path.contains("transcriptions"))
        .expect("a call");
    assert_eq!(sha256(&file_of(&call)), sha256(&file), "the recording arrives whole");
    settled(&tenant, 8).await;
}

/// What a provider says of the length, what the file is, and what is charged of it.
#[tokio::test]
async fn the_length_is_reported_counted_or_estimated_and_never_absurd() {
    let prices = json!({STT_MODELS[0]: {"per_minute": 0.6}, STT_MODELS[1]: {"input": 0.6, "output": 1.2}});
    let world = World::private(json!({"MODEL_PRICES": prices.to_string(), "AUDIO_SECONDS_MAX": "600"})).await;
    let tenant = world.tenant("hear-lengths", 50.0).await;
    // Ten seconds exactly; and 80 seconds of MP3 at most, ten usually.
    let (exact, unknown) = (wav(10_000), mp3(80_000));
    let ask = async |model: &str, file: &[u8], more: Value| {
        let marker = unique_marker();
        let mut body = json!({"text": "x"});
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        for provider in [&world.openai, &world.groq] {
            provider.script(&marker, [answer(&body)]);
        }
        let name = if file.starts_with(b"RIFF") { "a.wav" } else { "a.mp3" };
        transcribe(&tenant, &marker, &[("model", model)], (name, "audio/x", file)).send().await.expect(200);
        tenant.settled_balance().await;
        tenant.usage().await.remove(0)
    };
    let seconds = |seconds: Value| json!({"usage": {"type": "duration", "seconds": seconds}});
    for (file, more, ms, basis, unbelieved) in [
        (&exact, seconds(json!(7)), 7_000, "reported", false),
        (&exact, json!({"duration": 9.5}), 9_500, "reported", false),
        (&exact, json!({}), 10_000, "counted", false),
        // Rounded up by its provider, and not charged as more than it is.
        (&exact, seconds(json!(11)), 10_000, "reported", false),
        (&exact, seconds(json!(12)), 10_000, "counted", true),
        (&exact, seconds(json!(-5)), 10_000, "counted", true),
        (&exact, seconds(json!(1e18)), 10_000, "counted", true),
        (&exact, seconds(json!("many")), 10_000, "counted", true),
        (&unknown, seconds(json!(79)), 79_000, "reported", false),
        (&unknown, json!({}), 10_000, "estimated", false),
        // Longer than it can be: as long as it can be.
        (&unknown, seconds(json!(9_999)), 80_000, "estimated", true),
        (&unknown, json!({"text": "x".repeat(450)}), 30_000, "estimated", false),
        (&unknown, json!({"duration": -1}), 10_000, "estimated", true),
        (&unknown, json!({"usage": {"input_tokens": 5, "output_tokens": 5}}), 10_000, "estimated", false),
    ] {
        let row = ask(STT_MODELS[0], file, more.clone()).await;
        let meta = &row["meta"];
        assert_eq!(
            (text(meta, "basis"), meta["units"]["milliseconds"].as_i64()),
            (basis, Some(ms)),
            "{more}"
        );
        assert_eq!(meta.get("usage_flag").is_some(), unbelieved, "{more}: {meta}");
        #[allow(clippy::cast_precision_loss)]
        let credits = ms as f64 / 60_000.0 * 0.6;
        assert_credits(
            number(&row, "cost_credits"),
            (credits * 1_000.0).round() / 1_000.0,
            &more.to_string(),
        );
    }
    // By tokens, where those have the price.
    let tokens = |tokens_in: u64, tokens_out: u64| json!({"usage": {"type": "tokens", "input_tokens": tokens_in, "output_tokens": tokens_out}});
    let row = ask(STT_MODELS[1], &exact, tokens(100, 50)).await;
    assert_eq!(
        (number(&row, "tokens_in"), number(&row, "tokens_out"), text(&row["meta"], "basis")),
        (100.0, 50.0, "reported")
    );
    assert_credits(number(&row, "cost_credits"), 0.12, "60 thousandths each");
    let row = ask(STT_MODELS[1], &exact, tokens(1_000_000, 5)).await;
    assert_eq!((number(&row, "tokens_in"), text(&row["meta"], "usage_flag")), (100.0, "inflated"));
    settled(&tenant, 16).await;
    // Longer than is taken here.
    let too_long = wav(601_000);
    let asked = transcribe(&tenant, "x", &[], recording(&too_long)).send().await;
    assert_eq!(asked.expect_error(400, "invalid_field").json()["error"]["param"], "file");
}

#[tokio::test]
async fn keys_bring_the_same_text_again() {
    let world = World::verified().await;
    let tenant = world.tenant("hear-key", 1.0).await;
    let marker = unique_marker();
    world.openai.script(&marker, [answer(&json!({"text": "first"})), answer(&json!({"text": "second"}))]);
    let file = wav(60_000);
    let asked = || transcribe(&tenant, &marker, &[], recording(&file)).idempotency_key("k").send();
    let told = asked().await.expect(200);
    let again = asked().await.expect(200);
    assert_eq!(
        (again.body, again.headers["idempotency-replayed"].to_str().ok()),
        (told.body.clone(), Some("true"))
    );
    // Another boundary, order and file name are the same request; other bytes and other fields are not.
    let (content_type, body) =
        form(&[("model", "auto"), ("prompt", &marker)], &[("file", ("other.wav", "audio/wav", &file))]);
    let same = tenant.post(TRANSCRIPTIONS).typed_body(&content_type, body).idempotency_key("k");
    assert_eq!(same.send().await.expect(200).body, told.body);
    let mut changed = file.clone();
    *changed.last_mut().expect("a sample") ^= 1;
    let other = transcribe(&tenant, &marker, &[], recording(&changed)).idempotency_key("k");
    other.send().await.expect_error(409, "idempotency_conflict");
    let other = transcribe(&tenant, &marker, &[("language", "de")], recording(&file)).idempotency_key("k");
    other.send().await.expect_error(409, "idempotency_conflict");
    let many =
        (0..6).map(|_| transcribe(&tenant, &marker, &[], recording(&file)).idempotency_key("many").send());
    for reply in futures::future::join_all(many).await {
        assert_eq!(reply.expect(200).json(), json!({"text": "second"}));
    }
    assert_eq!(world.calls_anywhere(&marker), 2);
    settled(&tenant, 2).await;
}
