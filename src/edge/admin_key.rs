//! The operator's key, compared as digests so that the time taken tells nothing about it.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Which of the two keys that may live at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// `ADMIN_API_KEY`.
    First,
    /// `ADMIN_API_KEY_NEXT`.
    Second,
}

impl Slot {
    /// As log lines have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminKey {
    /// No admin header was sent.
    Absent,
    Valid(Slot),
    /// Wrong, blank, or two headers that disagree.
    Invalid,
}

impl AdminKey {
    /// Which key it is, of one that is good.
    pub const fn slot(self) -> Option<Slot> {
        match self {
            Self::Valid(slot) => Some(slot),
            _ => None,
        }
    }

    pub const fn is_valid(self) -> bool {
        self.slot().is_some()
    }
}

/// Judges `X-Admin-Key` and `X-Admin-Token`, which mean the same, by the digests of the keys that are set.
pub fn judge(
    key: Option<&str>,
    token: Option<&str>,
    first: Option<&[u8; 32]>,
    second: Option<&[u8; 32]>,
) -> AdminKey {
    let given = match (key, token) {
        (None, None) => return AdminKey::Absent,
        (Some(key), Some(token)) if key != token => return AdminKey::Invalid,
        (Some(given), _) | (None, Some(given)) => given,
    };
    let digest: [u8; 32] = Sha256::digest(given.trim()).into();
    let is = |known: Option<&[u8; 32]>| known.is_some_and(|known| bool::from(known.ct_eq(&digest)));
    // Both are compared, whatever the first comparison says.
    match (is(first), is(second)) {
        (true, _) => AdminKey::Valid(Slot::First),
        (false, true) => AdminKey::Valid(Slot::Second),
        (false, false) => AdminKey::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_live_key_opens() {
        let (one, two) = ("a".repeat(32), "b".repeat(32));
        let digest = |key: &str| -> [u8; 32] { Sha256::digest(key).into() };
        let (first, second) = (digest(&one), digest(&two));
        let judged = |key, token| judge(key, token, Some(&first), Some(&second));
        assert_eq!(judged(None, None), AdminKey::Absent);
        assert_eq!(judged(Some(&one), None), AdminKey::Valid(Slot::First));
        assert_eq!(judged(None, Some(&two)), AdminKey::Valid(Slot::Second));
        assert_eq!(judge(Some(&two), None, None, Some(&second)), AdminKey::Valid(Slot::Second));
        assert_eq!(judged(Some(&one), Some(&one)), AdminKey::Valid(Slot::First));
        assert_eq!(judged(Some(&one), Some(&two)), AdminKey::Invalid, "the two disagree");
        assert_eq!(judged(Some(""), None), AdminKey::Invalid);
        assert_eq!(judge(Some(""), None, None, None), AdminKey::Invalid, "no key configured opens nothing");
    }
}
