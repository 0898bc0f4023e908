//! Every bound of a turn's provider calls, named once. A person waits: where the configuration allows more, this counts.

/// Until a socket is open, or the headers of an answer are there, in milliseconds.
pub const CONNECT_MS: i64 = 5_000;
/// From handing over a part until its first sound.
pub const FIRST_SOUND_MS: i64 = 8_000;
/// Between two pieces of a part's sound.
pub const IDLE_MS: i64 = 8_000;
/// From the end of an utterance until its text, at one provider.
pub const TEXT_MS: i64 = 15_000;
/// Text that waits to be spoken, in characters: more than a turn may say.
pub const WAITING_CHARACTERS_MAX: usize = 20_000;
/// The sound of one utterance, in bytes: 60 s at 48 kHz.
pub const UTTERANCE_BYTES_MAX: usize = 5_760_000;
/// The sound of one part that comes over HTTP, in bytes: three minutes at 48 kHz.
pub const PART_BYTES_MAX: usize = 17_280_000;
