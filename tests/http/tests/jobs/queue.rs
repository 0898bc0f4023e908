//! Which job goes when, and which is no new one: priorities, times, keys, credit, lists and numbers.

use crate::stage::{CHARGE, JOBS, act, asking, ended, id, job, made, settled, status, with};
use futures::future::join_all;
use http_tests::client::unique_marker;
use http_tests::provider_script::Behaviour;
use http_tests::world::{World, assert_credits, number, text, whole};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

#[tokio::test]
async fn higher_priorities_go_first() {
    let world = World::verified().await;
    let tenant = world.tenant("priorities", 9.0).await;
    let marker = unique_marker();
    // Eight run at a time: these keep the places until all others wait.
    world.groq.script(
        &marker,
        [Behaviour::late(Duration::from_millis(1_200), Behaviour::answer_without_usage("x"))],
    );
    let blocking: Vec<Value> =
        join_all((0..8).map(|_| async { made(&tenant, &asking(&marker)).await })).await;
    let mut later = Vec::new();
    for priority in [1, 9, 5] {
        let body = with(asking(&format!("p{priority}-{marker}x")), json!({"priority": priority}));
        later.push(made(&tenant, &body).await);
    }
    for job in blocking.iter().chain(&later) {
        ended(&tenant, id(job), "succeeded").await;
    }
    let calls = world.groq.all_calls();
    let place = |priority: i64| {
        let wanted = format!("p{priority}-{marker}");
        calls.iter().position(|call| call.body.contains(&wanted)).expect("it was asked")
    };
    assert!(place(9) < place(5) && place(5) < place(1), "{} {} {}", place(9), place(5), place(1));
    settled(&tenant).await;
}

#[tokio::test]
async fn a_job_waits_for_its_time() {
    let world = World::verified().await;
    let tenant = world.tenant("delayed", 2.0).await;
    let began = Instant::now();
    let soon = made(&tenant, &with(asking("soon"), json!({"delay_s": 1.5}))).await;
    let in_ten_days = http_tests::tokens::now_s() + 864_000;
    let far = made(&tenant, &with(asking("far"), json!({"run_at": in_ten_days}))).await;
    let shown = text(&job(&tenant, id(&far)).await, "run_at").to_owned();
    let shown = chrono::DateTime::parse_from_rfc3339(&shown).expect("a time").timestamp();
    assert_eq!(shown, in_ten_days);
    ended(&tenant, id(&soon), "succeeded").await;
    assert!(began.elapsed() >= Duration::from_millis(1_500), "{:?}", began.elapsed());
    assert_eq!(status(&job(&tenant, id(&far)).await), "queued");
    for wrong in [
        json!({"delay_s": -1}),
        json!({"delay_s": 2_592_001}),
        json!({"run_at": "tomorrow"}),
        json!({"run_at": "2100-01-01T00:00:00Z"}),
        json!({"run_at": http_tests::tokens::now_s(), "delay_s": 1}),
        json!({"priority": 10}),
        json!({"priority": "high"}),
        json!({"dedupe_key": ""}),
    ] {
        let call = tenant.post(JOBS).json(&with(asking("wrong"), wrong.clone()));
        call.send().await.expect_error(400, "invalid_field");
    }
    act(&tenant, id(&far), "cancel").await.expect(200);
    settled(&tenant).await;
}

#[tokio::test]
async fn an_open_job_of_the_same_dedupe_key_is_the_job() {
    let world = World::verified().await;
    let tenant = world.tenant("dedupe", 2.0).await;
    let body = with(asking("once"), json!({"dedupe_key": "report", "delay_s": 600}));
    let first = made(&tenant, &body).await;
    let again = tenant.post(JOBS).json(&body).send().await.expect(200).json();
    assert_eq!((id(&again["job"]), &again["deduped"]), (id(&first), &json!(true)));
    assert_eq!(tenant.open_holds().await.len(), 1);
    act(&tenant, id(&first), "cancel").await.expect(200);
    let another = made(&tenant, &body).await;
    assert_ne!(id(&another), id(&first), "the first one is over");
    act(&tenant, id(&another), "cancel").await.expect(200);
    settled(&tenant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_requests_with_one_key_are_one_job() {
    let world = World::verified().await;
    let tenant = world.tenant("idempotent", 2.0).await;
    let body = asking("once");
    let all = (0..20).map(|_| tenant.post(JOBS).idempotency_key("k").json(&body).send());
    let replies: Vec<_> = join_all(all).await.into_iter().map(|reply| reply.expect(200)).collect();
    let ids: BTreeSet<String> = replies.iter().map(|reply| id(&reply.json()["job"]).to_owned()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let replayed = replies.iter().filter(|reply| reply.header("idempotency-replayed").is_some()).count();
    assert_eq!(replayed, 19);
    let first = ids.first().expect("one");
    ended(&tenant, first, "succeeded").await;
    let other = tenant.post(JOBS).idempotency_key("k").json(&asking("another"));
    other.send().await.expect_error(409, "idempotency_conflict");
    assert_credits(tenant.balance().await, 2.0 - CHARGE, "one charge");
    assert_eq!(tenant.usage().await.len(), 1);
    settled(&tenant).await;
}

#[tokio::test]
async fn a_job_that_cannot_be_paid_is_not_made() {
    let world = World::verified().await;
    let tenant = world.tenant("poor", 0.002).await;
    let refused = tenant.post(JOBS).json(&asking("hello")).send().await;
    let refused = refused.expect_error(402, "insufficient_credits").json();
    assert_eq!(text(&refused, "email"), tenant.email);
    assert_credits(number(&refused, "balance"), 0.002, "what is there");
    assert!(tenant.items(JOBS).await.is_empty());
    for path in [JOBS, "/api/jobs/run"] {
        let broke = world.tenant("broke", 0.0).await;
        broke.post(path).json(&asking("hello")).send().await.expect_error(402, "insufficient_credits");
    }
}

#[tokio::test]
async fn what_is_asked_wrongly_is_said_before_a_job_is_made() {
    let world = World::verified().await;
    let tenant = world.tenant("wrong", 2.0).await;
    for path in [JOBS, "/api/jobs/run"] {
        let call = |body: Value| tenant.post(path).json(&body).send();
        let refused = call(json!({"type": "mining", "params": {}})).await;
        assert_eq!(refused.expect_error(400, "unsupported_type").json()["type"], "mining");
        call(json!({"type": "transcribe", "params": {}})).await.expect_error(400, "invalid_field");
        call(json!({"type": 7, "params": {}})).await.expect_error(400, "invalid_field");
        call(json!({})).await.expect_error(400, "invalid_field");
        call(json!({"params": [1]})).await.expect_error(400, "invalid_field");
        call(json!({"params": {}})).await.expect_error(400, "missing_input");
        call(json!({"params": {"skill": "a b", "input": "x"}})).await.expect_error(400, "invalid_field");
        let raw = tenant.post(path).raw_json("{\"params\":").send().await;
        raw.expect_error(400, "invalid_json");
    }
    assert!(tenant.items(JOBS).await.is_empty());
}

#[tokio::test]
async fn jobs_are_listed_newest_first_by_status_and_type_and_counted() {
    let world = World::verified().await;
    let tenant = world.tenant("listed", 9.0).await;
    let mut ids = Vec::new();
    for index in 0..5 {
        let body = with(asking(&format!("n{index}")), json!({"delay_s": 600}));
        ids.push(id(&made(&tenant, &body).await).to_owned());
    }
    let done = made(&tenant, &asking("done")).await;
    ended(&tenant, id(&done), "succeeded").await;
    ids.push(id(&done).to_owned());
    ids.reverse();
    let first = tenant.get("/api/jobs?limit=4").send().await.expect(200).json();
    let cursor = text(&first, "next_cursor");
    let rest = tenant.get(&format!("/api/jobs?limit=4&cursor={cursor}")).send().await.expect(200).json();
    let listed: Vec<Value> = [&first, &rest]
        .iter()
        .flat_map(|page| page["items"].as_array().cloned().unwrap_or_default())
        .collect();
    assert_eq!(listed.iter().map(id).collect::<Vec<_>>(), ids);
    assert_eq!(text(&first, "email"), tenant.email);
    assert_eq!(tenant.items("/api/jobs?status=succeeded").await.len(), 1);
    assert_eq!(tenant.items("/api/jobs?state=queued&type=si").await.len(), 5);
    assert!(tenant.items("/api/jobs?type=webhook").await.is_empty());
    tenant.get("/api/jobs?status=lost").send().await.expect_error(400, "invalid_field");
    tenant.get("/api/jobs?cursor=x").send().await.expect_error(400, "invalid_cursor");
    let stats = tenant.get("/api/jobs/stats").send().await.expect(200).json();
    assert_eq!((whole(&stats, "delayed"), whole(&stats, "depth"), whole(&stats, "running")), (5, 0, 0));
    let counted = json!([
        {"type": "si", "status": "queued", "count": 5}, {"type": "si", "status": "succeeded", "count": 1}
    ]);
    assert_eq!(stats["by_type"], counted);
    for id in &ids {
        let _over_already = act(&tenant, id, "cancel").await;
    }
    settled(&tenant).await;
    // Six were made, one was done and five were cancelled: in the last five minutes that is a fifth of it a minute.
    let stats = tenant.get("/api/jobs/stats").send().await.expect(200).json();
    let rates = stats["rates"].as_array().expect("rates");
    assert_eq!(rates.len(), 3);
    for (rates, (minutes, divisor)) in rates.iter().zip([(1, 1.0), (5, 5.0), (15, 15.0)]) {
        assert_eq!((whole(rates, "minutes"), whole(rates, "counted_ms")), (minutes, minutes * 60_000));
        assert_eq!((&rates["at_least"], rates["by_type"].as_array().map(Vec::len)), (&json!(false), Some(1)));
        let of_si = &rates["by_type"][0];
        assert_eq!(of_si["type"], "si");
        let counts = [("made", 6.0), ("started", 1.0), ("retried", 0.0), ("succeeded", 1.0), ("failed", 0.0)];
        for (name, count) in counts.into_iter().chain([("cancelled", 5.0)]) {
            assert_credits(number(of_si, name), count / divisor, name);
        }
    }
}

#[tokio::test]
async fn as_many_run_at_one_time_as_the_operator_says() {
    let world = World::verified().await;
    let tenant = world.tenant("one-by-one", 9.0).await;
    tenant.put_limits(json!({"jobs": {"running": 65}})).await.expect_error(400, "invalid_setting");
    let set = tenant.put_limits(json!({"jobs": {"running": 1}})).await.expect(200).json();
    assert_eq!(set["jobs"], json!({"running": 1, "running_by_type": {}}));
    let marker = unique_marker();
    let slow = Behaviour::late(Duration::from_millis(300), Behaviour::answer_without_usage("x"));
    world.groq.script(&marker, [slow]);
    let began = Instant::now();
    let jobs: Vec<Value> = join_all((0..4).map(|_| async { made(&tenant, &asking(&marker)).await })).await;
    let mut most = 0;
    while most < 2 && began.elapsed() < Duration::from_secs(1) {
        let stats = tenant.get("/api/jobs/stats").send().await.expect(200).json();
        most = most.max(whole(&stats, "running"));
    }
    assert!(most <= 1, "{most} at one time");
    for job in &jobs {
        ended(&tenant, id(job), "succeeded").await;
    }
    assert!(began.elapsed() >= Duration::from_millis(1_200), "one after the other: {:?}", began.elapsed());
    settled(&tenant).await;
}
