//! Every bound of a session, named once.

/// How long a session waits for its client to come back, where its settings say nothing else.
pub const WINDOW_MS: i64 = 120_000;
/// The longest such wait that can be asked for.
pub const WINDOW_MS_MAX: i64 = 600_000;
/// How often a client pings; the runtime answers and wakes nobody.
pub const HEARTBEAT_MS: i64 = 15_000;
/// A socket that was silent for two heartbeats is dead.
pub const DEAD_AFTER_MS: i64 = 2 * HEARTBEAT_MS;
/// How often a socket without a turn is looked at. Found dead, it counts as dead since [`DEAD_AFTER_MS`] after its last
/// word, so looking rarely costs nobody anything.
pub const IDLE_LOOK_MS: i64 = 300_000;
/// The longest session: an hour. Its client is told [`GRACE_MS`] before.
pub const SESSION_MS_MAX: i64 = 3_600_000;
/// How long a session that ends lets its turns go on, and its client fetch what is on its way.
pub const GRACE_MS: i64 = 60_000;
/// How long turns and transcripts of a session that ended can be read: 30 days.
pub const RETENTION_MS: i64 = 30 * 86_400_000;
/// How long one that was opened waits for its first socket, beyond the life of a ticket.
pub const UNATTACHED_MS: i64 = 60_000;

/// A control frame, in bytes.
pub const CONTROL_BYTES_MAX: usize = 8_192;
/// The sound of one frame, in milliseconds: 60 to 100 are right.
pub const FRAME_MS_MAX: u32 = 200;
/// The most of a binary frame: 200 ms at 48 kHz and its header.
pub const FRAME_BYTES_MAX: usize = super::frame::HEADER_BYTES + 19_200;
/// A turn's id, in bytes.
pub const TURN_ID_BYTES_MAX: usize = 64;
/// What a client writes instead of saying it, and what a provider says it heard, in bytes.
pub const TEXT_BYTES_MAX: usize = 4_096;
/// Messages of one session: 40 a second, and 400 at once, so that a client can send the 10 s it kept.
pub const MESSAGE_COST_MS: i64 = 25;
pub const MESSAGES_BURST_MS: i64 = 400 * MESSAGE_COST_MS;

/// Upward frames are acknowledged after so many, or so long after the last acknowledgement.
pub const ACK_FRAMES: u32 = 16;
pub const ACK_MS: i64 = 250;
/// The last ones before a silence, by the alarm: a client's buffer is ten times as long.
pub const ACK_TAIL_MS: i64 = 1_000;

/// Sound in one row of the ring, and the least that is sent before the turn's sound ends.
pub const ROW_MS: u32 = 100;
pub const ROW_MS_MIN: u32 = 60;
/// Sound that is unacknowledged: beyond it the turn's speech is cut, and `gap` says so.
pub const RING_MS_MAX: u32 = 30_000;
pub const RING_BYTES_MAX: u64 = 1_500_000;
/// Sound that a connected client has not acknowledged: beyond the first the provider is paused, below the second it goes
/// on.
pub const PAUSE_MS: u32 = 5_000;
pub const GO_ON_MS: u32 = 2_500;
/// Rows of all kinds that are unacknowledged: 30 s of sound and some turns' news. A client that is further behind is
/// disconnected, and comes back for them.
pub const RING_ROWS_MAX: i64 = 800;

/// Rows of sound that one query reads: of 200 ms at 48 kHz in base64, 1.2 MB. The platform's values end at 2 MB.
pub const ROWS_READ_MAX: i64 = 48;

/// Rows before speech is detected that belong to it.
pub const PREROLL_FRAMES: u32 = 5;
/// Turns that wait for the one before them.
pub const TURNS_WAITING_MAX: i64 = 4;
/// The turns of one session.
pub const TURNS_MAX: i64 = 1_000;
/// How long a turn may take, from its first frame to the last acknowledgement: longer than its stages together.
pub const TURN_MS_MAX: i64 = 600_000;
/// How long a hold of a turn or a period lives: longer than either.
pub const HOLD_TTL_MS: i64 = 900_000;
/// Attached time that one hold pays for, and how long before its end the next is asked for.
pub const PERIOD_MS: i64 = 300_000;
pub const PERIOD_LEAD_MS: i64 = 60_000;
/// A tenant that did not answer is asked again: after the first, doubled up to the second.
pub const ASK_AGAIN_MS: i64 = 1_000;
pub const ASK_AGAIN_MS_MAX: i64 = 60_000;

/// Attempts of one stage of a turn. The first is the only one unless the actor or a provider's socket is lost.
pub const ATTEMPTS_MAX: i64 = 3;
pub const STT_MS_MAX: i64 = 30_000;
pub const LLM_MS_MAX: i64 = 60_000;
pub const TTS_MS_MAX: i64 = 180_000;
/// How long a call that was told to end may take to say what it used.
pub const CANCEL_MS: i64 = 10_000;
/// Earlier turns that the model is told of, and their text in characters.
pub const HISTORY_TURNS_MAX: i64 = 16;
pub const HISTORY_CHARACTERS_MAX: usize = 8_000;
/// Text that is handed to speech at once, in characters.
pub const PART_CHARACTERS_MAX: usize = 400;
/// Turns in one page of the read-out.
pub const PAGE_TURNS_MAX: i64 = 100;
/// Tokens that are remembered beside the one that its client is known to have.
pub const TOKENS_KEPT: u32 = 8;

/// Why a socket is closed.
pub mod close {
    /// Another socket took the session over.
    pub const TAKEN_OVER: u16 = 4001;
    /// The session is over.
    pub const ENDED: u16 = 4002;
    /// No socket of this session may be opened so.
    pub const NOT_RESUMED: u16 = 4004;
    /// A sequence number was skipped.
    pub const GAP: u16 = 4008;
    /// More is unacknowledged than is kept.
    pub const BEHIND: u16 = 4009;
    /// Silent for two heartbeats.
    pub const DEAD: u16 = 4010;
    /// Too many messages, or one that is not of the protocol.
    pub const POLICY: u16 = 1008;
    /// A message that is too long.
    pub const TOO_LARGE: u16 = 1009;
}
