//! How much of attachments an isolate has in its memory at one time: a small request can name large files, and nobody
//! may fill with them what all requests of the isolate share.

use std::cell::Cell;

/// Attachments of all asks that are under way, in bytes. An isolate has 128 MB, and of each byte there are up to five:
/// itself, in base64, in the body, and in the runtime's copy of it. That is 80 MB.
const ROOM_BYTES_MAX: usize = 16_777_216;

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
}

impl Drop for Room {
    fn drop(&mut self) {
        TAKEN_BYTES.set(TAKEN_BYTES.get().saturating_sub(self.bytes));
    }
}

#[cfg(test)]
mod tests {
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
        assert!(Room::take(ROOM_BYTES_MAX).is_some() && Room::take(usize::MAX).is_none());
    }
}
