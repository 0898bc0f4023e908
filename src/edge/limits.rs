//! Every limit of the front door, with its unit.

/// A JSON body: room for a long prompt. 1 MiB.
pub const JSON_BODY_BYTES_MAX: usize = 1_048_576;
/// A body of `/v1/chat/completions`: room for some pictures in base64. 8 MiB; while it is worked on there are a few
/// copies of it.
pub const CHAT_BODY_BYTES_MAX: usize = 8_388_608;
/// Attachments of one ask.
pub const ATTACHMENTS_MAX: usize = 8;
/// A text attachment, and all of one ask together: as much as the body of an ask itself, in bytes.
pub const ATTACHMENT_TEXT_BYTES_MAX: usize = 524_288;
pub const ATTACHED_TEXT_BYTES_MAX: usize = JSON_BODY_BYTES_MAX;
/// A picture, in bytes: most models take five megabytes of one, and more shows them nothing more.
pub const ATTACHMENT_IMAGE_BYTES_MAX: usize = 5_242_880;
/// All attachments of one ask, in bytes. In base64 they are four thirds of it, 8 MiB: as much as the body of a chat,
/// and as many copies of it.
pub const ATTACHED_BYTES_MAX: usize = 6_291_456;
/// What a file is said to be, in bytes.
pub const CONTENT_TYPE_BYTES_MAX: usize = 255;
/// Messages of one chat, and answers to it that are asked for at once.
pub const CHAT_MESSAGES_MAX: usize = 2_048;
pub const CHAT_ANSWERS_MAX: u32 = 8;
/// Inputs of one request for embeddings.
pub const EMBEDDING_INPUTS_MAX: usize = 2_048;
/// A text to be spoken, and how it is to be spoken, in characters each.
pub const SPEECH_CHARACTERS_MAX: usize = 4_096;
/// A voice's name or id, in bytes.
pub const VOICE_BYTES_MAX: usize = 128;
/// Speech that is kept for its idempotency key, in bytes: all that 4,096 characters are at the usual speed, as WAV of 24,000
/// samples of 16 bits. It is in the runtime's memory until it is stored.
pub const KEPT_SPEECH_BYTES_MAX: u64 = 16_777_216;
/// A recording, in bytes: 25 MiB, as clients of this API expect.
pub const RECORDING_BYTES_MAX: u32 = 26_214_400;
/// The form around a recording, in bytes: it, its other fields, and what stands between them.
pub const RECORDING_FORM_BYTES_MAX: u32 = 26_345_472;
/// Fields of such a form, and what one of them may say, in UTF-16 units.
pub const FORM_FIELDS_MAX: usize = 32;
pub const FORM_TEXT_LENGTH_MAX: u32 = 8_192;
/// A model's name, in bytes.
pub const MODEL_BYTES_MAX: usize = 256;
/// Nesting of a JSON body. No route needs ten levels; parsers and stacks stay far from theirs.
pub const JSON_DEPTH_MAX: usize = 64;
/// A path that could be of a route, in bytes: the longest route is below 100, an id adds 64. A longer one is 404.
pub const PATH_BYTES_MAX: usize = 1_024;
/// A path that is looked at, in bytes. A longer one is 414: whoever sends it made a mistake in more than a name.
pub const PATH_BYTES_READ_MAX: usize = 16_384;
/// A query string, in bytes: the longest address, a cursor and some filters. A longer one is 414.
pub const QUERY_BYTES_MAX: usize = 8_192;
/// Headers of one request, by name; the platform joins several of one name. Browsers and proxies send twenty or thirty.
pub const HEADERS_MAX: usize = 100;
/// Names and values of all headers together, in bytes: a token of 8 KB in both of its places, and as much of others.
pub const HEADER_BYTES_MAX: usize = 32_768;
/// A token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8_192;
/// Verified tokens an isolate remembers. At 1 KB each, two megabytes; 16 MB if all are as long as allowed.
pub const VERIFIED_TOKENS_MAX: usize = 2_048;
/// Public keys an isolate remembers: two live ones and a few in overlap.
pub const PUBLIC_KEYS_MAX: usize = 16;
/// How long public keys from KV are trusted before they are read again. Five minutes, as clients cache them.
pub const PUBLIC_KEYS_TTL_MS: i64 = 300_000;
/// How soon an unknown key id may cause another read of KV, so that forged ids cannot cause many.
pub const PUBLIC_KEYS_REFRESH_MS: i64 = 10_000;
/// After KV could not be read, how soon an unknown key id may cause another read.
pub const PUBLIC_KEYS_RETRY_MS: i64 = 1_000;
/// How long keys from KV are believed while it cannot be read: an hour. A key that was withdrawn must end; our own does
/// not come from there.
pub const PUBLIC_KEYS_STALE_MS_MAX: i64 = 3_600_000;
/// How long keys of an issuer we trust are used before they are read again, and how soon an unknown key id may cause
/// another read.
pub const ISSUER_KEYS_TTL_MS: i64 = 600_000;
pub const ISSUER_KEYS_REFRESH_MS: i64 = 30_000;
/// After an issuer did not answer it is left alone for so long.
pub const ISSUER_KEYS_RETRY_MS: i64 = 1_000;
/// How long it may take to have them, two answers of five seconds each and some. Who asked may have gone away.
pub const ISSUER_KEYS_ASK_MS_MAX: i64 = 11_000;
/// How long they are used while the issuer cannot be reached: a day. A key that it withdrew must end.
pub const ISSUER_KEYS_STALE_MS_MAX: i64 = 86_400_000;
/// How old an ID token may be that is exchanged, in seconds: a day, whatever its `exp` says. Who was signed in last year
/// signs in again.
pub const ID_TOKEN_AGE_S_MAX: i64 = 86_400;
/// The longest life of a token that an operator asks for, in seconds: a week.
pub const USER_TOKEN_TTL_S_MAX: i64 = 604_800;
/// Clock difference that is forgiven in `nbf` and `iat`.
pub const CLOCK_LEEWAY_S: i64 = 60;
/// Rows a list returns when nothing is said, and at most.
pub const LIST_ROWS_DEFAULT: u32 = 25;
pub const LIST_ROWS_MAX: u32 = 100;
/// Names a preflight may ask for, and their bytes together.
pub const PREFLIGHT_NAMES_MAX: usize = 32;
pub const PREFLIGHT_BYTES_MAX: usize = 1_024;
/// A schedule's name, in bytes.
pub const SCHEDULE_ID_BYTES_MAX: usize = 64;
/// A skill's name, in bytes.
pub const SKILL_BYTES_MAX: usize = 64;
/// Tokens a client may report for one usage event.
pub const USAGE_TOKENS_MAX: u64 = 10_000_000;
/// A usage event's `meta`, in bytes, and its `id` and `route`.
pub const USAGE_META_BYTES_MAX: usize = 4_096;
pub const USAGE_TEXT_BYTES_MAX: usize = 255;
/// The largest sequence number a client may name: the last whole number that every reader of JSON and the database have
/// exactly, 2^53 − 1.
pub const SEQUENCE_MAX: i64 = 9_007_199_254_740_991;
/// How far in the future a client's usage event may be dated: what its clock may be ahead. Five minutes.
pub const USAGE_AHEAD_MS_MAX: i64 = 300_000;
/// Pages of a ledger that one audit walks, at `VERIFY_ENTRIES_MAX` entries each: 100,000 entries.
pub const VERIFY_PAGES_MAX: u32 = 50;
/// The id of a request that feedback names, in bytes: of ours 36, of the platform's 20.
pub const REQUEST_ID_BYTES_MAX: usize = 64;
/// A reason or a reference of an adjustment, in bytes.
pub const REASON_BYTES_MAX: usize = 512;
