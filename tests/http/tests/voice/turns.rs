//! Turns: spoken, written, interrupted; what each says, sounds like and costs.

use crate::stage::{Stage, answer_pcm, by_ticket, finished, open, settled, shown, speak, utterance, welcome};
use http_tests::voice_client::Waited;
use http_tests::voice_provider::{self as provider, Stage as Part, TOKENS_IN, TOKENS_OUT};
use http_tests::world::{assert_credits, number, text};
use serde_json::json;

#[tokio::test]
async fn a_spoken_turn_is_heard_answered_and_charged_for() {
    let stage = Stage::shared().await;
    let tenant = stage.world.tenant("speaks", 100.0).await;
    let mut client = welcome(&tenant, &json!({"window_ms": 5000}), 1).await;
    let pcm = utterance(1, 8);
    let mark = speak(&mut client, "one", &pcm).await;
    finished(&mut client, "one").await;
    assert_eq!(client.heard.transcripts("one", "user"), [provider::understood(&mark)]);
    let answer = client.heard.transcripts("one", "assistant").concat();
    assert_eq!(answer, provider::sentences(&mark).join(" "));
    assert_eq!(client.heard.states("one"), ["committed", "stt", "thinking", "speaking", "done"]);
    assert_eq!(client.heard.pcm_of("one"), answer_pcm(&mark), "the sound is the provider's, to the byte");

    let session = client.session().to_owned();
    let shown = settled(&tenant, &session, 1).await;
    let turn = &shown["items"][0];
    assert_eq!((text(turn, "turn"), text(turn, "state")), ("one", "done"));
    assert_eq!(text(turn, "user_text"), provider::understood(&mark));
    assert_eq!(text(turn, "heard"), answer);
    let latencies = &turn["latencies"];
    for latency in ["stt_ms", "llm_first_ms", "tts_first_ms"] {
        assert!(latencies[latency].as_i64().is_some_and(|ms| ms >= 0), "{latencies}");
    }
    let used = &turn["used"];
    assert_eq!((&used["listened_ms"], &used["tokens_in"]), (&json!(800), &json!(TOKENS_IN)), "{used}");
    assert_eq!(used["tokens_out"], json!(TOKENS_OUT));
    assert_eq!(used["characters"], json!(answer.chars().count()));
    // 0.8 s at 0.6 a minute; 50 tokens at 0.1 a thousand; characters at 1 a thousand.
    let costs = &used["costs"];
    assert_credits(number(costs, "listening"), 0.008, "listening");
    assert_credits(number(costs, "thinking"), 0.005, "thinking");
    let speaking = (answer.chars().count() as f64).round() / 1_000.0;
    assert_credits(number(costs, "speaking"), speaking, "speaking");
    assert_credits(number(used, "cost_credits"), 0.013 + speaking, "all of it");

    client.bye().await;
    assert_eq!(client.until("the end", |_| false).await, Waited::Over);
    let balance = tenant.settled_balance().await;
    let shown = crate::stage::shown(&tenant, &session).await;
    assert_eq!((text(&shown, "why"), &shown["held"]), ("bye", &json!(0.0)));
    assert_credits(balance, 100.0 - number(&shown, "charged"), "what was charged is what is gone");
    assert!(number(&shown, "charged") >= number(used, "cost_credits"));
    let rows = tenant.usage().await;
    let row = rows.iter().find(|row| row["meta"]["turn"] == json!(1)).expect("a row of the turn");
    assert_eq!((text(row, "route"), &row["tokens_in"]), ("/api/voice/sessions", &json!(TOKENS_IN)));
    assert_eq!(row["meta"]["session"], json!(session));
    assert_credits(number(row, "cost_credits"), number(used, "cost_credits"), "the row's cost");
    tenant.verified().await;
}

#[tokio::test]
async fn a_second_turn_knows_the_first_and_a_written_one_is_spoken() {
    let stage = Stage::shared().await;
    let tenant = stage.world.tenant("again", 100.0).await;
    let mut client = welcome(&tenant, &json!({"system": "You are brief."}), 2).await;
    let mark = speak(&mut client, "one", &utterance(2, 3)).await;
    finished(&mut client, "one").await;
    let second = provider::mark_of(b"written");
    client.say("two", &format!("And {second}?")).await;
    finished(&mut client, "two").await;
    assert_eq!(client.heard.pcm_of("two"), answer_pcm(&second));
    let called = stage.provider.called(&[mark, second]);
    let count = |part| called.iter().filter(|called| called.stage == part).count();
    assert_eq!((count(Part::Stt), count(Part::Llm), count(Part::Tts)), (1, 2, 6));
    let shown = settled(&tenant, client.session(), 2).await;
    assert_eq!(shown["items"][1]["used"]["listened_ms"], json!(0));
    let page = tenant.get(&crate::stage::path(client.session())).query("limit", "1").send().await;
    let page = page.expect(200).json();
    assert_eq!((page["items"].as_array().map(Vec::len), &page["next_after"]), (Some(1), &json!(1)));
}

#[tokio::test]
async fn barge_in_stops_everything_and_keeps_what_was_heard() {
    let stage = Stage::shared().await;
    let tenant = stage.world.tenant("barges", 100.0).await;
    let mut client = welcome(&tenant, &json!({}), 3).await;
    let pcm = utterance(3, 4);
    let mark = provider::mark_of(&pcm);
    let sentences = provider::sentences(&mark);
    // Speech stops in the middle of its first sentence, and the model has more to say.
    stage.provider.hold(&mark, Part::Tts, 30_000);
    speak(&mut client, "one", &pcm).await;
    let waited = client.until("some sound", |heard| heard.pcm_of("one").len() >= 24_000).await;
    assert_eq!(waited, Waited::Holds);
    client.interrupt("one", 500).await;
    client.interrupt("one", 500).await;
    finished(&mut client, "one").await;
    assert!(client.heard.was_interrupted("one"));
    stage.provider.release(&mark);
    let shown = settled(&tenant, client.session(), 1).await;
    let turn = &shown["items"][0];
    assert_eq!(text(turn, "state"), "interrupted");
    let heard = text(turn, "heard");
    assert!(
        !heard.is_empty() && sentences[0].starts_with(heard) && heard.len() < sentences[0].len(),
        "{heard}"
    );
    // The next one is answered as if nothing had been.
    let mark = speak(&mut client, "two", &utterance(4, 2)).await;
    finished(&mut client, "two").await;
    assert_eq!(client.heard.pcm_of("two"), answer_pcm(&mark));
}

#[tokio::test]
async fn energy_ends_an_utterance_by_itself() {
    let stage = Stage::shared().await;
    let tenant = stage.world.tenant("detects", 100.0).await;
    let detection = json!({"detection": {"energy": {"silence_ms": 300}}});
    let mut client = welcome(&tenant, &detection, 5).await;
    let loud: Vec<u8> = (0..FRAME / 2)
        .flat_map(|at: usize| if at % 40 < 20 { 4_000_i16 } else { -4_000 }.to_le_bytes())
        .collect();
    for _ in 0..4 {
        client.speak(loud.clone()).await;
    }
    for _ in 0..5 {
        client.speak(vec![0; FRAME]).await;
    }
    client
        .until("a turn that was not committed ends", |heard| {
            heard.events.iter().any(|event| event["type"] == "turn" && event["state"] == "done")
        })
        .await;
    client.until_client("all is acknowledged", |client| client.is_even()).await;
    let shown = settled(&tenant, client.session(), 1).await;
    assert!(text(&shown["items"][0], "user_text").starts_with("said "), "{shown}");
}

const FRAME: usize = crate::stage::FRAME_BYTES;

#[tokio::test]
async fn what_providers_fail_at_fails_the_turn_and_costs_nothing() {
    let stage = Stage::shared().await;
    let tenant = stage.world.tenant("fails", 100.0).await;
    let mut client = welcome(&tenant, &json!({}), 6).await;
    // No mark is in it, so the model refuses.
    client.say("one", "Hello there").await;
    finished(&mut client, "one").await;
    let failed = client.heard.events.iter().find(|event| event["state"] == "failed").expect("a failed turn");
    assert_eq!(text(failed, "code"), "llm_failed");
    let shown = settled(&tenant, client.session(), 1).await;
    assert_credits(number(&shown["items"][0]["used"], "cost_credits"), 0.0, "nothing was used");
    client.say("two", &format!("But {}", provider::mark_of(b"another"))).await;
    finished(&mut client, "two").await;
    assert_eq!(client.heard.states("two").last(), Some(&"done"));
}

#[tokio::test]
async fn what_is_no_frame_is_said_so_and_floods_are_cut() {
    let stage = Stage::shared().await;
    let tenant = stage.world.tenant("malformed", 100.0).await;
    let opened = open(&tenant, &json!({})).await;
    let (mut socket, _) = by_ticket(&tenant, &opened).await;
    for wrong in ["{", "[]", r#"{"type":"unheard_of"}"#, r#"{"type":"commit"}"#] {
        socket.send(wrong).await;
        let error = socket.json().await;
        assert_eq!((text(&error, "type"), text(&error, "code")), ("error", "malformed_frame"), "{wrong}");
    }
    socket.send_binary(vec![9; 40]).await;
    assert_eq!(text(&socket.json().await, "code"), "malformed_frame");
    socket.send_binary(vec![1; 60_000]).await;
    assert_eq!(
        socket.ended().await,
        http_tests::web_socket::Ended::With(1009, "the message is too long".into())
    );
    let shown = shown(&tenant, text(&opened, "session")).await;
    assert_eq!(shown["attached"], json!(false));
}
