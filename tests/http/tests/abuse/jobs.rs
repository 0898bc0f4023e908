//! Cases about jobs: another tenant's, and what is not to be changed.

use crate::stage::Stage;
use crate::table::Seen;
use http_tests::client::{Call, Reply};
use http_tests::recording::wav;
use http_tests::uploads::uploaded;
use http_tests::world::{Tenant, text};
use reqwest::Method;
use serde_json::{Value, json};

const JOBS: &str = "/api/jobs";

pub async fn run(stage: &Stage<'_>, seen: &Seen) {
    another_tenants(stage, seen).await;
    another_tenants_files(stage, seen).await;
    protected(stage, seen).await;
}

/// A job that waits.
async fn waiting(tenant: &Tenant) -> String {
    let body = json!({"params": {"input": "for my eyes only"}, "delay_s": 600});
    let made = tenant.post(JOBS).json(&body).send().await.expect(200).json();
    text(&made["job"], "id").to_owned()
}

fn told(reply: &Reply) -> String {
    format!("{} {}", reply.status, reply.error()).trim_end().to_owned()
}

async fn another_tenants(stage: &Stage<'_>, seen: &Seen) {
    let id = waiting(&stage.victim).await;
    let at =
        |method: Method, rest: &str| stage.mine(stage.client.call(method, &format!("{JOBS}/{id}{rest}")));
    let calls: [(&str, Call); 6] = [
        ("GET /api/jobs/:id", at(Method::GET, "")),
        ("PATCH /api/jobs/:id", at(Method::PATCH, "").json(&json!({"status": "cancelled"}))),
        ("POST /api/jobs/:id/cancel", at(Method::POST, "/cancel")),
        ("POST /api/jobs/:id/retry", at(Method::POST, "/retry")),
        ("GET /api/jobs/:id/download", at(Method::GET, "/download")),
        (
            "GET /api/jobs/:id, as a guest",
            stage.client.get(&format!("{JOBS}/{id}")).bearer(&stage.guest_token),
        ),
    ];
    for (route, call) in calls {
        let observed = told(&call.send().await);
        let what = (16, "another tenant's job");
        seen.note(what, stage.mode, route, "404 not_found", &observed, observed == "404 not_found");
    }
    // What happens to it is told to its owner alone: my events go on at my own places.
    let hello = stage.victim.get("/api/events").open().await.expect_stream().await.next().await;
    let place = format!("{hello:?}");
    let place = place.split("\\\"id\\\":\\\"").nth(1).and_then(|rest| rest.split("\\\"").next());
    let place = place.unwrap_or_default().to_owned();
    let call = stage.me.get("/api/events").query("after", &place).header("accept", "text/event-stream");
    let observed = told(&call.send().await);
    let what = (16, "live events from another tenant's place on");
    seen.note(
        what,
        stage.mode,
        "GET /api/events",
        "400 invalid_cursor",
        &observed,
        observed == "400 invalid_cursor",
    );
    stage.victim.post(&format!("{JOBS}/{id}/cancel")).send().await.expect(200);
}

async fn another_tenants_files(stage: &Stage<'_>, seen: &Seen) {
    let secret = uploaded(&stage.victim, "secret.wav", "audio/wav", wav(1_000)).await;
    let expected = "404 attachment_not_found";
    for params in [
        json!({"type": "transcribe", "params": {"audio": secret}}),
        json!({"params": {"input": "read it to me", "attachments": [secret]}}),
        json!({"type": "batch", "params": {"inputs": ["read it to me"], "attachments": [secret]}}),
    ] {
        for route in [JOBS, "/api/jobs/run"] {
            let call = stage.mine(stage.client.post(route)).json(&params);
            let observed = told(&call.send().await);
            let what = (16, "a job with another tenant's file");
            seen.note(what, stage.mode, &format!("POST {route}"), expected, &observed, observed == expected);
        }
    }
}

async fn protected(stage: &Stage<'_>, seen: &Seen) {
    let id = waiting(&stage.me).await;
    let patch =
        |change: &Value| stage.mine(stage.client.call(Method::PATCH, &format!("{JOBS}/{id}"))).json(change);
    let mut cases: Vec<(&str, Value, &str)> = vec![
        ("PATCH of `email`", json!({"email": stage.victim.email}), "400 protected_field"),
        ("PATCH of `charged`", json!({"charged": 0}), "400 protected_field"),
        ("PATCH of `created_at`", json!({"created_at": "2020-01-01T00:00:00Z"}), "400 protected_field"),
        ("PATCH of `result` alone", json!({"result": {"content": "mine"}}), "400 protected_field"),
    ];
    let own = json!({"status": "succeeded", "result": {"content": "by hand"}});
    cases.push(("PATCH to succeeded, with the client's own work", own, "200"));
    cases.push(("PATCH from succeeded to queued", json!({"status": "queued"}), "409 invalid_transition"));
    for (what, change, expected) in cases {
        let observed = told(&patch(&change).send().await);
        seen.note((17, what), stage.mode, "PATCH /api/jobs/:id", expected, &observed, observed == expected);
    }
}
