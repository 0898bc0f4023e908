//! How an attempt at a provider can fail, in words that may be shown and logged, and what follows from it.

/// Which deadline an attempt did not keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// The headers of a stream.
    Connect,
    /// Its first piece.
    FirstToken,
    /// Its next piece.
    Idle,
    /// The whole.
    Total,
    /// The request's own, all attempts together: the provider had less time than it may take.
    Budget,
}

/// Nothing of what the provider said is in here: its words are not ours to pass on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The connection failed or broke before an answer.
    Unreachable,
    /// Too late.
    Timeout(Deadline),
    /// A status that is not 2xx.
    Status(u16),
    /// The same, and it said after how long it may be asked again.
    Later { status: u16, after_ms: u32 },
    /// A redirect. It is not followed: the key would go along.
    Redirect,
    /// HTML or anything else that is not the format asked for.
    ContentType,
    /// Larger than the limit.
    TooLarge,
    /// Not the shape the format has.
    Malformed,
    /// A body or a stream that ended before it was complete.
    Interrupted,
}

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    Provider,
    /// Of what was asked, or of the time that was left: it says nothing of the provider.
    Nobody,
}

impl Failure {
    /// Whether the provider says that the request itself is wrong: it would be for anybody.
    pub const fn blames_request(self) -> bool {
        matches!(self, Self::Status(400 | 413 | 422))
    }

    /// For clients.
    pub fn code(self) -> String {
        match self {
            Self::Unreachable => "unreachable".to_owned(),
            Self::Timeout(_) => "timeout".to_owned(),
            Self::Status(status) | Self::Later { status, .. } => format!("http_{status}"),
            Self::Redirect => "redirect_refused".to_owned(),
            Self::ContentType => "bad_content_type".to_owned(),
            Self::TooLarge => "too_large".to_owned(),
            Self::Malformed => "malformed".to_owned(),
            Self::Interrupted => "interrupted".to_owned(),
        }
    }

    /// For logs and usage rows: it also says which deadline.
    pub fn exact_code(self) -> String {
        let Self::Timeout(deadline) = self else {
            return self.code();
        };
        let deadline = match deadline {
            Deadline::Connect => "connect",
            Deadline::FirstToken => "first_token",
            Deadline::Idle => "idle",
            Deadline::Total => "total",
            Deadline::Budget => "budget",
        };
        format!("timeout_{deadline}")
    }

    /// The status, where one came.
    pub const fn status(self) -> Option<u16> {
        match self {
            Self::Status(status) | Self::Later { status, .. } => Some(status),
            _ => None,
        }
    }

    pub const fn blame(self) -> Blame {
        match self {
            Self::Timeout(Deadline::Budget) => Blame::Nobody,
            // What was asked is not what this one takes: its size, its form, a model it does not have.
            _ => match self.status() {
                Some(400 | 404 | 413 | 422) => Blame::Nobody,
                _ => Blame::Provider,
            },
        }
    }

    /// Whether the same provider may be asked again in this request, and after how long at the earliest. What it
    /// refused or answered wrongly it will refuse again; what took too long has used up its time.
    pub const fn again_after_ms(self) -> Option<u32> {
        match self {
            Self::Unreachable | Self::Interrupted => Some(0),
            // 52x: a proxy in between could not reach it. 529: overloaded.
            Self::Status(408 | 429 | 502..=504 | 520..=524 | 529) => Some(0),
            Self::Later { status: 408 | 429 | 500 | 502..=504 | 520..=524 | 529, after_ms } => Some(after_ms),
            _ => None,
        }
    }
}

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

    #[test]
    fn what_may_pass_is_tried_again_and_what_will_not_is_not() {
        let later = |status| Failure::Later { status, after_ms: 9 };
        for (failure, again) in [
            (Failure::Unreachable, Some(0)),
            (Failure::Interrupted, Some(0)),
            (Failure::Status(429), Some(0)),
            (Failure::Status(503), Some(0)),
            (Failure::Status(500), None),
            (Failure::Status(501), None),
            (Failure::Status(400), None),
            (Failure::Status(401), None),
            (later(429), Some(9)),
            (later(500), Some(9)),
            (later(404), None),
            (Failure::Timeout(Deadline::FirstToken), None),
            (Failure::Redirect, None),
            (Failure::ContentType, None),
            (Failure::Malformed, None),
            (Failure::TooLarge, None),
        ] {
            assert_eq!(failure.again_after_ms(), again, "{failure:?}");
        }
    }

    #[test]
    fn a_question_nobody_could_answer_is_no_fault_of_the_provider() {
        for status in [400, 404, 413, 422] {
            assert_eq!(Failure::Status(status).blame(), Blame::Nobody, "{status}");
        }
        assert_eq!(Failure::Timeout(Deadline::Budget).blame(), Blame::Nobody);
        for status in [401, 403, 429, 500, 503] {
            assert_eq!(Failure::Status(status).blame(), Blame::Provider, "{status}");
        }
        for failure in [Failure::Redirect, Failure::Malformed, Failure::Timeout(Deadline::Connect)] {
            assert_eq!(failure.blame(), Blame::Provider, "{failure:?}");
        }
    }

    #[test]
    fn clients_are_told_of_a_timeout_and_logs_of_which() {
        let late = Failure::Timeout(Deadline::FirstToken);
        assert_eq!((late.code(), late.exact_code()), ("timeout".into(), "timeout_first_token".into()));
        let busy = Failure::Later { status: 429, after_ms: 1 };
        assert_eq!((busy.code(), busy.exact_code()), ("http_429".into(), "http_429".into()));
    }
}
