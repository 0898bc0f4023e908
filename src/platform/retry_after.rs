//! `Retry-After`, as whoever refuses says when to come back.

/// The longest time a `Retry-After` is believed: it only says when to ask again.
const RETRY_AFTER_MS_MAX: i64 = 3_600_000;

/// Reads `Retry-After`, in seconds or as a date, at `now_ms`.
pub fn retry_after_ms(text: &str, now_ms: i64) -> Option<u32> {
    let text = text.trim();
    let wait_ms = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse::<i64>().unwrap_or(i64::MAX).saturating_mul(1_000)
    } else {
        let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
        date.timestamp_millis().saturating_sub(now_ms)
    };
    u32::try_from(wait_ms.clamp(0, RETRY_AFTER_MS_MAX)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_come_back_is_read_in_both_forms_and_bounded() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        let at_ms = 784_111_777_000;
        for (text, expected) in [
            ("0", Some(0)),
            (" 7 ", Some(7_000)),
            ("99999999999999999999999", Some(3_600_000)),
            ("Sun, 06 Nov 1994 08:49:40 GMT", Some(3_000)),
            ("Sun, 06 Nov 1994 08:49:30 GMT", Some(0)),
            ("Sat, 06 Nov 2094 08:49:30 GMT", Some(3_600_000)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("1\r\n2", None),
        ] {
            assert_eq!(retry_after_ms(text, at_ms), expected, "{text:?}");
        }
    }
}
