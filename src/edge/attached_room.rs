//! How much of attachments and stored recordings an isolate has in its memory at one time: a small request can name large files, and nobody
//! may fill with them what all requests of the isolate share.

use std::cell::Cell;

/// Attachments of all asks that are under way, in bytes. An isolate has 128 MB, and of each byte there are up to five:
/// itself, in base64, in the body, and in the runtime's copy of it. That is 80 MB.
const ROOM_BYTES_MAX: usize = 16_777_216;

/// Of a recording's bytes there are three: itself, in the form it is sent in, and in base64 or the runtime's copy. So three
/// fifths of what an attachment takes; the largest recording fits.
const RECORDING_COPIES: usize = 3;
const ATTACHMENT_COPIES: usize = 5;

thread_local! {
    static TAKEN_BYTES: Cell<usize> = const { Cell::new(0) };
}

/// Room for so many bytes, given back when it is dropped.
#[derive(Debug)]
pub struct Room {
    bytes: usize,
}

impl Room {
    /// `None` while others need it.
    pub fn take(bytes: usize) -> Option<Self> {
        let taken = TAKEN_BYTES.get().saturating_add(bytes);
        if taken > ROOM_BYTES_MAX {
            return None;
        }
        TAKEN_BYTES.set(taken);
        Some(Self { bytes })
    }

    /// Room for a recording of so many bytes, which are read by nobody but the runtime. `None` while others need it.
    pub fn of_recording(bytes: usize) -> Option<Self> {
        Self::take(bytes.saturating_mul(RECORDING_COPIES).div_ceil(ATTACHMENT_COPIES))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        TAKEN_BYTES.set(TAKEN_BYTES.get().saturating_sub(self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::RECORDING_BYTES_MAX;
    use super::*;

    #[test]
    fn no_more_is_taken_than_there_is_and_it_comes_back() {
        let most = Room::take(ROOM_BYTES_MAX - 1).unwrap();
        assert!(Room::take(2).is_none());
        let rest = Room::take(1).unwrap();
        assert!(Room::take(1).is_none() && Room::take(0).is_some());
        drop(most);
        assert!(Room::take(ROOM_BYTES_MAX).is_none() && Room::take(ROOM_BYTES_MAX - 1).is_some());
        drop(rest);
        let recording = Room::of_recording(RECORDING_BYTES_MAX as usize).unwrap();
        assert!(Room::of_recording(2_000_000).is_none(), "one of the largest at a time");
        drop(recording);
        assert!(Room::take(ROOM_BYTES_MAX).is_some() && Room::take(usize::MAX).is_none());
    }
}
