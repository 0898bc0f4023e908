//! Sockets that are lost, taken over, and refused.

use crate::stage::{
    FRAME_BYTES, Stage, answer_pcm, by_ticket, client, finished, open, raw, resumes, settled, shown, speak,
    utterance, welcome,
};
use http_tests::voice_client::{Moment, Waited};
use http_tests::voice_provider::{self as provider, Stage as Part};
use http_tests::voice_wire::{PROTOCOL, Sound, commit};
use http_tests::web_socket::Ended;
use http_tests::world::text;
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn a_socket_that_is_cut_in_mid_audio_loses_nothing_and_doubles_nothing() {
    let stage = Stage::shared().await;
    let tenant = stage.world.tenant("cut", 100.0).await;
    let mut client = welcome(&tenant, &json!({"window_ms": 60000}), 11).await;
    let pcm = utterance(11, 6);
    let mut frames = 0;
    client.strike_at(move |moment, _| {
        frames += usize::from(matches!(moment, Moment::TookSound(_)));
        frames == 5
    });
    let mark = speak(&mut client, "one", &pcm).await;
    assert_eq!(client.until("the fifth frame", |_| false).await, Waited::Struck);
    client.abandon();
    finished(&mut client, "one").await;
    assert_eq!(client.heard.pcm_of("one"), answer_pcm(&mark));
    assert_eq!((client.heard.epoch, client.heard.gaps), (2, 0));
    let called = stage.provider.called(&[mark]);
    let count = |part| called.iter().filter(|called| called.stage == part).count();
    assert_eq!((count(Part::Stt), count(Part::Llm), count(Part::Tts)), (1, 1, 3), "nobody was asked again");
    let shown = settled(&tenant, client.session(), 1).await;
    assert_eq!((&shown["crash_retries"], &shown["broken_retries"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn a_turn_goes_on_without_its_client_and_waits_for_it() {
    let stage = Stage::shared().await;
    let tenant = stage.world.tenant("away", 100.0).await;
    let mut client = welcome(&tenant, &json!({"window_ms": 60000}), 12).await;
    let pcm = utterance(12, 3);
    let mark = provider::mark_of(&pcm);
    client.strike_at(|moment, _| matches!(moment, Moment::Acknowledged(seq) if *seq >= 4));
    speak(&mut client, "one", &pcm).await;
    assert_eq!(client.until("the commit is acknowledged", |_| false).await, Waited::Struck);
    client.abandon();
    let session = client.session().to_owned();
    http_tests::poll::eventually(Duration::from_secs(20), "the turn ends without its client", || async {
        let shown = shown(&tenant, &session).await;
        if shown["items"][0]["state"] == json!("done") { Ok(()) } else { Err(shown) }
    })
    .await;
    finished(&mut client, "one").await;
    assert_eq!(client.heard.pcm_of("one"), answer_pcm(&mark));
}

#[tokio::test]
async fn who_comes_back_takes_over_and_the_older_socket_hears_4001() {
    let stage = Stage::shared().await;
    let tenant = stage.world.tenant("takeover", 100.0).await;
    let opened = open(&tenant, &json!({})).await;
    let session = text(&opened, "session");
    let (mut first, hello) = by_ticket(&tenant, &opened).await;
    assert_eq!(
        (&hello["epoch"], &hello["up_next"], &hello["heartbeat_ms"]),
        (&json!(1), &json!(1), &json!(15_000))
    );
    let token = text(&hello, "resume_token").to_owned();
    assert_eq!(token.len(), 64);
    let (mut second, resumed) = resumes(&tenant, session, &token, 0).await;
    assert_eq!((text(&resumed, "type"), &resumed["epoch"]), ("resumed", &json!(2)), "{resumed}");
    assert_eq!((&resumed["replay_from"], &resumed["gap"]), (&json!(1), &json!(false)));
    assert_eq!(first.ended().await, Ended::With(4001, "another socket took the session over".into()));
    assert_eq!(text(&second.json().await, "type"), "replayed");
    // The older token stays good until the client speaks with the newer.
    let (mut third, resumed) = resumes(&tenant, session, &token, 0).await;
    assert_eq!(resumed["epoch"], json!(3));
    third.json().await;
    third.send_json(&json!({"type": "ack", "seq": 0})).await;
    third.send_json(&json!({"type": "played", "turn": "none", "media_offset": 0})).await;
    third.send("ping").await;
    assert_eq!(third.text().await, "pong");
    let (_, refused) = resumes(&tenant, session, &token, 0).await;
    assert_eq!((text(&refused, "type"), text(&refused, "reason")), ("resume_failed", "superseded"));
    // And its ticket brought nobody in a second time.
    let (mut by_ticket, refused) = resumes(&tenant, session, text(&opened, "ticket"), 0).await;
    assert_eq!(text(&refused, "reason"), "superseded");
    assert_eq!(by_ticket.ended().await, Ended::With(4004, "not resumed".into()));
}

#[tokio::test]
async fn bad_tokens_and_strangers_are_told_nothing() {
    let stage = Stage::shared().await;
    let tenant = stage.world.tenant("tokens", 100.0).await;
    let opened = open(&tenant, &json!({})).await;
    let session = text(&opened, "session");
    let (mut socket, hello) = by_ticket(&tenant, &opened).await;
    for bad in ["", "nonsense", &"0".repeat(64)] {
        let (mut line, refused) = resumes(&tenant, session, bad, 0).await;
        assert_eq!((text(&refused, "type"), text(&refused, "reason")), ("resume_failed", "bad_token"));
        assert_eq!(line.ended().await, Ended::With(4004, "not resumed".into()));
    }
    // What it never had cannot be said again.
    let token = text(&hello, "resume_token");
    let (_, refused) = resumes(&tenant, session, token, 7).await;
    assert_eq!(text(&refused, "reason"), "evicted");
    let mut rude = raw(&tenant, session).protocols(PROTOCOL).open().await;
    rude.send_json(&json!({"type": "bye"})).await;
    assert!(matches!(rude.ended().await, Ended::With(1008, _)));
    // The session's own socket has not noticed any of it.
    assert!(socket.soon().await.is_none());
    socket.send_json(&json!({"type": "bye"})).await;
    let ended = socket.json().await;
    assert_eq!((text(&ended, "type"), text(&ended, "why")), ("ended", "bye"));
    assert_eq!(socket.ended().await, Ended::With(4002, "the session is over".into()));
    let (_, refused) = resumes(&tenant, session, token, 0).await;
    assert_eq!(text(&refused, "reason"), "expired");
}

#[tokio::test]
async fn silent_strangers_shut_nobody_out() {
    let stage = Stage::shared().await;
    let tenant = stage.world.tenant("silent", 100.0).await;
    let opened = open(&tenant, &json!({})).await;
    let session = text(&opened, "session");
    let (_socket, hello) = by_ticket(&tenant, &opened).await;
    let mut silent = Vec::new();
    for _ in 0..6 {
        silent.push(raw(&tenant, session).protocols(PROTOCOL).open().await);
    }
    assert!(matches!(silent[0].ended().await, Ended::With(1008, _)), "the oldest made room");
    let (_, resumed) = resumes(&tenant, session, text(&hello, "resume_token"), 0).await;
    assert_eq!(text(&resumed, "type"), "resumed");
}

#[tokio::test]
async fn a_skipped_number_closes_the_socket_and_what_was_said_twice_is_heard_once() {
    let stage = Stage::shared().await;
    let tenant = stage.world.tenant("numbers", 100.0).await;
    let opened = open(&tenant, &json!({})).await;
    let session = text(&opened, "session");
    let (mut socket, hello) = by_ticket(&tenant, &opened).await;
    let pcm = utterance(13, 2);
    let frame = |seq: u32| {
        let at = (seq as usize - 1) * FRAME_BYTES;
        Sound::up(seq, 0, pcm[at..at + FRAME_BYTES].to_vec()).encode()
    };
    for seq in [1, 1, 2, 1, 2] {
        socket.send_binary(frame(seq)).await;
    }
    socket.send_json(&commit(4, "skipped")).await;
    assert!(matches!(socket.ended().await, Ended::With(4008, _)));
    let mut line = raw(&tenant, session).protocols(PROTOCOL).open().await;
    let token = text(&hello, "resume_token");
    line.send_json(&http_tests::voice_wire::resume(session, token, 0, 3)).await;
    let resumed = line.json().await;
    assert_eq!(resumed["up_next"], json!(3), "{resumed}");
    line.send_json(&commit(3, "one")).await;
    let heard: Value = loop {
        // Sound is passed over by this simple reader.
        let event = line.json().await;
        if event["type"] == json!("transcript") && event["final"] == json!(true) {
            break event;
        }
    };
    assert_eq!(text(&heard, "text"), provider::understood(&provider::mark_of(&pcm)));
}

#[tokio::test]
async fn who_does_not_come_back_within_the_window_finds_the_session_over() {
    let stage = Stage::shared().await;
    let tenant = stage.world.tenant("window", 100.0).await;
    let opened = open(&tenant, &json!({"window_ms": 1000})).await;
    let session = text(&opened, "session").to_owned();
    let (socket, hello) = by_ticket(&tenant, &opened).await;
    socket.cut();
    http_tests::poll::eventually(Duration::from_secs(20), "the window ends", || async {
        let shown = shown(&tenant, &session).await;
        if shown["why"] == json!("window") { Ok(()) } else { Err(shown) }
    })
    .await;
    let (_, refused) = resumes(&tenant, &session, text(&hello, "resume_token"), 0).await;
    assert_eq!((text(&refused, "type"), text(&refused, "reason")), ("resume_failed", "expired"));
}

#[tokio::test]
async fn a_client_that_lost_the_welcome_comes_back_with_its_ticket() {
    let stage = Stage::shared().await;
    let tenant = stage.world.tenant("unwelcome", 100.0).await;
    let opened = open(&tenant, &json!({})).await;
    let mut client = client(&tenant, &opened, 14);
    client.strike_at(|moment, _| matches!(moment, Moment::About(event) if event["type"] == "welcome"));
    assert_eq!(client.until("the welcome is lost", |_| false).await, Waited::Struck);
    client.abandon();
    let mark = {
        client.until_client("it is back", http_tests::voice_client::VoiceClient::is_live).await;
        speak(&mut client, "one", &utterance(14, 2)).await
    };
    finished(&mut client, "one").await;
    assert_eq!(client.heard.pcm_of("one"), answer_pcm(&mark));
}
