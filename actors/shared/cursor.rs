//! Where a list goes on. A cursor names a row of one list of one tenant, with a check that it was made there.

use sha2::{Digest, Sha256};

use super::{Refusal, TenantId};

/// Two numbers that order a list, newest first: the time of a row in milliseconds, and its sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub at_ms: i64,
    pub seq: i64,
}

impl Cursor {
    /// Where a list begins: before everything.
    pub const NEWEST: Self = Self { at_ms: (1 << 53) - 1, seq: (1 << 53) - 1 };

    /// `<at>-<seq>-<check>`, to be handed back as it is.
    #[must_use]
    pub fn encode(self, list: &str, tenant: &TenantId) -> String {
        format!("{}-{}-{}", self.at_ms, self.seq, self.check(list, tenant))
    }

    /// # Errors
    /// `InvalidCursor` for anything [`Cursor::encode`] did not make for this list and tenant.
    pub fn decode(raw: &str, list: &str, tenant: &TenantId) -> Result<Self, Refusal> {
        let cursor = Self::parse(raw).ok_or(Refusal::InvalidCursor)?;
        if cursor.encode(list, tenant) != raw {
            return Err(Refusal::InvalidCursor);
        }
        Ok(cursor)
    }

    fn parse(raw: &str) -> Option<Self> {
        let mut parts = raw.splitn(3, '-');
        let at_ms: i64 = parts.next()?.parse().ok()?;
        let seq: i64 = parts.next()?.parse().ok()?;
        let in_range = (0..=Self::NEWEST.at_ms).contains(&at_ms) && (0..=Self::NEWEST.seq).contains(&seq);
        in_range.then_some(Self { at_ms, seq })
    }

    /// Not a secret: a forged cursor still reads only the forger's own rows. It tells a mistake from a place.
    fn check(self, list: &str, tenant: &TenantId) -> String {
        let mut digest = Sha256::new();
        digest.update(tenant.actor_name(list));
        digest.update(format!("/{}/{}", self.at_ms, self.seq));
        let mut check = format!("{:x}", digest.finalize());
        check.truncate(12);
        check
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_belongs_to_its_list_and_tenant() {
        let me = TenantId::Email("me@x.io".to_owned());
        let you = TenantId::Email("you@x.io".to_owned());
        let here = Cursor { at_ms: 7, seq: 3 };
        let raw = here.encode("usage", &me);
        assert_eq!(Cursor::decode(&raw, "usage", &me), Ok(here));
        for (raw, list, tenant) in [
            (raw.as_str(), "usage", &you),
            (raw.as_str(), "ledger", &me),
            ("7-4-0123456789ab", "usage", &me),
            ("", "usage", &me),
            ("--", "usage", &me),
            ("-1-3-x", "usage", &me),
        ] {
            assert_eq!(Cursor::decode(raw, list, tenant), Err(Refusal::InvalidCursor), "{raw}");
        }
    }

    #[test]
    fn a_cursor_names_numbers_that_cross_the_platform_exactly() {
        let me = TenantId::Email("me@x.io".to_owned());
        let newest = Cursor::NEWEST;
        assert_eq!((newest.at_ms, newest.seq), (9_007_199_254_740_991, 9_007_199_254_740_991));
        assert_eq!(Cursor::decode(&newest.encode("usage", &me), "usage", &me), Ok(newest));
        for beyond in [Cursor { at_ms: newest.at_ms + 1, ..newest }, Cursor { seq: newest.seq + 1, ..newest }]
        {
            let raw = beyond.encode("usage", &me);
            assert_eq!(Cursor::decode(&raw, "usage", &me), Err(Refusal::InvalidCursor), "{raw}");
        }
    }
}
