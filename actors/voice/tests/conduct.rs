//! Turns: understood, answered, spoken, interrupted, cut, and tried again.

use super::client::{Client, quiet};
use super::host::{Host, ROW_BYTES, answer, digest, settings, sound, tokens, understood};
use super::links::spoken;
use crate::voice::frame::{DROPPED, Frame};
use crate::voice::limits::{
    GO_ON_MS, HISTORY_TURNS_MAX, LLM_MS_MAX, PAUSE_MS, PREROLL_FRAMES, RING_MS_MAX, TURN_MS_MAX,
    TURNS_WAITING_MAX,
};
use crate::voice::{
    CallEnd, CallId, Command, Control, Detection, Down, Event, Input, Message, Role, Said, Settings, Stage,
    State, TurnBounds, Up, Used,
};

const MUCH: i64 = 1_000_000_000;

fn pair_with(settings: Settings) -> (Host, Client) {
    let mut host = Host::new(settings, MUCH);
    let mut client = Client::new(&mut host);
    quiet(&mut host, &mut client);
    (host, client)
}

fn pair() -> (Host, Client) {
    pair_with(settings())
}

/// The client says something, and all of it arrives; nothing is done about it yet.
fn said(host: &mut Host, client: &mut Client) -> String {
    client.speak(host);
    client.commit(host);
    while host.lines[client.line.unwrap()].up.front().is_some() {
        host.deliver_up(client.line.unwrap());
    }
    while host.answer_tenant() {}
    understood(&client.said.last().unwrap().pcm)
}

/// It does, and the turn is in the hands of its first call.
fn call(turn: i64, stage: Stage, attempt: i64) -> CallId {
    CallId { turn, stage, attempt }
}

/// The utterance is understood, and the model says `text`; speech has it, and has said nothing.
fn answered(host: &mut Host, client: &mut Client, text: &str) {
    said(host, client);
    let turn = host.number("SELECT MAX(n) FROM turns");
    let done = |text: Option<&str>| CallEnd::Done { text: text.map(str::to_owned), units: tokens() };
    host.run(Command::CallEnded { call: call(turn, Stage::Stt, 1), ended: done(Some("hm")) });
    host.run(Command::Says { call: call(turn, Stage::Llm, 1), text: text.to_owned() });
    host.run(Command::CallEnded { call: call(turn, Stage::Llm, 1), ended: done(None) });
    host.working.clear();
}

fn speak(host: &mut Host, turn: i64, part: i64, pcm: Vec<u8>) {
    host.run(Command::Sounds { call: call(turn, Stage::Tts, 1), part, pcm });
}

#[test]
fn a_turn_goes_through_its_states_once() {
    let (mut host, mut client) = pair();
    host.wait(10);
    let text = said(&mut host, &mut client);
    host.wait(30);
    quiet(&mut host, &mut client);
    assert_eq!(
        client.states("turn-0"),
        [State::Committed, State::Stt, State::Thinking, State::Speaking, State::Done]
    );
    let turn = &host.turns()[0];
    assert_eq!(
        (turn.user_text.as_deref(), turn.heard.as_str()),
        (Some(text.as_str()), answer(&text).as_str())
    );
    assert_eq!(digest(&client.sound_of("turn-0")), digest(&spoken(&answer(&text))));
    assert_eq!(turn.latencies.stt_ms, Some(30));
    assert!(turn.latencies.llm_first_ms.is_some() && turn.latencies.tts_first_ms.is_some());
    assert_eq!(host.called, [call(1, Stage::Stt, 1), call(1, Stage::Llm, 1), call(1, Stage::Tts, 1)]);
    assert_eq!(host.number("SELECT COUNT(*) FROM up") + host.number("SELECT COUNT(*) FROM down"), 0);
    // The second has no name of its own, and gets that of its commit.
    said(&mut host, &mut client);
    quiet(&mut host, &mut client);
    assert_eq!(host.turns()[1].turn, "t4");
}

#[test]
fn turns_wait_for_each_other_and_each_is_told_of_those_before() {
    let (mut host, mut client) = pair_with(Settings { system: Some("Be short.".to_owned()), ..settings() });
    let texts: Vec<String> = (0..3).map(|_| said(&mut host, &mut client)).collect();
    assert_eq!(host.called, [call(1, Stage::Stt, 1)]);
    quiet(&mut host, &mut client);
    let Some(Input::Messages { messages, tokens_out_max: 100 }) = host.heard_messages.last() else {
        panic!()
    };
    let line = |role, text: &str| Said { role, text: text.to_owned() };
    let mut expected = vec![line(Role::System, "Be short.")];
    for text in &texts[..2] {
        expected.extend([line(Role::User, text), line(Role::Assistant, &answer(text))]);
    }
    expected.push(line(Role::User, &texts[2]));
    assert_eq!(*messages, expected);
    for _ in 0..HISTORY_TURNS_MAX {
        said(&mut host, &mut client);
        quiet(&mut host, &mut client);
    }
    let Some(Input::Messages { messages, .. }) = host.heard_messages.last() else { panic!() };
    assert_eq!(i64::try_from(messages.len()).unwrap(), HISTORY_TURNS_MAX * 2 + 2);
}

#[test]
fn only_so_many_turns_wait_and_a_name_is_used_once() {
    let (mut host, mut client) = pair();
    for _ in 0..=TURNS_WAITING_MAX + 1 {
        said(&mut host, &mut client);
    }
    let failed = host.turns().into_iter().filter(|turn| turn.state == State::Failed).collect::<Vec<_>>();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].code.as_deref(), Some("too_many_turns"));
    quiet(&mut host, &mut client);
    let before = host.called.len();
    let again = Control::Say { seq: 100, turn: Some("turn-0".to_owned()), text: "again".to_owned() };
    let seq = host.number("SELECT state ->> '$.up_next' FROM session");
    let again = serde_json::to_string(&again).unwrap().replace("100", &seq.to_string());
    host.run(Command::Message { epoch: 1, message: Message::Text(again) });
    host.settle_down();
    assert_eq!(host.called.len(), before, "it was answered already");
    assert_eq!(host.turns().iter().filter(|turn| turn.turn == "turn-0").count(), 1);
}

#[test]
fn a_turn_may_be_written() {
    let (mut host, mut client) = pair();
    let say = r#"{"type":"say","seq":1,"text":"hello"}"#;
    host.run(Command::Message { epoch: 1, message: Message::Text(say.to_owned()) });
    quiet(&mut host, &mut client);
    let turn = &host.turns()[0];
    assert_eq!((turn.turn.as_str(), turn.heard.as_str()), ("t1", answer("hello").as_str()));
    assert_eq!(host.called[0].stage, Stage::Llm);
    assert_eq!(turn.used.unwrap().listened_ms, 0);
}

#[test]
fn silence_is_no_question() {
    let (mut host, mut client) = pair();
    client.sound(&mut host, vec![0; ROW_BYTES]);
    client.commit(&mut host);
    quiet(&mut host, &mut client);
    let turn = &host.turns()[0];
    assert_eq!((turn.state, turn.code.as_deref()), (State::Done, Some("no_speech")));
    let used = turn.used.unwrap();
    assert_eq!((used.listened_ms, used.tokens_out, used.characters), (100, 0, 0));
    client.control(&mut host, &Control::Played { turn: "nobody".to_owned(), media_offset: 1 });
    client.commit(&mut host);
    quiet(&mut host, &mut client);
    assert_eq!(host.turns().len(), 1);
}

#[test]
fn energy_begins_and_ends_turns() {
    let energy = Settings { detection: Detection::Energy { silence_ms: 300 }, ..settings() };
    let (mut host, mut client) = pair_with(energy);
    let loud =
        |seed: u8| (0..ROW_BYTES / 2).flat_map(move |at| if at % 9 < 5 { [seed, 40] } else { [seed, 200] });
    let silence = vec![0_u8; ROW_BYTES];
    for _ in 0..20 {
        client.sound(&mut host, silence.clone());
    }
    quiet(&mut host, &mut client);
    assert_eq!(host.number("SELECT COUNT(*) FROM up"), i64::from(PREROLL_FRAMES));
    assert!(host.asks.is_empty() && host.number("SELECT COUNT(*) FROM turns") == 0, "silence costs nothing");
    for seed in 0..4 {
        client.sound(&mut host, loud(seed).collect());
    }
    for _ in 0..6 {
        client.sound(&mut host, silence.clone());
    }
    quiet(&mut host, &mut client);
    let turn = &host.turns()[0];
    // 20 quiet, 4 loud, 3 quiet.
    assert_eq!((turn.turn.as_str(), turn.state), ("t27", State::Done));
    let preroll: Vec<u8> = std::iter::repeat_n(&silence, 4).flatten().copied().collect();
    let speech: Vec<u8> = (0..4).flat_map(loud).collect();
    let end: Vec<u8> = std::iter::repeat_n(&silence, 3).flatten().copied().collect();
    assert_eq!(turn.user_text, Some(understood(&[preroll, speech, end].concat())));
    assert_eq!(turn.used.unwrap().listened_ms, 1_100);
}

#[test]
fn an_utterance_is_so_long_and_no_longer() {
    let bounds = TurnBounds { utterance_ms: 1_000, ..settings().bounds };
    let (mut host, mut client) = pair_with(Settings { bounds, ..settings() });
    (0..25).for_each(|_| client.speak(&mut host));
    quiet(&mut host, &mut client);
    client.commit(&mut host);
    quiet(&mut host, &mut client);
    let listened: Vec<u64> = host.turns().iter().map(|turn| turn.used.unwrap().listened_ms).collect();
    assert_eq!(listened, [1_000, 1_000, 500]);
}

#[test]
fn an_interruption_cuts_the_transcript_where_it_was_heard() {
    let (mut host, mut client) = pair();
    let text = "One two three four. Five six seven eight.";
    answered(&mut host, &mut client, text);
    let first = sound("One two three four. ");
    let all_ms = u32::try_from(first.len() / 16).unwrap();
    speak(&mut host, 1, 0, first);
    host.run(Command::Spoken { call: call(1, Stage::Tts, 1), part: 0 });
    let half = sound("Five six seven eight.");
    speak(&mut host, 1, 1, half[..half.len() / 2].to_vec());
    let last = host.number("SELECT MAX(seq) FROM down WHERE sound IS NOT NULL");
    let bytes = host.number("SELECT state ->> '$.ring_bytes' FROM session");
    assert!(bytes > 0);
    client.interrupt(&mut host, "turn-0", all_ms / 2);
    host.deliver_up(0);
    let before = host.number("SELECT state ->> '$.down_next' FROM session");
    client.interrupt(&mut host, "turn-0", 99_999);
    host.deliver_up(0);
    assert_eq!(
        host.number("SELECT state ->> '$.down_next' FROM session"),
        before,
        "the same again is nothing"
    );
    host.run(Command::Message {
        epoch: 1,
        message: Message::Text(r#"{"type":"played","turn":"turn-0","media_offset":999999}"#.to_owned()),
    });
    let turn = host.turns().remove(0);
    assert_eq!((turn.state, turn.heard.as_str()), (State::Interrupted, "One two"));
    assert_eq!(host.number("SELECT state ->> '$.ring_bytes' FROM session"), 0);
    let calls = "SELECT COUNT(*) FROM provider_calls WHERE state = 'cancelling'";
    assert_eq!(host.number(calls), 1);
    speak(&mut host, 1, 1, half);
    assert_eq!(host.number("SELECT COUNT(*) FROM down WHERE sound <> ''"), 0, "late sound is not kept");
    // What is said again of it has numbers alone.
    client.drop_line();
    host.lines[0].down.clear();
    client.come_back(&mut host);
    quiet(&mut host, &mut client);
    let interrupted = Event::Interrupted { turn: "turn-0".to_owned(), at_seq: u32::try_from(last).unwrap() };
    assert!(client.events.contains(&interrupted));
    assert!(client.dropped.values().sum::<usize>() > 0 && client.sound_of("turn-0").is_empty());
    assert_eq!(DROPPED, 1);
    // All that was handed to speech is charged: the client wanted it, and the provider bills it.
    let used = host.turns()[0].used.unwrap();
    assert_eq!(used.characters, u64::try_from(text.len()).unwrap());
}

#[test]
fn a_turn_that_is_done_may_still_be_interrupted_while_it_plays() {
    let (mut host, mut client) = pair();
    let text = said(&mut host, &mut client);
    quiet(&mut host, &mut client);
    let charged = host.view().charged_micro;
    client.interrupt(&mut host, "turn-0", 400);
    quiet(&mut host, &mut client);
    let turn = &host.turns()[0];
    assert_eq!(turn.state, State::Interrupted);
    assert!(answer(&text).starts_with(&turn.heard) && turn.heard.len() < answer(&text).len());
    assert_eq!(host.view().charged_micro, charged, "it was settled before");
    client.interrupt(&mut host, "nobody", 400);
    quiet(&mut host, &mut client);
    assert!(client.events.contains(&Event::Error { code: "unknown_turn".to_owned() }));
}

#[test]
fn nobody_has_heard_more_than_was_sent() {
    let (mut host, mut client) = pair();
    answered(&mut host, &mut client, "One two three four five six.");
    let whole = sound("One two three four five six.");
    speak(&mut host, 1, 0, whole[..whole.len() / 2].to_vec());
    client.interrupt(&mut host, "turn-0", 60_000);
    host.deliver_up(0);
    let heard = host.turns().remove(0).heard;
    assert!(heard.starts_with("One") && heard.len() < 16, "{heard}");
}

#[test]
fn speech_that_runs_ahead_is_paused_and_goes_on() {
    let (mut host, mut client) = pair();
    answered(&mut host, &mut client, "One sentence to be spoken for long.");
    let ms = |ms: u32| vec![1; usize::try_from(ms).unwrap() * 16];
    speak(&mut host, 1, 0, ms(PAUSE_MS));
    assert!(host.paused.is_empty());
    speak(&mut host, 1, 0, ms(100));
    assert_eq!(host.paused.len(), 1);
    while client.hear(&mut host, 0) {}
    let ack = |host: &mut Host, samples_left: i64| {
        let upto = format!(
            "SELECT MIN(seq) FROM down AS d WHERE
            (SELECT COALESCE(SUM(samples), 0) FROM down WHERE seq > d.seq) <= {samples_left}"
        );
        let seq = host.number(&upto);
        let ack = format!(r#"{{"type":"ack","seq":{seq}}}"#);
        host.run(Command::Message { epoch: 1, message: Message::Text(ack) });
    };
    ack(&mut host, i64::from(GO_ON_MS) * 8);
    assert_eq!(host.paused.len(), 1);
    ack(&mut host, i64::from(GO_ON_MS) * 8 - 800);
    assert!(host.paused.is_empty());
    // Whoever is not there cannot be waited for.
    speak(&mut host, 1, 0, ms(PAUSE_MS));
    assert_eq!(host.paused.len(), 1);
    host.lose_line(0);
    assert!(host.paused.is_empty());
}

#[test]
fn what_the_ring_cannot_keep_is_cut_and_said_and_not_charged() {
    let (mut host, mut client) = pair();
    let text = "First comes a sentence. Then comes one that is too long. And one more of them.";
    answered(&mut host, &mut client, text);
    while client.hear(&mut host, 0) {}
    client.drop_line();
    host.lose_line(0);
    let first = sound("First comes a sentence. ");
    let first_ms = u32::try_from(first.len() / 16).unwrap();
    speak(&mut host, 1, 0, first.clone());
    host.run(Command::Spoken { call: call(1, Stage::Tts, 1), part: 0 });
    for _ in 0..RING_MS_MAX / 1_000 {
        speak(&mut host, 1, 1, vec![1; 16_000]);
    }
    let kept_ms = host.number("SELECT SUM(samples) / 8 FROM down");
    assert!(kept_ms <= i64::from(RING_MS_MAX) && kept_ms > i64::from(RING_MS_MAX - 100), "{kept_ms}");
    assert_eq!(host.turns()[0].state, State::Done);
    assert_eq!(host.number("SELECT COUNT(*) FROM provider_calls WHERE state = 'cancelling'"), 1);
    client.come_back(&mut host);
    quiet(&mut host, &mut client);
    assert!(client.gap);
    let turn = &host.turns()[0];
    assert!(turn.gap);
    assert_eq!(turn.used.unwrap().characters, 24, "of the first sentence alone");
    assert!(turn.heard.starts_with("First comes a sentence. Then") && turn.heard.len() < text.len());
    assert!(u32::try_from(client.sound_of("turn-0").len() / 16).unwrap() > first_ms);
    // It is said once.
    client.drop_line();
    client.gap = false;
    client.come_back(&mut host);
    quiet(&mut host, &mut client);
    assert!(!client.gap);
}

#[test]
fn an_answer_that_was_lost_goes_on_where_it_was() {
    let (mut host, mut client) = pair();
    said(&mut host, &mut client);
    while host.working.iter().all(|working| working.call.stage != Stage::Tts) {
        host.work(0);
    }
    // Some sound of the first sentence was taken, and the model has more to say.
    (0..3).for_each(|_| _ = host.work(host.working.len() - 1));
    assert!(host.number("SELECT SUM(bytes) FROM parts") > 0);
    host.die(true);
    quiet(&mut host, &mut client);
    let text = host.turns()[0].user_text.clone().unwrap();
    assert_eq!(digest(&client.sound_of("turn-0")), digest(&spoken(&answer(&text))));
    let view = host.view();
    assert_eq!((view.broken_retries, view.crash_retries > 0), (0, true));
    assert_eq!(host.turns()[0].used.unwrap().tokens_out, 30, "the first attempt is the house's");
}

#[test]
fn a_model_that_changes_its_mind_does_not_say_things_twice() {
    let (mut host, mut client) = pair();
    answered(&mut host, &mut client, "One two three four. ");
    // The model had not ended in truth.
    let (mut host, mut client) = (host, client);
    said(&mut host, &mut client);
    speak(&mut host, 1, 0, sound("One two three four. "));
    host.run(Command::Spoken { call: call(1, Stage::Tts, 1), part: 0 });
    host.run(Command::CallEnded {
        call: call(2, Stage::Stt, 1),
        ended: CallEnd::Done { text: Some("hm".to_owned()), units: tokens() },
    });
    let says =
        |attempt, text: &str| Command::Says { call: call(2, Stage::Llm, attempt), text: text.to_owned() };
    host.run(says(1, "A first sentence. And a half"));
    speak(&mut host, 2, 0, vec![1; 640]);
    host.run(Command::CallEnded { call: call(2, Stage::Llm, 1), ended: CallEnd::Broken });
    host.run(says(2, "A first"));
    host.run(says(2, " thought. And"));
    host.run(says(1, "late"));
    let turn = &host.turns()[1];
    assert_eq!(turn.code.as_deref(), Some("answer_changed"));
    host.run(Command::Spoken { call: call(2, Stage::Tts, 1), part: 0 });
    let turn = &host.turns()[1];
    assert_eq!((turn.state, turn.heard.as_str()), (State::Done, "A first sentence. "));
}

#[test]
fn a_stage_that_fails_takes_too_long_or_is_lost_too_often_fails_its_turn() {
    let (mut host, mut client) = pair();
    said(&mut host, &mut client);
    let ended = CallEnd::Failed { code: "stt_unavailable".to_owned() };
    host.run(Command::CallEnded { call: call(1, Stage::Stt, 1), ended });
    host.working.clear();
    for attempt in 1..=3 {
        if attempt == 1 {
            said(&mut host, &mut client);
        }
        host.run(Command::CallEnded { call: call(2, Stage::Stt, attempt), ended: CallEnd::Broken });
    }
    host.working.clear();
    said(&mut host, &mut client);
    let done = CallEnd::Done { text: Some("hm".to_owned()), units: tokens() };
    host.run(Command::CallEnded { call: call(3, Stage::Stt, 1), ended: done });
    host.wait(LLM_MS_MAX);
    let codes: Vec<_> = host.turns().into_iter().map(|turn| (turn.state, turn.code.unwrap())).collect();
    let failed = |code: &str| (State::Failed, code.to_owned());
    assert_eq!(codes, [failed("stt_unavailable"), failed("provider_lost"), failed("llm_timeout")]);
    host.settle_down();
    let used: Vec<Used> = host.turns().into_iter().filter_map(|turn| turn.used).collect();
    assert_eq!(used.iter().map(|used| used.listened_ms).collect::<Vec<_>>(), [0, 0, 100]);
}

#[test]
fn an_answer_is_spoken_up_to_its_bound() {
    let bounds = TurnBounds { characters: 40, ..settings().bounds };
    let (mut host, mut client) = pair_with(Settings { bounds, ..settings() });
    answered(&mut host, &mut client, "One two three four. Five six seven eight. Nine ten.");
    let turn = &host.turns()[0];
    assert_eq!(turn.code.as_deref(), Some("answer_cut"));
    assert_eq!(host.number("SELECT COUNT(*) FROM parts"), 1);
}

#[test]
fn a_turn_that_never_ends_does_so_in_time() {
    let (mut host, mut client) = pair();
    client.speak(&mut host);
    quiet(&mut host, &mut client);
    host.wait(TURN_MS_MAX);
    assert_eq!(host.number("SELECT COUNT(*) FROM turns WHERE state = 'failed'"), 1);
    assert_eq!(host.number("SELECT COUNT(*) FROM up"), 0);
    quiet(&mut host, &mut client);
    assert_eq!(host.number("SELECT COUNT(*) FROM holds WHERE turn = 1 AND state <> 'settled'"), 0);
}

#[test]
fn where_the_protocol_cannot_come_back_nothing_is_kept() {
    let (mut host, mut client) = pair_with(Settings { window_ms: 0, ..settings() });
    let text = said(&mut host, &mut client);
    host.settle_down();
    assert_eq!(host.number("SELECT COUNT(*) FROM down"), 0);
    while client.hear(&mut host, 0) {}
    assert_eq!(digest(&client.sound_of("turn-0")), digest(&spoken(&answer(&text))));
    host.settle_down();
    assert!(host.turns()[0].used.is_some());
    host.lose_line(0);
    assert_eq!(host.view().why.as_deref(), Some("window"));
}

#[test]
fn a_protocol_without_numbers_is_heard_in_its_order() {
    let (mut host, _client) = pair_with(Settings { window_ms: 0, ..settings() });
    let frame =
        |byte: u8| Up::Audio(Frame { flags: 0, stream: 0, seq: 0, media_offset: 0, pcm: vec![byte; 800] });
    let commit = Up::Control(Control::Commit { seq: 0, turn: None });
    for up in [frame(1), frame(2), commit] {
        host.run(Command::Unnumbered { epoch: 1, up });
    }
    host.run(Command::Unnumbered { epoch: 0, up: frame(3) });
    host.settle_down();
    let turn = &host.turns()[0];
    assert_eq!(turn.turn, "t3");
    assert_eq!(turn.user_text, Some(understood(&[vec![1; 800], vec![2; 800]].concat())));
}

#[test]
fn frames_are_of_about_a_tenth_of_a_second() {
    let (mut host, mut client) = pair();
    answered(&mut host, &mut client, "One sentence to be spoken.");
    for _ in 0..50 {
        speak(&mut host, 1, 0, vec![1; 333]);
    }
    host.run(Command::Spoken { call: call(1, Stage::Tts, 1), part: 0 });
    let mut lengths = Vec::new();
    for sent in &host.lines[0].down {
        if let super::host::Sent::Frame(Down::Audio(frame)) = sent {
            lengths.push(frame.pcm.len() / 16);
        }
    }
    let (first, rest) = lengths.split_first().unwrap();
    let (last, rest) = rest.split_last().unwrap();
    assert!(*first == 20 && *last <= 100 && rest.iter().all(|ms| (60..=100).contains(ms)), "{lengths:?}");
    assert_eq!(host.number("SELECT SUM(samples) FROM down"), 50 * 333 / 2);
}
