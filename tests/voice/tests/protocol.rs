//! The client against the rules on SQLite, over real sockets.

use actors::voice::Settings;
use http_tests::voice_breaker::{Breaker, Way};
use http_tests::voice_client::{Dial, Heard, Manner, Moment, VoiceClient, Waited};
use http_tests::voice_provider::{self as provider, VoiceProvider};
use serde_json::Value;
use std::time::Duration;
use voice_tests::server::Server;

/// Bytes of 100 ms at 24 kHz.
const FRAME_BYTES: usize = 4_800;

struct Stage {
    provider: VoiceProvider,
    server: Server,
}

impl Stage {
    async fn new(window_ms: i64) -> Self {
        let provider = VoiceProvider::start().await;
        let settings = Settings { window_ms, ..Settings::default() };
        let server = Server::start(settings, provider.base()).await;
        Self { provider, server }
    }

    async fn client(&self, seed: u64) -> (VoiceClient, Breaker) {
        let breaker = Breaker::before(self.server.address()).await;
        let opened = self.server.open();
        let text = |member: &str| opened[member].as_str().expect("a text").to_owned();
        let dial = Dial {
            address: breaker.address(),
            host: self.server.address().to_string(),
            path: text("url"),
            session: text("session"),
            ticket: text("ticket"),
            headers: Vec::new(),
        };
        (VoiceClient::new(dial, Manner::quick(seed)), breaker)
    }
}

fn utterance(seed: u8, frames: usize) -> Vec<Vec<u8>> {
    let byte = |at: usize| u8::try_from((at * 7 + usize::from(seed) * 31 + at / 251) % 256).expect("a byte");
    (0..frames).map(|frame| (0..FRAME_BYTES).map(|at| byte(frame * FRAME_BYTES + at)).collect()).collect()
}

async fn speak(client: &mut VoiceClient, seed: u8, turn: &str) -> String {
    let frames = utterance(seed, 8);
    let mark = provider::mark_of(&frames.concat());
    for frame in frames {
        assert!(client.speak(frame).await);
    }
    client.commit(turn).await;
    mark
}

fn sound_of(mark: &str) -> Vec<u8> {
    provider::sentences(mark).iter().flat_map(|sentence| provider::sound(sentence)).collect()
}

async fn end(mut client: VoiceClient) {
    client.bye().await;
    assert_eq!(client.until("the end", |_| false).await, Waited::Over);
    assert_eq!(client.heard.ended.as_deref(), Some("bye"));
}

#[tokio::test]
async fn a_spoken_turn_is_understood_answered_and_heard_whole() {
    let stage = Stage::new(8_000).await;
    let (mut client, _breaker) = stage.client(1).await;
    assert_eq!(client.until("a welcome", |heard| heard.epoch == 1).await, Waited::Holds);
    let mark = speak(&mut client, 1, "one").await;
    client.until("the turn's end", |heard| heard.is_in("one", "done")).await;
    assert_eq!(client.heard.transcripts("one", "user"), [provider::understood(&mark)]);
    assert_eq!(
        client.heard.transcripts("one", "assistant").concat().trim(),
        provider::sentences(&mark).join(" ")
    );
    assert!(client.heard.pcm_of("one") == sound_of(&mark), "{:?}", client.heard);
    client.say("two", "Again 0123456789ab please").await;
    client.until("the turn's end", |heard| heard.is_in("two", "done")).await;
    assert!(client.heard.pcm_of("two") == sound_of("0123456789ab"));
    client.until_client("acknowledgements", |client| client.unacknowledged() == 0).await;
    end(client).await;
}

#[tokio::test]
async fn a_cable_that_is_pulled_in_mid_answer_costs_nothing() {
    let stage = Stage::new(8_000).await;
    let (mut client, breaker) = stage.client(2).await;
    client.until("a welcome", |heard| heard.epoch == 1).await;
    let mark = speak(&mut client, 2, "one").await;
    client.strike_at(|moment, heard| {
        matches!(moment, Moment::TookSound(_)) && heard.pcm_of("one").len() >= 2 * FRAME_BYTES
    });
    assert_eq!(client.until("sound", |_| false).await, Waited::Struck);
    breaker.reset();
    breaker.down_for(Duration::from_millis(700));
    let came = |heard: &Heard| heard.is_in("one", "done") && !heard.resumed_in.is_empty();
    client.until("the turn's end", came).await;
    assert_eq!((client.heard.epoch, client.heard.losses, client.heard.resumed_in.len()), (2, 1, 1));
    assert!(client.heard.pcm_of("one") == sound_of(&mark));
    assert_eq!(
        stage.provider.called(&[mark]).len(),
        5,
        "one call to hear, one to think, one for each sentence"
    );
    end(client).await;
}

#[tokio::test]
async fn a_line_that_falls_silent_is_noticed_and_taken_over() {
    let stage = Stage::new(8_000).await;
    for (seed, way) in [(3, Way::Up), (4, Way::Down)] {
        let (mut client, breaker) = stage.client(u64::from(seed)).await;
        client.until("a welcome", |heard| heard.epoch == 1).await;
        breaker.silence(way);
        let mark = speak(&mut client, seed, "one").await;
        client.until("the turn's end", |heard| heard.is_in("one", "done")).await;
        assert_eq!((client.heard.epoch, client.heard.silences), (2, 1));
        assert!(client.heard.pcm_of("one") == sound_of(&mark));
        end(client).await;
    }
}

#[tokio::test]
async fn who_comes_back_after_the_window_is_told_so() {
    let stage = Stage::new(600).await;
    let (mut client, breaker) = stage.client(5).await;
    client.until("a welcome", |heard| heard.epoch == 1).await;
    breaker.fin();
    breaker.down_for(Duration::from_millis(1_200));
    assert_eq!(client.until("an answer", |heard| heard.epoch > 1).await, Waited::Over);
    assert_eq!(client.heard.failed.as_deref(), Some("expired"));
}

#[tokio::test]
async fn a_session_whose_memory_is_lost_goes_on() {
    let stage = Stage::new(8_000).await;
    let (mut client, _breaker) = stage.client(6).await;
    client.until("a welcome", |heard| heard.epoch == 1).await;
    let mark = speak(&mut client, 6, "one").await;
    client.until("an answer", |heard| heard.pcm_of("one").len() >= 2 * FRAME_BYTES).await;
    let session = client.session().to_owned();
    stage.server.kill(&session).await;
    client.until("the turn's end", |heard| heard.is_in("one", "done")).await;
    assert!(client.heard.pcm_of("one") == sound_of(&mark));
    let view = stage.server.view(&session).await;
    assert!(view["crash_retries"].as_i64() >= Some(1), "{view}");
    let turns = stage.server.turns(&session).await;
    let states: Vec<&Value> = turns.iter().map(|turn| &turn["state"]).collect();
    assert_eq!(states, ["done"]);
    end(client).await;
}

#[tokio::test]
async fn ten_seconds_that_were_said_while_it_was_away_arrive_and_no_more_is_taken() {
    let stage = Stage::new(8_000).await;
    let (mut client, breaker) = stage.client(7).await;
    client.until("a welcome", |heard| heard.epoch == 1).await;
    breaker.fin();
    breaker.down_for(Duration::from_millis(500));
    client.until_client("the loss", |client| !client.is_live()).await;
    let frames = utterance(7, 101);
    let mark = provider::mark_of(&frames[..100].concat());
    for (at, frame) in frames.into_iter().enumerate() {
        assert_eq!(client.speak(frame).await, at < 100);
    }
    client.commit("one").await;
    client.until("the turn's end", |heard| heard.is_in("one", "done")).await;
    assert_eq!(client.heard.transcripts("one", "user"), [provider::understood(&mark)]);
    end(client).await;
}

#[tokio::test]
async fn a_slow_line_is_only_slow() {
    let stage = Stage::new(8_000).await;
    let (mut client, breaker) = stage.client(8).await;
    client.until("a welcome", |heard| heard.epoch == 1).await;
    breaker.delay(Duration::from_millis(40));
    let mark = speak(&mut client, 8, "one").await;
    client.until("the turn's end", |heard| heard.is_in("one", "done")).await;
    assert!(client.heard.pcm_of("one") == sound_of(&mark));
    assert_eq!((client.heard.epoch, client.heard.losses), (1, 0));
    end(client).await;
}
