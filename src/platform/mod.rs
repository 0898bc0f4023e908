//! What the runtime offers, bound and nothing more: storage, keys, streams, time, logging, configuration.

pub mod config;
pub mod detached;
pub mod log;
pub mod sql;
pub mod streams;
pub mod tenant_stub;
pub mod timer;
pub mod web_crypto;

/// Milliseconds since 1970 by the runtime's clock. It stands still while code runs, by design.
pub fn now_ms() -> i64 {
    #[allow(clippy::cast_possible_truncation)]
    let now = js_sys::Date::now() as i64;
    now
}

/// A random id, by the runtime's own source of randomness.
pub fn random_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
