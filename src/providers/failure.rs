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

#[cfg(test)]
mod tests {
    use super::*;

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
