//! `transcribe`: a recording of the tenant's own, as text, with one charge, whatever happens in between.

use crate::stage::{BOUND, JOBS, asked, ended, id, made, none_made, returned, settled, until, with};
use http_tests::client::unique_marker;
use http_tests::provider_script::Behaviour;
use http_tests::recording::wav;
use http_tests::uploads::{deleted, metadata, picture, planted, uploaded};
use http_tests::vars::STT_MODELS;
use http_tests::world::{Tenant, World, assert_credits, number, text, whole};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

/// A hundred seconds are a thousand tokens, at 0.05.
const LENGTH_MS: u32 = 100_000;
const CHARGE: f64 = 0.05;

fn answer(body: &Value) -> Behaviour {
    Behaviour::page(200, "application/json", body.to_string())
}

/// What is told of a recording of that length.
fn heard(said: &str) -> Behaviour {
    answer(&json!({"text": said, "usage": {"type": "duration", "seconds": 100}}))
}

async fn recorded(tenant: &Tenant) -> String {
    uploaded(tenant, "talk.wav", "audio/wav", wav(LENGTH_MS)).await
}

/// A job for the one server of this model; the marker is the prompt.
fn hearing(key: &str, marker: &str) -> Value {
    json!({"type": "transcribe", "params": {"audio": key, "prompt": marker, "model": STT_MODELS[0]}})
}

fn with_params(body: &Value, more: Value) -> Value {
    json!({"type": body["type"], "params": with(body["params"].clone(), more)})
}

#[tokio::test]
async fn a_recording_is_written_down_and_charged_once() {
    let world = World::verified().await;
    let tenant = world.tenant("transcribe", 2.0).await;
    let marker = unique_marker();
    let told = json!({
        "text": "What was said.", "language": "english", "duration": 100.0, "provider": "forged",
        "segments": [{"id": 0, "start": 0.0, "end": 100.0, "text": "What was said."}],
    });
    world.openai.script(&marker, [answer(&told)]);
    let key = recorded(&tenant).await;
    let more = json!({
        "language": "en", "response_format": "verbose_json", "temperature": 0.2,
        "timestamp_granularities": ["segment"], "audio": {"key": key, "name": "My talk.WAV"},
    });
    let body = with_params(&hearing(&key, &marker), more);
    let first = made(&tenant, &body).await;
    assert_eq!((text(&first, "type"), &first["params"]), ("transcribe", &body["params"]));
    let done = ended(&tenant, id(&first), "succeeded").await;
    let result = &done["result"];
    for member in ["text", "language", "duration", "segments"] {
        assert_eq!(result[member], told[member], "{result}");
    }
    assert_eq!((text(result, "provider"), text(result, "model")), ("openai", STT_MODELS[0]));
    assert_credits(number(result, "credits_used"), CHARGE, "what it cost");
    assert_credits(number(result, "balance_after"), 2.0 - CHARGE, "the balance right after");
    let call = world.openai.calls(&marker).remove(0);
    let file = wav(LENGTH_MS);
    let at = call.bytes.windows(4).position(|window| window == b"RIFF").expect("a recording");
    assert!(call.bytes[at..].starts_with(&file), "it arrives whole");
    for (name, value) in [
        ("model", STT_MODELS[0]),
        ("language", "en"),
        ("temperature", "0.2"),
        ("response_format", "verbose_json"),
        ("timestamp_granularities[]", "segment"),
    ] {
        assert!(call.body.contains(&format!("name=\"{name}\"\r\n\r\n{value}\r\n")), "{name}");
    }
    assert!(
        call.body.contains("filename=\"audio.wav\"") && !call.body.contains("talk"),
        "no name is passed on"
    );
    let usage = tenant.usage_of(1).await;
    assert_eq!((text(&usage[0], "id"), text(&usage[0], "route")), (id(&first), JOBS));
    assert_eq!(text(&usage[0]["meta"], "basis"), "reported");
    let units = json!({"milliseconds": LENGTH_MS, "tokens_in": 1_000, "tokens_out": 0});
    assert_eq!(usage[0]["meta"]["units"], units);
    assert_credits(tenant.balance().await, 2.0 - CHARGE, "one charge");
    settled(&tenant).await;
}

#[tokio::test]
async fn whoever_fails_is_followed_by_the_next_and_every_form_is_a_result() {
    let world = World::verified().await;
    let tenant = world.tenant("transcribe-forms", 5.0).await;
    let key = recorded(&tenant).await;
    let subtitles = "1\n00:00:00,000 --> 00:00:01,000\nHello.\n";
    for (format, says, body, expected) in [
        ("json", "application/json", r#"{"text":"Hello."}"#, "Hello."),
        ("text", "text/plain", "Hello.\n", "Hello.\n"),
        ("srt", "text/plain", subtitles, subtitles),
        ("vtt", "text/vtt", "WEBVTT\n\n", "WEBVTT\n\n"),
    ] {
        let marker = unique_marker();
        world.openai.script(&marker, [Behaviour::status(500)]);
        world.groq.script(&marker, [Behaviour::page(200, says, body)]);
        let asked = with_params(&hearing(&key, &marker), json!({"model": "auto", "response_format": format}));
        let reply = tenant.post("/api/jobs/run").json(&asked).send().await.expect(200).json();
        let (job, result) = (&reply["job"], &reply["job"]["result"]);
        assert_eq!((text(job, "status"), whole(job, "attempts")), ("succeeded", 1), "{reply}");
        assert_eq!((text(result, "text"), text(result, "provider")), (expected, "groq"), "{format}");
    }
    // By the head of the file: nobody reported anything.
    let usage = tenant.usage_of(4).await;
    for row in &usage {
        assert_eq!(
            (text(&row["meta"], "basis"), whole(&row["meta"]["units"], "milliseconds")),
            ("counted", 100_000)
        );
        assert_eq!(row["meta"]["attempts"].as_array().map(Vec::len), Some(2), "{row}");
    }
    assert_credits(tenant.balance().await, 5.0 - 4.0 * CHARGE, "four charges");
    settled(&tenant).await;
}

#[tokio::test]
async fn it_is_tried_again_when_nobody_answers_and_not_when_it_is_wrong_itself() {
    let world = World::verified().await;
    let tenant = world.tenant("transcribe-again", 2.0).await;
    let key = recorded(&tenant).await;
    let marker = unique_marker();
    world.openai.script(&marker, [Behaviour::status(500), heard("at last")]);
    let first = made(&tenant, &hearing(&key, &marker)).await;
    let done = ended(&tenant, id(&first), "succeeded").await;
    assert_eq!((text(&done["result"], "text"), whole(&done, "attempts")), ("at last", 2), "{done}");
    assert_credits(tenant.balance().await, 2.0 - CHARGE, "one charge");
    for (status, error, reason, attempts) in
        [(500, "si_ask_failed", "attempts_exhausted", 3), (400, "request_refused", "final_error", 1)]
    {
        let marker = unique_marker();
        world.openai.script(&marker, [Behaviour::status(status)]);
        let first = made(&tenant, &hearing(&key, &marker)).await;
        let failed = ended(&tenant, id(&first), "failed").await;
        assert_eq!((text(&failed["result"], "error"), text(&failed, "reason")), (error, reason), "{failed}");
        assert_eq!(
            (whole(&failed, "attempts"), world.calls_anywhere(&marker)),
            (attempts, attempts as usize)
        );
    }
    assert_credits(tenant.balance().await, 2.0 - CHARGE, "what fails costs nothing");
    settled(&tenant).await;
}

#[tokio::test]
async fn a_lost_worker_costs_an_attempt_and_no_charge() {
    let mut world = World::private(json!({"JOB_LEASE_MS": "2000"})).await;
    let tenant = world.tenant("transcribe-lost", 2.0).await;
    let marker = unique_marker();
    world.openai.script(&marker, [Behaviour::silent(), heard("again")]);
    let key = recorded(&tenant).await;
    let first = made(&tenant, &hearing(&key, &marker)).await;
    asked(&world, &marker).await;
    world.stack.kill_workerd();
    world.stack.restart();
    let tenant = returned(&world, tenant);
    let done = until(&tenant, id(&first), "succeeded", Duration::from_secs(45)).await;
    assert_eq!((text(&done["result"], "text"), whole(&done, "attempts")), ("again", 2), "{done}");
    assert_eq!(tenant.usage().await.len(), 1);
    assert_credits(tenant.balance().await, 2.0 - CHARGE, "one charge");
    settled(&tenant).await;
}

#[tokio::test]
async fn a_recording_that_is_gone_or_another_ends_the_job() {
    let world = World::verified().await;
    let tenant = world.tenant("transcribe-gone", 2.0).await;
    let (gone, grown) = (recorded(&tenant).await, recorded(&tenant).await);
    let bears = metadata(world, &grown);
    let marker = unique_marker();
    let longer = wav(LENGTH_MS + 1_000);
    let soon = |key: &str| with(hearing(key, &marker), json!({"delay_s": 6}));
    let jobs = [
        (made(&tenant, &soon(&gone)).await, "attachment_not_found"),
        (made(&tenant, &soon(&grown)).await, "attachment_changed"),
    ];
    deleted(world, &gone);
    planted(world, &grown, "audio/wav", &longer, bears);
    for (job, error) in jobs {
        let failed = ended(&tenant, id(&job), "failed").await;
        assert_eq!((text(&failed["result"], "error"), whole(&failed, "attempts")), (error, 1), "{failed}");
        assert_eq!(text(&failed, "reason"), "final_error");
    }
    assert_eq!(world.calls_anywhere(&marker), 0);
    assert_credits(tenant.balance().await, 2.0, "nothing was charged");
    settled(&tenant).await;
}

#[tokio::test]
async fn what_is_wrong_is_said_before_there_is_a_job() {
    let world = World::private(json!({"MAX_UPLOAD_BYTES": "30000000", "AUDIO_SECONDS_MAX": "200"})).await;
    let tenant = world.tenant("transcribe-wrong", 2.0).await;
    let other = world.tenant("transcribe-other", 2.0).await;
    let marker = unique_marker();
    let own = recorded(&tenant).await;
    let theirs = recorded(&other).await;
    let missing = recorded(&tenant).await;
    deleted(&world, &missing);
    for key in [&*theirs, &missing, "uploads/x", ""] {
        for path in [JOBS, "/api/jobs/run"] {
            let reply = tenant.post(path).json(&hearing(key, &marker)).send().await;
            let refused = reply.expect_error(404, "attachment_not_found").json();
            assert_eq!(refused["index"], 0, "{refused}");
        }
        let schedule = json!({"cron": "0 0 1 1 *", "job": hearing(key, &marker)});
        let set = tenant.client.call(Method::PUT, "/api/jobs/schedules/talks").user(&tenant.email);
        set.json(&schedule).send().await.expect_error(404, "attachment_not_found");
    }
    let large = uploaded(&tenant, "l.wav", "audio/wav", vec![0; 26_214_401]).await;
    let reply = tenant.post(JOBS).json(&hearing(&large, &marker)).send().await;
    assert_eq!(reply.expect_error(413, "attachment_too_large").json()["max_bytes"], 26_214_400);
    let too_long = uploaded(&tenant, "long.wav", "audio/wav", wav(201_000)).await;
    let note = uploaded(&tenant, "a.txt", "text/plain", "words").await;
    let untyped = uploaded(&tenant, "a", "application/octet-stream", "words").await;
    let seen = uploaded(&tenant, "a.png", "image/png", picture(500)).await;
    for (change, field) in [
        (json!({"audio": too_long}), "audio"),
        (json!({"audio": note}), "audio"),
        (json!({"audio": untyped}), "audio"),
        (json!({"audio": seen}), "audio"),
        (json!({"audio": null}), "audio"),
        (json!({"audio": [own]}), "audio"),
        (json!({"language": "not a code"}), "language"),
        (json!({"response_format": "xml"}), "response_format"),
        (json!({"temperature": 2}), "temperature"),
    ] {
        let reply =
            tenant.post(JOBS).json(&with_params(&hearing(&own, &marker), change.clone())).send().await;
        assert_eq!(reply.expect_error(400, "invalid_field").json()["field"], field, "{change}");
    }
    let unknown = with_params(&hearing(&own, &marker), json!({"model": "nobody-s"}));
    tenant.post(JOBS).json(&unknown).send().await.expect_error(404, "model_not_found");
    none_made(&tenant).await;
    // By its first bytes it is sound, whatever it is called.
    let untyped = uploaded(&tenant, "a", "text/plain", wav(1_000)).await;
    ended(&tenant, id(&made(&tenant, &hearing(&untyped, &marker)).await), "succeeded").await;
    settled(&tenant).await;
}

#[tokio::test]
async fn who_cannot_pay_for_its_length_has_no_job() {
    let world = World::verified().await;
    let poor = world.tenant("transcribe-poor", 0.1).await;
    let marker = unique_marker();
    let key = recorded(&poor).await;
    let refused = poor.post(JOBS).json(&hearing(&key, &marker)).send().await;
    let refused = refused.expect_error(402, "insufficient_credits").json();
    // What a request would have to set aside.
    let fields = [("prompt", marker.as_str()), ("model", STT_MODELS[0])];
    let file = wav(LENGTH_MS);
    let (content_type, form) =
        http_tests::recording::form(&fields, &[("file", ("a.wav", "audio/wav", &file))]);
    let request = poor.post("/v1/audio/transcriptions").typed_body(&content_type, form).send().await;
    request.expect_error(402, "insufficient_credits");
    none_made(&poor).await;
    assert_eq!(world.calls_anywhere(&marker), 0);
    poor.set_balance(number(&refused, "needed")).await;
    world.openai.script(&marker, [heard("paid")]);
    ended(&poor, id(&made(&poor, &hearing(&key, &marker)).await), "succeeded").await;
    settled(&poor).await;
}

/// Two of ten megabytes have room in an isolate at one time: the others wait, and none fails for it.
#[tokio::test]
async fn large_recordings_wait_for_their_room() {
    const AT_ONCE: usize = 4;
    let patient =
        json!({"FIRST_BYTE_TIMEOUT_MS": "20000", "ANSWER_TIMEOUT_MS": "20000", "ASK_TIMEOUT_MS": "40000"});
    let world = World::private(patient).await;
    let tenant = world.tenant("transcribe-room", 50.0).await;
    let marker = unique_marker();
    world.openai.script(&marker, [Behaviour::late(Duration::from_millis(700), heard("in its turn"))]);
    let key = uploaded(&tenant, "large.wav", "audio/wav", wav(320_000)).await;
    let body = hearing(&key, &marker);
    let runs = (0..AT_ONCE).map(|_| tenant.post("/api/jobs/run").json(&body).send());
    let most = std::cell::Cell::new(0);
    let watching = async {
        loop {
            let calls = world.openai.calls(&marker);
            most.set(calls.iter().filter(|call| !call.finished()).count().max(most.get()));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let replies = tokio::select! {
        replies = futures::future::join_all(runs) => replies,
        () = watching => unreachable!("it watches until all are done"),
    };
    for reply in replies {
        let job = reply.expect(200).json()["job"].clone();
        assert_eq!((text(&job, "status"), whole(&job, "attempts")), ("succeeded", 1), "{job}");
    }
    assert!((1..=2).contains(&most.get()), "{} at once", most.get());
    assert_eq!(tenant.usage_of(AT_ONCE).await.len(), AT_ONCE);
    settled(&tenant).await;
}

#[tokio::test]
async fn a_guest_has_its_own_recordings_written_down() {
    let world = World::verified().await;
    let client = world.client();
    let guest = client.post("/auth/guest").send().await.expect(200).json();
    let token = text(&guest, "token").to_owned();
    let upload = client.post("/api/upload/direct").bearer(&token).typed_body("audio/wav", wav(1_000));
    let key = upload.send().await.expect(200).json()["key"].clone();
    let body = hearing(key.as_str().expect("a key"), &unique_marker());
    let run = client.post("/api/jobs/run").bearer(&token).json(&body).send().await.expect(200).json();
    assert_eq!(text(&run["job"]["result"], "text"), "What was heard.", "{run}");
    let user = world.tenant("no-guest", 1.0).await;
    user.post(JOBS).json(&body).send().await.expect_error(404, "attachment_not_found");
}

#[tokio::test]
async fn a_key_brings_the_job_again_when_its_recording_is_gone() {
    let world = World::verified().await;
    let tenant = world.tenant("transcribe-key", 2.0).await;
    let marker = unique_marker();
    let key = recorded(&tenant).await;
    let body = hearing(&key, &marker);
    let create = |name: &str| tenant.post(JOBS).json(&body).idempotency_key(name).send();
    let first = create("k").await.expect(200).json();
    until(&tenant, id(&first["job"]), "succeeded", BOUND).await;
    deleted(world, &key);
    let again = create("k").await.expect(200);
    assert_eq!(again.must_header("idempotency-replayed"), "true");
    assert_eq!(again.json(), first, "the job as it was then");
    create("another").await.expect_error(404, "attachment_not_found");
    assert_eq!(tenant.usage().await.len(), 1);
    settled(&tenant).await;
}
