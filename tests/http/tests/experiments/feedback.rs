//! Feedback: once, by whose answer it is, and in one form.

use crate::stage::{Experiment, feedback};
use http_tests::client::unique_email;
use http_tests::world::{Tenant, World, text, whole};
use serde_json::{Value, json};

fn number(value: &Value, member: &str) -> f64 {
    value.get(member).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {member} in {value}"))
}

#[tokio::test]
async fn an_answer_is_scored_once_and_the_last_word_counts() {
    let world = World::verified().await;
    let experiment = Experiment::running(world, "once", &["a", "b"], 0).await;
    let tenant = world.tenant("once", 1.0).await;
    let (arm, id) = experiment.answered(&tenant, "1").await;
    let said = json!({"request_id": id, "skill": experiment.skill, "success": true});
    let first = feedback(&tenant, &said).await.expect(200).json();
    let variant = format!("{}/{arm}", experiment.skill);
    let expected = json!({"ok": true, "request_id": id, "variant": variant, "first": true, "counted": true});
    assert_eq!(first, expected);
    // All at once, as a client does that hears nothing.
    let again = futures::future::join_all((0..10).map(|_| feedback(&tenant, &said))).await;
    for reply in again {
        assert_eq!(reply.expect(200).json().get("first"), Some(&json!(false)));
    }
    let shown = experiment.arm(&arm).await;
    assert_eq!((whole(&shown, "outcomes"), number(&shown, "success")), (1, 1.0));
    let changed = json!({"request_id": id, "skill": experiment.skill, "score": 0.25});
    feedback(&tenant, &changed).await.expect(200);
    let shown = experiment.arm(&arm).await;
    assert_eq!((whole(&shown, "outcomes"), number(&shown, "success")), (1, 0.25));
}

#[tokio::test]
async fn the_skill_is_found_by_itself_among_the_latest_asks() {
    let world = World::verified().await;
    let experiment = Experiment::running(world, "found", &["a", "b"], 0).await;
    let tenant = world.tenant("found", 1.0).await;
    let (_, id) = experiment.answered(&tenant, "1").await;
    for _ in 0..3 {
        tenant.ask(&json!({"input": "something else"})).send().await.expect(200);
    }
    let reply = feedback(&tenant, &json!({"request_id": id, "success": false})).await.expect(200).json();
    assert!(text(&reply, "variant").starts_with(&experiment.skill), "{reply}");
}

#[tokio::test]
async fn nobody_scores_what_is_not_theirs() {
    let world = World::verified().await;
    let experiment = Experiment::running(world, "theirs", &["a", "b"], 0).await;
    let (tenant, other) = (world.tenant("mine", 1.0).await, world.tenant("other", 1.0).await);
    let (_, id) = experiment.answered(&tenant, "1").await;
    let with_skill = json!({"request_id": id, "skill": experiment.skill, "success": true});
    let without = json!({"request_id": id, "success": true});
    for body in [&with_skill, &without] {
        feedback(&other, body).await.expect_error(404, "not_found");
    }
    // Not even by a row of usage of its own making.
    let forged =
        json!({"route": "x", "meta": {"request_id": id, "variant": format!("{}/a", experiment.skill)}});
    other.post("/api/billing/usage").json(&forged).send().await.expect(200);
    feedback(&other, &without).await.expect_error(404, "not_found");
    let guest = world.client().post("/auth/guest").send().await.expect(200).json();
    let as_guest = world.client().post("/api/si/feedback").bearer(text(&guest, "token"));
    as_guest.json(&with_skill).send().await.expect_error(404, "not_found");
    let nobody = world.client().post("/api/si/feedback").json(&with_skill).send().await;
    nobody.expect_error(400, "missing_email");

    for (skill, request_id) in
        [(experiment.skill.as_str(), "0b1f0f5e-6c1e-4b52-9c0a-3a4f6e0d7a11"), ("no-such-skill", id.as_str())]
    {
        let body = json!({"request_id": request_id, "skill": skill, "success": true});
        feedback(&tenant, &body).await.expect_error(404, "not_found");
    }
    let report = experiment.report().await;
    assert_eq!(report.get("uplift"), Some(&Value::Null), "nothing was counted: {report}");
    feedback(&tenant, &with_skill).await.expect(200);
}

#[tokio::test]
async fn a_guest_scores_its_own_answers() {
    let world = World::verified().await;
    let experiment = Experiment::running(world, "guest", &["a", "b"], 0).await;
    let client = world.client();
    let guest = client.post("/auth/guest").send().await.expect(200).json();
    let ask = client.post("/api/si/ask").bearer(text(&guest, "token"));
    let asked = ask.json(&json!({"skill": experiment.skill, "input": "x"})).send().await.expect(200);
    let body = json!({"request_id": asked.must_header("x-request-id"), "success": true});
    let call = client.post("/api/si/feedback").bearer(text(&guest, "token"));
    call.json(&body).send().await.expect(200);
}

#[tokio::test]
async fn what_a_client_chose_is_told_apart() {
    let world = World::verified().await;
    let experiment = Experiment::running(world, "apart", &["a", "b"], 0).await;
    let tenant = world.tenant("apart", 1.0).await;
    let reply = experiment.ask(&tenant).header("x-ab-variant", "b").send().await.expect(200);
    let body =
        json!({"request_id": reply.must_header("x-request-id"), "skill": experiment.skill, "score": 1});
    let taken = feedback(&tenant, &body).await.expect(200).json();
    assert_eq!(taken.get("counted"), Some(&json!(false)));
    let shown = experiment.arm("b").await;
    assert_eq!((whole(&shown, "outcomes"), whole(&shown, "assignments")), (0, 1));
    assert_eq!(shown.pointer("/requested/outcomes"), Some(&json!(1)));
}

#[tokio::test]
async fn feedback_has_one_form() {
    let world = World::verified().await;
    let tenant = Tenant { email: unique_email("form"), client: world.client() };
    let id = "0b1f0f5e-6c1e-4b52-9c0a-3a4f6e0d7a11";
    for (body, field) in [
        (json!({"success": true}), "request_id"),
        (json!({"request_id": 7, "success": true}), "request_id"),
        (json!({"request_id": "a b", "success": true}), "request_id"),
        (json!({"request_id": "x".repeat(65), "success": true}), "request_id"),
        (json!({"request_id": id}), "score"),
        (json!({"request_id": id, "score": 1.01}), "score"),
        (json!({"request_id": id, "score": -0.01}), "score"),
        (json!({"request_id": id, "score": "1"}), "score"),
        (json!({"request_id": id, "score": 1, "success": true}), "score"),
        (json!({"request_id": id, "success": 1}), "success"),
        (json!({"request_id": id, "success": true, "skill": "a/b"}), "skill"),
        (json!({"request_id": id, "success": true, "skill": 7}), "skill"),
    ] {
        let reply = feedback(&tenant, &body).await.expect_error(400, "invalid_field");
        assert_eq!(text(&reply.json(), "field"), field, "{body}");
    }
}
