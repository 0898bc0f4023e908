//! `RESPONSE_CACHE_TTL_SEC` and `RESPONSE_CACHE_PRICE_PERCENT`: whether answers are given again, and for how much.

use super::reader::Reader;

/// The longest an answer is kept: a day.
const TTL_S_MAX: i64 = 86_400;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseCache {
    /// How long an answer is kept.
    pub ttl_s: u32,
    /// What it costs when it is given again, in hundredths of what it cost.
    pub price_percent: u32,
}

/// `None` when it is off, which it is unless it is said for how long.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<ResponseCache> {
    let ttl_s = reader.number("RESPONSE_CACHE_TTL_SEC", 0, 0, TTL_S_MAX);
    let price_percent = reader.number("RESPONSE_CACHE_PRICE_PERCENT", 0, 0, 100);
    let (ttl_s, price_percent) = (u32::try_from(ttl_s).ok()?, u32::try_from(price_percent).ok()?);
    (ttl_s > 0).then_some(ResponseCache { ttl_s, price_percent })
}
