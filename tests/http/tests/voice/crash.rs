//! workerd is killed in the middle of a turn, and the client comes back to another one on the same storage.

use crate::stage::{Stage, answer_pcm, finished, settled, speak, utterance, welcome};
use http_tests::voice_client::{Moment, Waited};
use http_tests::voice_provider::{self as provider, Stage as Part};
use http_tests::world::{assert_credits, number, text};
use serde_json::json;
use std::time::Duration;

const RESTART_BOUND: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_turn_survives_the_death_of_the_server_in_mid_audio() {
    let mut stage = Stage::private(json!({})).await;
    let tenant = stage.world.tenant("killed", 100.0).await;
    let mut client = welcome(&tenant, &json!({"window_ms": 120_000}), 41).await;
    let pcm = utterance(41, 5);
    let mut frames = 0;
    client.strike_at(move |moment, _| {
        frames += usize::from(matches!(moment, Moment::TookSound(_)));
        frames == 4
    });
    let mark = speak(&mut client, "one", &pcm).await;
    assert_eq!(client.until("the fourth frame", |_| false).await, Waited::Struck);
    stage.world.stack.crash_workerd();
    stage.world.stack.restarted(RESTART_BOUND).await;
    finished(&mut client, "one").await;
    assert_eq!(client.heard.pcm_of("one"), answer_pcm(&mark), "to the byte, over two processes");
    let shown = settled(&tenant, client.session(), 1).await;
    let turn = &shown["items"][0];
    assert_eq!(
        (text(turn, "state"), text(turn, "heard")),
        ("done", provider::sentences(&mark).join(" ").as_str())
    );
    assert!(shown["crash_retries"].as_i64().is_some_and(|again| again >= 1), "{shown}");
    // What was asked again for the crash is the house's.
    assert_eq!(turn["used"]["tokens_out"], json!(provider::TOKENS_OUT));
    assert_eq!(turn["used"]["characters"], json!(provider::sentences(&mark).join(" ").chars().count()));
    assert!(stage.provider.called(&[mark]).iter().filter(|called| called.stage == Part::Stt).count() == 1);
    client.bye().await;
    client.until("the end", |_| false).await;
    let balance = tenant.settled_balance().await;
    let shown = crate::stage::shown(&tenant, client.session()).await;
    assert_credits(balance, 100.0 - number(&shown, "charged"), "charged once");
    tenant.verified().await;
}
