//! Nobody sees or touches another's jobs, and guests have jobs of their own.

use crate::stage::{JOBS, asking, ended, id, made, status, with};
use http_tests::client::Call;
use http_tests::world::{World, text};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn another_tenants_job_is_nowhere() {
    let world = World::verified().await;
    let owner = world.tenant("owner", 2.0).await;
    let other = world.tenant("other", 2.0).await;
    let first = made(&owner, &with(asking("secret"), json!({"delay_s": 600}))).await;
    let path = |rest: &str| format!("{JOBS}/{}{rest}", id(&first));
    let patch = || other.client.call(Method::PATCH, &path("")).user(&other.email);
    let calls: [Call; 6] = [
        other.get(&path("")),
        other.get(&path("/download")),
        other.post(&path("/cancel")),
        other.post(&path("/retry")),
        patch().json(&json!({"status": "cancelled"})),
        patch().json(&json!({"status": "succeeded", "result": {}})),
    ];
    for call in calls {
        call.send().await.expect_error(404, "not_found");
    }
    assert!(other.items(JOBS).await.is_empty());
    owner.get(&path("")).send().await.expect(200);
    for none in ["abc", &id(&first)[1..], &format!("{}0", id(&first))] {
        owner.get(&format!("{JOBS}/{none}")).send().await.expect_error(404, "not_found");
    }
    owner.post(&path("/cancel")).send().await.expect(200);
}

#[tokio::test]
async fn a_guest_has_jobs_too_and_is_told_no_balance() {
    let world = World::verified().await;
    let client = world.client();
    let token = client.post("/auth/guest").send().await.expect(200).json();
    let token = text(&token, "token").to_owned();
    let made = client.post(JOBS).bearer(&token).json(&asking("guest")).send().await.expect(200).json();
    let own = id(&made["job"]).to_owned();
    let done: Value = http_tests::poll::eventually(crate::stage::BOUND, "it is done", || async {
        let reply = client.get(&format!("{JOBS}/{own}")).bearer(&token).send().await.expect(200).json();
        if status(&reply["job"]) == "succeeded" { Ok(reply["job"].clone()) } else { Err(reply) }
    })
    .await;
    assert!(done["result"].get("credits_used").is_some(), "{done}");
    assert!(done["result"].get("balance_after").is_none(), "{done}");
    let other = client.post("/auth/guest").send().await.expect(200).json();
    let call = client.get(&format!("{JOBS}/{own}")).bearer(text(&other, "token"));
    call.send().await.expect_error(404, "not_found");
    client.get(JOBS).send().await.expect_error(400, "missing_email");
}

#[tokio::test]
async fn a_key_of_the_tenant_makes_jobs_and_its_spending_counts() {
    let world = World::verified().await;
    let tenant = world.tenant("keyed", 2.0).await;
    let key = json!({"name": "jobs", "cap": {"limit": 0.02, "period": "day"}});
    let key = tenant.post("/api/keys").json(&key).send().await.expect(200).json();
    let call = |body: &Value| tenant.client.post(JOBS).bearer(text(&key, "key")).json(body);
    let first = call(&asking("by the key")).send().await.expect(200).json();
    ended(&tenant, id(&first["job"]), "succeeded").await;
    call(&asking("too dear now")).send().await.expect_error(429, "cap_reached");
    let path = format!("/api/keys/{}", text(&key, "id"));
    tenant.client.call(Method::DELETE, &path).user(&tenant.email).send().await.expect(200);
    call(&asking("revoked")).send().await.expect_error(401, "token_invalid");
    let second = made(&tenant, &asking("not by the key")).await;
    ended(&tenant, id(&second), "succeeded").await;
}
