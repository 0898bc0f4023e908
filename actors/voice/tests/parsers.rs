//! What strangers send, and what is made of sound and text.

use proptest::prelude::*;

use crate::voice::control::is_turn_id;
use crate::voice::energy::{BEGINS_AFTER_MS, Detector, Edge};
use crate::voice::frame::{AUDIO, BadFrame, Frame, HEADER_BYTES};
use crate::voice::limits::{CONTROL_BYTES_MAX, FRAME_BYTES_MAX, PART_CHARACTERS_MAX, TEXT_BYTES_MAX};
use crate::voice::sentence::{heard, speakable};
use crate::voice::{Control, Down, Event, Message, Resume, Unread, Up, Wire};

fn text(json: &str) -> Result<Up, Unread> {
    Up::read(&Message::Text(json.to_owned()))
}

#[test]
fn a_frame_is_laid_out_as_it_is_written_down() {
    let frame =
        Frame { flags: 1, stream: 0x0302, seq: 0x0706_0504, media_offset: 0x0b0a_0908, pcm: vec![12, 13] };
    assert_eq!(frame.encode(), [1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
    assert_eq!(HEADER_BYTES, 12);
    assert_eq!(Frame::decode(&[AUDIO; 11]), Err(BadFrame::Short));
    assert_eq!(Frame::decode(&[2; 12]), Err(BadFrame::UnknownType));
    assert_eq!(Frame::decode(&[AUDIO; 13]), Err(BadFrame::HalfSample));
}

#[test]
fn bounds_of_messages() {
    let audio = |bytes: usize| Up::read(&Message::Binary(vec![AUDIO; bytes]));
    assert!(audio(FRAME_BYTES_MAX).is_ok());
    assert_eq!(audio(FRAME_BYTES_MAX + 2), Err(Unread::TooLarge));
    let said = |count: usize| text(&format!(r#"{{"type":"say","seq":1,"text":"{}"}}"#, "a".repeat(count)));
    assert!(said(TEXT_BYTES_MAX).is_ok());
    assert_eq!(said(TEXT_BYTES_MAX + 1), Err(Unread::Malformed));
    assert_eq!(said(CONTROL_BYTES_MAX), Err(Unread::TooLarge));
    let deep = format!("{}{}", "[".repeat(4_000), "]".repeat(4_000));
    assert_eq!(text(&deep), Err(Unread::Malformed));
}

#[test]
fn what_is_no_control_frame() {
    for wrong in [
        "",
        "null",
        "{}",
        r#"{"type":"other"}"#,
        r#"{"type":"commit"}"#,
        r#"{"type":"commit","seq":-1}"#,
        r#"{"type":"commit","seq":4294967296}"#,
        r#"{"type":"commit","seq":1,"turn":""}"#,
        r#"{"type":"commit","seq":1,"turn":"a b"}"#,
        r#"{"type":"interrupt","seq":1,"turn":"ä","played_ms":1}"#,
        r#"{"type":"say","seq":1,"text":"  "}"#,
        r#"{"type":"ack","seq":1.5}"#,
        r#"{"type":"bye"} x"#,
    ] {
        assert_eq!(text(wrong), Err(Unread::Malformed), "{wrong}");
    }
    assert_eq!(text(r#"{"type":"bye","more":1}"#), Ok(Up::Control(Control::Bye)), "a newer client says more");
    let commit = Control::Commit { seq: 7, turn: None };
    assert_eq!(text(r#"{"type":"commit","seq":7}"#), Ok(Up::Control(commit)));
}

#[test]
fn events_on_the_wire() {
    let wire = |seq, event| match Down::Event(seq, event).encode() {
        Wire::Text(text) => text,
        Wire::Binary(_) => panic!(),
    };
    let interrupted = Event::Interrupted { turn: "a".to_owned(), at_seq: 9 };
    assert_eq!(wire(Some(10), interrupted), r#"{"seq":10,"type":"interrupted","turn":"a","at_seq":9}"#);
    assert_eq!(wire(None, Event::Replayed), r#"{"type":"replayed"}"#);
}

fn any_control() -> impl Strategy<Value = Control> {
    let id = || "[A-Za-z0-9_-]{1,64}";
    prop_oneof![
        (any::<String>(), any::<String>(), any::<u32>(), any::<u32>()).prop_map(
            |(session, token, last_down, up_next)| Control::Resume(Resume {
                session,
                token,
                last_down,
                up_next
            })
        ),
        (any::<u32>(), prop::option::of(id())).prop_map(|(seq, turn)| Control::Commit { seq, turn }),
        (any::<u32>(), id(), any::<u32>()).prop_map(|(seq, turn, played_ms)| Control::Interrupt {
            seq,
            turn,
            played_ms
        }),
        any::<u32>().prop_map(|seq| Control::Ack { seq }),
        (id(), any::<u32>()).prop_map(|(turn, media_offset)| Control::Played { turn, media_offset }),
        Just(Control::Bye),
    ]
}

proptest! {
    #[test]
    fn frames_are_read_as_they_were_written(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(frame) = Frame::decode(&bytes) {
            prop_assert_eq!(frame.encode(), bytes);
        }
    }

    #[test]
    fn control_frames_are_read_as_they_were_written(control in any_control()) {
        let json = serde_json::to_string(&control).unwrap();
        prop_assert_eq!(text(&json), Ok(Up::Control(control)));
    }

    #[test]
    fn nothing_that_is_sent_is_more_than_refused(json in ".{0,400}", bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _refused = (text(&json), Up::read(&Message::Binary(bytes)));
        prop_assert!(!is_turn_id("") && !is_turn_id(&"a".repeat(65)));
    }

    #[test]
    fn text_is_cut_whole_and_soon(text in "[a-zäß。 .!?\"\n]{0,900}") {
        let mut rest = text.as_str();
        let mut parts = Vec::new();
        while let Some(end) = speakable(rest) {
            prop_assert!(end > 0 && rest.is_char_boundary(end));
            prop_assert!(rest[..end].trim_start().chars().count() <= PART_CHARACTERS_MAX + 1
                || rest[..end].chars().count() <= PART_CHARACTERS_MAX + rest.chars().take_while(|c| c.is_whitespace()).count() + 1);
            parts.push(&rest[..end]);
            rest = &rest[end..];
        }
        parts.push(rest);
        prop_assert_eq!(parts.concat(), text.as_str());
    }

    #[test]
    fn what_was_heard_begins_the_text_and_grows(text in "[a-zä ]{0,80}", all in 1..10_000_u32, played in 0..10_000_u32) {
        let part = heard(&text, played, all);
        prop_assert!(text.starts_with(part));
        prop_assert!(part.len() <= heard(&text, played + 1, all).len());
        let share = f64::from(played.min(all)) / f64::from(all);
        prop_assert!(part.chars().count() as f64 <= share * text.chars().count() as f64 + 1e-6);
        prop_assert_eq!(heard(&text, all, all), text.as_str());
    }
}

#[test]
fn sentences_end_where_they_do() {
    for (text, first) in [
        ("Hello there, my friend. And", Some("Hello there, my friend. ")),
        ("Hello there, my friend.", None),
        ("He said \"no, never!\" and left", Some("He said \"no, never!\" ")),
        ("Dr. Who is here now? Yes", Some("Dr. Who is here now? ")),
        ("A list of things:\nfirst", Some("A list of things:\n")),
        ("これは文です。次", Some("これは文です。")),
        ("3.14159 is a number and", None),
    ] {
        assert_eq!(speakable(text).map(|end| &text[..end]), first, "{text}");
    }
    assert_eq!(heard("one two three", 500, 1_000), "one");
}

/// A tone of so many milliseconds at 8 kHz.
fn tone(amplitude: i16, ms: usize) -> Vec<u8> {
    (0..ms * 8).flat_map(|at| if at % 8 < 4 { amplitude } else { -amplitude }.to_le_bytes()).collect()
}

fn edges(sound: &[(i16, usize)], frame_ms: usize) -> Vec<(usize, Edge)> {
    let mut detector = Detector::default();
    let whole: Vec<u8> = sound.iter().flat_map(|(amplitude, ms)| tone(*amplitude, *ms)).collect();
    let frames = whole.chunks(frame_ms * 16).enumerate();
    frames
        .filter_map(|(at, pcm)| detector.hear(pcm, 8_000, 500).map(|edge| ((at + 1) * frame_ms, edge)))
        .collect()
}

#[test]
fn speech_begins_loud_and_ends_after_quiet() {
    for frame_ms in [20, 50, 100] {
        let speech = [(10, 1_000), (3_000, 1_000), (10, 1_000)];
        assert_eq!(edges(&speech, frame_ms), [(1_100, Edge::Began), (2_500, Edge::Ended)], "{frame_ms}");
    }
    assert_eq!(BEGINS_AFTER_MS, 100);
    // A click is no speech, and a pause between words no end.
    assert_eq!(edges(&[(10, 500), (20_000, 60), (10, 500)], 20), []);
    let pauses = [(3_000, 400), (10, 480), (3_000, 400), (10, 480), (3_000, 200)];
    assert_eq!(edges(&pauses, 20), [(100, Edge::Began)]);
    // Between the two thresholds what is goes on.
    assert_eq!(edges(&[(300, 2_000)], 20), []);
    assert_eq!(edges(&[(3_000, 200), (300, 2_000)], 20), [(100, Edge::Began)]);
    // The extremes of a sample, and no sound at all.
    assert_eq!(edges(&[(i16::MIN + 1, 200)], 20), [(100, Edge::Began)]);
    assert_eq!(Detector::default().hear(&[], 8_000, 500), None);
    assert_eq!(Detector::default().hear(&[0, 0x80, 1], 0, 500), Some(Edge::Began));
}
