//! Every wait and every limit of a run, each named once.

use std::time::Duration;

/// From the SIGKILL to the moment when `/ready` and a metered request of every tenant answered 200.
pub const RESTART_BOUND_MS: u64 = 5_000;
/// How long a restart is waited for, so that one that takes too long is measured and not only missed.
pub const RESTART_PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks whether the runtime is back: the error of a measured restart.
pub const RESTART_POLL: Duration = Duration::from_millis(10);

/// Longer than any scripted answer takes, and short, because a hold that a kill left lasts longer still. The
/// difference to `HOLD_TTL_MS` is what a loaded machine may stand still without a hold ending before its work.
pub const ASK_TIMEOUT_MS: u64 = 2_000;
pub const PROVIDER_TIMEOUT_MS: u64 = 1_000;
pub const HOLD_TTL_MS: u64 = 4_000;
/// The alarm that ends a hold may be late, above all on a machine that has just started the runtime again.
pub const ALARM_LATENESS_MS: u64 = 8_000;

/// Clients that ask at once. Enough for several asks to be in every phase when the kill comes.
pub const CLIENTS: usize = 12;
/// One attempt of one operation: the Worker's own deadlines, and patience for a loaded machine.
pub const ATTEMPT_BOUND: Duration = Duration::from_secs(15);
/// A client pauses this long before it tries again.
pub const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Attempts of one operation. A slow ask may meet several kills in a row; two hundred it may not.
pub const ATTEMPTS_MAX: usize = 200;

/// Between two looks at what must come.
pub const POLL: Duration = Duration::from_millis(5);
/// How long the load may take to bring the acknowledgements of one round.
pub const ROUND_BOUND: Duration = Duration::from_secs(60);
/// The last of the random wait before a kill, so that kills do not follow acknowledgements in step.
pub const KILL_JITTER_MS_MAX: u64 = 80;
/// How long the clients may take to end what they began, once no kill comes any more.
pub const DRAIN_BOUND: Duration = Duration::from_secs(60);

/// Acknowledged operations that are sent again after each kill. At the end every one of them is.
pub const REPLAYS_A_KILL_MAX: usize = 6;
/// Replays under way at once.
pub const REPLAYS_AT_ONCE: usize = 8;
/// Rows of one page of a list: as many as the API gives.
pub const PAGE_ROWS: usize = 100;
/// Pages of one list: 200,000 rows, far more than any run makes.
pub const PAGES_MAX: usize = 2_000;
/// Readings of one tenant's books until none of its holds ended meanwhile.
pub const READINGS_MAX: usize = 20;
/// Violations that a report spells out; one fault often shows in many.
pub const VIOLATIONS_SHOWN_MAX: usize = 30;
