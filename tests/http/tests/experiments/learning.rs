//! The whole loop over HTTP: some hundred asks whose outcomes are scripted, and the good arm wins.

use crate::stage::{Experiment, arm_of, feedback};
use http_tests::world::{World, whole};
use serde_json::{Value, json};

/// Of ten answers of an arm, so many are good.
const GOOD_OF_TEN: [(&str, usize); 3] = [("low", 2), ("middle", 4), ("high", 9)];
const ROUNDS: usize = 75;
/// Asks of one round: their feedback comes before the next one.
const AT_ONCE: usize = 4;

#[tokio::test]
async fn the_good_arm_wins_and_the_report_shows_it() {
    let world = World::verified().await;
    let names = GOOD_OF_TEN.map(|(name, _)| name);
    let experiment = Experiment::running(world, "learning", &names, 0).await;
    let tenant = world.tenant("learning", 50.0).await;
    let mut answered = [0_usize; 3];
    let mut good = 0_usize;
    for round in 0..ROUNDS {
        let asks = (0..AT_ONCE).map(|n| {
            let (experiment, tenant) = (&experiment, &tenant);
            async move { experiment.answered(tenant, &format!("client-{round}-{n}")).await }
        });
        for (arm, id) in futures::future::join_all(asks).await {
            let at = names.iter().position(|name| *name == arm).expect("one of its arms");
            // The outcome of an arm's n-th answer is written down, in a mixed order.
            let success = (answered[at] * 7 + 3) % 10 < GOOD_OF_TEN[at].1;
            answered[at] += 1;
            good += usize::from(success);
            let said = json!({"request_id": id, "skill": experiment.skill, "success": success});
            feedback(&tenant, &said).await.expect(200);
        }
    }
    let report = experiment.report().await;
    let asked = ROUNDS * AT_ONCE;
    for (at, name) in names.iter().enumerate() {
        let arm = arm_of(&report, name);
        let seen = usize::try_from(whole(&arm, "outcomes")).expect("a count");
        assert_eq!((seen, whole(&arm, "assignments")), (answered[at], whole(&arm, "outcomes")), "{arm}");
    }
    assert!(answered[2] * 10 > asked * 6, "{answered:?}: the good arm got most of {asked}");
    let best =
        arm_of(&report, "high").get("probability_best").and_then(Value::as_f64).expect("a probability");
    assert!(best > 0.95, "{report}");
    let mean = report.pointer("/uplift/mean").and_then(Value::as_f64).expect("a mean");
    #[allow(clippy::cast_precision_loss)]
    let seen = good as f64 / asked as f64;
    assert!((mean - seen).abs() < 1e-5, "{mean} {seen}");
    let uplift = report.pointer("/uplift/uplift").and_then(Value::as_f64).expect("an uplift");
    assert!(uplift > 0.1, "{report}");
    // An even share of 0.2, 0.4 and 0.9 earns 0.5.
    assert!(mean > 0.6, "{mean}");

    let promote = json!({"reason": "it answers better", "arm": "high"});
    experiment.steer("promote", &promote).await.expect(200);
    for client in 0..5 {
        assert_eq!(experiment.answered(&tenant, &format!("later-{client}")).await.0, "high");
    }
}
