//! The operator's key, compared as digests so that the time taken tells nothing about it.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::address_limits;
use super::error::ApiError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminKey {
    /// No admin header was sent.
    Absent,
    Valid,
    /// Wrong, blank, or two headers that disagree.
    Invalid,
    /// The same, from an address that tried too often.
    TooOften {
        limit: i64,
        window_ms: i64,
        retry_after_ms: i64,
    },
}

impl AdminKey {
    /// What a request with such a key is told, whatever else it asks; `None` where nothing speaks against it.
    pub fn refusal(self) -> Option<ApiError> {
        match self {
            Self::Absent | Self::Valid => None,
            Self::Invalid => Some(ApiError::Unauthorized),
            Self::TooOften { limit, window_ms, retry_after_ms } => {
                let policy = address_limits::ADMIN_FAILURES_POLICY.to_owned();
                Some(ApiError::RateLimited { policy, limit, window_ms, retry_after_ms, remaining: 0 })
            }
        }
    }
}

/// Judges `X-Admin-Key` and `X-Admin-Token`, which mean the same.
pub fn judge(key: Option<&str>, token: Option<&str>, live: &[[u8; 32]]) -> AdminKey {
    let given = match (key, token) {
        (None, None) => return AdminKey::Absent,
        (Some(key), Some(token)) if key != token => return AdminKey::Invalid,
        (Some(given), _) | (None, Some(given)) => given,
    };
    let digest: [u8; 32] = Sha256::digest(given.trim()).into();
    let matched = live.iter().fold(subtle::Choice::from(0), |matched, known| matched | known.ct_eq(&digest));
    if bool::from(matched) { AdminKey::Valid } else { AdminKey::Invalid }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_live_key_opens() {
        let (one, two) = ("a".repeat(32), "b".repeat(32));
        let live = [Sha256::digest(&one).into(), Sha256::digest(&two).into()];
        assert_eq!(judge(None, None, &live), AdminKey::Absent);
        assert_eq!(judge(Some(&one), None, &live), AdminKey::Valid);
        assert_eq!(judge(None, Some(&two), &live), AdminKey::Valid);
        assert_eq!(judge(Some(&one), Some(&one), &live), AdminKey::Valid);
        assert_eq!(judge(Some(&one), Some(&two), &live), AdminKey::Invalid, "the two disagree");
        assert_eq!(judge(Some(""), None, &live), AdminKey::Invalid);
        assert_eq!(judge(Some(""), None, &[]), AdminKey::Invalid, "no key configured opens nothing");
    }
}
