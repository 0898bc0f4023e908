//! SIGKILL: what was acknowledged of an experiment is there afterwards.

use crate::stage::{Experiment, feedback};
use http_tests::world::{Tenant, World, whole};
use serde_json::{Value, json};

#[tokio::test]
async fn a_kill_loses_no_arm_no_answer_and_no_score() {
    let mut world = World::private(json!({})).await;
    let mut experiment = Experiment::running(&world, "killed", &["a", "b", "c"], 3_600).await;
    let mut tenant = world.tenant("killed", 5.0).await;
    let mut answers = Vec::new();
    for client in 0..12 {
        let (arm, id) = experiment.answered(&tenant, &client.to_string()).await;
        if client % 2 == 0 {
            let said = json!({"request_id": id, "skill": experiment.skill, "score": 0.5});
            feedback(&tenant, &said).await.expect(200);
        }
        answers.push((client, arm, id));
    }
    let before = experiment.report().await;

    world.stack.kill_workerd();
    world.stack.restart();
    tenant = Tenant { client: world.client(), ..tenant };
    experiment.client = world.client();

    assert_eq!(experiment.report().await, before);
    for (client, arm, id) in &answers {
        assert_eq!(experiment.answered(&tenant, &client.to_string()).await.0, *arm, "client {client}");
        let said = json!({"request_id": id, "success": true, "skill": experiment.skill});
        let first = feedback(&tenant, &said).await.expect(200).json().get("first").cloned();
        assert_eq!(first, Some(json!(client % 2 == 1)), "what was scored before stays scored");
    }
    experiment.steer("pin", &json!({"reason": "enough", "arm": "c"})).await.expect(200);

    world.stack.kill_workerd();
    world.stack.restart();
    tenant = Tenant { client: world.client(), ..tenant };
    experiment.client = world.client();
    assert_eq!(experiment.answered(&tenant, "0").await.0, "c");
    let report = experiment.report().await;
    let arms = report.get("arms").and_then(Value::as_array).expect("arms");
    let outcomes: i64 = arms.iter().map(|arm| whole(arm, "outcomes")).sum();
    assert_eq!(outcomes, 12, "{report}");
}
