//! Which arm answers an ask, and how the answer says so.

use crate::stage::{Experiment, arm_of, feedback, system_of};
use http_tests::client::unique_marker;
use http_tests::provider_script::{Behaviour, Usage};
use http_tests::world::{World, text, whole};
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[tokio::test]
async fn a_skill_without_an_experiment_is_asked_as_ever() {
    let world = World::verified().await;
    let tenant = world.tenant("plain", 1.0).await;
    let reply = tenant.ask(&json!({"skill": "never-tried", "input": "x"})).send().await.expect(200);
    assert_eq!(reply.header("x-variant"), None);
    let items = tenant.usage_of(1).await;
    assert_eq!(items[0].pointer("/meta/variant"), None, "{items:?}");
}

#[tokio::test]
async fn the_arm_asks_in_its_own_words_and_the_answer_and_the_books_say_which() {
    let world = World::verified().await;
    let experiment = Experiment::running(world, "words", &["a", "b"], 3_600).await;
    let tenant = world.tenant("words", 1.0).await;
    let reply = experiment.ask(&tenant).send().await.expect(200);
    let arm = experiment.arm_in(&reply);
    let calls = world.groq.calls(&system_of(&experiment.skill, &arm));
    assert_eq!(calls.len(), 1);
    assert_eq!(
        calls[0].json().pointer("/messages/0/content"),
        Some(&json!(system_of(&experiment.skill, &arm)))
    );
    let items = tenant.usage_of(1).await;
    let variant = items[0].pointer("/meta/variant").and_then(Value::as_str);
    assert_eq!(variant, Some(reply.must_header("x-variant")));
    let exposed = reply.must_header("access-control-expose-headers");
    assert!(exposed.contains("X-Variant") && exposed.contains("X-Feedback-Id"), "{exposed}");

    let shown = experiment.arm(&arm).await;
    assert_eq!((whole(&shown, "assignments"), whole(&shown, "outcomes")), (1, 0));
    let cost: f64 = reply.must_header("x-credits-used").parse().expect("credits");
    let shown_cost = shown.get("cost_credits").and_then(Value::as_f64).expect("a cost");
    assert!((shown_cost - cost).abs() < 1e-9, "{shown}");
    assert!(shown.get("latency_ms_each").and_then(Value::as_f64).is_some(), "{shown}");
}

#[tokio::test]
async fn a_tenant_keeps_its_arm_and_each_of_its_clients_one_of_its_own() {
    let world = World::verified().await;
    let experiment = Experiment::running(world, "sticky", &["a", "b", "c", "d"], 3_600).await;
    let tenant = world.tenant("sticky", 1.0).await;
    let first = experiment.arm_in(&experiment.ask(&tenant).send().await.expect(200));
    for _ in 0..6 {
        let again = experiment.ask(&tenant).send().await.expect(200);
        assert_eq!(experiment.arm_in(&again), first);
    }
    let mut seen = BTreeSet::new();
    for client in 0..12 {
        let client_id = format!("client-{client}");
        let (arm, _) = experiment.answered(&tenant, &client_id).await;
        assert_eq!(experiment.answered(&tenant, &client_id).await.0, arm, "{client_id}");
        seen.insert(arm);
    }
    assert!(seen.len() > 1, "twelve clients all got {seen:?}");
}

#[tokio::test]
async fn the_wanted_arm_answers_and_one_that_is_none_is_as_good_as_none() {
    let world = World::verified().await;
    let experiment = Experiment::running(world, "wanted", &["a", "b", "c"], 3_600).await;
    let tenant = world.tenant("wanted", 1.0).await;
    let kept = experiment.arm_in(&experiment.ask(&tenant).send().await.expect(200));
    for arm in ["a", "b", "c"] {
        for wanted in [arm.to_owned(), arm.to_uppercase(), format!("{}/{arm}", experiment.skill)] {
            let reply = experiment.ask(&tenant).header("x-ab-variant", &wanted).send().await.expect(200);
            assert_eq!(experiment.arm_in(&reply), arm, "{wanted}");
        }
    }
    for wanted in ["none", "other/a", "a,b", "*"] {
        let reply = experiment.ask(&tenant).header("x-ab-variant", wanted).send().await.expect(200);
        assert_eq!(experiment.arm_in(&reply), kept, "{wanted}");
    }
}

#[tokio::test]
async fn an_arm_with_a_model_has_it_asked_first_and_the_others_still_answer_for_it() {
    let world = World::verified().await;
    let experiment = Experiment::running(world, "model", &["usual", "other"], 0).await;
    let (marker, skill) = (unique_marker(), experiment.skill.clone());
    let with_model = json!([
        {"name": "usual", "system": system_of(&skill, "usual")},
        {"name": "large", "system": marker, "model": "openai:large-model"},
    ]);
    experiment.put(&json!({"arms": with_model, "sticky_s": 0})).await.expect(200);
    let tenant = world.tenant("model", 1.0).await;
    let ask = || experiment.ask(&tenant).header("x-ab-variant", "large").send();
    let reply = ask().await.expect(200);
    assert_eq!(reply.must_header("x-provider"), "openai");
    let call = &world.openai.calls(&marker)[0];
    assert_eq!(call.json().get("model"), Some(&json!("large-model")));
    world.openai.script(&marker, [Behaviour::status(500)]);
    let reply = ask().await.expect(200);
    assert_eq!(reply.must_header("x-provider"), "groq");
    assert_eq!(experiment.arm_in(&reply), "large", "it was assigned, whoever answered");
}

#[tokio::test]
async fn who_brings_a_prompt_is_no_part_of_it() {
    let world = World::verified().await;
    let experiment = Experiment::running(world, "own", &["a", "b"], 3_600).await;
    let tenant = world.tenant("own", 1.0).await;
    let (marker, skill) = (unique_marker(), &experiment.skill);
    let own = json!({"skill": skill, "input": "x", "system": marker});
    let reply = tenant.ask(&own).header("x-ab-variant", "a").send().await.expect(200);
    assert_eq!(reply.header("x-variant"), None);
    assert_eq!(world.groq.calls(&marker).len(), 1);
    for arm in ["a", "b"] {
        assert_eq!(whole(&experiment.arm(arm).await, "assignments"), 0);
    }
}

#[tokio::test]
async fn a_stream_says_its_arm_before_its_text_and_counts_at_its_end() {
    let world = World::verified().await;
    let experiment = Experiment::running(world, "stream", &["a", "b"], 3_600).await;
    let tenant = world.tenant("stream", 1.0).await;
    let stream = experiment.ask(&tenant).open().await.expect_stream().await;
    let variant = stream.header("x-variant").expect("a variant").to_owned();
    let id = stream.header("x-request-id").expect("an id").to_owned();
    stream.drain().await;
    let arm = variant.rsplit('/').next().expect("an arm");
    assert_eq!(whole(&experiment.arm(arm).await, "assignments"), 1);
    let said = json!({"request_id": id, "skill": experiment.skill, "success": true});
    feedback(&tenant, &said).await.expect(200);
}

#[tokio::test]
async fn what_comes_to_nothing_counts_for_nothing() {
    let world = World::verified().await;
    let experiment = Experiment::running(world, "nothing", &["a", "b"], 0).await;
    let poor = world.tenant("poor", 0.0).await;
    experiment.ask(&poor).send().await.expect_error(402, "insufficient_credits");
    let tenant = world.tenant("failed", 1.0).await;
    let marker = unique_marker();
    for provider in world.providers() {
        provider.script(&marker, [Behaviour::status(500)]);
    }
    let failing = json!({"skill": experiment.skill, "input": marker});
    tenant.ask(&failing).send().await.expect_error(502, "si_ask_failed");
    let report = experiment.report().await;
    for arm in ["a", "b"] {
        assert_eq!(whole(&arm_of(&report, arm), "assignments"), 0, "{report}");
    }
}

#[tokio::test]
async fn a_repeated_answer_counts_once_and_says_what_feedback_names() {
    let world = World::verified().await;
    let experiment = Experiment::running(world, "repeated", &["a", "b", "c"], 0).await;
    let tenant = world.tenant("repeated", 1.0).await;
    let ask = || experiment.ask(&tenant).idempotency_key("once");
    let first = ask().send().await.expect(200);
    let (arm, id) = (experiment.arm_in(&first), first.must_header("x-request-id").to_owned());
    assert_eq!(first.header("x-feedback-id"), None);
    for _ in 0..3 {
        let again = ask().send().await.expect(200);
        assert_eq!(
            (experiment.arm_in(&again), again.must_header("x-feedback-id")),
            (arm.clone(), id.as_str())
        );
    }
    let stream = ask().open().await.expect_stream().await;
    assert_eq!(stream.header("x-feedback-id"), Some(id.as_str()));
    assert_eq!(whole(&experiment.arm(&arm).await, "assignments"), 1);
    let said = json!({"request_id": id, "skill": experiment.skill, "success": true});
    feedback(&tenant, &said).await.expect(200);
}

/// The price of the arm's model is what its answer is charged at.
#[tokio::test]
async fn the_model_of_an_arm_has_its_own_price() {
    let prices = json!({"MODEL_PRICES": json!({"dear-model": 5.0}).to_string()});
    let world = World::private(prices).await;
    let experiment = Experiment::running(&world, "price", &["usual", "other"], 0).await;
    let marker = unique_marker();
    let dear = json!([
        {"name": "usual", "system": system_of(&experiment.skill, "usual")},
        {"name": "dear", "system": marker, "model": "openai:dear-model"},
    ]);
    experiment.put(&json!({"arms": dear, "sticky_s": 0})).await.expect(200);
    world.openai.script(&marker, [Behaviour::answer("dear", Usage::new(52, 192))]);
    let tenant = world.tenant("price", 10.0).await;
    let reply = experiment.ask(&tenant).header("x-ab-variant", "dear").send().await.expect(200);
    assert_eq!(reply.must_header("x-credits-used"), "1.220");
    assert_eq!(text(&experiment.arm("dear").await, "model"), "openai:dear-model");
}
