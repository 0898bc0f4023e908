//! Where a test can cut in.

use super::Heard;
use crate::voice_wire::Sound;
use serde_json::Value;

/// What a client is about to do, or just did.
#[derive(Debug)]
pub enum Moment<'a> {
    /// It is about to connect.
    Dials,
    /// The connection stands; nothing came by it yet.
    Upgraded,
    /// It sent one frame of sound with this number.
    Spoke(u32),
    Committed(u32),
    /// All up to this number is kept by the server.
    Acknowledged(u32),
    WantedSilence,
    /// This came, and is not taken yet.
    About(&'a Value),
    Took(&'a Value),
    AboutSound(&'a Sound),
    TookSound(&'a Sound),
}

pub type Hook = Box<dyn FnMut(&Moment<'_>, &Heard) -> bool + Send>;
