//! What a voice socket says: binary frames of sound and control frames of JSON.

use actors::voice::limits::{CONTROL_BYTES_MAX, FRAME_BYTES_MAX, TEXT_BYTES_MAX};
use actors::voice::{Control, Message, Up, is_turn_id};

pub fn run(data: &[u8]) {
    binary(data);
    let raw = crate::text(data);
    let message = Message::Text(raw.clone().into_owned());
    let Ok(Up::Control(control)) = Up::read(&message) else { return };
    assert!(raw.len() <= CONTROL_BYTES_MAX);
    match &control {
        Control::Commit { turn, .. } => assert!(turn.as_deref().is_none_or(is_turn_id)),
        Control::Say { turn, text, .. } => {
            assert!(turn.as_deref().is_none_or(is_turn_id));
            assert!(!text.trim().is_empty() && text.len() <= TEXT_BYTES_MAX);
        }
        Control::Interrupt { turn, .. } | Control::Played { turn, .. } => {
            assert!(turn.bytes().all(|byte| byte.is_ascii_graphic()) && turn.len() <= 64);
        }
        Control::Resume(_) | Control::Ack { .. } | Control::Bye => {}
    }
    let again = serde_json::to_string(&control).expect("a control frame");
    assert_eq!(Up::read(&Message::Text(again)), Ok(Up::Control(control)), "{raw:?}");
}

/// A frame is taken when its length and its first byte are right, and says then what its bytes are.
fn binary(data: &[u8]) {
    let right = (12..=FRAME_BYTES_MAX).contains(&data.len()) && data[0] == 1 && data.len().is_multiple_of(2);
    let Ok(Up::Audio(frame)) = Up::read(&Message::Binary(data.to_vec())) else {
        assert!(!right, "{data:?}");
        return;
    };
    assert!(right, "{data:?}");
    let number = |from: usize, bytes: usize| {
        data[from..from + bytes].iter().rev().fold(0_u32, |number, byte| (number << 8) | u32::from(*byte))
    };
    assert_eq!((u32::from(frame.flags), u32::from(frame.stream)), (number(1, 1), number(2, 2)));
    assert_eq!((frame.seq, frame.media_offset), (number(4, 4), number(8, 4)));
    assert_eq!(frame.pcm, data[12..]);
    assert_eq!(frame.encode(), data);
}
