//! How an attempt at a provider can fail, in words that may be shown and logged.

/// Nothing of what the provider said is in here: its words are not ours to pass on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The connection failed or broke before an answer.
    Unreachable,
    /// No first byte, or no next one, within its deadline.
    Timeout,
    /// A status that is not 2xx.
    Status(u16),
    /// A redirect. It is not followed: the key would go along.
    Redirect,
    /// HTML or anything else that is not the format asked for.
    ContentType,
    /// Larger than the limit.
    TooLarge,
    /// Not the shape the format has.
    Malformed,
    /// A stream that ended without saying that it is complete.
    Interrupted,
}

impl Failure {
    /// Whether the provider says that the request itself is wrong: it would be for anybody.
    pub const fn blames_request(self) -> bool {
        matches!(self, Self::Status(400 | 413 | 422))
    }

    pub fn code(self) -> String {
        match self {
            Self::Unreachable => "unreachable".to_owned(),
            Self::Timeout => "timeout".to_owned(),
            Self::Status(status) => format!("http_{status}"),
            Self::Redirect => "redirect_refused".to_owned(),
            Self::ContentType => "bad_content_type".to_owned(),
            Self::TooLarge => "too_large".to_owned(),
            Self::Malformed => "malformed".to_owned(),
            Self::Interrupted => "interrupted".to_owned(),
        }
    }
}
