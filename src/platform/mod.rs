//! What the runtime offers, bound and nothing more: storage, keys, streams, time, logging, configuration.

pub mod abort;
pub mod address_stub;
pub mod bucket;
pub mod calendar;
pub mod catalog_stub;
pub mod client_socket;
pub mod config;
pub mod detached;
pub mod experiment_stub;
mod hop;
pub mod http;
pub mod job_id;
pub mod log;
pub mod queue;
pub mod recall;
pub mod reply_bucket;
pub mod retry_after;
pub mod sockets;
pub mod sql;
pub mod streams;
pub mod task;
pub mod tenant_stub;
pub mod timer;
pub mod uploads;
pub mod voice_stub;
pub mod web_crypto;
pub mod webhook;
pub mod webhook_address;
pub mod with_jobs;

use sha2::Digest;

/// Milliseconds since 1970 by the runtime's clock. It stands still while code runs, by design.
pub fn now_ms() -> i64 {
    whole_ms(js_sys::Date::now())
}

/// A time as the runtime has it, in whole milliseconds.
pub fn whole_ms(at_ms: f64) -> i64 {
    #[allow(clippy::cast_possible_truncation)]
    let whole = at_ms as i64;
    whole
}

/// A random id, by the runtime's own source of randomness.
pub fn random_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// A number from 0 to 1 that nobody needs to be unable to guess: for spreading what would happen at once.
pub fn chance() -> f64 {
    js_sys::Math::random()
}

/// 64 random bits from the same source.
pub fn random_seed() -> u64 {
    let mut seed = [0; 8];
    for (to, from) in seed.iter_mut().zip(random_bytes()) {
        *to = from;
    }
    u64::from_le_bytes(seed)
}

/// Random bytes from the same source.
pub fn random_bytes() -> [u8; 32] {
    let (first, second) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
    let (third, mut bytes) = (uuid::Uuid::new_v4(), [0; 32]);
    // Six bits of an id are fixed, so a digest of three spreads 366 random bits over 32 bytes.
    let digest = sha2::Sha256::new_with_prefix(first.as_bytes())
        .chain_update(second.as_bytes())
        .chain_update(third.as_bytes())
        .finalize();
    bytes.copy_from_slice(&digest);
    bytes
}
