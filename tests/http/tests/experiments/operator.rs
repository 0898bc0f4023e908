//! What an operator decides: who gets what from then on, and the list of it.

use crate::stage::{Experiment, arms, unique_skill};
use http_tests::world::{World, text, whole};
use reqwest::Method;
use serde_json::{Value, json};

/// The kinds of what was decided, the newest first.
fn kinds(report: &Value) -> Vec<&str> {
    let events = report.get("events").and_then(Value::as_array).expect("events");
    events.iter().map(|event| text(event, "kind")).collect()
}

#[tokio::test]
async fn only_an_operator_sees_and_decides() {
    let world = World::verified().await;
    let experiment = Experiment::running(world, "operator", &["a", "b"], 0).await;
    let tenant = world.tenant("no-operator", 1.0).await;
    let path = experiment.path();
    for (method, path) in [
        (Method::GET, "/api/admin/experiments".to_owned()),
        (Method::GET, path.clone()),
        (Method::PUT, path.clone()),
        (Method::POST, format!("{path}/pause")),
        (Method::POST, format!("{path}/resume")),
        (Method::POST, format!("{path}/pin")),
        (Method::POST, format!("{path}/promote")),
        (Method::POST, format!("{path}/withdraw")),
    ] {
        let call = tenant.client.call(method, &path).user(&tenant.email);
        call.json(&json!({"reason": "I want to"})).send().await.expect_error(401, "unauthorized");
    }
    assert_eq!(kinds(&experiment.report().await), ["defined"]);
}

#[tokio::test]
async fn paused_pinned_and_promoted_say_who_gets_what() {
    let world = World::verified().await;
    let experiment = Experiment::running(world, "steered", &["a", "b", "c"], 0).await;
    let tenant = world.tenant("steered", 2.0).await;
    let all_get = async |arm: &str| {
        for client in 0..6 {
            let ask = experiment.ask(&tenant).header("x-client-id", &client.to_string());
            let reply = ask.header("x-ab-variant", "b").send().await.expect(200);
            assert_eq!(experiment.arm_in(&reply), arm);
        }
    };
    let steer = |what: &'static str, body: Value| {
        let experiment = experiment.clone();
        async move { experiment.steer(what, &body).await }
    };
    let report = steer("pause", json!({"reason": "an incident"})).await.expect(200).json();
    assert_eq!((text(&report, "state"), report.get("arm")), ("paused", Some(&Value::Null)));
    all_get("a").await;
    steer("pause", json!({"reason": "again"})).await.expect(200);
    steer("resume", json!({"reason": "it is over"})).await.expect(200);
    all_get("b").await;
    let report = steer("pin", json!({"reason": "a demo", "arm": "c"})).await.expect(200).json();
    assert_eq!((text(&report, "state"), text(&report, "arm")), ("pinned", "c"));
    all_get("c").await;
    for body in [json!({"reason": "x", "arm": "d"}), json!({"reason": "x"}), json!({"arm": "c"}), json!({})] {
        steer("pin", body).await.expect_error(400, "invalid_setting");
    }
    steer("promote", json!({"reason": "it is the best", "arm": "a"})).await.expect(200);
    all_get("a").await;
    for what in ["pause", "resume"] {
        steer(what, json!({"reason": "too late"})).await.expect_error(409, "experiment_ended");
    }
    let report = experiment.report().await;
    assert_eq!(kinds(&report), ["promoted", "pinned", "resumed", "paused", "defined"]);
    let paused = report.pointer("/events/3").expect("the pause");
    assert_eq!((text(paused, "reason"), text(paused, "operator")), ("an incident", "first"));

    let anew = json!({"arms": arms(&experiment.skill, &["a", "d"]), "sticky_s": 0});
    let report = experiment.put(&anew).await.expect(200).json();
    assert_eq!((text(&report, "state"), whole(&report, "round")), ("running", 2));
    assert_eq!(report.pointer("/events/0/detail/before/state"), Some(&json!("promoted")));

    steer("withdraw", json!({"reason": "done with it"})).await.expect(200);
    let reply = experiment.ask(&tenant).send().await.expect(200);
    assert_eq!(reply.header("x-variant"), None);
    let listed = world.client().get("/api/admin/experiments").admin().send().await.expect(200).json();
    assert!(!listed.to_string().contains(&experiment.skill), "{listed}");
}

#[tokio::test]
async fn a_definition_is_checked_and_the_name_of_an_arm_means_one_thing() {
    let world = World::verified().await;
    let experiment = Experiment::running(world, "defined", &["a", "b"], 60).await;
    let path = experiment.path();
    let put = async |body: &Value| experiment.client.call(Method::PUT, &path).admin().json(body).send().await;
    for (body, field) in [
        (json!({}), "arms"),
        (json!({"arms": [{"name": "a"}]}), "arms"),
        (json!({"arms": "a"}), "arms"),
        (json!({"arms": [{"name": "a"}, {"name": "b", "colour": "red"}]}), "arms"),
        (json!({"arms": [{"name": "a"}, {"name": "A b"}]}), "arms.name"),
        (json!({"arms": [{"name": "a"}, {"name": "a"}]}), "arms.name"),
        (json!({"arms": [{"name": "a"}, {"name": "b", "model": "gpt-4o"}]}), "arms.model"),
        (json!({"arms": [{"name": "a"}, {"name": "b", "model": "nobody:gpt-4o"}]}), "arms.model"),
        (json!({"arms": [{"name": "a"}, {"name": "b", "system": "x".repeat(16_385)}]}), "arms.system"),
        (json!({"arms": [{"name": "a"}, {"name": "b"}], "control": "c"}), "control"),
        (json!({"arms": [{"name": "a"}, {"name": "b"}], "control": 7}), "control"),
        (json!({"arms": [{"name": "a"}, {"name": "b"}], "sticky_s": -1}), "sticky_s"),
        (json!({"arms": [{"name": "a"}, {"name": "b"}], "sticky_s": 0.5}), "sticky_s"),
        (json!({"arms": [{"name": "a"}, {"name": "b"}], "sticky_s": 9_007_199_254_740_991_i64}), "sticky_s"),
        (json!({"arms": [{"name": "a"}, {"name": "b"}], "reason": ""}), "reason"),
    ] {
        let reply = put(&body).await.expect_error(400, "invalid_setting").json();
        assert_eq!(text(&reply, "field"), field, "{body}");
    }
    let before = experiment.report().await;
    let same = json!({"arms": arms(&experiment.skill, &["a", "b"]), "sticky_s": 60});
    assert_eq!(put(&same).await.expect(200).json(), before, "the same again changes nothing");
    let other = json!({"arms": [{"name": "a"}, {"name": "b", "system": "Be another."}], "sticky_s": 60});
    let refused = put(&other).await.expect_error(409, "arm_changed").json();
    assert_eq!(text(&refused, "arm"), "a");
    assert_eq!(experiment.report().await, before);
}

#[tokio::test]
async fn the_list_of_what_was_decided_is_told_in_pages() {
    let world = World::verified().await;
    let experiment = Experiment::running(world, "paged", &["a", "b"], 0).await;
    for what in ["pause", "resume", "pause", "resume"] {
        experiment.steer(what, &json!({"reason": "a list of some length", "arm": "a"})).await.expect(200);
    }
    let path = experiment.path();
    let (mut told, mut cursor, mut pages) = (Vec::new(), None::<String>, 0);
    loop {
        let mut call = experiment.client.get(&path).admin().query("limit", "2");
        if let Some(cursor) = &cursor {
            call = call.query("cursor", cursor);
        }
        let report = call.send().await.expect(200).json();
        told.extend(kinds(&report).into_iter().map(str::to_owned));
        cursor = report["next_cursor"].as_str().map(str::to_owned);
        pages += 1;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((told.join(" ").as_str(), pages), ("resumed paused resumed paused defined", 3));
    assert_eq!(experiment.report().await["next_cursor"], Value::Null, "all of it fits");
    let wrong = experiment.client.get(&path).admin().query("cursor", "other-2").send().await;
    wrong.expect_error(400, "invalid_cursor");
}

#[tokio::test]
async fn an_experiment_that_is_none_is_not_found() {
    let world = World::verified().await;
    let client = world.client();
    for skill in [unique_skill("none"), "%2e%2e".to_owned(), "x".repeat(65)] {
        let path = format!("/api/admin/experiments/{skill}");
        client.get(&path).admin().send().await.expect_error(404, "not_found");
        let pause = client.post(&format!("{path}/pause")).admin().json(&json!({"reason": "x"}));
        pause.send().await.expect_error(404, "not_found");
    }
}

/// A second isolate hears of an experiment when its own list is old enough.
#[tokio::test]
async fn another_worker_hears_of_it_within_the_time_to_live() {
    let beside = json!({"EXPERIMENTS_TTL_MS": "200"});
    let world = World::private_pair(json!({}), beside).await;
    let tenant = world.tenant("beside", 1.0).await;
    let there = http_tests::world::Tenant { client: world.stack.beside_client(), ..tenant.clone() };
    let experiment = Experiment { skill: unique_skill("beside"), client: world.client() };
    let ask = || experiment.ask(&there).send();
    assert_eq!(ask().await.expect(200).header("x-variant"), None);
    let definition = json!({"arms": arms(&experiment.skill, &["a", "b"]), "sticky_s": 60});
    experiment.put(&definition).await.expect(200);
    tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    let reply = ask().await.expect(200);
    let here = experiment.ask(&tenant).send().await.expect(200);
    assert_eq!(experiment.arm_in(&reply), experiment.arm_in(&here), "and gives the same arm");
}
