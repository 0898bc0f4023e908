//! Attachments of an ask that is a job: read before it is made, held for, and read again when it is done.

use crate::stage::{JOBS, asked, ended, id, made, none_made, returned, settled, until, with};
use http_tests::client::unique_marker;
use http_tests::provider::PLAIN_USAGE;
use http_tests::provider_script::Behaviour;
use http_tests::uploads::{deleted, metadata, picture, planted, uploaded, user_content};
use http_tests::world::{Tenant, World, assert_credits, number, text, whole};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

const CHARGE: f64 = crate::stage::CHARGE;

fn asking(input: &str, attachments: Value) -> Value {
    json!({"params": {"input": input, "attachments": attachments}})
}

fn batch(inputs: Value, attachments: Value) -> Value {
    json!({"type": "batch", "params": {"inputs": inputs, "attachments": attachments}})
}

async fn note(tenant: &Tenant, words: &str) -> String {
    uploaded(tenant, "note.txt", "text/plain", words).await
}

#[tokio::test]
async fn a_job_s_attachments_reach_the_provider_as_those_of_an_ask_do() {
    let world = World::verified().await;
    let tenant = world.tenant("job-attached", 2.0).await;
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::answer("Read.", PLAIN_USAGE)]);
    let keys = json!([
        uploaded(&tenant, "a.png", "image/png", picture(3_000)).await,
        {"key": note(&tenant, "A note.").await, "name": "../the note.txt"},
    ]);
    let first = made(&tenant, &asking(&marker, keys.clone())).await;
    assert_eq!(first["params"]["attachments"], keys);
    let done = ended(&tenant, id(&first), "succeeded").await;
    assert_eq!(text(&done["result"], "content"), "Read.");
    tenant.ask(&json!({"input": marker, "attachments": keys})).send().await.expect(200);
    let calls = world.groq.calls(&marker);
    assert_eq!((calls.len(), user_content(&calls[0])), (2, user_content(&calls[1])), "the same prompt");
    let told = user_content(&calls[0])[0]["text"].clone();
    let expected = format!(
        "{marker}\n\nAttachment 1: a.png (image/png), image 1\n\nAttachment 2: the_note.txt (text/plain)\n```\nA note.\n```"
    );
    assert_eq!(told, json!(expected));
    let usage = tenant.usage_of(2).await;
    assert_eq!(usage[0]["meta"]["units"], usage[1]["meta"]["units"]);
    assert_eq!(usage[0]["meta"]["units"]["images"], 1);
    assert_credits(tenant.settled_balance().await, 2.0 - 2.0 * CHARGE, "the charge of an ask each");
    // And at once.
    let run = tenant.post("/api/jobs/run").json(&asking(&marker, keys)).send().await.expect(200).json();
    assert_eq!(text(&run["job"]["result"], "content"), "Read.", "{run}");
    settled(&tenant).await;
}

/// The hold is an ask's: who cannot pay it has no job.
#[tokio::test]
async fn what_is_attached_is_held_for() {
    let world = World::verified().await;
    let poor = world.tenant("job-attached-poor", 0.02).await;
    let marker = unique_marker();
    let keys = json!([
        uploaded(&poor, "a.png", "image/png", picture(3_000)).await,
        note(&poor, &"word ".repeat(400)).await,
    ]);
    let needed = async |path: &str, body: &Value| {
        let refused = poor.post(path).json(body).send().await.expect_error(402, "insufficient_credits");
        number(&refused.json(), "needed")
    };
    let of_ask = needed("/api/si/ask", &json!({"input": marker, "attachments": keys})).await;
    assert!(of_ask > 0.15, "{of_ask}: a picture is 3,000 tokens");
    assert_credits(needed(JOBS, &asking(&marker, keys.clone())).await, of_ask, "a job's");
    assert_credits(needed("/api/jobs/run", &asking(&marker, keys.clone())).await, of_ask, "one at once");
    let of_two = needed(JOBS, &batch(json!([marker, marker]), keys.clone())).await;
    assert_credits(of_two, 2.0 * of_ask, "each ask of a batch reads them");
    none_made(&poor).await;
    assert_eq!(world.calls_anywhere(&marker), 0);
    poor.set_balance(of_ask).await;
    ended(&poor, id(&made(&poor, &asking(&marker, keys)).await), "succeeded").await;
    settled(&poor).await;
}

#[tokio::test]
async fn what_is_wrong_with_an_attachment_is_said_before_there_is_a_job() {
    let world = World::verified().await;
    let (tenant, other) = (world.tenant("job-attached-wrong", 5.0).await, world.tenant("other", 1.0).await);
    let marker = unique_marker();
    let fine = note(&tenant, "fine").await;
    let (theirs, gone) = (note(&other, "theirs").await, note(&tenant, "gone").await);
    deleted(world, &gone);
    let pdf = uploaded(&tenant, "a.pdf", "application/pdf", "%PDF-1.7").await;
    let fake = uploaded(&tenant, "a.png", "image/png", "no picture").await;
    let large = note(&tenant, &"x".repeat(524_289)).await;
    for (wrong, status, code) in [
        (&*theirs, 404, "attachment_not_found"),
        (&gone, 404, "attachment_not_found"),
        ("x", 404, "attachment_not_found"),
        (&pdf, 400, "attachment_unsupported"),
        (&fake, 400, "attachment_unsupported"),
        (&large, 413, "attachment_too_large"),
    ] {
        let keys = json!([fine, wrong]);
        for body in [asking(&marker, keys.clone()), batch(json!([marker, "two"]), keys.clone())] {
            for path in [JOBS, "/api/jobs/run"] {
                let refused = tenant.post(path).json(&body).send().await.expect_error(status, code).json();
                assert_eq!(refused["index"], 1, "{refused}");
            }
            let set = tenant.client.call(Method::PUT, "/api/jobs/schedules/wrong").user(&tenant.email);
            let schedule = json!({"cron": "0 0 1 1 *", "job": body});
            set.json(&schedule).send().await.expect_error(status, code);
        }
    }
    let many = json!(vec![fine; 9]);
    tenant.post(JOBS).json(&asking(&marker, many)).send().await.expect_error(400, "invalid_field");
    none_made(&tenant).await;
    assert_eq!(world.calls_anywhere(&marker), 0);
}

#[tokio::test]
async fn a_file_that_is_gone_or_another_ends_the_job() {
    let world = World::verified().await;
    let tenant = world.tenant("job-attached-gone", 5.0).await;
    let (gone, grown) = (note(&tenant, "gone").await, note(&tenant, "short").await);
    let bears = metadata(world, &grown);
    let marker = unique_marker();
    let soon = json!({"delay_s": 6});
    let mut jobs = Vec::new();
    for (key, error) in [(&gone, "attachment_not_found"), (&grown, "attachment_changed")] {
        let keys = json!([key]);
        for body in [asking(&marker, keys.clone()), batch(json!([marker, "two"]), keys)] {
            jobs.push((made(&tenant, &with(body, soon.clone())).await, error));
        }
    }
    deleted(world, &gone);
    planted(world, &grown, "text/plain", b"no longer as short", bears);
    for (job, error) in jobs {
        let failed = ended(&tenant, id(&job), "failed").await;
        assert_eq!(
            (text(&failed["result"], "error"), text(&failed, "reason")),
            (error, "final_error"),
            "{failed}"
        );
        assert_eq!(whole(&failed, "attempts"), 1);
    }
    assert_eq!(world.calls_anywhere(&marker), 0);
    assert_credits(tenant.balance().await, 5.0, "nothing was charged");
    settled(&tenant).await;
}

#[tokio::test]
async fn each_ask_of_a_batch_reads_them_and_another_attempt_reads_them_again() {
    let world = World::verified().await;
    let tenant = world.tenant("job-attached-batch", 5.0).await;
    let (one, two) = (unique_marker(), unique_marker());
    let down = Behaviour::status(500);
    world.groq.script(&two, [down.clone(), Behaviour::answer("at last", PLAIN_USAGE)]);
    for provider in [&world.openai, &world.local, &world.workers_ai] {
        provider.script(&two, [down.clone()]);
    }
    let key = note(&tenant, "read by both").await;
    let first = made(&tenant, &batch(json!([one, two]), json!([key]))).await;
    let done = ended(&tenant, id(&first), "succeeded").await;
    assert_eq!((whole(&done, "attempts"), &done["result"]["failed"]), (2, &json!(0)), "{done}");
    for marker in [&one, &two] {
        for call in world.groq.calls(marker) {
            let content = user_content(&call);
            assert!(
                content.as_str().is_some_and(|text| text.ends_with("```\nread by both\n```")),
                "{content}"
            );
        }
    }
    assert_eq!((world.calls_anywhere(&one), world.groq.calls(&two).len()), (1, 2));
    assert_credits(tenant.balance().await, 5.0 - 2.0 * CHARGE, "two asks, one charge");
    assert_eq!(tenant.usage().await.len(), 1);
    settled(&tenant).await;
}

#[tokio::test]
async fn a_lost_worker_s_attachments_are_read_by_the_next() {
    let mut world = World::private(json!({"JOB_LEASE_MS": "2000"})).await;
    let tenant = world.tenant("job-attached-lost", 2.0).await;
    let marker = unique_marker();
    world.groq.script(&marker, [Behaviour::silent(), Behaviour::answer("again", PLAIN_USAGE)]);
    let key = note(&tenant, "read twice").await;
    let first = made(&tenant, &asking(&marker, json!([key]))).await;
    asked(&world, &marker).await;
    world.stack.kill_workerd();
    world.stack.restart();
    let tenant = returned(&world, tenant);
    let done = until(&tenant, id(&first), "succeeded", Duration::from_secs(45)).await;
    assert_eq!((text(&done["result"], "content"), whole(&done, "attempts")), ("again", 2), "{done}");
    let prompts: Vec<Value> = world.groq.calls(&marker).iter().map(user_content).collect();
    assert_eq!((prompts.len(), &prompts[0]), (2, &prompts[1]));
    assert_eq!(tenant.usage().await.len(), 1);
    assert_credits(tenant.balance().await, 2.0 - CHARGE, "one charge");
    settled(&tenant).await;
}

#[tokio::test]
async fn a_key_brings_the_job_again_when_its_files_are_gone() {
    let world = World::verified().await;
    let tenant = world.tenant("job-attached-key", 2.0).await;
    let marker = unique_marker();
    let key = note(&tenant, "once").await;
    let body = asking(&marker, json!([key]));
    let create = |name: &str| tenant.post(JOBS).json(&body).idempotency_key(name).send();
    let first = create("k").await.expect(200).json();
    ended(&tenant, id(&first["job"]), "succeeded").await;
    deleted(world, &key);
    let again = create("k").await.expect(200);
    assert_eq!((again.must_header("idempotency-replayed"), again.json()), ("true", first));
    create("another").await.expect_error(404, "attachment_not_found");
    assert_eq!((tenant.usage().await.len(), world.calls_anywhere(&marker)), (1, 1));
    settled(&tenant).await;
}

/// A schedule's files are looked at when it is set, and by each run anew.
#[tokio::test]
async fn a_schedule_s_run_reads_them_when_it_is_done() {
    let world = World::verified().await;
    let tenant = world.tenant("job-attached-clock", 2.0).await;
    let marker = unique_marker();
    let key = note(&tenant, "by the clock").await;
    let body = json!({"cron": "* * * * *", "job": asking(&marker, json!([key]))});
    let set = |body: &Value| {
        let call = tenant.client.call(Method::PUT, "/api/jobs/schedules/reads").user(&tenant.email);
        call.json(body).send()
    };
    set(&body).await.expect(200);
    let first = http_tests::poll::eventually(Duration::from_secs(75), "a run", || async {
        tenant.items(JOBS).await.first().cloned().ok_or("none yet")
    })
    .await;
    set(&with(body.clone(), json!({"paused": true}))).await.expect(200);
    ended(&tenant, id(&first), "succeeded").await;
    let content = user_content(&world.groq.calls(&marker)[0]);
    assert!(content.as_str().is_some_and(|text| text.contains("by the clock")), "{content}");
    deleted(world, &key);
    set(&body).await.expect_error(404, "attachment_not_found");
    settled(&tenant).await;
}
