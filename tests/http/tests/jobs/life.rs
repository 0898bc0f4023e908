//! A job's life: done later or at once, tried again, given up, begun anew, ended by its client.

use crate::stage::{
    BOUND, CHARGE, JOBS, act, asked, asking, ended, id, job, made, patch, settled, status, until,
};
use http_tests::client::{Call, unique_marker};
use http_tests::poll::eventually;
use http_tests::provider::PLAIN_TEXT;
use http_tests::provider_script::Behaviour;
use http_tests::world::{Tenant, World, assert_credits, number, text, whole};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn a_job_is_made_done_and_charged_once() {
    let world = World::verified().await;
    let tenant = world.tenant("job", 2.0).await;
    let first = made(&tenant, &asking("hello")).await;
    assert_eq!((status(&first), text(&first, "type")), ("queued", "si"), "{first}");
    assert_eq!(text(&first, "email"), tenant.email);
    assert_eq!(first["params"], json!({"input": "hello"}));
    let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    assert!(id(&first).bytes().all(letters) && id(&first).len() > 32, "{first}");
    let done = ended(&tenant, id(&first), "succeeded").await;
    let result = &done["result"];
    assert_eq!(text(result, "content"), PLAIN_TEXT);
    assert_eq!((whole(result, "tokens_in"), whole(result, "tokens_out")), (52, 192));
    assert_credits(number(result, "credits_used"), CHARGE, "what it cost");
    assert_credits(number(result, "balance_after"), 2.0 - CHARGE, "the balance right after");
    assert_credits(tenant.balance().await, 2.0 - CHARGE, "the balance");
    let usage = tenant.usage_of(1).await;
    assert_eq!((text(&usage[0], "id"), text(&usage[0], "route")), (id(&first), JOBS));
    settled(&tenant).await;
}

#[tokio::test]
async fn a_job_is_done_at_once_where_its_client_waits() {
    let world = World::verified().await;
    let tenant = world.tenant("run", 2.0).await;
    let reply = tenant.post("/api/jobs/run").json(&asking("now")).send().await.expect(200).json();
    assert_eq!(reply["mode"], "sync");
    assert_eq!(status(&reply["job"]), "succeeded", "{reply}");
    assert_eq!(text(&reply["job"]["result"], "content"), PLAIN_TEXT);
    assert_eq!(job(&tenant, id(&reply["job"])).await, reply["job"], "it is a job like any other");
    let marker = unique_marker();
    for provider in world.providers() {
        provider.script(&marker, [Behaviour::status(500)]);
    }
    let reply = tenant.post("/api/jobs/run").json(&asking(&marker)).send().await.expect(200).json();
    assert_eq!(status(&reply["job"]), "failed", "{reply}");
    assert_eq!(text(&reply["job"]["result"], "error"), "si_ask_failed");
    assert_eq!(whole(&reply["job"], "attempts"), 1);
    assert_credits(tenant.balance().await, 2.0 - CHARGE, "one was answered");
    settled(&tenant).await;
}

#[tokio::test]
async fn what_fails_is_tried_again_given_up_and_begun_anew() {
    let world = World::verified().await;
    let tenant = world.tenant("dead", 2.0).await;
    let marker = unique_marker();
    for provider in world.providers() {
        provider.script(&marker, [Behaviour::status(500)]);
    }
    let first = made(&tenant, &asking(&marker)).await;
    let failed = ended(&tenant, id(&first), "failed").await;
    assert_eq!((whole(&failed, "attempts"), whole(&failed, "attempts_max")), (3, 3), "{failed}");
    assert_eq!(text(&failed, "reason"), "attempts_exhausted");
    assert_eq!(text(&failed["result"], "error"), "si_ask_failed");
    assert_eq!(world.groq.calls(&marker).len(), 3);
    settled(&tenant).await;
    assert_credits(tenant.balance().await, 2.0, "nothing was charged");
    let dead = tenant.items("/api/jobs/dead").await;
    assert_eq!(dead.iter().map(id).collect::<Vec<_>>(), [id(&first)]);
    // One.
    world.groq.script(&marker, [Behaviour::status(500), Behaviour::status(500), Behaviour::status(500)]);
    let again = act(&tenant, id(&first), "retry").await.expect(200).json();
    assert_eq!((status(&again["job"]), whole(&again["job"], "attempts")), ("queued", 0));
    act(&tenant, id(&first), "retry").await.expect_error(409, "invalid_transition");
    ended(&tenant, id(&first), "failed").await;
    // All.
    world.groq.script(&marker, [Behaviour::answer("at last", http_tests::provider::PLAIN_USAGE)]);
    let all = tenant.post("/api/jobs/dead/redrive").json(&json!({})).send().await.expect(200).json();
    assert_eq!(
        (&all["jobs"], &all["more"], &all["refused"]),
        (&json!([id(&first)]), &json!(false), &json!(0))
    );
    let done = ended(&tenant, id(&first), "succeeded").await;
    assert_eq!(text(&done["result"], "content"), "at last");
    assert!(done.get("reason").is_none() && done.get("last_error").is_none(), "{done}");
    assert_credits(tenant.balance().await, 2.0 - CHARGE, "one charge for all of it");
    assert!(tenant.items("/api/jobs/dead").await.is_empty());
    settled(&tenant).await;
}

#[tokio::test]
async fn what_every_provider_calls_wrong_is_not_tried_again() {
    let world = World::verified().await;
    let tenant = world.tenant("final", 2.0).await;
    let marker = unique_marker();
    // This tier's are two, and both say so.
    for provider in [&world.openai, &world.groq] {
        provider.script(&marker, [Behaviour::status(400)]);
    }
    let call = tenant.post(JOBS).header("x-intelligence-tier", "high").json(&asking(&marker));
    let first = call.send().await.expect(200).json();
    let failed = ended(&tenant, id(&first["job"]), "failed").await;
    assert_eq!((whole(&failed, "attempts"), text(&failed, "reason")), (1, "final_error"), "{failed}");
    assert_eq!(text(&failed["result"], "error"), "request_refused");
    assert_eq!((world.openai.calls(&marker).len(), world.groq.calls(&marker).len()), (1, 1));
    assert_eq!(world.local.calls(&marker).len(), 0, "the tier was kept");
    settled(&tenant).await;
}

#[tokio::test]
async fn a_job_that_waits_or_runs_can_be_cancelled() {
    let world = World::verified().await;
    let tenant = world.tenant("cancel", 2.0).await;
    let waiting = made(&tenant, &json!({"params": {"input": "later"}, "delay_s": 600})).await;
    assert!(!tenant.open_holds().await.is_empty(), "it is paid for in advance");
    let cancelled = act(&tenant, id(&waiting), "cancel").await.expect(200).json();
    assert_eq!(status(&cancelled["job"]), "cancelled");
    settled(&tenant).await;
    act(&tenant, id(&waiting), "cancel").await.expect(200);
    act(&tenant, id(&waiting), "retry").await.expect_error(409, "invalid_transition");
    let marker = unique_marker();
    world.groq.script(
        &marker,
        [Behaviour::late(Duration::from_millis(1_500), Behaviour::answer_without_usage("late"))],
    );
    let running = made(&tenant, &asking(&marker)).await;
    asked(world, &marker).await;
    assert_eq!(status(&job(&tenant, id(&running)).await), "running");
    act(&tenant, id(&running), "cancel").await.expect(200);
    settled(&tenant).await;
    eventually(BOUND, "the answer came too late", || async {
        let ended = world.groq.calls(&marker).iter().all(|call| call.finished() || call.abandoned());
        if ended { Ok(()) } else { Err("still under way") }
    })
    .await;
    let after = job(&tenant, id(&running)).await;
    assert_eq!(status(&after), "cancelled", "{after}");
    assert!(tenant.usage().await.is_empty());
    assert_credits(tenant.balance().await, 2.0, "nothing was charged");
    settled(&tenant).await;
}

#[tokio::test]
async fn a_client_changes_what_the_table_allows_and_nothing_else() {
    let world = World::verified().await;
    let tenant = world.tenant("patch", 2.0).await;
    let waiting = made(&tenant, &json!({"params": {"input": "mine"}, "delay_s": 600})).await;
    let own = id(&waiting).to_owned();
    for (change, field) in [
        (json!({"email": "other@x.io"}), "email"),
        (json!({"charged": 0}), "charged"),
        (json!({"created_at": "2020-01-01T00:00:00Z"}), "created_at"),
        (json!({"status": "failed", "priority": 9}), "priority"),
        (json!({"result": {"content": "mine"}}), "result"),
    ] {
        let refused = patch(&tenant, &own, &change).await.expect_error(400, "protected_field");
        assert_eq!(refused.json()["field"], field, "{change}");
    }
    patch(&tenant, &own, &json!({"status": "paused"})).await.expect_error(400, "invalid_setting");
    assert_eq!(status(&job(&tenant, &own).await), "queued", "nothing was changed");
    // The client does it itself.
    let taken = patch(&tenant, &own, &json!({"status": "running"})).await.expect(200).json();
    assert_eq!((&taken["ok"], status(&taken["job"])), (&json!(true), "running"));
    let done = json!({"status": "succeeded", "result": {"content": "by hand"}});
    patch(&tenant, &own, &done).await.expect(200);
    let after = job(&tenant, &own).await;
    assert_eq!((status(&after), &after["result"]), ("succeeded", &json!({"content": "by hand"})));
    for back in ["queued", "running", "failed", "cancelled"] {
        let refused = patch(&tenant, &own, &json!({"status": back})).await;
        refused.expect_error(409, "invalid_transition");
    }
    assert_credits(tenant.balance().await, 2.0, "its own work is not charged");
    settled(&tenant).await;
}

#[tokio::test]
async fn a_result_can_be_had_as_a_file_once_it_is_there() {
    let world = World::verified().await;
    let tenant = world.tenant("download", 2.0).await;
    let waiting = made(&tenant, &json!({"params": {"input": "file"}, "delay_s": 600})).await;
    let path = |id: &str| format!("{JOBS}/{id}/download");
    let refused = tenant.get(&path(id(&waiting))).send().await.expect_error(409, "not_finished");
    assert_eq!(refused.json()["status"], "queued");
    act(&tenant, id(&waiting), "cancel").await.expect(200);
    tenant.get(&path(id(&waiting))).send().await.expect_error(404, "not_found");
    let first = made(&tenant, &asking("file")).await;
    let done = ended(&tenant, id(&first), "succeeded").await;
    let file = tenant.get(&path(id(&first))).send().await.expect(200);
    assert_eq!(file.json(), done["result"]);
    let name = format!("attachment; filename=\"job-{}.json\"", id(&first));
    assert_eq!(file.must_header("content-disposition"), name);
}

#[tokio::test]
async fn a_worker_says_that_it_is_at_it_so_a_long_job_is_done_once() {
    let world = World::private(json!({
        "JOB_LEASE_MS": "1000", "FIRST_BYTE_TIMEOUT_MS": "6000", "ANSWER_TIMEOUT_MS": "6000",
    }))
    .await;
    let tenant = world.tenant("long", 2.0).await;
    let marker = unique_marker();
    let slow = Behaviour::answer("slow", http_tests::provider::PLAIN_USAGE);
    world.groq.script(&marker, [Behaviour::late(Duration::from_secs(4), slow)]);
    let first = made(&tenant, &asking(&marker)).await;
    until(&tenant, id(&first), "running", BOUND).await;
    let done = ended(&tenant, id(&first), "succeeded").await;
    assert_eq!(whole(&done, "attempts"), 1, "four leases long: {done}");
    assert_eq!(world.calls_anywhere(&marker), 1);
    settled(&tenant).await;
}

/// A job that fails for good, made by whoever `call` is.
async fn dead(world: &World, tenant: &Tenant, call: Call) -> String {
    let marker = unique_marker();
    for provider in world.providers() {
        provider.script(&marker, [Behaviour::status(500)]);
    }
    let made = call.json(&asking(&marker)).send().await.expect(200).json();
    ended(tenant, id(&made["job"]), "failed").await;
    id(&made["job"]).to_owned()
}

#[tokio::test]
async fn jobs_that_may_not_begin_anew_hold_nobody_back() {
    let world = World::verified().await;
    let tenant = world.tenant("behind", 2.0).await;
    let key = tenant.post("/api/keys").json(&json!({"name": "jobs"})).send().await.expect(200).json();
    let by_key = || tenant.client.post(JOBS).bearer(text(&key, "key"));
    let of_key = dead(world, &tenant, by_key()).await;
    let own = dead(world, &tenant, tenant.post(JOBS)).await;
    let path = format!("/api/keys/{}", text(&key, "id"));
    tenant.client.call(Method::DELETE, &path).user(&tenant.email).send().await.expect(200);
    act(&tenant, &of_key, "retry").await.expect_error(409, "credential_ended");
    let redrive = |body: Value| tenant.post("/api/jobs/dead/redrive").json(&body);
    let page = redrive(json!({"limit": 1})).send().await.expect(200).json();
    assert_eq!((&page["jobs"], &page["refused_by"]), (&json!([]), &json!({"credential_ended": 1})), "{page}");
    let rest = redrive(json!({"limit": 1, "cursor": page["next_cursor"]})).send().await.expect(200).json();
    assert_eq!((&rest["jobs"], &rest["refused"], &rest["more"]), (&json!([own]), &json!(0), &json!(false)));
    redrive(json!({"cursor": "x"})).send().await.expect_error(400, "invalid_cursor");
    redrive(json!({"cursor": 5})).send().await.expect_error(400, "invalid_cursor");
    act(&tenant, &own, "cancel").await;
    settled(&tenant).await;
}

#[tokio::test]
async fn one_idempotency_key_begins_jobs_anew_once() {
    let world = World::verified().await;
    let tenant = world.tenant("anew-once", 2.0).await;
    let (one, other) =
        (dead(world, &tenant, tenant.post(JOBS)).await, dead(world, &tenant, tenant.post(JOBS)).await);
    let retry = |own: &str| tenant.post(&format!("{JOBS}/{own}/retry")).header("idempotency-key", "anew");
    let first = retry(&one).send().await.expect(200).json();
    ended(&tenant, &one, "failed").await;
    let again = retry(&one).send().await.expect(200);
    assert_eq!((again.header("idempotency-replayed"), &again.json()), (Some("true"), &first));
    assert_eq!(status(&job(&tenant, &one).await), "failed", "it was not begun once more");
    retry(&other).send().await.expect_error(409, "idempotency_conflict");
    let all = || tenant.post("/api/jobs/dead/redrive").header("idempotency-key", "all").json(&json!({}));
    let first = all().send().await.expect(200).json();
    assert_eq!(first["jobs"].as_array().map(Vec::len), Some(2), "{first}");
    for own in [&one, &other] {
        ended(&tenant, own, "failed").await;
    }
    let again = all().send().await.expect(200);
    assert_eq!((again.header("idempotency-replayed"), &again.json()), (Some("true"), &first));
    assert_eq!(tenant.items("/api/jobs/dead").await.len(), 2, "none was begun once more");
    settled(&tenant).await;
}
