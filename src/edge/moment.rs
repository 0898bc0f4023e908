//! Moments on the wire: two ways to read one, one way to write it.

use chrono::DateTime;

pub use crate::shown::iso_time;

/// Reads RFC 3339, or a number of seconds or milliseconds since 1970. Between 1970 and 2286, where
/// millisecond times have at most 13 digits.
pub fn moment_ms(text: &str) -> Option<i64> {
    const LATEST_MS: i64 = 9_999_999_999_999;
    let text = text.trim();
    let ms = match text.parse::<i64>() {
        // Ten digits of seconds reach the year 2286 too.
        Ok(number) if number < 10_000_000_000 => number.checked_mul(1_000)?,
        Ok(number) => number,
        Err(_) => DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis(),
    };
    (0..=LATEST_MS).contains(&ms).then_some(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_both_ways() {
        for (text, expected) in [
            ("1970-01-01T00:00:01Z", Some(1_000)),
            ("2026-11-23T12:00:00.5+02:00", Some(1_795_428_000_500)),
            ("1700000000", Some(1_700_000_000_000)),
            ("1700000000000", Some(1_700_000_000_000)),
            ("yesterday", None),
            ("-1", None),
            ("99999999999999999", None),
        ] {
            assert_eq!(moment_ms(text), expected, "{text}");
        }
        assert_eq!(iso_time(1_000), "1970-01-01T00:00:01.000Z");
    }
}
