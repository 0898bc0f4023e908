//! What takes apart what strangers send, in one place for the fuzz targets.

pub use super::admin_key::{AdminKey, judge as judge_admin_key};
pub use super::api_key::{Presented, compose as compose_api_key, digest as digest_of_secret, present};
pub use super::cookie::{Found as CookieFound, find as find_cookie};
pub use super::cors::is_allowed as is_origin_allowed;
pub use super::error::ApiError;
pub use super::jwt::{Claims, Rejected, Unverified, attach, bearer, compose, judge, take_apart};
pub use super::limits::{
    JSON_DEPTH_MAX, LIST_ROWS_MAX, PREFLIGHT_BYTES_MAX, PREFLIGHT_NAMES_MAX, SEQUENCE_MAX, TOKEN_BYTES_MAX,
};
pub use super::moment::{iso_time, moment_ms};
pub use super::query::Query;

/// The value of `Access-Control-Allow-Headers` for what a preflight asks.
#[must_use]
pub fn allowed_headers(asked: &str) -> String {
    super::cors::allowed_headers(asked)
}

/// The key in an `Idempotency-Key` header, when it is one.
#[must_use]
pub fn idempotency_key(header: &str) -> Option<&str> {
    super::idempotency_key::read(header).ok()
}

/// A body as a JSON object, when it is one.
#[must_use]
pub fn json_object(body: &[u8]) -> Option<serde_json::Value> {
    super::json_body::parse(body).ok()
}
